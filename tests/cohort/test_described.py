"""`popk describe`: sampled, in tables, as a figure and on the command line."""

import json

import numpy as np
import pytest

from popk.cli import main
from popk.cohort import describe, description_frame
from popk.diagnostics import verdict_of
from popk.plots import PlotError, plot_description
from popk.reporting import show

UNITS = "time=d,amount=mg,concentration=mg/L,WT=kg"


@pytest.fixture(scope="module")
def cohort(fits):
    """Twelve patients with four troughs, whose own medians are two of 4 and ten above 12 mg/L."""
    rng = np.random.default_rng(4)
    levels = np.concatenate([[4.0, 4.0], np.linspace(14.0, 40.0, 10)])
    records = []
    for k, level in enumerate(levels):
        troughs = level * np.exp(0.1 * rng.standard_normal(4))
        records += fits.history(f"P{k}", troughs.round(2), weight=60.0 + 3 * k, doses=9)
    return fits.dataset(*records)


@pytest.fixture(scope="module")
def found(cohort):
    return describe(cohort, draws=400, seed=2)


def test_shares_bands_and_spread_are_those_of_the_cohort(found):
    shares = description_frame(found).set_index(["target", "what"])
    assert shares.loc[(10.0, "observed troughs"), "median"] == pytest.approx(10 / 12)
    assert shares.loc[(10.0, "patients of the cohort"), "median"] == pytest.approx(10 / 12)
    bands = description_frame(found, "bands").set_index("band")
    assert bands.loc["2 to 5 mg/L", "median"] == pytest.approx(2 / 12)
    assert bands.loc["10 mg/L and above", "median"] == pytest.approx(10 / 12)
    assert bands["median"].sum() == pytest.approx(1.0)
    figures = description_frame(found, "figures").set_index("figure")
    within = figures.loc["CV within patients"]
    assert within["low"] < 10.0 < within["high"]
    level = description_frame(found, "patients").set_index("patient")["level"]
    np.testing.assert_allclose(level.loc[["P0", "P11"]], [4.0, 40.0], rtol=0.12)


def test_it_is_shown_with_its_verdict(found):
    assert verdict_of(found).n_draws == 400
    text = str(show(found))
    assert "Patients by their own median trough" in text
    assert "CV between patients" in text
    assert "cannot be told apart" in text
    final = bool(found.attrs["converged"])
    assert found.attrs["words"].startswith("Not converged") is not final


def test_the_figure_has_every_trough_and_patient(found):
    figure = plot_description(found)
    over, against, weeks = figure.axes
    assert over.get_ylabel() == "Trough (mg/L)"
    assert against.get_xlabel() == "WT (kg)"
    assert weeks.get_xlabel() == "Since the last dose (wk)"
    assert sum(len(line.get_xdata()) for line in weeks.lines[:1]) == 48
    assert len(plot_description(found, covariate="AGE").axes) == 2
    with pytest.raises(PlotError, match="not the result of"):
        plot_description(found["posterior"])


@pytest.mark.slow  # it compiles the model once more
def test_on_the_command_line(cohort, tmp_path, capsys):
    data, out = tmp_path / "cohort.csv", tmp_path / "out"
    frame = cohort.table.to_dataframe()[["ID", "TIME", "EVID", "AMT", "DV", "CENS", "LLOQ", "WT"]]
    frame.to_csv(data, index=False)
    command = ["describe", str(data), "--units", UNITS, "--draws", "30", "--out", str(out)]
    figure = tmp_path / "troughs.png"
    # Too few draws to be relied upon: it says so, and the exit code does.
    assert main([*command, "--figure", str(figure), "--json"]) == 3
    told = json.loads(capsys.readouterr().out)
    assert told["verdict"]["converged"] is False
    assert {path.name for path in out.iterdir()} == {
        f"{name}.csv" for name in ("shares", "bands", "figures", "patients", "troughs")
    }
    assert figure.stat().st_size > 10_000


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "The units are missing"),
        (["--units", UNITS, "--targets", "ten"], "--targets is 'ten'"),
        (["--units", UNITS, "--figure", "a.txt"], "--figure is a.txt"),
    ],
)
def test_what_makes_no_sense_is_refused(options, said, capsys):
    assert main(["describe", "nothing.csv", *options]) == 2
    assert said in capsys.readouterr().err

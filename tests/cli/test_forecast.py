"""The command `popk forecast`."""

import numpy as np
import pandas as pd
import pytest

from popk.cli import main
from popk.storage import save


@pytest.fixture(scope="module")
def run(fits, tmp_path_factory):
    """Folder of a fit, and a file of two new patients."""
    folder = tmp_path_factory.mktemp("run")
    data = fits.dataset(*fits.history("A"), *fits.history("B", (30.0, 27.0)))
    save(fits.fit_of(fits.one_compartment(), data), folder / "fit.nc")
    new = fits.dataset(*fits.history("C"), *fits.history("D", (25.0, 21.0)))
    new.to_frame().to_csv(folder / "new.csv", index=False)
    return folder


def test_new_patients_are_forecast_and_decisions_judged(run, tmp_path, capsys):
    out = tmp_path / "scores.csv"
    words = ["forecast", str(run), str(run / "new.csv"), "--target", "10", "--out", str(out)]
    assert main(words) == 0
    shown = capsys.readouterr().out
    for word in ("Forecasts of the next observation", "rRMSE", "Decisions", "Later covariates"):
        assert word in shown
    scores = pd.read_csv(out)
    assert scores.groupby("which")["samples"].apply(list).to_dict() == {
        "all": [0, 1], "next": [0, 1]
    }  # fmt: skip
    each = pd.read_csv(tmp_path / "scores_forecasts.csv")
    assert len(each) == 6
    assert np.isfinite(each["log_score"]).all()
    assert len(pd.read_csv(tmp_path / "scores_decisions.csv")) == 4


def test_without_a_file_those_of_the_fit_are_left_out(run, capsys):
    assert main(["forecast", str(run), "--no-refit", "--most", "0"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "Patients of the fit (2) were left out of it one at a time" in shown
    assert "Decisions" not in shown


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--out", "scores.txt"], "expected a file ending in .csv"),
        (["--target", "-1"], "--target is -1; a trough target is above zero"),
        (["--weeks", "8:4"], "--weeks is '8:4'"),
    ],
)
def test_what_makes_no_sense_is_refused(run, capsys, words, said):
    assert main(["forecast", str(run), *words]) == 2
    assert said in " ".join(capsys.readouterr().err.split())

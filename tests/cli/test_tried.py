"""The command `popk trial`."""

import pandas as pd
import pytest

from popk.cli import main
from popk.storage import load, save


@pytest.fixture(scope="module")
def run(fits, tmp_path_factory):
    """Folder of a fit of a model that reads weights."""
    folder = tmp_path_factory.mktemp("run")
    data = fits.dataset(*fits.history("A", weight=60.0), *fits.history("B", weight=80.0))
    save(fits.fit_of(fits.one_compartment(covariates=True), data), folder / "fit.nc")
    return folder


def test_policies_are_tried_from_a_fit(run, tmp_path, capsys):
    out = tmp_path / "trial"
    words = ["trial", "--from", str(run), "--target", "12", "--fixed", "4", "--fixed", "6",
             "--tree", "12", "--informed", "0.8", "--by-weight", "70=6,5", "--patients", "8",
             "--weeks", "24", "--particles", "30", "--lloq", "1", "--out", str(out)]  # fmt: skip
    assert main(words) == 0
    shown = " ".join(capsys.readouterr().out.split())
    for word in ("Policies on virtual patients", "every 6 weeks", "decision tree, 12",
                 "Monte Carlo error", "it informs, it does not prescribe"):  # fmt: skip
        assert word in shown
    frame = pd.read_csv(out / "summary.csv").set_index(["policy", "measure"])
    assert frame.loc[("every 6 weeks", "interval"), "estimate"] == pytest.approx(6)
    patients = pd.read_csv(out / "patients.csv")
    banded = patients[patients["policy"].str.startswith("by WT")]
    assert set(zip(banded["WT"], banded["interval"].round(6), strict=True)) <= {(60, 6), (80, 5)}
    assert load(out / "trial.nc").attrs["seed"] == 1
    assert (out / "trial.svg").read_text(encoding="utf-8").startswith("<?xml")


def test_a_model_alone_and_a_table_of_covariates(fits, tmp_path, capsys):
    model = tmp_path / "model.json"
    model.write_text(fits.one_compartment(covariates=True).to_json(), encoding="utf-8")
    table = tmp_path / "people.csv"
    pd.DataFrame({"ID": ["a", "b"], "WT": [60.0, 90.0]}).to_csv(table, index=False)
    words = ["trial", str(model), "--target", "12", "--patients", "4", "--weeks", "8"]
    assert main([*words, "--dose", "300", "--covariates", str(table)]) == 0
    assert "every 4 weeks" in capsys.readouterr().out
    assert main(words) == 2
    assert "A model has no doses" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "needs a model or a fit"),
        (["natalizumab", "--by-weight", "heavy"], "--by-weight is 'heavy'"),
        (["natalizumab", "--informed", "90"], "between 0 and 1"),
        (["natalizumab", "--intervals", "8:4"], "--weeks is '8:4'"),
        (["natalizumab", "--covariates", "nowhere.csv"], "no file of covariates"),
        (["natalizumab", "--out", "."], "name a new folder"),
    ],
)
def test_what_makes_no_sense_is_refused(capsys, words, said):
    assert main(["trial", *words, "--target", "5"]) == 2
    assert said in " ".join(capsys.readouterr().err.split())

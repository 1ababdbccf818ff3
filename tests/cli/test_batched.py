"""`popk batch`."""

import pandas as pd
import pytest

from popk.cli import main
from popk.storage import save


@pytest.fixture(scope="module")
def run(tmp_path_factory, fits):
    folder = tmp_path_factory.mktemp("run")
    data = fits.dataset(*fits.history("A", weight=60.0), *fits.history("B", weight=80.0))
    save(fits.fit_of(fits.one_compartment(covariates=True), data), folder / "fit.nc")
    return folder


def test_a_table_is_advised(fits, run, tmp_path, capsys):
    table = tmp_path / "patients.csv"
    rows = [*fits.history("P1"), fits.observe("P2", 1.0, 5.0), *fits.history("P3")]
    frame = pd.DataFrame(rows, columns=fits.COLUMNS).rename(columns={"WT": "KG"})
    frame.to_csv(table, index=False)
    words = ["batch", str(run), str(table), "--target", "10", "--weeks", "4,6", "--cores", "1",
             "--no-checks", "--csv", "--column", "WT=KG", "--out"]  # fmt: skip
    for before in ("", " (3 patients were done before)"):
        assert main([*words, str(tmp_path / "out")]) == 0
        shown = " ".join(capsys.readouterr().out.split())
        assert f"2 of 3 patients have a row of advice{before or ':'}" in shown
        assert "1 could not be advised" in shown
        assert "not checked" in shown
        assert "it does not prescribe" in shown
    found = pd.read_csv(tmp_path / "out" / "advice" / "part-000000.csv")
    assert found["ID"].tolist() == ["P1", "P3"]
    assert found["probability_6wk"].between(0, 1).all()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--target", "-1"], "above zero"),
        (["--target", "10", "--probability", "90"], "between 0 and 1"),
        (["--target", "10", "--units", "time=d"], "leave --units out"),
        (["--target", "10"], "does not exist"),
    ],
)
def test_what_makes_no_sense_is_refused(run, tmp_path, capsys, words, said):
    out = str(tmp_path / "out")
    assert main(["batch", str(run), "nowhere.csv", "--out", out, *words]) == 2
    assert said in " ".join(capsys.readouterr().err.split())

"""The command `popk robustness`, and what `popk report` computes on request."""

import json

import numpy as np
import pandas as pd
import pytest

from popk.cli import main
from popk.individual import Trough, individualise
from popk.storage import save


@pytest.fixture(scope="module")
def run(fits, tmp_path_factory):
    """Folder of a fit with advice on its patients."""
    folder = tmp_path_factory.mktemp("run")
    records = [r for k, n in enumerate("ABC") for r in fits.history(n, weight=60.0 + 10 * k)]
    fit = fits.fit_of(fits.one_compartment(covariates=True), fits.dataset(*records))
    save(fit, folder / "fit.nc")
    advice = individualise(fit, target=Trough(10.0, "mg/L"), samples=100, draws=100)
    save(advice, folder / "advice_10.nc")
    return folder


def test_tables_are_printed_and_written(run, tmp_path, capsys):
    out = tmp_path / "hangs.csv"
    assert main(["robustness", str(run), "--draws", "100", "--out", str(out)]) == 0
    shown = capsys.readouterr().out
    for words in ("Sensitivity to the prior", "Recommended intervals, P(trough ≥ 10 mg/L) ≥ 0.9",
                  "Influence of single patients", "beta_CL_WT", "Written"):  # fmt: skip
        assert words in shown
    assert "LOO-PIT" not in shown
    assert set(pd.read_csv(out)["parameter"]) >= {"CL", "beta_CL_WT", "omega_V"}
    assert set(pd.read_csv(tmp_path / "hangs_influence.csv")["subject"]) == {"A", "B", "C"}
    intervals = pd.read_csv(tmp_path / "hangs_intervals_10.csv")
    assert len(intervals) == 4 * 3
    assert (intervals["largest_change"] < 1).all()


def test_json_holds_all_of_it_and_loo_pit_where_asked_for(run, tmp_path, capsys):
    out = tmp_path / "hangs.json"
    words = ["robustness", str(run), "--draws", "100", "--loo-pit", "--out", str(out)]
    assert main(words) == 0
    assert "LOO-PIT" in capsys.readouterr().out
    found = json.loads(out.read_text(encoding="utf-8"))
    assert {"sensitivity", "intervals_10", "influence", "loo_pit", "notes"} <= set(found)
    pit = np.array([one["pit"] for one in found["loo_pit"]])
    assert len(pit) == 6
    assert ((pit > 0) & (pit < 1)).all()


def test_what_makes_no_sense_is_refused(run, tmp_path, capsys):
    assert main(["robustness", str(run), "--out", "hangs.txt"]) == 2
    assert "expected a file ending in .csv or .json" in capsys.readouterr().err
    assert main(["robustness", str(tmp_path)]) == 2
    assert "holds no fit" in capsys.readouterr().err

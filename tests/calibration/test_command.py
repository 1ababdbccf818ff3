"""`popk sbc`, with the known posterior in place of the sampler."""

import shutil

import pandas as pd
import pytest

from popk.cli import main
from popk.storage import load


@pytest.fixture
def model(volume, tmp_path):
    path = tmp_path / "model.json"
    path.write_text(volume.model().to_json(), encoding="utf-8")
    return path


@pytest.fixture
def design(tmp_path):
    """Two doses and two samples in each of four patients, without any value."""
    rows = ["ID,TIME,EVID,AMT"]
    for who in range(4):
        rows += [f"{who},0,1,300", f"{who},0.0001,0,", f"{who},0.0002,0,"]
    path = tmp_path / "design.csv"
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def known(volume, monkeypatch):
    monkeypatch.setattr("popk.cli.calibrated._method", lambda sampling: volume.Exact())


def asked(model, design, out, *more):
    words = ["sbc", model, design, "--out", out, "--replicates", 4, "--processes", 1, *more]
    return main([str(word) for word in words])


def test_tables_figure_and_verdict_are_written(known, model, design, tmp_path, capsys):
    out = tmp_path / "out"
    assert asked(model, design, out, "--interval", 28, "--target", 19) == 0
    shown = capsys.readouterr().out
    assert "No sign of miscalibration: 5 of 5 quantities" in shown
    assert "bands are wide" in shown
    assert "P(trough ≥ 19 mg/L) 28 d after the last dose" in shown
    names = {path.name for path in out.iterdir()}
    assert {"sbc.nc", "sbc.csv", "ranks.csv", "reliability.csv", "ecdf.svg", "ecdf.png"} <= names
    assert pd.read_csv(out / "sbc.csv")["quantity"].tolist()[0] == "V"
    assert len(pd.read_csv(out / "ranks.csv")) == 4 * (2 + 4 + 4)
    assert load(out / "sbc.nc").attrs["kind"] == "popk calibration"
    assert asked(model, design, out, "--interval", 28, "--target", 5) == 2
    assert "holds another calibration: it differs in the target" in capsys.readouterr().err


def test_what_cannot_be_done_is_one_sentence(model, design, tmp_path, capsys):
    for words, sentence in (
        ([model], "needs a model and a design"),
        ([model, design, "--from", tmp_path], "brings its own model and data"),
        ([model, tmp_path / "none.csv"], "There is no file"),
        ([model, design, "--by", "map"], "among which nothing can be ranked"),
        (["--from", tmp_path], "holds no fit"),
    ):
        given = ["sbc", *words, "--out", tmp_path / "out"]
        assert main([str(word) for word in given]) == 2
        said = capsys.readouterr().err
        assert sentence in said
        assert "Traceback" not in said
    shutil.rmtree(tmp_path / "out", ignore_errors=True)

"""The command `popk compare`."""

import json
from dataclasses import replace

import pandas as pd
import pytest

from popk.cli import main
from popk.statistics import IIV, LogNormal
from popk.storage import save


@pytest.fixture(scope="module")
def runs(fits, tmp_path_factory):
    """Folders of two fits of the same data."""
    folder = tmp_path_factory.mktemp("runs")
    data = fits.dataset(*fits.history("A"), *fits.history("B", (30.0, 27.0)))
    model = fits.one_compartment()
    fixed = replace(model, iiv=IIV({"CL": LogNormal(0.1, cv=0.05)}))
    for name, own in (("varies", model), ("alike", fixed)):
        (folder / name).mkdir()
        save(fits.fit_of(own, data), folder / name / "fit.nc")
    return [folder / "varies", folder / "alike"]


def test_the_table_is_printed_and_written(runs, tmp_path, capsys):
    out = tmp_path / "table.csv"
    words = ["compare", *map(str, runs), "--no-refit", "--out", str(out)]
    assert main(words) == 0
    shown = capsys.readouterr().out
    for word in ("Predicting new patients", "varies", "alike", "SE of the difference", "Written"):
        assert word in shown
    frame = pd.read_csv(out, index_col="model")
    assert set(frame.index) == {"varies", "alike"}
    assert frame["stacking"].sum() == pytest.approx(1.0)


def test_json_holds_the_notes_and_every_prediction(runs, tmp_path):
    out = tmp_path / "table.json"
    given = ["compare", *map(str, runs), "--no-refit", "--by", "future", "--out", str(out)]
    assert main(given) == 0
    found = json.loads(out.read_text(encoding="utf-8"))
    assert found["unit"] == "future"
    assert len(found["pointwise"]) == 2 * 4
    assert {one["model"] for one in found["comparison"]} == {"varies", "alike"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["{0}"], "popk compare needs two runs or more"),
        (["{0}", "{0}"], "is given twice"),
        (["{0}", "{1}", "--out", "table.txt"], "expected a file ending in .html, .csv or .json"),
        (["{0}", "{1}", "--out", "t.csv", "--pdf"], "give --out FILE.html with them"),
        (["{0}", "nowhere"], "nowhere holds no fit"),
    ],
)
def test_what_cannot_be_compared_is_refused(runs, capsys, words, said):
    assert main(["compare", *(word.format(*runs) for word in words)]) == 2
    assert said in capsys.readouterr().err


def test_a_report_holds_the_runs_and_their_comparison(trees, tmp_path, capsys):
    data = trees.cohort(3)
    for name, seed in (("first", 1), ("second", 2)):
        (tmp_path / name).mkdir()
        save(trees.fit_tree(data, seed=seed), tmp_path / name / "fit.nc")
    out = tmp_path / "page.html"
    runs = [str(tmp_path / name) for name in ("first", "second")]
    assert main(["compare", *runs, "--no-refit", "--out", str(out), "--no-checks"]) == 0
    html = out.read_text(encoding="utf-8")
    assert "<h1>first and second: population models compared</h1>" in html
    for words in ("Predicting new patients", "Answer: ", "Population parameters, side by side"):
        assert words in html
    assert "page.html" in capsys.readouterr().out

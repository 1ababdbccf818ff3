"""What came of the checks, as a page, as values and on the command line."""

import json

import pytest

from popk.cli import main
from popk.qualification import (
    Check,
    Measure,
    Outcome,
    Qualification,
    as_markdown,
    as_values,
    qualify,
    write,
)
from popk.storage import StorageError


@pytest.fixture(scope="module")
def found():
    return qualify("integrity")


@pytest.fixture
def failed(found):
    check = Check("one | other", "integrity", ("R-15",), "something", "because", list)
    measures = (Measure("too much", 2.0, 1.0), Measure("no number", float("nan"), 1.0))
    outcomes = (*found.outcomes, Outcome(check, measures, "", 0.1))
    return Qualification(outcomes, found.kinds, found.created, 1.0, hashes=found.hashes)


def test_it_never_says_that_results_are_correct(found, failed):
    for one in (found, failed):
        page = as_markdown(one)
        assert "does not make results correct" in page
        assert "research software; it informs, it does not prescribe" in " ".join(page.split())
    assert found.words == (
        "This installation reproduces the integrity references within tolerance."
    )
    assert failed.words.startswith("This installation does NOT reproduce the references")
    assert "1 of 4 checks failed (one | other)" in failed.words


def test_the_page_holds_every_figure_with_its_limit_versions_and_hashes(found, failed):
    page = as_markdown(failed)
    assert "| 2 (at most 1) | **FAIL** |" in page
    assert "| nan (at most 1) | **FAIL** |" in page
    assert "one \\| other" in page
    assert f"| numpy | {found.versions['numpy']} |" in page
    assert f"| code: engine | `{found.hashes['code']['engine']}` |" in page
    assert "Only the integrity checks were made." in page
    rows = {line.split(" | ")[0]: line for line in page.splitlines() if line.startswith("| R-")}
    assert rows["| R-13"].endswith("| pass |")
    assert rows["| R-15"].endswith("| **FAIL** |")
    assert rows["| R-01"].endswith("| not checked |")
    assert rows["| R-16"].endswith("| – |")
    widths = {line.replace("\\|", "").count("|") for line in rows.values()}
    assert widths == {5}


def test_values_survive_json_and_say_the_same(failed):
    values = as_values(failed)
    assert json.loads(json.dumps(values, allow_nan=False)) == values
    assert values["passed"] is False
    last = values["checks"][-1]
    assert [one["figure"] for one in last["figures"]] == [2.0, None]
    assert not any(one["passed"] for one in last["figures"])
    assert {"natalizumab", "vancomycin"} <= set(values["hashes"]["models"])


def test_a_file_where_the_folder_is_to_be_is_refused(found, tmp_path):
    place = tmp_path / "out"
    place.write_text("mine")
    with pytest.raises(StorageError, match="is a file; a folder's name was expected"):
        write(found, place)
    assert main(["qualify", "--only", "integrity", "--out", str(place)]) == 2
    assert place.read_text() == "mine"


def test_a_folder_that_cannot_be_written_to_is_refused_before_any_check(
    tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr("os.access", lambda path, mode: False)
    assert main(["qualify", "--out", str(tmp_path)]) == 2
    shown = capsys.readouterr()
    assert "Nothing can be written to" in " ".join(shown.err.split())
    assert "pass" not in shown.out


def test_the_command_writes_both_files_and_ends_with_its_code(tmp_path, capsys, monkeypatch):
    out = tmp_path / "deep" / "out"
    words = ["qualify", "--only", "integrity", "--out", str(out), "--json"]
    assert main(words) == 0
    shown = capsys.readouterr()
    found = json.loads(shown.out)
    assert found["passed"] is True
    assert found["written"] == [str(out / "VALIDATION.md"), str(out / "validation.json")]
    assert "pass  damaged results" in shown.err
    stored = json.loads((out / "validation.json").read_text(encoding="utf-8"))
    assert stored["checks"] == found["checks"]
    from popk.qualification import integrity

    monkeypatch.setattr(integrity, "UNITS", integrity.UNITS | {"WT": "furlong"})
    assert main(words) == 3
    shown = capsys.readouterr()
    assert json.loads(shown.out)["passed"] is False
    assert "FAIL  broken data" in shown.err
    assert "could not be made" in shown.err

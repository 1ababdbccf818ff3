"""A study carried out: each step once, the same results each time, nothing replaced unasked."""

import json
import shutil
import signal
from pathlib import Path

import pytest

from popk.cli import main
from popk.inference.runs.lock import locked
from popk.storage import StorageError
from popk.study import StudyError, carry_out, make_ready, read_study
from popk.study.conduct import Watch
from popk.verification import verify

MODEL = """
from popk import IIV, HalfNormal, LogNormal, PopModel, Proportional
from popk.structure import OneCompartment

model = PopModel(
    OneCompartment(),
    typical={"CL": LogNormal(0.2, cv=0.3), "V": LogNormal(5, cv=0.3)},
    iiv=IIV({"CL": HalfNormal(0.3)}),
    error=Proportional(HalfNormal(0.3)),
    units={"time": "d", "amount": "mg", "concentration": "mg/L"},
    name="own",
)
"""
STUDY = """\
seed = 7
out = "results"
[data]
path = "cohort.csv"
[models.own]
model = "own.py"
draws = 100
chains = 2
[advice]
target = [10, 5]
models = "own"
weeks = [4, 6]
[checks]
diagnose = false
robustness = false
"""
HEADER = "ID,TIME,EVID,AMT,DV\n"


def cohort():
    rows = []
    for k, (first, second) in enumerate([(17.0, 21.0), (25.0, 33.0), (12.0, 15.0)], start=1):
        rows += [f"{k},0,1,300,", f"{k},28,0,,{first}", f"{k},28,1,300,", f"{k},56,0,,{second}"]
    return HEADER + "\n".join(rows) + "\n"


def folder_with(folder: Path) -> Path:
    (folder / "own.py").write_text(MODEL)
    (folder / "cohort.csv").write_text(cohort())
    (folder / "study.toml").write_text(STUDY)
    return folder / "study.toml"


@pytest.fixture(scope="module")
def carried(tmp_path_factory):
    """A study's file, and what came of it."""
    path = folder_with(tmp_path_factory.mktemp("study"))
    return path, carry_out(make_ready(read_study(path)))


def again(path, **options):
    return carry_out(make_ready(read_study(path)), **options)


def test_everything_is_in_the_folder_and_in_the_manifest(carried):
    path, found = carried
    manifest = json.loads((found.out / "manifest.json").read_text())
    assert set(manifest["steps"]) == {
        "priors of own", "fit of own", "advice by own for 10 mg/L", "advice by own for 5 mg/L",
        "report on own",
    }  # fmt: skip
    for step in manifest["steps"].values():
        assert all((found.out / file).is_file() for file in step["files"])
    assert (found.out / "own" / "report.html").is_file()
    assert (found.out / "own" / "advice_5.csv").is_file()
    assert (found.out / "study.toml").read_text() == path.read_text()
    assert manifest["study"]["seed"] == 7
    assert manifest["data"]["file"] == "cohort.csv"
    assert manifest["data"]["subjects"] == 3
    assert len(manifest["models"]["own"]["hash"]) == 64
    assert manifest["digest"] == found.digest


def test_every_file_is_verified_against_manifest_and_journal(carried, tmp_path):
    out = shutil.copytree(carried[1].out, tmp_path / "out")
    found = verify(out)
    assert found.intact
    assert found.vouched
    assert found.kind == "study"
    assert not [one.file for one in found.files if one.state == "additional"]
    assert verify(out, expect=found.head).intact
    assert not verify(out, expect="0" * 64).intact
    for path in sorted(path for path in out.rglob("*") if path.is_file() and path.name != "lock"):
        content = path.read_bytes()
        for place in (len(content) // 3, len(content) - 3):
            changed = bytearray(content)
            changed[place] ^= 4
            path.write_bytes(changed)
            assert not verify(out).intact, path
        path.unlink()
        assert not verify(out).intact, path
        path.write_bytes(content)
    (out / "notes.txt").write_text("mine")
    assert verify(out).intact


def test_a_damaged_manifest_or_run_is_refused_in_a_sentence(carried, tmp_path):
    path = folder_with(tmp_path)
    out = shutil.copytree(carried[1].out, tmp_path / "results")
    manifest, run = out / "manifest.json", out / "own" / "run.json"
    for place in (manifest, run):
        content = place.read_bytes()
        spots = [content.index(b'"digest": "') + 15] if place == manifest else [30, 200]
        for changed in (*(content[:k] + b"\xff" + content[k + 1 :] for k in spots), content[:-20]):
            place.write_bytes(changed)
            with pytest.raises(StorageError, match=rf"{place.name} is (damaged|not what was)"):
                again(path)
        place.write_bytes(content)
    assert again(path).done == ()


def test_what_is_done_is_not_done_again(carried):
    path, before = carried
    found = again(path)
    assert found.done == ()
    assert found.digest == before.digest


def test_elsewhere_the_same_study_gives_the_same_digests(carried, tmp_path):
    _, before = carried
    found = again(folder_with(tmp_path))
    assert found.steps == before.steps
    assert found.digest == before.digest


def test_a_damaged_file_is_made_again_and_another_question_repeats_no_fit(carried):
    path, before = carried
    (before.out / "own" / "advice_10.csv").write_text("changed")
    assert set(again(path).done) == {"advice by own for 10 mg/L"}
    path.write_text(STUDY.replace("[10, 5]", "[10, 3]"))
    found = again(path)
    assert set(found.done) == {"advice by own for 3 mg/L", "report on own"}
    assert "own/advice_5.csv" in found.left
    assert verify(found.out).intact
    path.write_text(STUDY)
    assert again(path).digest == before.digest


def test_another_fit_is_replaced_only_where_that_is_asked_for(carried):
    path, before = carried
    path.write_text(STUDY.replace("seed = 7", "seed = 8"))
    with pytest.raises(StudyError, match=r"own differs in the seed\.(.|\n)*--overwrite"):
        again(path)
    assert json.loads((before.out / "manifest.json").read_text())["study"]["seed"] == 7
    found = again(path, overwrite=True)
    assert "fit of own" in found.done
    assert found.steps["fit of own"] != before.steps["fit of own"]
    assert verify(found.out).intact
    assert not (before.out / "own" / "advice_3.csv").exists()  # made from the fit of before


def test_an_interrupted_study_says_how_to_go_on(tmp_path):
    path = folder_with(tmp_path)

    def stop(text):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        again(path, watch=Watch(say=stop))
    assert f"popk run {path} goes on from there." in caught.value.__notes__[0]


def test_sigterm_ends_a_study_in_order_and_another_process_is_refused(tmp_path, capsys):
    path = folder_with(tmp_path)

    def stop(text):
        signal.raise_signal(signal.SIGTERM)

    with pytest.raises(SystemExit) as caught:
        again(path, watch=Watch(say=stop))
    assert caught.value.code == 143
    assert f"popk run {path} goes on from there." in caught.value.__notes__[0]
    with locked(tmp_path / "results" / "lock"):
        assert main(["run", str(path)]) == 2
    assert "is in use by process" in capsys.readouterr().err


def test_the_command_checks_without_fitting(tmp_path, capsys):
    path = folder_with(tmp_path)
    assert main(["run", str(path), "--check"]) == 0
    shown = capsys.readouterr().out
    assert "subjects: 3" in shown
    assert "can be carried out" in shown
    assert not (tmp_path / "results").exists()


def test_data_models_and_file_are_refused_together(tmp_path, capsys):
    path = folder_with(tmp_path)
    (tmp_path / "cohort.csv").write_text(cohort().replace("17.0", "-1").replace("21.0", "x"))
    text = STUDY.replace('"own.py"', '"own.py:mode"').replace("draws = 100\n", "")
    path.write_text(text + '[models.two]\nmodel = "aspirin"\n[models.three]\nmodel = "own.py"\n')
    assert main(["run", str(path), "--check"]) == 2
    shown = capsys.readouterr().err
    assert "study.toml cannot be carried out: 3 problems." in shown
    assert "line 6, [models.own] model: " in shown
    assert "does not define mode" in shown
    assert "[models.two] model: There is no model aspirin" in shown
    assert "line 4, [data] path: cohort.csv cannot be used: 2 errors." in shown
    assert "row 3" in shown
    assert "row 5" in shown


def test_data_that_do_not_fit_the_model_are_refused(tmp_path, capsys):
    path = folder_with(tmp_path)
    units = 'units = {time = "h", amount = "mg", concentration = "mg/L"}\n'
    path.write_text(STUDY.replace('path = "cohort.csv"\n', f'path = "cohort.csv"\n{units}'))
    assert main(["run", str(path), "--check"]) == 2
    assert "line 6, [models.own]" in capsys.readouterr().err

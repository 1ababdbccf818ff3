"""`popk verify` of a run: every byte that changed is found, and what cannot be found is said."""

import json
import re
import shutil

import pytest

from popk.cli import main
from popk.errors import SettingError
from popk.inference import Marginal, discard_run, resume, sample
from popk.journal import JOURNAL, Journal
from popk.storage import StorageError, checksum, load, sidecar_line, sidecar_of
from popk.verification import verify


@pytest.fixture
def run(finished_run, tmp_path):
    return shutil.copytree(finished_run, tmp_path / "run")


def flip(path, place):
    content = bytearray(path.read_bytes())
    content[place] ^= 4
    path.write_bytes(content)


def files_of(run):
    return [path for path in sorted(run.rglob("*")) if path.is_file() and path.name != "lock"]


def states(found):
    return {one.file: one.state for one in found.files if one.state != "intact"}


def test_a_run_as_it_was_written_is_intact(run):
    found = verify(run)
    assert found.intact
    assert found.vouched
    assert not states(found)
    names = {path.relative_to(run).as_posix() for path in files_of(run)}
    assert {one.file for one in found.files} == names - {JOURNAL}
    assert found.head == Journal(run).read().head
    assert f"Intact: {len(found.files)} files" in str(found)
    assert found.head in found.limits


def test_a_byte_cut_or_file_that_is_missing_is_found_in_every_file(run):
    for path in files_of(run):
        name, content = path.relative_to(run).as_posix(), path.read_bytes()
        for place in (0, len(content) // 2, len(content) - 1):
            flip(path, place)
            found = verify(run)
            assert not found.intact, (name, place)
            if name != JOURNAL:
                assert states(found) == {name: "changed"}
                assert f"{name} is not the file that was written" in found.damages[0]
            path.write_bytes(content)
        path.write_bytes(content[:-1])
        assert not verify(run).intact, name
        path.write_bytes(b"")
        assert not verify(run).intact, name
        path.unlink()
        assert not verify(run).intact, name
        path.write_bytes(content)
    assert verify(run).intact


def test_a_fit_that_was_changed_together_with_all_checksums_is_found(run):
    """Whoever knows the checksum file and the manifest, but not the journal."""
    assert main(["resume", str(run)]) in (0, 3)
    before = checksum(run / "fit.nc")
    flip(run / "fit.nc", -100)
    now = checksum(run / "fit.nc")
    sidecar_of(run / "fit.nc").write_text(sidecar_line(now, run / "fit.nc"))
    manifest = run / "manifest.json"
    text = manifest.read_text(encoding="utf-8")
    assert before in text
    manifest.write_text(text.replace(before, now), encoding="utf-8")
    assert set(states(verify(run))) == {"fit.nc", "fit.nc.sha256", "manifest.json"}


def test_a_journal_rewritten_as_a_whole_is_found_by_its_hash_alone(run):
    head = verify(run).head
    flip(run / "fit.nc", -100)
    entries = Journal(run).read().entries
    (run / JOURNAL).unlink()
    sums = {"fit.nc": checksum(run / "fit.nc")}
    sums["fit.nc.sha256"] = checksum(run / "fit.nc.sha256")
    for entry in entries:
        keys = {"number", "time", "event", "before", "files", "gone"}
        more = {key: value for key, value in entry.content.items() if key not in keys}
        files = {**entry.content.get("files", {}), **(sums if entry.event == "finished" else {})}
        Journal(run).append(entry.event, files=files, **more)
    assert verify(run).intact  # nothing in the folder tells
    found = verify(run, expect=head)
    assert not found.intact
    assert f"The hash is not the one expected, {head}" in found.damages[0]


def test_an_expected_hash_may_be_that_of_an_earlier_line(run):
    head = verify(run).head
    (run / "more.csv").write_text("x\n")
    Journal(run).append("written", files={"more.csv": checksum(run / "more.csv")})
    found = verify(run, expect=head[:16])
    assert found.intact
    assert any("nothing up to there was rewritten" in note for note in found.notes)
    now = verify(run, expect=found.head)
    assert any("The hash is the one expected" in note for note in now.notes)
    for wrong in ("abc", head.upper(), head + "0"):
        with pytest.raises(SettingError, match="give the one that popk verify printed"):
            verify(run, expect=wrong)


def test_what_the_last_line_announces_may_not_have_come_about(run):
    """Killed between the line and the file: it is said, and resuming writes it."""
    (run / "fit.nc").unlink()
    found = verify(run)
    assert states(found) == {"fit.nc": "missing"}
    assert "The last line of the journal announces it" in found.damages[0]
    Journal(run).append("goes on", files={"history.json": "0" * 64})
    assert "and it is as before" in verify(run).damages[-1]
    resume(run, progress=False)
    assert verify(run).intact


def test_files_of_others_are_named_and_no_error(run):
    (run / "notes.txt").write_text("mine")
    (run / "empty.txt").touch()
    found = verify(run)
    assert found.intact
    assert states(found) == {"notes.txt": "additional", "empty.txt": "additional"}


def test_a_fit_that_the_journal_does_not_know_is_not_believed(run):
    """Its lines taken away, as if it had never been finished: it is made again, not read."""
    fit = load(run / "fit.nc")
    lines = (run / JOURNAL).read_bytes().splitlines(keepends=True)
    (run / JOURNAL).write_bytes(b"".join(lines[:-1]))
    assert states(verify(run)) == {
        "fit.nc": "unknown", "fit.nc.sha256": "unknown", "verdict.json": "unknown",
    }  # fmt: skip
    stages = []
    again = resume(run, progress=lambda report: stages.append(report.stage))
    assert "is not the fit that journal.jsonl has. It is made again" in stages[0]
    assert again["posterior"].identical(fit["posterior"])
    assert verify(run).intact


def test_a_journal_that_is_gone_and_one_that_never_was(run, capsys):
    (run / JOURNAL).unlink()
    assert verify(run).damages == (f"{JOURNAL} is missing: run.json says that there is one.",)
    described = json.loads((run / "run.json").read_text(encoding="utf-8"))
    del described["journal"]  # as versions of popk wrote it that kept none
    (run / "run.json").write_text(json.dumps(described, indent=2), encoding="utf-8")
    assert main(["verify", str(run)]) == 3
    out = capsys.readouterr().out
    assert f"There is no {JOURNAL}: the run was made by a version of popk that kept none." in out
    assert "Not contradicted:" in out
    for name in ("fit.nc", "data.nc", "model.json", "run.json", "fit.nc.sha256"):
        content = (run / name).read_bytes()
        flip(run / name, content.index(b"0.3") if name == "model.json" else len(content) // 2)
        found = verify(run)
        if name != "run.json":  # most of which nothing else tells of
            assert not found.intact, name
        (run / name).write_bytes(content)
    resume(run, progress=False)  # begins one
    found = verify(run)
    assert found.intact
    assert not found.vouched
    assert "what happened before is not in it" in found.notes[0]


def test_a_run_that_is_replaced_goes_on_with_its_journal(run, fits):
    before = Journal(run).read()
    discard_run(run)
    assert verify(run).intact
    assert Journal(run).read().files == {}
    data = fits.dataset(*fits.history("A"), *fits.history("B", (25.0, 27.0)))
    method = Marginal(draws=20, chains=2, round_size=100, cores=1)
    sample(fits.one_compartment(cv=0.2), data, method, seed=1, run=run, progress=False)
    told, found = Journal(run).read(), verify(run, expect=before.head)
    assert found.intact
    assert told.entries[: len(before.entries)] == before.entries
    events = [entry.event for entry in told.entries[len(before.entries) :]]
    assert events[:2] == ["discarded", "begun"]
    assert events[-1] == "finished"


def test_a_run_whose_files_are_not_what_was_written_is_not_resumed(run):
    for name in ("run.json", "model.json", "data.nc", "data.nc.sha256", "history.json"):
        content = (run / name).read_bytes()
        for place in range(0, len(content), max(1, len(content) // 7)):
            flip(run / name, place)
            with pytest.raises(StorageError, match=rf"{re.escape(name)} is not what was written"):
                resume(run, progress=False)
            (run / name).write_bytes(content)
    assert verify(run).intact  # a refusal leaves no trace


def test_advice_beside_a_run_is_in_its_journal(run, capsys):
    words = ["individualise", str(run), "cohort", "--target", "10", "--weeks", "4,6"]
    assert main(words) == 0
    found = verify(run)
    assert found.intact
    known = {one.file for one in found.files}
    assert known >= {"advice_10.nc", "advice_10.csv"}
    flip(run / "advice_10.csv", 100)
    capsys.readouterr()
    assert main(["--json", "verify", str(run)]) == 2
    document = json.loads(capsys.readouterr().out)
    assert document["intact"] is False
    rows = {row["file"]: row["state"] for row in document["tables"]["files"]["rows"]}
    assert rows["advice_10.csv"] == "changed"
    assert document["hash"] == found.head
    assert any("advice_10.csv is not the file" in text for text in document["messages"])


def test_what_is_no_folder_of_popk_is_refused(tmp_path, capsys):
    assert main(["verify", str(tmp_path)]) == 2
    assert "holds no run, study or batch of popk" in capsys.readouterr().err
    assert main(["verify", str(tmp_path / "nowhere")]) == 2
    assert "There is no folder" in capsys.readouterr().err

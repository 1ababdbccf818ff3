"""The journal of a folder: a chain that shows every change, and outlives a kill in mid-line."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from popk.journal import JOURNAL, Journal, note_written
from popk.storage import StorageError, checksum


@pytest.fixture
def journal(tmp_path):
    """Three lines."""
    found = Journal(tmp_path)
    found.append("begun", files={"run.json": "a" * 64, "data.nc": "b" * 64}, seed=1, lasting=True)
    found.append("draws", files={"draws/x-000000-cccccccccccccccc.chunk": "c" * 64})
    found.append("written", files={"run.json": "d" * 64}, gone=["data.nc"], words="äß")
    return found


def is_sound(told):
    return not told.faults and not told.torn


def test_lines_hang_together_and_say_what_is_to_be_there(journal):
    told = journal.read()
    assert is_sound(told)
    assert [entry.event for entry in told.entries] == ["begun", "draws", "written"]
    assert [entry.number for entry in told.entries] == [0, 1, 2]
    assert told.entries[0].before == "0" * 64
    for one, next_ in zip(told.entries, told.entries[1:], strict=False):
        assert next_.before == one.hash
    assert told.head == told.entries[-1].hash
    files = told.files
    assert set(files) == {"run.json", "draws/x-000000-cccccccccccccccc.chunk"}
    assert (files["run.json"].digest, files["run.json"].line) == ("d" * 64, 3)
    assert files["run.json"].earlier == "a" * 64
    assert told.is_announced(files["run.json"])
    for line in journal.path.read_text(encoding="utf-8").splitlines():
        assert list(json.loads(line))[-2:] == ["before", "hash"]


def test_every_byte_that_changes_shows(journal):
    content = journal.path.read_bytes()
    for place in range(len(content)):
        changed = bytearray(content)
        changed[place] ^= 1 if place % 2 else 32  # another digit or letter, or case
        journal.path.write_bytes(changed)
        assert not is_sound(journal.read()), place


def test_lines_that_are_removed_exchanged_or_added_show(journal):
    lines = journal.path.read_bytes().splitlines(keepends=True)
    first, second, third = lines
    for others in ([second, third], [first, third], [second, first, third], [*lines, third],
                   [first, first, second, third], [first, b"\n", second, third]):  # fmt: skip
        journal.path.write_bytes(b"".join(others))
        assert journal.read().faults, others
    journal.path.write_bytes(b"")
    assert journal.read().faults == (f"{JOURNAL} is empty.",)


def test_cut_at_any_place_it_is_noticed_and_goes_on(journal):
    """But for cuts between lines: an older state, which only a hash kept elsewhere tells."""
    content = journal.path.read_bytes()
    ends = [place + 1 for place, byte in enumerate(content) if byte == ord("\n")]
    for place in [*range(1, len(content), 3), *ends[:-1], *(end - 1 for end in ends)]:
        journal.path.write_bytes(content[:place])
        whole = sum(end <= place for end in ends)
        told = journal.read()
        assert len(told.entries) == whole
        assert bool(told.torn) == (place not in ends)
        journal.append("resumed")
        after = journal.read()
        assert is_sound(after)
        assert after.entries[-1].event == "resumed"
        # What was whole stays; a line that lacked its end alone is whole, too.
        kept = whole + (place + 1 in ends)
        assert [entry.event for entry in after.entries[:kept]] == ["begun", "draws", "written"][
            :kept
        ]
        mended = [entry for entry in after.entries if entry.event == "mended"]
        assert len(mended) == len(after.notes) == (place not in ends and place + 1 not in ends)
        assert journal.path.read_bytes().startswith(content[:place])  # nothing was taken away


def test_a_process_that_is_killed_while_it_closes_a_line_loses_nothing_either(journal):
    content = journal.path.read_bytes()
    journal.path.write_bytes(content[:-30])
    journal.append("resumed")
    once = journal.path.read_bytes()
    start = once.index(b"\n", len(content) - 31) + 1  # of the line that closes the broken one
    for place in range(start, start + 40):
        journal.path.write_bytes(once[:place])
        if place == start:  # the broken line has got its end, and nothing else came
            assert journal.read().faults
            continue
        assert journal.read().torn
        journal.append("resumed")
        told = journal.read()
        assert is_sound(told)
        assert [entry.event for entry in told.entries] == ["begun", "draws", "mended", "resumed"]


def test_what_stands_in_a_closed_line_is_still_held_fast(journal):
    content = journal.path.read_bytes()
    journal.path.write_bytes(content[:-30])
    journal.append("resumed")
    changed = bytearray(journal.path.read_bytes())
    changed[len(content) - 60] ^= 1
    journal.path.write_bytes(changed)
    assert "is not what was written" in journal.read().faults[0]


def test_after_a_damaged_last_line_nothing_is_added(journal):
    content = bytearray(journal.path.read_bytes())
    content[-90] ^= 1
    journal.path.write_bytes(content)
    with pytest.raises(StorageError, match=r"damaged at its end: popk verify .* says where"):
        journal.append("resumed")
    assert journal.path.read_bytes() == content


def test_those_who_write_at_the_same_time_wait_for_each_other(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda k: Journal(tmp_path).append("written", word=k), range(80)))
    told = Journal(tmp_path).read()
    assert is_sound(told)
    assert sorted(entry.content["word"] for entry in told.entries) == list(range(80))


def test_a_long_last_line_is_found(tmp_path):
    journal = Journal(tmp_path)
    journal.append("begun", files={f"draws/{k}": "0" * 64 for k in range(3000)})
    journal.append("resumed")
    assert is_sound(journal.read())
    assert len(journal.read().entries) == 2


def test_results_beside_a_run_are_taken_down_once_and_when_they_go(journal, tmp_path):
    page, table = tmp_path / "report.html", tmp_path / "report_files" / "tables" / "x.csv"
    page.write_text("page")
    table.parent.mkdir(parents=True)
    table.write_text("a,b\n")
    for _ in range(2):
        note_written(page, tmp_path / "report_files")
    told = journal.read()
    assert len(told.entries) == 4
    assert told.files["report_files/tables/x.csv"].digest == checksum(table)
    page.unlink()
    note_written(page)
    assert "report.html" not in journal.read().files
    elsewhere = Path(tmp_path).parent / f"{tmp_path.name}-elsewhere.csv"
    elsewhere.write_text("x")
    note_written(elsewhere)
    assert len(journal.read().entries) == 5
    elsewhere.unlink()

"""A function over items, in this process, in several and on a cluster, whatever ends on the way."""

import os
import sys

import pytest

from popk.batch import WorkerError, mapped
from popk.errors import SettingError

MODULE = """
import os, signal
from pathlib import Path

def squared(context, item):
    print("noise on standard output")
    if item == context.get("fails"):
        raise ValueError("three is not liked")
    if item == context.get("dies"):
        os.kill(os.getpid(), signal.SIGKILL)
    if item == context.get("dies once"):
        mark = Path(context["folder"]) / "died"
        if not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
    return item**2

def place(context, item):
    return os.getpid()
"""


@pytest.fixture
def squared(tmp_path, monkeypatch):
    (tmp_path / "functions_to_map.py").write_text(MODULE, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "functions_to_map", raising=False)
    import functions_to_map

    yield functions_to_map.squared
    monkeypatch.delitem(sys.modules, "functions_to_map", raising=False)


def test_in_this_process(squared):
    found = list(mapped(squared, range(5), context={"fails": 3}, cores=1, tries=2))
    assert [one.index for one in found] == list(range(5))
    assert [one.value for one in found] == [0, 1, 4, None, 16]
    assert found[3].fault == "ValueError: three is not liked"
    assert [one.tries for one in found] == [1, 1, 1, 2, 1]


def test_a_process_that_dies_is_replaced_and_its_item_done_again(squared, tmp_path):
    context = {"dies once": 4, "dies": 7, "folder": str(tmp_path)}
    taken = []

    def items():
        for k in range(12):
            taken.append(k)
            yield k

    found = {}
    for one in mapped(squared, items(), context=context, cores=2, tries=2):
        found[one.index] = one
        assert len(taken) - len(found) <= 4  # no more in hand than the processes need
    assert {k: one.value for k, one in found.items()} == {
        k: None if k == 7 else k**2 for k in range(12)
    }
    assert (found[4].tries, found[5].tries, found[7].tries) == (2, 1, 2)
    assert "signal 9" in found[7].fault


def test_processes_that_cannot_start_are_said_to(squared, monkeypatch):
    monkeypatch.setenv("PYTHONHOME", "/nowhere")
    with pytest.raises(WorkerError, match="could not be started"):
        list(mapped(squared, range(3), context={}, cores=2))


def test_stopping_half_way_leaves_no_process(squared):
    place = sys.modules["functions_to_map"].place
    found = mapped(place, range(1000), cores=2)
    processes = {next(found).value for _ in range(20)}
    found.close()
    assert os.getpid() not in processes
    for process in processes:
        with pytest.raises(ProcessLookupError):
            os.kill(process, 0)


@pytest.mark.parametrize(
    "wrong", [{"cores": 0}, {"tries": 0}, {"cores": 2, "scheduler": "tcp://x"}]
)
def test_what_makes_no_sense_is_refused(squared, wrong):
    with pytest.raises(SettingError):
        list(mapped(squared, range(3), context={}, **wrong))

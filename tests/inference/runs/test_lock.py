"""One process at a time; a dead one's lock is nobody's."""

import os
import signal
import subprocess
import sys

import pytest

from popk.inference.runs.lock import locked
from popk.storage import StorageError

HOLD = """
import sys, time
from pathlib import Path
from popk.inference.runs.lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_one_is_refused_and_told_who_holds_it(tmp_path):
    with (
        locked(tmp_path / "lock") as left,
        pytest.raises(StorageError, match=f"in use by process {os.getpid()} on"),
        locked(tmp_path / "lock"),
    ):
        pass
    assert left == ""
    with locked(tmp_path / "lock") as left:
        assert left == ""


def test_another_process_is_refused_until_it_is_killed(tmp_path):
    path = tmp_path / "lock"
    other = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE)
    try:
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(StorageError, match=f"process {other.pid} on"), locked(path):
            pass
        other.send_signal(signal.SIGKILL)
        other.wait()
        with locked(path) as left:
            assert f"left behind by process {other.pid} on" in left
            assert str(os.getpid()) in path.read_text(encoding="utf-8")
    finally:
        other.kill()
        other.wait()
        other.stdout.close()
    assert path.read_text(encoding="utf-8") == ""

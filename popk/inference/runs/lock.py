"""One process at a time in a run's folder: a lock that ends with the process that holds it."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from popk.storage import StorageError

__all__ = ["locked"]

if sys.platform == "win32":  # pragma: no cover - another system
    import msvcrt

    _BEHIND = 1 << 20  # the byte that is locked: a locked one cannot be read

    def _take(file: IO[str]) -> None:
        file.seek(_BEHIND)
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        finally:
            file.seek(0)

    def _give(file: IO[str]) -> None:
        file.seek(_BEHIND)
        msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)
        file.seek(0)
else:
    import fcntl

    def _take(file: IO[str]) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _give(file: IO[str]) -> None:
        fcntl.flock(file, fcntl.LOCK_UN)


@contextmanager
def locked(path: Path) -> Iterator[str]:
    """Hold a lock while the block runs; gives a sentence where a dead process had left it.

    The operating system gives the lock up when its process ends, however it ends, so nobody has to
    find out whether a number in a file still is a process. The number is there for people.

    Parameters
    ----------
    path
        The lock's file; it stays, empty, when the lock is given up.

    Raises
    ------
    StorageError
        When another process, or another thread of this one, holds it.
    """
    with path.open("a+", encoding="utf-8") as file:
        file.seek(0)
        try:
            _take(file)
        except (BlockingIOError, PermissionError) as fault:
            owner = file.read().strip() or "another process"
            raise StorageError(
                f"{path.parent} is in use by {owner}. Wait until it ends, or end it, then try "
                "again; or give another folder."
            ) from fault
        before = file.read().strip()
        try:
            _rewrite(file, f"process {os.getpid()} on {platform.node()}")
            yield f"It was left behind by {before}, which has ended." if before else ""
        finally:
            _rewrite(file, "")
            _give(file)


def _rewrite(file: IO[str], text: str) -> None:
    file.seek(0)
    file.truncate()
    file.write(text)
    file.flush()

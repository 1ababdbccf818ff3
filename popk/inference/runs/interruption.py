"""What ends a run early, and how it is told: signals, a full disk."""

from __future__ import annotations

import errno
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NoReturn

from popk.storage import StorageError

__all__ = ["Terminated", "explained", "terminable"]

_FULL = {errno.ENOSPC, errno.EDQUOT}


class Terminated(SystemExit):
    """The process was asked to end by SIGTERM; its exit status is 143 (128 + 15)."""

    def __init__(self) -> None:
        super().__init__(128 + signal.SIGTERM)


@contextmanager
def terminable() -> Iterator[None]:
    """Let SIGTERM raise `Terminated` while the block runs, so that what was drawn can be written.

    Only in the main thread, and only where nobody else handles it.
    """

    def end(number: int, frame: FrameType | None) -> NoReturn:
        del number, frame
        raise Terminated

    mine = threading.current_thread() is threading.main_thread()
    if not mine or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


@contextmanager
def explained(folder: Path) -> Iterator[None]:
    """Say how to go on, whatever ends the block early.

    Raises
    ------
    StorageError
        When the disk is full.
    """
    how = f"popk resume {folder} goes on from what is stored there."
    try:
        yield
    except OSError as fault:
        if fault.errno in _FULL:
            raise StorageError(
                f"The disk that holds {folder} is full. Make room on it. {how}"
            ) from fault
        raise
    except (KeyboardInterrupt, Terminated) as fault:
        fault.add_note(how)
        raise

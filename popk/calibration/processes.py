"""Replicates side by side: one process for each, with one thread."""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from popk.errors import PopkError

__all__ = ["WorkerError", "made_by_processes"]

_THREADS = (
    "NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)  # fmt: skip
_WAIT = 0.2  # seconds


class WorkerError(PopkError):
    """A process that ended before its replicates were made; the text says what it said."""


def made_by_processes(
    folder: Path, numbers: Sequence[int], *, processes: int, made: Callable[[], None]
) -> None:
    """Have processes make these replicates, each the next one as soon as it is free.

    Parameters
    ----------
    folder
        The calibration's folder.
    numbers
        The replicates to make.
    processes
        How many processes, each with a single thread.
    made
        Called after each replicate, in this thread.

    Raises
    ------
    WorkerError
        When a process ends early.
    """
    waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
    for number in numbers:
        waiting.put(number)
    answers: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    with tempfile.TemporaryFile() as errors:
        workers = [_started(folder, errors.fileno()) for _ in range(min(processes, len(numbers)))]
        threads = [
            threading.Thread(target=_served, args=(one, waiting, answers), daemon=True)
            for one in workers
        ]
        try:
            for thread in threads:
                thread.start()
            _counted(len(numbers), answers, made)
        except _EndedError as fault:
            errors.seek(0)
            said = errors.read().decode(errors="replace").strip().splitlines()
            raise WorkerError(
                f"A process ended while it made replicate {fault.number}"
                f"{f': {said[-1]}' if said else ' (was it killed, or out of memory?)'}. The others "
                f"are kept in {folder}; the same command goes on from there."
            ) from None
        finally:
            _end(workers, threads)


def _end(workers: Sequence[subprocess.Popen[str]], threads: Sequence[threading.Thread]) -> None:
    for one in workers:
        one.terminate()
    for one in workers:
        one.wait()
    for thread in threads:
        if thread.ident is not None:  # it was started
            thread.join()
    for one in workers:
        for pipe in (one.stdin, one.stdout):
            with suppress(OSError):  # what was not read by a worker that is gone
                if pipe is not None:
                    pipe.close()


class _EndedError(Exception):
    def __init__(self, number: str) -> None:
        super().__init__(number)
        self.number = number


def _started(folder: Path, errors: int) -> subprocess.Popen[str]:
    environment = os.environ | dict.fromkeys(_THREADS, "1")
    return subprocess.Popen(
        [sys.executable, "-m", "popk.calibration.worker", str(folder)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment,
    )  # fmt: skip


def _served(
    worker: subprocess.Popen[str],
    waiting: queue.SimpleQueue[int],
    answers: queue.SimpleQueue[str | None],
) -> None:
    """Give a worker one replicate after the other; its answers, or the number that it left."""
    while True:
        try:
            number = waiting.get_nowait()
        except queue.Empty:
            return
        try:
            assert worker.stdin is not None
            assert worker.stdout is not None
            worker.stdin.write(f"{number}\n")
            worker.stdin.flush()
            answered = worker.stdout.readline()
        except (OSError, ValueError):
            answered = ""
        answers.put(None if answered else str(number))
        if not answered:
            return


def _counted(total: int, answers: queue.SimpleQueue[str | None], made: Callable[[], None]) -> None:
    left = total
    while left:
        try:
            number = answers.get(timeout=_WAIT)  # so that an interruption is heard
        except queue.Empty:
            continue
        if number is not None:
            raise _EndedError(number)
        left -= 1
        made()

"""Map a function over any number of items: in this process, in several, or on a cluster.

Items are taken as they are needed and answers come as they are ready, so memory does not grow with
their number. A process that is killed is replaced and its item done again.
"""

from __future__ import annotations

import os
import pickle
import queue
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, Any

from popk.batch.worker import READY, answered
from popk.errors import PopkError, SettingError

__all__ = ["Outcome", "WorkerError", "mapped", "usable_cores"]

type Function = Callable[[Any, Any], Any]

# One thread each: the processes side by side are the parallelism. PYTHON_CPU_COUNT is what
# os.cpu_count says (Python 3.13 and later).
_THREADS = (
    "NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS", "PYTHON_CPU_COUNT",
)  # fmt: skip
_WAIT = 0.2  # seconds
_WAITING = 2  # items in hand for each process


class WorkerError(PopkError):
    """Processes or a cluster that cannot be had; the text says what was said."""


@dataclass(frozen=True)
class Outcome:
    """What became of one item.

    Parameters
    ----------
    index
        Its place among the items, from 0.
    value
        What the function returned; None where it failed.
    fault
        Why it failed, in words; empty where it did not.
    tries
        How often it was tried.
    """

    index: int
    value: Any
    fault: str
    tries: int


def usable_cores() -> int:
    """Processors that this process may use."""
    return getattr(os, "process_cpu_count", os.cpu_count)() or 1


def mapped(
    function: Function,
    items: Iterable[Any],
    *,
    context: Any = None,
    cores: int | None = None,
    scheduler: str | None = None,
    tries: int = 3,
) -> Generator[Outcome]:
    """``function(context, item)`` of every item, in the order in which they are ready.

    Parameters
    ----------
    function
        A function of a module (not of a script or a lambda: other processes import it). The answer
        should depend on its arguments alone, as it does not say where it is computed.
    items
        What can be pickled; taken one by one as needed.
    context
        What every call is given; pickled, and sent once to each process.
    cores
        How many processes, of one thread each; all processors if None. With 1 it is computed in
        this process, which then is not protected from a crash.
    scheduler
        Address of a Dask scheduler (``tcp://host:8786``) whose workers compute instead.
    tries
        How often an item is tried whose computation fails or whose process ends.

    Yields
    ------
    Outcome
        One for each item. Closing the generator ends the processes.

    Raises
    ------
    SettingError
        When a setting makes no sense, or Dask is asked for and not installed.
    WorkerError
        When processes cannot be started or the scheduler cannot be reached.
    """
    for name, count in (("cores", cores), ("tries", tries)):
        if count is not None and (int(count) != count or count < 1):
            raise SettingError(f"{name} is {count!r}; expected 1 or more.")
    if scheduler is not None:
        if cores is not None:
            raise SettingError(
                "Both cores and scheduler were given; a scheduler uses the workers it has."
            )
        try:
            from popk.batch.cluster import on_cluster
        except ModuleNotFoundError as fault:
            raise SettingError(
                f"A scheduler was given ({scheduler}), and Dask is not installed here: pip install "
                '"popk[cluster]".'
            ) from fault
        yield from on_cluster(scheduler, function, items, context=context, tries=tries)
    elif (cores or usable_cores()) == 1:
        yield from _here(function, items, context, tries)
    else:
        yield from _by_processes(function, items, context, cores or usable_cores(), tries)


def _here(function: Function, items: Iterable[Any], context: Any, tries: int) -> Iterator[Outcome]:
    for index, item in enumerate(items):
        done, value, attempt = False, None, 0
        while not done and attempt < tries:
            done, value = answered(function, context, item)
            attempt += 1
        yield Outcome(index, value if done else None, "" if done else str(value), attempt)


def _by_processes(
    function: Function, items: Iterable[Any], context: Any, cores: int, tries: int
) -> Iterator[Outcome]:
    payload = pickle.dumps(list(sys.path)) + pickle.dumps((function, context))
    waiting: queue.SimpleQueue[tuple[int, Any] | None] = queue.SimpleQueue()
    ready: queue.SimpleQueue[Outcome | BaseException] = queue.SimpleQueue()
    with tempfile.TemporaryFile() as errors:
        workers = [_Worker(payload, errors, tries) for _ in range(cores)]
        threads = [
            threading.Thread(target=one.serve, args=(waiting, ready), daemon=True)
            for one in workers
        ]
        try:
            for thread in threads:
                thread.start()
            yield from _exchanged(items, waiting, ready, _WAITING * cores)
        finally:
            for one in workers:
                one.end()
            for _ in threads:
                waiting.put(None)
            for thread in threads:
                if thread.ident is not None:  # it was started
                    thread.join()
            for one in workers:
                one.close()


def _exchanged(
    items: Iterable[Any],
    waiting: queue.SimpleQueue[tuple[int, Any] | None],
    ready: queue.SimpleQueue[Outcome | BaseException],
    most: int,
) -> Iterator[Outcome]:
    """Hand out items, at most so many at once, and give what comes back."""
    coming, index, left = iter(items), 0, 0
    more = True
    while more or left:
        while more and left < most:
            try:
                item = next(coming)
            except StopIteration:
                more = False
                break
            waiting.put((index, item))
            index, left = index + 1, left + 1
        if not left:
            continue
        try:
            found = ready.get(timeout=_WAIT)  # so that an interruption is heard
        except queue.Empty:
            continue
        if isinstance(found, BaseException):
            raise found
        left -= 1
        yield found


class _Worker:
    """One process at a time, replaced when it ends, and the thread that talks to it."""

    def __init__(self, payload: bytes, errors: IO[bytes], tries: int) -> None:
        self._payload, self._errors, self._tries = payload, errors, tries
        self._process: subprocess.Popen[bytes] | None = None
        self._ended = False
        self._lock = threading.Lock()

    def serve(
        self,
        waiting: queue.SimpleQueue[tuple[int, Any] | None],
        ready: queue.SimpleQueue[Outcome | BaseException],
    ) -> None:
        """Compute item after item until None comes."""
        try:
            while (given := waiting.get()) is not None and not self._ended:
                ready.put(self._tried(*given))
        except BaseException as fault:  # noqa: BLE001 - raised in the thread that waits for it
            ready.put(fault)

    def end(self) -> None:
        """End the process, and start no other."""
        with self._lock:
            self._ended = True
            process = self._process
        if process is not None:
            process.kill()

    def close(self) -> None:
        """Put the process away once its thread has ended."""
        if self._process is not None:
            self._lost(self._process)

    def _tried(self, index: int, item: Any) -> Outcome:
        content, fault = pickle.dumps(item), ""
        for attempt in range(1, self._tries + 1):
            if self._ended:
                break
            process = self._running()
            try:
                assert process.stdin is not None
                assert process.stdout is not None
                process.stdin.write(content)
                process.stdin.flush()
                done, value = pickle.load(process.stdout)
            except (OSError, EOFError, pickle.UnpicklingError):
                fault = self._lost(process)
                continue
            if done:
                return Outcome(index, value, "", attempt)
            fault = str(value)
        return Outcome(index, None, fault, self._tries)

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is not None:
            return self._process
        with self._lock:
            if self._ended:
                raise WorkerError("The processes were ended.")
            self._process = process = subprocess.Popen(
                [sys.executable, "-m", "popk.batch.worker"],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors,
                env=os.environ | dict.fromkeys(_THREADS, "1"),
            )  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(self._payload)
            process.stdin.flush()
            started = pickle.load(process.stdout) == READY
        except (OSError, EOFError, pickle.UnpicklingError):
            started = False
        if not started:
            raise WorkerError(f"A process could not be started: {self._lost(process)}")
        return process

    def _lost(self, process: subprocess.Popen[bytes]) -> str:
        """Put away a process that has ended; why, as far as it said."""
        self._process = None
        process.kill()
        code = process.wait()
        for pipe in (process.stdin, process.stdout):
            with suppress(OSError):  # what a process that is gone has not read
                if pipe is not None:
                    pipe.close()
        if code < 0:
            return f"The process that computed it was ended by signal {-code} (out of memory?)."
        self._errors.seek(0)
        said = self._errors.read().decode(errors="replace").strip().splitlines()
        return f"The process that computed it ended (code {code}){f': {said[-1]}' if said else '.'}"

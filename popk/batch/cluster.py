"""The same mapping on the workers of a Dask cluster."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError
from contextlib import suppress
from importlib.metadata import version
from typing import Any
from uuid import uuid4

from distributed import Client, Future, KilledWorker, WorkerPlugin, as_completed, get_worker

from popk.batch.worker import answered
from popk.batch.workers import Outcome, WorkerError
from popk.errors import SettingError

__all__ = ["on_cluster"]

type Function = Callable[[Any, Any], Any]

_TIMEOUT = 20  # seconds
_WAITING = 2  # items in hand for each thread of a worker


class _Context(WorkerPlugin):
    """What every call is given: sent once to each worker, those that come later included."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.version = version("popk")
        self._known: tuple[Function, Any] | None = None
        self._lock: Any = None

    def setup(self, worker: Any) -> None:
        """Make it ready in a worker.

        Raises
        ------
        WorkerError
            When the worker has another version of popk.
        """
        if version("popk") != self.version:
            raise WorkerError(
                f"A worker has popk {version('popk')}, and {self.version} is used here: install "
                "the same on all machines."
            )
        self._known = pickle.loads(self.content)
        self._lock = threading.Lock()

    def answer(self, item: Any) -> tuple[bool, Any]:
        """Compute one item; one at a time in each process."""
        assert self._known is not None
        with self._lock:
            return answered(*self._known, item)


def on_cluster(
    address: str, function: Function, items: Iterable[Any], *, context: Any, tries: int
) -> Iterator[Outcome]:
    """As `popk.batch.mapped`, on the workers of the scheduler at an address.

    Dask does an item again whose worker was lost, and gives it up when it has cost as many workers
    as the scheduler allows (``distributed.scheduler.allowed-failures``, 3).

    Raises
    ------
    SettingError
        When the address makes no sense.
    WorkerError
        When the scheduler cannot be reached, or workers have another popk.
    """
    try:
        client: Any = Client(  # type: ignore[no-untyped-call]
            address, timeout=_TIMEOUT, set_as_default=False
        )
    except ValueError as fault:
        raise SettingError(
            f"The scheduler is {address!r}: {fault}. Give its address, as tcp://host:8786."
        ) from fault
    except OSError as fault:
        raise WorkerError(
            f"The scheduler at {address} could not be reached within {_TIMEOUT} s: is it running, "
            "and may this machine reach it?"
        ) from fault
    name = f"popk-{uuid4().hex}"
    try:
        try:
            client.register_plugin(_Context(pickle.dumps((function, context))), name=name)
            yield from _exchanged(client, name, items, tries)
        finally:
            # With the scheduler gone there is nothing to take away.
            with suppress(OSError, ValueError, CancelledError):
                client.unregister_worker_plugin(name)
    finally:
        client.close()


def _exchanged(client: Any, name: str, items: Iterable[Any], tries: int) -> Iterator[Outcome]:
    coming, index = iter(items), 0
    running: dict[Future[Any], tuple[int, Any, int]] = {}
    ready: Any = as_completed(loop=client.loop)  # type: ignore[no-untyped-call]

    def start(number: int, item: Any, attempt: int) -> None:
        future = client.submit(_answer, name, item, pure=False)
        running[future] = (number, item, attempt)
        ready.add(future)

    more = True
    while more or running:
        most = _WAITING * max(1, sum(client.nthreads().values()))
        while more and len(running) < most:
            try:
                start(index, next(coming), 1)
                index += 1
            except StopIteration:
                more = False
        if not running:
            continue
        future = next(ready)
        number, item, attempt = running.pop(future)
        done, value, again = _result(future)
        future.release()
        if done:
            yield Outcome(number, value, "", attempt)
        elif again and attempt < tries:
            start(number, item, attempt + 1)
        else:
            yield Outcome(number, None, str(value), attempt)


def _result(future: Future[Any]) -> tuple[bool, Any, bool]:
    """Whether there is a value, it or the fault, and whether to try again."""
    try:
        done, value = future.result()
    except KilledWorker:
        # It has been tried as often as the scheduler allows.
        said = "The workers of the cluster that computed it were lost, one after the other"
        return False, f"{said} (out of memory?).", False
    except CancelledError:
        return False, "The cluster lost the computation.", True
    except Exception as fault:  # noqa: BLE001 - whatever it is, it is told and others go on
        return False, f"{type(fault).__name__}: {fault}", True
    return done, value, not done


def _answer(name: str, item: Any) -> tuple[bool, Any]:
    plugin: Any = get_worker().plugins[name]
    return plugin.answer(item)  # type: ignore[no-any-return]

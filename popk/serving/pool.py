"""Work in threads, as much at once as can be done, and a queue that has an end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

__all__ = ["BusyError", "Pool"]


class BusyError(Exception):
    """The queue is full."""


class Pool:
    """Threads with a queue.

    Parameters
    ----------
    threads
        How many work at once.
    waiting
        How many may wait beside them.
    """

    def __init__(self, threads: int = 2, waiting: int = 64) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="popk")
        self._most = threads + waiting
        self._held = 0

    async def run[T](self, work: Callable[[], T]) -> T:
        """The result of the work; it is not begun if nobody waits for it any more.

        Raises
        ------
        BusyError
            When too many wait.
        """
        if self._held >= self._most:
            raise BusyError
        self._held += 1
        future = self._executor.submit(work)
        # Counted until it has really ended, whoever went away before.
        loop = asyncio.get_running_loop()
        future.add_done_callback(lambda _: loop.call_soon_threadsafe(self._ended))
        return await asyncio.wrap_future(future)

    def _ended(self) -> None:
        self._held -= 1

    def close(self) -> None:
        """End the threads; work that waits is dropped."""
        self._executor.shutdown(wait=False, cancel_futures=True)

"""Progress of long work: bars in a terminal, lines in a log."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from popk.inference.nuts import Progress

__all__ = ["silent", "terminal_progress"]

_SECONDS = 10.0  # between lines of a log


@contextmanager
def silent() -> Iterator[Progress]:
    """Report nothing."""

    def report(stage: str, done: int, total: int, divergences: int) -> None:
        del stage, done, total, divergences

    yield report


@contextmanager
def terminal_progress(console: Console | None = None) -> Iterator[Progress]:
    """Show stages, draws, divergences and time: as bars, or as lines where there is no terminal.

    Parameters
    ----------
    console
        Where to show them; standard output if None.
    """
    from rich.console import Console

    console = console or Console()
    shown = _bars(console) if console.is_terminal else _lines(console)
    with shown as report:
        yield report


@contextmanager
def _lines(console: Console) -> Iterator[Progress]:
    began, last, shown = time.perf_counter(), 0.0, ("", -1)

    def report(stage: str, done: int, total: int, divergences: int) -> None:
        nonlocal last, shown
        now = time.perf_counter()
        finished = total > 0 and done >= total
        if stage == shown[0] and (done == shown[1] or (now - last < _SECONDS and not finished)):
            return
        last, shown = now, (stage, done)
        counts = f" {done}/{total}" if total else ""
        note = f", {divergences} divergences" if divergences else ""
        console.print(f"  {now - began:5.0f} s  {stage}{counts}{note}", highlight=False)

    yield report


@contextmanager
def _bars(console: Console) -> Iterator[Progress]:
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        SpinnerColumn,
        TaskID,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bars:
        tasks: dict[str, TaskID] = {}

        def end(task: TaskID) -> None:
            if not bars.tasks[task].total:
                bars.update(task, total=1, completed=1)
            bars.stop_task(task)

        def report(stage: str, done: int, total: int, divergences: int) -> None:
            if stage not in tasks:
                for task in tasks.values():
                    end(task)
                tasks[stage] = bars.add_task(stage, total=total or None, note="")
            note = f"{divergences} divergences" if divergences else ""
            bars.update(tasks[stage], completed=done, note=note)

        yield report
        for task in tasks.values():
            end(task)

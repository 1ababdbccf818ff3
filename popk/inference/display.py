"""Progress on a screen: bars in a terminal, a table in a notebook, lines in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from importlib import import_module
from typing import TYPE_CHECKING, Any

from popk.inference.progress import ChainReport, Listener, Report

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["as_html", "in_notebook", "notebook_progress", "terminal_progress"]

_SECONDS = 10.0  # between lines of a log
_REDRAWN = 0.2  # seconds between two states of a table


@contextmanager
def terminal_progress(console: Console | None = None) -> Iterator[Listener]:
    """Show stages, chains, draws, divergences, ESS so far and time left.

    As bars in a terminal, as a table in a Jupyter notebook, as lines elsewhere.

    Parameters
    ----------
    console
        Where to show them; standard output, or the notebook's cell, if None.
    """
    from rich.console import Console

    if console is None and in_notebook():
        with notebook_progress() as listener:
            yield listener
        return
    console = console or Console()
    with _bars(console) if console.is_terminal else _lines(console) as listener:
        yield listener


def in_notebook() -> bool:
    """Whether this runs in the kernel of a Jupyter notebook."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and hasattr(shell, "kernel")


@contextmanager
def notebook_progress() -> Iterator[Listener]:
    """Show the stages and the latest one's chains as a table that changes in place."""
    ipython: Any = import_module("IPython.display")
    stages: dict[str, Report] = {}
    handle = ipython.display(ipython.HTML(""), display_id=True)
    last = 0.0

    def listen(report: Report) -> None:
        nonlocal last
        new = report.stage not in stages
        stages[report.stage] = report
        now = time.perf_counter()
        if new or now - last > _REDRAWN:
            last = now
            handle.update(ipython.HTML(as_html(list(stages.values()))))

    try:
        yield listen
    finally:
        handle.update(ipython.HTML(as_html(list(stages.values()))))


def as_html(reports: list[Report]) -> str:
    """A table: a row for each stage, and for each chain of the last one."""
    rows = []
    for report in reports:
        rows.append(_row(report.stage, report.done, report.total, report.note()))
    for number, chain in enumerate(reports[-1].chains if reports else ()):
        rows.append(_row(f"chain {number + 1}", chain.done, chain.total, _words(chain)))
    return f"<table>{''.join(rows)}</table>"


def _row(name: str, done: int, total: int, note: str) -> str:
    bar = f'<progress value="{done}" max="{total}"></progress>' if total else ""
    count = f"{done}/{total}" if total else ""
    cells = (escape(name), bar, count, escape(note))
    return "<tr>" + "".join(f'<td style="text-align: left">{cell}</td>' for cell in cells) + "</tr>"


def _words(chain: ChainReport) -> str:
    parts = ["tuning"] if chain.tuning else []
    parts += [f"{chain.divergences} divergences"] if chain.divergences else []
    parts += [f"ESS {chain.ess:.0f}"] if chain.ess is not None else []
    return ", ".join(parts)


@contextmanager
def _lines(console: Console) -> Iterator[Listener]:
    began, last, seen = time.perf_counter(), 0.0, ("", -1)

    def listen(report: Report) -> None:
        nonlocal last, seen
        now = time.perf_counter()
        finished = report.total > 0 and report.done >= report.total
        if report.stage == seen[0] and (
            report.done == seen[1] or (now - last < _SECONDS and not finished)
        ):
            return
        last, seen = now, (report.stage, report.done)
        counts = f" {report.done}/{report.total}" if report.total else ""
        note = f", {report.note()}" if report.note() else ""
        console.print(
            f"  {now - began:5.0f} s  {report.stage}{counts}{note}",
            markup=False, highlight=False, soft_wrap=True,
        )  # fmt: skip

    yield listen


@contextmanager
def _bars(console: Console) -> Iterator[Listener]:
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
    )

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}", markup=False),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as bars:
        tasks: dict[str, Any] = {}
        chains: list[Any] = []

        def end() -> None:
            for task in chains:
                bars.remove_task(task)
            chains.clear()
            for task in tasks.values():
                if not bars.tasks[bars.task_ids.index(task)].total:
                    bars.update(task, total=1, completed=1)
                bars.stop_task(task)

        def listen(report: Report) -> None:
            if report.stage not in tasks:
                end()
                tasks[report.stage] = bars.add_task(
                    report.stage, total=report.total or None, note=""
                )
            bars.update(tasks[report.stage], completed=report.done, note=report.note())
            while len(chains) < len(report.chains):
                chains.append(bars.add_task(f"  chain {len(chains) + 1}", total=None, note=""))
            for task, own in zip(chains, report.chains, strict=False):
                bars.update(task, total=own.total, completed=own.done, note=_words(own))

        yield listen
        end()

"""Printing: plain sentences, the verdict, tables."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import Progress

from popk.cli.outcome import add_message, add_table, add_written, emit, is_json

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    import xarray as xr

    from popk.diagnostics import PriorCheck
    from popk.model import PopModel
    from popk.reporting import Table

__all__ = [
    "count_intervals",
    "open_console",
    "print_card",
    "print_models",
    "print_plain",
    "print_prior_check",
    "print_rows",
    "print_table",
    "print_verdict",
    "print_written",
    "track",
]


def open_console(*, stderr: bool = False) -> Console:
    """A console as wide as the terminal, or wide enough for the tables in a pipe.

    With --json standard output is for the document, and sentences go to standard error.
    """
    stderr = stderr or is_json()
    console = Console(stderr=stderr)
    # A pipe has no width of its own; 80 columns would break the tables.
    return console if console.is_terminal else Console(stderr=stderr, width=160)


@contextmanager
def track(console: Console, what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on a terminal while the block runs; gives what is called with (done, total)."""
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def print_plain(console: Console, text: str) -> None:
    """Print text as it is, lines unbroken: a user's text may hold what rich takes for markup."""
    add_message(text)
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def print_written(console: Console, *paths: Path, more: str = "") -> None:
    """Say what was written, also to the journal of a run whose folder it is in."""
    from popk.journal import note_written

    add_written(*paths)
    note_written(*paths)
    print_plain(console, f"Written: {' and '.join(map(str, paths))}{more}.")


def print_verdict(console: Console, fitted: xr.DataTree) -> None:
    """Print whether the fit converged, in its colour."""
    from popk.diagnostics import verdict_of

    verdict = verdict_of(fitted)
    emit("verdict", json.loads(verdict.to_json()))
    add_message(str(verdict))
    style = "bold green" if verdict.converged else "bold red"
    console.print(str(verdict), style=style, markup=False, highlight=False, soft_wrap=True)


def print_prior_check(console: Console, check: PriorCheck) -> None:
    """Print whether priors and data go together, its first line in its colour."""
    first, _, rest = str(check).partition("\n")
    emit("plausible", bool(check.plausible))
    add_message(first)
    style = "bold green" if check.plausible else "bold red"
    console.print(first, style=style, markup=False, highlight=False, soft_wrap=True)
    print_plain(console, rest)


def print_table(
    console: Console,
    table: Table,
    fitted: xr.DataTree | None = None,
    *,
    key: str,
    frame: pd.DataFrame | None = None,
) -> None:
    """Print a table and its note; the title says so when the fit did not converge.

    With --json it is in the document by this `key`: `frame`, where all of it is not shown.
    """
    from rich.text import Text

    from popk.reporting import rich_table

    converged = fitted is None or bool(json.loads(fitted.attrs["verdict"])["converged"])
    title = table.title + ("" if converged else " (not converged: not a final result)")
    if is_json():
        add_table(key, table.to_frame() if frame is None else frame, title=title, note=table.note)
        return
    console.print(rich_table(table, title=title))
    console.print(Text(table.note, style="dim"))


def print_models(console: Console, models: Iterable[PopModel]) -> None:
    """Print a table of models, a line or a few for each."""
    from popk.model.description import listing

    headers, rows = listing(models)
    if is_json():
        names = [header.lower() for header in headers]
        emit("models", [dict(zip(names, row, strict=True)) for row in rows])
        return
    print_rows(console, "Models that come with popk", headers, rows)


def print_card(console: Console, model: PopModel) -> None:
    """Print all that a model says and assumes."""
    from rich.text import Text

    from popk.model.description import blocks

    if is_json():
        emit("model", {"name": model.name, "hash": model.hash, **json.loads(model.to_json())})
        return
    for block in blocks(model):
        if block.rows:
            print_rows(console, block.title, block.headers, block.rows)
            continue
        console.print(Text(block.title, style="bold"))
        for line in block.lines:
            print_plain(console, f"  {line}" if block.code else f"  - {line}")
        console.print()


def print_rows(
    console: Console, title: str, headers: Sequence[str], rows: Iterable[Sequence[str]]
) -> None:
    """Print rows of words under headers, or names with their values where there are none."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table as RichTable
    from rich.text import Text

    drawn = RichTable(
        title=Text(title),
        title_justify="left",
        title_style="bold",
        header_style="bold",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        show_header=bool(headers),
    )
    for header in headers:
        # A name that is broken cannot be copied.
        drawn.add_column(Text(header), overflow="fold", no_wrap=header == headers[0])
    for row in rows:
        drawn.add_row(*(Text(cell) for cell in row))
    console.print(drawn)


def count_intervals(advice: xr.DataTree) -> str:
    """How many patients have which longest interval, in one line."""
    from popk.reporting import interval_counts

    return interval_counts(advice)

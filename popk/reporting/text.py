"""Tables as text: for the terminal, and where a result is printed."""

from __future__ import annotations

from io import StringIO
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table as RichTable

    from popk.reporting.table import Table

__all__ = ["rich_table", "table_text"]

_WIDTH = 160  # columns of what is not a terminal
_COLOURS = {"yes": "green", "no": "dim", "warn": "bold red", "": ""}


def rich_table(table: Table, *, title: str | None = None) -> RichTable:
    """The table for a console of rich, its title as given, or its own."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table as RichTable
    from rich.text import Text

    drawn = RichTable(
        title=Text(title or table.title),
        title_justify="left",
        title_style="bold",
        header_style="bold",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    for at, text in enumerate(table.headers):
        drawn.add_column(
            Text(text), justify="left" if at < table.texts else "right", overflow="fold"
        )
    for row in table.rows:
        drawn.add_row(*(Text(cell.text, style=_COLOURS[cell.mark]) for cell in row))
    return drawn


def table_text(table: Table, *, width: int = _WIDTH) -> str:
    """The table and its note as plain text, at most `width` characters wide."""
    from rich.console import Console
    from rich.text import Text

    console = Console(file=StringIO(), width=width, color_system=None, force_jupyter=False)
    with console.capture() as captured:
        console.print(rich_table(table))
        if table.note:
            console.print(Text(table.note))
    return "\n".join(line.rstrip() for line in captured.get().splitlines()).strip("\n")

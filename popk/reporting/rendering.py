"""Tables as HTML, drawn by great_tables; the page's own style sheet gives them their look."""

from __future__ import annotations

import re
from html import escape
from typing import TYPE_CHECKING

import pandas as pd
from markupsafe import Markup

from popk.plots import NOT_CONVERGED
from popk.reporting.table import Table

if TYPE_CHECKING:
    from great_tables import GT
    from great_tables._locations import Loc

__all__ = ["great_table", "table_html"]

_STYLE = re.compile(r"<style>.*?</style>", re.DOTALL)
# Told apart without colours, too: by weight, and by a line below.
_MARKS = {
    "yes": "background-color:#e8f5f0;color:#0b6b4f;font-weight:600;",
    "no": "color:#5c6873;",
    "warn": "background-color:#fdeee6;color:#a63c06;font-weight:700;text-decoration:underline;",
}


def great_table(table: Table, name: str = "table") -> GT:
    """A table as a `great_tables.GT`: to show in a notebook, to style, or to write as LaTeX.

    Parameters
    ----------
    table
        The table.
    name
        Its id, which starts those of its cells.
    """
    from great_tables import GT, html, loc, style

    columns = [f"c{k}" for k in range(len(table.headers))]
    frame = pd.DataFrame([[cell.text for cell in row] for row in table.rows], columns=columns)
    title = escape(table.title)
    if table.unsure:
        title += f' <span class="not-converged">{NOT_CONVERGED}</span>'
    drawn = (
        GT(frame, rowname_col=columns[0], id=name)
        .tab_header(html(title))
        .tab_stubhead(html(escape(table.headers[0])))
        .cols_label({c: html(escape(t)) for c, t in zip(columns, table.headers, strict=True)})
        .cols_align("left", columns[: table.texts])
    )
    if numbers := columns[table.texts :]:
        drawn = drawn.cols_align("right", numbers)
    for mark, css in _MARKS.items():
        places: list[Loc] = []
        for k, column in enumerate(columns):
            rows = [at for at, row in enumerate(table.rows) if row[k].mark == mark]
            if rows and k:
                places.append(loc.body(columns=[column], rows=rows))
        if places:
            drawn = drawn.tab_style(style.css(css), places)
    return drawn.tab_source_note(html(escape(table.note))) if table.note else drawn


def table_html(table: Table, name: str) -> Markup:
    """The table as HTML without a style sheet; every text of a user's is escaped."""
    return Markup(_STYLE.sub("", great_table(table, name).as_raw_html()))

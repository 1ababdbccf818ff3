"""Tables as HTML, drawn by great_tables; the page's own style sheet gives them their look."""

from __future__ import annotations

import re
import zlib
from html import escape
from typing import TYPE_CHECKING

import pandas as pd
from markupsafe import Markup

from popk.plots import NOT_CONVERGED
from popk.reporting.table import Table

if TYPE_CHECKING:
    from great_tables import GT
    from great_tables._locations import Loc

__all__ = ["great_table", "notebook_table", "table_html"]

_STYLE = re.compile(r"<style>.*?</style>", re.DOTALL)
# A notebook aligns cells of its own accord, and draws no line under a title.
_IN_NOTEBOOK = "<style>{}</style>".format(
    "".join(
        f".popk-table {rule}"
        for rule in (
            "th,.popk-table td{padding:.2em .6em!important}",
            ".gt_left,.popk-table .gt_title{text-align:left!important}",
            ".gt_right{text-align:right!important}",
            ".gt_title{font-weight:700!important}",
            ".gt_sourcenote{text-align:left!important;max-width:60em;opacity:.8}",
        )
    )
)
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


def notebook_table(table: Table) -> str:
    """The table as HTML for a cell of a notebook, which brings its own style."""
    # An id of its own, the same whenever the table is: a notebook holds many.
    name = f"popk-{zlib.crc32(repr((table.title, table.headers, table.rows)).encode()):08x}"
    return f'<div class="popk-table">{_IN_NOTEBOOK}{table_html(table, name)}</div>'

"""The table of `popk.criticise`, for the page and the notebook."""

from __future__ import annotations

import xarray as xr

from popk.reporting.table import Cell, Table, number

__all__ = ["criticism_table"]


def criticism_table(table: xr.Dataset) -> Table:
    """Each check: what it is about, what was seen, what to try where it flags, adjusted p.

    Parameters
    ----------
    table
        From `popk.criticise`.
    """
    flags = table["flagged"].values == 1
    columns = ("check", "about", "seen", "remedy")
    words = zip(*(table[name].values.tolist() for name in columns), strict=True)
    rows = [
        (
            Cell(name, "no" if flags[k] else ""),
            Cell(about),
            Cell(f"{seen} {remedy}".strip() if flags[k] else seen),
            Cell(number(float(table["p_adjusted"].values[k]))),
        )
        for k, (name, about, seen, remedy) in enumerate(words)
    ]
    frame = table.to_dataframe().reset_index()
    headers = ("Check", "About", "What was seen, and what to try", "Adjusted p")
    return Table("Model criticism", headers, tuple(rows), texts=3, frame=frame)

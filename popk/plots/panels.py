"""What figures of tables check before they draw."""

from __future__ import annotations

import xarray as xr

from popk.plots.style import PlotError

__all__ = ["check_kind"]


def check_kind(table: xr.Dataset | xr.DataTree, kind: str, source: str) -> None:
    """Refuse what is not the result of ``source``.

    Raises
    ------
    PlotError
        With a sentence.
    """
    if table.attrs.get("kind") != f"popk {kind}":
        raise PlotError(f"This is not the result of {source}; give what it returned.")

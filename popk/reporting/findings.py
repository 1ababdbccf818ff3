"""What speaks against trusting each patient's advice, as a table to read."""

from __future__ import annotations

from collections.abc import Collection

import xarray as xr

from popk.monitoring import findings
from popk.reporting.table import Cell, Table

__all__ = ["findings_table"]

_MARKS = {"withheld": "warn", "widened": "warn"}
_NOTE = (
    "Withheld: there is no advised interval, and the probabilities are not to be used. Widened: "
    "the probabilities allow for what was found (a mixture of what may explain the data, or random "
    "effects twice as large; of the probabilities with and without, the lower). Note: nothing is "
    "changed. The checks rest on the model and on prior probabilities that each sentence states; "
    "that nothing was found does not say that nothing is wrong."
)


def findings_table(advice: xr.DataTree, *, only: Collection[str] | None = None) -> Table | None:
    """One row per finding; None where nothing is found, or the advice holds no findings.

    Parameters
    ----------
    advice
        Advice of popk.
    only
        IDs of the patients to show; all without it.
    """
    if "findings" not in advice["decision"].coords:  # advice of an older popk, or without checks
        return None
    frame = findings(advice)
    shown = frame if only is None else frame[frame["ID"].isin(list(only))]
    if shown.empty:
        return None
    columns = (shown[name].astype(str).tolist() for name in ("ID", "severity", "name", "sentence"))
    rows = tuple(
        (Cell(who), Cell(severity, _MARKS.get(severity, "")), Cell(name), Cell(said))
        for who, severity, name, said in zip(*columns, strict=True)
    )
    return Table(
        title="What speaks against trusting the advice",
        headers=("ID", "Advice is", "Finding", "What, where, what to do"),
        rows=rows,
        note=_NOTE,
        texts=4,
        frame=frame,
    )

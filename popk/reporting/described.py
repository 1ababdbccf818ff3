"""The tables of `popk.describe`, for the terminal and for notebooks."""

from __future__ import annotations

import math

import pandas as pd
import xarray as xr

from popk.cohort import description_frame
from popk.reporting.table import MISSING, Cell, Table, number, percent

__all__ = ["description_tables"]


def description_tables(result: xr.DataTree) -> tuple[Table, ...]:
    """Shares at or above the targets, shares by band, and figures within and between patients.

    Raises
    ------
    SettingError
        When it is no result of `popk.describe`.
    """
    unsure = not int(result.attrs["converged"])
    rests = "90 % intervals, by a hierarchical model of the logarithms of the troughs"
    shares = description_frame(result, "shares")
    unit = shares.attrs["units"]["target"]
    rows = tuple(
        (Cell(f"{row['target']:g} {unit}"), Cell(str(row["what"])), *_share(row))
        for _, row in shares.iterrows()
    )
    said = f"{rests}. Observed troughs are counted: two numbers where BLQ leaves it open."
    found = [
        Table("At or above a target", ("Target", "Of", "5 %", "Share", "95 %"), rows, said, 2,
              shares, unsure)
    ]  # fmt: skip
    bands = description_frame(result, "bands")
    rows = tuple((Cell(str(row["band"])), *_share(row)) for _, row in bands.iterrows())
    found.append(
        Table("Patients by their own median trough", ("Level", "5 %", "Share", "95 %"), rows,
              f"{rests}.", 1, bands, unsure)
    )  # fmt: skip
    figures = description_frame(result, "figures")
    rows = tuple(
        (
            Cell(str(row["figure"])),
            *(_figure(float(row[name])) for name in ("low", "median", "high")),
            Cell(str(row["unit"]).replace("1", "") or MISSING),
        )
        for _, row in figures.iterrows()
    )
    found.append(
        Table("Between and within patients", ("Figure", "5 %", "Median", "95 %", "Unit"), rows,
              f"{rests}.", 1, figures, unsure)
    )  # fmt: skip
    return tuple(found)


def _figure(value: float) -> Cell:
    return Cell(number(value) if math.isfinite(value) else "more than 1,000")


def _share(row: pd.Series) -> tuple[Cell, ...]:
    """A share with its interval; of what was counted, once where both ends are the same."""
    low, median, high = (float(row[name]) for name in ("low", "median", "high"))
    if low == high:
        return Cell(MISSING), Cell(percent(low)), Cell(MISSING)
    return Cell(percent(low)), Cell(percent(median)), Cell(percent(high))

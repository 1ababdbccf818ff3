"""The tables of `popk.decision`, for the terminal."""

from __future__ import annotations

import math

import pandas as pd
import xarray as xr

from popk.decision import decision_frame
from popk.reporting.table import MISSING, Cell, Table, header, number, percent

__all__ = ["answer_table"]

# Column of the frame: its header. Those that an answer does not have are left out.
_HEADERS = {
    "subject": "ID",
    "sampling": "Sample",
    "visit": "Visit",
    "regimen": "Regimen",
    "date": "Date",
    "week": "Interval",
    "planned": "Planned",
    "day": "Day",
    "dose": "Dose",
    "interval": "Interval",
    "target": "Target",
    "probability": "P(target)",
    "measured_probability": "P(measured ≥ target)",
    "reached": "P(this target)",
    "trough_low": "Trough, 5 %",
    "trough_median": "median",
    "trough_high": "95 %",
    "left_low": "Left, 5 %",
    "left_median": "median ",
    "left_high": "95 % ",
    "half_life_low": "Half-life, 5 %",
    "half_life_median": "median  ",
    "half_life_high": "95 %  ",
    "under": "Expected under target",
    "stops": "P(sent back)",
    "gone_back": "P(sent back before)",
    "right": "P(right interval)",
    "gain": "gain",
    "gain_error": "± MC",
    "value": "Value, in a year",
    "value_error": "± MC of value",
    "utility": "Utility, in a year",
    "infusions_per_year": "Infusions in a year",
}
_WORDS = {"subject", "sampling", "regimen", "date", "target"}
_SHARES = {"probability", "measured_probability", "reached", "stops", "gone_back", "right"}
_TITLES = {
    "interval for a trough": "Feasible visits",
    "transition plan": "Plan",
    "slipped visit": "When the visit slips",
    "next trough": "The next sample",
    "half-life": "What is left, and the half-life then",
}


def answer_table(result: xr.DataTree, *, most: int = 60) -> Table:
    """One row for each candidate, at most so many; the target and what it rests on in the note.

    Raises
    ------
    SettingError
        When it is no answer of popk.decision.
    """
    frame = decision_frame(result)
    names = [name for name in _HEADERS if name in frame and _told(frame, name)]
    if "planned" in names and "day" in names:
        names.remove("planned")
    units = frame.attrs["units"]
    attrs = result.attrs
    asked = float(attrs["probability"]) if "probability" in attrs else None
    rows = tuple(
        tuple(_cell(name, value, asked) for name, value in zip(names, row, strict=True))
        for row in frame[names].head(most).itertuples(index=False)
    )
    left = len(frame) - len(rows)
    goal = str(attrs.get("target", attrs.get("targets", "")))
    title = _TITLES.get(str(attrs["question"]), str(attrs["question"]).capitalize())
    note = f"Target {goal}." if goal else ""
    note += f" Plan: {attrs['plan']}." if "plan" in attrs else ""
    note += f" … and {left} more rows." if left > 0 else ""
    texts = sum(name in _WORDS for name in names)
    headers = tuple(header(_HEADERS[name], units.get(name)) for name in names)
    return Table(title, headers, rows, note.strip(), texts, frame)


def _told(frame: pd.DataFrame, name: str) -> bool:
    """Whether a column says anything."""
    return bool((frame[name].astype(str) != "").any())


def _cell(name: str, value: object, asked: float | None) -> Cell:
    if isinstance(value, str):
        return Cell(value or MISSING)
    figure = float(value)  # type: ignore[arg-type]
    if name not in _SHARES:
        return Cell(number(figure))
    good = asked is not None and name == "probability" and not math.isnan(figure)
    mark = "" if not good else "yes" if figure >= (asked or 0.0) else "no"
    return Cell(percent(figure, bound=asked), mark)

"""Warnings about times and body measures that look like those of another unit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from popk.dataset.records import FloatArray, Records
from popk.units import UnitError, conversion, seconds_in

__all__ = ["check_units_of_measures", "check_units_of_time"]

_HOUR, _DAY = 3600.0, 86_400.0
# Intervals between doses that are usual in one unit and not in the other.
_OF_DAYS = (7, 14, 21, 28, 42, 56, 84, 91)
_OF_HOURS = (8, 12, 24)
_SHORTEST, _LONGEST = 1.0 * _HOUR, 400 * _DAY
_FEWEST = 3  # intervals between doses that have records of their own
# A spreadsheet's days since 1899: from 1982 to 2064.
_SERIAL = (30_000.0, 60_000.0)


class _Measure(NamedTuple):
    """A measure of the body: its unit, and the range in which somebody may be.

    ``customary`` is a unit that it is often measured in, taken for the case where the subjects'
    median is above ``median``.
    """

    unit: str
    low: float
    high: float
    customary: str = ""
    median: float = np.inf


# From a premature newborn to the heaviest and tallest people known.
_WEIGHT = _Measure("kg", 0.3, 350.0, "lb", 140.0)
_HEIGHT = _Measure("cm", 25.0, 275.0)
_AGE = _Measure("a", 0.0, 122.0)
_MEASURES: Mapping[str, _Measure] = {
    **dict.fromkeys(("WT", "BW", "BWT", "WGT", "WEIGHT"), _WEIGHT),
    **dict.fromkeys(("HT", "HGT", "HEIGHT"), _HEIGHT),
    "AGE": _AGE,
}


def check_units_of_time(records: Records) -> None:
    """Warn of dosing intervals that are usual in another unit, and of a spreadsheet's dates."""
    _check_intervals(records)
    time, unit = records["TIME"].values[records["TIME"].usable], records.units.time
    if unit != "d" and time.size and time.min() >= _SERIAL[0] and time.max() <= _SERIAL[1]:
        records.problems.warn(
            f"TIME runs from {time.min():g} to {time.max():g} {unit}: numbers like these are a "
            "spreadsheet's dates, in days.",
            "Say that they are days by given={'time': 'd'} (--given time=d), or name the columns "
            "of dates.",
            column="TIME",
        )


def check_units_of_measures(records: Records) -> None:
    """Warn of weights, heights and ages that nobody has, and of weights that look like pounds."""
    for name in records.covariates:
        measure = _MEASURES.get(name.upper())
        if measure is None:
            continue
        unit = records.units.covariate(name) or "1"
        try:
            scale = float(conversion(unit, measure.unit))
        except UnitError:
            continue  # a column of something else
        _check_measure(records, name, measure, scale)


def _check_measure(records: Records, name: str, measure: _Measure, scale: float) -> None:
    unit, values = records.units.covariate(name), records[name].values * scale
    low, high = measure.low / scale, measure.high / scale
    known = np.flatnonzero(records[name].usable)
    strange = known[(values[known] < measure.low) | (values[known] > measure.high)]
    for at in _first_of_each(records, strange).tolist():
        records.report(
            at,
            name,
            f"is {{value}} {unit}, outside {low:g} to {high:g} {unit}.",
            remedy="Check the value and its unit; convert by given if the file has another.",
            severity="warning",
        )
    firsts = values[_first_of_each(records, known)]
    middle = float(np.median(firsts)) if firsts.size else 0.0
    if measure.median < middle <= measure.high:
        other = measure.customary
        records.problems.warn(
            f"The median {name} of the subjects is {middle / scale:g} {unit}, as if it were in "
            f"{other}.",
            f"If it is, say so by given={{'{name}': '{other}'}} (--given {name}={other}).",
            column=name,
        )


def _first_of_each(records: Records, places: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The first of these places in each subject."""
    _, first = np.unique(records.block[places], return_index=True)
    return np.asarray(places[first])


def _check_intervals(records: Records) -> None:
    unit = records.units.time
    second = float(seconds_in(unit))
    intervals = _intervals(records)
    if not intervals.size:
        return
    middle = float(np.median(intervals))
    usual = {"h": (_OF_DAYS, "d"), "d": (_OF_HOURS, "h")}.get(unit)
    if usual is not None and np.isin(intervals, usual[0]).all():
        other = usual[1]
    elif middle * second <= _SHORTEST:
        other = "d" if unit != "d" else "wk"
    elif middle * second > _LONGEST:
        other = "h" if unit != "h" else "min"
    else:
        return
    records.problems.warn(
        f"The interval between doses is {middle:g} {unit} (median of {intervals.size}), as if "
        f"times were in {other}.",
        f"Check the unit of TIME and II; if they are in {other}, say so by given={{'time': "
        f"'{other}'}} (--given time={other}).",
        column="TIME",
    )


def _intervals(records: Records) -> FloatArray:
    """Intervals of repeated doses (II), or else between the records of a subject's doses."""
    repeats = records.gives_dose & (records["II"].values > 0)
    repeats &= (records["ADDL"].filled(0) > 0) | (records["SS"].filled(0) > 0)
    if repeats.any():
        return np.asarray(records["II"].values[repeats])
    doses = np.flatnonzero(records.gives_dose & records["TIME"].usable)
    gaps = np.diff(records["TIME"].values[doses])
    gaps = gaps[(np.diff(records.block[doses]) == 0) & (gaps > 0)]
    return np.asarray(gaps if gaps.size >= _FEWEST else gaps[:0])

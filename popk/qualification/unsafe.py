"""Patients whose advice must not be given as it is, and patients who are as any other."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from popk.dataset import Dataset, read_dataset
from popk.qualification.known import UNITS

__all__ = ["ORDINARY", "UNSAFE", "cohort", "ordinary_patients", "unsafe_patients"]

type Row = tuple[str, float, int, float, float, float, float, int, float, float]

COLUMNS = ["ID", "TIME", "EVID", "AMT", "ADDL", "II", "DV", "CENS", "LLOQ", "WT"]
GOOD = (25.0, 22.0, 24.0)  # mg/L: troughs as the population's


def _dose(
    who: str, time: float, amount: float = 300.0, *, addl: int = 0, weight: float = 70.0
) -> Row:
    return (who, time, 1, amount, addl, 28.0 if addl else 0.0, np.nan, 0, 1.0, weight)


def _observe(who: str, time: float, dv: float, *, cens: int = 0, weight: float = 70.0) -> Row:
    return (who, time, 0, np.nan, 0, 0.0, dv, cens, 1.0, weight)


def _history(
    who: str, troughs: Sequence[float], *, doses: int = 6, weight: float = 70.0
) -> list[Row]:
    """Doses every 28 days, with a sample just before each of the last ones."""
    found: list[Row] = []
    for k in range(doses):
        sample = k - (doses - len(troughs))
        if sample >= 0:
            found.append(_observe(who, 28.0 * k, troughs[sample], weight=weight))
        found.append(_dose(who, 28.0 * k, weight=weight))
    return found


def _changed(rows: list[Row], column: str, factor: float) -> list[Row]:
    k = COLUMNS.index(column)
    return [(*row[:k], float(row[k]) * factor, *row[k + 1 :]) for row in rows]  # type: ignore[misc]


# By ID: what the finding is called that must withhold or widen the advice, and the records.
UNSAFE: dict[str, tuple[str, Callable[[str], list[Row]]]] = {
    "last sample below the limit": (
        "below quantification",
        lambda who: [*_history(who, GOOD), _observe(who, 168.0, 1.0, cens=1)],
    ),
    "clearance rose fourfold": (
        "antibodies", lambda who: _history(who, (*GOOD, 5.0, 4.0), doses=8)
    ),
    "one trough unlike the others": (
        "surprising observation", lambda who: _history(who, (25.0, 4.0, 24.0, 23.0), doses=8)
    ),
    "troughs halved": (
        "clearance changed", lambda who: _history(who, (*GOOD, 12.0, 11.0, 12.0), doses=9)
    ),
    "weight in pounds": ("covariate range", lambda who: _history(who, GOOD, weight=176.0)),
    "no sample": ("too little information", lambda who: _history(who, ())),
    "two samples at one time": (
        "contradiction",
        lambda who: [*_history(who, GOOD), _observe(who, 168.0, 45.0), _observe(who, 168.0, 10.0)],
    ),
    "samples in ug/L": ("units", lambda who: _history(who, (25e3, 22e3, 24e3))),
    "doses in g": ("units", lambda who: _changed(_history(who, GOOD), "AMT", 1e-3)),
    "times in weeks": ("units", lambda who: _changed(_history(who, GOOD), "TIME", 1 / 7)),
    "drawn after the infusion": ("sample time", lambda who: _history(who, (25.0, 22.0, 85.0))),
    "a gap in the doses": (
        "history", lambda who: [*_history(who, GOOD), _dose(who, 360.0), _dose(who, 388.0)]
    ),
    "doses still to come": (
        "history", lambda who: [*_history(who, GOOD), _dose(who, 168.0, addl=5)]
    ),
    "ten times the dose": (
        "dose range", lambda who: [*_history(who, GOOD), _dose(who, 168.0, 3000.0)]
    ),
    "unlike anybody": (
        "unlike the population", lambda who: _history(who, (190.0, 180.0, 200.0))
    ),
}  # fmt: skip
ORDINARY = {"typical": GOOD, "high": (31.0, 30.0, 32.0), "low": (18.0, 17.0, 19.0)}


def _read(rows: list[Row]) -> Dataset:
    return read_dataset(pd.DataFrame(rows, columns=COLUMNS), units=UNITS)


def unsafe_patients() -> Dataset:
    """The patients of `UNSAFE`."""
    return _read([row for who, (_, made) in UNSAFE.items() for row in made(who)])


def ordinary_patients() -> Dataset:
    """The patients of `ORDINARY`."""
    return _read([row for who, troughs in ORDINARY.items() for row in _history(who, troughs)])


def cohort() -> Dataset:
    """Twenty subjects of 50 to 90 kg: whom the advice knows."""
    weights = np.linspace(50, 90, 20).round(1)
    return _read(
        [row for k, w in enumerate(weights) for row in _history(f"C{k}", GOOD, weight=float(w))]
    )

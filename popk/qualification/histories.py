"""Dosing histories written by hand, event by event."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from popk.structure import Events
from popk.structure.events import DOSE, OBSERVE, RESET, ROW

__all__ = [
    "Record",
    "dose",
    "events",
    "in_order",
    "observe",
    "reset",
    "switch",
    "with_rows",
]


class Record(NamedTuple):
    """One event of `popk.structure.Events`; ``row`` None is the row in force."""

    time: float
    kind: int
    amount: float = 0.0
    rate: float = 0.0
    interval: float = 0.0
    into: int = 0
    times: int = 0
    steady: int = 0
    row: int | None = None
    what: int = 0


def observe(*times: float, what: int = 0) -> list[Record]:
    """Observations of one output."""
    return [Record(float(time), OBSERVE, what=what) for time in times]


def dose(  # noqa: PLR0913
    time: float,
    amount: float = 100.0,
    *,
    over: float = 0.0,
    rate: float | None = None,
    every: float = 0.0,
    times: int = 1,
    into: int = 0,
    ss: int = 0,
    row: int | None = None,
) -> Record:
    """A dose at once, over a time, or with RATE as in the data; ``into`` is counted from 0."""
    given = rate if rate is not None else (amount / over if over else 0.0)
    return Record(float(time), DOSE, amount, float(given), every, into, times, ss, row)


def reset(time: float) -> Record:
    """Everything emptied, and what was to come forgotten."""
    return Record(float(time), RESET)


def switch(time: float, row: int) -> Record:
    """From now on the parameters are those of another row."""
    return Record(float(time), ROW, row=row)


def in_order(*records: Record) -> list[Record]:
    """By time; records at the same time stay as they stand."""
    return sorted(records, key=lambda record: record.time)


def with_rows(records: Iterable[Record]) -> list[Record]:
    """The records with the row in force where they do not say another."""
    active, found = 0, []
    for record in records:
        if record.kind == ROW and record.row is not None:
            active = record.row
        found.append(record if record.row is not None else record._replace(row=active))
    return found


def events(*subjects: Sequence[Record]) -> Events:
    """`Events` of subjects, each a list of records."""
    whole = [with_rows(records) for records in subjects]
    rows = [record for records in whole for record in records]
    number = np.array([(r.time, r.amount, r.rate, r.interval) for r in rows])
    code = np.array([(r.kind, r.into, r.times, r.steady, r.row, -1, r.what) for r in rows])
    observed = code[:, 0] == OBSERVE
    code[observed, 5] = np.arange(observed.sum())
    n_rows = [max(record.row or 0 for record in records) + 1 for records in whole]
    first = np.cumsum([0, *map(len, whole)])
    return Events(first, np.cumsum([0, *n_rows]), number, code)

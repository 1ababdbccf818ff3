"""Events as the kernels read them: flat arrays, subjects one after the other."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from popk.dataset import Dataset, Problems

OBSERVE, DOSE, RESET, RATE = 0, 1, 3, 5
# Times this close, relative to the later of 1 and the time, are the same time.
SAME_TIME = 1e-9


class Events(NamedTuple):
    """Events of all subjects, in the order in which they happen.

    Shapes: ``first`` (n_subjects + 1), everything else (n_events). Units are those of the data.

    ``kind`` is OBSERVE (write the concentration to ``output``), DOSE (``amount`` into
    ``compartment``, over ``duration``, ``repeats`` times in all, ``interval`` apart), RESET (empty
    every compartment, end every infusion, forget every dose to come) or, only after
    `expand`, RATE (add ``amount`` per unit of time to the running infusions).
    """

    first: NDArray[np.int64]
    time: NDArray[np.float64]
    kind: NDArray[np.int64]
    amount: NDArray[np.float64]
    duration: NDArray[np.float64]
    interval: NDArray[np.float64]
    repeats: NDArray[np.int64]
    compartment: NDArray[np.int64]
    output: NDArray[np.int64]

    @property
    def n_subjects(self) -> int:
        """Number of subjects."""
        return len(self.first) - 1

    @property
    def n_outputs(self) -> int:
        """Number of concentrations that the kernel writes."""
        return int(np.sum(self.kind == OBSERVE))

    def subject(self, index: int) -> Events:
        """Events of one subject, its outputs counted from zero."""
        low, high = int(self.first[index]), int(self.first[index + 1])
        part = [np.ascontiguousarray(column[low:high]) for column in self[1:]]
        observed = part[1] == OBSERVE
        output = np.where(observed, np.cumsum(observed) - 1, -1)
        return Events._make([np.array([0, high - low]), *part[:-1], output])


def events_of(dataset: Dataset, *, n_compartments: int, everywhere: bool = False) -> Events:
    """Events of a dataset, in record order.

    A record at the time of a dose happens before or after it as the records stand; a dose implied
    by ADDL at the time of a record happens before that record (as in NONMEM).

    Parameters
    ----------
    dataset
        The data.
    n_compartments
        How many compartments the structure has; a dose into another one is refused.
    everywhere
        Give a concentration for rows with EVID 0 and MDV 1 and for EVID 2 as well.

    Raises
    ------
    DataError
        For every record that the engine cannot do, with its row.
    """
    table: Table = {name: np.asarray(dataset.table[name].values) for name in _COLUMNS}
    _refuse_unsupported(dataset, table, n_compartments)
    evid = table["EVID"]
    is_output = dataset.is_observation | (everywhere & np.isin(evid, (0, 2)))
    rows: list[tuple[int, int, int]] = []  # record, kind, subject
    subject = -1
    first = [0]
    for record, identifier in enumerate(table["ID"]):
        if record == 0 or identifier != table["ID"][record - 1]:
            subject += 1
            if record:
                first.append(len(rows))
        if evid[record] in (3, 4):
            rows.append((record, RESET, subject))
        if evid[record] in (1, 4):
            rows.append((record, DOSE, subject))
        if is_output[record]:
            rows.append((record, OBSERVE, subject))
    first.append(len(rows))
    return _collect(
        table,
        np.array([row[0] for row in rows], dtype=np.int64),
        np.array([row[1] for row in rows], dtype=np.int64),
        first,
    )


type Table = dict[str, NDArray[Any]]
_COLUMNS = ("ID", "TIME", "EVID", "AMT", "RATE", "ADDL", "II", "SS", "CMT", "DV", "MDV")


def _collect(
    table: Table,
    record: NDArray[np.int64],
    kind: NDArray[np.int64],
    first: list[int],
) -> Events:
    is_dose = kind == DOSE
    amount = np.where(is_dose, np.nan_to_num(table["AMT"][record].astype(float)), 0.0)
    rate = table["RATE"][record].astype(float)
    duration = np.zeros(len(record))
    np.divide(amount, rate, out=duration, where=is_dose & (rate > 0))
    return Events(
        first=np.array(first, dtype=np.int64),
        time=table["TIME"][record].astype(float),
        kind=kind,
        amount=amount,
        duration=duration,
        interval=np.where(is_dose, table["II"][record].astype(float), 0.0),
        repeats=np.where(is_dose, table["ADDL"][record].astype(np.int64) + 1, 0),
        compartment=np.where(is_dose, np.maximum(table["CMT"][record].astype(np.int64) - 1, 0), 0),
        output=np.where(kind == OBSERVE, np.cumsum(kind == OBSERVE) - 1, -1),
    )


def _refuse_unsupported(dataset: Dataset, table: Table, n_compartments: int) -> None:
    problems = Problems()
    rows = np.asarray(dataset.table["record"].values)
    dose = np.isin(table["EVID"], (1, 4))
    observation = dataset.is_observation

    def refuse(where: NDArray[np.bool_], column: str, message: str, remedy: str) -> None:
        for k in np.flatnonzero(where):
            problems.error(
                message.format(value=table[column][k]),
                row=int(rows[k]),
                id=str(table["ID"][k]),
                column=column,
                remedy=remedy,
            )

    refuse(
        dose & (table["SS"] > 0),
        "SS",
        "SS {value} asks for a dose at steady state, which popk does not compute yet.",
        "Give the doses that led there (ADDL and II).",
    )
    refuse(
        dose & (table["RATE"] < 0),
        "RATE",
        "RATE {value:g} asks for a modelled rate or duration, which popk does not compute yet.",
        "Give the rate of the infusion.",
    )
    refuse(
        dose & (table["CMT"] > n_compartments),
        "CMT",
        f"A dose goes into compartment {{value}}, but the structure has {n_compartments}.",
        f"Use CMT 1 to {n_compartments}, or a structure that has this compartment.",
    )
    refuse(
        observation & (table["CMT"] > 1),
        "CMT",
        "An observation is in compartment {value}, but "
        "the structure is observed in its central compartment, 1.",
        "Use CMT 1 (or 0).",
    )
    problems.raise_if_errors()


def expand(events: Events) -> Events:
    """Write every dose and every start and end of an infusion as an event of its own.

    For the ODE kernel, which stops at each. Memory grows with the number of doses. Doses implied
    by a run are placed before a record at the same time (see `SAME_TIME`), ends of infusions
    before all else.
    """
    pieces: list[tuple[NDArray[np.float64], ...]] = []
    first = [0]
    for index in range(events.n_subjects):
        piece = _expand_subject(events, int(events.first[index]), int(events.first[index + 1]))
        pieces.append(piece)
        first.append(first[-1] + len(piece[0]))
    columns = [np.concatenate(parts) for parts in zip(*pieces, strict=True)]
    time, kind, amount, duration, compartment, output = columns
    zeros = np.zeros(len(time))
    return Events(
        np.array(first, dtype=np.int64),
        time,
        kind.astype(np.int64),
        amount,
        duration,
        zeros,
        np.zeros(len(time), dtype=np.int64),
        compartment.astype(np.int64),
        output.astype(np.int64),
    )


def _at_record(time: float, record_times: NDArray[np.float64]) -> float:
    """The time of the first record at this time, which rounding may have moved, or the time."""
    tolerance = SAME_TIME * max(1.0, abs(time))
    place = int(np.searchsorted(record_times, time - tolerance))
    if place < len(record_times) and record_times[place] <= time + tolerance:
        return float(record_times[place])
    return time


def _expand_subject(events: Events, low: int, high: int) -> tuple[NDArray[np.float64], ...]:
    rows: list[tuple[float, int, int, int, float, float, int, int]] = []
    reset_times = [(events.time[k], k) for k in range(low, high) if events.kind[k] == RESET]
    record_times = events.time[low:high]
    for k in range(low, high):
        time, kind = float(events.time[k]), int(events.kind[k])
        if kind != DOSE:
            rows.append((time, 1, k, kind, 0.0, 0.0, 0, int(events.output[k])))
            continue
        end = min((t for t, r in reset_times if r > k), default=np.inf)
        compartment, duration = int(events.compartment[k]), float(events.duration[k])
        for repeat in range(int(events.repeats[k])):
            start = time + repeat * float(events.interval[k])
            start = _at_record(start, record_times) if repeat else start
            if start > end or (start == end and repeat):
                break
            # A dose of its own record keeps the record's place; an implied one goes before it.
            place = 1 if repeat == 0 else 0
            amount = float(events.amount[k])
            if duration == 0.0:
                rows.append((start, place, k, DOSE, amount, 0.0, compartment, -1))
                continue
            rate = amount / duration
            rows.append((start, place, k, RATE, rate, duration, compartment, -1))
            if start + duration <= end:
                rows.append((start + duration, -1, k, RATE, -rate, duration, compartment, -1))
    rows.sort(key=lambda row: row[:3])
    table = np.array([(r[0], *r[3:]) for r in rows], dtype=float).reshape(-1, 6)
    return tuple(np.ascontiguousarray(column) for column in table.T)

"""What comes next: concentrations after a patient's last dose, and at other intervals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from popk.dataset import Dataset
from popk.design import Design, design_of
from popk.model import PopModel
from popk.structure import Events, Solver
from popk.structure.events import (
    AMOUNT,
    COMPARTMENT,
    DOSE,
    INTERVAL,
    KIND,
    OBSERVE,
    OUTPUT,
    PLACE,
    RATE,
    REPEATS,
    RESET,
    ROW,
    TIME,
    WHAT,
)

__all__ = ["Forecast", "Present", "curve_times_of", "forecast", "present_of", "troughs_of"]

type Floats = NDArray[np.float64]

SUSTAINED_DOSES = 8  # at the new interval; by then the level of an antibody has settled
_BESIDE = 1e-6  # from a bolus to the points before and after it, relative to the later of 1 and it


@dataclass(frozen=True)
class Present:
    """Where a patient stands: everything up to the last dose, and that dose.

    Times and amounts in the units of the data. ``history`` holds the doses since the last reset
    (EVID 3 or 4), before which nothing counts, and the changes of the row of parameters; ``row`` is
    the row that holds in the end, ``coming`` that of doses to come: another where the model has
    variability between occasions. ``rate`` of the last dose as in the data (0 at once, below 0
    where the rate or duration is a parameter); ``compartment`` counts from 0. ``output`` is the
    index of the structure's output that is forecast. ``usual_interval`` is the median of the
    intervals between doses (NaN with a single one that is not at steady state). ``covariates`` are
    those of the last record.
    """

    subject: str
    history: Events
    time: float
    amount: float
    rate: float
    compartment: int
    row: int
    coming: int
    output: int
    usual_interval: float
    n_observations: int
    n_blq: int
    covariates: Mapping[str, float]


@dataclass(frozen=True)
class Forecast:
    """Samples of true concentrations.

    ``troughs`` (n_samples, n_intervals): after one more interval; ``sustained``: after going on at
    it; ``curve`` (n_samples, n_points) at ``curve_times``, the past and the time without a further
    dose up to the longest interval. NaN where the equations could not be solved.
    """

    troughs: Floats
    sustained: Floats
    curve: Floats
    curve_times: Floats


def present_of(
    model: PopModel, dataset: Dataset, *, output: int = 0, design: Design | None = None
) -> list[Present]:
    """The present state of each patient; every one must have a dose, after its last reset.

    ``output`` is the index of the structure's output to forecast; ``design`` that of the data,
    where it is known.
    """
    design = design_of(model, dataset) if design is None else design
    begins = dataset.starts
    ends = np.append(begins[1:], len(dataset.is_observation)) - 1
    below = dataset.table["CENS"].values == 1
    latest = {name: dataset.table[name].values[ends] for name in sorted(dataset.covariates)}
    found = []
    for index, subject in enumerate(dataset.subjects):
        events = design.events.subject(index)
        coming = int(events.rows[1]) if model.iov.effects else None
        if coming is not None:  # a row more
            events = _one(events.number, events.code, np.array([0, coming + 1]))
        history = _since_last_reset(events)
        times, source = _given(history)
        last = source[int(np.argmax(times))]
        gaps = np.concatenate([np.diff(np.sort(times)), history.interval[history.steady > 0]])
        switches = history.place[history.kind == ROW]
        rows = slice(int(begins[index]), int(ends[index]) + 1)
        observed = dataset.is_observation[rows]
        found.append(
            Present(
                subject=subject,
                history=history,
                time=float(times.max()),
                amount=float(history.amount[last]),
                rate=float(history.rate[last]),
                compartment=int(history.compartment[last]),
                row=(row := int(switches[-1]) if len(switches) else 0),
                coming=row if coming is None else coming,
                output=output,
                usual_interval=float(np.median(gaps[gaps > 0]))
                if np.any(gaps > 0)
                else float("nan"),
                n_observations=int(observed.sum()),
                n_blq=int((below[rows] & observed).sum()),
                covariates={name: float(values[index]) for name, values in latest.items()},
            )
        )
    return found


def forecast(
    model: PopModel,
    parameters: Floats,
    present: Present,
    intervals: Floats,
    points: int,
    *,
    sustained: bool = True,
) -> Forecast:
    """True concentrations of one patient under samples of its parameters.

    Covariates stay from now on as they are at the last record.

    Parameters
    ----------
    model
        The model.
    parameters
        Samples (n_samples, n_rows, m).
    present
        The patient's state.
    intervals
        Candidate intervals, in the time units of the data, ascending.
    points
        Number of evenly spaced times of the curve, to which `curve_times_of` adds others; no curve
        if 0.
    sustained
        Whether to go on at each interval until it settles, which takes most of the time; NaN if
        not.
    """
    curve_times = curve_times_of(present, intervals, points) if points else np.zeros(0)
    times = np.concatenate([present.time + intervals, curve_times])
    courses = [_observed_at(present.history, times, present.output)]
    if sustained:
        courses += [_kept_up(present, float(interval)) for interval in intervals]
    together = np.tile(parameters, (1, len(courses), 1))
    found = Solver(model.structure, _side_by_side(courses)).ensemble(together).value
    # What the solver gave up on is infinite, and must not count as above a target.
    found = np.where(np.isfinite(found), found, np.nan)
    values = np.empty((len(parameters), len(times)))
    order = np.argsort(times, kind="stable")
    values[:, order] = found[:, : len(times)]
    n = len(intervals)
    kept_up = found[:, len(times) :] if sustained else np.full((len(found), n), np.nan)
    return Forecast(values[:, :n], kept_up, values[:, n:], curve_times)


def troughs_of(model: PopModel, parameters: Floats, present: Present, intervals: Floats) -> Floats:
    """The ``troughs`` of `forecast` alone (n_samples, n_intervals), the intervals ascending."""
    events = _observed_at(present.history, present.time + intervals, present.output)
    found = Solver(model.structure, events).ensemble(parameters).value
    return np.where(np.isfinite(found), found, np.nan)


def curve_times_of(present: Present, intervals: Floats, points: int) -> Floats:
    """Times (n) at which a patient's curve is computed, ascending.

    ``points`` evenly spaced ones from the first dose to the longest interval's end, the start and
    the end of every infusion, just before and just after every bolus, and each interval's end.
    """
    times, source = _given(present.history)
    rate, amount = present.history.rate[source], present.history.amount[source]
    start, end = float(times.min()), present.time + float(intervals[-1])
    bolus, infused = times[rate == 0], times[rate != 0]
    beside = _BESIDE * np.maximum(1.0, np.abs(bolus))
    known = rate > 0  # the others end when the parameters say
    ended = times[known] + amount[known] / rate[known]
    turns = [bolus - beside, bolus + beside, infused, ended, present.time + intervals]
    every = np.concatenate([np.linspace(start, end, points), *turns])
    return np.unique(every.clip(start, end))


def _given(events: Events) -> tuple[Floats, NDArray[np.int64]]:
    """Time of every dose (n_doses) of events without a reset, runs written out, and its event."""
    source = np.repeat(
        np.arange(len(events.time)), np.where(events.kind == DOSE, events.repeats, 0)
    )
    repeat = np.arange(len(source)) - np.searchsorted(source, source)
    return events.time[source] + repeat * events.interval[source], source


def _since_last_reset(events: Events) -> Events:
    """A subject's doses after the last reset, which wipes out all before it, and its rows."""
    resets = np.flatnonzero(events.kind == RESET)
    begin = int(resets[-1]) + 1 if len(resets) else 0
    kept = np.isin(events.kind, (DOSE, ROW))
    kept[:begin] = False
    number, code = events.number[kept], events.code[kept]
    before = np.flatnonzero(events.kind[:begin] == ROW)
    if len(before):
        # The row that held at the reset holds on; TIME may have started again since.
        held, place = np.zeros((1, 4)), events.code[before[-1:]]
        held[0, TIME] = number[:, TIME].min(initial=0.0) - 1.0
        number, code = np.vstack([held, number]), np.vstack([place, code])
    return _one(number, code, events.rows)


def _kept_up(present: Present, interval: float) -> Events:
    """The history, then more doses at an interval, and the trough after the last of them.

    They are one occasion, where the model has variability between occasions.
    """
    first = present.time + interval
    number, code = np.zeros((2, 4)), np.zeros((2, 7), dtype=np.int64)
    number[:, TIME], code[:, PLACE], code[:, OUTPUT] = first, present.coming, -1
    code[0, KIND] = ROW
    number[1, [AMOUNT, RATE, INTERVAL]] = present.amount, present.rate, interval
    code[1, [KIND, COMPARTMENT, REPEATS]] = DOSE, present.compartment, SUSTAINED_DOSES
    if present.coming == present.row:
        number, code = number[1:], code[1:]
    history = present.history
    more = _one(np.vstack([history.number, number]), np.vstack([history.code, code]), history.rows)
    return _observed_at(more, np.array([first + SUSTAINED_DOSES * interval]), present.output)


def _observed_at(events: Events, times: Floats, output: int) -> Events:
    """The same events, an output observed at the given times (before a dose at the same time)."""
    n = len(times)
    number, code = np.zeros((n, 4)), np.zeros((n, 7), dtype=np.int64)
    number[:, TIME], code[:, KIND], code[:, WHAT] = times, OBSERVE, output
    number, code = np.vstack([number, events.number]), np.vstack([code, events.code])
    order = np.argsort(number[:, TIME], kind="stable")
    number, code = number[order], code[order]
    code[code[:, KIND] == OBSERVE, OUTPUT] = np.arange(n)
    return _one(number, code, events.rows)


def _side_by_side(courses: list[Events]) -> Events:
    """Courses of one subject each as so many subjects, outputs one after the other."""
    if len(courses) == 1:
        return courses[0]
    code = np.vstack([course.code for course in courses])
    seen = code[:, KIND] == OBSERVE
    outputs = [course.n_outputs for course in courses]
    events = [len(course.number) for course in courses]
    code[seen, OUTPUT] += np.repeat(np.cumsum([0, *outputs[:-1]]), outputs)
    return Events(
        np.cumsum([0, *events], dtype=np.int64),
        np.cumsum([0, *(int(course.rows[1]) for course in courses)], dtype=np.int64),
        np.vstack([course.number for course in courses]),
        code,
    )


def _one(number: Floats, code: NDArray[np.int64], rows: NDArray[np.int64]) -> Events:
    """Events of one subject."""
    return Events(np.array([0, len(number)], dtype=np.int64), rows, number, code)

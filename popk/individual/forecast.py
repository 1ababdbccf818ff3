"""What comes next: concentrations after a patient's last dose, and at other intervals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from popk.dataset import Dataset
from popk.graph import covariate_values
from popk.model import PopModel
from popk.structure import Events, ensemble, events_of
from popk.structure.events import DOSE, OBSERVE, RESET

__all__ = ["Forecast", "Present", "curve_times_of", "forecast", "present_of"]

type Floats = NDArray[np.float64]

SUSTAINED_DOSES = 8  # at the new interval; by then the level of an antibody has settled
_BESIDE = 1e-6  # from a bolus to the points before and after it, relative to the later of 1 and it


@dataclass(frozen=True)
class Present:
    """Where a patient stands: everything up to the last dose, and that dose.

    Times and amounts in the units of the data. ``history`` begins at the last reset (EVID 3 or 4),
    before which nothing counts. ``usual_interval`` is the median of the intervals between doses
    (NaN with a single dose).
    """

    subject: str
    history: Events
    time: float
    amount: float
    duration: float
    compartment: int
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


def present_of(model: PopModel, dataset: Dataset) -> list[Present]:
    """The present state of each patient; every one must have a dose, after its last reset."""
    events = events_of(dataset, n_compartments=len(model.structure.compartments))
    covariates = {name: dataset.covariate_table()[name] for name in dataset.covariates}
    used = set(covariate_values(model, dataset)) | set(covariates)
    ids = dataset.table["ID"].values
    found = []
    for index, subject in enumerate(dataset.subjects):
        history = _since_last_reset(events.subject(index))
        times, source = _given(history)
        last = source[int(np.argmax(times))]
        gaps = np.diff(np.sort(times))
        mine = ids == subject
        observed = dataset.is_observation & mine
        found.append(
            Present(
                subject=subject,
                history=history,
                time=float(times.max()),
                amount=float(history.amount[last]),
                duration=float(history.duration[last]),
                compartment=int(history.compartment[last]),
                usual_interval=float(np.median(gaps[gaps > 0]))
                if np.any(gaps > 0)
                else float("nan"),
                n_observations=int(observed.sum()),
                n_blq=int((dataset.table["CENS"].values[observed] == 1).sum()),
                covariates={name: float(covariates[name].loc[subject]) for name in sorted(used)},
            )
        )
    return found


def forecast(
    model: PopModel, parameters: Floats, present: Present, intervals: Floats, points: int
) -> Forecast:
    """True concentrations of one patient under samples of its parameters.

    Parameters
    ----------
    model
        The model.
    parameters
        Samples (n_samples, m).
    present
        The patient's state.
    intervals
        Candidate intervals, in the time units of the data, ascending.
    points
        Number of evenly spaced times of the curve, to which `curve_times_of` adds others.
    """
    curve_times = curve_times_of(present, intervals, points)
    once = _observed_at(present.history, np.concatenate([present.time + intervals, curve_times]))
    order = np.argsort(np.concatenate([present.time + intervals, curve_times]), kind="stable")
    solved, _ = ensemble(model.structure, parameters, model.structure.prepare(once))
    values = np.empty_like(solved)
    values[:, order] = solved
    n = len(intervals)
    sustained = [
        ensemble(
            model.structure,
            parameters,
            model.structure.prepare(_kept_up(present, float(interval))),
        )[0][:, 0]
        for interval in intervals
    ]
    # What the solver gave up on is infinite, and must not count as above a target.
    values = np.where(np.isfinite(values), values, np.nan)
    kept_up = np.stack(sustained, axis=1)
    kept_up = np.where(np.isfinite(kept_up), kept_up, np.nan)
    return Forecast(values[:, :n], kept_up, values[:, n:], curve_times)


def curve_times_of(present: Present, intervals: Floats, points: int) -> Floats:
    """Times (n) at which a patient's curve is computed, ascending.

    ``points`` evenly spaced ones from the first dose to the longest interval's end, the start and
    the end of every infusion, just before and just after every bolus, and each interval's end.
    """
    times, source = _given(present.history)
    duration = present.history.duration[source]
    start, end = float(times.min()), present.time + float(intervals[-1])
    bolus = times[duration == 0]
    beside = _BESIDE * np.maximum(1.0, np.abs(bolus))
    infused, lasting = times[duration > 0], duration[duration > 0]
    turns = [bolus - beside, bolus + beside, infused, infused + lasting, present.time + intervals]
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
    """A subject's doses after the last reset, which wipes out all before it."""
    resets = np.flatnonzero(events.kind == RESET)
    begin = int(resets[-1]) + 1 if len(resets) else 0
    mask = events.kind == DOSE
    mask[:begin] = False
    return _keep(events, mask)


def _kept_up(present: Present, interval: float) -> Events:
    """The history, then more doses at an interval, and the trough after the last of them."""
    first = present.time + interval
    more = Events(
        np.array([0, 1]),
        np.array([first]),
        np.array([DOSE]),
        np.array([present.amount]),
        np.array([present.duration]),
        np.array([interval]),
        np.array([SUSTAINED_DOSES]),
        np.array([present.compartment]),
        np.array([-1]),
    )
    last = first + SUSTAINED_DOSES * interval
    return _observed_at(_join(present.history, more), np.array([last]))


def _observed_at(events: Events, times: Floats) -> Events:
    """The same events, observed at the given times (before a dose at the same time)."""
    n = len(times)
    zeros, none = np.zeros(n), np.zeros(n, dtype=np.int64)
    watching = Events(
        np.array([0, n]),
        np.asarray(times, dtype=float),
        np.full(n, OBSERVE),
        zeros,
        zeros,
        zeros,
        none,
        none,
        np.arange(n),
    )
    joined = _join(watching, events)
    order = np.argsort(joined.time, kind="stable")
    parts = [np.ascontiguousarray(column[order]) for column in joined[1:]]
    output = np.where(parts[1] == OBSERVE, np.cumsum(parts[1] == OBSERVE) - 1, -1)
    return Events._make([joined.first, *parts[:-1], output])


def _join(left: Events, right: Events) -> Events:
    size = len(left.time) + len(right.time)
    parts = [np.concatenate(pair) for pair in zip(left[1:], right[1:], strict=True)]
    return Events._make([np.array([0, size]), *parts])


def _keep(events: Events, mask: NDArray[np.bool_]) -> Events:
    parts = [np.ascontiguousarray(column[mask]) for column in events[1:]]
    return Events._make([np.array([0, int(mask.sum())]), *parts])

"""The dose for a trough or an area: a grid of doses and intervals, each with its probability."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from popk.dataset import Dataset
from popk.decision.measures import band, share
from popk.decision.results import (
    about_patients,
    answer,
    asked,
    basis_of,
    in_percent,
    names_of,
    padded,
)
from popk.decision.scenarios import Future, concentrations_under, reading_times
from popk.decision.standing import Patients, Standing, standings_of
from popk.decision.targets import AUC24, Goal, measured_by, name_of, unit_of
from popk.errors import SettingError
from popk.individual import Trough
from popk.statistics import Prior

__all__ = ["dose_for_auc", "dose_for_trough"]

type Floats = NDArray[np.float64]

_POINTS = 120
_USUAL = np.arange(1, 13) / 4  # of the last dose
_STRAIGHT = 1e-4  # how far from a straight line in the dose a measure may lie, relatively


class _Asked(NamedTuple):
    """What is asked for every patient; times in the units of the data."""

    goals: tuple[Goal, ...]
    doses: Floats | None
    intervals: Floats | None
    start: float | None
    steady: bool
    probability: float


class _Grid(NamedTuple):
    """A patient's candidates (n): dose and interval, and what the goals look at (S, n) each."""

    dose: Floats
    interval: Floats
    measured: list[Floats]
    needed: Floats  # dose (S, n_intervals) that just reaches the first goal, NaN if not to be had
    intervals: Floats


def dose_for_trough(  # noqa: PLR0913
    fit: xr.DataTree,
    patients: xr.DataTree | Dataset | Sequence[object] | None = None,
    *,
    target: Trough,
    doses: Sequence[float] | None = None,
    intervals: Sequence[float] | None = None,
    also: Sequence[Goal] = (),
    steady: bool = False,
    start: float | None = None,
    probability: float = 0.9,
    seed: int = 1,
) -> xr.DataTree:
    """The dose that holds a trough, by dosing interval.

    Parameters
    ----------
    fit, patients, target, probability, seed
        As for `popk.interval_for_trough`.
    doses
        Feasible doses, in the unit of the data; a quarter of the last one up to three times it, in
        steps of a quarter, if None.
    intervals
        Dosing intervals, in the time unit of the data; each patient's present one if None.
    also
        Further targets that must be reached together with it, such as ``Peak(40, "mg/L")``.
    steady
        False: the interval that follows the next dose, from the patient's present level. True: the
        steady state of this regimen.
    start
        When the next dose is given, after the last one, in the time unit of the data; the present
        interval if None. Not used at the steady state, and refused there.

    Returns
    -------
    DataTree with the group ``decision`` (subject, candidate): ``dose``, ``interval``,
    ``probability`` that all targets are reached, ``acceptable``; (subject, candidate, target):
    ``reached``, the probability of each, and ``low``, ``median``, ``high`` of what it looks at,
    whose unit the coordinate ``target_unit`` gives; by subject ``words``. The group ``dose``
    (subject, interval_number) has, for the interval ``of_interval``: ``advised``, the smallest
    acceptable dose; ``exact``, the dose, feasible or not, that reaches the first target with the
    probability; and ``needed_low``, ``needed_median``, ``needed_high``, the 90 % interval of the
    dose that just reaches it (NaN where the doses do not span it and the concentrations are not
    proportional to them). See `popk.decision_frame`.

    Raises
    ------
    SettingError, UnitError, DataError, ModelError, FitError
        When a setting makes no sense, a target has another unit, or the patients do not fit.
    """
    request = _request((target, *also), doses, intervals, start, steady, probability)
    return _answered(fit, patients, request, "dose for a trough", seed)


def dose_for_auc(  # noqa: PLR0913
    fit: xr.DataTree,
    patients: xr.DataTree | Dataset | Sequence[object] | None = None,
    *,
    target: AUC24,
    doses: Sequence[float] | None = None,
    intervals: Sequence[float] | None = None,
    also: Sequence[Goal] = (),
    steady: bool = True,
    start: float | None = None,
    probability: float = 0.9,
    seed: int = 1,
) -> xr.DataTree:
    """The dose that reaches an area under the concentration in 24 h, by dosing interval.

    Parameters and result as for `popk.dose_for_trough`; here the steady state is the default. The
    dose ``needed`` is that which reaches ``at_least`` (``at_most`` where only that is given).

    Raises
    ------
    SettingError, UnitError, DataError, ModelError, FitError
        When a setting makes no sense, a target has another unit, or the patients do not fit.
    """
    request = _request((target, *also), doses, intervals, start, steady, probability)
    return _answered(fit, patients, request, "dose for an AUC", seed)


def _request(
    goals: tuple[Goal, ...], doses: Sequence[float] | None, intervals: Sequence[float] | None,
    start: float | None, steady: bool, probability: float,
) -> _Asked:  # fmt: skip
    if steady and start is not None:
        raise SettingError("start was given for a steady state, which has no start; leave it out.")
    if start is not None and not (math.isfinite(start) and start > 0):
        raise SettingError(f"start is {start!r}; give a time after the last dose, above zero.")
    return _Asked(
        goals, _positive("doses", doses), _positive("intervals", intervals), start, steady,
        asked(probability),
    )  # fmt: skip


def _positive(name: str, given: Sequence[float] | None) -> Floats | None:
    if given is None:
        return None
    found = np.unique(np.asarray(list(given), dtype=float))
    if not len(found) or not (np.all(np.isfinite(found)) and found[0] > 0):
        raise SettingError(f"{name} is {list(given)}; give numbers above zero.")
    return found


def _answered(
    fit: xr.DataTree,
    patients: xr.DataTree | Dataset | Sequence[object] | None,
    request: _Asked,
    question: str,
    seed: int,
) -> xr.DataTree:
    found = standings_of(fit, patients, seed=seed)
    for goal in request.goals:
        goal.check_units(found.model.units)
    grids = [_grid(one, request) for one in found.each]
    table = _table(found, request, grids)
    settings: dict[str, str | float | int] = {
        "targets": "; ".join(name_of(goal) for goal in request.goals),
        "probability": request.probability,
        "steady": int(request.steady),
    }
    by_interval = [str(name) for name in table.data_vars if "interval_number" in table[name].dims]
    groups = {
        "decision": table.drop_dims("interval_number"),
        "dose": table[by_interval],
    }
    return answer(found, question, groups, settings=settings)


def _grid(standing: Standing, request: _Asked) -> _Grid:
    """All candidates of one patient, solved at once."""
    doses = standing.present.amount * _USUAL if request.doses is None else request.doses
    intervals = request.intervals
    if intervals is None or (request.start is None and not request.steady):
        present = standing.present_interval
        if math.isnan(present):
            raise SettingError(
                f"ID {standing.subject} has a single dose, so there is no present interval; give "
                f"intervals{'' if request.steady else ' and start'} in {standing.model.units.time}."
            )
        intervals = np.array([present]) if intervals is None else intervals
    begin = 0.0
    if not request.steady:
        after = standing.present_interval if request.start is None else request.start
        begin = standing.present.time + after
    dose, interval = (x.ravel() for x in np.meshgrid(doses, intervals, indexing="ij"))
    futures = []
    for amount, length in zip(dose.tolist(), interval.tolist(), strict=True):
        read = reading_times(standing, begin, begin + length, _POINTS)
        futures.append(
            Future(
                read,
                doses=np.array([begin]),
                amounts=np.array([amount]),
                steady=length if request.steady else None,
            )
        )
    values = concentrations_under(standing, futures)
    units = standing.model.units
    measured = [
        np.stack(
            [measured_by(goal, f.read, v, units) for f, v in zip(futures, values, strict=True)],
            axis=1,
        )
        for goal in request.goals
    ]
    level = _level(request.goals[0])
    first = measured[0].reshape(standing.size, len(doses), len(intervals))
    needed = np.stack([_needed(doses, first[:, :, k], level) for k in range(len(intervals))], 1)
    return _Grid(dose, interval, measured, needed, intervals)


def _level(goal: Goal) -> float:
    """The number that the first goal is to reach; NaN where it is a distribution."""
    if isinstance(goal, AUC24):
        return float(goal.at_least if goal.at_least is not None else goal.at_most or math.nan)
    if isinstance(goal, Trough) and not isinstance(goal.given, Prior):
        return goal.concentration
    return math.nan


def _needed(doses: Floats, measured: Floats, level: float) -> Floats:
    """The dose (S) at which each draw's measure (S, n_doses) is at the level.

    Where the measure is a straight line in the dose, as under linear elimination, on that line;
    else between the doses, and infinite beyond them.
    """
    if math.isnan(level) or len(doses) < 2:
        return np.full(len(measured), np.nan)
    slope = (measured[:, -1] - measured[:, 0]) / (doses[-1] - doses[0])
    line = measured[:, :1] + slope[:, None] * (doses - doses[0])
    lost = np.isnan(measured).any(axis=1)
    with np.errstate(all="ignore"):
        straight = np.abs(line - measured).max(axis=1) <= _STRAIGHT * np.abs(measured).max(axis=1)
        on_line = np.maximum(doses[0] + (level - measured[:, 0]) / slope, 0.0)
    on_line = np.where(slope > 0, on_line, np.inf)
    k = np.clip((measured < level).sum(axis=1), 1, len(doses) - 1)
    at = np.arange(len(measured))
    low, high = measured[at, k - 1], measured[at, k]
    part = np.divide(level - low, high - low, out=np.zeros_like(low), where=high > low)
    between = doses[k - 1] + part * (doses[k] - doses[k - 1])
    between = np.where(measured[:, -1] < level, np.inf, np.where(part < 0, doses[0], between))
    return np.where(lost, np.nan, np.where(straight, on_line, between))


def _table(found: Patients, request: _Asked, grids: list[_Grid]) -> xr.Dataset:
    units, goals = found.model.units, request.goals
    size = max(len(grid.dose) for grid in grids)
    rows = [_columns(one, request, grid) for one, grid in zip(found.each, grids, strict=True)]
    unit = {"dose": units.amount, "interval": units.time}
    columns: dict[str, Any] = {
        name: (
            ("subject", "candidate"),
            padded([row[name] for row in rows], size),
            {"units": unit.get(name, "1")},
        )
        for name in ("dose", "interval", "probability")
    }
    held = columns["probability"][1]
    columns["acceptable"] = (
        ("subject", "candidate"),
        (np.nan_to_num(held, nan=0.0) >= request.probability).astype(int),
    )
    for name in ("reached", "low", "median", "high"):
        by_goal = [padded([row[name][g] for row in rows], size) for g in range(len(goals))]
        columns[name] = (("subject", "candidate", "target"), np.stack(by_goal, axis=2))
    columns["reached"] = (*columns["reached"], {"units": "1"})
    for name in ("advised", "exact", "needed_low", "needed_median", "needed_high"):
        values = np.stack([row[name] for row in rows])
        columns[name] = (("subject", "interval_number"), values, {"units": units.amount})
    of = np.stack([grid.intervals for grid in grids])
    columns["of_interval"] = (("subject", "interval_number"), of, {"units": units.time})
    columns["words"] = ("subject", [row["words"] for row in rows])
    coords = {
        "subject": names_of(found.each),
        "candidate": np.arange(1, size + 1),
        "target": [name_of(goal) for goal in goals],
        "target_unit": ("target", [unit_of(goal, units) for goal in goals]),
        "interval_number": np.arange(1, of.shape[1] + 1),
    }
    return xr.Dataset(columns, coords=coords | about_patients(found))


def _columns(standing: Standing, request: _Asked, grid: _Grid) -> dict[str, Any]:
    """One patient's columns."""
    each = [goal.reached(own) for goal, own in zip(request.goals, grid.measured, strict=True)]
    together = np.prod(np.stack(each), axis=0)
    probability = share(together, grid.measured[0])
    bands = [band(own) for own in grid.measured]
    advised = []
    for interval in grid.intervals:
        fine = (grid.interval == interval) & (probability >= request.probability)
        usable = fine.any() and standing.reliable
        advised.append(float(grid.dose[fine].min()) if usable else float("nan"))
    low, median, high = band(grid.needed)
    kept = np.nanquantile(
        np.where(np.isnan(grid.needed).all(axis=0), 0.0, grid.needed),
        request.probability, axis=0, method="inverted_cdf",
    )  # fmt: skip
    exact = np.where(np.isnan(median), np.nan, kept)
    return {
        "dose": grid.dose,
        "interval": grid.interval,
        "probability": probability,
        "reached": [share(one, own) for one, own in zip(each, grid.measured, strict=True)],
        "low": [one[0] for one in bands],
        "median": [one[1] for one in bands],
        "high": [one[2] for one in bands],
        "advised": np.array(advised),
        "exact": exact,
        "needed_low": low,
        "needed_median": median,
        "needed_high": high,
        "words": _words(standing, request, grid, probability, advised),
    }


def _words(
    standing: Standing, request: _Asked, grid: _Grid, probability: Floats, advised: list[float]
) -> str:
    if not standing.reliable:
        return f"No answer: {standing.note}"
    units = standing.model.units
    goals = " and ".join(name_of(goal) for goal in request.goals)
    when = "at steady state" if request.steady else "in the interval after the next dose"
    parts = []
    for interval, dose in zip(grid.intervals.tolist(), advised, strict=True):
        own = grid.interval == interval
        best = int(np.argmax(np.where(own, probability, -1.0)))
        every = f"every {interval:.4g} {units.time}"
        if math.isnan(dose):
            parts.append(
                f"{every} no dose holds {100 * request.probability:g} % (at most "
                f"{in_percent(probability[best])}, {grid.dose[best]:.4g} {units.amount})"
            )
        else:
            at = int(np.flatnonzero(own & (grid.dose == dose))[0])
            parts.append(f"{every} {dose:.4g} {units.amount} ({in_percent(probability[at])})")
    return f"{goals} {when}: {'; '.join(parts)}; {basis_of(standing)}."

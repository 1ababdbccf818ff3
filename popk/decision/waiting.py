"""Waiting longer than planned, and until a concentration is reached."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from popk.dataset import Dataset
from popk.decision.intervals import course_until
from popk.decision.measures import band, first_time_at_or_below, share
from popk.decision.results import (
    about_patients,
    answer,
    asked,
    bands,
    basis_of,
    in_percent,
    names_of,
)
from popk.decision.scenarios import Future, concentrations_under, reading_times
from popk.decision.standing import Standing, standings_of
from popk.errors import SettingError
from popk.individual import Trough

__all__ = ["slipped_visit", "time_until"]

type Floats = NDArray[np.float64]

_POINTS = 400


def slipped_visit(
    fit: xr.DataTree,
    patients: xr.DataTree | Dataset | Sequence[object] | None = None,
    *,
    target: Trough,
    week: float | None = None,
    days: int = 14,
    probability: float = 0.9,
    seed: int = 1,
) -> xr.DataTree:
    """What P(trough >= target) becomes when the next visit slips, day by day.

    Parameters
    ----------
    fit, patients, target, seed
        As for `popk.interval_for_trough`.
    week
        The planned interval from the last dose, in weeks; each patient's present one if None.
    days
        Up to how many days late.
    probability
        The probability with which the target must be held.

    Returns
    -------
    DataTree with the group ``decision`` (subject, day): ``probability``, the 90 % interval of the
    true trough and ``under``, the expected days under the target since the last dose, if the visit
    is so many days late. By subject: ``planned`` (weeks), ``holds_until``, the last day up to which
    the probability is held (NaN where it is not even on the planned day), and ``words``.

    Raises
    ------
    SettingError, UnitError, DataError, ModelError, FitError
        When a setting makes no sense, the target has another unit, or the patients do not fit.
    """
    asked(probability)
    if isinstance(days, bool) or not float(days).is_integer() or days < 1:
        raise SettingError(f"days is {days!r}; give 1 or more whole days.")
    if week is not None and not (math.isfinite(week) and week > 0):
        raise SettingError(f"week is {week!r}; give the planned interval in weeks, above zero.")
    found = standings_of(fit, patients, seed=seed)
    target.check_units(found.model.units)
    late = np.arange(int(days) + 1, dtype=float)
    rows = []
    for one in found.each:
        planned = one.present_interval / one.per_week if week is None else float(week)
        if math.isnan(planned):
            raise SettingError(
                f"ID {one.subject} has a single dose, so there is no present interval; give the "
                "planned one, week=4."
            )
        rows.append(_late(one, planned, late, target, probability))
    units = found.model.units
    unit = {"under": "d", "planned": "wk", "holds_until": "d", "probability": "1"}
    columns: dict[str, Any] = {}
    for name in rows[0]:
        values = np.array([row[name] for row in rows])
        dims = ("subject", "day") if values.ndim == 2 else ("subject",)
        attrs = {} if name == "words" else {"units": unit.get(name, units.concentration)}
        columns[name] = (dims, values, attrs)
    coords = {"subject": names_of(found.each), "day": ("day", late, {"units": "d"})}
    table = xr.Dataset(columns, coords=coords | about_patients(found))
    settings = {"target": target.words, "probability": float(probability)}
    return answer(found, "slipped visit", {"decision": table}, settings=settings)


def _late(
    standing: Standing, planned: float, late: Floats, target: Trough, probability: float
) -> dict[str, Any]:
    intervals = planned * standing.per_week + late * standing.per_day
    course = course_until(standing, intervals, target)
    stated = share(target.reached(course.troughs), course.troughs)
    held = int(np.logical_and.accumulate(stated >= probability).sum())
    until = float(late[held - 1]) if held and standing.reliable else float("nan")
    asked_for = f"{100 * probability:g} %"
    on_time = f"P(trough >= {target.words}) is {in_percent(float(stated[0]))}"
    if not standing.reliable:
        words = f"No answer: {standing.note}"
    elif not held:
        words = f"Already on the planned day, week {planned:.3g}, {on_time}, less than {asked_for}"
    elif held == len(late):
        words = (
            f"On the planned day, week {planned:.3g}, {on_time}; it is still {asked_for} or more "
            f"{_days(late[-1])} late"
        )
    else:
        words = (
            f"On the planned day, week {planned:.3g}, {on_time}; it is still {asked_for} or more "
            f"{_days(until)} late, and {in_percent(float(stated[held]))} {_days(late[held])} late"
        )
    return {
        "probability": stated,
        "under": share(course.under, course.under) / standing.per_day,
        **bands("trough", course.troughs),
        "planned": planned,
        "holds_until": until,
        "words": words if not standing.reliable else f"{words}; {basis_of(standing)}.",
    }


def _days(count: float) -> str:
    return f"{count:g} day{'s' if count != 1 else ''}"


def time_until(
    fit: xr.DataTree,
    patients: xr.DataTree | Dataset | Sequence[object] | None = None,
    *,
    concentration: float,
    unit: str,
    weeks: float = 52.0,
    days: Sequence[float] = (),
    seed: int = 1,
) -> xr.DataTree:
    """How long until a concentration is reached, without a further dose.

    Parameters
    ----------
    fit, patients, seed
        As for `popk.interval_for_trough`.
    concentration, unit
        The concentration, and its unit, which must be the model's.
    weeks
        How long to look, in weeks after the last dose.
    days
        Days after the last dose at which to say with what probability it has been reached.

    Returns
    -------
    DataTree with the group ``decision`` (subject): ``low``, ``median`` and ``high``, the 5, 50 and
    95 % quantiles of the days after the last dose until the concentration is first at or below
    this one, infinite where it is not within the weeks looked at, and ``reached``, the probability
    that it is. Where ``days`` are given, the group ``day`` (subject, day): ``probability`` that it
    has been reached by that day.

    Raises
    ------
    SettingError, UnitError, DataError, ModelError, FitError
        When a setting makes no sense, the unit is another, or the patients do not fit.
    """
    goal = Trough(concentration, unit)
    level = goal.concentration
    if not (math.isfinite(weeks) and weeks > 0):
        raise SettingError(f"weeks is {weeks!r}; give how long to look, above zero.")
    found = standings_of(fit, patients, seed=seed)
    goal.check_units(found.model.units)
    times = [_reached(one, level, weeks) for one in found.each]
    by_day = np.asarray(list(days), dtype=float)
    if len(by_day) and not (np.all(by_day >= 0) and np.all(np.isfinite(by_day))):
        raise SettingError(f"days is {list(days)}; give days after the last dose, zero or more.")
    columns: dict[str, Any] = _quantiles(times)
    reached = np.stack([share((time[:, None] <= by_day).astype(float), time[:, None] + by_day)
                        for time in times])  # fmt: skip
    columns["probability"] = (("subject", "day"), reached, {"units": "1"})
    columns["words"] = (
        "subject",
        [_until_words(one, goal, columns, k) for k, one in enumerate(found.each)],
    )
    coords = {"subject": names_of(found.each), "day": ("day", by_day, {"units": "d"})}
    table = xr.Dataset(columns, coords=coords | about_patients(found))
    groups = {"decision": table.drop_dims("day")}
    if len(by_day):
        groups["day"] = table[["probability"]]
    settings = {"concentration": goal.words, "weeks": float(weeks)}
    return answer(found, "time until a concentration", groups, settings=settings)


def _quantiles(times: list[Floats]) -> dict[str, Any]:
    low, median, high = (np.array(x) for x in zip(*(band(t) for t in times), strict=True))
    known = [float(share(np.isfinite(t).astype(float)[:, None], t[:, None])[0]) for t in times]
    days = {"units": "d"}
    return {
        "low": ("subject", low, days),
        "median": ("subject", median, days),
        "high": ("subject", high, days),
        "reached": ("subject", np.array(known), {"units": "1"}),
    }


def _reached(standing: Standing, level: float, weeks: float) -> Floats:
    """Days after the last dose (S) at which the level is reached."""
    start = standing.present.time
    times = reading_times(standing, start, start + weeks * standing.per_week, _POINTS)
    (values,) = concentrations_under(standing, [Future(times)])
    # Until the concentration has risen above the level there is nothing to fall below.
    risen = np.maximum.accumulate(np.nan_to_num(values, nan=0.0), axis=1) > level
    risen[~risen.any(axis=1)] = True
    watched = np.where(risen | np.isnan(values), values, np.inf)
    return (first_time_at_or_below(times, watched, level) - start) / standing.per_day


def _until_words(standing: Standing, goal: Trough, columns: dict[str, Any], k: int) -> str:
    if not standing.reliable:
        return f"No answer: {standing.note}"
    low, median, high = (
        f"{days:.3g} days" if np.isfinite(days) else "not within the time looked at"
        for days in (columns[name][1][k] for name in ("low", "median", "high"))
    )
    return (
        f"{goal.words} is reached after the last dose, without a further one: {median} (90 % "
        f"interval {low} to {high}); {basis_of(standing)}."
    )

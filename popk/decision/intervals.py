"""The interval for a trough: every feasible visit, its probability, and the longest that holds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from popk.dataset import Dataset
from popk.decision.measures import share, time_under
from popk.decision.results import (
    about_patients,
    answer,
    asked,
    bands,
    basis_of,
    in_days,
    in_percent,
    names_of,
    padded,
)
from popk.decision.scenarios import Future, concentrations_under, reading_times
from popk.decision.standing import Patients, Standing, standings_of
from popk.decision.visits import Feasible, LastDose, Visits, last_dose_of
from popk.individual import Trough
from popk.individual.decision import longest_interval

__all__ = ["Course", "course_until", "interval_for_trough"]

type Floats = NDArray[np.float64]

_POINTS = 160
USUAL = Visits(range(4, 9))


class Course(NamedTuple):
    """Concentrations after the last dose, without a further one.

    ``troughs`` (S, n) at each interval; ``under`` (S, n), the time under the target until then.
    """

    troughs: Floats
    under: Floats


def course_until(standing: Standing, intervals: Floats, target: Trough) -> Course:
    """The course after the last dose up to each interval (n), in the data's time units."""
    start = standing.present.time
    times = reading_times(standing, start, start + float(intervals.max()), _POINTS)
    times = np.unique(np.concatenate([times, start + intervals]))
    (values,) = concentrations_under(standing, [Future(times)])
    at = np.searchsorted(times, start + intervals)
    return Course(values[:, at], time_under(times, values, target)[:, at])


def interval_for_trough(  # noqa: PLR0913
    fit: xr.DataTree,
    patients: xr.DataTree | Dataset | Sequence[object] | None = None,
    *,
    target: Trough,
    visits: Visits = USUAL,
    probability: float = 0.9,
    last_dose: LastDose = None,
    noise: bool = False,
    seed: int = 1,
) -> xr.DataTree:
    """The interval that holds a trough: every feasible visit, and the longest.

    The interval runs from the last recorded dose, so the present level counts.

    Parameters
    ----------
    fit
        What `popk.sample` returned.
    patients
        What `popk.individualise` returned for this fit, or what it takes: new patients, IDs of the
        fit, or None for everybody in it.
    target
        The lowest acceptable trough; a distribution is integrated over.
    visits
        When the patients may come.
    probability
        The probability with which the target must be held.
    last_dose
        Date of the last dose, one for all or by ID, where the visits are days of a calendar.
    noise
        Also what a laboratory would measure, with the model's residual error.
    seed
        Seed.

    Returns
    -------
    DataTree with the group ``decision`` (subject, visit): ``week``, ``time`` after the last dose,
    ``date``, ``probability`` P(trough >= target), ``under`` (expected days under the target in the
    interval), ``trough_low``, ``trough_median`` and ``trough_high`` (90 % predictive interval),
    ``acceptable`` (1 where the probability is held) and, with ``noise``, the same of measured
    troughs. By subject: ``advised``, the longest interval in weeks that, like every shorter one,
    holds the probability (NaN where none does or the computation is not reliable), its
    ``advised_probability`` and ``words``. See `popk.decision_frame`.

    Raises
    ------
    SettingError, UnitError, DataError, ModelError, FitError
        When a setting makes no sense, the target has another unit, or the patients do not fit.
    """
    asked(probability)
    found = standings_of(fit, patients, seed=seed)
    target.check_units(found.model.units)
    each = [_one(one, target, visits, last_dose, noise=noise) for one in found.each]
    table = _table(found, each, target, float(probability), noise=noise)
    settings = {
        "target": target.words, "probability": float(probability), "visits": repr(visits),
        "noise": int(noise),
    }  # fmt: skip
    return answer(
        found, "interval for a trough", {"decision": table}, settings=settings, noise=noise
    )


class _Row(NamedTuple):
    feasible: Feasible
    values: dict[str, Floats]


def _one(
    standing: Standing, target: Trough, visits: Visits, last_dose: LastDose, *, noise: bool
) -> _Row:
    """Everything about one patient's candidates."""
    date = last_dose_of(last_dose, standing.subject, visits)
    feasible = visits.feasible(standing.present_interval / standing.per_week, date)
    if not len(feasible.weeks):
        return _Row(feasible, {})
    intervals = feasible.weeks * standing.per_week
    course = course_until(standing, intervals, target)
    values = {
        "week": feasible.weeks,
        "time": intervals,
        "probability": share(target.reached(course.troughs), course.troughs),
        "under": share(course.under, course.under) / standing.per_day,
    }
    values |= bands("trough", course.troughs)
    if noise:
        measured = standing.measured(course.troughs, "measured")
        values["measured_probability"] = share(target.reached(measured), measured)
        values |= bands("measured", measured)
    return _Row(feasible, values)


def _table(
    found: Patients, each: list[_Row], target: Trough, probability: float, *, noise: bool
) -> xr.Dataset:
    size = max(1, *(len(row.feasible.weeks) for row in each))
    names = ["week", "time", "probability", "under", *_bands_of("trough")]
    names += ["measured_probability", *_bands_of("measured")] if noise else []
    units = found.model.units
    unit = {"week": "wk", "time": units.time, "under": "d"}
    grid = ("subject", "visit")
    held, said = [], []
    for standing, row in zip(found.each, each, strict=True):
        longest = float("nan")
        if len(row.feasible.weeks) and standing.reliable:
            own = row.values
            longest = float(longest_interval(own["week"], own["probability"], probability))
        held.append(longest)
        said.append(_words(standing, row, target, probability, longest))
    columns: dict[str, Any] = {
        name: (
            grid,
            padded([row.values.get(name, np.zeros(0)) for row in each], size),
            {"units": unit.get(name, "1" if "probability" in name else units.concentration)},
        )
        for name in names
    }
    dates = [[day.isoformat() for day in row.feasible.dates] for row in each]
    columns["date"] = (grid, padded(dates, size, fill=""))
    stated = columns["probability"][1]
    columns["acceptable"] = (grid, (np.nan_to_num(stated, nan=0.0) >= probability).astype(int))
    columns["advised"] = ("subject", held, {"units": "wk"})
    best = [
        float(row.values["probability"][row.values["week"] == week][0])
        if np.isfinite(week)
        else week
        for row, week in zip(each, held, strict=True)
    ]
    columns["advised_probability"] = ("subject", best, {"units": "1"})
    columns["words"] = ("subject", said)
    coords = {"subject": names_of(found.each), "visit": np.arange(1, size + 1)}
    return xr.Dataset(columns, coords=coords | about_patients(found))


def _bands_of(name: str) -> list[str]:
    return [f"{name}_{end}" for end in ("low", "median", "high")]


def _words(
    standing: Standing, row: _Row, target: Trough, probability: float, longest: float
) -> str:
    """The answer in a sentence, with its probability and what it rests on."""
    if not len(row.feasible.weeks):
        return row.feasible.note
    if not standing.reliable:
        return f"No interval: {standing.note}"
    weeks, stated = row.values["week"], row.values["probability"]
    basis = basis_of(standing)
    if np.isnan(longest):
        return (
            f"No feasible visit holds {target.words} with {100 * probability:g} %: at the "
            f"shortest, {weeks[0]:.3g} weeks, it is {in_percent(stated[0])}, {basis}."
        )
    at = int(np.flatnonzero(weeks == longest)[0])
    day = f" ({row.feasible.dates[at].isoformat()})" if row.feasible.dates else ""
    fine = [f"{week:.3g}" for week in weeks[stated >= probability]]
    return (
        f"Up to {longest:.3g} weeks{day}: P(trough >= {target.words}) is {in_percent(stated[at])}, "
        f"{in_days(row.values['under'][at])} under it expected, {basis}. Acceptable at "
        f"{100 * probability:g} %: {', '.join(fine)} weeks."
    )

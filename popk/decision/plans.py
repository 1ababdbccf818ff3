"""Transition plans: longer intervals visit by visit, and back again where a trough is too low."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from popk.dataset import Dataset
from popk.decision.measures import band, share, time_under
from popk.decision.results import about_patients, answer, basis_of, in_days, in_percent, names_of
from popk.decision.scenarios import Future, concentrations_under, reading_times
from popk.decision.standing import Patients, Standing, standings_of
from popk.errors import SettingError
from popk.individual import Trough

__all__ = ["Plan", "transition_plan"]

type Floats = NDArray[np.float64]
type Ints = NDArray[np.int64]

_POINTS = 40  # readings in an interval
_DAYS_PER_YEAR = 365.25
_GRID = (
    "interval", "probability", "trough_low", "trough_median", "trough_high", "stops", "gone_back",
    "under",
)  # fmt: skip
_PLAN = ("plan_probability", "completed", "plan_under", "plan_weeks", "infusions_per_year")
_SAMPLING = ("none", "each visit")


@dataclass(frozen=True, init=False)
class Plan:
    """Intervals to come, visit by visit, and when to go back.

    Parameters
    ----------
    weeks
        Intervals in weeks, the first from the last recorded dose: ``(5, 6, 6)``.
    stop_below
        Where a trough measured at a visit is below this concentration, or not quantified, the
        patient goes back, for all further visits of the plan; None: never.
    back_to
        Interval in weeks to go back to; None: the one before that which ended with that trough
        (before the plan's first the patient's present interval).

    Raises
    ------
    SettingError
        When the intervals make no sense.
    """

    weeks: tuple[float, ...]
    stop_below: Trough | None
    back_to: float | None

    def __init__(
        self,
        weeks: Iterable[float],
        *,
        stop_below: Trough | None = None,
        back_to: float | None = None,
    ) -> None:
        given = tuple(float(week) for week in weeks)
        object.__setattr__(self, "weeks", given)
        object.__setattr__(self, "stop_below", stop_below)
        object.__setattr__(self, "back_to", back_to)
        if not given or not all(math.isfinite(week) and week > 0 for week in given):
            raise SettingError(
                f"The plan's intervals are {given}; give weeks above zero, as Plan((5, 6, 6))."
            )
        if back_to is not None and not (math.isfinite(back_to) and back_to > 0):
            raise SettingError(f"back_to is {back_to!r}; give weeks above zero.")
        if back_to is not None and stop_below is None:
            raise SettingError("back_to was given without stop_below, which says when to go back.")
        if stop_below is not None:
            _ = stop_below.concentration  # a measurement is compared with a number

    def intervals(self, stop: int, present: float) -> Floats:
        """Intervals (n_visits) in weeks of who goes back at the visit ``stop``, counted from 0.

        ``present`` is the patient's present interval in weeks; at or beyond the last visit nobody
        goes back any more.
        """
        found = np.array(self.weeks)
        before = present if stop == 0 else self.weeks[min(stop, len(found)) - 1]
        found[stop + 1 :] = before if self.back_to is None else self.back_to
        return found

    def __str__(self) -> str:
        parts = [" -> ".join(f"q{week:g}w" for week in self.weeks)]
        if self.stop_below is not None:
            where = "the interval before" if self.back_to is None else f"q{self.back_to:g}w"
            parts.append(f"back to {where} where a trough is below {self.stop_below.words}")
        return "; ".join(parts)


class _Path(NamedTuple):
    """Every draw's way through a plan, each (S, n_visits)."""

    interval: Floats
    troughs: Floats
    under: Floats  # days
    stops: Floats  # 1 at the visit where the draw goes back
    back: Floats  # 1 at visits after which it has gone back


def transition_plan(
    fit: xr.DataTree,
    patients: xr.DataTree | Dataset | Sequence[object] | None = None,
    *,
    plan: Plan,
    target: Trough,
    seed: int = 1,
) -> xr.DataTree:
    """What becomes of a plan, visit by visit, with and without a sample at each visit.

    Every draw of a patient's parameters goes its own way through the plan: with a sample at each
    visit it goes back where its measured trough, residual error included, is below the limit;
    without samples it follows the plan. Between visits covariates stay as at the last record.

    Parameters
    ----------
    fit, patients, seed
        As for `popk.interval_for_trough`.
    plan
        The plan.
    target
        The lowest acceptable trough; a distribution is integrated over.

    Returns
    -------
    DataTree with the group ``decision`` (subject, sampling, visit): ``probability`` P(trough >=
    target) at the visit, the 90 % interval of the true trough, ``stops`` P(the trough measured
    there sends the patient back), ``gone_back`` P(it has been sent back at an earlier visit),
    ``under`` (expected days under the target since the visit before) and the expected
    ``interval`` (weeks). By (subject, sampling), over the whole plan: ``plan_probability`` P(every
    trough >= target), ``completed`` P(never sent back), ``plan_under`` (days), ``plan_weeks`` and
    ``infusions_per_year``, expected. See `popk.decision_frame`.

    Raises
    ------
    SettingError, UnitError, DataError, ModelError, FitError
        When a setting makes no sense, a concentration has another unit, or the patients do not fit.
    """
    found = standings_of(fit, patients, seed=seed)
    target.check_units(found.model.units)
    if plan.stop_below is not None:
        plan.stop_below.check_units(found.model.units)
    each = [_follow(one, plan, target) for one in found.each]
    table = _table(found, plan, target, each)
    settings = {"target": target.words, "plan": str(plan)}
    return answer(found, "transition plan", {"decision": table}, settings=settings, noise=True)


def _follow(standing: Standing, plan: Plan, target: Trough) -> list[_Path]:
    """The paths without and with samples."""
    n = len(plan.weeks)
    present = standing.present_interval / standing.per_week
    goes_back = plan.stop_below is not None and n > 1
    if goes_back and plan.back_to is None and math.isnan(present):
        raise SettingError(
            f"ID {standing.subject} has a single dose, so there is no present interval to go back "
            "to; give the plan back_to, in weeks."
        )
    stops_at = range(n - 1) if goes_back else range(0)
    sequences = [*(plan.intervals(k, present) for k in stops_at), np.array(plan.weeks)]
    futures, places = zip(*(_visits(standing, weeks) for weeks in sequences), strict=True)
    values = concentrations_under(standing, futures)
    troughs, under = [], []
    for future, place, value in zip(futures, places, values, strict=True):
        whole = time_under(future.read, value, target)[:, place] / standing.per_day
        troughs.append(value[:, place])
        under.append(np.diff(whole, axis=1, prepend=0.0))
    ways = np.stack(troughs), np.stack(under), np.stack(sequences)
    never = np.full(standing.size, n)
    blind = _along(ways, never, never)
    if plan.stop_below is None:
        return [blind, blind]
    limit = max(plan.stop_below.concentration, np.nan_to_num(standing.lloq, nan=0.0))
    low = standing.measured(ways[0][-1], "plan") < limit
    first = np.where(low.any(axis=1), np.argmax(low, axis=1), n)
    return [blind, _along(ways, first, np.where(first < len(stops_at), first, n))]


def _visits(standing: Standing, weeks: Floats) -> tuple[Future, Ints]:
    """The future with doses at these intervals, and where among its readings the visits are."""
    start = standing.present.time
    at = start + np.cumsum(weeks) * standing.per_week
    begins = np.concatenate([[start], at[:-1]])
    readings = [
        reading_times(standing, float(a), float(b), _POINTS)
        for a, b in zip(begins, at, strict=True)
    ]
    read = np.unique(np.concatenate(readings))
    return Future(read, doses=at[:-1]), np.searchsorted(read, at)


def _along(ways: tuple[Floats, Floats, Floats], first: Ints, way: Ints) -> _Path:
    """What each draw meets: ``first`` (S), the visit where it is sent back; ``way``, its future."""
    troughs, under, weeks = ways
    size, n = troughs.shape[1:]
    chosen, draw = np.minimum(way, len(troughs) - 1), np.arange(size)
    visit = np.arange(n)
    return _Path(
        weeks[chosen],
        troughs[chosen, draw],
        under[chosen, draw],
        (visit == first[:, None]).astype(float),
        (visit > first[:, None]).astype(float),
    )


def _summary(standing: Standing, path: _Path, target: Trough) -> dict[str, Any]:
    """Columns of one patient and one way of sampling."""
    known = np.where(np.isnan(path.troughs).any(axis=1), np.nan, path.troughs.min(axis=1))
    low, median, high = band(path.troughs)
    days = path.interval.sum(axis=1).mean() * 7
    lost = np.isnan(path.troughs).all()
    return {
        "interval": path.interval.mean(axis=0),
        "probability": share(target.reached(path.troughs), path.troughs),
        "trough_low": low,
        "trough_median": median,
        "trough_high": high,
        "stops": np.where(lost, np.nan, path.stops.mean(axis=0)),
        "gone_back": np.where(lost, np.nan, path.back.mean(axis=0)),
        "under": share(path.under, path.under),
        # The same target holds at every visit, so the lowest trough decides.
        "plan_probability": share(target.reached(known)[:, None], known[:, None])[0],
        "completed": np.nan if lost else 1.0 - path.stops[:, :-1].sum(axis=1).mean(),
        "plan_under": share(path.under, path.under).sum(),
        "plan_weeks": days / 7,
        "infusions_per_year": path.interval.shape[1] * _DAYS_PER_YEAR / days,
    }


def _table(found: Patients, plan: Plan, target: Trough, each: list[list[_Path]]) -> xr.Dataset:
    columns = [
        [_summary(standing, path, target) for path in paths]
        for standing, paths in zip(found.each, each, strict=True)
    ]
    concentration = found.model.units.concentration
    units = {"interval": "wk", "under": "d", "plan_under": "d", "plan_weeks": "wk",
             "infusions_per_year": "1/a"}  # fmt: skip
    dims = {**dict.fromkeys(_GRID, ("subject", "sampling", "visit")),
            **dict.fromkeys(_PLAN, ("subject", "sampling"))}  # fmt: skip
    variables: dict[str, Any] = {}
    for name, own in dims.items():
        values = np.array([[one[name] for one in row] for row in columns])
        unit = concentration if name.startswith("trough") else units.get(name, "1")
        variables[name] = (own, values, {"units": unit})
    variables["planned"] = ("visit", np.array(plan.weeks), {"units": "wk"})
    variables["words"] = (
        "subject",
        [_words(one, row, target) for one, row in zip(found.each, columns, strict=True)],
    )
    coords = {
        "subject": names_of(found.each),
        "sampling": list(_SAMPLING),
        "visit": np.arange(1, len(plan.weeks) + 1),
    }
    return xr.Dataset(variables, coords=coords | about_patients(found))


def _words(standing: Standing, row: list[dict[str, Any]], target: Trough) -> str:
    if not standing.reliable:
        return f"No answer: {standing.note}"
    blind, seen = row
    return (
        f"Every trough of the plan is >= {target.words} with probability "
        f"{in_percent(blind['plan_probability'])} without samples, "
        f"{in_percent(seen['plan_probability'])} with a sample at each visit; "
        f"{in_days(blind['plan_under'])} and {in_days(seen['plan_under'])} under it expected; the "
        f"plan is completed with probability {in_percent(seen['completed'])} when sampled; "
        f"{basis_of(standing)}."
    )

"""When to take the next trough, and what it is worth: preposterior analysis.

Raiffa & Schlaifer, Applied Statistical Decision Theory (1961). Samples are simulated from each of
the patient's draws; what the patient's posterior would then be is its draws reweighted by the
likelihood of the simulated sample, the draw that it came from left out, as it would count for more
than its share.

Without a utility a sample is valued by the one that the rule itself implies: the longest interval
that holds with probability p is the best where a week that is held counts 1 and one that is not
held counts -p/(1 - p).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from popk.dataset import Dataset
from popk.decision.intervals import USUAL
from popk.decision.measures import time_under
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
from popk.decision.standing import Standing, standings_of
from popk.decision.utility import PML_CAVEAT, Utility
from popk.decision.visits import Visits
from popk.errors import SettingError
from popk.individual import Trough
from popk.statistics import NUMPY

__all__ = ["next_trough"]

type Floats = NDArray[np.float64]

_POINTS = 160
_FEW = 10.0  # effective draws behind a simulated posterior, below which a note says so
_MOST_DAYS = 8


class _Stakes(NamedTuple):
    """What hangs on the decision, for S draws and C candidates.

    ``holds`` (S, C): whether the target is held; ``right`` (S, C + 1): whether no candidate, or
    each, is the longest that truly holds it; ``worth``: the utility of each (S, C), or what the
    rule implies, of no candidate and of each (S, C + 1).
    """

    weeks: Floats
    holds: Floats
    right: Floats
    worth: Floats


class _Worth(NamedTuple):
    """What one sample is worth, each value with its Monte Carlo standard error."""

    right: float
    gain: tuple[float, float]
    utility: tuple[float, float]
    weeks: float
    ess: float


def next_trough(  # noqa: PLR0913
    fit: xr.DataTree,
    patients: xr.DataTree | Dataset | Sequence[object] | None = None,
    *,
    target: Trough,
    visits: Visits = USUAL,
    days: Sequence[float] | None = None,
    next_dose: float | None = None,
    probability: float = 0.9,
    utility: Utility | None = None,
    repeats: int = 1,
    seed: int = 1,
) -> xr.DataTree:
    """When the next sample is best taken, and what it is worth for the choice of the interval.

    Parameters
    ----------
    fit, patients, target, visits, seed
        As for `popk.interval_for_trough`; visits as weeks.
    days
        Candidate days of sampling after the last dose, none later than the shortest interval to
        choose ends; every week until then if None (at most eight of them).
    next_dose
        Weeks after the last dose at which the next dose, like the last, is given: the interval to
        choose is that which follows it. None: it is the one that is running.
    probability
        The interval chosen is the longest that holds the target with this probability.
    utility
        Preferences, by which the sample is valued. None: by the weeks of interval that can be
        given, where a week in which the target is not held counts p/(1 - p) times one in which it
        is, 9 times with a probability of 0.9: that is what the rule weighs.
    repeats
        Samples simulated from each draw.

    Returns
    -------
    DataTree with the group ``decision`` (subject, sample): ``day``, the probability of choosing
    the ``right`` interval (the longest that truly holds the target) once the sample is known,
    ``gain`` (what it adds to that without a sample, ``right_now``), the expected ``weeks`` of the
    interval chosen, and ``value``, the expected value of the sample (in such weeks for this choice;
    with a utility in its unit, in a year), beside ``perfect``, that of knowing the parameters. It
    is what tells the days apart; ``right`` may fall though the sample is of use, as the rule would
    rather be short of the right interval than beyond it. ``gain_error`` and
    ``value_error`` are Monte Carlo standard errors; ``ess`` is the effective number of draws
    that the 5 % least supported posteriors have at most. By subject ``best_day``
    (NaN where no sample is worth more than its Monte Carlo error) and ``words``.

    Raises
    ------
    SettingError, UnitError, DataError, ModelError, FitError
        When a setting makes no sense, the target has another unit, or the patients do not fit.
    """
    asked(probability)
    if visits.needs_date:
        raise SettingError("The value of a sample is for visits in weeks: Visits(range(4, 9)).")
    if next_dose is not None and not (math.isfinite(next_dose) and next_dose > 0):
        raise SettingError(f"next_dose is {next_dose!r}; give weeks after the last dose.")
    if not float(repeats).is_integer() or repeats < 1:
        raise SettingError(f"repeats is {repeats!r}; give 1 or more.")
    found = standings_of(fit, patients, seed=seed)
    target.check_units(found.model.units)
    rows = [
        _one(one, target, visits, days, next_dose or 0.0, float(probability), utility, int(repeats))
        for one in found.each
    ]
    table = _table(found.each, rows, utility).assign_coords(about_patients(found))
    settings: dict[str, str | float] = {
        "target": target.words, "probability": float(probability), "visits": repr(visits),
        "utility": repr(utility),
    }  # fmt: skip
    if next_dose is not None:
        settings["next_dose"] = float(next_dose)
    if utility is not None and utility.pml > 0:
        settings["caveat"] = PML_CAVEAT
    return answer(found, "next trough", {"decision": table}, settings=settings, noise=True)


def _one(  # noqa: PLR0913, PLR0917
    standing: Standing, target: Trough, visits: Visits, days: Sequence[float] | None,
    next_dose: float, probability: float, utility: Utility | None, repeats: int,
) -> dict[str, Any]:  # fmt: skip
    """Everything about one patient."""
    weeks = visits.feasible(standing.present_interval / standing.per_week, None).weeks
    if not len(weeks):
        return {"day": np.zeros(0), "words": "No visit is feasible within these limits."}
    sampled = _days(days, 7.0 * (next_dose + float(weeks[0])))
    begin = standing.present.time + next_dose * standing.per_week
    ends = begin + weeks * standing.per_week
    course = np.unique(
        np.concatenate([reading_times(standing, begin, float(ends[-1]), _POINTS), ends])
    )
    draws = standing.present.time + sampled * standing.per_day
    read = np.unique(np.concatenate([course, draws]))
    doses = np.array([begin]) if next_dose else np.zeros(0)
    (values,) = concentrations_under(standing, [Future(read, doses=doses)])
    usable = ~np.isnan(values).any(axis=1) if standing.reliable else np.zeros(standing.size, bool)
    if usable.sum() < 2:
        lost = np.full(len(sampled), np.nan)
        return {"day": sampled, "right": lost, "words": f"No answer: {standing.note}"}
    after = np.isin(read, course)
    under = time_under(read[after], values[:, after], target) / standing.per_day
    at = np.searchsorted(read[after], ends)
    stakes = _stakes(weeks, values[:, after][:, at], under[:, at], target, utility, probability)
    stakes = _Stakes(weeks, *(each[usable] for each in stakes[1:]))
    seen = values[:, np.searchsorted(read, draws)]
    worth = [
        _value(standing, usable, seen[:, k], stakes, probability, repeats, f"trough {day:g}")
        for k, day in enumerate(sampled.tolist())
    ]
    return _columns(standing, sampled, stakes, worth, probability, utility)


def _days(given: Sequence[float] | None, last: float) -> Floats:
    if given is None:
        every = 7.0 * np.arange(1, math.floor(last / 7 + 1e-9) + 1)
        return np.asarray(every[-_MOST_DAYS:] if len(every) else [last], dtype=float)
    found = np.unique(np.asarray(list(given), dtype=float))
    if not len(found) or not (np.all(np.isfinite(found)) and found[0] > 0):
        raise SettingError(f"The days of sampling are {list(given)}; give days above zero.")
    if found[-1] > last + 1e-9:
        raise SettingError(
            f"Day {found[-1]:g} is after the end of the shortest interval to choose, day {last:g}: "
            "such a sample comes too late for the choice. Give earlier days, or visits with a "
            "longer shortest interval."
        )
    return np.asarray(found, dtype=float)


def _stakes(
    weeks: Floats, troughs: Floats, under: Floats, target: Trough, utility: Utility | None,
    probability: float,
) -> _Stakes:  # fmt: skip
    # The longest that holds, like every shorter one: the lowest trough so far decides.
    so_far = target.reached(np.minimum.accumulate(troughs, axis=1))
    steps = np.column_stack([np.ones(len(so_far)), so_far, np.zeros(len(so_far))])
    if utility is None:
        step = np.diff(weeks)
        step = np.concatenate([step[:1] if len(step) else [1.0], step])
        held = (so_far - probability) / (1 - probability) * step
        worth = np.column_stack([np.zeros(len(held)), np.cumsum(held, axis=1)])
    else:
        worth = utility.of(under, weeks * 7.0)
    return _Stakes(weeks, target.reached(troughs), steps[:, :-1] - steps[:, 1:], worth)


def _chosen(holds: Floats, probability: float) -> NDArray[np.int64]:
    """Number of candidates (...) up to the longest that, like every shorter one, is held."""
    return np.asarray(np.logical_and.accumulate(holds >= probability, axis=-1).sum(axis=-1))


def _value(
    standing: Standing, usable: NDArray[np.bool_], seen: Floats, stakes: _Stakes,
    probability: float, repeats: int, purpose: str,
) -> _Worth:  # fmt: skip
    """What a sample of true concentration ``seen`` (S) is worth."""
    weight, source = _reweighted(standing, usable, seen, repeats, purpose)
    holds = _matched(weight, stakes.holds)
    right = _matched(weight, stakes.right)
    chosen = _chosen(holds, probability)
    now = int(_chosen(stakes.holds.mean(axis=0), probability))
    at = np.arange(len(chosen))
    gain = _mean(right[at, chosen] - right[:, now], source)
    lengths = np.concatenate([[np.nan], stakes.weeks])[chosen]
    worth = _matched(weight, stakes.worth)
    first = int(np.argmax(stakes.worth.mean(axis=0)))
    utility = _mean(worth.max(axis=1) - worth[:, first], source)
    ess = 1.0 / (weight**2).sum(axis=0)
    weeks = float(np.nanmean(lengths)) if np.isfinite(lengths).any() else float("nan")
    return _Worth(
        float(right[at, chosen].mean()), gain, utility, weeks, float(np.quantile(ess, 0.05))
    )


def _reweighted(
    standing: Standing, usable: NDArray[np.bool_], seen: Floats, repeats: int, purpose: str
) -> tuple[Floats, NDArray[np.int64]]:
    """Weights (S, J) of the draws after each of J simulated samples, and the draw of each (J)."""
    sigma = {name: value[usable] for name, value in standing.sigma.items()}
    true, error = seen[usable][:, None], standing.model.error
    size = len(true)
    rng = standing.random(purpose)
    drawn = error.simulate(standing.unread(repeats), np.repeat(true, repeats, axis=1), sigma, rng)
    samples = drawn.ravel()
    limit = standing.lloq
    below = samples < limit  # never where there is no limit
    observed = standing.unread(len(samples))._replace(
        dv=np.where(below, limit, samples),
        lower=np.full(len(samples), 1.0 if math.isnan(limit) else limit),
        status=below.astype(np.int64),
    )
    prediction = np.broadcast_to(true, (size, len(samples)))
    with np.errstate(all="ignore"):
        log_weight = np.array(error.log_likelihood(observed, prediction, sigma, NUMPY), dtype=float)
    _, own = np.unique(standing.parameters[usable].reshape(size, -1), axis=0, return_inverse=True)
    own = own.ravel()
    source = np.repeat(own, repeats)
    log_weight[own[:, None] == source] = -np.inf
    highest = log_weight.max(axis=0)
    weight = np.exp(log_weight - np.where(np.isfinite(highest), highest, 0.0))
    weight[:, ~np.isfinite(highest)] = 1.0  # a sample that no other draw explains teaches nothing
    return weight / weight.sum(axis=0), source


def _matched(weight: Floats, values: Floats) -> Floats:
    """Expectations (J, C) under each posterior, their means shifted to those without a sample.

    Averaged over the samples a posterior expectation is the present one; what the draws' finite
    number leaves between them would count as a value of the sample.
    """
    found = weight.T @ values
    return np.asarray(found - found.mean(axis=0) + values.mean(axis=0))


def _mean(each: Floats, source: NDArray[np.int64]) -> tuple[float, float]:
    """Mean, and its standard error from the means of each draw's samples."""
    count = np.bincount(source)
    means = np.bincount(source, each) / np.maximum(count, 1)
    part = count / count.sum()
    mean = float((part * means).sum())
    return mean, float(np.sqrt((part**2 * (means - mean) ** 2).sum()))


def _columns(
    standing: Standing, days: Floats, stakes: _Stakes, worth: list[_Worth], probability: float,
    utility: Utility | None,
) -> dict[str, Any]:  # fmt: skip
    now = int(_chosen(stakes.holds.mean(axis=0), probability))
    right_now = float(stakes.right[:, now].mean())
    gain, gain_error = (np.array([one.gain[k] for one in worth]) for k in (0, 1))
    value, value_error = (np.array([one.utility[k] for one in worth]) for k in (0, 1))
    perfect = float(stakes.worth.max(axis=1).mean() - stakes.worth.mean(axis=0).max())
    at = int(np.argmax(value))
    useful = bool(value[at] > value_error[at])
    ess = np.array([one.ess for one in worth])
    odds = probability / (1 - probability)
    unit, why = (
        (" weeks of interval", f"; a week that is not held counts {odds:.3g} times one that is")
        if utility is None
        else (" in expected utility a year", "")
    )
    words = (
        f"Of these days, day {days[at]:g} after the last dose says most: a sample is worth "
        f"{value[at]:.2g} ± {value_error[at]:.1g}{unit} (at most {perfect:.2g}, if everything were "
        f"known{why}). The interval is right with probability {in_percent(right_now)} without and "
        f"{in_percent(right_now + gain[at])} with it (Monte Carlo error "
        f"{100 * gain_error[at]:.1f} %)"
    )
    if not useful:
        words = (
            "On none of these days would a sample be worth anything for this choice; without one "
            f"the interval is right with probability {in_percent(right_now)}"
        )
    words += f"; {basis_of(standing)}."
    if ess[at] < _FEW:
        words += (
            f" Some simulated posteriors rest on only {ess[at]:.0f} draws: individualise with more "
            "samples."
        )
    return {
        "day": days, "right": right_now + gain, "gain": gain, "gain_error": gain_error,
        "weeks": np.array([one.weeks for one in worth]), "value": value,
        "value_error": value_error, "ess": ess, "right_now": right_now, "perfect": perfect,
        "best_day": float(days[at]) if useful else float("nan"), "words": words,
    }  # fmt: skip


def _table(
    each: Sequence[Standing], rows: list[dict[str, Any]], utility: Utility | None
) -> xr.Dataset:
    size = max(1, *(len(row["day"]) for row in rows))
    unit = "wk" if utility is None else "1"
    units = {"day": "d", "weeks": "wk", "best_day": "d"}
    units |= dict.fromkeys(("value", "value_error", "perfect"), unit)
    grid = ["day", "right", "gain", "gain_error", "weeks", "ess", "value", "value_error"]
    single = ["right_now", "best_day", "perfect"]
    columns: dict[str, Any] = {
        name: (
            ("subject", "sample"),
            padded([row.get(name, np.zeros(0)) for row in rows], size),
            {"units": units.get(name, "1")},
        )
        for name in grid
    }
    for name in single:
        values = [row.get(name, float("nan")) for row in rows]
        columns[name] = ("subject", values, {"units": units.get(name, "1")})
    columns["words"] = ("subject", [row["words"] for row in rows])
    coords = {"subject": names_of(each), "sample": np.arange(1, size + 1)}
    return xr.Dataset(columns, coords=coords)

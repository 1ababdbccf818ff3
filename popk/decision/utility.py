"""An explicit, asymmetric utility of an interval, and what is best as preferences change."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from popk.dataset import Dataset
from popk.decision.intervals import USUAL, course_until
from popk.decision.measures import share
from popk.decision.results import (
    about_patients,
    answer,
    basis_of,
    in_days,
    in_percent,
    names_of,
    padded,
)
from popk.decision.standing import Patients, Standing, standings_of
from popk.decision.visits import Feasible, LastDose, Visits, last_dose_of
from popk.errors import SettingError
from popk.individual import Trough

__all__ = ["PML_CAVEAT", "Utility", "expected_utility", "pml_rate", "preference_curve"]

type Floats = NDArray[np.float64]

_DAYS_PER_YEAR = 365.25
# Mean interval (days) of standard and of extended dosing in TOUCH, between which its hazard ratio
# was found.
_STANDARD, _EXTENDED = 29.7, 42.3
# Cases per 1000 patients in each period of treatment, by anti-JCV antibody index up to and above.
_INDEX_LIMIT = 1.5
_PERIODS = ((24.0, 0.2, 1.2), (48.0, 1.1, 8.8), (72.0, 1.4, 10.1))
_PERIOD_YEARS = 2.0

PML_CAVEAT = (
    "The PML term is a proxy and no patient's risk: the hazard ratio 0.06 (95 % CI 0.01 to 0.22) "
    "of extended against standard intervals comes from an observational comparison (TOUCH; mean "
    "intervals 42.3 and 29.7 days), is taken as log-linear between these two and as constant "
    "beyond; the rate at the standard interval is a cohort's. A high trough itself is not an "
    "established cause."
)


@dataclass(frozen=True, kw_only=True)
class Utility:
    """What an interval costs in a year; its utility is minus that. The weights are preferences.

    Too little drug and too many infusions cost; too much drug costs nothing but by the last term.
    With ``under=1`` everything is in days under the target: ``infusion=0.5`` says that one
    infusion less is worth half a day more under the target.

    The PML term is a proxy, for natalizumab alone, and no patient's risk. Its hazard ratio, 0.06
    (95 % CI 0.01 to 0.22), is that of extended against standard intervals in TOUCH, an
    observational comparison of mean intervals of 42.3 and 29.7 days. It is taken as log-linear
    in the interval between these two and constant beyond; whether it is the interval, or the
    concentration, that matters is not known, and a high trough itself is not an established cause.

    Parameters
    ----------
    under
        Cost of a day under the target.
    infusion
        Cost of an infusion.
    pml
        Cost of one expected PML case in 1000 patient-years; 0 leaves the term out.
    pml_rate
        Cases in 1000 patient-years at the standard interval, see `popk.decision.pml_rate`; needed
        where ``pml`` is above zero.
    pml_hazard_ratio
        Of the extended interval against the standard one.

    Raises
    ------
    SettingError
        When a weight makes no sense.
    """

    infusion: float
    under: float = 1.0
    pml: float = 0.0
    pml_rate: float | None = None
    pml_hazard_ratio: float = 0.06

    def __post_init__(self) -> None:
        for one in fields(self):
            value = getattr(self, one.name)
            if one.name == "pml_rate" and value is None:
                continue
            if isinstance(value, bool) or not (math.isfinite(value) and value >= 0):
                raise SettingError(f"Utility was given {one.name}={value!r}; give zero or more.")
        if self.pml > 0 and self.pml_rate is None:
            raise SettingError(
                "Utility was given a weight of PML without its rate at the standard interval; give "
                "pml_rate in cases per 1000 patient-years, as pml_rate(antibody_index=1.0, "
                "months=30) of popk.decision finds it."
            )
        if not self.pml_hazard_ratio > 0:
            raise SettingError("Utility was given pml_hazard_ratio=0; give a number above zero.")

    def pml_cases(self, days: Floats) -> Floats:
        """PML cases in 1000 patient-years at intervals of so many days: a proxy, see above."""
        part = np.clip((np.asarray(days) - _STANDARD) / (_EXTENDED - _STANDARD), 0.0, 1.0)
        return np.asarray((self.pml_rate or 0.0) * self.pml_hazard_ratio**part)

    def of(self, under: Floats, days: Floats) -> Floats:
        """Utility in a year (..., n).

        Parameters
        ----------
        under
            Days under the target in an interval (..., n).
        days
            Length of each interval in days (n).
        """
        a_year = _DAYS_PER_YEAR / days
        known = self.infusion * a_year + self.pml * self.pml_cases(days)
        return np.asarray(-(self.under * under * a_year + known))


def pml_rate(*, antibody_index: float, months: float) -> float:
    """PML cases in 1000 patient-years on natalizumab every four weeks: a cohort's rate, a proxy.

    Cases in 1000 patients with anti-JCV antibodies and without prior immunosuppressants, by index
    (up to 1.5; above) and months of treatment: up to 24: 0.2; 1.2. 25 to 48: 1.1; 8.8. 49 to 72:
    1.4; 10.1. Each is spread evenly over its two years. No patient's own risk.

    Parameters
    ----------
    antibody_index
        Anti-JCV antibody index.
    months
        Months of treatment so far, up to 72.

    Raises
    ------
    SettingError
        When nothing is known there.
    """
    if not antibody_index >= 0 or not 0 <= months <= _PERIODS[-1][0]:
        raise SettingError(
            f"The PML rates are by antibody index, zero or more, and months of treatment, 0 to "
            f"{_PERIODS[-1][0]:g}; given were {antibody_index!r} and {months!r}."
        )
    low, high = next((low, high) for until, low, high in _PERIODS if months <= until)
    return (low if antibody_index <= _INDEX_LIMIT else high) / _PERIOD_YEARS


class _Judged(NamedTuple):
    """A patient's candidates: expected days under the target, P(trough >= target)."""

    feasible: Feasible
    under: Floats
    probability: Floats

    @property
    def days(self) -> Floats:
        return self.feasible.weeks * 7.0


def expected_utility(
    fit: xr.DataTree,
    patients: xr.DataTree | Dataset | Sequence[object] | None = None,
    *,
    utility: Utility,
    target: Trough,
    visits: Visits = USUAL,
    last_dose: LastDose = None,
    seed: int = 1,
) -> xr.DataTree:
    """The expected utility of every feasible visit, and the best of them under it.

    Rates in a year are those of the next interval, from the patient's present level, as if every
    interval were like it.

    Parameters
    ----------
    fit, patients, target, visits, last_dose, seed
        As for `popk.interval_for_trough`.
    utility
        The preferences.

    Returns
    -------
    DataTree with the group ``decision`` (subject, visit): ``week``, ``date``, ``utility``
    (expected, in a year, in the unit of its weights), ``under_per_year`` (expected days),
    ``infusions_per_year``, ``pml_per_1000`` (the proxy) and ``probability`` P(trough >= target).
    By subject: ``best`` (weeks; NaN where the computation is not reliable) and ``words``.

    Raises
    ------
    SettingError, UnitError, DataError, ModelError, FitError
        When a setting makes no sense, the target has another unit, or the patients do not fit.
    """
    found, each = _judge(fit, patients, target, visits, last_dose, seed)
    size = max(1, *(len(one.under) for one in each))
    worth = [utility.of(one.under, one.days) for one in each]
    grid, a_year = ("subject", "visit"), _DAYS_PER_YEAR
    rows: dict[str, tuple[list[Floats], str]] = {
        "week": ([one.feasible.weeks for one in each], "wk"),
        "utility": (worth, "1"),
        "under_per_year": ([one.under * a_year / one.days for one in each], "d"),
        "infusions_per_year": ([a_year / one.days for one in each], "1"),
        "pml_per_1000": ([utility.pml_cases(one.days) for one in each], "1"),
        "probability": ([one.probability for one in each], "1"),
    }
    columns: dict[str, Any] = {
        name: (grid, padded(values, size), {"units": unit}) for name, (values, unit) in rows.items()
    }
    dates = [[day.isoformat() for day in one.feasible.dates] for one in each]
    columns["date"] = (grid, padded(dates, size, fill=""))
    best = [_best(s, one, own) for s, one, own in zip(found.each, each, worth, strict=True)]
    columns["best"] = ("subject", best, {"units": "wk"})
    words = [_words(*own) for own in zip(found.each, each, worth, strict=True)]
    columns["words"] = ("subject", words)
    coords = {"subject": names_of(found.each), "visit": np.arange(1, size + 1)}
    table = xr.Dataset(columns, coords=coords | about_patients(found))
    settings = _settings(utility, target, visits)
    return answer(found, "expected utility", {"decision": table}, settings=settings)


def preference_curve(  # noqa: PLR0913
    fit: xr.DataTree,
    patients: xr.DataTree | Dataset | Sequence[object] | None = None,
    *,
    utility: Utility,
    target: Trough,
    weight: str = "infusion",
    values: Sequence[float] | None = None,
    visits: Visits = USUAL,
    last_dose: LastDose = None,
    seed: int = 1,
) -> xr.DataTree:
    """Which visit is best as one weight of the utility changes.

    Parameters
    ----------
    fit, patients, target, visits, last_dose, seed
        As for `popk.interval_for_trough`.
    utility
        The preferences; all but the weight that changes.
    weight
        Which changes: ``"infusion"``, ``"under"`` or ``"pml"``.
    values
        Its values; 61 from 0.01 to 100 times the utility's own (0.01 to 100 where that is 0),
        evenly on a logarithmic scale, if None.

    Returns
    -------
    DataTree with the group ``decision`` (subject, value): ``best``, the best interval in weeks
    (NaN where the computation is not reliable), its ``utility`` and its ``probability`` P(trough >=
    target). See `popk.plots.plot_preferences`.

    Raises
    ------
    SettingError, UnitError, DataError, ModelError, FitError
        When a setting makes no sense, the target has another unit, or the patients do not fit.
    """
    if weight not in ("infusion", "under", "pml"):
        raise SettingError(f"weight is {weight!r}; give infusion, under or pml.")
    middle = float(getattr(utility, weight)) or 1.0
    over = middle * np.geomspace(0.01, 100, 61) if values is None else np.asarray(values, float)
    if not len(over):
        raise SettingError("No value of the weight was given.")
    changed = [replace(utility, **{weight: float(value)}) for value in over]
    found, each = _judge(fit, patients, target, visits, last_dose, seed)
    shape = (len(each), len(over))
    best, worth, held = (np.full(shape, np.nan) for _ in range(3))
    for k, (standing, one) in enumerate(zip(found.each, each, strict=True)):
        if not len(one.under) or np.isnan(one.under).any() or not standing.reliable:
            continue
        own = np.stack([preference.of(one.under, one.days) for preference in changed])
        at = np.argmax(own, axis=1)
        best[k], worth[k] = one.feasible.weeks[at], own.max(axis=1)
        held[k] = one.probability[at]
    grid = ("subject", "value")
    columns = {
        "best": (grid, best, {"units": "wk"}),
        "utility": (grid, worth, {"units": "1"}),
        "probability": (grid, held, {"units": "1"}),
    }
    coords = {"subject": names_of(found.each), "value": ("value", over, {"units": "1"})}
    table = xr.Dataset(columns, coords=coords | about_patients(found))
    settings = {**_settings(utility, target, visits), "weight": weight}
    return answer(found, "preference curve", {"decision": table}, settings=settings)


def _judge(
    fit: xr.DataTree,
    patients: xr.DataTree | Dataset | Sequence[object] | None,
    target: Trough,
    visits: Visits,
    last_dose: LastDose,
    seed: int,
) -> tuple[Patients, list[_Judged]]:
    found = standings_of(fit, patients, seed=seed)
    target.check_units(found.model.units)
    return found, [_judged(one, target, visits, last_dose) for one in found.each]


def _judged(standing: Standing, target: Trough, visits: Visits, last_dose: LastDose) -> _Judged:
    date = last_dose_of(last_dose, standing.subject, visits)
    feasible = visits.feasible(standing.present_interval / standing.per_week, date)
    if not len(feasible.weeks):
        return _Judged(feasible, np.zeros(0), np.zeros(0))
    course = course_until(standing, feasible.weeks * standing.per_week, target)
    under = share(course.under, course.under) / standing.per_day
    return _Judged(feasible, under, share(target.reached(course.troughs), course.troughs))


def _settings(utility: Utility, target: Trough, visits: Visits) -> dict[str, str]:
    settings = {"target": target.words, "visits": repr(visits), "utility": repr(utility)}
    return {**settings, "caveat": PML_CAVEAT} if utility.pml > 0 else settings


def _best(standing: Standing, one: _Judged, worth: Floats) -> float:
    if not len(worth) or np.isnan(worth).any() or not standing.reliable:
        return float("nan")
    return float(one.feasible.weeks[np.argmax(worth)])


def _words(standing: Standing, one: _Judged, worth: Floats) -> str:
    if not len(worth):
        return one.feasible.note
    if not standing.reliable:
        return f"No answer: {standing.note}"
    at = int(np.argmax(worth))
    a_year = _DAYS_PER_YEAR / one.days[at]
    return (
        f"Best under this utility: {one.feasible.weeks[at]:.3g} weeks "
        f"({in_days(one.under[at] * a_year)} under the target and {a_year:.3g} infusions in a "
        f"year expected; the trough holds with probability {in_percent(one.probability[at])}), "
        f"{basis_of(standing)}."
    )

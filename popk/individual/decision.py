"""From trough probabilities to an interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from popk.errors import SettingError
from popk.statistics import Fixed, Prior
from popk.units import UnitError, Units

__all__ = ["Trough", "candidate_weeks", "longest_interval"]

type Floats = NDArray[np.float64]


@dataclass(frozen=True, init=False, repr=False)
class Trough:
    """The target of an interval: the true concentration just before the next dose.

    Parameters
    ----------
    concentration
        Lowest acceptable trough; or, where it is known only as a distribution, a prior of popk,
        such as ``popk.Uniform(2, 10)``, over which `popk.decision` integrates.
    unit
        Its unit; must be that of the model.

    Raises
    ------
    SettingError
        When it is not above zero.
    """

    given: float | Prior
    unit: str

    def __init__(self, concentration: float | Prior, unit: str) -> None:
        if isinstance(concentration, Fixed):
            concentration = concentration.median
        if isinstance(concentration, Prior):
            if not concentration.positive:
                raise SettingError(
                    f"The target trough is {concentration!r}, which allows values below zero; give "
                    "a distribution of concentrations above zero, as popk.Uniform(2, 10)."
                )
        elif not (math.isfinite(concentration) and concentration > 0):
            raise SettingError(
                f"The target trough is {concentration!r}; give a concentration above zero."
            )
        object.__setattr__(self, "given", concentration)
        object.__setattr__(self, "unit", unit)

    def __repr__(self) -> str:
        return f"Trough({self.given!r}, {self.unit!r})"

    @property
    def concentration(self) -> float:
        """The lowest acceptable trough, a number.

        Raises
        ------
        SettingError
            When it is known only as a distribution.
        """
        if isinstance(self.given, Prior):
            raise SettingError(
                f"The target trough is a distribution, {self.given!r} {self.unit}, and a number is "
                "needed here. popk.interval_for_trough and the other questions of popk.decision "
                "integrate over it; here give a number, such as its median, "
                f"Trough({self.given.median:g}, {self.unit!r})."
            )
        return self.given

    @property
    def words(self) -> str:
        """The target with its unit, for sentences and axes."""
        known = not isinstance(self.given, Prior)
        return f"{self.given:g} {self.unit}" if known else f"{self.given!r} {self.unit}"

    def reached(self, values: Floats) -> Floats:
        """Probability (0 or 1 where the target is a number) that each value reaches the target.

        The distribution function of the target at the value; 0 for a value that is no number.
        """
        values = np.asarray(values, dtype=float)
        if not isinstance(self.given, Prior):
            return (values >= self.given).astype(float)
        known = np.nan_to_num(values, nan=0.0)
        with np.errstate(all="ignore"):
            found = ndtr(self.given.score(np.maximum(known, 0.0)))
        return np.where(known > 0, found, 0.0)

    def check_units(self, units: Units) -> None:
        """Refuse a target in another unit than the model's.

        Raises
        ------
        UnitError
            Naming both units.
        """
        stated = Units(units.time, units.amount, self.unit)
        differences = units.same_scale(stated)
        if differences:
            raise UnitError(
                f"The target is in {self.unit}, the model's concentrations are in "
                f"{units.concentration}; give the target in {units.concentration}."
            )


def candidate_weeks(weeks: Sequence[float]) -> Floats:
    """Candidate intervals in weeks, ascending.

    Raises
    ------
    SettingError
        When there is none, or one is not above zero.
    """
    found = np.unique(np.asarray(list(weeks), dtype=float))
    if not len(found):
        raise SettingError("No candidate interval was given; give weeks such as range(4, 9).")
    if not (np.all(np.isfinite(found)) and found[0] > 0):
        raise SettingError(f"The candidate intervals are {list(weeks)}; each must be above zero.")
    return found


def longest_interval(weeks: Floats, probability: Floats, asked: float) -> Floats:
    """The longest candidate that, like every shorter one, keeps the asked probability.

    Parameters
    ----------
    weeks
        Candidates, ascending (n_weeks).
    probability
        P(trough >= target) for each candidate (..., n_weeks).
    asked
        The probability to hold.

    Returns
    -------
    Weeks (...), NaN where not even the shortest candidate holds.
    """
    holds = np.logical_and.accumulate(np.asarray(probability) >= asked, axis=-1)
    count = holds.sum(axis=-1)
    return np.where(count > 0, weeks[np.maximum(count - 1, 0)], np.nan)

"""From trough probabilities to an interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from popk.errors import SettingError
from popk.units import UnitError, Units

__all__ = ["Trough", "candidate_weeks", "longest_interval"]

type Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Trough:
    """The target of an interval: the true concentration just before the next dose.

    Parameters
    ----------
    concentration
        Lowest acceptable trough.
    unit
        Its unit; must be that of the model.
    """

    concentration: float
    unit: str

    def __post_init__(self) -> None:
        if not (math.isfinite(self.concentration) and self.concentration > 0):
            raise SettingError(
                f"The target trough is {self.concentration!r}; give a concentration above zero."
            )

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

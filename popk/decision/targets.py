"""What a regimen must reach beside a trough: an area, a peak, a time above a concentration."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from popk.decision.measures import area, time_under
from popk.errors import SettingError
from popk.individual import Trough
from popk.units import UnitError, Units

__all__ = ["AUC24", "Goal", "Peak", "TimeAbove", "measured_by", "name_of", "unit_of"]

type Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class AUC24:
    """A target range of the area under the concentration in 24 h.

    The area over the dosing interval, times 24 h over the interval's length.

    Parameters
    ----------
    at_least, at_most
        Ends of the range; None leaves one open.
    unit
        Concentration times time, as ``"mg.h/L"``; must be that of the model.

    Raises
    ------
    SettingError
        When the range makes no sense.
    """

    at_least: float | None = None
    at_most: float | None = None
    unit: str

    def __post_init__(self) -> None:
        ends = [end for end in (self.at_least, self.at_most) if end is not None]
        if not ends or any(not (math.isfinite(end) and end > 0) for end in ends):
            raise SettingError(
                f"{self!r}: give at_least, at_most or both, above zero, as "
                'AUC24(at_least=400, at_most=600, unit="mg.h/L").'
            )
        if len(ends) == 2 and ends[0] >= ends[1]:
            raise SettingError(f"{self!r}: at_least must be below at_most.")

    def check_units(self, units: Units) -> None:
        """Refuse a target in another unit than the model's.

        Raises
        ------
        UnitError
            With both units.
        """
        own = _area_unit(units)
        parts = self.unit.replace("*", ".").replace("·", ".").split("/", maxsplit=1)
        top = parts[0].split(".")
        fits = len(parts) == 2 and len(top) == 2
        if fits:
            stated = Units(top[1], units.amount, f"{top[0]}/{parts[1]}")
            fits = not units.same_scale(stated)
        if not fits:
            raise UnitError(
                f"The target area is in {self.unit}, the model's areas are in {own}; give the "
                f"target in {own}."
            )

    @property
    def words(self) -> str:
        """The target with its unit, for sentences."""
        low, high = self.at_least, self.at_most
        span = f">= {low:g}" if high is None else f"<= {high:g}" if low is None else (
            f"{low:g} to {high:g}")  # fmt: skip
        return f"AUC24 {span} {self.unit}"

    def reached(self, values: Floats) -> Floats:
        """Whether each area is in the range, 1 or 0."""
        low = -math.inf if self.at_least is None else self.at_least
        high = math.inf if self.at_most is None else self.at_most
        return ((values >= low) & (values <= high)).astype(float)


@dataclass(frozen=True)
class Peak:
    """A highest concentration not to be exceeded.

    Parameters
    ----------
    at_most
        Highest acceptable concentration in the dosing interval.
    unit
        Its unit; must be that of the model.
    """

    at_most: float
    unit: str

    def __post_init__(self) -> None:
        if not (math.isfinite(self.at_most) and self.at_most > 0):
            raise SettingError(f"{self!r}: give a concentration above zero.")

    def check_units(self, units: Units) -> None:
        """Refuse a target in another unit than the model's (UnitError)."""
        Trough(self.at_most, self.unit).check_units(units)

    @property
    def words(self) -> str:
        """The target with its unit, for sentences."""
        return f"peak <= {self.at_most:g} {self.unit}"

    def reached(self, values: Floats) -> Floats:
        """Whether each peak is low enough, 1 or 0."""
        return (values <= self.at_most).astype(float)


@dataclass(frozen=True)
class TimeAbove:
    """A share of the dosing interval that the concentration must be at or above one.

    Parameters
    ----------
    concentration
        The concentration.
    unit
        Its unit; must be that of the model.
    share
        Lowest acceptable share of the dosing interval, above 0 and up to 1.
    """

    concentration: float
    unit: str
    share: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.concentration) and self.concentration > 0):
            raise SettingError(f"{self!r}: give a concentration above zero.")
        if not 0 < self.share <= 1:
            raise SettingError(f"{self!r}: the share lies above 0 and is 1 at most.")

    def check_units(self, units: Units) -> None:
        """Refuse a target in another unit than the model's (UnitError)."""
        Trough(self.concentration, self.unit).check_units(units)

    @property
    def words(self) -> str:
        """The target with its unit, for sentences."""
        return f"above {self.concentration:g} {self.unit} {100 * self.share:g} % of the interval"

    def reached(self, values: Floats) -> Floats:
        """Whether each share is long enough, 1 or 0."""
        return (values >= self.share - 1e-9).astype(float)


type Goal = Trough | AUC24 | Peak | TimeAbove


def measured_by(goal: Goal, times: Floats, values: Floats, units: Units) -> Floats:
    """What a goal looks at (S), from readings (n) of an interval's concentrations (S, n)."""
    if isinstance(goal, Trough):
        return values[:, -1]
    if isinstance(goal, Peak):
        return np.asarray(values.max(axis=1))
    length = float(times[-1] - times[0])
    if isinstance(goal, AUC24):
        return area(times, values) * units.time_in("h") * 24.0 / length
    level = Trough(goal.concentration, goal.unit)
    return 1.0 - time_under(times, values, level)[:, -1] / length


def name_of(goal: Goal) -> str:
    """The goal in words."""
    return f"trough >= {goal.words}" if isinstance(goal, Trough) else goal.words


def unit_of(goal: Goal, units: Units) -> str:
    """Unit of what a goal looks at."""
    if isinstance(goal, TimeAbove):
        return "1"
    return _area_unit(units) if isinstance(goal, AUC24) else units.concentration


def _area_unit(units: Units) -> str:
    above, below = units.concentration.split("/")
    return f"{above}.{units.time}/{below}"

"""What of a patient's concentrations is taken as exposure."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, override

import numpy as np
from numpy.typing import NDArray

from popk.decision.measures import time_under
from popk.errors import SettingError
from popk.fitted import FitError
from popk.individual import Trough
from popk.response.course import History
from popk.units import Units

__all__ = ["MeanConcentration", "MeanTrough", "Measure", "Saturation", "TimeUnder", "Weighted"]

type Floats = NDArray[np.float64]

_NODES = 10  # of the quadrature in a dosing interval
_CELLS = 40  # pieces of a dosing interval in which a threshold may be crossed
_BESIDE = 1e-6  # from a dose to the reading after it, relative to the later of 1 and its time


class Measure(ABC):
    """One number for the exposure of a patient over the history, from concentrations.

    ``log`` says on which scale it is regressed upon: per doubling, or per ``step`` of it.
    """

    log: ClassVar[bool] = True
    step: ClassVar[float] = 2.0

    @property
    @abstractmethod
    def words(self) -> str:
        """What it is, for sentences and axes."""

    @abstractmethod
    def unit_in(self, units: Units) -> str:
        """Its unit, given those of the model."""

    @abstractmethod
    def readings(self, history: History) -> Floats:
        """Times (n) at which concentrations are needed, ascending."""

    @abstractmethod
    def of(self, history: History, times: Floats, values: Floats) -> Floats:
        """The exposure (S), of concentrations (S, n) at the readings (n)."""

    def check_units(self, units: Units) -> None:
        """Refuse a setting in another unit than the model's (UnitError)."""
        del units

    @property
    def note(self) -> str:
        """What a reader must know of it."""
        return ""

    @property
    def per(self) -> str:
        """The step of exposure that an effect is stated for."""
        return "doubling" if self.log else f"{self.step:g} more"


class Weighted(Measure):
    """A weighted mean of a function of the concentration: it has gradients."""

    @abstractmethod
    def nodes(self, history: History) -> tuple[Floats, Floats]:
        """Times (n), ascending, and weights (n) that sum to one."""

    def shape(self, concentration: Any) -> Any:
        """What is averaged; of arrays and of PyTensor's variables."""
        return concentration

    @override
    def readings(self, history: History) -> Floats:
        return self.nodes(history)[0]

    @override
    def of(self, history: History, times: Floats, values: Floats) -> Floats:
        return np.asarray(self.shape(values) @ self.nodes(history)[1])


@dataclass(frozen=True)
class MeanTrough(Weighted):
    """Mean of the true concentrations just before each dose but the first.

    A record that ends a dosing interval without another dose counts as a trough too: three
    quarters of the interval before it must have passed. Effects are per doubling.
    """

    @property
    @override
    def words(self) -> str:
        return "mean trough"

    @override
    def unit_in(self, units: Units) -> str:
        return units.concentration

    @override
    def nodes(self, history: History) -> tuple[Floats, Floats]:
        times = _cycles(history, self.words)[:, 1]
        return times, np.full(len(times), 1.0 / len(times))


@dataclass(frozen=True)
class MeanConcentration(Weighted):
    """Mean of the true concentration over the dosing intervals, which is their area by time.

    By Gauss-Legendre quadrature in the square root of the time after dose. Effects are per
    doubling.
    """

    @property
    @override
    def words(self) -> str:
        return "mean concentration"

    @override
    def unit_in(self, units: Units) -> str:
        return units.concentration

    @override
    def nodes(self, history: History) -> tuple[Floats, Floats]:
        return _over_time(history, self.words)


@dataclass(frozen=True, kw_only=True)
class Saturation(Weighted):
    """Mean receptor saturation over the dosing intervals, by an Emax curve: a surrogate.

    ``low + (high - low) C / (ec50 + C)`` of the true concentration C. Nothing of it is measured in
    the patient: it re-expresses the concentration by somebody's curve, and says so wherever it
    stands. Effects are per 0.1 more.

    Parameters
    ----------
    ec50
        Concentration of half the effect.
    unit
        Its unit; must be that of the model.
    source
        Where the curve is from, for a reader: drug, publication.
    low, high
        Saturation without drug and at most, between 0 and 1.

    Raises
    ------
    SettingError
        When a number makes no sense or there is no source.
    """

    ec50: float
    unit: str
    source: str
    low: float = 0.0
    high: float = 1.0
    log: ClassVar[bool] = False
    step: ClassVar[float] = 0.1

    def __post_init__(self) -> None:
        if not (math.isfinite(self.ec50) and self.ec50 > 0):
            raise SettingError(f"ec50 is {self.ec50!r}; give a concentration above zero.")
        if not 0 <= self.low < self.high <= 1:
            raise SettingError(
                f"low is {self.low!r} and high {self.high!r}; expected 0 <= low < high <= 1."
            )
        if not self.source.strip():
            raise SettingError(
                "Saturation was given no source; say whose curve it is, as source='BIIB107, "
                "Toukam 2025'."
            )

    @property
    @override
    def words(self) -> str:
        return "mean receptor saturation (surrogate)"

    @property
    @override
    def note(self) -> str:
        return (
            f"Receptor saturation is a surrogate, computed from the concentration with EC50 "
            f"{self.ec50:g} {self.unit} ({self.source}), not measured in these patients."
        )

    @override
    def unit_in(self, units: Units) -> str:
        return "1"

    @override
    def check_units(self, units: Units) -> None:
        Trough(self.ec50, self.unit).check_units(units)

    @override
    def shape(self, concentration: Any) -> Any:
        return self.low + (self.high - self.low) * concentration / (self.ec50 + concentration)

    @override
    def nodes(self, history: History) -> tuple[Floats, Floats]:
        return _over_time(history, self.words)


@dataclass(frozen=True)
class TimeUnder(Measure):
    """Share of the time in dosing intervals that the true concentration is under one.

    Many patients may have none in all draws. Effects are per 0.1 more.

    Parameters
    ----------
    concentration
        The threshold.
    unit
        Its unit; must be that of the model.
    """

    concentration: float
    unit: str
    log: ClassVar[bool] = False
    step: ClassVar[float] = 0.1

    def __post_init__(self) -> None:
        Trough(self.concentration, self.unit)

    @property
    @override
    def words(self) -> str:
        return f"share of time under {self.concentration:g} {self.unit}"

    @override
    def unit_in(self, units: Units) -> str:
        return "1"

    @override
    def check_units(self, units: Units) -> None:
        Trough(self.concentration, self.unit).check_units(units)

    @override
    def readings(self, history: History) -> Floats:
        cells = np.linspace(0.0, 1.0, _CELLS + 1) ** 2
        found = []
        for start, end in _cycles(history, self.words):
            begin = start + _BESIDE * max(1.0, abs(start))
            found.append(begin + (end - begin) * cells)
        return np.concatenate(found)

    @override
    def of(self, history: History, times: Floats, values: Floats) -> Floats:
        target = Trough(self.concentration, self.unit)
        under = time_under(times, values, target)[:, -1]
        return np.asarray(under / (times[-1] - times[0]))


def _cycles(history: History, words: str) -> Floats:
    """The dosing intervals, of which there must be one."""
    cycles = history.cycles
    if not len(cycles):
        raise FitError(
            f"ID {history.subject} has no dosing interval that was seen to its end (one dose, or "
            f"no record after it), so there is no {words}; give a record (EVID 2 will do) at the "
            "time of the trough, or leave the subject out with fit data that lack it."
        )
    return cycles


def _over_time(history: History, words: str) -> tuple[Floats, Floats]:
    """Quadrature over the dosing intervals, dense after each dose."""
    node, weight = np.polynomial.legendre.leggauss(_NODES)
    root, weight = 0.5 * (node + 1.0), 0.5 * weight
    cycles = _cycles(history, words)
    length = (cycles[:, 1] - cycles[:, 0])[:, None]
    times = cycles[:, :1] + length * root**2
    weights = length * 2.0 * root * weight
    return times.ravel(), weights.ravel() / weights.sum()

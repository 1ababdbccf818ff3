"""Priors, written the way the field speaks: a median and a CV, a mean and an SD."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, cast, override

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from popk.errors import SettingError

if TYPE_CHECKING:
    from pytensor.tensor.variable import TensorVariable


class Prior(ABC):
    """What is known about one population parameter before the data.

    ``positive`` says whether every value it allows is above zero.
    """

    positive: ClassVar[bool]

    @abstractmethod
    def variable(self, name: str) -> TensorVariable[Any, Any]:
        """Random variable of the PyMC model on the context stack."""

    @abstractmethod
    def draw(self, rng: np.random.Generator, size: int) -> NDArray[np.float64]:
        """``size`` independent values."""

    @abstractmethod
    def log_density(self, value: NDArray[np.float64]) -> NDArray[np.float64]:
        """Log density at each value."""

    @property
    @abstractmethod
    def median(self) -> float:
        """Value with probability one half below it."""

    def _refuse(self, fault: str) -> None:
        raise SettingError(f"{self!r}: {fault}")


@dataclass(frozen=True, repr=False)
class LogNormal(Prior):
    """Log-normal with the given median and coefficient of variation (0.15 is 15 %).

    The SD of the logarithm is sqrt(log(1 + cv^2)).
    """

    positive: ClassVar[bool] = True
    centre: float
    cv: float

    def __init__(self, median: float, cv: float) -> None:
        object.__setattr__(self, "centre", float(median))
        object.__setattr__(self, "cv", float(cv))
        if not (self.centre > 0 and math.isfinite(self.centre)):
            self._refuse("the median must be above zero.")
        if not (self.cv > 0 and math.isfinite(self.cv)):
            self._refuse("the cv must be above zero; for a known value use Fixed(value).")

    def __repr__(self) -> str:
        return f"LogNormal({self.centre:g}, cv={self.cv:g})"

    @property
    def sd_log(self) -> float:
        """SD of the logarithm."""
        return math.sqrt(math.log1p(self.cv**2))

    @property
    @override
    def median(self) -> float:
        return self.centre

    @override
    def variable(self, name: str) -> TensorVariable[Any, Any]:
        import pymc as pm

        return cast(
            "TensorVariable[Any, Any]",
            pm.LogNormal(name, mu=math.log(self.centre), sigma=self.sd_log),
        )

    @override
    def draw(self, rng: np.random.Generator, size: int) -> NDArray[np.float64]:
        return self.centre * np.exp(self.sd_log * rng.standard_normal(size))

    @override
    def log_density(self, value: NDArray[np.float64]) -> NDArray[np.float64]:
        return _array(stats.lognorm.logpdf(value, s=self.sd_log, scale=self.centre))


@dataclass(frozen=True)
class Normal(Prior):
    """Normal with the given mean and SD."""

    positive: ClassVar[bool] = False
    mean: float
    sd: float

    def __post_init__(self) -> None:
        if not math.isfinite(self.mean):
            self._refuse("the mean must be a number.")
        if not (self.sd > 0 and math.isfinite(self.sd)):
            self._refuse("the sd must be above zero; for a known value use Fixed(value).")

    def __repr__(self) -> str:
        return f"Normal({self.mean:g}, {self.sd:g})"

    @property
    @override
    def median(self) -> float:
        return self.mean

    @override
    def variable(self, name: str) -> TensorVariable[Any, Any]:
        import pymc as pm

        return cast("TensorVariable[Any, Any]", pm.Normal(name, mu=self.mean, sigma=self.sd))

    @override
    def draw(self, rng: np.random.Generator, size: int) -> NDArray[np.float64]:
        return rng.normal(self.mean, self.sd, size)

    @override
    def log_density(self, value: NDArray[np.float64]) -> NDArray[np.float64]:
        return _array(stats.norm.logpdf(value, self.mean, self.sd))


@dataclass(frozen=True)
class HalfNormal(Prior):
    """The positive half of a normal with the given SD: for an SD whose size is roughly known."""

    positive: ClassVar[bool] = True
    sd: float

    def __post_init__(self) -> None:
        if not (self.sd > 0 and math.isfinite(self.sd)):
            self._refuse("the sd must be above zero; for a known value use Fixed(value).")

    def __repr__(self) -> str:
        return f"HalfNormal({self.sd:g})"

    @property
    @override
    def median(self) -> float:
        return float(stats.halfnorm.median(scale=self.sd))

    @override
    def variable(self, name: str) -> TensorVariable[Any, Any]:
        import pymc as pm

        return cast("TensorVariable[Any, Any]", pm.HalfNormal(name, sigma=self.sd))

    @override
    def draw(self, rng: np.random.Generator, size: int) -> NDArray[np.float64]:
        return np.abs(rng.normal(0.0, self.sd, size))

    @override
    def log_density(self, value: NDArray[np.float64]) -> NDArray[np.float64]:
        return _array(stats.halfnorm.logpdf(value, scale=self.sd))


@dataclass(frozen=True)
class Fixed(Prior):
    """A known value: not estimated."""

    positive: ClassVar[bool] = False
    value: float

    def __post_init__(self) -> None:
        if not math.isfinite(self.value):
            self._refuse("the value must be a number.")

    def __repr__(self) -> str:
        return f"Fixed({self.value:g})"

    @property
    @override
    def median(self) -> float:
        return self.value

    @override
    def variable(self, name: str) -> TensorVariable[Any, Any]:
        import pymc as pm
        import pytensor.tensor as pt

        value = pt.constant(float(self.value))
        return cast("TensorVariable[Any, Any]", pm.Deterministic(name, value))

    @override
    def draw(self, rng: np.random.Generator, size: int) -> NDArray[np.float64]:
        return np.full(size, float(self.value))

    @override
    def log_density(self, value: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.where(np.asarray(value) == self.value, 0.0, -np.inf)


def _array(value: Any) -> NDArray[np.float64]:
    return np.asarray(value, dtype=np.float64)

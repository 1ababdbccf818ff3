"""Priors of quantities of either sign: coefficients; and values that are known."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast, override

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from popk.statistics.priors.base import Continuous, Prior, number

if TYPE_CHECKING:
    from pytensor.tensor.variable import TensorVariable


@dataclass(frozen=True)
class Normal(Continuous):
    """Normal with the given mean and SD."""

    mean: float
    sd: float

    def __post_init__(self) -> None:
        if not math.isfinite(number("Normal", "mean", self.mean)):
            self._refuse("the mean must be a number.")
        if not (number("Normal", "sd", self.sd) > 0 and math.isfinite(self.sd)):
            self._refuse("the sd must be above zero; for a known value use Fixed(value).")

    def __repr__(self) -> str:
        return f"Normal({self.mean:g}, {self.sd:g})"

    @property
    @override
    def median(self) -> float:
        return self.mean

    @property
    @override
    def exact(self) -> Any:
        return stats.norm(self.mean, self.sd)

    @override
    def variable(self, name: str) -> TensorVariable[Any, Any]:
        import pymc as pm

        return cast("TensorVariable[Any, Any]", pm.Normal(name, mu=self.mean, sigma=self.sd))

    @override
    def draw(self, rng: np.random.Generator, size: int) -> NDArray[np.float64]:
        return rng.normal(self.mean, self.sd, size)

    @override
    def at_score(self, score: Any) -> NDArray[np.float64]:
        return self.mean + self.sd * np.asarray(score, dtype=np.float64)

    @override
    def score(self, value: Any) -> NDArray[np.float64]:
        return (np.asarray(value, dtype=np.float64) - self.mean) / self.sd

    @override
    def _flattened(self, factor: float) -> Prior:
        return Normal(self.mean, self.sd * math.sqrt(factor))


@dataclass(frozen=True)
class StudentT(Continuous):
    """Student t around a centre: as a normal near it, with heavier tails the lower the freedom.

    Its SD is scale * sqrt(freedom / (freedom - 2)), infinite for a freedom of 2 or less.
    """

    freedom: float
    centre: float
    scale: float

    def __post_init__(self) -> None:
        for name in ("freedom", "centre", "scale"):
            if not math.isfinite(number("StudentT", name, getattr(self, name))):
                self._refuse(f"the {name} must be a number.")
        if not self.freedom > 0:
            self._refuse("the freedom must be above zero.")
        if not self.scale > 0:
            self._refuse("the scale must be above zero; for a known value use Fixed(value).")

    def __repr__(self) -> str:
        return f"StudentT({self.freedom:g}, {self.centre:g}, {self.scale:g})"

    @property
    @override
    def median(self) -> float:
        return self.centre

    @property
    @override
    def exact(self) -> Any:
        return stats.t(self.freedom, loc=self.centre, scale=self.scale)

    @override
    def variable(self, name: str) -> TensorVariable[Any, Any]:
        import pymc as pm

        made = pm.StudentT(name, nu=self.freedom, mu=self.centre, sigma=self.scale)
        return cast("TensorVariable[Any, Any]", made)

    @override
    def _flattened(self, factor: float) -> Prior:
        return StudentT(self.freedom, self.centre, self.scale * math.sqrt(factor))


@dataclass(frozen=True)
class Fixed(Prior):
    """A known value: not estimated."""

    value: float

    def __post_init__(self) -> None:
        if not math.isfinite(number("Fixed", "value", self.value)):
            self._refuse("the value must be a number.")

    def __repr__(self) -> str:
        return f"Fixed({self.value:g})"

    @property
    @override
    def support(self) -> tuple[float, float]:
        return self.value, self.value

    @property
    @override
    def positive(self) -> bool:
        return self.value > 0

    @override
    def variable(self, name: str) -> TensorVariable[Any, Any]:
        import pymc as pm
        import pytensor.tensor as pt

        value = pt.constant(float(self.value), dtype="float64")
        return cast("TensorVariable[Any, Any]", pm.Deterministic(name, value))

    @override
    def draw(self, rng: np.random.Generator, size: int) -> NDArray[np.float64]:
        return np.full(size, float(self.value))

    @override
    def log_density(self, value: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.where(np.asarray(value) == self.value, 0.0, -np.inf)

    @override
    def quantile(self, probability: Any) -> NDArray[np.float64]:
        return np.full(np.shape(probability), float(self.value))

    @override
    def at_score(self, score: Any) -> NDArray[np.float64]:
        return np.full(np.shape(score), float(self.value))

    @override
    def score(self, value: Any) -> NDArray[np.float64]:
        return np.zeros(np.shape(value))

    @override
    def _flattened(self, factor: float) -> Prior:
        return self

"""Priors of quantities above zero: typical values, and SDs."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast, override

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.special import betainc, betaincinv

from popk.statistics.priors.base import Continuous, Prior, number
from popk.statistics.priors.real import Normal, StudentT

if TYPE_CHECKING:
    from pytensor.tensor.variable import TensorVariable

# Wider than any knowledge: a 95 % interval from 1/67 to 67 times the median.
WIDEST_CV = 10.0


class Positive(Continuous):
    """A prior of a quantity above zero."""

    @property
    @override
    def support(self) -> tuple[float, float]:
        return 0.0, math.inf


@dataclass(frozen=True, repr=False)
class LogNormal(Positive):
    """Log-normal with the given median and coefficient of variation (0.15 is 15 %).

    The SD of the logarithm is sqrt(log(1 + cv^2)).
    """

    centre: float
    cv: float

    def __init__(self, median: float, cv: float) -> None:
        object.__setattr__(self, "centre", number("LogNormal", "median", median))
        object.__setattr__(self, "cv", number("LogNormal", "cv", cv))
        if not (self.centre > 0 and math.isfinite(self.centre)):
            self._refuse("the median must be above zero.")
        if not (self.cv > 0 and math.isfinite(self.cv)):
            self._refuse("the cv must be above zero; for a known value use Fixed(value).")
        if self.cv > WIDEST_CV:
            low, high = self.interval()
            self._refuse(
                f"a cv of {self.cv:g} is {100 * self.cv:g} %, with 95 % between {low:.2g} and "
                f"{high:.2g}; for {self.cv:g} % give cv={self.cv / 100:g}. At most {WIDEST_CV:g} "
                "is taken."
            )

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

    @property
    @override
    def exact(self) -> Any:
        return stats.lognorm(s=self.sd_log, scale=self.centre)

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
    def at_score(self, score: Any) -> NDArray[np.float64]:
        return self.centre * np.exp(self.sd_log * np.asarray(score, dtype=np.float64))

    @override
    def score(self, value: Any) -> NDArray[np.float64]:
        return np.log(np.asarray(value, dtype=np.float64) / self.centre) / self.sd_log

    @override
    def _flattened(self, factor: float) -> Prior:
        most = math.log1p(WIDEST_CV**2) / self.sd_log**2
        if factor > most:
            self._refuse(
                f"flattened by a factor of {factor:g} its cv would be above {WIDEST_CV:g}; give "
                f"at most {most:.3g}."
            )
        return LogNormal(self.centre, cv=math.sqrt(math.expm1(factor * self.sd_log**2)))


class Half(Positive):
    """The positive half of a distribution around zero, for SDs."""

    @property
    @abstractmethod
    def whole(self) -> Prior:
        """The distribution of which it is the half: this is that of its absolute value."""

    @override
    def draw(self, rng: np.random.Generator, size: int) -> NDArray[np.float64]:
        return np.abs(self.whole.draw(rng, size))


@dataclass(frozen=True)
class HalfNormal(Half):
    """The positive half of a normal with the given SD: for an SD whose size is roughly known."""

    sd: float

    def __post_init__(self) -> None:
        _check_scale(self, "sd", self.sd)

    def __repr__(self) -> str:
        return f"HalfNormal({self.sd:g})"

    @property
    @override
    def whole(self) -> Normal:
        return Normal(0.0, self.sd)

    @property
    @override
    def exact(self) -> Any:
        return stats.halfnorm(scale=self.sd)

    @override
    def variable(self, name: str) -> TensorVariable[Any, Any]:
        import pymc as pm

        return cast("TensorVariable[Any, Any]", pm.HalfNormal(name, sigma=self.sd))

    @override
    def _flattened(self, factor: float) -> Prior:
        return HalfNormal(self.sd * math.sqrt(factor))


@dataclass(frozen=True)
class HalfCauchy(Half):
    """The positive half of a Cauchy: half of the values below the scale, a very heavy tail.

    For an SD of which little is known, and many subjects to learn it from (Gelman, Bayesian
    Analysis 1:515, 2006); with few, `HalfNormal` or `HalfStudentT` keep it from running away.
    """

    scale: float

    def __post_init__(self) -> None:
        _check_scale(self, "scale", self.scale)

    def __repr__(self) -> str:
        return f"HalfCauchy({self.scale:g})"

    @property
    @override
    def whole(self) -> StudentT:
        return StudentT(1.0, 0.0, self.scale)

    @property
    @override
    def exact(self) -> Any:
        return stats.halfcauchy(scale=self.scale)

    @override
    def variable(self, name: str) -> TensorVariable[Any, Any]:
        import pymc as pm

        return cast("TensorVariable[Any, Any]", pm.HalfCauchy(name, beta=self.scale))

    @override
    def _flattened(self, factor: float) -> Prior:
        return HalfCauchy(self.scale * math.sqrt(factor))


@dataclass(frozen=True)
class HalfStudentT(Half):
    """The positive half of a Student t: between half-Cauchy (freedom 1) and half-normal (many)."""

    freedom: float
    scale: float

    def __post_init__(self) -> None:
        _check_scale(self, "freedom", self.freedom)
        _check_scale(self, "scale", self.scale)

    def __repr__(self) -> str:
        return f"HalfStudentT({self.freedom:g}, {self.scale:g})"

    @property
    @override
    def whole(self) -> StudentT:
        return StudentT(self.freedom, 0.0, self.scale)

    @property
    @override
    def exact(self) -> Any:
        return _FoldedT(self.freedom, self.scale)

    @override
    def variable(self, name: str) -> TensorVariable[Any, Any]:
        import pymc as pm

        made = pm.HalfStudentT(name, nu=self.freedom, sigma=self.scale)
        return cast("TensorVariable[Any, Any]", made)

    @override
    def _flattened(self, factor: float) -> Prior:
        return HalfStudentT(self.freedom, self.scale * math.sqrt(factor))


@dataclass(frozen=True)
class _FoldedT:
    """The absolute value of a Student t, which SciPy does not have."""

    freedom: float
    scale: float

    def logpdf(self, value: Any) -> NDArray[np.float64]:
        value = np.asarray(value, dtype=np.float64)
        whole = stats.t.logpdf(value, self.freedom, scale=self.scale)
        return np.where(value >= 0, math.log(2) + whole, -np.inf)

    def ppf(self, probability: Any) -> Any:
        given = np.asarray(probability, dtype=np.float64)
        # SciPy's t has no small quantiles above its median: there, by T^2 / (T^2 + freedom), which
        # is a beta.
        square = betaincinv(0.5, self.freedom / 2, np.minimum(given, 0.5))
        low = self.scale * np.sqrt(self.freedom * square / (1 - square))
        high = stats.t.ppf((1 + given) / 2, self.freedom, scale=self.scale)
        return np.where(given < 0.5, low, high)[()]

    def isf(self, probability: Any) -> Any:
        upper = np.asarray(probability, dtype=np.float64) / 2
        return stats.t.isf(upper, self.freedom, scale=self.scale)

    def cdf(self, value: Any) -> Any:
        square = (np.maximum(value, 0.0) / self.scale) ** 2
        return betainc(0.5, self.freedom / 2, square / (square + self.freedom))

    def sf(self, value: Any) -> Any:
        return 2 * stats.t.sf(np.maximum(value, 0.0), self.freedom, scale=self.scale)


def _check_scale(prior: Prior, name: str, value: object) -> None:
    given = number(type(prior).__name__, name, value)
    if not (given > 0 and math.isfinite(given)):
        known = "; for a known value use Fixed(value)" if name != "freedom" else ""
        prior._refuse(f"the {name} must be above zero{known}.")

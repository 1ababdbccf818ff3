"""Priors of quantities between two bounds: fractions, correlations, ranges."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast, override

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.special import expit, logit

from popk.statistics.priors.base import Continuous, Prior, number

if TYPE_CHECKING:
    from pytensor.tensor.variable import TensorVariable


@dataclass(frozen=True, repr=False)
class Uniform(Continuous):
    """Every value between two bounds alike, none outside.

    The bounds are hard: a posterior that leans on one says that the bound, not the data, decides.
    """

    lowest: float
    highest: float

    def __init__(self, low: float, high: float) -> None:
        object.__setattr__(self, "lowest", number("Uniform", "low", low))
        object.__setattr__(self, "highest", number("Uniform", "high", high))
        if not (math.isfinite(self.lowest) and math.isfinite(self.highest)):
            self._refuse("both bounds must be finite.")
        if not self.lowest < self.highest:
            self._refuse("the lower bound must lie below the upper one.")

    def __repr__(self) -> str:
        return f"Uniform({self.lowest:g}, {self.highest:g})"

    @property
    def low(self) -> float:
        """The lower bound."""
        return self.lowest

    @property
    def high(self) -> float:
        """The upper bound."""
        return self.highest

    @property
    @override
    def support(self) -> tuple[float, float]:
        return self.lowest, self.highest

    @property
    @override
    def exact(self) -> Any:
        return stats.uniform(self.lowest, self.highest - self.lowest)

    @override
    def variable(self, name: str) -> TensorVariable[Any, Any]:
        import pymc as pm

        made = pm.Uniform(name, lower=self.lowest, upper=self.highest)
        return cast("TensorVariable[Any, Any]", made)

    @override
    def _flattened(self, factor: float) -> Prior:
        return self


class _Fraction(Continuous):
    """A prior of a number between 0 and 1."""

    @property
    @override
    def support(self) -> tuple[float, float]:
        return 0.0, 1.0

    def _check_inside(self, name: str, value: float) -> None:
        if not 0 < value < 1:
            hint = f"; for {value:g} % give {value / 100:g}" if 1 < value < 100 else ""
            self._refuse(f"the {name} must lie between 0 and 1{hint}.")


@dataclass(frozen=True, repr=False)
class LogitNormal(_Fraction):
    """A fraction (bioavailability, fraction unbound) with the given median.

    Parameters
    ----------
    median
        Between 0 and 1.
    sd
        SD of the logit, log(x / (1 - x)). Near the median m, the value's own SD is about
        sd * m * (1 - m).
    """

    centre: float
    sd: float

    def __init__(self, median: float, sd: float) -> None:
        object.__setattr__(self, "centre", number("LogitNormal", "median", median))
        object.__setattr__(self, "sd", number("LogitNormal", "sd", sd))
        self._check_inside("median", self.centre)
        if not (self.sd > 0 and math.isfinite(self.sd)):
            self._refuse("the sd must be above zero; for a known value use Fixed(value).")

    def __repr__(self) -> str:
        return f"LogitNormal({self.centre:g}, sd={self.sd:g})"

    @property
    @override
    def median(self) -> float:
        return self.centre

    @property
    @override
    def exact(self) -> Any:
        return _LogitNormal(float(logit(self.centre)), self.sd)

    @override
    def variable(self, name: str) -> TensorVariable[Any, Any]:
        import pymc as pm

        made = pm.LogitNormal(
            name,
            mu=float(logit(self.centre)),
            sigma=self.sd,
            transform=pm.distributions.transforms.logodds,  # PyMC gives it none
        )
        return cast("TensorVariable[Any, Any]", made)

    @override
    def _flattened(self, factor: float) -> Prior:
        return LogitNormal(self.centre, self.sd * math.sqrt(factor))


@dataclass(frozen=True)
class _LogitNormal:
    """The logistic function of a normal, which SciPy does not have."""

    mu: float
    sd: float

    def logpdf(self, value: Any) -> NDArray[np.float64]:
        value = np.asarray(value, dtype=np.float64)
        inside = (value > 0) & (value < 1)
        x = np.where(inside, value, 0.5)
        density = stats.norm.logpdf(logit(x), self.mu, self.sd) - np.log(x) - np.log1p(-x)
        return np.where(inside, density, -np.inf)

    def ppf(self, probability: Any) -> Any:
        return expit(stats.norm.ppf(probability, self.mu, self.sd))

    def isf(self, probability: Any) -> Any:
        return expit(stats.norm.isf(probability, self.mu, self.sd))

    def cdf(self, value: Any) -> Any:
        return stats.norm.cdf(logit(value), self.mu, self.sd)

    def sf(self, value: Any) -> Any:
        return stats.norm.sf(logit(value), self.mu, self.sd)

    def rvs(self, *, size: int, random_state: np.random.Generator) -> Any:
        return expit(random_state.normal(self.mu, self.sd, size))


@dataclass(frozen=True)
class Beta(_Fraction):
    """A fraction known as from `n` trials: Beta(mean * n, (1 - mean) * n).

    Its variance is mean * (1 - mean) / (n + 1). Uniform for a mean of 0.5 and n = 2.
    """

    mean: float
    n: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "mean", number("Beta", "mean", self.mean))
        object.__setattr__(self, "n", number("Beta", "n", self.n))
        self._check_inside("mean", self.mean)
        if not (self.n > 0 and math.isfinite(self.n)):
            self._refuse("n must be above zero.")

    def __repr__(self) -> str:
        return f"Beta({self.mean:g}, n={self.n:g})"

    @property
    @override
    def exact(self) -> Any:
        return stats.beta(self.mean * self.n, (1 - self.mean) * self.n)

    @override
    def variable(self, name: str) -> TensorVariable[Any, Any]:
        import pymc as pm

        made = pm.Beta(name, alpha=self.mean * self.n, beta=(1 - self.mean) * self.n)
        return cast("TensorVariable[Any, Any]", made)

    @override
    def _flattened(self, factor: float) -> Prior:
        most = self.n + 1
        if factor >= most:
            self._refuse(f"a fraction cannot be flattened that far; give a factor below {most:g}.")
        return Beta(self.mean, (self.n + 1) / factor - 1)


@dataclass(frozen=True)
class Correlation(Continuous):
    """A correlation r: density proportional to (1 - r^2)^(eta - 1).

    (r + 1) / 2 ~ Beta(eta, eta): with eta = 1 every correlation alike, with more the ones near zero
    are favoured. It is the LKJ prior of a pair (Lewandowski, Kurowicka & Joe, J. Multivar. Anal.
    100:1989, 2009); in an LKJ(eta) matrix of d rows each correlation has
    Correlation(eta + d / 2 - 1).
    """

    eta: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "eta", number("Correlation", "eta", self.eta))
        if not (self.eta > 0 and math.isfinite(self.eta)):
            self._refuse("eta must be above zero.")

    def __repr__(self) -> str:
        return f"Correlation({self.eta:g})"

    @property
    @override
    def support(self) -> tuple[float, float]:
        return -1.0, 1.0

    @property
    @override
    def exact(self) -> Any:
        return stats.beta(self.eta, self.eta, loc=-1.0, scale=2.0)

    @override
    def variable(self, name: str) -> TensorVariable[Any, Any]:
        import pymc as pm

        made = pm.CustomDist(
            name,
            self.eta,
            dist=_doubled_beta,
            transform=pm.distributions.transforms.Interval(-1.0, 1.0),
        )
        return cast("TensorVariable[Any, Any]", made)

    @override
    def _flattened(self, factor: float) -> Prior:
        most = 2 * self.eta + 1
        if factor >= most:
            self._refuse(
                f"a correlation cannot be flattened that far; give a factor below {most:g}."
            )
        return Correlation((most / factor - 1) / 2)


def _doubled_beta(eta: Any, size: Any) -> Any:
    import pymc as pm

    return 2.0 * pm.Beta.dist(eta, eta, size=size) - 1.0

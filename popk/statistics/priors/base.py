"""What a prior is: a distribution of one number."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from numbers import Real
from typing import TYPE_CHECKING, Any, override

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from popk.errors import SettingError

if TYPE_CHECKING:
    from pytensor.tensor.variable import TensorVariable


class Prior(ABC):
    """What is known about one population parameter before the data."""

    @property
    def support(self) -> tuple[float, float]:
        """Lowest and highest value it allows."""
        return -math.inf, math.inf

    @property
    def positive(self) -> bool:
        """Whether every value it allows is above zero."""
        return self.support[0] >= 0

    @abstractmethod
    def variable(self, name: str) -> TensorVariable[Any, Any]:
        """Random variable of the PyMC model on the context stack."""

    @abstractmethod
    def draw(self, rng: np.random.Generator, size: int) -> NDArray[np.float64]:
        """``size`` independent values."""

    @abstractmethod
    def log_density(self, value: NDArray[np.float64]) -> NDArray[np.float64]:
        """Log density at each value; minus infinity outside the support."""

    @abstractmethod
    def quantile(self, probability: Any) -> NDArray[np.float64]:
        """Value with each probability below it."""

    @abstractmethod
    def at_score(self, score: Any) -> NDArray[np.float64]:
        """Value at each standard normal score: of a standard normal number it makes a draw.

        The quantile at the score's normal probability, computed in both tails without loss.
        """

    @abstractmethod
    def score(self, value: Any) -> NDArray[np.float64]:
        """Standard normal score of each value: what `at_score` turns into it."""

    @property
    def median(self) -> float:
        """Value with probability one half below it."""
        return float(self.quantile(0.5))

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """The central interval that holds the value with probability `level`.

        Raises
        ------
        SettingError
            When the level does not lie between 0 and 1.
        """
        check_level(level)
        low, high = self.quantile([(1 - level) / 2, (1 + level) / 2])
        return float(low), float(high)

    def flattened(self, factor: float) -> Prior:
        """The prior with `factor` times the variance, around the same median (a Beta: mean).

        The variance is that of the logarithm for a log-normal prior, of the logit for a
        logit-normal one, and otherwise of the value; where that is infinite (half-Cauchy) the scale
        grows by sqrt(factor). For normal priors, and log-normal ones on the log scale, it is the
        prior raised to the power 1/factor: it counts 1/factor as much against the data (power
        priors: Ibrahim & Chen, Statistical Science 15:46, 2000). In precision dosing the same is
        done to the population as the prior of ONE patient's parameters, where the model describes
        the patient badly: flattened priors (Hughes & Keizer, CPT Pharmacometrics Syst. Pharmacol.
        10:1150, 2021, doi 10.1002/psp4.12684). Here it is the prior of a population parameter, for
        a cohort unlike the one that the prior comes from. Fixed and uniform priors stay as they
        are: the first has no variance, and a power of the second is itself.

        Raises
        ------
        SettingError
            When the factor is below one, or this prior cannot be that wide.
        """
        given = number("flattened", "factor", factor)
        if given < 1:
            raise SettingError(
                f"The prior {self!r} was to be flattened by a factor of {given:g}; give one or "
                "more: below one it would claim to know more than it does."
            )
        return self if given == 1 else self._flattened(given)

    def _flattened(self, factor: float) -> Prior:
        raise SettingError(
            f"The prior {self!r} cannot be flattened; write the wider one that is meant."
        )

    def _refuse(self, fault: str) -> None:
        raise SettingError(f"{self!r}: {fault}")


class Continuous(Prior):
    """A prior whose figures are those of a SciPy distribution."""

    @property
    @abstractmethod
    def exact(self) -> Any:
        """The distribution, frozen."""

    @override
    def draw(self, rng: np.random.Generator, size: int) -> NDArray[np.float64]:
        return np.asarray(self.exact.rvs(size=size, random_state=rng), dtype=np.float64)

    @override
    def log_density(self, value: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(self.exact.logpdf(value), dtype=np.float64)

    @override
    def quantile(self, probability: Any) -> NDArray[np.float64]:
        return np.asarray(self.exact.ppf(probability), dtype=np.float64)

    @override
    def at_score(self, score: Any) -> NDArray[np.float64]:
        score, exact = np.asarray(score, dtype=np.float64), self.exact
        tail = ndtr(-np.abs(score))
        return np.asarray(np.where(score > 0, exact.isf(tail), exact.ppf(tail)))

    @override
    def score(self, value: Any) -> NDArray[np.float64]:
        below, above = self.exact.cdf(value), self.exact.sf(value)
        return np.asarray(np.where(below < above, ndtri(below), -ndtri(above)))


def number(where: str, name: str, value: object) -> float:
    """`value` as a number.

    Raises
    ------
    SettingError
        When it is none.
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        raise SettingError(f"{where} was given {name}={value!r}; expected a number.")
    return float(value)


def check_level(level: object) -> float:
    """`level` as a probability between 0 and 1.

    Raises
    ------
    SettingError
        When it is none.
    """
    value = number("The interval", "level", level)
    if not 0 < value < 1:
        hint = f" ({value / 100:g} for {value:g} %)" if 1 < value < 100 else ""
        raise SettingError(
            f"The level of the interval is {value:g}; it lies between 0 and 1, as 0.95{hint}."
        )
    return value

"""Errors with one location and one scale, and observations beyond a limit of quantification."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass, field, fields
from typing import Any, override

import numpy as np
from scipy.special import ndtri

from popk.errors import SettingError
from popk.statistics.error.base import Floats, Observed, ResidualError, Sigma
from popk.statistics.operations import NUMPY, Operations

__all__ = ["Measured"]

_HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)
_METHODS = ("M1", "M3", "M4")


@dataclass(frozen=True)
class Measured(ResidualError):  # noqa: N818 - an error of measurement, not an exception
    """The standardised residual (observation - prediction)/SD is normal, or the same of logarithms.

    Observations beyond a limit of quantification contribute the probability of being there
    (``blq="M3"``, which is meant where it is None). M4 is the same for a quantity that is never
    negative: every probability is conditional on DV > 0 (on the logarithm this is M3). M1 leaves
    out observations below their limit, which biases what is estimated where they are many.
    The names are those of Beal, J. Pharmacokinet. Pharmacodyn. 28:481-504, 2001; what he says of a
    lower limit is done with an upper one (in M1 as well, where these are not left out).

    Parameters
    ----------
    blq
        The method for observations below their limit: "M1", "M3" or "M4".

    Raises
    ------
    SettingError
        When there is no such method.
    """

    blq: str | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        if self.blq is not None and self.blq not in _METHODS:
            raise SettingError(
                f"{type(self).__name__} was given blq={self.blq!r}; expected one of "
                f"{', '.join(_METHODS)} (Beal 2001): left out, the probability of lying below the "
                "limit, or that probability given a value above zero."
            )
        if self.blq == "M3":  # what None means: the same model
            object.__setattr__(self, "blq", None)

    def __repr__(self) -> str:
        given = [repr(getattr(self, f.name)) for f in fields(self) if f.name != "blq"]
        given += [f"blq={self.blq!r}"] if self.blq else []
        return f"{type(self).__name__}({', '.join(given)})"

    @property
    def logarithmic(self) -> bool:
        """Whether the residual is one of logarithms."""
        return False

    @property
    def method(self) -> str:
        """The method for observations below their limit."""
        return self.blq or "M3"

    @property
    @override
    def leaves_out_below(self) -> bool:
        return self.method == "M1"

    @property
    @override
    def is_gaussian(self) -> bool:
        return not self._truncated

    @property
    @override
    def title(self) -> str:
        return type(self).__name__ + (f" ({self.blq})" if self.blq else "")

    @property
    def _truncated(self) -> bool:
        return self.method == "M4" and not self.logarithmic

    @abstractmethod
    def sd(self, prediction: Any, sigma: Sigma, ops: Operations) -> Any:
        """SD at the prediction, of the logarithm where `logarithmic`."""

    def log_density(self, z: Any, sigma: Sigma, ops: Operations) -> Any:
        """Log density of the standardised residual."""
        return -0.5 * z * z - _HALF_LOG_TWO_PI

    def log_probability(self, z: Any, sigma: Sigma, ops: Operations) -> Any:
        """Log probability of a standardised residual below z; symmetric around zero."""
        return ops.log_normal_cdf(z)

    def draw(self, shape: tuple[int, ...], sigma: Sigma, rng: np.random.Generator) -> Floats:
        """Standardised residuals."""
        return rng.standard_normal(shape)

    def quantile(self, probability: Floats, sigma: Sigma) -> Floats:
        """Standardised residual with this probability below it."""
        return np.asarray(ndtri(probability))

    @override
    def spread(self, observed: Observed, prediction: Any, sigma: Sigma, ops: Operations) -> Any:
        sd = self.sd(prediction, sigma, ops)
        return sd * prediction if self.logarithmic else sd

    @override
    def standardised(
        self, observed: Observed, prediction: Any, sigma: Sigma, ops: Operations
    ) -> tuple[Any, Any]:
        usual = ops.where(self._usable(prediction), prediction, 1.0)
        sd = self.sd(usual, sigma, ops)
        log_slope = -ops.log(sd)
        if self.logarithmic:
            log_slope = log_slope - ops.log(observed.dv)
        return self._residual(observed.dv, usual, sd, ops), log_slope

    @override
    def log_likelihood(
        self, observed: Observed, prediction: Any, sigma: Sigma, ops: Operations
    ) -> Any:
        known, usable = prediction < np.inf, self._usable(prediction)
        # What is not used must have a finite derivative all the same: zero times it enters the sum.
        z, log_slope = self.standardised(observed, prediction, sigma, ops)
        quantified = self.log_density(z, sigma, ops) + log_slope
        if ops.all_zero(observed.status) and not self._truncated:
            return ops.where(usable, quantified, -np.inf)
        usual = ops.where(usable, prediction, 1.0)
        sd = self.sd(usual, sigma, ops)
        above = self.log_probability(-self._residual(observed.upper, usual, sd, ops), sigma, ops)
        below = self.log_probability(self._residual(observed.lower, usual, sd, ops), sigma, ops)
        if self._truncated:
            positive = self.log_probability(usual / sd, sigma, ops)
            low, high = -usual / sd, self._residual(observed.lower, usual, sd, ops)
            below = self._between(low, high, sigma, ops) - positive
            quantified, above = quantified - positive, above - positive
        if self.leaves_out_below:
            below = 0.0
        beyond = ops.where(observed.below, below, above)
        found = ops.where(ops.equal(observed.status, 0), quantified, beyond)
        lowest = ops.where(observed.below, 0.0, -np.inf)
        return ops.where(known, ops.where(usable, found, lowest), -np.inf)

    @override
    def simulate(
        self, observed: Observed, prediction: Floats, sigma: Sigma, rng: np.random.Generator
    ) -> Floats:
        if self._truncated:
            return self._positive(prediction, self.sd(prediction, sigma, NUMPY), sigma, rng)
        return self.displaced(observed, prediction, sigma, self.draw(prediction.shape, sigma, rng))

    @override
    def displaced(
        self, observed: Observed, prediction: Floats, sigma: Sigma, residuals: Floats
    ) -> Floats:
        with np.errstate(invalid="ignore"):  # of an infinite prediction it is not a number
            noise = self.sd(prediction, sigma, NUMPY) * residuals
            made = prediction * np.exp(noise) if self.logarithmic else prediction + noise
        return np.asarray(made)

    def _positive(
        self, prediction: Floats, sd: Floats, sigma: Sigma, rng: np.random.Generator
    ) -> Floats:
        """Observations given that they are above zero, by inversion of the upper tail."""
        with np.errstate(invalid="ignore", divide="ignore"):
            ratio = np.where(prediction > 0, prediction / sd, 0.0)
            chance = np.exp(self.log_probability(ratio, sigma, NUMPY))
            z = -self.quantile(rng.random(prediction.shape) * chance, sigma)
            return np.asarray(np.where(prediction == 0, 0.0, prediction + sd * z))

    def _usable(self, prediction: Any) -> Any:
        known = prediction < np.inf
        return (prediction > 0) & known if self.needs_positive_prediction else known

    def _residual(self, value: Any, prediction: Any, sd: Any, ops: Operations) -> Any:
        if self.logarithmic:
            return (ops.log(value) - ops.log(prediction)) / sd
        return (value - prediction) / sd

    def _between(self, low: Any, high: Any, sigma: Sigma, ops: Operations) -> Any:
        """Log probability between two residuals, with digits left in either tail."""
        right = low > 0
        most = self.log_probability(ops.where(right, -low, high), sigma, ops)
        least = self.log_probability(ops.where(right, -high, low), sigma, ops)
        return most + ops.log(-ops.expm1(least - most))

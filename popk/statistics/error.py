"""Residual error, with observations below the limit of quantification (M3)."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, override

import numpy as np
from numpy.typing import NDArray

from popk.statistics.operations import NUMPY, Operations
from popk.statistics.priors import Prior

_HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)


class ResidualError(ABC):
    """How an observation scatters around the individual prediction.

    An observation below its limit (LLOQ) contributes the probability of being there, as in M3
    (Beal, J. Pharmacokinet. Pharmacodyn. 28:481, 2001).
    """

    @property
    @abstractmethod
    def priors(self) -> tuple[tuple[str, Prior], ...]:
        """Names in the posterior and priors of the SDs."""

    @property
    @abstractmethod
    def dimensions(self) -> tuple[str, ...]:
        """Dimension of each SD ("1" or "concentration")."""

    @property
    @abstractmethod
    def needs_positive_prediction(self) -> bool:
        """Whether the likelihood is undefined where the prediction is zero."""

    @abstractmethod
    def log_density(
        self, dv: Any, lloq: Any, prediction: Any, sigma: Mapping[str, Any], ops: Operations
    ) -> tuple[Any, Any]:
        """Log density of a quantified ``dv`` and log probability of lying below ``lloq``.

        All arguments broadcast; ``lloq`` is used for the second only.
        """

    @abstractmethod
    def simulate(
        self,
        prediction: NDArray[np.float64],
        sigma: Mapping[str, NDArray[np.float64]],
        rng: np.random.Generator,
    ) -> NDArray[np.float64]:
        """Observations as a laboratory without a limit would report them."""

    def log_likelihood(
        self,
        dv: Any,
        lloq: Any,
        below: Any,
        prediction: Any,
        sigma: Mapping[str, Any],
        ops: Operations,
    ) -> Any:
        """Log likelihood of each observation; ``below`` marks those reported as below ``lloq``.

        Minus infinity, with a slope of zero, where the prediction could not be computed (it is
        infinite or not a number), or is zero although `needs_positive_prediction`; there an
        observation below its limit is certain.
        """
        known = prediction < np.inf
        lowest = ops.where(below, 0.0, -np.inf)
        usable = (prediction > 0) & known if self.needs_positive_prediction else known
        # What is not used must have a finite derivative all the same: zero times it enters the sum.
        usual = ops.where(usable, prediction, 1.0)
        quantified, censored = self.log_density(dv, lloq, usual, sigma, ops)
        found = ops.where(usable, ops.where(below, censored, quantified), lowest)
        return ops.where(known, found, -np.inf)


class _Gaussian(ResidualError):  # noqa: N818 - an error of measurement, not an exception
    """Normal around the prediction, with an SD that may depend on it."""

    @abstractmethod
    def sd(self, prediction: Any, sigma: Mapping[str, Any], ops: Operations) -> Any:
        """SD at the prediction."""

    def log_density(
        self, dv: Any, lloq: Any, prediction: Any, sigma: Mapping[str, Any], ops: Operations
    ) -> tuple[Any, Any]:
        sd = self.sd(prediction, sigma, ops)
        z = (dv - prediction) / sd
        quantified = -0.5 * z * z - ops.log(sd) - _HALF_LOG_TWO_PI
        return quantified, ops.log_normal_cdf((lloq - prediction) / sd)

    def simulate(
        self,
        prediction: NDArray[np.float64],
        sigma: Mapping[str, NDArray[np.float64]],
        rng: np.random.Generator,
    ) -> NDArray[np.float64]:
        sd = self.sd(prediction, sigma, NUMPY)
        return np.asarray(prediction + sd * rng.standard_normal(prediction.shape))


@dataclass(frozen=True)
class Proportional(_Gaussian):
    """SD = sigma_prop * prediction."""

    sigma: Prior

    @property
    @override
    def priors(self) -> tuple[tuple[str, Prior], ...]:
        return (("sigma_prop", self.sigma),)

    @property
    @override
    def dimensions(self) -> tuple[str, ...]:
        return ("1",)

    @property
    @override
    def needs_positive_prediction(self) -> bool:
        return True

    @override
    def sd(self, prediction: Any, sigma: Mapping[str, Any], ops: Operations) -> Any:
        return sigma["sigma_prop"] * prediction


@dataclass(frozen=True)
class Additive(_Gaussian):
    """SD = sigma_add, whatever the prediction."""

    sigma: Prior

    @property
    @override
    def priors(self) -> tuple[tuple[str, Prior], ...]:
        return (("sigma_add", self.sigma),)

    @property
    @override
    def dimensions(self) -> tuple[str, ...]:
        return ("concentration",)

    @property
    @override
    def needs_positive_prediction(self) -> bool:
        return False

    @override
    def sd(self, prediction: Any, sigma: Mapping[str, Any], ops: Operations) -> Any:
        return sigma["sigma_add"] + 0.0 * prediction


@dataclass(frozen=True)
class Combined(_Gaussian):
    """SD = sqrt(sigma_prop^2 prediction^2 + sigma_add^2) (independent parts)."""

    proportional: Prior
    additive: Prior

    @property
    @override
    def priors(self) -> tuple[tuple[str, Prior], ...]:
        return (("sigma_prop", self.proportional), ("sigma_add", self.additive))

    @property
    @override
    def dimensions(self) -> tuple[str, ...]:
        return ("1", "concentration")

    @property
    @override
    def needs_positive_prediction(self) -> bool:
        return False

    @override
    def sd(self, prediction: Any, sigma: Mapping[str, Any], ops: Operations) -> Any:
        relative = sigma["sigma_prop"] * prediction
        return ops.sqrt(relative * relative + sigma["sigma_add"] * sigma["sigma_add"])


@dataclass(frozen=True)
class LogNormalError(ResidualError):
    """log DV ~ Normal(log prediction, sigma_log): log-transformed both sides."""

    sigma: Prior

    @property
    @override
    def priors(self) -> tuple[tuple[str, Prior], ...]:
        return (("sigma_log", self.sigma),)

    @property
    @override
    def dimensions(self) -> tuple[str, ...]:
        return ("1",)

    @property
    @override
    def needs_positive_prediction(self) -> bool:
        return True

    @override
    def log_density(
        self, dv: Any, lloq: Any, prediction: Any, sigma: Mapping[str, Any], ops: Operations
    ) -> tuple[Any, Any]:
        sd = sigma["sigma_log"]
        log_prediction = ops.log(prediction)
        z = (ops.log(dv) - log_prediction) / sd
        quantified = -0.5 * z * z - ops.log(sd) - ops.log(dv) - _HALF_LOG_TWO_PI
        return quantified, ops.log_normal_cdf((ops.log(lloq) - log_prediction) / sd)

    @override
    def simulate(
        self,
        prediction: NDArray[np.float64],
        sigma: Mapping[str, NDArray[np.float64]],
        rng: np.random.Generator,
    ) -> NDArray[np.float64]:
        noise = rng.standard_normal(prediction.shape)
        return np.asarray(prediction * np.exp(sigma["sigma_log"] * noise))

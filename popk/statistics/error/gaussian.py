"""Gaussian errors: how the SD depends on the prediction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, override

from popk.statistics.error.base import OBSERVED, ErrorParameter, Sigma
from popk.statistics.error.measured import Measured
from popk.statistics.operations import Operations
from popk.statistics.priors import Prior

__all__ = ["Additive", "Combined", "CombinedSD", "LogNormalError", "PowerError", "Proportional"]


def _proportional(prior: Prior) -> ErrorParameter:
    return ErrorParameter("sigma_prop", prior, "1", "residual error, proportional SD")


def _additive(prior: Prior) -> ErrorParameter:
    return ErrorParameter("sigma_add", prior, OBSERVED, "residual error, additive SD")


@dataclass(frozen=True, repr=False)
class Proportional(Measured):
    """SD = sigma_prop * prediction."""

    sigma: Prior

    @property
    @override
    def parameters(self) -> tuple[ErrorParameter, ...]:
        return (_proportional(self.sigma),)

    @property
    @override
    def needs_positive_prediction(self) -> bool:
        return True

    @override
    def sd(self, prediction: Any, sigma: Sigma, ops: Operations) -> Any:
        return sigma["sigma_prop"] * prediction


@dataclass(frozen=True, repr=False)
class Additive(Measured):
    """SD = sigma_add, whatever the prediction."""

    sigma: Prior

    @property
    @override
    def parameters(self) -> tuple[ErrorParameter, ...]:
        return (_additive(self.sigma),)

    @property
    @override
    def needs_positive_prediction(self) -> bool:
        return False

    @override
    def sd(self, prediction: Any, sigma: Sigma, ops: Operations) -> Any:
        return sigma["sigma_add"] + 0.0 * prediction


@dataclass(frozen=True, repr=False)
class Combined(Measured):
    """SD = sqrt(sigma_prop^2 prediction^2 + sigma_add^2): the variances of two parts add.

    NONMEM's Y = F (1 + EPS(1)) + EPS(2) and Monolix's combined2.
    """

    proportional: Prior
    additive: Prior

    @property
    @override
    def parameters(self) -> tuple[ErrorParameter, ...]:
        return (_proportional(self.proportional), _additive(self.additive))

    @property
    @override
    def needs_positive_prediction(self) -> bool:
        return False

    @override
    def sd(self, prediction: Any, sigma: Sigma, ops: Operations) -> Any:
        relative = sigma["sigma_prop"] * prediction
        return ops.sqrt(relative * relative + sigma["sigma_add"] * sigma["sigma_add"])


@dataclass(frozen=True, repr=False)
class CombinedSD(Measured):
    """``SD = sigma_prop |prediction| + sigma_add``: the SDs of two parts add (Monolix's combined1).

    With the same numbers it is wider than `Combined`, by up to a factor of sqrt(2).
    """

    proportional: Prior
    additive: Prior

    @property
    @override
    def parameters(self) -> tuple[ErrorParameter, ...]:
        return (_proportional(self.proportional), _additive(self.additive))

    @property
    @override
    def needs_positive_prediction(self) -> bool:
        return False

    @override
    def sd(self, prediction: Any, sigma: Sigma, ops: Operations) -> Any:
        size = ops.where(prediction < 0, -prediction, prediction)
        return sigma["sigma_prop"] * size + sigma["sigma_add"]


@dataclass(frozen=True, repr=False)
class PowerError(Measured):
    """SD = sigma_power * prediction ** power, the prediction as a number in its unit.

    Power 0 is additive, 1 proportional. ``sigma_power`` is the SD where the prediction is 1.

    Parameters
    ----------
    sigma
        Prior of the SD where the prediction is 1.
    power
        Prior of the exponent.
    """

    sigma: Prior
    power: Prior

    @property
    @override
    def parameters(self) -> tuple[ErrorParameter, ...]:
        return (
            ErrorParameter(
                "sigma_power", self.sigma, OBSERVED, "residual error, SD at a prediction of 1"
            ),
            ErrorParameter(
                "power", self.power, "1", "residual error, power of the prediction", positive=False
            ),
        )

    @property
    @override
    def needs_positive_prediction(self) -> bool:
        return True

    @override
    def sd(self, prediction: Any, sigma: Sigma, ops: Operations) -> Any:
        return sigma["sigma_power"] * ops.exp(sigma["power"] * ops.log(prediction))


@dataclass(frozen=True, repr=False)
class LogNormalError(Measured):
    """log DV ~ Normal(log prediction, sigma_log): log-transformed both sides."""

    sigma: Prior

    @property
    @override
    def logarithmic(self) -> bool:
        return True

    @property
    @override
    def parameters(self) -> tuple[ErrorParameter, ...]:
        return (
            ErrorParameter("sigma_log", self.sigma, "1", "residual error, SD of the logarithm"),
        )

    @property
    @override
    def needs_positive_prediction(self) -> bool:
        return True

    @override
    def sd(self, prediction: Any, sigma: Sigma, ops: Operations) -> Any:
        return sigma["sigma_log"] + 0.0 * prediction

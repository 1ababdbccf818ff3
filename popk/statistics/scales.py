"""Where random effects add: the real line, and the way from there to a parameter's values."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, override

from popk.errors import SettingError
from popk.statistics.operations import Operations

__all__ = ["LinearScale", "LogScale", "LogitScale", "Scale"]


class Scale(ABC):
    """A parameter x lies between `low` and `high`; random effects add to phi = forward(x)."""

    @property
    @abstractmethod
    def low(self) -> float:
        """Values lie above it."""

    @property
    @abstractmethod
    def high(self) -> float:
        """Values lie below it."""

    @property
    @abstractmethod
    def of(self) -> str:
        """What an SD on this scale is an SD of, for tables: ``"log {name}"``."""

    @abstractmethod
    def forward(self, value: Any, ops: Operations) -> Any:
        """To the real line."""

    @abstractmethod
    def inverse(self, phi: Any, ops: Operations) -> Any:
        """Back."""

    @abstractmethod
    def slope(self, value: Any) -> Any:
        """Derivative of the value by phi, at the value."""

    def expected(self, typical: Any, log_factor: Any, ops: Operations) -> Any:
        """Value of phi for a typical value times what covariates make of it."""
        return self.forward(typical * ops.exp(log_factor), ops)


@dataclass(frozen=True, slots=True)
class LogScale(Scale):
    """Log-normal: x = typical exp(eta), above zero. What a parameter has if nothing is said."""

    @property
    @override
    def low(self) -> float:
        return 0.0

    @property
    @override
    def high(self) -> float:
        return math.inf

    @property
    @override
    def of(self) -> str:
        return "log {name}"

    @override
    def forward(self, value: Any, ops: Operations) -> Any:
        return ops.log(value)

    @override
    def inverse(self, phi: Any, ops: Operations) -> Any:
        return ops.exp(phi)

    @override
    def slope(self, value: Any) -> Any:
        return value

    @override
    def expected(self, typical: Any, log_factor: Any, ops: Operations) -> Any:
        return ops.log(typical) + log_factor


@dataclass(frozen=True, slots=True)
class LinearScale(Scale):
    """Normal: x = typical + eta, of either sign; its SD has the parameter's unit."""

    @property
    @override
    def low(self) -> float:
        return -math.inf

    @property
    @override
    def high(self) -> float:
        return math.inf

    @property
    @override
    def of(self) -> str:
        return "{name}"

    @override
    def forward(self, value: Any, ops: Operations) -> Any:
        return value

    @override
    def inverse(self, phi: Any, ops: Operations) -> Any:
        return phi

    @override
    def slope(self, value: Any) -> Any:
        return 0.0 * value + 1.0


@dataclass(frozen=True, slots=True)
class LogitScale(Scale):
    """Logit-normal: logit((x - low)/(high - low)) = logit of the typical value + eta.

    Parameters
    ----------
    low, high
        Between which the parameter lies, in its unit; a bioavailability between 0 and 1.
    """

    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise SettingError(
                f"LogitScale was given low={self.low!r} and high={self.high!r}; expected two "
                "numbers, the lower first."
            )

    @property
    @override
    def of(self) -> str:
        return "logit {name}"

    @override
    def forward(self, value: Any, ops: Operations) -> Any:
        return ops.log((value - self.low) / (self.high - value))

    @override
    def inverse(self, phi: Any, ops: Operations) -> Any:
        return self.low + (self.high - self.low) * ops.logistic(phi)

    @override
    def slope(self, value: Any) -> Any:
        return (value - self.low) * (self.high - value) / (self.high - self.low)

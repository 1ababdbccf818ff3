"""Priors from the values in $THETA, $OMEGA and $SIGMA."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from popk.nonmem.evaluation import names_in
from popk.nonmem.individual import thetas_in
from popk.nonmem.points import compiled
from popk.nonmem.refusal import NonmemError
from popk.nonmem.stream import Theta
from popk.statistics import (
    Fixed,
    HalfNormal,
    LinearScale,
    LogitNormal,
    LogitScale,
    LogNormal,
    Normal,
    Prior,
    Scale,
)

__all__ = ["Estimates", "half_normal"]

_MEDIAN = 0.6744897501960817  # of the absolute value of a standard normal


@dataclass(frozen=True)
class Estimates:
    """Values of the thetas, and how wide priors are around them.

    Parameters
    ----------
    thetas
        By number.
    cv
        Coefficient of variation of the priors of estimated parameters.
    """

    thetas: Mapping[int, Theta]
    cv: float

    @property
    def values(self) -> dict[str, float]:
        """Values by the name that expressions have for them."""
        return {f"THETA({k})": theta.value for k, theta in self.thetas.items()}

    def value(self, expression: Any, **more: float) -> float:
        """An expression of thetas as a number."""
        known = {**self.values, **more}
        return compiled(expression)({name: known[name] for name in names_in(expression)})

    def is_fixed(self, expression: Any) -> bool:
        """Whether every theta in it is fixed, or there is none."""
        return all(self.thetas[k].fixed for k in thetas_in(expression))

    def typical(self, name: str, expression: Any, scale: Scale, where: str) -> Prior:
        """The prior of a typical value.

        Raises
        ------
        NonmemError
            When the scale does not hold the value.
        """
        value = self.value(expression)
        if not (math.isfinite(value) and scale.low < value < scale.high):
            raise NonmemError(
                [f"the typical value of {name} ({expression}, {where}) is {value:g}; "
                 f"expected a number above {scale.low:g}"
                 f"{f' and below {scale.high:g}' if math.isfinite(scale.high) else ''}. "
                 "Correct the initial estimate."]
            )  # fmt: skip
        if self.is_fixed(expression):
            return Fixed(value)
        if isinstance(scale, LinearScale):
            return self.real(expression)
        if isinstance(scale, LogitScale) and (scale.low, scale.high) == (0.0, 1.0):
            return LogitNormal(value, sd=self.cv)
        if isinstance(scale, LogitScale):
            raise NonmemError(
                [f"{name} lies between {scale.low:g} and {scale.high:g} ({where}); popk has priors "
                 "of typical values between 0 and 1 only. Fix its theta, or write a fraction."]
            )  # fmt: skip
        return LogNormal(value, cv=self.cv)

    def real(self, expression: Any) -> Prior:
        """The prior of a coefficient of either sign."""
        value = self.value(expression)
        if self.is_fixed(expression):
            return Fixed(value)
        return Normal(value, self.cv * abs(value) if value else self.cv)

    def positive(self, expression: Any) -> Prior:
        """The prior of a factor above zero."""
        value = self.value(expression)
        return Fixed(value) if self.is_fixed(expression) else LogNormal(value, cv=self.cv)

    def coefficient(self, number: int) -> Prior:
        """The prior of a theta itself, above zero where its lower bound and its value say so."""
        theta = self.thetas[number]
        if theta.fixed:
            return Fixed(theta.value)
        if theta.low >= 0 and theta.value > 0:
            return LogNormal(theta.value, cv=self.cv)
        return Normal(theta.value, self.cv * abs(theta.value) if theta.value else self.cv)


def half_normal(sd: float, *, fixed: bool) -> Prior:
    """The prior of an SD: half-normal with the value as its median, or the value itself."""
    return Fixed(sd) if fixed else HalfNormal(sd / _MEDIAN)

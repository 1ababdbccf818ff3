"""Errors with heavy tails."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, override

import numpy as np
from scipy.special import stdtrit

from popk.errors import SettingError
from popk.statistics.error.base import ErrorParameter, Floats, Sigma
from popk.statistics.error.measured import Measured
from popk.statistics.operations import Operations
from popk.statistics.priors import Prior

__all__ = ["StudentTError"]


@dataclass(frozen=True, init=False, repr=False)
class StudentTError(Measured):
    """Another error with Student's t in place of the normal: outliers weigh less.

    What were SDs are the scales of the t; an SD is sqrt(freedom/(freedom - 2)) times as large.
    What is beyond a limit is treated as the inner error says. Source: Lange, Little & Taylor,
    J. Am. Stat. Assoc. 84:881-896, 1989.

    Parameters
    ----------
    error
        A Gaussian error such as ``Proportional(HalfNormal(0.3))``.
    freedom
        Prior of the degrees of freedom, for example ``Fixed(4)``.

    Raises
    ------
    SettingError
        When `error` is not a Gaussian error.
    """

    error: Measured
    freedom: Prior

    def __init__(self, error: Measured, freedom: Prior) -> None:
        if not isinstance(error, Measured) or isinstance(error, StudentTError):
            raise SettingError(
                f"StudentTError was given {error!r}; expected a Gaussian error such as "
                "Proportional(HalfNormal(0.3))."
            )
        object.__setattr__(self, "error", error)
        object.__setattr__(self, "freedom", freedom)
        object.__setattr__(self, "blq", error.blq)

    def __repr__(self) -> str:
        return f"StudentTError({self.error!r}, {self.freedom!r})"

    @property
    @override
    def logarithmic(self) -> bool:
        return self.error.logarithmic

    @property
    @override
    def is_gaussian(self) -> bool:
        return False

    @property
    @override
    def title(self) -> str:
        return f"StudentTError of {self.error.title}"

    @property
    @override
    def parameters(self) -> tuple[ErrorParameter, ...]:
        scales = (
            replace(p, meaning=p.meaning.replace("SD", "scale of Student's t"))
            for p in self.error.parameters
        )
        meaning = "residual error, degrees of freedom of Student's t"
        return (*scales, ErrorParameter("freedom", self.freedom, "1", meaning))

    @property
    @override
    def needs_positive_prediction(self) -> bool:
        return self.error.needs_positive_prediction

    @override
    def sd(self, prediction: Any, sigma: Sigma, ops: Operations) -> Any:
        return self.error.sd(prediction, sigma, ops)

    @override
    def log_density(self, z: Any, sigma: Sigma, ops: Operations) -> Any:
        freedom = sigma["freedom"]
        half = 0.5 * (freedom + 1.0)
        constant = ops.log_gamma(half) - ops.log_gamma(0.5 * freedom)
        return constant - 0.5 * ops.log(math.pi * freedom) - half * ops.log1p(z * z / freedom)

    @override
    def log_probability(self, z: Any, sigma: Sigma, ops: Operations) -> Any:
        return ops.log_t_cdf(z, sigma["freedom"])

    @override
    def draw(self, shape: tuple[int, ...], sigma: Sigma, rng: np.random.Generator) -> Floats:
        return np.asarray(rng.standard_t(np.broadcast_to(sigma["freedom"], shape)))

    @override
    def quantile(self, probability: Floats, sigma: Sigma) -> Floats:
        return np.asarray(stdtrit(sigma["freedom"], probability))

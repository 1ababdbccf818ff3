"""Errors that last: a residual is correlated with the one before it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, override

import numpy as np

from popk.errors import SettingError
from popk.statistics.error.base import ErrorParameter, Floats, Observed, ResidualError, Sigma
from popk.statistics.operations import NUMPY, Operations
from popk.statistics.priors import Prior

__all__ = ["Autocorrelated"]

_HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)
_LOG_TWO = math.log(2.0)


@dataclass(frozen=True)
class Autocorrelated(ResidualError):  # noqa: N818 - an error of measurement
    """A Gaussian error whose standardised residuals follow an Ornstein-Uhlenbeck process.

    Within one subject and one output, residuals dt apart have the correlation
    ``exp(-log 2 dt / half_time)``; what the model gets wrong, it gets wrong for a while. The
    likelihood is sequential: each observation given the quantified one before it. Across a reset at
    which TIME starts again there is no correlation. Source: Karlsson, Beal & Sheiner,
    J. Pharmacokinet. Biopharm. 23:651-672, 1995.

    Observations beyond a limit are refused (their likelihood is an integral over all of them),
    those below left out where the error says ``blq="M1"``.

    Parameters
    ----------
    error
        A Gaussian error such as ``Proportional(HalfNormal(0.3))``, or one for each assay.
    half_time
        Prior of the time after which the correlation is a half.

    Raises
    ------
    SettingError
        When `error` is not Gaussian, or conditional on values above zero (M4).
    """

    error: ResidualError
    half_time: Prior

    def __post_init__(self) -> None:
        if not (isinstance(self.error, ResidualError) and self.error.is_gaussian):
            given = self.error.title if isinstance(self.error, ResidualError) else repr(self.error)
            raise SettingError(
                f"Autocorrelated was given {given}; expected a Gaussian error such as "
                'Proportional(HalfNormal(0.3)), not one with heavy tails or with blq="M4".'
            )

    @property
    @override
    def parameters(self) -> tuple[ErrorParameter, ...]:
        meaning = "residual error, half-time of the correlation"
        return (
            *self.error.parameters,
            ErrorParameter("half_time", self.half_time, "time", meaning),
        )

    @property
    @override
    def needs_positive_prediction(self) -> bool:
        return self.error.needs_positive_prediction

    @property
    @override
    def assays(self) -> tuple[int, ...]:
        return self.error.assays

    @property
    @override
    def is_sequential(self) -> bool:
        return True

    @property
    @override
    def leaves_out_below(self) -> bool:
        return self.error.leaves_out_below

    @property
    @override
    def title(self) -> str:
        return f"Autocorrelated {self.error.title}"

    @override
    def spread(self, observed: Observed, prediction: Any, sigma: Sigma, ops: Operations) -> Any:
        return self.error.spread(observed, prediction, sigma, ops)

    @override
    def standardised(
        self, observed: Observed, prediction: Any, sigma: Sigma, ops: Operations
    ) -> tuple[Any, Any]:
        """As the error alone has it: each is standard normal, but they are correlated."""
        return self.error.standardised(observed, prediction, sigma, ops)

    @override
    def correlation(self, observed: Observed, sigma: Sigma, ops: Operations) -> Any:
        found = ops.exp(-_LOG_TWO * observed.since / sigma["half_time"])
        return ops.where(observed.back > 0, found, 0.0)

    @override
    def log_likelihood(
        self, observed: Observed, prediction: Any, sigma: Sigma, ops: Operations
    ) -> Any:
        # The limits, and where the prediction is of no use: as the error alone has it.
        alone = self.error.log_likelihood(observed, prediction, sigma, ops)
        z, log_slope = self.standardised(observed, prediction, sigma, ops)
        before = z[..., ops.positions(observed.back) - observed.back]
        rho = self.correlation(observed, sigma, ops)
        # 1 - rho^2, without losing the digits of short times.
        decay = -ops.expm1(-2.0 * _LOG_TWO * observed.since / sigma["half_time"])
        variance = ops.where(observed.back > 0, decay, 1.0)
        new = z - rho * before
        quantified = -0.5 * new * new / variance - 0.5 * ops.log(variance) + log_slope
        quantified = quantified - _HALF_LOG_TWO_PI
        possible = ops.where(alone > -np.inf, quantified, -np.inf)
        beyond = ops.where(observed.below, 0.0 if self.leaves_out_below else np.nan, np.nan)
        return ops.where(ops.equal(observed.status, 0), possible, beyond)

    @override
    def displaced(
        self, observed: Observed, prediction: Floats, sigma: Sigma, residuals: Floats
    ) -> Floats:
        return self.error.displaced(observed, prediction, sigma, residuals)

    @override
    def simulate(
        self, observed: Observed, prediction: Floats, sigma: Sigma, rng: np.random.Generator
    ) -> Floats:
        z = rng.standard_normal(prediction.shape)
        rho = np.broadcast_to(self.correlation(observed, sigma, NUMPY), prediction.shape)
        new = np.sqrt(1.0 - rho**2)
        for k in np.flatnonzero(observed.back).tolist():
            z[..., k] = rho[..., k] * z[..., k - observed.back[k]] + new[..., k] * z[..., k]
        return self.error.displaced(observed, prediction, sigma, z)

"""Several errors, each of which describes some of the observations."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import Any, NamedTuple, override

import numpy as np

from popk.statistics.error.base import (
    Floats,
    Observed,
    ResidualError,
    Sigma,
)
from popk.statistics.operations import NUMPY, Operations

__all__ = ["Part", "Several"]


class Part(NamedTuple):
    """One of several errors.

    Which observations it describes, a factor on their prediction, and its parameters by its names.
    """

    mine: Any
    error: ResidualError
    factor: Any
    sigma: dict[str, Any]


class Several(ResidualError):  # noqa: N818 - errors of measurement, not an exception
    """Errors of which each describes some of the observations."""

    @abstractmethod
    def _parts(self, observed: Observed, sigma: Sigma, ops: Operations) -> Iterator[Part]:
        """Each error with the observations that it describes."""

    @override
    def log_likelihood(
        self, observed: Observed, prediction: Any, sigma: Sigma, ops: Operations
    ) -> Any:
        found: Any = np.nan
        for mine, error, factor, named in self._parts(observed, sigma, ops):
            # What another error describes must have a finite derivative all the same.
            usual = ops.where(mine, factor * prediction, 1.0)
            value = error.log_likelihood(observed.only(mine, ops), usual, named, ops)
            found = ops.where(mine, value, found)
        return found

    @property
    @override
    def needs_positive_prediction(self) -> bool:
        return any(error.needs_positive_prediction for error in self._errors)

    @property
    @override
    def is_sequential(self) -> bool:
        return any(error.is_sequential for error in self._errors)

    @property
    @override
    def leaves_out_below(self) -> bool:
        return all(error.leaves_out_below for error in self._errors)

    @property
    @abstractmethod
    def _errors(self) -> tuple[ResidualError, ...]:
        """Every error."""

    @override
    def spread(self, observed: Observed, prediction: Any, sigma: Sigma, ops: Operations) -> Any:
        found: Any = np.nan
        for mine, error, factor, named in self._parts(observed, sigma, ops):
            usual = ops.where(mine, factor * prediction, 1.0)
            size = error.spread(observed, usual, named, ops) / factor
            found = ops.where(mine, size, found)
        return found

    @override
    def standardised(
        self, observed: Observed, prediction: Any, sigma: Sigma, ops: Operations
    ) -> tuple[Any, Any]:
        residual: Any = np.nan
        log_slope: Any = np.nan
        for mine, error, factor, named in self._parts(observed, sigma, ops):
            usual = ops.where(mine, factor * prediction, 1.0)
            z, slope = error.standardised(observed.only(mine, ops), usual, named, ops)
            residual, log_slope = ops.where(mine, z, residual), ops.where(mine, slope, log_slope)
        return residual, log_slope

    @override
    def displaced(
        self, observed: Observed, prediction: Floats, sigma: Sigma, residuals: Floats
    ) -> Floats:
        found = np.full(prediction.shape, np.nan)
        for mine, error, factor, named in self._parts(observed, sigma, NUMPY):
            usual = np.where(mine, factor * prediction, 1.0)
            made = error.displaced(observed, usual, named, residuals)
            found = np.where(mine, made, found)
        return found

    @override
    def simulate(
        self, observed: Observed, prediction: Floats, sigma: Sigma, rng: np.random.Generator
    ) -> Floats:
        found = np.full(prediction.shape, np.nan)
        for mine, error, factor, named in self._parts(observed, sigma, NUMPY):
            made = error.simulate(observed, np.where(mine, factor * prediction, 1.0), named, rng)
            found = np.where(mine, made, found)
        return found

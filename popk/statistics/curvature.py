"""Slope and curvature of the log likelihood along the prediction, for approximations only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from popk.statistics.error import Measured, Observed, ResidualError
from popk.statistics.operations import NUMPY

__all__ = ["innovations", "prediction_slopes"]

type Floats = NDArray[np.float64]
type Ints = NDArray[np.int64]
type Bools = NDArray[np.bool_]

_STEP = 1e-4  # of the error's size


def prediction_slopes(
    error: ResidualError,
    observed: Observed,
    prediction: Floats,
    sigma: Mapping[str, Floats],
) -> tuple[Floats, Floats]:
    """Derivative of the log likelihood by each prediction, and a curvature.

    By central differences, of the SD alone where the errors are Gaussian. The curvature is minus
    the second derivative of an observation's own log likelihood where it lies beyond a limit, and
    otherwise the same for an observation equal to its prediction (close to the expected
    information); it is never negative. Where errors are correlated, it is the curvature along what
    `innovations` leaves of the prediction's movement.

    Parameters
    ----------
    error
        Residual error.
    observed
        Observations.
    prediction
        Predictions (..., n_observations).
    sigma
        Parameters of the error by name, shapes broadcasting with the predictions.
    """
    if isinstance(error, Measured) and error.is_gaussian and not observed.status.any():
        return _gaussian(error, observed, prediction, sigma)

    def value(at: Observed, f: Floats) -> Floats:
        return np.asarray(error.log_likelihood(at, f, sigma, NUMPY))

    slope, bend = np.zeros(prediction.shape), np.zeros(prediction.shape)
    # A prediction that could not be computed is infinite: no slope there.
    with np.errstate(all="ignore"):
        size = np.abs(error.spread(observed, prediction, sigma, NUMPY))
        h = _STEP * np.where(size > 0, size, 1e-296)
        at_it = error.displaced(observed, prediction, sigma, np.zeros(prediction.shape))
        typical = observed._replace(dv=np.where(observed.status == 0, at_it, observed.dv))
        middle = value(typical, prediction)
        for moved, followers, before in _apart(error, observed):
            shift = np.where(moved, h, 0.0)
            up, down = prediction + shift, prediction - shift
            change = value(observed, up) - value(observed, down)
            slope[..., moved] += change[..., moved]
            slope[..., before] += change[..., followers]
            turn = value(typical, up) - 2 * middle + value(typical, down)
            bend[..., moved] = turn[..., moved]
        slope, curvature = slope / (2 * h), np.maximum(-bend / h**2, 0.0)
    return np.nan_to_num(slope, posinf=0.0, neginf=0.0), np.nan_to_num(curvature, posinf=0.0)


def _gaussian(
    error: Measured, observed: Observed, prediction: Floats, sigma: Mapping[str, Floats]
) -> tuple[Floats, Floats]:
    """`prediction_slopes` of quantified observations whose standardised residuals are normal."""
    with np.errstate(all="ignore"):
        z, _ = error.standardised(observed, prediction, sigma, NUMPY)
        sd = np.asarray(error.sd(prediction, sigma, NUMPY))
        size = np.abs(prediction * sd) if error.logarithmic else sd
        h = _STEP * size
        low, high = (np.log(error.sd(prediction + way * h, sigma, NUMPY)) for way in (-1, 1))
        log_sd_slope = (high - low) / (2 * h)
        log_sd_bend = (high - 2 * np.log(sd) + low) / h**2
        by_residual = 1 / size  # minus the residual's slope while the SD is held
        slope = z * by_residual + (z * z - 1) * log_sd_slope
        curvature = np.maximum(by_residual**2 + log_sd_bend, 0.0)
        usable = np.isfinite(prediction) & (size > 0)
    slope = np.where(usable & np.isfinite(slope), slope, 0.0)
    return slope, np.where(usable & np.isfinite(curvature), curvature, 0.0)


def innovations(
    error: ResidualError,
    observed: Observed,
    prediction: Floats,
    sigma: Mapping[str, Floats],
    by: Floats,
) -> Floats:
    """What is new in the predictions' movement, where residuals are correlated.

    The residual of an observation is expected to be ``rho`` times the one before it, so the
    likelihood sees a prediction's derivative less that share of the derivative before it. The
    curvature of `prediction_slopes` times the outer product of these, summed over observations, is
    the information. Without correlation nothing changes.

    Parameters
    ----------
    error, observed, prediction, sigma
        As for `prediction_slopes`.
    by
        Derivatives of the predictions (..., n_observations, k).
    """
    if not error.is_sequential:
        return by
    before = np.arange(len(observed.back)) - observed.back
    size = np.asarray(error.spread(observed, prediction, sigma, NUMPY))
    with np.errstate(all="ignore"):
        ratio = error.correlation(observed, sigma, NUMPY) * size / size[..., before]
    ratio = np.where(np.isfinite(ratio), ratio, 0.0)
    return np.asarray(by - ratio[..., None] * by[..., before, :])


def _apart(error: ResidualError, observed: Observed) -> Iterator[tuple[Bools, Ints, Ints]]:
    """Predictions that may be moved at a time, each being the only one that an observation sees.

    Where errors are correlated, a prediction also enters the likelihood of the observation that
    follows it, so it is every other one of a chain: which are moved, which observations follow one
    that is, and which one they follow.
    """
    size = len(observed.back)
    none = np.zeros(0, dtype=np.int64)
    if not error.is_sequential:
        yield np.ones(size, dtype=bool), none, none
        return
    place = np.zeros(size, dtype=np.int64)  # in the chain
    follower = np.flatnonzero(observed.back)
    before = follower - observed.back[follower]
    for own, other in zip(follower.tolist(), before.tolist(), strict=True):
        place[own] = place[other] + 1
    for parity in (0, 1):
        moved = place % 2 == parity
        yield moved, follower[moved[before]], before[moved[before]]

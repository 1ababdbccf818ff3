"""Slope and curvature of the log likelihood along the prediction, for approximations only."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from popk.statistics.error import ResidualError
from popk.statistics.operations import NUMPY

type Floats = NDArray[np.float64]

_STEP = 1e-4  # of the prediction


def prediction_slopes(
    error: ResidualError,
    observed: tuple[Floats, Floats, NDArray[np.bool_]],
    prediction: Floats,
    sigma: Mapping[str, Floats],
) -> tuple[Floats, Floats]:
    """Derivative of each observation's log likelihood by its prediction, and a curvature.

    By central differences. The curvature is minus the second derivative where an observation is
    below its limit, and otherwise the same at an observation equal to its prediction (close to the
    expected information); it is never negative.

    Parameters
    ----------
    error
        Residual error.
    observed
        DV, LLOQ and whether below it, each (n_observations).
    prediction
        Predictions (..., n_observations), above zero.
    sigma
        SDs by name, shapes broadcasting with the predictions.
    """
    dv, lloq, below = observed
    h = _STEP * np.maximum(prediction, 1e-300)

    def value(at: Floats, f: Floats) -> Floats:
        return np.asarray(error.log_likelihood(at, lloq, below, f, sigma, NUMPY))

    # A prediction that could not be computed is infinite: no slope there.
    with np.errstate(all="ignore"):
        up, down = prediction + h, prediction - h
        slope = (value(dv, up) - value(dv, down)) / (2 * h)
        typical = np.where(below, dv, prediction)
        bend = value(typical, up) - 2 * value(typical, prediction) + value(typical, down)
        curvature = np.maximum(-bend / h**2, 0.0)
    return np.nan_to_num(slope, posinf=0.0, neginf=0.0), np.nan_to_num(curvature, posinf=0.0)

"""Roots of precisions, and steps by them, also where rounding has made them singular.

Where concentrations lie far beyond a limit of quantification, or random effects hardly vary, a
precision may be so large in one direction that the others are lost beside it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["root_of", "solved"]

type Floats = NDArray[np.float64]

_LITTLE = 1e-10  # of the largest precision


def root_of(precision: Floats) -> Floats:
    """Cholesky factors (S, k, k)."""
    try:
        return np.asarray(np.linalg.cholesky(precision))
    except np.linalg.LinAlgError:
        return np.asarray(np.linalg.cholesky(_firm(precision)))


def solved(precision: Floats, gradient: Floats) -> Floats:
    """Newton's steps (S, k) for gradients (S, k)."""
    try:
        return np.asarray(np.linalg.solve(precision, gradient[..., None])[..., 0])
    except np.linalg.LinAlgError:
        return np.asarray(np.linalg.solve(_firm(precision), gradient[..., None])[..., 0])


def _firm(precision: Floats) -> Floats:
    """Precisions (S, k, k) with a little of the largest where the smallest is lost beside it.

    One that is no number becomes that of the effects alone.
    """
    alone = np.eye(precision.shape[-1])
    known = np.isfinite(precision).all(axis=(1, 2))
    found = np.where(known[:, None, None], precision, alone)
    sizes = np.linalg.eigvalsh(found)
    lost = sizes[:, 0] < _LITTLE * sizes[:, -1]
    more = np.where(lost, 2 * _LITTLE * sizes[:, -1], 0.0)
    return np.asarray(found + more[:, None, None] * alone)

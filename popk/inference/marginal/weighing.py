"""Weights of a patient's nodes: picking by them, holding them, and how far apart two sets are."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from popk.individual import Modes, Proposals

__all__ = ["apart", "picked", "tamed"]

type Floats = NDArray[np.float64]
type Ints = NDArray[np.int64]

_USELESS = 1.0  # relative variance of a pick's weight beyond which a point is simply far off
_MOST = 3.0  # log weight of a node, above the integral that the mode suggests
_LEAST = 4.0  # and below that of the normal density there
_LOG_TWO_PI = float(np.log(2 * np.pi))


def picked(
    log_weight: Floats, picks: int, rng: np.random.Generator, *, common: bool = False
) -> tuple[Ints, Floats]:
    """Columns (S, picks) drawn by weight, evenly spread; log of the sum of the weights (S).

    ``common``: by the same random number in all rows.
    """
    highest = log_weight.max(axis=1, keepdims=True)
    highest = np.where(np.isfinite(highest), highest, 0.0)
    share = np.cumsum(np.exp(log_weight - highest), axis=1)
    own = rng.random((1 if common else len(share), 1))
    turns = (own + np.arange(picks)) / picks * share[:, -1:]
    chosen = (share[:, None] < turns[..., None]).sum(axis=2)
    with np.errstate(divide="ignore"):
        total = highest[:, 0] + np.log(share[:, -1])
    return chosen.clip(0, log_weight.shape[1] - 1), total


def apart(rough: Floats, exact: Floats) -> tuple[float, float]:
    """What approximate log weights of nodes (S, J) do to the log of their sum, and to picks.

    The SD of the former's error over the points, and the relative variance of the weight of one
    node that is picked by its approximate weight.
    """
    with np.errstate(all="ignore"):
        share = np.exp(rough - logsumexp(rough, axis=1, keepdims=True))
        ratio = np.exp(exact - rough)
        mean = np.nansum(share * ratio, axis=1)
        square = np.nansum(share * ratio**2, axis=1)
        off, variance = np.std(np.log(mean)), np.mean(np.clip(square / mean**2 - 1, 0, _USELESS))
    return float(np.nan_to_num(off, nan=np.inf)), float(np.nan_to_num(variance, nan=np.inf))


def tamed(modes: Modes, nodes: Proposals) -> Floats:
    """Log weights of nodes (S, J), held to what the mode suggests where they are far from it.

    Polynomials may promise much far away, or nothing where there is something. None weighs far more
    than the normal integral around the mode, nor far less than the normal density there says.
    """
    k = modes.z.shape[1]
    if k == 0:
        return nodes.log_weight
    factor = np.linalg.cholesky(modes.precision)
    away = 0.5 * (((nodes.z - modes.z[:, None]) @ factor) ** 2).sum(axis=2)
    nearest = away.argmin(axis=1)[:, None]
    peak = np.take_along_axis(nodes.log_weight + nodes.log_density + away, nearest, axis=1)
    peak = np.where(np.isfinite(peak), peak, -np.inf)
    width = np.log(np.diagonal(factor, axis1=1, axis2=2)).sum(axis=1)[:, None]
    about = peak + 0.5 * k * _LOG_TWO_PI - width
    normal = peak - away - nodes.log_density
    held = np.clip(nodes.log_weight, normal - _LEAST, np.maximum(about, normal) + _MOST)
    return np.where(np.isfinite(peak), held, nodes.log_weight)

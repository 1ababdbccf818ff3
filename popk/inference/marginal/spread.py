"""Where all of a patient's conditional posterior is, as a mixture that nodes may be spread by."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from popk.inference.marginal.chains import systematic
from popk.inference.marginal.mixture import Mixture

__all__ = ["described", "sampled"]

type Floats = NDArray[np.float64]

_DRAWS = 40  # of each point's conditional posterior
_COMPONENTS = 6


def sampled(nodes: Floats, log_weight: Floats, rng: np.random.Generator) -> Floats:
    """Nodes (S * 40, k) picked from each point's nodes (S, J, k) by their weights (S, J).

    Points at which no node has a likelihood are left out.
    """
    found = []
    for own, weight in zip(nodes, log_weight, strict=True):
        highest = weight.max()
        if np.isfinite(highest):
            found.append(own[systematic(np.exp(weight - highest), _DRAWS, rng)])
    return np.concatenate(found) if found else np.empty((0, nodes.shape[2]))


def described(z: Floats, rng: np.random.Generator) -> Mixture:
    """A mixture of a few components fitted to points (n, k); standard normal if there are none."""
    k = z.shape[1]
    if len(z) <= k:
        return Mixture.normal(np.zeros((1, k)), np.eye(k)[None], np.ones(1))
    weight = np.full(len(z), 1 / len(z))
    spread = np.cov(z, rowvar=False).reshape(k, k) + 1e-6 * np.eye(k)
    found = Mixture.normal(z.mean(axis=0)[None], spread[None], np.ones(1))
    for _ in range(_COMPONENTS - 1):
        found = found.split(z, weight, rng).fitted(z, weight)
    return found

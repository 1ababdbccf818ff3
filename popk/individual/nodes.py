"""Nodes of the integral over a patient's random effects: a shifted lattice with heavy tails.

A rank-1 lattice of Korobov's form covers the unit cube evenly, and one random shift (Cranley &
Patterson, SIAM J Numer Anal 13:904, 1976) makes every node uniform, so that an average over them is
an unbiased estimate; with the smooth integrands here its variance is 10 to 100 times below that of
as many independent nodes. Each coordinate becomes a Student t with 4 degrees of freedom, whose
quantile has a closed form (Shaw, J Comput Finance 9:37, 2006): a conditional posterior may be far
from the normal one that its mode suggests, and have a second mode in the tails.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["draw_nodes", "lattice", "log_density"]

type Floats = NDArray[np.float64]

_SCALE = 0.9  # of the t: about the least variance of its weights against a standard normal
_LOG_DENSITY = float(np.log(0.375 / _SCALE))  # at the centre
_TRIED = 512  # generators of a lattice, at most
_EDGE = 1e-15  # a shift may put a node on the cube's face


@lru_cache(maxsize=256)
def lattice(n: int, k: int) -> Floats:
    """The n points (n, k) of the Korobov lattice with the least worst-case error.

    The error is that over the weighted Sobolev space of Sloan & Woźniakowski (J Complexity 14:1,
    1998) with all weights one half, for a randomly shifted lattice.
    """
    best, found = np.inf, np.zeros((n, k))
    for generator in range(1, n, 1 + n // _TRIED):
        if np.gcd(generator, n) != 1:
            continue
        powers = [pow(generator, j, n) for j in range(k)]
        points = np.arange(n)[:, None] * np.array(powers, dtype=np.int64)[None, :] % n / n
        bernoulli = points**2 - points + 1 / 6
        error = np.prod(1 + np.pi**2 * bernoulli, axis=1).mean()
        if error < best - 1e-12:
            best, found = error, points
    found.setflags(write=False)
    return found


def draw_nodes(
    size: int, each: int, k: int, rng: np.random.Generator, *, common: bool = False
) -> Floats:
    """Nodes (size, each, k): a lattice with a shift of its own for each of ``size``.

    ``common``: one shift for all.
    """
    shift = rng.random((1 if common else size, 1, k))
    u = np.clip((lattice(each, k) + shift) % 1.0, _EDGE, 1 - _EDGE)
    root = np.sqrt(4 * u * (1 - u))
    far = 2 * np.sqrt(np.maximum(np.cos(np.arccos(root) / 3) / root - 1, 0.0))
    return np.broadcast_to(_SCALE * np.copysign(far, u - 0.5), (size, each, k))


def log_density(nodes: Floats) -> Floats:
    """Log density (...) of nodes (..., k)."""
    tails = 2.5 * np.log1p((0.5 / _SCALE * nodes) ** 2).sum(axis=-1)
    return np.asarray(nodes.shape[-1] * _LOG_DENSITY - tails)

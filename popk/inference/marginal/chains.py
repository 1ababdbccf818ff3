"""Chains of independent proposals, kept, repeated or refused by their importance weights."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from popk.diagnostics.pareto import smoothed_weights

__all__ = [
    "chains_of",
    "independence_chains",
    "pareto_k",
    "smoothed",
    "systematic",
    "systematic_chains",
]

type Floats = NDArray[np.float64]
type Ints = NDArray[np.int64]

_RELIABLE = 0.7  # Pareto k-hat below which weights alone will do


def chains_of(
    log_weight: Floats, *, warm: int, rng: np.random.Generator
) -> tuple[Ints, NDArray[np.bool_], float]:
    """Draws of the posterior from each chain's proposals.

    Resampled by Pareto-smoothed weights where these are reliable: that loses least, and copies
    stand next to each other, so that the effective sample size counts them as one. Otherwise a
    Metropolis chain, which in the end is right whatever the weights.

    Parameters
    ----------
    log_weight
        Log of posterior over proposal density of each chain's proposals (n_chains, warm + n).
    warm
        So many more proposals than draws.
    rng
        Random numbers.

    Returns
    -------
    The state of each chain (n_chains, n) as the number of a proposal in its row; whether it is
    another than before; and Pareto's k-hat of the weights.
    """
    smooth, khat = smoothed(log_weight.ravel())
    if khat >= _RELIABLE:
        return *independence_chains(log_weight, warm=warm, rng=rng), khat
    n_chains, size = log_weight.shape
    flat = systematic_chains(smooth, n_chains, size - warm, rng).reshape(n_chains, -1)
    states = flat - size * np.arange(n_chains)[:, None]
    fresh = np.diff(states, axis=1, prepend=-1) != 0
    return states, fresh, khat


def independence_chains(
    log_weight: Floats, *, warm: int, rng: np.random.Generator
) -> tuple[Ints, NDArray[np.bool_]]:
    """Independence Metropolis-Hastings chains (Tierney, Annals of Statistics 22:1701, 1994).

    Parameters
    ----------
    log_weight
        Log of posterior over proposal density of each chain's proposals (n_chains, warm + n).
    warm
        So many of each chain's first proposals only say where it starts: at one of them, picked by
        weight.
    rng
        Random numbers.

    Returns
    -------
    The state of each chain (n_chains, n) as the number of a proposal in its row, and whether it has
    just been accepted.
    """
    n_chains, size = log_weight.shape
    states = np.empty((n_chains, size - warm), dtype=np.int64)
    accepted = np.zeros(states.shape, dtype=bool)
    threshold = np.log(rng.random(states.shape))
    for chain, own in enumerate(log_weight):
        share = np.exp(own[:warm] - logsumexp(own[:warm]))
        state = int(rng.choice(warm, p=share / share.sum()))
        for k, proposal in enumerate(range(warm, size)):
            if own[proposal] - own[state] >= threshold[chain, k]:
                state = proposal
                accepted[chain, k] = True
            states[chain, k] = state
    return states, accepted


def pareto_k(log_weight: Floats) -> float:
    """Pareto k-hat of importance weights (n); infinite where too few are above zero.

    Of weights that are all the same, as where there is nothing to integrate, it is -infinity.
    """
    finite = log_weight[np.isfinite(log_weight)]
    if len(finite) and len(finite) == len(log_weight) and np.ptp(finite) < 1e-9:
        return float("-inf")
    if len(finite) < 100:
        return float("inf")
    return smoothed_weights(finite)[1]


def systematic(weight: Floats, size: int, rng: np.random.Generator) -> Ints:
    """Indices (size), in order, drawn by weights that sum to one, evenly spread.

    Source: Kitagawa, J Comput Graph Stat 5:1 (1996).
    """
    turns = (np.arange(size) + rng.random()) / size
    found = np.searchsorted(np.cumsum(weight) / weight.sum(), turns)
    return np.asarray(np.minimum(found, len(weight) - 1), dtype=np.int64)


def systematic_chains(
    log_weight: Floats, chains: int, draws: int, rng: np.random.Generator
) -> Ints:
    """Indices (chains * draws), chain after chain, drawn by weight from each chain's own part."""
    parts = log_weight.reshape(chains, -1)
    size = parts.shape[1]
    kept = [
        size * c + systematic(np.exp(own - logsumexp(own)), draws, rng)
        for c, own in enumerate(parts)
    ]
    return np.concatenate(kept)


def smoothed(log_weight: Floats) -> tuple[Floats, float]:
    """Pareto-smoothed log weights and their k-hat; as they are where there are too few."""
    khat = pareto_k(log_weight)
    if not np.isfinite(khat):
        return np.where(np.isfinite(log_weight), log_weight, -np.inf), khat
    smooth = np.full(len(log_weight), -np.inf)
    finite = np.isfinite(log_weight)
    smooth[finite] = smoothed_weights(log_weight[finite])[0]
    return smooth, khat

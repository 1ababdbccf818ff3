"""Chains of independent proposals, accepted by their importance weights."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

__all__ = ["independence_chains", "pareto_k"]

type Floats = NDArray[np.float64]
type Ints = NDArray[np.int64]


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
    from arviz_stats.base import array_stats

    finite = log_weight[np.isfinite(log_weight)]
    if len(finite) and len(finite) == len(log_weight) and np.ptp(finite) < 1e-9:
        return float("-inf")
    if len(finite) < 100:
        return float("inf")
    _, khat = array_stats.psislw(-finite, r_eff=1.0)
    return float(khat)

"""Draws of an approximation of the marginal posterior, weighed against it and resampled.

Pareto-smoothed importance sampling: Vehtari, Simpson, Gelman, Yao & Gabry, JMLR 25:72 (2024).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.special import logsumexp

from popk.inference.marginal.adapt import refine
from popk.inference.marginal.assemble import assembled
from popk.inference.marginal.chains import smoothed, systematic, systematic_chains
from popk.inference.marginal.cohort import Cohort
from popk.inference.marginal.normals import Approximation
from popk.inference.marginal.trust import khat_of_subjects
from popk.inference.progress import Progress

__all__ = [
    "Resampling",
    "khat_of_subjects",
    "prepare",
    "resampled",
    "smoothed",
    "systematic",
    "systematic_chains",
    "weigh",
]

type Floats = NDArray[np.float64]
type Ints = NDArray[np.int64]

_BATCH = 500
_STAGE = 100_000
_LEARNT = 300  # points from which it is learnt where conditional posteriors are
_PAIRS = 48  # points at which the integrals are checked
_TRAINED, _TESTED = 500, 100  # points that polynomials are fitted to, and tested at


@dataclass(frozen=True)
class Resampling:
    """How many draws are wanted, and of how many proposals in each chain they are chosen.

    Without ``weighted`` the draws are the proposals as they come.
    """

    draws: int
    chains: int
    proposals: int
    weighted: bool


def prepare(cohort: Cohort, approximation: Approximation, rng: np.random.Generator) -> float:
    """Learn where the approximation leads, and give each patient the nodes that it needs.

    Returns
    -------
    The variance left in the estimate of the log posterior.
    """
    x = approximation.draw(_LEARNT, rng)
    found = cohort.integrate(x, _STAGE - 1, detail=True)
    possible = np.isfinite(found.log_likelihood).all(axis=1)
    if possible.any():
        cohort.learn(x, found, possible / possible.sum())
    if cohort.is_costly:
        wide = approximation.draw(_TRAINED, rng)
        cohort.train(wide, _STAGE - 2, approximation.draw(_TESTED, rng))
    return refine(cohort, x[possible][:_PAIRS]) if possible.any() else float("inf")


def weigh(cohort: Cohort, x: Floats, progress: Progress) -> tuple[Floats, list[Floats]]:
    """Log posterior (S) at points (S, d), and each subject's standardised effects there (S, k)."""
    densities, effects = [], []
    for k, start in enumerate(range(0, len(x), _BATCH)):
        progress("sampling", start, len(x))
        part = x[start : start + _BATCH]
        rough = cohort.integrate(part, _STAGE + 2 * k)
        exact = cohort.correct(part, rough, _STAGE + 2 * k + 1)
        densities.append(cohort.log_posterior(part, exact))
        effects.append([own[:, 0] for own in exact.picks])
    progress("sampling", len(x), len(x))
    joined = [np.concatenate(own) for own in zip(*effects, strict=True)]
    return np.concatenate(densities), joined


def resampled(
    cohort: Cohort,
    approximation: Approximation,
    how: Resampling,
    rng: np.random.Generator,
    progress: Progress,
) -> tuple[xr.Dataset, xr.Dataset]:
    """Posterior (chain, draw, …) and statistics of draws from an approximation.

    Chains share nothing but the approximation and the smoothing of the largest weights. Copies of a
    proposal stand next to each other, so that the effective sample size counts them as one.
    """
    noise = prepare(cohort, approximation, rng)
    each = how.proposals if how.weighted else how.draws
    x = approximation.draw(how.chains * each, rng)
    log_posterior, z = weigh(cohort, x, progress)
    log_weight = log_posterior - approximation.log_density(x)
    smooth, khat = smoothed(log_weight)
    flat = np.arange(len(x))
    if how.weighted:
        flat = systematic_chains(smooth, how.chains, how.draws, rng)
    posterior = assembled(cohort, x[flat], z, chains=how.chains, rows=flat)
    share = np.exp(smooth - logsumexp(smooth))
    corrections = {} if how.weighted else _corrections(x, share)
    stats = xr.Dataset(
        {
            "lp": (("chain", "draw"), log_posterior[flat].reshape(how.chains, how.draws)),
            "khat": ((), khat),
            "khat_subject": ("subject", khat_of_subjects(cohort, x[flat])),
            "effective_share": ((), float(1 / (share**2).sum() / len(share))),
            "nodes": ("subject", cohort.nodes),
            "noise": ((), noise),
            "proposals": ((), len(x)),
            "approximated": ((), cohort.n_fast),
            **corrections,
        },
        coords={
            "chain": np.arange(how.chains),
            "draw": np.arange(how.draws),
            "subject": [patient.subject for patient in cohort.patients],
        },
    )
    return posterior, stats


def _corrections(x: Floats, share: Floats) -> dict[str, tuple[tuple[()], float]]:
    """What weights (S) would change in points (S, d), of the coordinate where it is most.

    ``shift`` of the mean, in SDs; ``spread``, the larger SD over the smaller.
    """
    mean = share @ x
    sd = np.sqrt(share @ (x - mean) ** 2)
    ratio = x.std(axis=0) / sd
    return {
        "shift": ((), float(np.max(np.abs(x.mean(axis=0) - mean) / sd))),
        "spread": ((), float(np.max(np.maximum(ratio, 1 / ratio)))),
    }

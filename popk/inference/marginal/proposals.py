"""Proposals in batches, each with random numbers of its own, written down as they are made."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from popk.inference.marginal.adapt import Adapted
from popk.inference.marginal.cohort import Cohort
from popk.inference.marginal.integrals import Marginals
from popk.inference.progress import Progress
from popk.inference.runs.store import Store

__all__ = ["LEAST", "STAGE", "Kept", "Unsuited", "batch_size", "propose_until"]

type Floats = NDArray[np.float64]
type Ints = NDArray[np.int64]

STAGE = 10_000
"""The first of the numbers that choose the batches' random numbers."""
LEAST = 0.01
"""Share of the proposals that is worth keeping, below which they do not do."""
_SERIES = "proposals"
_TRUST = 0.6  # in rough weights: their power that the probability follows
_EFFECTIVE = 0.75  # of the proposals wanted
_AT_MOST = 3  # times as many as wanted
_NUMBERS = 50_000_000  # effects of all of them: 400 MB
_BEFORE = 10_000  # proposals before it is judged whether they do
_SMALLEST, _LARGEST = 250, 2_000  # batches
_INTEGRALS = 160_000  # of a batch, patients times proposals: some seconds


class Unsuited(Exception):  # noqa: N818 - it leads to another method
    """Why independent proposals do not do, in a sentence."""


@dataclass(frozen=True)
class Kept:
    """The S proposals kept of some batches.

    Points ``x`` (S, d); effects ``z`` (S, Σ k) of all subjects side by side; ``log_posterior`` and
    ``log_weight`` (S); ``counts`` (n_batches), how many of each batch.
    """

    x: Floats
    z: Floats
    log_posterior: Floats
    log_weight: Floats
    counts: Ints

    @classmethod
    def joined(cls, parts: list[Kept]) -> Kept:
        """Those of all batches, in order."""
        return cls(
            np.concatenate([part.x for part in parts]),
            np.concatenate([part.z for part in parts]),
            np.concatenate([part.log_posterior for part in parts]),
            np.concatenate([part.log_weight for part in parts]),
            np.concatenate([part.counts for part in parts]),
        )


def batch_size(cohort: Cohort) -> int:
    """Proposals between reports: as many as go well side by side, unless patients are many."""
    return int(np.clip(_INTEGRALS // len(cohort.patients), _SMALLEST, _LARGEST))


def propose_until(
    wanted: int,
    cohort: Cohort,
    adapted: Adapted,
    *,
    seed: int,
    progress: Progress,
    store: Store,
) -> Kept:
    """At least so many proposals, from where the store's end; every batch is kept as a whole.

    Where their weights are uneven, up to three times as many, until most of the number wanted is
    effective.

    Raises
    ------
    Unsuited
        When fewer than one in a hundred is worth keeping.
    """
    size = batch_size(cohort)
    parts = [Kept(**chunk) for chunk in store.chunks(_SERIES)]
    pending: list[Kept] = []
    done = sum(len(part.x) for part in parts)
    made = size * sum(len(part.counts) for part in parts)
    if made:
        store.resumed_at({"proposals": made, "kept": done})
    most = min(_AT_MOST * wanted, _NUMBERS // max(sum(cohort.n_effects), 1))
    since = time.perf_counter()

    def effective() -> float:
        return _effective([*parts, *pending]) or 0.0

    def write() -> None:
        if pending:
            chunk = Kept.joined(pending)
            pending.clear()
            parts.append(chunk)
            store.append(_SERIES, vars(chunk))

    try:
        while done < wanted or (done < most and effective() < _EFFECTIVE * wanted):
            progress(
                "sampling", min(done, wanted), wanted, made=made, ess=_effective([*parts, *pending])
            )
            if made > _BEFORE and done < LEAST * made:
                raise Unsuited(f"Only {done} of {made} independent proposals count.")
            pending.append(_batch(made // size, cohort, adapted, seed))
            made += size
            done += len(pending[-1].x)
            if time.perf_counter() - since >= store.seconds:
                write()
                since = time.perf_counter()
    finally:
        write()
    progress("sampling", wanted, wanted, made=made, ess=_effective(parts))
    return Kept.joined(parts)


def _batch(number: int, cohort: Cohort, adapted: Adapted, seed: int) -> Kept:
    """The proposals of one batch that are kept.

    Rejection control (Liu, Chen & Wong, J Am Stat Assoc 93:1022, 1998): those with little weight
    are kept with a lower probability, and weigh as much more; what is kept is independent still,
    and exact solutions are only needed for it. The probability falls less than the weight does:
    rough integrals are too small where the shared nodes fit worst.
    """
    rng = np.random.default_rng([seed, number])
    size = batch_size(cohort)
    x = adapted.proposals.draw(size, rng)
    log_density = adapted.proposals.log_density(x)
    rough = cohort.integrate(x, STAGE + 3 * number, smooth=True)
    smooth = cohort.log_posterior(x, rough)
    trust = _TRUST
    if adapted.correction is not None:
        smooth, trust = smooth + adapted.correction.at(x), 1.0
    log_chance = trust * np.minimum(smooth - log_density - adapted.ceiling, 0.0)
    chosen = np.flatnonzero(np.log(rng.random(size)) < log_chance)
    x = x[chosen]
    if not len(chosen):
        none = np.empty(0)
        return Kept(x, np.empty((0, sum(cohort.n_effects))), none, none, np.array([0]))
    unbiased = cohort.integrate(x, STAGE + 3 * number + 1)
    exact = cohort.correct(x, unbiased, STAGE + 3 * number + 2)
    log_posterior = cohort.log_posterior(x, Marginals(exact.log_likelihood, ()))
    if adapted.correction is not None:
        log_posterior = adapted.correction.decided(cohort, x, smooth[chosen], log_posterior)
    z = np.concatenate([own[:, 0] for own in exact.picks], axis=1)
    log_weight = log_posterior - log_density[chosen] - log_chance[chosen]
    return Kept(x, z, log_posterior, log_weight, np.array([len(chosen)]))


def _effective(parts: list[Kept]) -> float | None:
    """Effective sample size of the weights so far."""
    if not parts:
        return None
    log_weight = np.concatenate([part.log_weight for part in parts])
    log_weight = log_weight[np.isfinite(log_weight)]
    if not len(log_weight):
        return None
    return float(np.exp(2 * logsumexp(log_weight) - logsumexp(2 * log_weight)))

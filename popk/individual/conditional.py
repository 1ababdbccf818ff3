"""One patient's conditional distribution under one draw of the population, however it is shaped.

Importance sampling around all modes, and as wide as the effects are. Where too few of the nodes
count (few precise observations leave a narrow, bent ridge), a mixture with local covariances that
follows tempered draws proposes the next.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from popk.individual.patient import Patient
from popk.individual.posterior import quality
from popk.individual.proposals import Frame, Proposals, Shape, propose
from popk.individual.starts import Peaks
from popk.individual.tempered import tempered_draws
from popk.population import PopulationDraws

__all__ = ["conditional_nodes"]

type Floats = NDArray[np.float64]

_ENOUGH = 2000.0  # effective nodes: an SD is then within about 2 %
_TAILS = 0.6  # Pareto k-hat: above it a few nodes of the tails decide
_ROUNDS = 2
_GROWTH = 4  # times the nodes where the first were too few
_CENTRES = 96
_DRAWN = 2048  # whose neighbours shape the mixture
_NEIGHBOURS = 48
_LEAST = 1e-3  # of the whole variance that a local one has at least


@dataclass(frozen=True)
class _Found:
    proposals: Proposals
    khat: float
    ess: float


def conditional_nodes(
    population: PopulationDraws,
    patient: Patient,
    peaks: Peaks,
    *,
    nodes: int,
    rng: np.random.Generator,
) -> Proposals:
    """Weighted nodes (S = 1) of a patient's conditional distribution.

    Parameters
    ----------
    population, patient
        One draw, its class known, and the patient.
    peaks
        The patient's modes.
    nodes
        Their number; four times as many where too few of them count.
    rng
        Random numbers.
    """
    shape = peaks.shape(population, patient)

    def attempt(shape: Shape, each: int) -> _Found:
        made = propose(population, patient, peaks.best, each=each, rng=rng, shape=shape)
        return _Found(made, *quality(made.log_weight.ravel()))

    best = attempt(shape, nodes)
    good = best.ess >= _ENOUGH and best.khat < _TAILS
    if good or best.proposals.z.shape[1] == 1 or not np.isfinite(best.proposals.log_weight).any():
        return best.proposals
    draws = tempered_draws(population, patient, peaks.best.expected, size=_DRAWN, rng=rng)
    for _ in range(_ROUNDS):
        centres, factors = _following(population, patient, peaks, draws, rng)
        if shape.centres is not None and shape.factors is not None:
            centres = np.concatenate([shape.centres, centres])
            factors = np.concatenate([shape.factors, factors])
        best = attempt(replace(shape, centres=centres, factors=factors), _GROWTH * nodes)
        if best.ess >= _ENOUGH and best.khat < _TAILS:
            break
        weight = np.exp(best.proposals.log_weight[0] - best.proposals.log_weight.max())
        draws = best.proposals.z[0, rng.choice(len(weight), _DRAWN, p=weight / weight.sum())]
    return best.proposals


def _following(
    population: PopulationDraws,
    patient: Patient,
    peaks: Peaks,
    draws: Floats,
    rng: np.random.Generator,
) -> tuple[Floats, Floats]:
    """A mixture along draws: means (C, k) and factors (C, k, k), as `Shape` has them."""
    frame = Frame.of(population, patient, peaks.best)
    points = frame.forward(draws[None])[0]
    k = points.shape[1]
    whole = np.cov(points.T).reshape(k, k) + 1e-12 * np.eye(k)
    root = np.linalg.cholesky(whole)
    even = np.linalg.solve(root, points.T).T
    centres, factors = [], []
    for place in rng.permutation(_DRAWN)[:_CENTRES]:
        distance = ((even - even[place]) ** 2).sum(axis=1)
        near = even[np.argpartition(distance, _NEIGHBOURS)[:_NEIGHBOURS]]
        local = np.cov(near.T).reshape(k, k) + _LEAST * np.eye(k)
        centres.append(root @ near.mean(axis=0))
        factors.append(root @ np.linalg.cholesky(local))
    return np.array(centres), np.array(factors)

"""Nodes for a patient whose conditional posterior is far from normal: a mixture that learns it.

A lag, or doses and samples that allow two explanations, give the random effects a posterior with
edges or several modes, which nodes around one mode do not cover. A mixture of t distributions is
then fitted to it in a few rounds of adaptive importance sampling (Cappé et al., Statistics and
Computing 18:447, 2008), pooled over draws of the population parameters, and proposes some of the
nodes of every draw. The estimates stay unbiased.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from popk.individual import Modes, Patient, log_joint
from popk.individual.latent import expected_of
from popk.individual.nodes import draw_nodes, log_density
from popk.inference.marginal.mixture import Mixture
from popk.population import PopulationDraws

__all__ = ["Learnt", "learnt_mixture"]

type Floats = NDArray[np.float64]

_ROUNDS = 8
_EACH = 128  # nodes of each draw in a round
_MOST_COMPONENTS = 6
_BROAD = 0.2  # share of what is as wide as the random effects are, at first
_DEFENSIVE, _WIDER = 0.1, 3.0  # share of what is spread more widely in the end, and its covariance
_CLIPPED = 8  # largest weights of a round that count as the smallest of them does
_NARROW = 1e-6


@dataclass(frozen=True)
class Learnt:
    """A mixture that stands for a patient's conditional posterior under all draws."""

    mixture: Mixture

    def log_marginal(
        self,
        population: PopulationDraws,
        patient: Patient,
        modes: Modes,
        nodes: int,
        rng: np.random.Generator,
    ) -> Floats:
        """Log of an unbiased estimate of each draw's marginal likelihood (S).

        Half of the nodes stand around the draw's own mode, a quarter is as wide as the random
        effects are, a quarter is of the mixture; each is weighed by the density of all together
        (the balance heuristic: Veach & Guibas, SIGGRAPH 1995; Owen & Zhou, JASA 95:135, 2000).
        """
        size, k = modes.z.shape
        counts = (nodes // 2, nodes // 4, nodes - nodes // 2 - nodes // 4)
        factor = np.linalg.cholesky(modes.precision)
        own = np.swapaxes(draw_nodes(size, counts[0], k, rng), 1, 2)
        around = modes.z[:, None] + np.swapaxes(
            np.linalg.solve(np.swapaxes(factor, 1, 2), own), 1, 2
        )
        wide = draw_nodes(size, counts[1], k, rng)
        learnt = self.mixture.draw(size * counts[2], rng).reshape(size, counts[2], k)
        z = np.concatenate([around, wide, learnt], axis=1)
        width = np.log(np.diagonal(factor, axis1=1, axis2=2)).sum(axis=1)[:, None]
        parts = [
            log_density((z - modes.z[:, None]) @ factor) + width,
            log_density(z),
            self.mixture.log_density(z.reshape(-1, k)).reshape(z.shape[:2]),
        ]
        proposed = logsumexp(parts, axis=0, b=np.reshape(counts, (-1, 1, 1)) / nodes)
        density, _ = log_joint(population, patient, expected_of(population, patient, z[:, 0]), z)
        return np.asarray(logsumexp(density - proposed, axis=1) - np.log(nodes))


def learnt_mixture(
    population: PopulationDraws, patient: Patient, modes: Modes, rng: np.random.Generator
) -> Learnt:
    """The mixture, learnt at some draws and begun at their modes.

    Parameters
    ----------
    population
        A few draws of the population parameters, the class known or none.
    patient
        The patient, with one random effect or more.
    modes
        The patient's modes under them.
    rng
        Random numbers.
    """
    k = modes.z.shape[1]
    scatter = np.linalg.inv(modes.precision).mean(axis=0)
    scatter += np.cov(modes.z, rowvar=False).reshape(k, k) + _NARROW * np.eye(k)
    mixture = Mixture(
        np.array([1 - _BROAD, _BROAD]),
        np.stack([modes.z.mean(axis=0), np.zeros(k)]),
        np.stack([np.linalg.cholesky(scatter), np.eye(k)]),
    )
    for _ in range(_ROUNDS):
        used = mixture.widened(_DEFENSIVE, _WIDER)
        z, log_weight = _weighed(used, population, patient, _EACH, rng)
        points, weight = z.reshape(-1, k), _clipped(log_weight)
        mixture = mixture.fitted(points, weight)
        if len(mixture.weight) < _MOST_COMPONENTS:
            mixture = mixture.split(points, weight, rng).fitted(points, weight)
    return Learnt(mixture.widened(_DEFENSIVE, _WIDER))


def _weighed(
    mixture: Mixture,
    population: PopulationDraws,
    patient: Patient,
    each: int,
    rng: np.random.Generator,
) -> tuple[Floats, Floats]:
    """Nodes (S, J, k) from the mixture, and the log of joint density over the mixture's (S, J)."""
    size = population.size
    flat = mixture.draw(size * each, rng)
    z = flat.reshape(size, each, -1)
    expected = expected_of(population, patient, z[:, 0])
    density, _ = log_joint(population, patient, expected, z)
    return z, density - mixture.log_density(flat).reshape(size, each)


def _clipped(log_weight: Floats) -> Floats:
    """Weights of all nodes that sum to one, every draw alike, the largest of them clipped."""
    highest = log_weight.max(axis=1, keepdims=True)
    possible = np.isfinite(highest[:, 0])
    share = np.zeros_like(log_weight)
    share[possible] = np.exp(log_weight[possible] - highest[possible])
    share[possible] /= share[possible].sum(axis=1, keepdims=True)
    flat = share.ravel()
    most = np.sort(flat)[-_CLIPPED]
    clipped = np.minimum(flat, most) if most > 0 else flat
    return np.asarray(clipped / clipped.sum())

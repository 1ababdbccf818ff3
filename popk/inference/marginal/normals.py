"""Approximations of a posterior that can be drawn from: mixtures of normal distributions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from popk.inference.marginal.mixture import Mixture
from popk.inference.marginal.peak import Peak

__all__ = ["Approximation", "Normals", "around_peaks"]

type Floats = NDArray[np.float64]

_WIDER = 1.4  # covariance of what is to be weighed: an SD's posterior has a long tail
_LOG_TWO_PI = float(np.log(2 * np.pi))


@dataclass(frozen=True)
class Normals:
    """``share`` (K) sums to one; ``mean`` (K, d); ``factor`` (K, d, d), F with covariance F F^T."""

    share: Floats
    mean: Floats
    factor: Floats

    def draw(self, size: int, rng: np.random.Generator) -> Floats:
        """Points (size, d)."""
        k, d = self.mean.shape
        which = rng.choice(k, size=size, p=self.share)
        moved = np.einsum("sij,sj->si", self.factor[which], rng.standard_normal((size, d)))
        return np.asarray(self.mean[which] + moved)

    @property
    def heavy_tailed(self) -> Mixture:
        """The same, wider and with the tails of t distributions: better to be weighed."""
        return Mixture(self.share, self.mean, np.sqrt(_WIDER) * self.factor)

    def log_density(self, x: Floats) -> Floats:
        """Log density (S) at points (S, d)."""
        parts = []
        for share, mean, factor in zip(self.share, self.mean, self.factor, strict=True):
            scores = np.linalg.solve(factor, (x - mean).T)
            size = np.linalg.slogdet(factor)[1] + 0.5 * x.shape[1] * _LOG_TWO_PI
            parts.append(np.log(share) - size - 0.5 * (scores**2).sum(axis=0))
        return np.asarray(logsumexp(parts, axis=0))


type Approximation = Normals | Mixture


def around_peaks(peaks: Sequence[Peak]) -> Normals:
    """The Laplace approximation: a normal distribution at each peak, weighed by its mass."""
    mass = np.array([peak.log_mass for peak in peaks])
    share = np.exp(mass - logsumexp(mass))
    covariance = np.stack([np.linalg.inv(peak.precision) for peak in peaks])
    return Normals(share, np.stack([peak.x for peak in peaks]), np.linalg.cholesky(covariance))

"""Mixtures of multivariate t distributions: proposals that learn the shape of a posterior."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from popk.inference.marginal.components import expectation, log_parts

__all__ = ["Mixture"]

type Floats = NDArray[np.float64]

_FREEDOM = 6.0
_STEPS = 30  # of expectation maximisation
_SHRINK = 0.02  # of a component's covariance towards the whole's, to keep its inverse


@dataclass(frozen=True)
class Mixture:
    """Components of a mixture of t distributions with 6 degrees of freedom.

    ``weight`` (K); ``mean`` (K, d); ``factor`` (K, d, d), Cholesky factors of the scale matrices.
    """

    weight: Floats
    mean: Floats
    factor: Floats

    @classmethod
    def normal(cls, mean: Floats, covariance: Floats, weight: Floats) -> Mixture:
        """A component for each mean (K, d) and covariance (K, d, d)."""
        return cls(weight / weight.sum(), mean, np.linalg.cholesky(covariance))

    def draw(self, size: int, rng: np.random.Generator) -> Floats:
        """Points (size, d)."""
        k, d = self.mean.shape
        which = rng.choice(k, size=size, p=self.weight)
        normal = rng.standard_normal((size, d))
        scale = np.sqrt(_FREEDOM / rng.chisquare(_FREEDOM, size))
        moved = np.einsum("sij,sj->si", self.factor[which], normal)
        return np.asarray(self.mean[which] + moved * scale[:, None])

    def log_density(self, x: Floats) -> Floats:
        """Log density (S) at points (S, d)."""
        parts = np.empty((len(x), len(self.weight)))
        log_parts(np.ascontiguousarray(x), self.mean, *self._inverses(), _FREEDOM, parts)
        highest = parts.max(axis=1)
        return np.asarray(highest + np.log(np.exp(parts - highest[:, None]).sum(axis=1)))

    def _inverses(self) -> tuple[Floats, Floats]:
        """Inverses of the factors (K, d, d), and log of weight times density at the means (K)."""
        d = self.mean.shape[1]
        constant = gammaln((_FREEDOM + d) / 2) - gammaln(_FREEDOM / 2)
        constant -= 0.5 * d * np.log(_FREEDOM * np.pi)
        log_determinant = np.log(np.diagonal(self.factor, axis1=1, axis2=2)).sum(axis=1)
        with np.errstate(divide="ignore"):
            return np.linalg.inv(self.factor), np.log(self.weight) + constant - log_determinant

    def fitted(self, x: Floats, weight: Floats) -> Mixture:
        """The mixture that describes weighted points best, by expectation maximisation from here.

        Cappé et al., Statistics and Computing 18:447 (2008): the divergence of the proposals from
        the posterior falls with every step.

        Parameters
        ----------
        x
            Points (S, d).
        weight
            Importance weights (S), which sum to one.
        """
        d = x.shape[1]
        centre = weight @ x
        whole = (weight[:, None] * (x - centre)).T @ (x - centre)
        whole += 1e-9 * np.trace(whole) / d * np.eye(d)
        found, x = self, np.ascontiguousarray(x)
        for _ in range(_STEPS):
            size = len(found.weight)
            total, scaled = np.zeros(size), np.zeros(size)
            first, second = np.zeros((size, d)), np.zeros((size, d, d))
            expectation(
                x, weight, found.mean, *found._inverses(), _FREEDOM, total, scaled, first, second
            )
            kept = total > 1e-3
            move = first[kept] / scaled[kept, None]
            lower = np.tril(second[kept], -1)
            scatter = second[kept] + np.swapaxes(lower, 1, 2)
            scatter -= scaled[kept, None, None] * move[:, :, None] * move[:, None, :]
            scatter /= total[kept, None, None]
            factor = np.linalg.cholesky((1 - _SHRINK) * scatter + _SHRINK * whole)
            before = found.weight
            found = Mixture(total[kept] / total[kept].sum(), found.mean[kept] + move, factor)
            if len(before) == len(found.weight) and np.abs(before - found.weight).max() < 1e-3:
                break
        return found

    def widened(self, share: float, factor: float) -> Mixture:
        """With one component more: the whole's mean and covariance, the latter times ``factor``."""
        mean = self.weight @ self.mean
        apart = self.mean - mean
        scale = np.einsum("k,kij,klj->il", self.weight, self.factor, self.factor)
        scale += (self.weight[:, None] * apart).T @ apart
        wide = np.linalg.cholesky(factor * scale)
        return Mixture(
            np.append((1 - share) * self.weight, share),
            np.vstack([self.mean, mean]),
            np.concatenate([self.factor, wide[None]]),
        )

    def split(self, x: Floats, weight: Floats, rng: np.random.Generator) -> Mixture:
        """The mixture with one component more, at a weighted point."""
        at = x[rng.choice(len(x), p=weight)]
        most = int(np.argmax(self.weight))
        shares = np.append(self.weight, 0.3)
        return Mixture(
            shares / shares.sum(),
            np.vstack([self.mean, at]),
            np.concatenate([self.factor, self.factor[most : most + 1]]),
        )

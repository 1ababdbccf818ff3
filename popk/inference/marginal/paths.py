"""Quasi-Newton paths to the modes of the marginal posterior, and the best normal along each.

Pathfinder: Zhang, Carpenter, Gelman & Vehtari, JMLR 23:306 (2022). The coordinates have standard
normal priors, so the paths begin with the prior's covariance as the inverse Hessian, which is kept
in full (BFGS): the population parameters are few.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from popk.inference.marginal.cohort import Cohort
from popk.inference.marginal.normals import Normals

__all__ = ["best_normals"]

type Floats = NDArray[np.float64]

_STAGE = 200_000
_SHORTER = 0.7  # than prior draws, whose tails are nowhere near
_TRIED = 8  # prior draws for each path, of which the best are taken
_LONGEST = 2.0  # of a step in one coordinate, in SDs of its prior
_CLOSE = 1e-2  # squared distance from the mode in SDs, as the next step would be
_HALVINGS = 12
_ELBO_DRAWS = 16
_MARGIN = 10.0  # ELBO below that of the best path, from which a path is left out


@dataclass
class _Path:
    """Where a path stands: x (d), log density, slope, inverse Hessian, step length; its past."""

    x: Floats
    value: float
    slope: Floats
    inverse: Floats
    length: float = 1.0
    halvings: int = 0
    done: bool = False
    past: list[tuple[Floats, Floats]] = field(default_factory=list)

    def trial(self) -> Floats:
        """The next point to try."""
        step = self.inverse @ self.slope
        if self.slope @ step < _CLOSE:
            self.done = True
        step *= self.length * _LONGEST / max(float(np.abs(step).max()), _LONGEST)
        return np.asarray(self.x + step)

    def take(self, x: Floats, value: float, slope: Floats) -> None:
        """Go on to a point if it is better; otherwise try a shorter step next time."""
        if self.done:
            return
        if not (np.isfinite(value) and value > self.value):
            self.length, self.halvings = 0.3 * self.length, self.halvings + 1
            self.done = self.halvings > _HALVINGS
            return
        s, y = x - self.x, self.slope - slope
        if s @ y > 1e-8 * np.sqrt((s @ s) * (y @ y)):
            rho = 1 / (s @ y)
            left = np.eye(len(x)) - rho * np.outer(s, y)
            self.inverse = left @ self.inverse @ left.T + rho * np.outer(s, s)
        self.x, self.value, self.slope = x, value, slope
        self.length, self.halvings = min(1.0, 3 * self.length), 0
        self.past.append((self.x + self.inverse @ self.slope, self.inverse))


def best_normals(
    cohort: Cohort, *, paths: int, steps: int, rng: np.random.Generator
) -> tuple[Normals, Floats]:
    """The normal distribution of the highest ELBO along each path, all weighed alike.

    Parameters
    ----------
    cohort
        The patients.
    paths
        Number of paths, begun at the better ones of shortened prior draws.
    steps
        Of each path, at most.
    rng
        Random numbers.

    Returns
    -------
    The distributions of the paths that ended well (none where no point has a likelihood), and the
    ELBO of each path (paths), minus infinity where there is none.
    """
    d = len(cohort.coordinates.names)
    tried = _SHORTER * rng.standard_normal((_TRIED * paths, d))
    value = cohort.log_posterior(tried, cohort.integrate(tried, _STAGE))
    chosen = np.argsort(-value)[:paths]
    now = [
        _Path(x, one, slope, np.eye(d))
        for x, one, slope in zip(tried[chosen], *_here(cohort, tried[chosen]), strict=True)
    ]
    for path in now:
        path.done = not np.isfinite(path.value)
    for _ in range(steps):
        trial = np.stack([path.trial() for path in now])
        if all(path.done for path in now):
            break
        for path, x, one, slope in zip(now, trial, *_here(cohort, trial), strict=True):
            path.take(x, one, slope)
    found = [_best(cohort, path, k, rng) for k, path in enumerate(now)]
    elbo = np.array([one for one, _ in found])
    kept = np.flatnonzero(np.isfinite(elbo) & (elbo > elbo.max() - _MARGIN))
    normals = [own for k in kept if (own := found[k][1]) is not None]
    return Normals(
        np.full(len(kept), 1 / max(len(kept), 1)),
        np.array([n.mean[0] for n in normals]).reshape(-1, d),
        np.array([n.factor[0] for n in normals]).reshape(-1, d, d),
    ), elbo


def _here(cohort: Cohort, x: Floats) -> tuple[Floats, Floats]:
    """Log density (P) and slopes (P, d) at points (P, d), with the same random numbers."""
    likelihood, slopes = cohort.slopes(x, 1)
    value = cohort.log_prior(x) + likelihood.sum(axis=1)
    return value, slopes.sum(axis=1) + cohort.prior_slopes(x)


def _best(
    cohort: Cohort, path: _Path, number: int, rng: np.random.Generator
) -> tuple[float, Normals | None]:
    """The highest ELBO along a path, and its normal distribution."""
    if not path.past:
        return -np.inf, None
    normals = [
        Normals(np.ones(1), mean[None], np.linalg.cholesky(inverse)[None])
        for mean, inverse in path.past
    ]
    x = np.concatenate([normal.draw(_ELBO_DRAWS, rng) for normal in normals])
    value = cohort.log_posterior(x, cohort.integrate(x, _STAGE + 1 + number))
    own = value.reshape(len(normals), _ELBO_DRAWS)
    drawn = x.reshape(len(normals), _ELBO_DRAWS, -1)
    elbo = [
        float(np.mean(one - normal.log_density(points)))
        for one, normal, points in zip(own, normals, drawn, strict=True)
    ]
    at = int(np.argmax(elbo))
    return elbo[at], normals[at]

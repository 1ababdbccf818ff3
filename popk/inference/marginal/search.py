"""Modes of the marginal posterior of the population parameters.

Newton steps whose curvature is the empirical Fisher information: the scatter of the patients' own
slopes, plus the prior's (Berndt, Hall, Hall & Hausman, Ann Econ Soc Meas 3:653, 1974).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from popk.inference.marginal.cohort import Cohort

__all__ = ["Mode", "find_modes_of_marginal"]

type Floats = NDArray[np.float64]

_STARTS = 2  # besides the prior medians
_TRIED = 12  # prior draws from which they are chosen
_SHORTER = 0.7  # than prior draws, whose tails are nowhere near
_STEPS = 40
_CLOSE = 0.3  # squared distance from the mode, in SDs, as the next step would be
_WORSE = 1.0  # loss of log density that refuses a step
_LONGEST = 2.0  # of a step in one coordinate, in SDs of its prior
_FAR = 4.0  # between modes that are two, in SDs
_UNLIKELY = 12.0  # below the best log density, what is not worth a component


@dataclass(frozen=True)
class Mode:
    """A mode (d) of the marginal posterior: log density, its slope (d) and precision (d, d)."""

    x: Floats
    log_density: float
    slope: Floats
    precision: Floats


def find_modes_of_marginal(cohort: Cohort, rng: np.random.Generator) -> list[Mode]:
    """The distinct modes found from several starts, the best first; empty if there is none."""
    d = len(cohort.coordinates.names)
    tried = np.vstack([np.zeros((1, d)), _SHORTER * rng.standard_normal((_TRIED, d))])
    value = cohort.log_posterior(tried, cohort.integrate(tried, 0))
    order = 1 + np.argsort(-value[1:])[:_STARTS]
    chosen = np.concatenate([[0], order])
    chosen = chosen[np.isfinite(value[chosen])]
    return _distinct(_climb(cohort, tried[chosen])) if len(chosen) else []


def _climb(cohort: Cohort, x: Floats) -> list[Mode]:
    """The modes above points (M, d)."""
    best = _here(cohort, x)
    length = np.ones(len(best))
    for _ in range(_STEPS):
        trial, done = [], True
        for mode, most in zip(best, length, strict=True):
            step = np.linalg.solve(mode.precision, mode.slope)
            done &= bool(mode.slope @ step < _CLOSE)
            step *= most * _LONGEST / max(float(np.abs(step).max()), _LONGEST)
            trial.append(mode.x + step)
        if done:
            break
        for k, new in enumerate(_here(cohort, np.stack(trial))):
            if new.log_density > best[k].log_density - _WORSE:
                best[k], length[k] = new, min(2 * length[k], 1.0)
            else:
                length[k] /= 4
    return best


def _here(cohort: Cohort, x: Floats) -> list[Mode]:
    # The same random numbers everywhere make the estimate a smooth function.
    likelihood, slopes = cohort.slopes(x, 1)
    value = cohort.log_prior(x) + likelihood.sum(axis=1)
    found = []
    prior = cohort.prior_slopes(x)
    for at, density, own, pull in zip(x, value, slopes, prior, strict=True):
        apart = own - own.mean(axis=0)
        with np.errstate(over="ignore"):
            precision = np.nan_to_num(apart.T @ apart) + np.eye(len(at))
        finite = float(density) if np.isfinite(density) else -np.inf
        found.append(Mode(at, finite, own.sum(axis=0) + pull, precision))
    return found


def _distinct(modes: list[Mode]) -> list[Mode]:
    """Modes apart from each other, the best first, without those that weigh nothing."""
    ordered = sorted(modes, key=lambda mode: -mode.log_density)
    kept: list[Mode] = []
    for mode in ordered:
        if mode.log_density < ordered[0].log_density - _UNLIKELY:
            continue
        apart = [mode.x - other.x for other in kept]
        if all(a @ other.precision @ a > _FAR**2 for a, other in zip(apart, kept, strict=True)):
            kept.append(mode)
    return kept

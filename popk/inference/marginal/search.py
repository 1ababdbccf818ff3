"""Modes of the marginal posterior of the population parameters.

Newton steps whose curvature is the empirical Fisher information: the scatter of the patients' own
slopes, plus the prior's (Berndt, Hall, Hall & Hausman, Ann Econ Soc Meas 3:653, 1974), which with
few patients says little; so what the slopes at the last points say of it is worked in (BFGS:
Nocedal & Wright, Numerical Optimization, 2006, section 6.1). At a mode it is
then that of differences of slopes.

Of many patients some lead near the mode, for all of them to go on from there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from popk.inference.marginal.cohort import Cohort
from popk.inference.marginal.exchange import exchanged

__all__ = ["Mode", "find_modes_of_marginal", "modes_above"]

type Floats = NDArray[np.float64]

_STARTS = 2  # besides the prior medians
_TRIED = 12  # prior draws from which they are chosen
_SHORTER = 0.7  # than prior draws, whose tails are nowhere near
_STEPS = 40
_PATIENT = 12  # steps after which starts far behind are given up
_CLOSE = 0.3  # squared distance from the mode, in SDs, as the next step would be
_WORSE = 1.0  # loss of log density that refuses a step
_LONGEST = 2.0  # of a step in one coordinate, in SDs of its prior
_NEARBY = 30.0  # loss of log density at a point that still says something of the curvature
_MEMORY = 10  # steps that a curvature remembers
_MANY = 5  # patients per parameter whose scatter is the curvature
_CONVEX = 0.05  # least curvature along a step, of that before, to be worked in
_FLATTEST = 0.5  # curvature; that of the prior is 1
_SOME = 100  # patients of many who lead the way
_OF_MANY = 200
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
    many = len(cohort.patients) > _OF_MANY
    some = cohort.some(_SOME, rng) if many else cohort
    d = len(cohort.coordinates.names)
    tried = np.vstack([np.zeros((1, d)), _SHORTER * rng.standard_normal((_TRIED, d))])
    value = some.log_posterior(tried, some.integrate(tried, 0))
    order = 1 + np.argsort(-value[1:])[:_STARTS]
    chosen = np.concatenate([[0], order])
    chosen = chosen[np.isfinite(value[chosen])]
    if not len(chosen):
        return []
    found = _climb(some, tried[chosen])
    other = exchanged(cohort.coordinates, max(found, key=lambda mode: mode.log_density).x)
    found = found if other is None else [*found, *_climb(some, other[None])]
    if many:
        found = _climb(cohort, np.stack([mode.x for mode in _distinct(found)]))
    return _described(cohort, found)


def modes_above(cohort: Cohort, x: Floats) -> list[Mode]:
    """The distinct modes that lie above points (M, d), the best first."""
    return _described(cohort, _climb(cohort, x))


def _described(cohort: Cohort, modes: list[Mode]) -> list[Mode]:
    """Those that are distinct, with the curvature of slopes where patients are few."""
    found = _distinct(modes)
    few = len(cohort.patients) < _MANY * len(found[0].x)
    return [_curved(cohort, mode) if few else mode for mode in found]


def _climb(cohort: Cohort, x: Floats) -> list[Mode]:
    """The modes above points (M, d)."""
    best = _here(cohort, x)
    length = np.ones(len(best))
    seen: list[list[tuple[Floats, Floats]]] = [[] for _ in best]
    for turn in range(_STEPS):
        trial: dict[int, Floats] = {}
        for k, mode in enumerate(best):
            step = np.linalg.solve(_updated(mode.precision, seen[k]), mode.slope)
            if mode.slope @ step >= _CLOSE:
                step *= length[k] * _LONGEST / max(float(np.abs(step).max()), _LONGEST)
                trial[k] = mode.x + step
        first = int(np.argmax([mode.log_density for mode in best]))
        behind = [best[k].log_density < best[first].log_density - _UNLIKELY for k in trial]
        if first not in trial and (turn >= _PATIENT or not trial) and all(behind):
            break
        for k, new in zip(trial, _here(cohort, np.stack(list(trial.values()))), strict=True):
            if new.log_density > best[k].log_density - _NEARBY:
                seen[k] = [*seen[k], (new.x - best[k].x, best[k].slope - new.slope)][-_MEMORY:]
            if new.log_density > best[k].log_density - _WORSE:
                best[k], length[k] = new, min(2 * length[k], 1.0)
            else:
                length[k] /= 4
    return best


def _updated(precision: Floats, pairs: list[tuple[Floats, Floats]]) -> Floats:
    """A curvature that agrees with changes of the slope (d) over steps (d), the latest best."""
    found = precision
    for step, change in pairs:
        along = float(step @ change)
        if along > _CONVEX * float(step @ found @ step):
            bent = found @ step
            found = found + np.outer(change, change) / along
            found = found - np.outer(bent, bent) / float(step @ bent)
    return found


def _curved(cohort: Cohort, mode: Mode) -> Mode:
    """With the curvature that differences of slopes show over half an SD."""
    reach = 0.5 / np.sqrt(np.diagonal(mode.precision))
    moves = np.concatenate([np.diag(reach), -np.diag(reach)])
    ends = np.stack([found.slope for found in _here(cohort, mode.x + moves)])
    bent = (ends[len(reach) :] - ends[: len(reach)]) / (2 * reach[:, None])
    size, axes = np.linalg.eigh(0.5 * (bent + bent.T))
    precision = (axes * np.maximum(size, _FLATTEST)) @ axes.T
    return Mode(mode.x, mode.log_density, mode.slope, precision)


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
        slope = own.sum(axis=0) + pull
        finite = bool(np.isfinite(density) and np.all(np.isfinite(slope)))
        found.append(Mode(at, float(density) if finite else -np.inf, slope, precision))
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

"""How far each subject's integral is to be trusted: Pareto k-hat of its nodes' weights.

Vehtari, Simpson, Gelman, Yao & Gabry, JMLR 25:72 (2024).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from popk.inference.marginal.chains import pareto_k
from popk.inference.marginal.cohort import Cohort

__all__ = ["khat_of_subjects"]

type Floats = NDArray[np.float64]

_DOUBTFUL = 0.6  # k-hat above which a subject is looked at again
_POINTS = 200
_FEWEST = 10  # of them, where so many
_WEIGHTS = 50_000_000  # weights of nodes would be held
_LEARNING = 50  # points where it is learnt how to spread nodes
_NODES = 512  # of each point then, twice
_LEFT = 0.04  # variance of the log integral that the fit may be off by for one subject
_STAGE = 90_000


def khat_of_subjects(cohort: Cohort, x: Floats) -> list[float]:
    """k-hat of each subject's integral at points (S, d) of the posterior.

    Of many subjects the highest is high by chance, polynomials in place of the equations have tails
    of their own, and nodes around one mode miss another. So the integral of whoever looks doubtful
    is computed anew, by exact solutions at many nodes that a mixture spreads over all of the
    conditional posterior. If the fit's integral is off by little more than the correction knows
    (a quadratic), the k-hat of the new one counts; otherwise the higher of the two.
    """
    most = int(np.clip(_WEIGHTS // cohort.nodes.sum(), _FEWEST, _POINTS))
    found = cohort.integrate(_some(x, most), _STAGE, detail=True).log_weight
    khat = [pareto_k(own.ravel()) for own in found]
    for index in np.flatnonzero(np.array(khat) > _DOUBTFUL):
        at = _some(x, _POINTS)
        near = _some(x, _LEARNING)
        pair = [cohort.judged(int(index), near, at, _STAGE + 1 + k, _NODES) for k in (0, 1)]
        anew = float(np.mean([pareto_k(weights.ravel()) for weights, _ in pair]))
        left = _left(cohort, at, np.stack([off for _, off in pair]))
        khat[index] = anew if left < _LEFT else max(anew, khat[index])
    return khat


def _left(cohort: Cohort, x: Floats, off: Floats) -> float:
    """Variance of errors at points (S, d) beside a quadratic; infinite where undefined.

    They were measured twice (2, S), so that the measurements' own noise has no part in it.
    """
    if not np.isfinite(off).all():
        return float("inf")
    features = cohort.features(x)
    if len(x) <= 2 * features.shape[1]:
        features = features[:, :1]
    missed = off.T - features @ np.linalg.lstsq(features, off.T)[0]
    return float(missed.prod(axis=1).sum() / (len(x) - features.shape[1]))


def _some(x: Floats, most: int) -> Floats:
    """Points evenly spread over the draws."""
    return x[:: max(1, len(x) // most)]

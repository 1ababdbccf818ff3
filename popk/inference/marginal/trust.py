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
_TIMES = 4  # as many points then, for as many k-hats
_STAGE = 90_000


def khat_of_subjects(cohort: Cohort, x: Floats) -> list[float]:
    """k-hat of each subject's integral at points (S, d) of the posterior.

    Of many subjects the highest is high by chance, and polynomials in place of the equations have
    tails of their own: whoever looks doubtful is judged by exact solutions at other points too, and
    the median counts.
    """
    most = int(np.clip(_WEIGHTS // cohort.nodes.sum(), _FEWEST, _POINTS))
    found = cohort.integrate(_some(x, most), _STAGE, detail=True).log_weight
    khat = [pareto_k(own.ravel()) for own in found]
    more = _some(x, _TIMES * most)
    for index in np.flatnonzero(np.array(khat) > _DOUBTFUL):
        (own,) = cohort.exact_weights(more, _STAGE + 1, [int(index)], int(cohort.nodes[index]))
        parts = [own[start::_TIMES].ravel() for start in range(_TIMES)]
        khat[index] = float(np.median([pareto_k(part) for part in parts]))
    return khat


def _some(x: Floats, most: int) -> Floats:
    """Points evenly spread over the draws."""
    return x[:: max(1, len(x) // most)]

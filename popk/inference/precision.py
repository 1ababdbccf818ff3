"""To how many digits a fit holds what follows from its draws."""

from __future__ import annotations

from typing import Any

import numpy as np

from popk.design import Design
from popk.model import PopModel
from popk.structure.events import OBSERVE

__all__ = ["LARGE", "precision_of"]

LARGE = 100_000_000
"""Numbers that follow from the draws, above which a fit is large: 0.8 GB in double precision."""


def precision_of(model: PopModel, design: Design, draws: int) -> np.dtype[Any]:
    """The type of ``parameters`` and of the log likelihood of each observation in a fit.

    The draws themselves (population parameters, random effects) are always in double precision.
    What follows from them is far more, and is only summarised: in a large fit it is in single
    precision, right to seven digits, where Monte Carlo leaves two or three.

    Parameters
    ----------
    model, design
        What is fitted.
    draws
        Of all chains.
    """
    each = design.events.n_subjects * len(model.structure.names)
    each += int(np.sum(design.events.kind == OBSERVE))
    return np.dtype(np.float32 if draws * each > LARGE else np.float64)

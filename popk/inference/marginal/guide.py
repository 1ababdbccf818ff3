"""What is learnt of a patient: where its conditional posterior is, and what stands in for it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from popk.individual import Patient, Shape

__all__ = ["Guide", "shape_of"]

type Floats = NDArray[np.float64]

_NARROWEST = 0.25  # a shape's variance, of that of the normal one


@dataclass
class Guide:
    """What has been learnt of a patient.

    ``lines`` (1 + 2 d, k), its conditional mode as a function of the coordinates; the ``shape``
    around the mode; the patient with polynomials for equations, ``fast``, the relative variance
    (``scatter``) of the weight of a node picked by them, and the number of ``picks`` to be solved
    exactly for each point; which ``shift`` nodes have that all points share.
    """

    lines: Floats | None = None
    latest: Floats | None = None
    shape: Shape | None = None
    fast: Patient | None = None
    scatter: float = 0.0
    picks: int = 1
    shift: int = 0


def shape_of(first: Floats, second: Floats) -> Shape:
    """A shape with these moments, in no direction much narrower than the normal one."""
    values, vectors = np.linalg.eigh(second - np.outer(first, first))
    widened = (vectors * np.maximum(values, _NARROWEST)) @ vectors.T
    return Shape(first, np.linalg.cholesky(widened))

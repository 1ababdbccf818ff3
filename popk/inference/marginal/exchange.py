"""Where absorption and elimination are exchanged: a second mode that oral data cannot tell apart.

After an oral dose the concentration of one compartment is the same when its two rate constants are
exchanged and the volume is scaled: KA' = CL/V and V' = CL/KA (flip-flop; Gibaldi & Perrier,
Pharmacokinetics, 2nd edition 1982, chapter 1).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from popk.inference.marginal.coordinates import Coordinates
from popk.structure import OneCompartment
from popk.structure.elimination import Linear

__all__ = ["exchanged"]

type Floats = NDArray[np.float64]


def exchanged(coordinates: Coordinates, x: Floats) -> Floats | None:
    """The point (d) whose typical concentrations are those of x (d), the two rates exchanged.

    None where the structure has no such pair, the volume or KA is known, or the priors do not allow
    it.
    """
    structure = coordinates.model.structure
    if not isinstance(structure, OneCompartment) or "KA" not in structure.names:
        return None
    if not isinstance(structure.elimination, Linear) or not {"V", "KA"} <= set(coordinates.names):
        return None
    values = dict(coordinates.draws(x[None]).values)
    values |= {"V": values["CL"] / values["KA"], "KA": values["CL"] / values["V"]}
    found = coordinates.scores(values)[0]
    return found if np.isfinite(found).all() else None

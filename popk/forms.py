"""Random effects between subjects of which some are centred or non-centred, in a PyMC model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from popk.statistics import held_effects, pytensor_operations

__all__ = ["in_forms"]


def in_forms(
    u: Any,
    mixing: Sequence[Sequence[Any]],
    centre: Sequence[Any],
    positions: Sequence[Sequence[int]],
    *,
    forms: Mapping[str, str],
    ways: tuple[Callable[[Any], Any], Callable[[Any], Any]],
    adapt: Callable[[Any, Any, Any, Any], Any],
) -> Any:
    """Standardised effects (n_subjects, n_effects) of the model on the context stack.

    Corrects the density for the change of coordinates. The data ``centred_location`` and
    ``centred_scale`` (n_subjects, n_effects) say where centred coordinates lie. The adapted effects
    follow the data given the others.

    Parameters
    ----------
    u
        Coordinates (n_subjects, n_effects).
    mixing
        SDs times the Cholesky factor of the correlations, rows of n_effects; 0.0 where zero.
    centre
        The parameters of the rows on their scales, without these effects: (n_rows) or numbers.
    positions
        Positions of the parameters that each effect moves.
    forms
        The form of each effect, in order (`popk.statistics.check_forms`).
    ways
        From rows to each subject's first one, and from subjects to rows.
    adapt
        Standardised effects of those that are adapted, from their coordinates, their part of
        `mixing`, the centre with the other effects in it, and their positions.
    """
    import pymc as pm
    from pytensor import tensor

    pt: Any = tensor  # without the type hints that it has here and there
    first, spread = ways
    z: dict[int, Any] = {e: u[:, e] for e, form in enumerate(forms.values()) if form != "adapted"}
    centred = [e for e in z if list(forms.values())[e] == "centred"]
    if centred:
        shape = (len(pm.modelcontext(None).coords["subject"]), len(mixing))
        location = pm.Data("centred_location", np.zeros(shape))
        scale = pm.Data("centred_scale", np.zeros(shape))
        zero = spread(0.0 * location[:, 0])  # a centre may be a number
        z, log_determinant = held_effects(
            z,
            mixing,
            {e: first(centre[positions[e][0]] + zero) for e in centred},
            location=location,
            scale=scale,
            ops=pytensor_operations(),
        )
        change = sum((u[:, e] ** 2 - z[e] ** 2).sum() for e in z)
        pm.Potential("forms", 0.5 * change + pt.as_tensor_variable(log_determinant).sum())
    for e in z:
        moved = spread(sum(mixing[e][j] * z[j] for j in z))
        centre = [x + moved if k in positions[e] else x for k, x in enumerate(centre)]
    free = [e for e in range(len(positions)) if e not in z]
    if free:
        part = [[mixing[i][j] for j in free] for i in free]
        own = adapt(u[:, free], part, centre, [positions[e] for e in free])
        z |= {e: own[:, k] for k, e in enumerate(free)}
    return pt.stack([z[e] for e in range(len(positions))], axis=1)

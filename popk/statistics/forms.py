"""Random effects in coordinates that are chosen rather than adapted: centred, or non-centred.

The non-centred form samples the standardised effect z (eta = B z); the centred one the subject's
parameter on its scale, phi = centre + eta (Papaspiliopoulos, Roberts & Skold, Statistical Science
22:59, 2007). The first suits data that say little of a subject, the second data that say much.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from popk.errors import SettingError
from popk.statistics.operations import Operations
from popk.statistics.variability import IIV

__all__ = ["FORMS", "check_forms", "held_effects"]

FORMS = ("adapted", "centred", "non-centred")


def check_forms(iiv: IIV, forms: Mapping[str, str]) -> dict[str, str]:
    """The form of every random effect between subjects.

    Parameters
    ----------
    iiv
        The variability that the forms are for.
    forms
        ``"adapted"``, ``"centred"`` or ``"non-centred"`` by effect; adapted where none is said.

    Raises
    ------
    SettingError
        When there is no such form or no such effect, or correlated effects have different forms.
    """
    for name, form in forms.items():
        if form not in FORMS:
            raise SettingError(
                f"forms says {form!r} for {name}; expected one of {', '.join(FORMS)}."
            )
        if name not in iiv.effects:
            raise SettingError(
                f"forms names {name}, which has no random effect between subjects (those that do: "
                f"{', '.join(iiv.effects) or 'none'})."
            )
    found = {name: forms.get(name, "adapted") for name in iiv.effects}
    for block in iiv.correlations:
        if len({found[name] for name in block.effects}) > 1:
            said = ", ".join(f"{name} {found[name]}" for name in block.effects)
            raise SettingError(f"forms gives correlated effects different forms: {said}. Give one.")
    return found


def held_effects(
    u: Mapping[int, Any],
    mixing: Sequence[Sequence[Any]],
    centre: Mapping[int, Any],
    *,
    location: Any,
    scale: Any,
    ops: Operations,
) -> tuple[dict[int, Any], Any]:
    """Standardised effects from centred or non-centred coordinates, and log det of dz/du.

    Parameters
    ----------
    u
        Coordinates (n_subjects) of each of these effects, by its number.
    mixing
        B, rows of n_effects: SDs (above zero for a centred effect) times the Cholesky factor of the
        correlations, 0.0 where zero; other effects are not correlated with these.
    centre
        What is expected of each centred effect's parameter on its scale, (n_subjects) or a number.
    location, scale
        Of the centred coordinates, (n_subjects, n_effects): phi = location + scale u. An effect
        whose scale is zero is non-centred, so that a centred one may begin like that.
    ops
        The arithmetic to use.

    Returns
    -------
    z (n_subjects) by the effect's number; log determinant (n_subjects), or 0.0 without centred
    effects.
    """
    z: dict[int, Any] = {}
    log_determinant: Any = 0.0
    left = list(u)
    while left:
        for e in left:  # the rows of a block are triangular in some order
            before = [j for j, x in enumerate(mixing[e]) if j != e and not _is_zero(x)]
            if all(j in z for j in before):
                break
        left.remove(e)
        if e not in centre:
            z[e] = u[e]
            continue
        own, there = scale[:, e], scale[:, e] > 0
        eta = location[:, e] + own * u[e] - centre[e]
        for j in before:
            eta = eta - mixing[e][j] * z[j]
        z[e] = ops.where(there, eta / mixing[e][e], u[e])
        rise = ops.log(ops.where(there, own, 1.0)) - ops.log(mixing[e][e])
        log_determinant = log_determinant + ops.where(there, rise, 0.0)
    return z, log_determinant


def _is_zero(entry: Any) -> bool:
    return isinstance(entry, float) and entry == 0.0

"""All that a report says of what conclusions hang on, as one tree."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence

import xarray as xr

from popk.comparison import loo_pit
from popk.diagnostics.replicates import attributes
from popk.errors import PopkError, SettingError
from popk.population import FitError, check_seed, model_of
from popk.sensitivity.evidence import Evidence, evidence_of
from popk.sensitivity.patients import moved
from popk.sensitivity.power import scaled

__all__ = ["LOOKS", "USUAL", "robustness"]

USUAL = ("power_scaling", "influence")
LOOKS = (*USUAL, "loo_pit")


def robustness(
    fit: xr.DataTree,
    advice: xr.DataTree | Sequence[xr.DataTree] = (),
    *,
    which: Collection[str] = USUAL,
    draws: int | None = None,
    seed: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> xr.DataTree:
    """What the conclusions from a fit hang on, for `popk.report`.

    Power-scaling and influence rest on the same marginal likelihoods, which are computed once.
    LOO-PIT integrates every observation's patient anew and takes far longer: minutes where the
    model has no closed form.

    Parameters
    ----------
    fit
        What `popk.sample` returned, by a method that gives a posterior.
    advice
        Made with this fit, any number of them: whose intervals would change.
    which
        Some of ``"power_scaling"``, ``"influence"`` and ``"loo_pit"``.
    draws
        So many draws of the population, evenly spaced; at most 4,000 if None (500 of LOO-PIT).
    seed
        Seed of the integrals.
    progress
        Called with the number of patients done and their total.

    Returns
    -------
    DataTree with the groups asked for: ``power_scaling`` (with the first advice, if there is one;
    ``power_scaling_2`` and so on with the others), ``influence`` and ``loo_pit``, as the functions
    of popk of those names return them. ``attrs["notes"]`` (JSON) says what could not be computed.

    Raises
    ------
    SettingError
        When the seed, the draws or what is asked for make no sense.
    FitError
        When the tree is no fit.
    """
    check_seed(seed)
    model_of(fit)
    if unknown := [name for name in which if name not in LOOKS]:
        raise SettingError(f"which holds {', '.join(unknown)}; known are {', '.join(LOOKS)}.")
    trees = (advice,) if isinstance(advice, xr.DataTree) else tuple(advice)
    found: dict[str, xr.Dataset | xr.DataTree] = {}
    notes: list[str] = []
    evidence: Evidence | None = None
    if set(which) & set(USUAL):
        try:
            evidence = evidence_of(fit, draws=draws, seed=seed, progress=progress)
        except FitError as fault:
            notes.append(f"Sensitivity and influence could not be computed. {fault}")
    if evidence is not None and "power_scaling" in which:
        found |= _scaled(fit, evidence, trees, notes)
    if evidence is not None and "influence" in which:
        found["influence"] = moved(fit, evidence)
    if "loo_pit" in which:
        try:
            found["loo_pit"] = loo_pit(fit, draws=draws, seed=seed)
        except FitError as fault:
            notes.append(f"LOO-PIT could not be computed. {fault}")
    tree = xr.DataTree.from_dict(found)
    tree.attrs = attributes(fit, "robustness", notes) | {"seed": int(seed)}
    tree.attrs["which"] = json.dumps([name for name in LOOKS if name in which])
    return tree


def _scaled(
    fit: xr.DataTree, evidence: Evidence, trees: Sequence[xr.DataTree], notes: list[str]
) -> dict[str, xr.DataTree]:
    """Power-scaling with each advice; without, where no advice can be used."""
    found: dict[str, xr.DataTree] = {}
    for at, tree in enumerate(trees, start=1):
        name = f"power_scaling_{at}" if at > 1 else "power_scaling"
        try:
            found[name] = scaled(fit, evidence, tree)
        except PopkError as fault:
            notes.append(f"What becomes of advice {at} could not be computed. {fault}")
    if "power_scaling" not in found:
        found["power_scaling"] = scaled(fit, evidence)
    return found

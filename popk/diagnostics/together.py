"""All checks of a fit at once, as one tree that a report draws and tabulates."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from types import MappingProxyType

import xarray as xr

from popk.diagnostics.convergence import verdict_of
from popk.diagnostics.criticism import criticise
from popk.diagnostics.directions import identifiability
from popk.diagnostics.effects_table import random_effects
from popk.diagnostics.learnt import contraction
from popk.diagnostics.prediction_errors import npde
from popk.diagnostics.replicates import attributes
from popk.diagnostics.residual_table import residuals
from popk.diagnostics.shrunken import shrinkage
from popk.diagnostics.visual_check import vpc
from popk.errors import PopkError, SettingError
from popk.population import check_seed, model_of

__all__ = ["CHECKS", "diagnose"]

type Check = Callable[[xr.DataTree, int], xr.Dataset]


def _identified(fit: xr.DataTree, _: int) -> xr.Dataset:
    # With the methods that know it, the fit holds it by another way than from draws.
    if "identifiability" in fit.children:
        return fit["identifiability"].to_dataset()
    return identifiability(model_of(fit), fit["posterior"].to_dataset())


# By the name of the group; each of the fit and a seed.
CHECKS: MappingProxyType[str, Check] = MappingProxyType(
    {
        "residuals": lambda fit, seed: residuals(fit, seed=seed),
        "npde": lambda fit, seed: npde(fit, seed=seed),
        "vpc": lambda fit, seed: vpc(fit, seed=seed),
        "pcvpc": lambda fit, seed: vpc(fit, prediction_corrected=True, seed=seed),
        "shrinkage": lambda fit, _: shrinkage(fit),
        "criticism": lambda fit, seed: criticise(fit, seed=seed),
        "random_effects": lambda fit, _: random_effects(fit),
        "identifiability": _identified,
        "contraction": lambda fit, _: contraction(fit),
    }
)
_SAID = MappingProxyType(
    {
        "residuals": "Predictions and residuals",
        "npde": "Prediction distribution errors (NPDE)",
        "vpc": "The visual predictive check",
        "pcvpc": "The prediction-corrected visual predictive check",
        "shrinkage": "Shrinkage",
        "criticism": "Model criticism",
        "random_effects": "The distribution of the random effects",
        "identifiability": "What the data say of each parameter",
        "contraction": "Contraction and overlap of prior and posterior",
    }
)


def diagnose(
    fit: xr.DataTree,
    *,
    seed: int,
    only: Collection[str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> xr.DataTree:
    """All checks of a fit, with their usual settings, for `popk.report`.

    A check that cannot be computed for this fit is left out, and a note says why.

    Parameters
    ----------
    fit
        What `popk.sample` returned.
    seed
        Seed of the random numbers.
    only
        Names of the checks; all if None.
    progress
        Called with the number of checks done and their total.

    Returns
    -------
    DataTree with a group for each check: ``residuals``, ``npde``, ``vpc``, ``pcvpc``,
    ``shrinkage``, ``criticism``, ``random_effects`` and ``contraction``, as the functions of popk
    of those names return them (``pcvpc`` is `popk.vpc` with prediction correction, ``criticism``
    `popk.criticise`), and ``identifiability``, the posterior SD of each parameter over that of its
    prior. ``attrs["notes"]`` (JSON) says what could not be computed.

    Raises
    ------
    SettingError
        When the seed makes no sense, or there is no such check.
    FitError
        When the tree is no fit.
    """
    check_seed(seed)
    model_of(fit)
    wanted = tuple(CHECKS) if only is None else tuple(only)
    if unknown := [name for name in wanted if name not in CHECKS]:
        raise SettingError(f"only holds {', '.join(unknown)}; known are {', '.join(CHECKS)}.")
    found: dict[str, xr.Dataset] = {}
    notes = []
    is_point = verdict_of(fit).kind == "point"
    if is_point:
        notes.append("The fit is one point, not a posterior: checks leave its uncertainty out.")
    for done, name in enumerate(wanted):
        if progress is not None:
            progress(done, len(wanted))
        try:
            found[name] = CHECKS[name](fit, seed)
        except PopkError as fault:
            notes.append(f"{_SAID[name]} could not be computed. {fault}")
    if progress is not None:
        progress(len(wanted), len(wanted))
    tree = xr.DataTree.from_dict(found)
    tree.attrs = attributes(fit, "checks", notes) | {"seed": int(seed)}
    tree.attrs["left_out"] = json.dumps([name for name in wanted if name not in found])
    return tree

"""All checks of a fit at once, as one tree that a report draws and tabulates."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType

import numpy as np
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
from popk.diagnostics.visual_check import REPLICATES, Replicates, vpc_beside
from popk.errors import PopkError, SettingError
from popk.population import check_seed, model_of

__all__ = ["CHECKS", "diagnose"]


@dataclass(frozen=True, eq=False)
class _Work:
    """A fit, a seed, and replicates of the data that several checks look at."""

    fit: xr.DataTree
    seed: int

    @cached_property
    def again(self) -> Replicates:
        return Replicates(self.fit, REPLICATES, self.seed)


type Check = Callable[[_Work], xr.Dataset | None]


def _identified(work: _Work) -> xr.Dataset:
    # With the methods that know it, the fit holds it by another way than from draws.
    if "identifiability" in work.fit.children:
        return work.fit["identifiability"].to_dataset()
    return identifiability(model_of(work.fit), work.fit["posterior"].to_dataset())


def _by_covariate(work: _Work) -> xr.Dataset | None:
    """Stratified by the first covariate of the model that varies, else of the data."""
    dataset, model = work.again.seen.dataset, work.again.seen.model
    table = dataset.covariate_table()
    own = [name for effect in model.covariates for name in effect.covariates]
    for name in (*own, *dataset.covariates):
        if name in table and table[name].nunique() > 1:
            return vpc_beside(work.again, stratify=name, prediction_corrected=True)
    return None


def _in_treatment(work: _Work) -> xr.Dataset | None:
    """Over time in treatment, stratified by time after dose, where these are not the same."""
    coords = work.again.seen.coordinates()
    before = np.asarray(coords["TIME"][1]) - np.asarray(coords["TAD"][1])
    if not np.isfinite(before).any() or float(np.nanmax(before) - np.nanmin(before)) == 0:
        return None
    return vpc_beside(work.again, clock="TIME", stratify="TAD", prediction_corrected=True)


# By the name of the group; None where there is nothing to look at.
CHECKS: MappingProxyType[str, Check] = MappingProxyType(
    {
        "residuals": lambda work: residuals(work.fit, seed=work.seed),
        "npde": lambda work: npde(work.fit, seed=work.seed),
        "vpc": lambda work: vpc_beside(work.again),
        "pcvpc": lambda work: vpc_beside(work.again, prediction_corrected=True),
        "vpc_covariate": _by_covariate,
        "vpc_treatment": _in_treatment,
        "shrinkage": lambda work: shrinkage(work.fit),
        "criticism": lambda work: criticise(work.fit, seed=work.seed),
        "random_effects": lambda work: random_effects(work.fit),
        "identifiability": _identified,
        "contraction": lambda work: contraction(work.fit),
    }
)
_SAID = MappingProxyType(
    {
        "residuals": "Predictions and residuals",
        "npde": "Prediction distribution errors (NPDE)",
        "vpc": "The visual predictive check",
        "pcvpc": "The prediction-corrected visual predictive check",
        "vpc_covariate": "The visual predictive check by a covariate",
        "vpc_treatment": "The visual predictive check over time in treatment",
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
    prior. Further prediction-corrected ones: ``vpc_covariate``, stratified by the first covariate
    of the model (of the data, if it has none) that differs between patients, and
    ``vpc_treatment``, over time in treatment and stratified by time after dose; left out where
    there is no such covariate, or one dose at time 0 alone. ``attrs["notes"]`` (JSON) says what
    could not be computed.

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
    notes, without, work = [], [], _Work(fit, seed)
    is_point = verdict_of(fit).kind == "point"
    if is_point:
        notes.append("The fit is one point, not a posterior: checks leave its uncertainty out.")
    for done, name in enumerate(wanted):
        if progress is not None:
            progress(done, len(wanted))
        try:
            table = CHECKS[name](work)
            if table is not None:
                found[name] = table
        except PopkError as fault:
            without.append(name)
            notes.append(f"{_SAID[name]} could not be computed. {fault}")
    if progress is not None:
        progress(len(wanted), len(wanted))
    tree = xr.DataTree.from_dict(found)
    tree.attrs = attributes(fit, "checks", notes) | {"seed": int(seed)}
    tree.attrs["left_out"] = json.dumps(without)
    return tree

"""Shrinkage: how much of the variability the data could show is left in the estimates."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from popk.diagnostics.replicates import Seen, attributes
from popk.diagnostics.residual_table import individual_residuals
from popk.population import PopulationDraws
from popk.statistics import Variability

__all__ = ["HIGH", "shrinkage"]

type Floats = NDArray[np.float64]

HIGH = 0.3  # of SDs: beyond, plots of estimates against anything mislead


def shrinkage(fit: xr.DataTree) -> xr.Dataset:
    """Shrinkage of the random effects and of the residuals.

    The less a patient's data say of an effect, the closer its posterior mean lies to zero.
    Shrinkage is 1 - Var(posterior means)/omega², or 1 - SD(posterior means)/omega; 0 where the
    data say all, 1 where they say nothing (omega² is its posterior mean). Source: Savic &
    Karlsson, AAPS J 11:558, 2009, with posterior means for modes. For effects that are not normal
    (`BoxCox`, `HeavyTails`), omega is not their SD; there their variance over subjects, averaged
    over the draws, stands for omega² (Gelman & Pardoe, Technometrics 48:241, 2006). That of the
    residuals (epsilon) is 1 - SD of IWRES of the quantified observations.

    Parameters
    ----------
    fit
        What `popk.sample` returned.

    Returns
    -------
    Dataset with ``variance`` and ``sd``, the shrinkage of variances and SDs, and ``count``, of how
    many subjects, occasions, sites or observations (quantity); quantities are ``eta_CL``, between
    occasions ``kappa_CL``, between sites ``eta_SITE_CL``, and ``epsilon`` (``epsilon_`` and the
    output's name where there are several). NaN where fewer than two are there, or omega is 0.
    ``attrs["notes"]`` says in words what exceeds 30 %.

    Raises
    ------
    FitError
        When the tree is no fit.
    """
    seen = Seen.of(fit)
    found = [*_of_effects(fit, seen), *_of_residuals(fit, seen)]
    kept = np.array([one.kept for one in found])
    sd = 1 - np.sqrt(kept)
    notes = [
        one.sentence.format(percent=f"{100 * value:.0f} %")
        for one, value in zip(found, sd.tolist(), strict=True)
        if value > HIGH
    ]
    unit = {"units": "1"}
    return xr.Dataset(
        {
            "variance": ("quantity", 1 - kept, {**unit, "long_name": "shrinkage of the variance"}),
            "sd": ("quantity", sd, {**unit, "long_name": "shrinkage of the SD"}),
            "count": ("quantity", [one.number for one in found]),
        },
        coords={"quantity": [one.name for one in found]},
        attrs=attributes(fit, "shrinkage", notes),
    )


class _Kept(NamedTuple):
    """A quantity, the part of its variance that is left, of how many, and what to say of it."""

    name: str
    kept: float
    number: int
    sentence: str


def _of_effects(fit: xr.DataTree, seen: Seen) -> Iterator[_Kept]:
    model, population = seen.model, PopulationDraws.of(fit)
    shaped = dict(model.iiv.shapes)
    levels: list[tuple[str, str, Variability, tuple[str, str]]] = [
        ("eta", "patients'", model.iiv, ("subject", "effect")),
        ("kappa", "occasions'", model.iov, ("occasion", "occasion_effect")),
    ]
    for group in model.levels:
        levels.append((group.effects_name, f"{group.covariate}s'", group, group.dims))
    for name, whose, level, dims in levels:
        for k, effect in enumerate(level.effects):
            draws = fit["posterior"][name].transpose("chain", "draw", *dims).values[..., k]
            draws = draws.reshape(-1, draws.shape[-1])
            total = float(np.mean(population.values[level.omega_name(effect)] ** 2))
            if name == "eta" and effect in shaped and draws.shape[1] > 1:
                total = float(draws.var(axis=1, ddof=1).mean())
            sentence = (
                f"The {whose} random effects of {effect} are shrunken by {{percent}} (SD): the "
                f"data say little of each one's {effect}. Do not judge covariates or distributions "
                "by plots of these estimates."
            )
            estimates = draws.mean(axis=0)
            kept = _kept(estimates, total)
            yield _Kept(f"{name}_{effect}", kept, len(estimates), sentence)


def _of_residuals(fit: xr.DataTree, seen: Seen) -> Iterator[_Kept]:
    iwres, outputs = individual_residuals(fit, seen)[1], np.array(seen.outputs)
    names = list(dict.fromkeys(seen.outputs))
    for output in names:
        own = iwres[(outputs == output) & ~np.isnan(iwres)]
        of, suffix = (f" of {output}", f"_{output}") if len(names) > 1 else ("", "")
        sentence = (
            f"The residuals{of} are shrunken by {{percent}} (SD): the individual predictions "
            "follow the observations, so that IWRES and IPRED hide misfits."
        )
        yield _Kept(f"epsilon{suffix}", _kept(own, 1.0), len(own), sentence)


def _kept(estimates: Floats, total: float) -> float:
    """The part of the variance that the estimates show; NaN where there is none to show."""
    if len(estimates) < 2 or total <= 0:
        return float("nan")
    return float(estimates.var(ddof=1) / total)

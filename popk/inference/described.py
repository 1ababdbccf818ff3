"""The variables of a posterior in order, with their units and meaning."""

from __future__ import annotations

import json

import xarray as xr

from popk.design import Design
from popk.inference.classes import LABELS
from popk.inference.precision import precision_of
from popk.model import PopModel, PopulationParameter
from popk.statistics import Coefficient, DerivedShare

__all__ = ["describe", "population_of"]


def describe(model: PopModel, posterior: xr.Dataset, design: Design) -> xr.Dataset:
    """The variables that have a meaning, in order, with units."""
    parameters = population_of(model)
    names = [p.name for p in parameters]
    groups = [level.effects_name for level in model.levels]
    others = (*groups, "eta", "kappa", "latent_covariates", "parameters", *LABELS)
    kept = posterior[[*names, *(name for name in others if name in posterior)]]
    dims = set().union(*(kept[name].dims for name in kept.data_vars))
    kept = kept.drop_vars([coord for coord in kept.coords if coord not in dims])
    for parameter in parameters:
        kept[parameter.name].attrs = {"units": parameter.unit, "long_name": parameter.meaning}
    draws = kept.sizes["chain"] * kept.sizes["draw"]
    kept["parameters"] = kept["parameters"].astype(precision_of(model, design, draws), copy=False)
    units = {p.name: model.units.of(p.dimension) for p in model.structure.parameters}
    which = "individual parameters" + (" at the first record" if design.varies else "")
    kept["parameters"].attrs = {"units": json.dumps(units), "long_name": which}
    if "eta" in kept:
        where = "on the parameters' scales"
        kept["eta"].attrs = {"units": "1", "long_name": f"random effects {where}"}
    if "kappa" in kept:
        kept["kappa"].attrs = {"units": "1", "long_name": f"random effects of occasions {where}"}
        owner = kept["subject"].values[design.occasion_subject]
        kept = kept.assign_coords(
            occasion_subject=("occasion", owner),
            occasion_number=("occasion", design.occasion_number),
        )
    for level in model.levels:
        of_effects = {name: model.units_on_scale(name) for name in level.effects}
        kept[level.effects_name].attrs = {
            "units": json.dumps(of_effects),
            "long_name": f"random effects {level.between} on the parameters' scales",
        }
    if "latent_covariates" in kept:
        kept = _latent_described(model, kept, design)
    kept.attrs = {"population": json.dumps(names)}
    return kept


def _latent_described(model: PopModel, kept: xr.Dataset, design: Design) -> xr.Dataset:
    """With the covariate and the subject of each value, and the unit of each covariate."""
    names, positions = zip(*design.missing, strict=True)
    units = {name: model.units.covariate(name) or "1" for name in dict.fromkeys(names)}
    kept["latent_covariates"].attrs = {
        "units": json.dumps(units),
        "long_name": "covariates that were not measured",
    }
    return kept.assign_coords(
        missing_covariate=("missing", list(names)),
        missing_subject=("missing", kept["subject"].values[list(positions)]),
    )


def population_of(model: PopModel) -> list[PopulationParameter | Coefficient | DerivedShare]:
    """The population parameters and what follows from them, in the order of tables."""
    return [*model.parameters, *model.derived]

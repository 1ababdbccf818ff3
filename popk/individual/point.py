"""One value of every population parameter, for comparison with tools that know no more."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from numbers import Real

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from popk.errors import SettingError
from popk.levels import GroupEffects
from popk.model import PopModel
from popk.population import PopulationDraws, model_of
from popk.statistics import Fixed

__all__ = ["Population", "population_at"]

type Floats = NDArray[np.float64]
type Population = str | Mapping[str, float]

_CENTRES: dict[str, Callable[[Floats], Floats]] = {
    "median": lambda draws: np.asarray(np.median(draws, axis=0, keepdims=True)),
    "mean": lambda draws: np.asarray(np.mean(draws, axis=0, keepdims=True)),
}


def population_at(source: PopModel | xr.DataTree, population: Population) -> PopulationDraws:
    """A single value of every population parameter (S = 1).

    Parameters
    ----------
    source
        A model, or a fit.
    population
        ``"median"`` or ``"mean"`` of each parameter: of a fit's posterior, of a model's priors (the
        median alone). Or estimates, by the population parameters' names as `PopModel.parameters`
        has them (``{"CL": 4.0, "omega_CL": 0.45, ...}``): all but those that are `Fixed`.

    Raises
    ------
    FitError
        When the tree is not a fit.
    SettingError
        When a parameter is missing, unknown or impossible.
    """
    fit = source if isinstance(source, xr.DataTree) else None
    model = model_of(source) if isinstance(source, xr.DataTree) else source
    if not isinstance(population, str):
        found = PopulationDraws(model, _given(model, population))
        if fit is not None and model.levels:
            levels = PopulationDraws.of(fit).levels
            found = PopulationDraws(model, found.values, levels=_centred(levels, "median"))
    elif population not in _CENTRES or (population == "mean" and fit is None):
        raise SettingError(
            f"The population was given as {population!r}; expected 'median', "
            + ("'mean', " if fit is not None else "")
            + "or a value for each population parameter, by name."
        )
    elif fit is not None:
        draws = PopulationDraws.of(fit)
        values = {name: _CENTRES[population](value) for name, value in draws.values.items()}
        found = PopulationDraws(model, values, levels=_centred(draws.levels, population))
    else:
        values = {p.name: np.array([float(p.prior.median)]) for p in model.parameters}
        found = PopulationDraws(model, values)
    if not (np.isfinite(found.factor).all() and np.isfinite(found.factor_iov).all()):
        raise SettingError(
            "No correlation matrix has these correlations of the random effects; give estimates, "
            "or of a fit population='mean'."
        )
    return found


def _centred(levels: Mapping[str, GroupEffects], centre: str) -> dict[str, GroupEffects]:
    return {n: GroupEffects(own.groups, _CENTRES[centre](own.eta)) for n, own in levels.items()}


def _given(model: PopModel, population: Mapping[str, float]) -> dict[str, Floats]:
    known = {p.name: p for p in model.parameters}
    unknown = sorted(set(population) - set(known))
    fixed = {name for name, p in known.items() if isinstance(p.prior, Fixed)}
    missing = [name for name in known if name not in population and name not in fixed]
    if unknown or missing:
        parts = [f"unknown: {', '.join(unknown)}"] if unknown else []
        parts += [f"missing: {', '.join(missing)}"] if missing else []
        raise SettingError(
            f"The population's values do not fit the model ({'; '.join(parts)}). It has "
            f"{', '.join(known)}."
        )
    found = {}
    for name, parameter in known.items():
        value = population.get(name)
        if value is None:
            value = float(parameter.prior.median)
        low, high = parameter.prior.support
        usable = isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
        if not usable or (name not in fixed and not low <= value <= high):
            raise SettingError(
                f"{name} was given as {value!r}; expected a number between {low:g} and {high:g} "
                f"({parameter.unit})."
            )
        found[name] = np.array([float(value)])
    return found

"""What a model expects before any data: draws from its priors, run forward.

The prior predictive is the model's claim about data that nobody has seen yet. Priors that are each
plausible may together claim troughs that no patient has; see Gabry et al., J. R. Stat. Soc. A
182:389, 2019.
"""

from __future__ import annotations

import json
from importlib.metadata import version

import numpy as np
import xarray as xr

from popk.dataset import Dataset
from popk.design import check_fit, design_of
from popk.errors import SettingError
from popk.model import PopModel
from popk.population import PopulationDraws, check_seed
from popk.prediction import simulate_observations, tabulate

__all__ = ["check_draws", "prior_predictive"]


def prior_predictive(
    model: PopModel, dataset: Dataset, *, draws: int = 500, seed: int
) -> xr.DataTree:
    """Concentrations under the priors: what the model expects before it sees any.

    Every draw is a population of its own, from the priors of the population parameters, with random
    effects of its own for every subject. The observed values are not used.

    Parameters
    ----------
    model
        The model.
    dataset
        Doses, times and covariates (every row with EVID 0 or 2 is predicted), from `read_dataset`
        or `Regimen.dataset`. Units must be the model's.
    draws
        How many draws.
    seed
        Seed of the random numbers.

    Returns
    -------
    DataTree with the groups ``prior``, the population parameters (chain, draw) with their units,
    and ``prior_predictive``: ``IPRED`` and ``DV`` (chain, draw, observation), ``parameters``
    (chain, draw, subject, parameter) and coordinates as `predict` gives them. ``chain`` has length
    1.

    Raises
    ------
    SettingError
        When the seed or the number of draws makes no sense.
    DataError, ModelError
        When the data do not fit the model.
    """
    check_seed(seed)
    check_draws(draws)
    described = check_fit(model, dataset).outputs
    design = design_of(model, dataset, everywhere=True)
    rng = np.random.default_rng(seed)
    population = PopulationDraws.from_prior(model, int(draws), rng)
    theta = population.new_rows(design, rng)
    # Where nothing was observed, the residual error is that of the first output asked for.
    outputs = simulate_observations(
        population, theta, dataset, design, described=described or design.outputs[:1], rng=rng
    )
    prior = xr.Dataset(
        {
            p.name: (("chain", "draw"), population.values[p.name][None], {"units": p.unit})
            for p in model.parameters
        }
    )
    groups = {"prior": prior, "prior_predictive": tabulate(model, dataset, design, outputs, theta)}
    tree = xr.DataTree.from_dict(groups)
    tree.attrs = {
        "kind": "popk prior predictive",
        "seed": int(seed),
        "model": model.to_json(),
        "model_name": model.name,
        "model_hash": model.hash,
        "predicted_data_hash": dataset.fingerprint,
        "units": json.dumps(dataset.units.to_dict()),
        "popk_version": version("popk"),
    }
    return tree


def check_draws(draws: object, *, least: int = 1) -> None:
    """Refuse what is not a number of draws.

    Raises
    ------
    SettingError
        When it is not a whole number, or below `least`.
    """
    if isinstance(draws, bool) or not isinstance(draws, int | np.integer) or draws < least:
        raise SettingError(
            f"{draws!r} draws were asked for; give a whole number of {least} or more."
        )

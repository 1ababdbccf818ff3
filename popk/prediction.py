"""The forward simulator: the same subjects, new subjects, new regimens."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from popk.dataset import Dataset
from popk.design import Design, design_of
from popk.model import PopModel
from popk.population import (
    FitError,
    PopulationDraws,
    check_seed,
    dataset_of,
    effects_of,
    model_of,
    thinned,
)
from popk.structure import Events, Solver
from popk.structure.events import OBSERVE

__all__ = ["predict", "simulate_rows"]

type Floats = NDArray[np.float64]


def predict(
    fit: xr.DataTree,
    dataset: Dataset | None = None,
    *,
    new_subjects: bool = False,
    draws: int | None = None,
    seed: int,
) -> xr.DataTree:
    """Concentrations under the posterior.

    Parameters
    ----------
    fit
        What `popk.sample` returned.
    dataset
        Doses and times (every row with EVID 0 or 2 is predicted), from `read_dataset` or
        `Regimen.dataset`; the fit's own data if None. Units must be the model's.
    new_subjects
        False: each ID is a subject of the fit and keeps its random effects, whatever its doses and
        covariates are now. True: the IDs are people never seen, even where they resemble the
        fit's; their random effects are drawn afresh from the population for every draw.
    draws
        How many evenly spaced posterior draws to use; all if None.
    seed
        Seed of the random numbers.

    Returns
    -------
    DataTree with the group ``predictions``: ``IPRED`` (chain, draw, observation), the true
    concentration, and ``DV``, with residual error and not cut at any limit of quantification;
    coordinates ID, TIME and ROW; units in attrs. Also ``parameters`` (chain, draw, subject,
    parameter), those at the subject's first record; where covariates change within a subject,
    ``row_parameters`` (chain, draw, row, parameter) are those of each set of them, with the
    coordinate ``row_subject``. ``chain`` has length 1 where draws were thinned. If outputs are read
    that the fit's data do not hold, the coordinate OUTPUT names them and their DV is NaN: the model
    has no residual error for them.

    Raises
    ------
    FitError
        When a subject is not in the fit although ``new_subjects`` is False, or more draws are
        asked for than there are.
    SettingError
        When the seed makes no sense.
    DataError, ModelError
        When the data do not fit the model.
    """
    check_seed(seed)
    model = model_of(fit)
    own = dataset_of(fit)
    dataset = own if dataset is None else dataset
    design = design_of(model, dataset, everywhere=True)
    population = PopulationDraws.of(fit, draws)
    rng = np.random.default_rng(seed)
    eta = (
        _new_effects(population, dataset, rng)
        if new_subjects
        else _known_effects(fit, own, dataset, thinned(fit, draws))
    )
    theta = population.row_parameters(design, eta)
    ipred = simulate_rows(model, theta, design.events)
    dv = model.error.simulate(ipred, population.sigma, rng)
    described = np.isin(_outputs(design), design_of(model, own).outputs)
    outputs = {"IPRED": ipred, "DV": np.where(described, dv, np.nan)}
    return _tree(fit, dataset, design, outputs, theta, seed=seed)


def simulate_rows(model: PopModel, theta: Floats, events: Events) -> Floats:
    """Outputs (S, n_outputs) of a cohort for S draws of everybody's parameters.

    Parameters
    ----------
    model
        The model.
    theta
        Individual parameters (S, n_rows, n_parameters).
    events
        The cohort's events.
    """
    return Solver(model.structure, events).ensemble(theta).value


def _outputs(design: Design) -> NDArray[np.int64]:
    """Index of the structure's output of each prediction, (n_outputs)."""
    return np.asarray(design.events.what[design.events.kind == OBSERVE])


def _new_effects(population: PopulationDraws, dataset: Dataset, rng: np.random.Generator) -> Floats:
    omega = population.omega
    z = rng.standard_normal((population.size, dataset.n_subjects, omega.shape[1]))
    return np.asarray(omega[:, None, :] * z)


def _known_effects(
    fit: xr.DataTree, own: Dataset, dataset: Dataset, chosen: NDArray[np.int64]
) -> Floats:
    unknown = [subject for subject in dataset.subjects if subject not in own.subjects]
    if unknown:
        more = f" and {len(unknown) - 5} more" if len(unknown) > 5 else ""
        raise FitError(
            f"The fit has no subject {', '.join(unknown[:5])}{more}, so there are no random "
            "effects to predict with. For people who were not in the fit use new_subjects=True "
            "(population prediction), or popk.individualise with their own data."
        )
    return effects_of(fit, dataset.subjects, chosen)


def _tree(
    fit: xr.DataTree,
    dataset: Dataset,
    design: Design,
    outputs: dict[str, Floats],
    theta: Floats,
    *,
    seed: int,
) -> xr.DataTree:
    model = model_of(fit)
    predicted = np.isin(dataset.table["EVID"].values, (0, 2))
    table = dataset.table.isel(record=predicted)
    units = model.units
    coords: dict[str, Any] = {
        "observation": np.arange(design.events.n_outputs),
        "ID": ("observation", table["ID"].values),
        "TIME": ("observation", table["TIME"].values, {"units": units.time}),
        "ROW": ("observation", table["record"].values),
        "subject": list(dataset.subjects),
        "parameter": list(model.structure.names),
    }
    chains = fit["posterior"].sizes["chain"]
    whole = len(theta) == chains * fit["posterior"].sizes["draw"]
    lead = (chains, -1) if whole else (1, len(theta))
    known = model.structure.outputs
    read = [known[k] for k in np.unique(_outputs(design))]
    several = {output.name: units.of(output.dimension) for output in read}
    alike = len(set(several.values())) == 1
    attrs = {"units": next(iter(several.values())) if alike else json.dumps(several)}
    if np.isnan(outputs["DV"]).any():
        coords["OUTPUT"] = ("observation", [known[k].name for k in _outputs(design)])
    variables: dict[str, Any] = {
        name: (("chain", "draw", "observation"), value.reshape(*lead, value.shape[1]), attrs)
        for name, value in outputs.items()
    }
    by_parameter = {
        parameter.name: units.of(parameter.dimension) for parameter in model.structure.parameters
    }
    in_units = {"units": json.dumps(by_parameter)}
    by_row = theta.reshape(*lead, *theta.shape[1:])
    dims = ("chain", "draw", "subject", "parameter")
    variables["parameters"] = (dims, by_row[:, :, design.first], in_units)
    if design.varies:
        variables["row_parameters"] = (("chain", "draw", "row", "parameter"), by_row, in_units)
        coords["row_subject"] = ("row", np.array(dataset.subjects)[design.rows.subject])
    tree = xr.DataTree.from_dict({"predictions": xr.Dataset(variables, coords=coords)})
    names = ("model", "model_name", "model_hash", "data_hash", "units", "popk_version")
    tree.attrs = {
        "kind": "popk prediction",
        "seed": seed,
        "predicted_data_hash": dataset.fingerprint,
        **{name: fit.attrs[name] for name in names},
    }
    return tree

"""The forward simulator: the same subjects, new subjects, new regimens."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from popk.dataset import Dataset
from popk.design import Design, design_of
from popk.latent import latent_of
from popk.model import PopModel
from popk.observations import readings
from popk.population import (
    FitError,
    PopulationDraws,
    check_seed,
    dataset_of,
    effects_of,
    model_of,
    occasion_effects_of,
    thinned,
)
from popk.structure import Events, Solver
from popk.structure.events import OBSERVE

__all__ = ["labels_of", "predict", "simulate_observations", "simulate_rows", "tabulate"]

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
        covariates are now; an occasion (OCC) that it had in the fit keeps those of the occasion,
        another has new ones; a latent covariate that is missing is what the fit found. True: the
        IDs are people never seen, even where they resemble the fit's; their random effects, and
        latent covariates that are missing, are drawn afresh from the population for every draw.
        Where the model has sub-populations (or a category that may be missing, and is), subjects of
        the fit keep the class of each draw, and
        the class of others is drawn by the shares. Where it has a further level (sites), a group
        of the fit keeps its effects in either case; those of another are drawn for every draw, and
        all its subjects share them.
    draws
        How many evenly spaced posterior draws to use; all if None.
    seed
        Seed of the random numbers.

    Returns
    -------
    DataTree with the group ``predictions``: ``IPRED`` (chain, draw, observation), the true
    concentration, and ``DV``, with residual error and not cut at any limit of quantification;
    coordinates ID, TIME and ROW, and OUTPUT where several outputs are read; units in attrs. Also
    ``parameters`` (chain, draw, subject, parameter), those at the subject's first record; where
    covariates change within a subject, ``row_parameters`` (chain, draw, row, parameter) are those
    of each set of them, with the coordinate ``row_subject``. ``chain`` has length 1 where draws
    were thinned. The DV of an output without a residual error is NaN; a single error belongs to the
    output that the fit's data hold. Where the data name no ASSAY, DV is what the reference would
    report.

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
    if new_subjects:
        theta = population.new_rows(design, rng)
    else:
        eta, kappa = _known_effects(fit, own, dataset, thinned(fit, draws)), None
        latent = _known_covariates(fit, dataset, design, thinned(fit, draws))
        if model.iov.effects:
            new = population.new_occasions(len(design.occasion_subject), rng)
            kappa = _known_occasions(fit, dataset, design, thinned(fit, draws), new)
        labels = labels_of(fit, dataset.subjects, thinned(fit, draws))
        if labels is not None:  # a category may be known now
            labels = np.where(design.labels >= 0, design.labels, labels)
        population = population.with_groups(design.covariates, rng)
        theta = population.row_parameters(design, eta, kappa, latent, labels=labels)
    outputs = simulate_observations(
        population, theta, dataset, design, described=design_of(model, own).outputs, rng=rng
    )
    chains = fit["posterior"].sizes["chain"]
    whole = len(theta) == chains * fit["posterior"].sizes["draw"]
    predictions = tabulate(model, dataset, design, outputs, theta, n_chains=chains if whole else 1)
    tree = xr.DataTree.from_dict({"predictions": predictions})
    names = ("model", "model_name", "model_hash", "data_hash", "units", "popk_version")
    tree.attrs = {
        "kind": "popk prediction",
        "seed": seed,
        "predicted_data_hash": dataset.fingerprint,
        **{name: fit.attrs[name] for name in names},
    }
    return tree


def labels_of(
    fit: xr.DataTree, subjects: Sequence[str], chosen: NDArray[np.int64]
) -> NDArray[np.int64] | None:
    """Classes (S, n_subjects) of subjects of the fit in the chosen draws; None without any."""
    if "label" not in fit["posterior"]:
        return None
    label = fit["posterior"]["label"].sel(subject=list(subjects))
    values = label.transpose("chain", "draw", "subject").values
    return np.asarray(values.reshape(-1, values.shape[-1])[chosen], dtype=np.int64)


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


def simulate_observations(
    population: PopulationDraws,
    theta: Floats,
    dataset: Dataset,
    design: Design,
    *,
    described: Sequence[int],
    rng: np.random.Generator,
) -> dict[str, Floats]:
    """``IPRED`` and ``DV``, each (S, n_outputs), for S draws of everybody's parameters.

    Parameters
    ----------
    population
        The S draws of the population parameters.
    theta
        Individual parameters (S, n_rows, n_parameters).
    dataset, design
        What is predicted.
    described
        Indices of the outputs that a single residual error belongs to; DV of those without a
        residual error is NaN.
    rng
        Source of the residual errors.
    """
    model = population.model
    ipred = simulate_rows(model, theta, design.events)
    read = readings(model, dataset, design.events, everywhere=True)
    dv = model.error.simulate(read, ipred, population.sigma, rng)
    if not model.error.outputs:
        dv = np.where(np.isin(_outputs(design), described), dv, np.nan)
    return {"IPRED": ipred, "DV": dv}


def output_names(model: PopModel, design: Design, *, always: bool = False) -> dict[str, Any]:
    """The coordinate OUTPUT of what is read, where several outputs are (or `always`)."""
    if len(design.outputs) < 2 and not always:
        return {}
    names = [output.name for output in model.structure.outputs]
    return {"OUTPUT": ("observation", [names[k] for k in _outputs(design)])}


def units_of_outputs(model: PopModel, design: Design) -> str:
    """The unit of what is read; as JSON, by output, where there are several units."""
    read = [model.structure.outputs[k] for k in design.outputs]
    units = {output.name: model.units.of(output.dimension) for output in read}
    distinct = set(units.values())
    return distinct.pop() if len(distinct) == 1 else json.dumps(units)


def _outputs(design: Design) -> NDArray[np.int64]:
    """Index of the structure's output of each prediction, (n_outputs)."""
    return np.asarray(design.events.what[design.events.kind == OBSERVE])


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


def _known_covariates(
    fit: xr.DataTree, dataset: Dataset, design: Design, chosen: NDArray[np.int64]
) -> Floats | None:
    """What the fit found of the covariates that are missing, (S, n_missing)."""
    missing = [(one.covariate, dataset.subjects[one.subject]) for one in design.missing]
    if not missing:
        return None
    found = latent_of(fit["posterior"].to_dataset(), missing, chosen)
    unknown = [one for k, one in enumerate(missing) if np.isnan(found[:, k]).any()]
    if unknown:
        listed = ", ".join(f"{name} of ID {subject}" for name, subject in unknown[:5])
        raise FitError(
            f"{listed} is missing in these data, but was measured in the fit's; give the value "
            "that was measured."
        )
    return found


def _known_occasions(
    fit: xr.DataTree,
    dataset: Dataset,
    design: Design,
    chosen: NDArray[np.int64],
    new: Floats,
) -> Floats:
    """Random effects of the design's occasions: the fit's where it knows them, else the new."""
    names = np.array(dataset.subjects)[design.occasion_subject].tolist()
    occasions = list(zip(names, design.occasion_number.tolist(), strict=True))
    known = occasion_effects_of(fit, occasions, chosen)
    return np.where(np.isnan(known), new, known)


def tabulate(
    model: PopModel,
    dataset: Dataset,
    design: Design,
    outputs: dict[str, Floats],
    theta: Floats,
    *,
    n_chains: int = 1,
) -> xr.Dataset:
    """Predictions with named dimensions, coordinates and units.

    Parameters
    ----------
    model, dataset, design
        What was predicted; the design is that of every row with EVID 0 or 2.
    outputs
        From `simulate_observations`.
    theta
        Individual parameters (S, n_rows, n_parameters).
    n_chains
        How many chains the S draws come from, one after the other.
    """
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
    lead = (n_chains, -1)
    attrs = {"units": units_of_outputs(model, design)}
    coords |= output_names(model, design)
    if np.isnan(outputs["DV"]).any():
        coords |= output_names(model, design, always=True)
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
    return xr.Dataset(variables, coords=coords)

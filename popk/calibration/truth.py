"""One truth and the data simulated from it: drawn from the prior, or a draw of a fit."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from popk.calibration.setting import Calibration, observing
from popk.dataset import Dataset
from popk.design import Design, design_of
from popk.errors import PopkError
from popk.fitted import effects_of, occasion_effects_of
from popk.individual import patients_of
from popk.individual.forecast import forecast, present_of
from popk.individual.posterior import cohort_posterior
from popk.levels import group_labels
from popk.model import PopModel
from popk.observations import observations, readings
from popk.population import PopulationDraws
from popk.prediction import labels_of, simulate_rows
from popk.statistics import NUMPY

__all__ = ["Simulated", "log_likelihood_of", "simulate", "troughs_of", "truth_of"]

type Floats = NDArray[np.float64]

_ONLY = np.zeros(1, dtype=np.int64)  # index of a truth's single draw


class SimulationError(PopkError):
    """A truth from which no data could be simulated."""


@dataclass(frozen=True, eq=False)
class Simulated:
    """Data with the truth behind them.

    Parameters
    ----------
    data
        What is fitted: the simulated data; beside the observed ones, where a fit is the source.
    truth
        A tree as of a fit with one draw.
    troughs
        True trough of each subject (n_subjects); empty where nothing is predicted.
    """

    data: Dataset
    truth: xr.DataTree
    troughs: Floats


def simulate(setting: Calibration, number: int) -> Simulated:
    """The data of a replicate; its random numbers depend on the seed and its number alone.

    Raises
    ------
    SimulationError
        When the model has no finite value at the truth.
    """
    rng = np.random.default_rng([setting.seed, 0, number])
    truth = truth_of(setting, number, rng)
    template = observing(setting.design)
    design = design_of(setting.model, template)
    ipred, population = _predicted(truth, template, design)
    read = readings(setting.model, template, design.events)
    dv = setting.model.error.simulate(read, ipred, population.sigma, rng)[0]
    if not np.isfinite(dv).all():
        raise SimulationError("The truth that was drawn has no finite concentrations.")
    data = _measured(template, dv)
    troughs = troughs_of(setting, truth, rng) if setting.predicts else np.zeros(0)
    if not np.isfinite(troughs).all():
        raise SimulationError("The truth that was drawn has no finite trough.")
    if setting.source is not None:
        data = _together(setting.design, data)
    return Simulated(data, truth, troughs)


def truth_of(setting: Calibration, number: int, rng: np.random.Generator) -> xr.DataTree:
    """A truth as the posterior of a fit with a single draw."""
    if setting.source is None:
        posterior = _from_prior(setting.model, setting.design, rng)
    else:
        posterior = _from_fit(setting.source, setting.seed, number)
    tree = xr.DataTree.from_dict({"posterior": posterior})
    tree.attrs = {"kind": "popk fit", "model": setting.model.to_json()}
    return tree


def troughs_of(setting: Calibration, truth: xr.DataTree, rng: np.random.Generator) -> Floats:
    """True trough of each subject (n_subjects), one interval after its last dose.

    ``rng`` draws the effects of an occasion to come, where the model has any.
    """
    dataset = setting.design
    patients = patients_of(PopulationDraws.of(truth), dataset, threads=1)
    presents = present_of(setting.model, dataset, output=_forecast_output(setting))
    intervals, found = np.array([setting.interval]), []
    for patient, present in zip(patients, presents, strict=True):
        own = cohort_posterior(truth, patient, _ONLY, rng).parameters
        found.append(forecast(setting.model, own, present, intervals, 2).troughs[0, 0])
    return np.array(found)


def log_likelihood_of(truth: xr.DataTree, model: PopModel, data: Dataset) -> float:
    """Log likelihood of all the data at the truth, given its random effects."""
    design = design_of(model, data)
    ipred, population = _predicted(truth, data, design)
    observed = observations(model, data, design.events)
    each = model.error.log_likelihood(observed, ipred, population.sigma, NUMPY)
    return float(np.sum(each))


def _forecast_output(setting: Calibration) -> int:
    """As `popk.individualise` chooses it: what is observed, if a concentration."""
    outputs = setting.model.structure.outputs
    observed = design_of(setting.model, observing(setting.design)).outputs
    measured = [k for k in observed if outputs[k].dimension == "concentration"]
    return measured[0] if measured else 0


def _predicted(
    truth: xr.DataTree, dataset: Dataset, design: Design
) -> tuple[Floats, PopulationDraws]:
    """True predictions (1, n_outputs), and the population they come from."""
    population = PopulationDraws.of(truth)
    names = np.array(dataset.subjects)[design.occasion_subject].tolist()
    occasions = list(zip(names, design.occasion_number.tolist(), strict=True))
    theta = population.row_parameters(
        design,
        effects_of(truth, dataset.subjects, _ONLY),
        occasion_effects_of(truth, occasions, _ONLY) if population.model.iov.effects else None,
        labels=labels_of(truth, dataset.subjects, _ONLY),
    )
    return simulate_rows(population.model, theta, design.events), population


def _from_prior(model: PopModel, dataset: Dataset, rng: np.random.Generator) -> xr.Dataset:
    design = design_of(model, dataset)
    n, lead = dataset.n_subjects, ("chain", "draw")
    population = PopulationDraws.from_prior(model, 1, rng).with_groups(design.covariates, rng)
    eta, kappa = population.new_effects(n, rng), None
    values: dict[str, Any] = {
        p.name: (lead, population.values[p.name][None]) for p in model.parameters
    }
    coords: dict[str, Any] = {"subject": list(dataset.subjects)}
    if model.iov.effects:
        kappa = population.new_occasions(len(design.occasion_subject), rng)
        owner = np.array(dataset.subjects)[design.occasion_subject]
        values["kappa"] = ((*lead, "occasion", "occasion_effect"), kappa[None])
        coords |= {
            "occasion_subject": ("occasion", owner),
            "occasion_number": ("occasion", design.occasion_number),
            "occasion_effect": list(model.iov.effects),
        }
    labels = population.new_labels(design.labels, rng)
    if labels is not None:
        values["label"] = ((*lead, "subject"), labels[None])
    theta = population.row_parameters(design, eta, kappa, None, labels=labels)
    if model.iiv.effects:
        values["eta"] = ((*lead, "subject", "effect"), eta[None])
        coords["effect"] = list(model.iiv.effects)
    values["parameters"] = ((*lead, "subject", "parameter"), theta[:, design.first][None])
    coords["parameter"] = list(model.structure.names)
    for level in model.levels:
        own = population.levels[level.covariate]
        values[level.effects_name] = ((*lead, *level.dims), own.eta[None])
        coords |= {level.dims[0]: group_labels(own.groups), level.dims[1]: list(level.effects)}
    return xr.Dataset(values, coords=coords)


def _from_fit(source: xr.DataTree, seed: int, number: int) -> xr.Dataset:
    """A draw of the fit: replicate by replicate another one, in an order that the seed fixes."""
    posterior = source["posterior"].to_dataset()
    draws = posterior.sizes["draw"]
    total = posterior.sizes["chain"] * draws
    order = np.random.default_rng([seed, 2]).permutation(total)
    chain, draw = divmod(int(order[number % total]), draws)
    return posterior.isel(chain=[chain], draw=[draw])


def _measured(template: Dataset, dv: Floats) -> Dataset:
    """The template with these values, those beyond a limit of quantification at the limit."""
    seen, table = template.is_observation, template.table
    values, status = table["DV"].values.copy(), table["CENS"].values.copy()
    for name, side in (("LLOQ", 1), ("ULOQ", -1)):
        if name not in table:
            continue
        limit = table[name].values[seen].astype(float)
        beyond = side * dv < side * np.nan_to_num(limit, nan=-side * np.inf)
        status[seen] = np.where(beyond, side, status[seen])
        dv = np.where(beyond, limit, dv)
    values[seen] = dv
    return replace(template, table=table.assign(DV=("record", values), CENS=("record", status)))


def _together(observed: Dataset, simulated: Dataset) -> Dataset:
    """Every observation followed by its replicate: the data that the augmented posterior is of."""
    seen, first = observed.is_observation, observed.table
    times = np.where(seen, 2, 1)
    source = np.repeat(np.arange(len(seen)), times)
    again = np.zeros(len(source), dtype=bool)
    again[1:] = source[1:] == source[:-1]
    second = simulated.table.isel(record=source)
    table = first.isel(record=source)
    columns = {
        name: ("record", np.where(again, second[name].values, table[name].values))
        for name in ("DV", "CENS", *(n for n in ("LLOQ", "ULOQ") if n in table))
    }
    table = table.assign(columns).assign_coords(record=np.arange(1, len(source) + 1))
    return replace(observed, table=table, warnings=())

"""From a model and data to an ordinary PyMC model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from popk.dataset import Dataset, Problems
from popk.model import ModelError, PopModel
from popk.statistics import (
    HalfNormal,
    adapted_effects,
    individual_parameters,
    log_expected,
    pytensor_operations,
)
from popk.structure import Events, events_of
from popk.structure.events import OBSERVE

if TYPE_CHECKING:
    import pymc as pm

__all__ = [
    "Observations",
    "build",
    "check_fit",
    "check_units",
    "covariate_values",
    "observations",
    "subject_of_output",
]


def build(model: PopModel, dataset: Dataset, *, adapted: bool = False) -> pm.Model:
    """The PyMC model of a population model given data.

    An ordinary `pymc.Model`, to be sampled, inspected or extended as any other. Free variables:
    the population parameters under the names of `PopModel.parameters`, and the standardised random
    effects ``z`` (subject, effect) (non-centred). Deterministic: ``eta`` = omega z (subject,
    effect) and ``parameters`` (subject, parameter) in the units of the data. Observed: ``DV``
    (observation), with M3 for values below the LLOQ. Events, covariates and observations are
    `pm.Data`.

    Parameters
    ----------
    model, dataset
        What to fit to what.
    adapted
        Change to coordinates that sample better: ``u`` (subject, effect) instead of ``z``, which
        follows the data ``curvature`` and ``pull`` (`popk.statistics.adapted`; zero at first, where
        u = z), and signed SDs of the random effects. The posterior is the same.

    Raises
    ------
    DataError, ModelError
        When the data do not fit the model: units, covariates, compartments, or observations
        whose likelihood is undefined.
    """
    import pymc as pm
    import pytensor.tensor as pt

    events = check_fit(model, dataset)
    ops = pytensor_operations()
    coords = {
        "subject": list(dataset.subjects),
        "parameter": list(model.structure.names),
        "effect": list(model.iiv.effects),
        "observation": np.arange(dataset.n_observations),
    }
    with pm.Model(coords=coords) as built:
        population = _population(model, signed=adapted)
        covariates = {
            name: pm.Data(name, values, dims="subject")
            for name, values in covariate_values(model, dataset).items()
        }
        names = model.structure.names
        expected = log_expected(
            names, model.covariates, population=population, covariates=covariates, ops=ops
        )
        eta: dict[int, Any] = {}
        if model.iiv.effects:
            effects = _random_effects(model, population, expected, adapted=adapted)
            eta = {names.index(name): effects[:, k] for k, name in enumerate(model.iiv.effects)}
        columns = [
            pt.broadcast_to(column, (dataset.n_subjects,))
            for column in individual_parameters(expected, eta, ops)
        ]
        parameters = pm.Deterministic(
            "parameters", pt.stack(columns, axis=1), dims=("subject", "parameter")
        )
        _observations(model, dataset, events, parameters, population)
    return built


def _population(model: PopModel, *, signed: bool) -> dict[str, Any]:
    """The population parameters of the model on the context stack, by name.

    ``signed``: an SD with a half-normal prior becomes the absolute value of a normal variable
    ``…_signed``, which takes its place. The posterior is the same folded at zero, where the
    logarithm would have an endless tail for an SD that the data do not tell from zero.
    """
    import pymc as pm

    omegas = {model.iiv.omega_name(effect) for effect in model.iiv.effects}
    found: dict[str, Any] = {}
    for parameter in model.parameters:
        name, prior = parameter.name, parameter.prior
        if signed and name in omegas and isinstance(prior, HalfNormal):
            found[name] = pm.Normal(f"{name}_signed", 0.0, prior.sd)
            pm.Deterministic(name, abs(found[name]))
        else:
            found[name] = prior.variable(name)
    return found


def _random_effects(
    model: PopModel, population: dict[str, Any], expected: list[Any], *, adapted: bool
) -> Any:
    """``eta`` (subject, effect) of the model on the context stack."""
    import pymc as pm
    import pytensor.tensor as pt

    omegas = [population[model.iiv.omega_name(name)] for name in model.iiv.effects]
    if not adapted:
        z = pm.Normal("z", dims=("subject", "effect"))
        return pm.Deterministic("eta", z * pt.stack(omegas), dims=("subject", "effect"))
    context = pm.modelcontext(None)
    n = len(context.coords["subject"])
    m = len(model.structure.names)
    curvature = pm.Data("curvature", np.zeros((n, m, m)))
    pull = pm.Data("pull", np.zeros((n, m)))
    u = pm.Normal("u", dims=("subject", "effect"))
    size = len(omegas)
    standardised, log_determinant = adapted_effects(
        [u[:, k] for k in range(size)],
        omegas,
        expected,
        positions=[model.structure.names.index(name) for name in model.iiv.effects],
        curvature=curvature,
        pull=pull,
        ops=pytensor_operations(),
    )
    z = pt.stack(standardised, axis=1)
    pm.Potential("coordinates", 0.5 * (u**2 - z**2).sum() + log_determinant.sum())
    return pm.Deterministic("eta", z * pt.stack(omegas), dims=("subject", "effect"))


def _observations(
    model: PopModel, dataset: Dataset, events: Events, parameters: Any, population: dict[str, Any]
) -> None:
    """The likelihood ``DV`` of the model on the context stack."""
    import pymc as pm

    from popk.structure.op import concentration

    prepared = model.structure.prepare(events)
    data = [
        pm.Data(f"event_{name}", values)
        for name, values in zip(Events._fields, prepared, strict=True)
    ]
    subject_of = pm.Data("subject_of", subject_of_output(events), dims="observation")
    prediction = concentration(model.structure, parameters, subject_of, data)
    observed = observations(dataset)
    below = pm.Data("cens", observed.below, dims="observation")
    lloq = pm.Data("lloq", observed.lloq, dims="observation")
    dv = pm.Data("dv", observed.dv, dims="observation")
    sigma = {name: population[name] for name, _ in model.error.priors}

    def log_likelihood(value: Any, below: Any, lloq: Any, prediction: Any, *sds: Any) -> Any:
        named = dict(zip(sigma, sds, strict=True))
        ops = pytensor_operations()
        return model.error.log_likelihood(value, lloq, below, prediction, named, ops)

    pm.CustomDist(
        "DV",
        below,
        lloq,
        prediction,
        *sigma.values(),
        logp=log_likelihood,
        observed=dv,
        dims="observation",
        signature="(),(),()" + ",()" * len(sigma) + "->()",
    )


class Observations(NamedTuple):
    """The observed values: each (n_observations); ``lloq`` is 1 where none was given."""

    dv: NDArray[np.float64]
    lloq: NDArray[np.float64]
    below: NDArray[np.bool_]


def observations(dataset: Dataset) -> Observations:
    """The observations of a dataset, in record order."""
    table = dataset.table.isel(record=dataset.is_observation)
    return Observations(
        np.array(table["DV"].values, dtype=float),
        np.nan_to_num(table["LLOQ"].values.astype(float), nan=1.0),
        np.array(table["CENS"].values, dtype=bool),
    )


def check_fit(model: PopModel, dataset: Dataset) -> Events:
    """Events of the data, once it is certain that the model can describe them.

    Raises
    ------
    DataError, ModelError
        See `build`.
    """
    check_units(model, dataset)
    _check_covariates(model, dataset)
    events = events_of(dataset, n_compartments=len(model.structure.compartments))
    if model.error.needs_positive_prediction:
        _refuse_before_first_dose(model, dataset)
    return events


def check_units(model: PopModel, dataset: Dataset) -> None:
    """Refuse data whose units are not the model's.

    Raises
    ------
    ModelError
        With a sentence for each difference.
    """
    faults = [str(sentence) for sentence in model.units.same_scale(dataset.units)]
    needed = {effect.covariate for effect in model.covariates}
    missing = sorted(needed - set(dataset.covariates))
    faults += [
        f"it needs the covariate {name}, which the data do not have; declare it when reading, "
        f'for example units={{..., "{name}": "{model.units.covariate(name)}"}}.'
        for name in missing
    ]
    if faults:
        raise ModelError([f"{fault} (model {model.name})" for fault in faults])


def covariate_values(model: PopModel, dataset: Dataset) -> dict[str, NDArray[np.float64]]:
    """Value of each covariate that the model uses, (n_subjects)."""
    table = dataset.covariate_table()
    names = dict.fromkeys(effect.covariate for effect in model.covariates)
    return {name: table[name].to_numpy(dtype=float, copy=True) for name in names}


def subject_of_output(events: Events) -> NDArray[np.int64]:
    """Index of the subject of each output, (n_observations)."""
    subject = np.repeat(np.arange(events.n_subjects), np.diff(events.first))
    return np.ascontiguousarray(subject[events.kind == OBSERVE])


def _check_covariates(model: PopModel, dataset: Dataset) -> None:
    problems = Problems("the data for this model")
    table = dataset.covariate_table()
    found: set[tuple[str, str]] = set()  # two effects of one covariate find the same fault
    for effect in model.covariates:
        for identifier, value in table[effect.covariate].items():
            fault = effect.fault(float(value))
            if fault and (str(identifier), fault) not in found:
                found.add((str(identifier), fault))
                problems.error(
                    f"{effect.covariate} is {value:g}, but {fault}.",
                    "Correct the covariate.",
                    id=str(identifier),
                    column=effect.covariate,
                )
    problems.raise_if_errors()


def _refuse_before_first_dose(model: PopModel, dataset: Dataset) -> None:
    """A prediction of exactly zero has no relative error."""
    table = dataset.table
    identifiers, times = table["ID"].values, table["TIME"].values
    evid = table["EVID"].values
    at_once = (table["RATE"].values == 0) & (table["CMT"].values <= 1)
    rows = table["record"].values
    problems = Problems("the data for this model")
    zero_until: dict[str, float] = {}  # of those who had a dose; observed after it, in time
    for k, identifier in enumerate(identifiers):
        if evid[k] in (3, 4):
            zero_until.pop(identifier, None)
        if evid[k] in (1, 4):
            time = -np.inf if at_once[k] else float(times[k])
            zero_until[identifier] = min(time, zero_until.get(identifier, np.inf))
        if dataset.is_observation[k] and not times[k] > zero_until.get(identifier, np.inf):
            problems.error(
                f"The observation at TIME {times[k]:g} comes before any dose has reached the "
                "central compartment, where the predicted concentration is zero and "
                f"{type(model.error).__name__} error is undefined.",
                "Give the earlier doses, set MDV to 1 for this row, or use an error with an "
                "additive part.",
                row=int(rows[k]),
                id=str(identifier),
                column="DV",
            )
    problems.raise_if_errors()

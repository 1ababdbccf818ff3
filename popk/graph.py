"""From a model and data to an ordinary PyMC model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from popk.class_graph import expected_by_class, sum_over_classes
from popk.dataset import Dataset
from popk.design import Design, check_fit
from popk.effect_graph import Rows, random_effects
from popk.errors import SettingError
from popk.latent import covariate_variables
from popk.level_graph import with_levels
from popk.levels import refuse_single_group
from popk.model import PopModel
from popk.observations import observations
from popk.statistics import (
    Half,
    Observed,
    check_forms,
    individual_parameters,
    pytensor_operations,
)
from popk.structure.engine.prepare import arrays_of, prepare
from popk.structure.jax_op import register_for_jax

if TYPE_CHECKING:
    import pymc as pm

__all__ = ["build"]

# Names of the observations among the model's data.
OBSERVED = Observed("dv", "lloq", "uloq", "cens", "output_of", "assay_of", "back", "since")


def event_name(field: str) -> str:
    """Name among the model's data of what `popk.structure.engine.prepare.arrays_of` names so."""
    return field if field == "subject_of" else f"event_{field}"


def build(
    model: PopModel,
    dataset: Dataset,
    *,
    adapted: bool = False,
    forms: Mapping[str, str] | None = None,
    jax: bool = False,
) -> pm.Model:
    """The PyMC model of a population model given data.

    An ordinary `pymc.Model`, to be sampled, inspected or extended as any other. Free variables:
    the population parameters under the names of `PopModel.parameters`, and the standardised random
    effects ``z`` (subject, effect) (non-centred). Deterministic: ``eta``, what is added on the
    parameters' scales (subject, effect), and ``parameters`` (subject, parameter) in the units of
    the data. Observed: ``DV`` (observation), the log likelihood of each as its residual error has
    it. Events, covariates and observations are `pm.Data`. With variability between occasions there
    are ``z_occasion`` and ``kappa`` (occasion, occasion_effect) as well, for the occasions of all
    subjects; for latent covariates that are missing ``z_latent``, ``latent_covariates`` (missing);
    for a further level SITE ``z_SITE`` and ``eta_SITE`` (site_SITE, effect_SITE).

    Where a covariate that the model uses changes within a subject, or the occasion does,
    ``parameters`` are those at the subject's first record, and ``row_parameters`` (row, parameter)
    those of every distinct set of covariates and occasion (`Dataset.parameter_rows`);
    ``row_subject`` (row) says whose they are.

    With sub-populations the label of a subject is summed out: ``DV`` is a potential (subject) then,
    the log of the sum over classes of share times likelihood. Deterministic: instead of
    ``parameters``, ``class_parameters`` (class, subject, parameter) as they would be in each class,
    and ``class_probability`` (subject, class), given all free variables. The same for the levels of
    a category that was not measured in everybody; where it was, the class is known.

    Parameters
    ----------
    model, dataset
        What to fit to what.
    adapted
        Change to coordinates that sample better: ``u`` (subject, effect) instead of ``z``, which
        follows the data ``curvature`` and ``pull`` (`popk.statistics.adapted`; zero at first, where
        u = z), and signed SDs of the random effects. The posterior is the same. There are no
        ``row_parameters`` then: they follow from the others, and may be many. With sub-populations
        ``u`` stands for other random effects in each class, ``class_eta`` (class, subject, effect)
        and ``class_kappa``, instead of ``eta`` and ``kappa``.
    forms
        With `adapted`: effects that are ``"centred"`` (`popk.forms`) or ``"non-centred"`` instead.
        Not with sub-populations.
    jax
        Make it ready for PyTensor's JAX backend, and so for what samples by it:
        ``pm.sample(nuts_sampler="numpyro")`` (others that use it have not been tried). The density
        is the same; events are constants of the graph then, not data. Loading that backend
        switches JAX to double precision for the whole process. See `popk.structure.jax_op`.

    Raises
    ------
    DataError, ModelError, SettingError
        When the data do not fit the model: units, covariates, compartments, kinds of observation
        without a residual error, or observations whose likelihood is undefined; or forms do not.
        With `jax`, when JAX is missing or in single precision, the structure has no closed form, or
        its doses have parameters.
    """
    import pymc as pm
    import pytensor.tensor as pt

    if jax:
        register_for_jax(model.structure)
    design = check_fit(model, dataset)
    refuse_single_group(model, design.covariates)
    chosen = check_forms(model.iiv, forms or {}) if adapted else None
    if model.subpopulations is not None and chosen and set(chosen.values()) != {"adapted"}:
        said = ", ".join(f"{name} {form}" for name, form in chosen.items() if form != "adapted")
        title = model.subpopulations.title
        raise SettingError(
            f"forms says {said}, but the model {model.name} has {title}, whose random "
            "effects can only be sampled in adapted coordinates; leave forms out."
        )
    ops = pytensor_operations()
    coords = {
        "subject": list(dataset.subjects),
        "parameter": list(model.structure.names),
        "effect": list(model.iiv.effects),
        "observation": np.arange(dataset.n_observations),
    }
    if model.classes:
        coords["class"] = list(model.classes)
    if design.varies:
        coords["row"] = np.arange(design.rows.n_rows)
    if model.iov.effects:
        coords["occasion"] = np.arange(len(design.occasion_subject))
        coords["occasion_effect"] = list(model.iov.effects)
    with pm.Model(coords=coords) as built:
        population = _population(model, chosen)
        rows = Rows.of(design)
        covariates = covariate_variables(
            model, design.covariates, design.rows.subject, dim=rows.dim, population=population
        )
        classes = expected_by_class(model, population, covariates)
        classes = with_levels(model, population, design.covariates, classes)
        for coefficient in model.derived:
            pm.Deterministic(coefficient.name, coefficient.value(population, ops))
        shifts, terms = random_effects(model, population, design, rows, classes, forms=chosen)
        thetas = []
        for expected, shift in zip(classes, shifts, strict=True):
            columns = [
                pt.broadcast_to(column, (built.dim_lengths[rows.dim],))
                for column in individual_parameters(model.scale_of, expected, shift, ops)
            ]
            thetas.append(pt.stack(columns, axis=1))
        if model.classes:
            firsts = pt.stack([rows.first(theta) for theta in thetas])
            pm.Deterministic("class_parameters", firsts, dims=("class", "subject", "parameter"))
        else:
            thetas = [_described(thetas[0], rows, by_row=design.varies and not adapted)]
        events = _events(model, design, constant=jax)
        _observations(model, dataset, design, thetas, population, terms, events)
    if jax:
        _check_derivatives(model, built)
    return built


def _check_derivatives(model: PopModel, built: pm.Model) -> None:
    """Refuse what JAX, making derivatives itself, would silently make wrong ones of.

    PyTensor leaves out what holds a part of a graph constant when it is translated.
    """
    from pytensor.gradient import DisconnectedGrad
    from pytensor.graph.traversal import ancestors

    nodes = (variable.owner for variable in ancestors([built.logp()]))
    if any(node is not None and isinstance(node.op, DisconnectedGrad) for node in nodes):
        raise SettingError(
            f"The likelihood of {model.name} (Student's t, with observations beyond a limit of "
            "quantification) has derivatives that JAX cannot make of PyTensor's graph. Sample it "
            "by popk.NumpyroNUTS, which takes PyTensor's own, or leave out jax=True."
        )


def _described(theta: Any, rows: Rows, *, by_row: bool) -> Any:
    """Individual parameters (row, parameter), put under their names into the model."""
    import pymc as pm

    if by_row:
        theta = pm.Deterministic("row_parameters", theta, dims=("row", "parameter"))
    pm.Deterministic("parameters", rows.first(theta), dims=("subject", "parameter"))
    return theta


def _population(model: PopModel, forms: Mapping[str, str] | None) -> dict[str, Any]:
    """The population parameters of the model on the context stack, by name.

    With forms, other than centred: an SD with a half-normal (half-Cauchy, half-t) prior becomes the
    absolute value of a normal (Cauchy, t) variable ``…_signed``, which takes its place. The
    posterior is the same folded at zero, where the logarithm would have an endless tail for an SD
    that may be zero. Not for correlated effects, whose correlation a sign would turn round.
    """
    import pymc as pm

    correlated = {name for block in model.iiv.correlations for name in block.effects}
    free = {n for n, form in (forms or {}).items() if form != "centred"} - correlated
    omegas = {model.iiv.omega_name(effect) for effect in free}
    if forms is not None:
        omegas |= {x.omega_name(e) for x in model.levels if not x.correlations for e in x.effects}
    found: dict[str, Any] = {}
    for parameter in model.parameters:
        name, prior = parameter.name, parameter.prior
        if name in omegas and isinstance(prior, Half):
            found[name] = prior.whole.variable(f"{name}_signed")
            pm.Deterministic(name, abs(found[name]))
        else:
            found[name] = prior.variable(name)
    return found


def _events(model: PopModel, design: Design, *, constant: bool) -> dict[str, Any]:
    """What the structure's operation takes after the parameters, by name."""
    import pymc as pm
    import pytensor.tensor as pt

    found: dict[str, Any] = {}
    for name, values in arrays_of(prepare(model.structure, design.events)).items():
        if name == "subject_of":
            found[name] = pm.Data(event_name(name), values, dims="observation")
        elif constant:
            found[name] = pt.constant(values, name=event_name(name))
        else:
            found[name] = pm.Data(event_name(name), values)
    return found


def _observations(
    model: PopModel,
    dataset: Dataset,
    design: Design,
    thetas: list[Any],
    population: dict[str, Any],
    terms: list[Any],
    inputs: dict[str, Any],
) -> None:
    """The likelihood ``DV`` of the model on the context stack.

    ``thetas`` has the parameters (row, parameter) of each class where there are any, ``terms`` what
    adds to the log density (subject) there; ``inputs`` the events by name.
    """
    import pymc as pm
    import pytensor.tensor as pt

    from popk.structure.op import prediction

    # pm.Data keeps whole numbers in 32 bits.
    whole = [pt.cast(data, "int64") if data.dtype == "int32" else data for data in inputs.values()]
    predicted = [prediction(model.structure, theta, whole) for theta in thetas]
    observed = observations(model, dataset, design.events)
    dv, *given = (
        pm.Data(name, values, dims="observation")
        for name, values in zip(OBSERVED, observed, strict=True)
    )
    sigma = {name: population[name] for name, _ in model.error.priors}

    def log_likelihood(value: Any, *arguments: Any) -> Any:
        symbols = Observed(value, *arguments[: len(given)])
        prediction, *sds = arguments[len(given) :]
        named = dict(zip(sigma, sds, strict=True))
        return model.error.log_likelihood(symbols, prediction, named, pytensor_operations())

    if model.classes:
        each = [log_likelihood(dv, *given, one, *sigma.values()) for one in predicted]
        sum_over_classes(model, each, terms, inputs["subject_of"], population, design.labels)
        return
    parents = (*given, *predicted, *sigma.values())
    pm.CustomDist(
        "DV",
        *parents,
        logp=log_likelihood,
        observed=dv,
        dims="observation",
        signature=",".join(["()"] * len(parents)) + "->()",
    )

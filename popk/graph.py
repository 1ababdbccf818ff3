"""From a model and data to an ordinary PyMC model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from popk.dataset import Dataset
from popk.design import Design, check_fit, observations
from popk.model import PopModel
from popk.statistics import (
    HalfNormal,
    adapted_effects,
    individual_parameters,
    log_expected,
    pytensor_operations,
)
from popk.structure import Events
from popk.structure.engine.prepare import prepare

if TYPE_CHECKING:
    import pymc as pm

__all__ = ["build"]


def build(model: PopModel, dataset: Dataset, *, adapted: bool = False) -> pm.Model:
    """The PyMC model of a population model given data.

    An ordinary `pymc.Model`, to be sampled, inspected or extended as any other. Free variables:
    the population parameters under the names of `PopModel.parameters`, and the standardised random
    effects ``z`` (subject, effect) (non-centred). Deterministic: ``eta`` = omega z (subject,
    effect) and ``parameters`` (subject, parameter) in the units of the data. Observed: ``DV``
    (observation), with M3 for values below the LLOQ. Events, covariates and observations are
    `pm.Data`.

    Where a covariate that the model uses changes within a subject, ``parameters`` are those at the
    subject's first record, and ``row_parameters`` (row, parameter) those of every distinct set of
    covariates (`Dataset.parameter_rows`); ``row_subject`` (row) says whose they are.

    Parameters
    ----------
    model, dataset
        What to fit to what.
    adapted
        Change to coordinates that sample better: ``u`` (subject, effect) instead of ``z``, which
        follows the data ``curvature`` and ``pull`` (`popk.statistics.adapted`; zero at first, where
        u = z), and signed SDs of the random effects. The posterior is the same. There are no
        ``row_parameters`` then: they follow from the others, and may be many.

    Raises
    ------
    DataError, ModelError
        When the data do not fit the model: units, covariates, compartments, several kinds of
        observation, or observations whose likelihood is undefined.
    """
    import pymc as pm
    import pytensor.tensor as pt

    design = check_fit(model, dataset)
    ops = pytensor_operations()
    coords = {
        "subject": list(dataset.subjects),
        "parameter": list(model.structure.names),
        "effect": list(model.iiv.effects),
        "observation": np.arange(dataset.n_observations),
    }
    if design.varies:
        coords["row"] = np.arange(design.rows.n_rows)
    with pm.Model(coords=coords) as built:
        population = _population(model, signed=adapted)
        rows = _Rows.of(design)
        covariates = {
            name: pm.Data(name, values, dims=rows.dim) for name, values in design.covariates.items()
        }
        names = model.structure.names
        expected = log_expected(
            names, model.covariates, population=population, covariates=covariates, ops=ops
        )
        eta: dict[int, Any] = {}
        if model.iiv.effects:
            centre = [rows.mean(column) for column in expected]
            effects = rows.spread(_random_effects(model, population, centre, adapted=adapted))
            eta = {names.index(name): effects[:, k] for k, name in enumerate(model.iiv.effects)}
        columns = [
            pt.broadcast_to(column, (design.rows.n_rows,))
            for column in individual_parameters(expected, eta, ops)
        ]
        theta = pt.stack(columns, axis=1)
        if design.varies and not adapted:
            theta = pm.Deterministic("row_parameters", theta, dims=("row", "parameter"))
        pm.Deterministic("parameters", rows.first(theta), dims=("subject", "parameter"))
        _observations(model, dataset, design.events, theta, population)
    return built


class _Rows(NamedTuple):
    """Symbolic ways between subjects and rows; the identity where everybody has one row.

    ``subject`` (n_rows) is each row's subject; ``count`` and ``start`` (n_subjects) are the number
    of a subject's rows and its first.
    """

    dim: str
    subject: Any = None
    count: Any = None
    start: Any = None

    @classmethod
    def of(cls, design: Design) -> _Rows:
        import pymc as pm

        if not design.varies:
            return cls("subject")
        return cls(
            "row",
            pm.Data("row_subject", design.rows.subject, dims="row"),
            pm.Data("row_count", np.diff(design.rows.first), dims="subject"),
            pm.Data("row_start", design.first, dims="subject"),
        )

    def spread(self, values: Any) -> Any:
        """From subjects (n_subjects, …) to rows."""
        return values if self.subject is None else values[self.subject]

    def mean(self, column: Any) -> Any:
        """Mean over each subject's rows (n_subjects) of a column (n_rows) or a scalar."""
        import pytensor.tensor as pt

        if self.subject is None or column.ndim == 0:
            return column
        return pt.zeros(self.count.shape)[self.subject].inc(column) / self.count

    def first(self, table: Any) -> Any:
        """Each subject's first row of a table (n_rows, …)."""
        return table if self.subject is None else table[self.start]


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
    model: PopModel, dataset: Dataset, events: Events, theta: Any, population: dict[str, Any]
) -> None:
    """The likelihood ``DV`` of the model on the context stack; ``theta`` (row, parameter)."""
    import pymc as pm
    import pytensor.tensor as pt

    from popk.structure.op import arrays_of, prediction

    arrays = arrays_of(prepare(model.structure, events))
    inputs = [
        pm.Data(name, values, dims="observation")
        if name == "subject_of"
        else pm.Data(f"event_{name}", values)
        for name, values in arrays.items()
    ]
    # pm.Data keeps whole numbers in 32 bits.
    whole = [pt.cast(data, "int64") if data.dtype == "int32" else data for data in inputs]
    predicted = prediction(model.structure, theta, whole)
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
        predicted,
        *sigma.values(),
        logp=log_likelihood,
        observed=dv,
        dims="observation",
        signature="(),(),()" + ",()" * len(sigma) + "->()",
    )

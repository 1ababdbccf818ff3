"""From a model and data to an ordinary PyMC model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from popk.dataset import Dataset
from popk.design import Design, check_fit
from popk.forms import in_forms
from popk.latent import covariate_variables
from popk.model import PopModel
from popk.observations import observations
from popk.statistics import (
    Half,
    Observed,
    Variability,
    adapted_effects,
    check_forms,
    expected_parameters,
    individual_parameters,
    pytensor_operations,
)
from popk.structure import Events
from popk.structure.engine.prepare import prepare

if TYPE_CHECKING:
    import pymc as pm

__all__ = ["build"]

# Names of the observations among the model's data.
_OBSERVED = Observed("dv", "lloq", "uloq", "cens", "output_of", "assay_of", "back", "since")


def build(
    model: PopModel,
    dataset: Dataset,
    *,
    adapted: bool = False,
    forms: Mapping[str, str] | None = None,
) -> pm.Model:
    """The PyMC model of a population model given data.

    An ordinary `pymc.Model`, to be sampled, inspected or extended as any other. Free variables:
    the population parameters under the names of `PopModel.parameters`, and the standardised random
    effects ``z`` (subject, effect) (non-centred). Deterministic: ``eta``, what is added on the
    parameters' scales (subject, effect), and ``parameters`` (subject, parameter) in the units of
    the data. Observed: ``DV`` (observation), the log likelihood of each as its residual error has
    it. Events, covariates and observations are `pm.Data`. With variability between occasions there
    are ``z_occasion`` and ``kappa`` (occasion, occasion_effect) as well, for the occasions of all
    subjects; for latent covariates that are missing ``z_latent``, ``latent_covariates`` (missing).

    Where a covariate that the model uses changes within a subject, or the occasion does,
    ``parameters`` are those at the subject's first record, and ``row_parameters`` (row, parameter)
    those of every distinct set of covariates and occasion (`Dataset.parameter_rows`);
    ``row_subject`` (row) says whose they are.

    Parameters
    ----------
    model, dataset
        What to fit to what.
    adapted
        Change to coordinates that sample better: ``u`` (subject, effect) instead of ``z``, which
        follows the data ``curvature`` and ``pull`` (`popk.statistics.adapted`; zero at first, where
        u = z), and signed SDs of the random effects. The posterior is the same. There are no
        ``row_parameters`` then: they follow from the others, and may be many.
    forms
        With `adapted`: effects that are ``"centred"`` (`popk.forms`) or ``"non-centred"`` instead.

    Raises
    ------
    DataError, ModelError, SettingError
        When the data do not fit the model: units, covariates, compartments, kinds of observation
        without a residual error, or observations whose likelihood is undefined; or forms do not.
    """
    import pymc as pm
    import pytensor.tensor as pt

    design = check_fit(model, dataset)
    chosen = check_forms(model.iiv, forms or {}) if adapted else None
    ops = pytensor_operations()
    coords = {
        "subject": list(dataset.subjects),
        "parameter": list(model.structure.names),
        "effect": list(model.iiv.effects),
        "observation": np.arange(dataset.n_observations),
    }
    if design.varies:
        coords["row"] = np.arange(design.rows.n_rows)
    if model.iov.effects:
        coords["occasion"] = np.arange(len(design.occasion_subject))
        coords["occasion_effect"] = list(model.iov.effects)
    with pm.Model(coords=coords) as built:
        population = _population(model, chosen)
        rows = _Rows.of(design)
        covariates = covariate_variables(
            model, design.covariates, design.rows.subject, dim=rows.dim, population=population
        )
        names = model.structure.names
        expected = expected_parameters(
            model.scale_of,
            model.covariates,
            population=population,
            covariates=covariates,
            ops=ops,
        )
        if not all(effect.always_positive for effect in model.covariates):
            expected = _possible(expected)
        for coefficient in model.derived:
            pm.Deterministic(coefficient.name, coefficient.value(population, ops))
        shift: dict[int, Any] = {}
        if model.iiv.effects:
            effects = _random_effects(model, population, expected, rows, chosen)
            effects = rows.spread(effects)
            for e, name in enumerate(model.iiv.effects):
                shift |= {names.index(moved): effects[:, e] for moved in model.iiv.acts_on(name)}
        if model.iov.effects:
            centre = [x + shift[k] if k in shift else x for k, x in enumerate(expected)]
            kappa = _occasion_effects(model, population, design, centre, adapted=adapted)
            for e, k in enumerate(map(names.index, model.iov.effects)):
                shift[k] = kappa[:, e] + shift[k] if k in shift else kappa[:, e]
        columns = [
            pt.broadcast_to(column, (design.rows.n_rows,))
            for column in individual_parameters(model.scale_of, expected, shift, ops)
        ]
        theta = pt.stack(columns, axis=1)
        if design.varies and not adapted:
            theta = pm.Deterministic("row_parameters", theta, dims=("row", "parameter"))
        pm.Deterministic("parameters", rows.first(theta), dims=("subject", "parameter"))
        _observations(model, dataset, design.events, theta, population)
    return built


class _Rows(NamedTuple):
    """Symbolic ways between subjects and rows; the identity where everybody has one row.

    ``subject`` (n_rows) is each row's subject; ``start`` (n_subjects) a subject's first row.
    """

    dim: str
    subject: Any = None
    start: Any = None

    @classmethod
    def of(cls, design: Design) -> _Rows:
        import pymc as pm

        if not design.varies:
            return cls("subject")
        return cls(
            "row",
            pm.Data("row_subject", design.rows.subject, dims="row"),
            pm.Data("row_start", design.first, dims="subject"),
        )

    def spread(self, values: Any) -> Any:
        """From subjects (n_subjects, …) to rows."""
        return values if self.subject is None else values[self.subject]

    def total(self, values: Any) -> Any:
        """Sums over each subject's rows (n_subjects, ...) of values (n_rows, ...)."""
        import pytensor.tensor as pt

        if self.subject is None:
            return values
        shape = (self.start.shape[0], *values.shape[1:])
        return pt.zeros(shape)[self.subject].inc(values)

    def first(self, table: Any) -> Any:
        """Each subject's first row of a table (n_rows, …)."""
        return table if self.subject is None else table[self.start]


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
    found: dict[str, Any] = {}
    for parameter in model.parameters:
        name, prior = parameter.name, parameter.prior
        if name in omegas and isinstance(prior, Half):
            found[name] = prior.whole.variable(f"{name}_signed")
            pm.Deterministic(name, abs(found[name]))
        else:
            found[name] = prior.variable(name)
    return found


def _mixing(level: Variability, population: dict[str, Any]) -> list[list[Any]]:
    """SDs times the Cholesky factor of the correlations; 0.0 where zero."""
    omegas = [population[level.omega_name(name)] for name in level.effects]
    rows = level.factor(population, pytensor_operations())
    return [
        [0.0 if isinstance(x, float) and x == 0.0 else omega * x for x in row]
        for omega, row in zip(omegas, rows, strict=True)
    ]


def _occasion_effects(
    model: PopModel,
    population: dict[str, Any],
    design: Design,
    centre: list[Any],
    *,
    adapted: bool,
) -> Any:
    """Random effects between occasions of the rows (n_rows, n_effects), ``kappa`` of the model.

    ``centre`` are the parameters of the rows on their scales, without these effects.
    """
    import pymc as pm
    import pytensor.tensor as pt

    iov, dims = model.iov, ("occasion", "occasion_effect")
    size, mixing = len(iov.effects), _mixing(model.iov, population)
    occasion = pm.Data("row_occasion", design.occasion)
    if not adapted:
        z = pm.Normal("z_occasion", dims=dims)
    else:
        n, m = len(design.occasion_subject), len(model.structure.names)
        curvature = pm.Data("occasion_curvature", np.zeros((n, size, size)))
        pull = pm.Data("occasion_pull", np.zeros((n, size)))
        by_row = pm.Data("occasion_curvature_of_rows", np.zeros((design.rows.n_rows, size, m)))
        bent = pt.stack(
            [sum(by_row[:, e, q] * x for q, x in enumerate(centre)) for e in range(size)], axis=1
        )
        residual = pull - pt.zeros((n, size))[occasion].inc(bent)
        u = pm.Normal("u_occasion", dims=dims)
        z = _adapted(u, mixing, residual, [[e] for e in range(size)], curvature, "occasions")
    return pm.Deterministic("kappa", _mixed(mixing, z), dims=dims)[occasion]


def _adapted(
    u: Any, mixing: list[list[Any]], residual: Any, positions: list[list[int]], curvature: Any,
    name: str,
) -> Any:  # fmt: skip
    """Standardised effects (n, n_effects) from adapted coordinates, whose density it corrects.

    ``residual`` is (n, …) with a column for each position.
    """
    import pymc as pm
    import pytensor.tensor as pt

    standardised, log_determinant = adapted_effects(
        [u[:, k] for k in range(len(positions))],
        mixing,
        {p: residual[:, p] for p in {p for each in positions for p in each}},
        positions=positions,
        curvature=curvature,
        ops=pytensor_operations(),
    )
    z = pt.stack(standardised, axis=1)
    pm.Potential(name, 0.5 * (u**2 - z**2).sum() + log_determinant.sum())
    return z


def _mixed(mixing: list[list[Any]], z: Any) -> Any:
    """The matrix times every row of z (n, n_effects)."""
    import pytensor.tensor as pt

    return pt.stack(
        [
            sum(x * z[:, j] for j, x in enumerate(row) if not isinstance(x, float) or x != 0.0)
            for row in mixing
        ],
        axis=1,
    )


def _possible(expected: list[Any]) -> list[Any]:
    """Log parameters without NaN, which marks factors of covariates that are not above zero.

    There the density of the model on the context stack is zero, with a slope of zero.
    """
    import pymc as pm
    import pytensor.tensor as pt

    where = pytensor_operations().where
    undefined = [pt.isnan(column) for column in expected]
    anywhere = pt.stack([bad.any() for bad in undefined]).any()
    pm.Potential("possible", where(anywhere, -np.inf, 0.0))
    return [where(bad, 0.0, c) for bad, c in zip(undefined, expected, strict=True)]


def _random_effects(
    model: PopModel,
    population: dict[str, Any],
    centre: list[Any],
    rows: _Rows,
    forms: Mapping[str, str] | None,
) -> Any:
    """``eta`` (subject, effect) of the model on the context stack.

    ``centre`` are the parameters of the rows on their scales, without these effects; ``forms`` the
    form of each in adapted coordinates (None: plain).
    """
    import pymc as pm
    import pytensor.tensor as pt

    iiv, dims = model.iiv, ("subject", "effect")
    if forms is None:
        z = pm.Normal("z", dims=dims)
        return pm.Deterministic("eta", _eta(model, population, z), dims=dims)
    context = pm.modelcontext(None)
    n, m = len(context.coords["subject"]), len(model.structure.names)
    curvature = pm.Data("curvature", np.zeros((n, m, m)))
    pull = pm.Data("pull", np.zeros((n, m)))
    by_row = curvature
    if rows.subject is not None:
        by_row = pm.Data("curvature_of_rows", np.zeros((len(context.coords["row"]), m, m)))
    positions = [[*map(model.structure.names.index, iiv.acts_on(name))] for name in iiv.effects]

    def adapt(u: Any, mixing: Any, centre: Any, places: Any) -> Any:
        bent = [sum(by_row[:, p, q] * x for q, x in enumerate(centre)) for p in range(m)]
        residual = pull - rows.total(pt.stack(bent, axis=1))
        return _adapted(u, mixing, residual, places, curvature, "coordinates")

    u, mixing = pm.Normal("u", dims=dims), _mixing(iiv, population)
    if set(forms.values()) == {"adapted"}:
        z = adapt(u, mixing, centre, positions)
    else:
        ways = rows.first, rows.spread
        z = in_forms(u, mixing, centre, positions, forms=forms, ways=ways, adapt=adapt)
    return pm.Deterministic("eta", _eta(model, population, z), dims=dims)


def _eta(model: PopModel, population: dict[str, Any], z: Any) -> Any:
    """Random effects between subjects from standardised ones."""
    import pytensor.tensor as pt

    iiv, ops = model.iiv, pytensor_operations()
    if not iiv.shapes:
        return _mixed(_mixing(iiv, population), z)
    shapes = dict(iiv.shapes)
    mixed = _mixed(iiv.factor(population, ops), z)
    columns = []
    for k, name in enumerate(iiv.effects):
        omega, own = population[iiv.omega_name(name)], mixed[:, k]
        if name in shapes:
            value = population[iiv.shape_name(name)]
            columns.append(shapes[name].effect(own, omega, value, ops))
        else:
            columns.append(omega * own)
    return pt.stack(columns, axis=1)


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
    observed = observations(model, dataset, events)
    dv, *given = (
        pm.Data(name, values, dims="observation")
        for name, values in zip(_OBSERVED, observed, strict=True)
    )
    sigma = {name: population[name] for name, _ in model.error.priors}

    def log_likelihood(value: Any, *arguments: Any) -> Any:
        symbols = Observed(value, *arguments[: len(given)])
        prediction, *sds = arguments[len(given) :]
        named = dict(zip(sigma, sds, strict=True))
        return model.error.log_likelihood(symbols, prediction, named, pytensor_operations())

    parents = (*given, predicted, *sigma.values())
    pm.CustomDist(
        "DV",
        *parents,
        logp=log_likelihood,
        observed=dv,
        dims="observation",
        signature=",".join(["()"] * len(parents)) + "->()",
    )

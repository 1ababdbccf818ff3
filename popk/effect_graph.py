"""Random effects in the PyMC model, in each class of subjects, and how they reach the rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from popk.class_graph import density_terms, named_by_class
from popk.design import Design
from popk.forms import in_forms
from popk.model import PopModel
from popk.statistics import Variability, adapted_effects, pytensor_operations

__all__ = ["Rows", "random_effects"]


class Rows(NamedTuple):
    """Symbolic ways between subjects and rows; the identity where everybody has one row.

    ``subject`` (n_rows) is each row's subject; ``start`` (n_subjects) a subject's first row.
    """

    dim: str
    subject: Any = None
    start: Any = None

    @classmethod
    def of(cls, design: Design) -> Rows:
        """The ways of a design, as data of the PyMC model on the context stack."""
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


def random_effects(
    model: PopModel,
    population: dict[str, Any],
    design: Design,
    rows: Rows,
    classes: list[list[Any]],
    *,
    forms: Mapping[str, str] | None,
) -> tuple[list[dict[int, Any]], list[Any]]:
    """What the random effects add to the parameters of the rows, by position, in each class.

    Adapted coordinates stand for other effects in each class: those that explain the subject's data
    then, so that a subject who may be of two classes has one mode and not two. Also returned are
    the terms (subject) that this adds to the log density in each class.
    """
    names, found = model.structure.names, [dict[int, Any]() for _ in classes]
    terms: list[Any] = [0.0 for _ in classes]
    if model.iiv.effects:
        effects, more = _between_subjects(model, population, classes, rows, forms)
        terms = [term + own for term, own in zip(terms, more, strict=True)]
        for shift, own in zip(found, map(rows.spread, effects), strict=True):
            for e, name in enumerate(model.iiv.effects):
                shift |= {names.index(moved): own[:, e] for moved in model.iiv.acts_on(name)}
    if model.iov.effects:
        centres = [
            [x + shift[k] if k in shift else x for k, x in enumerate(expected)]
            for expected, shift in zip(classes, found, strict=True)
        ]
        kappas, more = _occasion_effects(
            model, population, design, centres, adapted=forms is not None
        )
        terms = [term + own for term, own in zip(terms, more, strict=True)]
        for shift, kappa in zip(found, kappas, strict=True):
            for e, k in enumerate(map(names.index, model.iov.effects)):
                shift[k] = kappa[:, e] + shift[k] if k in shift else kappa[:, e]
    return found, terms


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
    centres: list[list[Any]],
    *,
    adapted: bool,
) -> tuple[list[Any], list[Any]]:
    """Random effects between occasions of the rows (n_rows, n_effects), ``kappa`` of the model.

    ``centres`` are the parameters of the rows on their scales, without these effects, in each
    class; so is what is returned, with the terms of the log density.
    """
    import pymc as pm
    import pytensor.tensor as pt

    iov, dims = model.iov, ("occasion", "occasion_effect")
    size, mixing = len(iov.effects), _mixing(model.iov, population)
    occasion = pm.Data("row_occasion", design.occasion)
    if not adapted:
        kappa = _mixed(mixing, pm.Normal("z_occasion", dims=dims))
        kappa = pm.Deterministic("kappa", kappa, dims=dims)[occasion]
        return [kappa for _ in centres], [0.0 for _ in centres]
    n, m = len(design.occasion_subject), len(model.structure.names)
    length = pm.modelcontext(None).dim_lengths["occasion"]
    curvature = pm.Data("occasion_curvature", np.zeros((n, size, size)))
    pull = pm.Data("occasion_pull", np.zeros((n, size)))
    by_row = pm.Data("occasion_curvature_of_rows", np.zeros((design.rows.n_rows, size, m)))
    residuals = []
    for centre in centres:
        bent = pt.stack(
            [sum(by_row[:, e, q] * x for q, x in enumerate(centre)) for e in range(size)], axis=1
        )
        residuals.append(pull - pt.zeros((length, size))[occasion].inc(bent))
    u = pm.Normal("u_occasion", dims=dims)
    positions = [[e] for e in range(size)]
    found = [_adapted(u, mixing, own, positions, curvature) for own in residuals]
    terms = density_terms(model, "occasions", u, found, owner=design.occasion_subject)
    kappas = named_by_class(model, "kappa", [_mixed(mixing, z) for z, _ in found], dims)
    return [kappa[occasion] for kappa in kappas], terms


def _adapted(
    u: Any, mixing: list[list[Any]], residual: Any, positions: list[list[int]], curvature: Any
) -> tuple[Any, Any]:
    """Standardised effects (n, n_effects) from adapted coordinates, and the log determinant (n).

    ``residual`` is (n, …) with a column for each position.
    """
    import pytensor.tensor as pt

    standardised, log_determinant = adapted_effects(
        [u[:, k] for k in range(len(positions))],
        mixing,
        {p: residual[:, p] for p in {p for each in positions for p in each}},
        positions=positions,
        curvature=curvature,
        ops=pytensor_operations(),
    )
    return pt.stack(standardised, axis=1), log_determinant


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


def _between_subjects(
    model: PopModel,
    population: dict[str, Any],
    centres: list[list[Any]],
    rows: Rows,
    forms: Mapping[str, str] | None,
) -> tuple[list[Any], list[Any]]:
    """``eta`` (subject, effect) of the model on the context stack, and terms of the log density.

    ``centres`` are the parameters of the rows on their scales, without these effects, in each
    class; so is what is returned. ``forms`` has the form of each in adapted coordinates (None:
    plain).
    """
    import pymc as pm
    import pytensor.tensor as pt

    iiv, dims = model.iiv, ("subject", "effect")
    if forms is None:
        eta = pm.Deterministic("eta", _eta(model, population, pm.Normal("z", dims=dims)), dims=dims)
        return [eta for _ in centres], [0.0 for _ in centres]
    context = pm.modelcontext(None)
    n, m = len(context.coords["subject"]), len(model.structure.names)
    curvature = pm.Data("curvature", np.zeros((n, m, m)))
    pull = pm.Data("pull", np.zeros((n, m)))
    by_row = curvature
    if rows.subject is not None:
        by_row = pm.Data("curvature_of_rows", np.zeros((len(context.coords["row"]), m, m)))
    positions = [[*map(model.structure.names.index, iiv.acts_on(name))] for name in iiv.effects]

    def adapt(u: Any, mixing: Any, centre: Any, places: Any) -> tuple[Any, Any]:
        bent = [sum(by_row[:, p, q] * x for q, x in enumerate(centre)) for p in range(m)]
        residual = pull - rows.total(pt.stack(bent, axis=1))
        return _adapted(u, mixing, residual, places, curvature)

    def rest(u: Any, *arguments: Any) -> Any:
        found = adapt(u, *arguments)
        density_terms(model, "coordinates", u, [found])
        return found[0]

    u, mixing = pm.Normal("u", dims=dims), _mixing(iiv, population)
    if set(forms.values()) == {"adapted"}:
        found = [adapt(u, mixing, centre, positions) for centre in centres]
        terms = density_terms(model, "coordinates", u, found)
        standardised = [z for z, _ in found]
    else:
        (centre,), ways = centres, (rows.first, rows.spread)
        z = in_forms(u, mixing, centre, positions, forms=forms, ways=ways, adapt=rest)
        standardised, terms = [z], [0.0]
    etas = [_eta(model, population, z) for z in standardised]
    return named_by_class(model, "eta", etas, dims), terms


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

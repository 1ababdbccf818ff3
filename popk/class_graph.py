"""Sub-populations in the PyMC model: what depends on the class, and the sum over the classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from popk.model import PopModel
from popk.statistics import (
    CovariateEffect,
    LogitScale,
    expected_parameters,
    impossible,
    pytensor_operations,
)

__all__ = ["density_terms", "expected_by_class", "named_by_class", "sum_over_classes"]


def expected_by_class(
    model: PopModel, population: Mapping[str, Any], covariates: Mapping[str, Any]
) -> list[list[Any]]:
    """Each class's parameters on their scales without random effects; one class without any.

    Parameters
    ----------
    model
        The model.
    population
        The population parameters on the context stack, by name.
    covariates
        Value of each covariate in every row, by name.
    """
    ops, classes = pytensor_operations(), model.subpopulations
    effects: list[tuple[CovariateEffect, ...]] = [model.covariates]
    known: list[dict[str, Any]] = [{}]
    if classes is not None:
        known = [classes.indicators(label) for label in range(len(classes.names))]
        effects = [
            (*model.covariates, *(e for e in classes.effects if mine[e.covariate]))
            for mine in known
        ]
    found = [
        expected_parameters(
            model.scale_of,
            own,
            population=population,
            covariates={**covariates, **mine},
            ops=ops,
        )
        for own, mine in zip(effects, known, strict=True)
    ]
    if not _may_be_impossible(model):
        return found
    flat, size = _possible([column for own in found for column in own]), len(model.scale_of)
    return [flat[k : k + size] for k in range(0, len(flat), size)]


def _may_be_impossible(model: PopModel) -> bool:
    """Whether a factor may take a typical value out of its range."""
    folds = model.subpopulations.factors if model.subpopulations is not None else ()
    moved = [*(name for name, _ in folds), *(effect.parameter for effect in model.covariates)]
    limited = any(isinstance(model.scale_of[name], LogitScale) for name in moved)
    return limited or not all(effect.always_positive for effect in model.covariates)


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


def named_by_class(
    model: PopModel, name: str, values: list[Any], dims: tuple[str, ...]
) -> list[Any]:
    """A variable of the model on the context stack, or ``class_…`` of its values in each class."""
    import pymc as pm
    import pytensor.tensor as pt

    if not model.classes:
        return [pm.Deterministic(name, values[0], dims=dims)]
    pm.Deterministic(f"class_{name}", pt.stack(values), dims=("class", *dims))
    return values


def density_terms(
    model: PopModel,
    name: str,
    u: Any,
    found: Sequence[tuple[Any, Any]],
    owner: NDArray[np.int64] | None = None,
) -> list[Any]:
    """What adapted coordinates add to the log density of each class, by subject.

    Parameters
    ----------
    model
        The model; without classes it becomes a potential, and nothing is left to add.
    name
        Of that potential.
    u
        The coordinates (n, n_effects), which have a standard normal density of their own.
    found
        Standardised effects (n, n_effects) that they stand for in each class, and the log
        determinant (n).
    owner
        Subject of each row of ``u``; one subject each if None.
    """
    import pymc as pm
    import pytensor.tensor as pt

    if not model.classes:
        ((z, log_determinant),) = found
        pm.Potential(name, 0.5 * (u**2 - z**2).sum() + log_determinant.sum())
        return [0.0]
    terms = [0.5 * (u**2 - z**2).sum(axis=1) + determinant for z, determinant in found]
    if owner is None:
        return terms
    n = pm.modelcontext(None).dim_lengths["subject"]
    return [pt.zeros(n)[owner].inc(term) for term in terms]


def sum_over_classes(
    model: PopModel,
    each: Sequence[Any],
    terms: Sequence[Any],
    subject_of: Any,
    population: Mapping[str, Any],
    labels: NDArray[np.int64],
) -> None:
    """``DV`` of the model on the context stack, the label of every subject summed out.

    Parameters
    ----------
    model
        The model, with sub-populations.
    each
        Log likelihood of every observation (observation) in each class.
    terms
        What else each class adds to the log density, (subject) or 0.
    subject_of
        Subject of every observation.
    population
        The population parameters.
    labels
        The class of each subject whose class is known, (subject), else -1.
    """
    import pymc as pm
    import pytensor.tensor

    pt: Any = pytensor.tensor  # its type hints lack logsumexp
    assert model.subpopulations is not None
    n = pm.modelcontext(None).dim_lengths["subject"]
    shares = model.subpopulations.log_shares(population, pytensor_operations())
    joint = pt.stack(
        [
            share + term + pt.zeros(n)[subject_of].inc(own)
            for share, term, own in zip(shares, terms, each, strict=True)
        ],
        axis=1,
    )
    if (labels >= 0).any():
        joint = pt.where(impossible(labels, len(shares)), -np.inf, joint)
    total = pt.logsumexp(joint, axis=1)
    probability = pt.exp(joint - total[:, None])
    pm.Deterministic("class_probability", probability, dims=("subject", "class"))
    pm.Potential("DV", total, dims="subject")

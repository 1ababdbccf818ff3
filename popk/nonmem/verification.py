"""Whether the model computes what the control stream does, at random covariates and etas."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from popk.model import PopModel
from popk.nonmem.evaluation import names_in
from popk.nonmem.individual import Taken, columns_in
from popk.nonmem.points import Points, compiled, same
from popk.nonmem.random_effects import Between, eta_values
from popk.statistics import NUMPY, expected_parameters, individual_parameters

__all__ = ["individual", "shifts", "unequal"]

_POINTS = 25


def shifts(
    model: PopModel,
    between: Between,
    occasions: Mapping[float, Between],
    etas: Mapping[int, Any],
    occasion: Any,
) -> dict[int, Any]:
    """What random effects add on the scale of each parameter, by its position.

    Parameters
    ----------
    model
        The model.
    between, occasions
        popk's effects as sums of NONMEM's etas.
    etas
        NONMEM's etas by number, numbers or arrays (n_rows).
    occasion
        Level of the column of occasions in each row.
    """
    names = model.structure.names
    found: dict[int, Any] = {}
    values = eta_values(between.matrix, etas)
    for name, value in zip(between.effects, values, strict=True):
        for moved in model.iiv.acts_on(name):
            found[names.index(moved)] = value
    for level, own in occasions.items():
        here = np.asarray(occasion) == level
        for name, value in zip(own.effects, eta_values(own.matrix, etas), strict=True):
            k = names.index(name)
            found[k] = found.get(k, 0.0) + np.where(here, value, 0.0)
    return found


def individual(
    model: PopModel,
    values: Mapping[str, float],
    covariates: Mapping[str, Any],
    shift: Mapping[int, Any],
) -> list[Any]:
    """Individual parameters, in the structure's order."""
    expected = expected_parameters(
        model.scale_of, model.covariates, population=values, covariates=covariates, ops=NUMPY
    )
    return individual_parameters(model.scale_of, expected, shift, NUMPY)


def unequal(
    model: PopModel,
    values: Mapping[str, float],
    taken: Sequence[Taken],
    random: tuple[Between, Mapping[float, Between], str | None],
    points: Points,
    still: Collection[int],
) -> list[str]:
    """Names of parameters that are not those of the control stream.

    Parameters
    ----------
    model, values
        The model, and the control stream's values of its population parameters.
    taken
        The control stream's parameters.
    random
        Effects between subjects, between occasions, and the column of occasions.
    points
        Where they are compared.
    still
        Numbers of etas whose variance is 0.
    """
    between, occasions, column = random
    size = between.matrix.shape[1]
    needed = {name for p in taken for name in names_in(p.expression)}
    functions = [compiled(p.expression) for p in taken]
    used = {name for effect in model.covariates for name in effect.covariates}
    rng = np.random.default_rng(8)
    wrong: set[str] = set()
    for _ in range(_POINTS):
        point = points.draw(needed | used, rng, move="etas columns")
        point |= {f"ETA({k})": 0.0 for k in still}
        if column is not None:
            point[column] = float(rng.choice(list(occasions)))
        if any(e.fault(name, point[name]) for e in model.covariates for name in e.covariates):
            continue  # popk refuses such data
        etas = {k: np.array([point.get(f"ETA({k})", 0.0)]) for k in range(1, size + 1)}
        occasion = np.array([point[column] if column is not None else np.nan])
        covariates = {name: np.array([point[name]]) for name in used}
        with np.errstate(all="ignore"):
            shift = shifts(model, between, occasions, etas, occasion) if size else {}
            found = individual(model, values, covariates, shift)
        for parameter, function, value in zip(taken, functions, found, strict=True):
            wanted = function(point)
            # Where the control stream has no value above zero, popk's likelihood is zero.
            plain = columns_in(parameter.expression) and not wanted > 0
            if not plain and not same(float(np.ravel(value)[0]), wanted):
                wrong.add(parameter.name)
    return sorted(wrong)

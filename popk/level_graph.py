"""Random effects that groups of subjects share, in the PyMC model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from popk.levels import group_labels, groups_of
from popk.model import PopModel
from popk.statistics import pytensor_operations

__all__ = ["with_levels"]


def with_levels(
    model: PopModel,
    population: Mapping[str, Any],
    covariates: Mapping[str, NDArray[np.float64]],
    classes: list[list[Any]],
) -> list[list[Any]]:
    """Each class's parameters on their scales with the effects of the rows' groups.

    Free variables of the model on the context stack are ``z_SITE`` (site_SITE, effect_SITE) for a
    level named SITE, standard normal (non-centred: many subjects inform a group's effects, but few
    groups their SD); deterministic is ``eta_SITE``, what is added.

    Parameters
    ----------
    model
        The model.
    population
        Population parameters by name.
    covariates
        Values (n_rows) of the covariates.
    classes
        Parameters of the rows on their scales without random effects, in each class.
    """
    import pymc as pm
    import pytensor.tensor as pt

    found = [list(expected) for expected in classes]
    for level in model.levels:
        groups, place = groups_of(covariates[level.covariate])
        context = pm.modelcontext(None)
        context.add_coord(level.dims[0], group_labels(groups))
        context.add_coord(level.dims[1], list(level.effects))
        z = pm.Normal(level.standardised_name, dims=level.dims)
        factor = level.factor(population, pytensor_operations())
        columns = [
            population[level.omega_name(name)]
            * sum(x * z[:, j] for j, x in enumerate(row) if not isinstance(x, float) or x != 0.0)
            for name, row in zip(level.effects, factor, strict=True)
        ]
        eta = pm.Deterministic(level.effects_name, pt.stack(columns, axis=1), dims=level.dims)
        own = eta[pm.Data(f"row_{level.covariate}", place)]
        for e, name in enumerate(level.effects):
            k = model.structure.names.index(name)
            for expected in found:
                expected[k] = expected[k] + own[:, e]
    return found

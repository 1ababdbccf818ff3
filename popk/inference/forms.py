"""Where the centred coordinates of the sampler lie: an offset and a scale that suit the data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from popk.dataset import Dataset
from popk.design import check_fit
from popk.levels import effects_in_draw
from popk.model import PopModel
from popk.population import PopulationDraws

__all__ = ["centred_coordinates"]

type Floats = NDArray[np.float64]

_NARROWEST = 0.01  # scale, relative to the effect's SD


def centred_coordinates(
    model: PopModel,
    dataset: Dataset,
    forms: Mapping[str, str],
    draws: Sequence[Mapping[str, Any]],
) -> dict[str, Floats]:
    """Offset and scale of centred effects; any positive scale samples the same posterior.

    Parameters
    ----------
    model, dataset
        What is fitted to what.
    forms
        The form of every effect (`popk.statistics.check_forms`).
    draws
        Points, as `popk.inference.approximation.approximate_likelihood` takes them: the offset is
        the mean of the parameter on its scale over them, the scale its SD (a single point: the SD
        between subjects).

    Returns
    -------
    The data of `popk.graph.build`, ``centred_location`` and ``centred_scale``, each (n_subjects,
    n_effects), zero for effects that are not centred; empty if none is.
    """
    places = [e for e, name in enumerate(model.iiv.effects) if forms[name] == "centred"]
    if not places:
        return {}
    design = check_fit(model, dataset)
    columns = [model.structure.names.index(model.iiv.effects[e]) for e in places]
    values, omegas = [], []
    for draw in draws:
        population = PopulationDraws(
            model,
            {p.name: np.reshape(draw[p.name], 1) for p in model.parameters},
            levels=effects_in_draw(model, design.covariates, draw),
        )
        latent = np.asarray(draw["latent_covariates"])[None] if design.missing else None
        expected = population.expected(design.filled(latent))[0]
        expected = np.broadcast_to(expected, (design.rows.n_rows, expected.shape[1]))
        values.append(expected[design.first][:, columns] + np.asarray(draw["eta"])[:, places])
        omegas.append(population.omega[0, places])
    between = np.mean(omegas, axis=0)
    spread = np.std(values, axis=0) if len(values) > 1 else np.zeros_like(values[0]) + between
    shape = (dataset.n_subjects, len(model.iiv.effects))
    location, scale = np.zeros(shape), np.zeros(shape)
    location[:, places] = np.mean(values, axis=0)
    scale[:, places] = np.maximum(spread, _NARROWEST * between)
    return {"centred_location": location, "centred_scale": scale}

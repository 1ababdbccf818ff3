"""What the compiled density of a model reads of a dataset."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from popk.dataset import Dataset
from popk.design import Design, check_fit
from popk.graph import OBSERVED, event_name
from popk.levels import group_labels, groups_of, refuse_single_group
from popk.model import PopModel
from popk.observations import observations
from popk.structure.engine.prepare import arrays_of, prepare

__all__ = ["Inputs", "inputs_of", "is_portable"]


@dataclass(frozen=True)
class Inputs:
    """The data of `popk.graph.build` in adapted coordinates, without PyMC.

    Parameters
    ----------
    data
        The arrays, by name.
    coords
        Labels along each dimension.
    varies
        Whether a subject has several rows of parameters.
    """

    data: dict[str, NDArray[Any]]
    coords: dict[str, list[Any]]
    varies: bool

    @property
    def lengths(self) -> dict[str, int]:
        """Length of each dimension."""
        return {name: len(labels) for name, labels in self.coords.items()}


def is_portable(model: PopModel) -> bool:
    """Whether the graph of a model holds nothing of the data but what `Inputs` has.

    Which covariates are missing in whom, and what was measured of them, stands in the graph itself;
    so does whose the occasions are in a model with sub-populations.
    """
    latent = bool(model.latent) or model.category is not None
    return not latent and not (model.classes and model.iov.effects)


def inputs_of(model: PopModel, dataset: Dataset, forms: Mapping[str, str]) -> Inputs:
    """What the density reads of a dataset, its coordinates not adapted yet.

    Parameters
    ----------
    model, dataset
        What is fitted to what.
    forms
        The form of every effect between subjects (`popk.statistics.check_forms`).

    Raises
    ------
    DataError, ModelError, SettingError
        As `popk.graph.build`.
    """
    design = check_fit(model, dataset)
    refuse_single_group(model, design.covariates)
    coords: dict[str, list[Any]] = {
        "subject": list(dataset.subjects),
        "parameter": list(model.structure.names),
        "effect": list(model.iiv.effects),
        "observation": list(range(dataset.n_observations)),
    }
    if model.classes:
        coords["class"] = list(model.classes)
    if design.varies:
        coords["row"] = list(range(design.rows.n_rows))
    if model.iov.effects:
        coords["occasion"] = list(range(len(design.occasion_subject)))
        coords["occasion_effect"] = list(model.iov.effects)
    if design.missing:
        coords["missing"] = list(range(len(design.missing)))
    data = _covariates(model, design)
    for level in model.levels:
        groups, place = groups_of(design.covariates[level.covariate])
        coords |= {level.dims[0]: list(group_labels(groups)), level.dims[1]: list(level.effects)}
        data[f"row_{level.covariate}"] = place
    data |= _coordinates(model, design, forms)
    arrays = arrays_of(prepare(model.structure, design.events))
    data |= {event_name(name): np.asarray(values) for name, values in arrays.items()}
    observed = observations(model, dataset, design.events)
    data |= dict(zip(OBSERVED, observed, strict=True))
    return Inputs(data, coords, design.varies)


def _covariates(model: PopModel, design: Design) -> dict[str, NDArray[Any]]:
    instead = {one.covariate: one.mean.median for one in model.latent}
    data: dict[str, NDArray[Any]] = {
        name: np.where(np.isnan(values), instead.get(name, np.nan), values)
        for name, values in design.covariates.items()
    }
    if design.varies:
        data |= {"row_subject": design.rows.subject, "row_start": design.first}
    return data


def _coordinates(
    model: PopModel, design: Design, forms: Mapping[str, str]
) -> dict[str, NDArray[Any]]:
    """What `popk.inference.approximation` and `popk.inference.forms` will say, zero at first."""
    n, m, rows = design.events.n_subjects, len(model.structure.names), design.rows.n_rows
    effects, between = len(model.iiv.effects), len(model.iov.effects)
    shapes: dict[str, tuple[int, ...]] = {}
    if effects:
        shapes |= {"curvature": (n, m, m), "pull": (n, m)}
        if design.varies:
            shapes["curvature_of_rows"] = (rows, m, m)
        if "centred" in forms.values():
            shapes |= {"centred_location": (n, effects), "centred_scale": (n, effects)}
    data: dict[str, NDArray[Any]] = {}
    if between:
        occasions = len(design.occasion_subject)
        data["row_occasion"] = design.occasion
        shapes |= {
            "occasion_curvature": (occasions, between, between),
            "occasion_pull": (occasions, between),
            "occasion_curvature_of_rows": (rows, between, m),
        }
    return data | {name: np.zeros(shape) for name, shape in shapes.items()}

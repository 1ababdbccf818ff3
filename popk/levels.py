"""Groups of subjects (sites, studies) whose random effects they share: what is known of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from popk.dataset import Dataset
from popk.model import ModelError, PopModel
from popk.statistics import Level

__all__ = [
    "GroupEffects",
    "check_levels",
    "effects_in_draw",
    "effects_in_posterior",
    "group_labels",
    "groups_of",
    "level_shifts",
    "new_levels",
    "refuse_single_group",
]

type Floats = NDArray[np.float64]
type Ints = NDArray[np.int64]

_MOST = 10  # IDs that a sentence lists


class GroupEffects(NamedTuple):
    """Random effects of the groups of one level.

    ``groups`` (n_groups) are values of the level's covariate; ``eta`` (S, ..., n_groups,
    n_effects), what their effects add on the parameters' scales in each of S draws.
    """

    groups: Floats
    eta: Floats

    def taken(self, chosen: Ints) -> GroupEffects:
        """In some of the draws, by index."""
        return GroupEffects(self.groups, self.eta[chosen])

    def joined(self, other: GroupEffects) -> GroupEffects:
        """With more groups."""
        return GroupEffects(
            np.concatenate([self.groups, other.groups]),
            np.concatenate([self.eta, other.eta], axis=-2),
        )

    def places(self, values: Floats) -> Ints:
        """Position of the group of each value of the covariate; -1 where it is not known."""
        same = np.asarray(values)[:, None] == self.groups
        return np.where(same.any(axis=1), same.argmax(axis=1), -1)


def groups_of(values: Floats) -> tuple[Floats, Ints]:
    """The distinct values of a level's covariate, ascending, and the position of each value."""
    groups, place = np.unique(values, return_inverse=True)
    return groups, np.asarray(place.ravel(), dtype=np.int64)


def group_labels(groups: Floats) -> list[int] | list[float]:
    """Groups as the coordinate of a table has them: whole numbers where they are."""
    whole = bool(np.all(groups == np.round(groups)))
    return [int(group) for group in groups] if whole else groups.tolist()


def effects_in_posterior(model: PopModel, posterior: Any, chosen: Ints) -> dict[str, GroupEffects]:
    """Effects of the groups of a fit, by the level's covariate.

    Parameters
    ----------
    model
        The model of the fit.
    posterior
        Its posterior (chain, draw, ...).
    chosen
        Indices of the draws, chain after chain.
    """
    found = {}
    for level in model.levels:
        own: xr.DataArray = posterior[level.effects_name]
        values = own.transpose("chain", "draw", *level.dims).values
        groups = np.asarray(own[level.dims[0]].values, dtype=float)
        found[level.covariate] = GroupEffects(
            groups, values.reshape(-1, *values.shape[2:])[chosen].astype(float)
        )
    return found


def effects_in_draw(
    model: PopModel, covariates: Mapping[str, Floats], draw: Mapping[str, Any]
) -> dict[str, GroupEffects]:
    """Effects of the groups in one draw from the PyMC model, by the level's covariate.

    Parameters
    ----------
    model
        The model.
    covariates
        Values (n_rows) of the covariates in the data that the PyMC model is of.
    draw
        Values by name, those of ``eta_…`` (n_groups, n_effects) among them.
    """
    return {
        level.covariate: GroupEffects(
            groups_of(covariates[level.covariate])[0],
            np.asarray(draw[level.effects_name], dtype=float)[None],
        )
        for level in model.levels
    }


def level_shifts(
    model: PopModel,
    known: Mapping[str, GroupEffects],
    covariates: Mapping[str, Floats],
    *,
    n_dims: int,
) -> dict[int, Floats]:
    """What the levels add to the parameters of the rows on their scales, by position.

    Parameters
    ----------
    model
        The model.
    known
        Effects by the level's covariate.
    covariates
        Values (n_rows) of each level's covariate.
    n_dims
        Dimensions of what is returned, (S, ..., n_rows).

    Raises
    ------
    ValueError
        When a group's effects are not known.
    """
    found: dict[int, Floats] = {}
    for level in model.levels:
        values = np.asarray(covariates[level.covariate], dtype=float)
        own = known.get(level.covariate, GroupEffects(np.zeros(0), np.zeros((1, 0, 0))))
        place = own.places(values)
        if (place < 0).any():
            unknown = ", ".join(f"{value:g}" for value in np.unique(values[place < 0]))
            raise ValueError(f"No effects of {level.covariate} {unknown} are known; draw them.")
        eta = own.eta[..., place, :]
        eta = eta.reshape(eta.shape[0], *(1,) * (n_dims - eta.ndim + 1), *eta.shape[1:])
        for e, name in enumerate(level.effects):
            k = model.structure.names.index(name)
            found[k] = found.get(k, 0.0) + eta[..., e]
    return found


def check_levels(model: PopModel, dataset: Dataset) -> None:
    """Refuse data in which a subject's group is missing, or changes.

    Raises
    ------
    ModelError
        With a sentence for each level.
    """
    faults = []
    table = dataset.covariate_table()
    for level in model.levels:
        name = level.covariate
        if unknown := table.index[table[name].isna()].tolist():
            faults.append(
                f"its level {name} needs the {name} of everybody, which is missing in ID "
                f"{_listed(unknown)}. Give the value, or a number of its own to each such subject."
            )
        if name in dataset.varying:
            values, ids = dataset.table[name].values, dataset.table["ID"].values
            lengths = np.diff([*dataset.starts, len(values)])
            first = values[np.repeat(dataset.starts, lengths)]
            changed = ids[(values != first) & ~np.isnan(values)]
            faults.append(
                f"its level {name} has one value in a subject, but in the data it changes within "
                f"ID {_listed(list(dict.fromkeys(changed.tolist())))}. Give every subject one "
                f"{name}."
            )
    if faults:
        raise ModelError([f"{fault} (model {model.name})" for fault in faults])


def refuse_single_group(model: PopModel, covariates: Mapping[str, Floats]) -> None:
    """Refuse to fit a level to data with one group, which say nothing of what differs between.

    Raises
    ------
    ModelError
        With a sentence for each level.
    """
    faults = [
        f"its level {level.covariate} varies between groups, but in the data {level.covariate} is "
        f"{covariates[level.covariate][0]:g} in everybody; leave the level out. (model "
        f"{model.name})"
        for level in model.levels
        if len(np.unique(covariates[level.covariate])) == 1
    ]
    if faults:
        raise ModelError(faults)


def new_levels(
    model: PopModel, known: Mapping[str, GroupEffects], covariates: Mapping[str, Floats]
) -> tuple[Level, ...]:
    """The levels of which one subject's group is not known; ``covariates`` are its own."""
    return tuple(
        level
        for level in model.levels
        if level.covariate not in known
        or covariates[level.covariate][0] not in known[level.covariate].groups
    )


def _listed(ids: list[Any]) -> str:
    more = f" and {len(ids) - _MOST} more" if len(ids) > _MOST else ""
    return ", ".join(map(str, ids[:_MOST])) + more

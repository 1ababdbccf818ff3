"""Covariates missing in a subject: whether the model has them as latent, and their place in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from popk.dataset import Dataset, Problems
from popk.model import ModelError, PopModel
from popk.statistics import LatentCategory, LatentCovariate, pytensor_operations

if TYPE_CHECKING:
    import pymc as pm

__all__ = [
    "Missing",
    "check_latent",
    "covariate_variables",
    "filled",
    "latent_of",
    "measured",
    "missing_of",
]

type Floats = NDArray[np.float64]
type Ints = NDArray[np.int64]

_MOST = 10  # IDs that a sentence lists


class Missing(NamedTuple):
    """A covariate that is not known of a subject, which is given by its position."""

    covariate: str
    subject: int


def missing_of(covariates: Mapping[str, Floats], subject: Ints) -> tuple[Missing, ...]:
    """What is missing, covariate by covariate, in the order of the subjects.

    Parameters
    ----------
    covariates
        Values (n_rows) of each covariate, NaN where missing.
    subject
        The subject of each row, (n_rows).
    """
    return tuple(
        Missing(name, int(who))
        for name, values in covariates.items()
        for who in np.unique(subject[np.isnan(values)])
    )


def measured(model: PopModel, covariates: Mapping[str, Floats], first: Ints) -> dict[str, Floats]:
    """The measured values, one for each subject, of each latent covariate.

    Parameters
    ----------
    model
        The model.
    covariates
        Values (n_rows) of each covariate, NaN where missing.
    first
        The first row of each subject, (n_subjects).
    """
    values = {one.covariate: covariates[one.covariate][first] for one in model.latent}
    return {name: value[~np.isnan(value)] for name, value in values.items()}


def filled(
    covariates: Mapping[str, Floats], subject: Ints, latent: Floats | None
) -> dict[str, Floats]:
    """The covariates, (n_rows) each or (S, n_rows) where one is missing, without gaps.

    Parameters
    ----------
    covariates, subject
        As in `missing_of`.
    latent
        Values (S, n_missing) of what is missing, in the order of `missing_of`; None if nothing is.
    """
    found = dict(covariates)
    if latent is None:
        return found
    for k, one in enumerate(missing_of(covariates, subject)):
        if found[one.covariate].ndim == 1:
            found[one.covariate] = np.tile(found[one.covariate], (len(latent), 1))
        found[one.covariate][:, subject == one.subject] = latent[:, k, None]
    return found


def latent_of(posterior: xr.Dataset, missing: Sequence[tuple[str, str]], chosen: Ints) -> Floats:
    """Draws (S, n_missing) of covariates that were missing in a fit; NaN for others.

    Parameters
    ----------
    posterior
        The posterior of a fit.
    missing
        Name of the covariate, and ID of the subject, of each.
    chosen
        Indices of the draws, chain after chain.
    """
    if "latent_covariates" not in posterior:
        return np.full((len(chosen), len(missing)), np.nan)
    names = (posterior[f"missing_{x}"].to_numpy().tolist() for x in ("covariate", "subject"))
    place = {one: k for k, one in enumerate(zip(*names, strict=True))}
    values = posterior["latent_covariates"].transpose("chain", "draw", "missing").values
    values = values.reshape(-1, values.shape[-1])[chosen]
    values = np.concatenate([values, np.full((len(values), 1), np.nan)], axis=1)
    return np.asarray(values[:, [place.get(one, -1) for one in missing]])


def check_latent(model: PopModel, dataset: Dataset, covariates: Sequence[str]) -> None:
    """Refuse covariates that are missing without being latent, or latent and not constant.

    Parameters
    ----------
    model, dataset
        What is to be fitted to what.
    covariates
        Names of the covariates that the model uses.

    Raises
    ------
    ModelError
        With a sentence for each covariate.
    DataError
        When a measured value cannot belong to a latent covariate's distribution.
    """
    ids = np.array(dataset.subjects)
    values_of = {name: dataset.table[name].values[dataset.starts] for name in dataset.covariates}
    latent: dict[str, LatentCategory | LatentCovariate] = {o.covariate: o for o in model.latent}
    if model.category is not None:
        latent[model.category.covariate] = model.category
    faults = []
    for name in covariates:
        unknown = ids[np.isnan(values_of[name])].tolist()
        if unknown and name not in latent:
            faults.append(
                f"it needs the covariate {name}, which is missing in ID {_listed(unknown)}. Give "
                f'the model latent=[LatentCovariate("{name}", ...)], or read the data with '
                f'missing={{"{name}": "median"}} or a value; if it is a category, '
                f'latent=[LatentCategory("{name}", ...)] or missing={{"{name}": "mode"}}.'
            )
        if name in latent and name in dataset.varying:
            values, who = dataset.table[name].values, dataset.table["ID"].values
            first = values[np.repeat(dataset.starts, np.diff([*dataset.starts, len(values)]))]
            varies = dict.fromkeys(who[(values != first) & ~np.isnan(values)].tolist())
            faults.append(
                f"its latent covariate {name} has one value in a subject, but in the data it "
                f"changes within ID {_listed(list(varies))}. Leave {name} out of latent and give "
                f"the values that are missing, or give every subject one {name} (its first, say)."
            )
    if faults:
        raise ModelError([f"{fault} (model {model.name})" for fault in faults])
    problems = Problems("the data for this model")
    for name, one in latent.items():
        for subject, value in zip(ids.tolist(), values_of[name].tolist(), strict=True):
            if not np.isnan(value) and (fault := one.fault(value)):
                problems.error(
                    f"{name} is {value:g}, but {fault}.",
                    "Correct the covariate, or choose another scale."
                    if isinstance(one, LatentCovariate)
                    else "Correct the covariate, or give the category this level.",
                    id=subject,
                    column=name,
                )
    problems.raise_if_errors()


def _listed(ids: Sequence[str]) -> str:
    more = f" and {len(ids) - _MOST} more" if len(ids) > _MOST else ""
    return ", ".join(ids[:_MOST]) + more


def covariate_variables(
    model: PopModel,
    covariates: Mapping[str, Floats],
    subject: Ints,
    *,
    dim: str,
    population: Mapping[str, Any],
) -> dict[str, pm.Data]:
    """The covariates (n_rows) as data of the PyMC model on the context stack.

    Where one is missing in a subject, ``latent_covariates`` (missing) stands in its place, from the
    standard normal ``z_latent`` (missing); what was measured of a latent covariate enters the
    density as ``measured_…``.

    Parameters
    ----------
    model
        The model.
    covariates, subject
        As in `missing_of`.
    dim
        Name of the dimension of the rows.
    population
        Population parameters by name.
    """
    import pymc as pm
    from pytensor import tensor

    pt: Any = tensor  # without the type hints that it has here and there
    ops = pytensor_operations()
    latent = {one.covariate: one for one in model.latent}
    instead = {name: one.mean.median for name, one in latent.items()}
    found: dict[str, Any] = {
        name: pm.Data(name, np.where(np.isnan(v), instead.get(name, np.nan), v), dims=dim)
        for name, v in covariates.items()
    }
    _, first = np.unique(subject, return_index=True)
    for name, values in measured(model, covariates, first).items():
        density = latent[name].log_density(values, population, ops)
        pm.Potential(f"measured_{name}", pt.as_tensor_variable(density).sum())
    missing = missing_of(covariates, subject)
    if not missing:
        return found
    pm.modelcontext(None).add_coord("missing", np.arange(len(missing)))
    z = pm.Normal("z_latent", dims="missing")
    columns = [latent[one.covariate].value(z[k], population, ops) for k, one in enumerate(missing)]
    values = pm.Deterministic("latent_covariates", pt.stack(columns), dims="missing")
    place = {one: k for k, one in enumerate(missing)}
    for name in dict.fromkeys(one.covariate for one in missing):
        rows = np.flatnonzero(np.isnan(covariates[name]))
        which = [place[Missing(name, int(who))] for who in subject[rows]]
        found[name] = pt.set_subtensor(found[name][rows], values[which])
    return found

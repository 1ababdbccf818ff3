"""From points and standardised effects to the variables of a posterior."""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from popk.inference.marginal.cohort import Cohort
from popk.inference.precision import precision_of
from popk.population import PopulationDraws
from popk.statistics import NUMPY

__all__ = ["assembled"]

type Floats = NDArray[np.float64]
type Ints = NDArray[np.int64]

_BLOCK = 500_000  # subjects' records times points that are worked on at a time
_DIMS = {
    "eta": ("subject", "effect"),
    "kappa": ("occasion", "occasion_effect"),
    "latent_covariates": ("missing",),
    "parameters": ("subject", "parameter"),
}


def assembled(
    cohort: Cohort, x: Floats, z: list[Floats], *, chains: int, rows: Ints | None = None
) -> xr.Dataset:
    """Population parameters, random effects and individual parameters, each (chain, draw, …).

    Parameters
    ----------
    cohort
        Whose.
    x
        Points (S, d) of `popk.inference.marginal.coordinates.Coordinates`, chain after chain.
    z
        Standardised effects of each subject (T, k).
    chains
        Number of chains.
    rows
        The row of ``z`` that belongs to each point (S); the same rows if None.
    """
    model, design = cohort.coordinates.model, cohort.design
    population = cohort.coordinates.draws(x)
    rows = np.arange(len(x)) if rows is None else rows
    derived = {c.name: np.asarray(c.value(population.values, NUMPY)) for c in model.derived}
    precision = precision_of(model, design, len(x))
    found: dict[str, Floats] = {}
    # A few points at a time: everything is there once, in the posterior.
    blocks = 1 + len(x) * len(design.rows.subject) // _BLOCK
    for chosen in np.array_split(np.arange(len(x)), min(blocks, len(x))):
        own = [each[rows[chosen]] for each in z]
        for name, value in _of_subjects(cohort, population.taken(chosen), own).items():
            if name not in found:
                dtype = precision if name == "parameters" else value.dtype
                found[name] = np.empty((len(x), *value.shape[1:]), dtype)
            found[name][chosen] = value
    shape = (chains, len(x) // chains)
    values = {**population.values, **derived, **{n: found[n] for n in _DIMS if n in found}}
    return xr.Dataset(
        {
            name: (
                ("chain", "draw", *_DIMS.get(name, ())),
                value.reshape(*shape, *value.shape[1:]),
            )
            for name, value in values.items()
        },
        coords=_coords(cohort, shape, found),
    )


def _of_subjects(cohort: Cohort, population: PopulationDraws, z: list[Floats]) -> dict[str, Floats]:
    """The variables of subjects (S, …) from each subject's standardised effects (S, k)."""
    model, design = population.model, cohort.design
    k, q = len(model.iiv.effects), len(model.iov.effects)
    eta = population.eta(np.stack([own[:, :k] for own in z], axis=1))[0]
    kappa = latent = None
    if q:
        counts = [q * len(patient.numbers) for patient in cohort.patients]
        parts = [own[:, k : k + n] for own, n in zip(z, counts, strict=True)]
        kappa = population.kappa(np.concatenate(parts, axis=1).reshape(len(eta), -1, q))
    if design.missing:
        place = [(m.subject, cohort.patients[m.subject].missing) for m in design.missing]
        columns = [
            z[who][:, z[who].shape[1] - len(names) + names.index(m.covariate)]
            for m, (who, names) in zip(design.missing, place, strict=True)
        ]
        names = [m.covariate for m in design.missing]
        latent = population.latent(names, np.stack(columns, axis=1))
    first = population.row_parameters(design, eta, kappa, latent)[:, design.first]
    found = {
        "eta": eta if k else None, "kappa": kappa, "latent_covariates": latent, "parameters": first
    }  # fmt: skip
    return {name: value for name, value in found.items() if value is not None}


def _coords(cohort: Cohort, shape: tuple[int, int], found: dict[str, Floats]) -> dict[str, object]:
    model = cohort.coordinates.model
    named = {
        "effect": ("eta", list(model.iiv.effects)),
        "occasion_effect": ("kappa", list(model.iov.effects)),
    }
    counted = {"occasion": "kappa", "missing": "latent_covariates"}
    return {
        "chain": np.arange(shape[0]),
        "draw": np.arange(shape[1]),
        "subject": [patient.subject for patient in cohort.patients],
        "parameter": list(model.structure.names),
        **{dim: labels for dim, (name, labels) in named.items() if name in found},
        **{dim: np.arange(found[n].shape[1]) for dim, n in counted.items() if n in found},
    }

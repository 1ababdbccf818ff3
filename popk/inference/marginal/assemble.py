"""From points and standardised effects to the variables of a posterior."""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from popk.inference.marginal.cohort import Cohort
from popk.statistics import NUMPY

__all__ = ["assembled"]

type Floats = NDArray[np.float64]


def assembled(cohort: Cohort, x: Floats, z: list[Floats], *, chains: int) -> xr.Dataset:
    """Population parameters, random effects and individual parameters, each (chain, draw, …).

    Parameters
    ----------
    cohort
        Whose.
    x
        Points (S, d) of `popk.inference.marginal.coordinates.Coordinates`, chain after chain.
    z
        Standardised effects of each subject at the points (S, k).
    chains
        Number of chains.
    """
    model, design = cohort.coordinates.model, cohort.design
    population = cohort.coordinates.draws(x)
    derived = {c.name: np.asarray(c.value(population.values, NUMPY)) for c in model.derived}
    k, q = len(model.iiv.effects), len(model.iov.effects)
    eta = population.eta(np.stack([own[:, :k] for own in z], axis=1))[0]
    kappa = latent = None
    if q:
        counts = [q * len(patient.numbers) for patient in cohort.patients]
        parts = [own[:, k : k + n] for own, n in zip(z, counts, strict=True)]
        kappa = population.kappa(np.concatenate(parts, axis=1).reshape(len(x), -1, q))
    if design.missing:
        place = [(m.subject, cohort.patients[m.subject].missing) for m in design.missing]
        columns = [
            z[who][:, z[who].shape[1] - len(names) + names.index(m.covariate)]
            for m, (who, names) in zip(design.missing, place, strict=True)
        ]
        names = [m.covariate for m in design.missing]
        latent = population.latent(names, np.stack(columns, axis=1))
    first = population.row_parameters(design, eta, kappa, latent)[:, design.first]
    values: dict[str, tuple[Floats, tuple[str, ...]]] = {
        name: (value, ()) for name, value in {**population.values, **derived}.items()
    }
    values |= {
        name: (value, dims)
        for name, value, dims in (
            ("eta", eta if k else None, ("subject", "effect")),
            ("kappa", kappa, ("occasion", "occasion_effect")),
            ("latent_covariates", latent, ("missing",)),
            ("parameters", first, ("subject", "parameter")),
        )
        if value is not None
    }
    coords = {
        "chain": np.arange(chains),
        "draw": np.arange(len(x) // chains),
        "subject": [patient.subject for patient in cohort.patients],
        "parameter": list(model.structure.names),
        **({"effect": list(model.iiv.effects)} if k else {}),
        **({"occasion_effect": list(model.iov.effects)} if q else {}),
        **({"occasion": np.arange(kappa.shape[1])} if kappa is not None else {}),
        **({"missing": np.arange(latent.shape[1])} if latent is not None else {}),
    }
    shape = (chains, len(x) // chains)
    return xr.Dataset(
        {
            name: (("chain", "draw", *dims), value.reshape(*shape, *value.shape[1:]))
            for name, (value, dims) in values.items()
        },
        coords=coords,
    )

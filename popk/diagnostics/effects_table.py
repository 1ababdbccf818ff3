"""The patients' random effects: their distribution beside the model's, and against covariates."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from popk.diagnostics.discrepancies import correlations
from popk.diagnostics.replicates import Seen, attributes
from popk.population import FitError, PopulationDraws, effects_of, thinned

__all__ = ["random_effects"]

type Floats = NDArray[np.float64]

_DRAWS = 400
_BINS = 24
_REACH = 3.5  # SDs of the effects on either side
_PROBABILITY = 0.9


def random_effects(fit: xr.DataTree) -> xr.Dataset:
    """Random effects of the patients: estimates, distribution, correlation with covariates.

    Estimates (posterior means) are shrunken towards zero and look normal, and unrelated to
    covariates, where data are sparse. The distribution is therefore that of the draws of all
    patients, which is the model's if the model is right, whatever the shrinkage; correlations are
    computed draw by draw.

    Parameters
    ----------
    fit
        What `popk.sample` returned.

    Returns
    -------
    Dataset with ``mean`` and ``sd`` (subject, effect); ``density`` and ``expected`` (effect, bin),
    of the draws and of effects drawn anew from the population, in bins of ``eta`` (effect, bin)
    between ``low`` and ``high``; ``correlation`` (effect, covariate) and its 90 % interval
    ``correlation_low`` and ``correlation_high``; ``covariate_value`` (subject, covariate), at the
    first record. ``unit`` (covariate) is the covariates'.

    Raises
    ------
    FitError
        When the tree is no fit, or has no random effects between patients.
    """
    seen = Seen.of(fit)
    model, dataset = seen.model, seen.dataset
    if not model.iiv.effects:
        raise FitError(f"{model.name} has no random effects between patients.")
    total = len(thinned(fit, None))
    chosen = thinned(fit, min(total, _DRAWS))
    eta = effects_of(fit, dataset.subjects, chosen)
    population = PopulationDraws.of(fit).taken(chosen)
    fresh = population.new_effects(len(dataset.subjects), np.random.default_rng(1))
    covariates = list(dataset.covariates)
    table = dataset.covariate_table()
    x = np.empty((len(dataset.subjects), len(covariates)))
    for j, name in enumerate(covariates):
        x[:, j] = np.asarray(table[name].values, dtype=float)
    columns: dict[str, Any] = {
        "mean": (("subject", "effect"), eta.mean(axis=0), {"units": "1"}),
        "sd": (("subject", "effect"), eta.std(axis=0), {"units": "1"}),
        "covariate_value": (("subject", "covariate"), x),
        **_distribution(eta, fresh),
        **_related(eta, x),
    }
    coords: dict[str, Any] = {
        "subject": list(dataset.subjects),
        "effect": list(model.iiv.effects),
        "covariate": covariates,
        "unit": ("covariate", [dataset.units.covariate(name) or "1" for name in covariates]),
    }
    return xr.Dataset(columns, coords=coords, attrs=attributes(fit, "random effects", []))


def _distribution(eta: Floats, fresh: Floats) -> dict[str, Any]:
    size = eta.shape[2]
    low, high, density, expected = (np.empty((size, _BINS)) for _ in range(4))
    for k in range(size):
        farthest = float(np.abs(eta[..., k].mean(axis=0)).max())
        reach = max(_REACH * fresh[..., k].std(), farthest, 1e-6)
        edges = np.linspace(-reach, reach, _BINS + 1)
        low[k], high[k] = edges[:-1], edges[1:]
        for values, into in ((eta, density), (fresh, expected)):
            count = np.histogram(values[..., k], edges)[0]
            into[k] = count / (values[..., k].size * np.diff(edges))
    dims = ("effect", "bin")
    return {
        "low": (dims, low),
        "high": (dims, high),
        "density": (dims, density, {"long_name": "density of the patients' draws"}),
        "expected": (dims, expected, {"long_name": "density of the population"}),
    }


def _related(eta: Floats, x: Floats) -> dict[str, Any]:
    shape = (eta.shape[2], x.shape[1])
    found = np.full((3, *shape), np.nan)
    ends = ((1 - _PROBABILITY) / 2, (1 + _PROBABILITY) / 2)
    for j in range(x.shape[1]):
        known = np.isfinite(x[:, j])
        if known.sum() > 2 and np.ptp(x[known, j]) > 0:
            r = correlations(eta[:, known], x[known][:, [j]])[..., 0]
            found[0, :, j] = r.mean(axis=0)
            found[1:, :, j] = np.quantile(r, ends, axis=0)
    dims = ("effect", "covariate")
    names = ("correlation", "correlation_low", "correlation_high")
    return {name: (dims, one, {"units": "1"}) for name, one in zip(names, found, strict=True)}

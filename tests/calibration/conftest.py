"""A model whose posterior is known, a method that draws from it, and one that gets it wrong."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr

from popk.model import PopModel
from popk.regimen import Regimen
from popk.statistics import IIV, Fixed, LogNormal, LogNormalError
from popk.structure import OneCompartment
from popk.units import Units

UNITS = {"time": "d", "amount": "mg", "concentration": "mg/L"}
DOSE, OMEGA, SIGMA, MEDIAN = 300.0, 0.25, 0.15, 5.0
TIMES = (1e-4, 2e-4)  # before anything is cleared: the logarithm of the concentration is linear
N = 4


@dataclass(frozen=True)
class Exact:
    """The posterior of log V and the random effects on it, which is normal; `scale` times as wide.

    As `popk.Marginal` and the others are used by `popk.sample`.
    """

    scale: float = 1.0
    draws: int = 100
    chains: int = 2
    proposals: int = 100  # as `popk.sample` asks of a method, for the memory that it takes
    fails_above: float = np.inf

    def run(self, model, dataset, *, seed, progress, store):
        del progress, store
        rng = np.random.default_rng(seed)
        y = np.log(dataset.table["DV"].values[dataset.is_observation]).reshape(
            dataset.n_subjects, -1
        )
        if y.max() > self.fails_above:
            raise ValueError("the sampler stopped here")
        mean, covariance = known(y, dict(model.typical)["V"])
        root = np.linalg.cholesky(covariance)
        shape = (2, self.draws, len(mean))
        x = mean + self.scale * rng.standard_normal(shape) @ root.T
        log_v, eta = x[..., 0], x[..., 1:]
        v = np.exp(log_v[..., None] + eta)
        dims, ones = ("chain", "draw"), np.ones(shape[:2])
        posterior = xr.Dataset(
            {
                "CL": (dims, 0.2 * ones),
                "V": (dims, np.exp(log_v)),
                "omega_V": (dims, OMEGA * ones),
                "sigma_log": (dims, SIGMA * ones),
                "eta": ((*dims, "subject", "effect"), eta[..., None]),
                "parameters": (
                    (*dims, "subject", "parameter"),
                    np.stack([np.full(v.shape, 0.2), v], axis=-1),
                ),
            },
            coords={
                "chain": [0, 1],
                "draw": np.arange(self.draws),
                "subject": list(dataset.subjects),
                "effect": ["V"],
                "parameter": ["CL", "V"],
            },
        )
        return posterior, xr.Dataset(coords={"chain": [0, 1], "draw": np.arange(self.draws)})


def known(y, prior):
    """Mean and covariance of (log V, eta) given logarithms of concentrations (n, times)."""
    n = len(y)
    sd = np.sqrt(np.log1p(prior.cv**2))
    design = np.zeros((y.size, 1 + n))
    design[:, 0] = -1.0
    design[np.arange(y.size), 1 + np.repeat(np.arange(n), y.shape[1])] = -1.0
    precision = np.diag([1 / sd**2, *[1 / OMEGA**2] * n]) + design.T @ design / SIGMA**2
    right = design.T @ (y.ravel() - np.log(DOSE)) / SIGMA**2
    right[0] += np.log(prior.median) / sd**2
    covariance = np.linalg.inv(precision)
    return covariance @ right, covariance


def a_model(median=MEDIAN, cv=0.3):
    return PopModel(
        OneCompartment(),
        typical={"CL": Fixed(0.2), "V": LogNormal(median, cv=cv)},
        iiv=IIV({"V": Fixed(OMEGA)}),
        error=LogNormalError(Fixed(SIGMA)),
        units=UNITS,
        name="volume",
    )


def a_design():
    regimen = Regimen(amount=DOSE, interval=28.0)
    return regimen.dataset(range(N), TIMES, units=Units(**UNITS))


@pytest.fixture(scope="session")
def volume():
    """The model, the design, the method and its arithmetic."""
    return SimpleNamespace(model=a_model, design=a_design, Exact=Exact, known=known)

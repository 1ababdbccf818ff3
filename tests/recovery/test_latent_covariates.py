"""Weights deleted at random: their posteriors are calibrated, and so is the exponent's."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from popk.dataset import read_dataset
from popk.inference import NUTS, sample
from popk.model import PopModel
from popk.statistics import (
    IIV,
    Fixed,
    LatentCovariate,
    LogNormal,
    LogNormalError,
    Normal,
    Power,
)
from popk.structure import OneCompartment

UNITS = {"time": "d", "amount": "mg", "concentration": "mg/L", "WT": "kg"}
MODEL = PopModel(
    OneCompartment(),
    typical={"CL": LogNormal(0.2, cv=0.2), "V": LogNormal(5.0, cv=0.2)},
    iiv=IIV({"CL": LogNormal(0.25, cv=0.2), "V": LogNormal(0.15, cv=0.2)}),
    covariates=[
        Power("CL", "WT", reference=70, exponent=Normal(0.75, 0.3)),
        Power("V", "WT", reference=70, exponent=Fixed(1.0)),
    ],
    latent=[LatentCovariate("WT", LogNormal(70, cv=0.1), LogNormal(0.3, cv=0.2))],
    error=LogNormalError(LogNormal(0.15, cv=0.2)),
    units=UNITS,
)
TIMES = np.array([1.0, 7.0, 21.0, 45.0])
COHORTS, SUBJECTS, MISSING = 12, 40, 0.4


def cohort(rng):
    """Population values from the priors, and a cohort that they give; weights deleted at random."""
    true = {p.name: float(p.prior.draw(rng, 1)[0]) for p in MODEL.parameters}
    z = rng.standard_normal((SUBJECTS, 3))
    weight = true["mean_WT"] * np.exp(true["sd_WT"] * z[:, 2])
    cl = true["CL"] * (weight / 70) ** true["beta_CL_WT"] * np.exp(true["omega_CL"] * z[:, 0])
    v = true["V"] * weight / 70 * np.exp(true["omega_V"] * z[:, 1])
    f = 300 / v[:, None] * np.exp(-(cl / v)[:, None] * TIMES)
    dv = f * np.exp(true["sigma_log"] * rng.standard_normal(f.shape))
    hidden = np.sort(rng.choice(SUBJECTS, int(MISSING * SUBJECTS), replace=False))
    given = weight.copy()
    given[hidden] = np.nan
    records = []
    for k in range(SUBJECTS):
        records.append((k, 0.0, 1, 300.0, np.nan, given[k]))
        records += [(k, t, 0, np.nan, y, given[k]) for t, y in zip(TIMES, dv[k], strict=True)]
    frame = pd.DataFrame(records, columns=["ID", "TIME", "EVID", "AMT", "DV", "WT"])
    return true, weight[hidden], read_dataset(frame, units=UNITS, missing={"WT": "model"})


@pytest.mark.slow
def test_deleted_weights_and_the_exponent_are_found_without_bias():
    """With truths from the priors, ranks among the draws are uniform (Talts et al. 2018)."""
    places, distances, narrowed = [], [], []
    for seed in range(COHORTS):
        true, weights, data = cohort(np.random.default_rng(1000 + seed))
        method = NUTS(draws=300, tune=300, chains=2, pilot=100)
        fit = sample(MODEL, data, method, seed=seed, progress=False)
        posterior = fit["posterior"].to_dataset()
        latent = posterior["latent_covariates"].transpose("missing", "chain", "draw").values
        latent = latent.reshape(len(weights), -1)
        places += ((latent < weights[:, None]).mean(axis=1)).tolist()
        exponent = posterior["beta_CL_WT"].values
        distances.append((exponent.mean() - true["beta_CL_WT"]) / exponent.std())
        narrowed += (np.log(latent).std(axis=1) / true["sd_WT"]).tolist()
    places = np.array(places)
    # The concentrations say much about a weight: it is not the population's distribution again.
    assert np.median(narrowed) < 0.7
    assert stats.kstest(places, "uniform").pvalue > 0.001
    assert 0.82 < np.mean((places > 0.05) & (places < 0.95)) < 0.97
    assert abs(np.mean(distances)) < 3 / np.sqrt(COHORTS)
    assert np.std(distances) < 1.8

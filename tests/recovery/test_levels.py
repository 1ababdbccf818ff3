"""Cohorts of eight sites: the SD between sites and the sites' effects are calibrated."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from popk.dataset import read_dataset
from popk.inference import NUTS, sample
from popk.model import PopModel
from popk.statistics import IIV, Level, LogNormal, LogNormalError
from popk.structure import OneCompartment

UNITS = {"time": "d", "amount": "mg", "concentration": "mg/L", "SITE": "1"}
MODEL = PopModel(
    OneCompartment(),
    typical={"CL": LogNormal(0.2, cv=0.2), "V": LogNormal(5.0, cv=0.2)},
    iiv=IIV({"CL": LogNormal(0.25, cv=0.2), "V": LogNormal(0.15, cv=0.2)}),
    levels=[Level("SITE", {"CL": LogNormal(0.3, cv=0.5)})],
    error=LogNormalError(LogNormal(0.15, cv=0.2)),
    units=UNITS,
)
TIMES = np.array([1.0, 7.0, 21.0, 45.0])
COHORTS, SITES, EACH = 10, 8, 6


def cohort(rng):
    """Population values from the priors, effects of the sites, and a cohort that they give."""
    true = {p.name: float(p.prior.draw(rng, 1)[0]) for p in MODEL.parameters}
    eta = true["omega_SITE_CL"] * rng.standard_normal(SITES)
    site = np.repeat(np.arange(SITES), EACH)
    z = rng.standard_normal((len(site), 2))
    cl = true["CL"] * np.exp(true["omega_CL"] * z[:, 0] + eta[site])
    v = true["V"] * np.exp(true["omega_V"] * z[:, 1])
    f = 300 / v[:, None] * np.exp(-(cl / v)[:, None] * TIMES)
    dv = f * np.exp(true["sigma_log"] * rng.standard_normal(f.shape))
    records = []
    for k, own in enumerate(site):
        records.append((k, 0.0, 1, 300.0, np.nan, own))
        records += [(k, t, 0, np.nan, y, own) for t, y in zip(TIMES, dv[k], strict=True)]
    frame = pd.DataFrame(records, columns=["ID", "TIME", "EVID", "AMT", "DV", "SITE"])
    return true, eta, read_dataset(frame, units=UNITS)


@pytest.mark.slow
def test_the_sd_between_sites_and_their_effects_are_found_without_bias():
    """With truths from the priors, ranks among the draws are uniform (Talts et al. 2018)."""
    places, effects, narrowed = [], [], []
    for seed in range(COHORTS):
        true, eta, data = cohort(np.random.default_rng(2000 + seed))
        fit = sample(MODEL, data, NUTS(draws=300, tune=300, chains=2), seed=seed, progress=False)
        posterior = fit["posterior"].to_dataset()
        omega = posterior["omega_SITE_CL"].values
        places.append((omega < true["omega_SITE_CL"]).mean())
        narrowed.append(np.log(omega).std())
        found = posterior["eta_SITE"].sel(effect_SITE="CL").transpose("site_SITE", ...).values
        effects += (found.reshape(SITES, -1) < eta[:, None]).mean(axis=1).tolist()
    effects = np.array(effects)
    # The data say something of the SD: its prior has an SD of 0.47 on the logarithm.
    assert np.median(narrowed) < 0.35
    assert stats.kstest(places, "uniform").pvalue > 0.001
    # Ranks of one cohort's sites go together: only their spread is tested.
    assert 0.75 < np.mean((effects > 0.05) & (effects < 0.95)) < 0.99

"""A binary covariate that a third was not asked for: its share, factor and values found again."""

import numpy as np
import pytest

from popk.dataset import read_dataset
from popk.diagnostics import verdict_of
from popk.inference import NUTS, sample
from popk.model import PopModel
from popk.statistics import IIV, Fold, HalfNormal, LatentCategory, LogNormal, Proportional
from popk.structure import OneCompartment

TIMES = np.array([2.0, 10.0, 20.0, 27.0])
TRUE = {"CL": 0.2, "V": 5.0, "fold_CL_ADA": 2.5, "omega_CL": 0.25, "sigma_prop": 0.1}
SHARE = 0.4
SIZE = 60


@pytest.fixture(scope="module")
def cohort(fits):
    """Sixty subjects after one bolus, their antibodies, and in whom these were measured."""
    rng = np.random.default_rng(22)
    ada = rng.permutation(np.arange(SIZE) < SIZE * SHARE)
    measured = rng.random(SIZE) < 2 / 3
    cl = TRUE["CL"] * np.where(ada, TRUE["fold_CL_ADA"], 1.0)
    cl = cl * np.exp(TRUE["omega_CL"] * rng.standard_normal(SIZE))
    records = []
    for k in range(SIZE):
        records.append(fits.dose(f"S{k}", 0.0))
        f = fits.bolus(TIMES, cl[k], TRUE["V"])
        for time, dv in zip(TIMES, f * (1 + 0.1 * rng.standard_normal(4)), strict=True):
            records.append(fits.observe(f"S{k}", time, max(dv, 1.0), cens=int(dv < 1.0)))
    frame = fits.dataset(*records).to_frame()
    known = dict(zip((f"S{k}" for k in range(SIZE)), np.where(measured, ada, np.nan), strict=True))
    frame["ADA"] = frame["ID"].map(known)
    units = fits.UNITS | {"ADA": "1"}
    return read_dataset(frame, units=units, missing={"ADA": "model"}), ada, measured


@pytest.mark.slow
def test_share_factor_and_values_are_recovered(fits, cohort):
    data, ada, measured = cohort
    model = PopModel(
        OneCompartment(),
        typical={"CL": LogNormal(0.3, cv=0.5), "V": LogNormal(5.0, cv=0.3)},
        iiv=IIV({"CL": HalfNormal(0.5)}),
        covariates=[Fold("CL", "ADA", LogNormal(1.5, cv=0.6))],
        latent=[LatentCategory("ADA", {0: 0.5, 1: 0.5})],
        error=Proportional(HalfNormal(0.3)),
        units=fits.UNITS | {"ADA": "1"},
    )
    fit = sample(model, data, NUTS(draws=600, tune=400, chains=2), seed=3, progress=False)
    verdict = verdict_of(fit)
    assert verdict.rhat_max < 1.03, str(verdict)
    assert not verdict.divergences
    posterior = fit["posterior"].to_dataset()
    for name, true in (TRUE | {"share_ADA_1": SHARE}).items():
        assert abs(float(posterior[name].mean()) - true) < 3 * float(posterior[name].std()), name
    assert float(posterior["share_ADA_1"].std()) < 0.1  # 0.29 before the data
    probability = posterior["class_probability"].sel({"class": "ADA_1"}).mean(("chain", "draw"))
    np.testing.assert_array_equal(probability.values[measured], ada[measured])
    found = (probability.values > 0.5) == ada
    assert found[~measured].mean() >= 0.8

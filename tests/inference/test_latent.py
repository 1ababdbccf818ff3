"""Sampling a model with a latent covariate for real: what the fit holds, and what becomes of it."""

import json

import numpy as np
import pandas as pd
import pytest

from popk.dataset import read_dataset
from popk.inference import NUTS, sample
from popk.model import PopModel
from popk.prediction import predict
from popk.statistics import (
    IIV,
    Fixed,
    HalfNormal,
    LatentCovariate,
    LogNormal,
    LogNormalError,
    Power,
)
from popk.storage import load, save
from popk.structure import OneCompartment

UNITS = {"time": "d", "amount": "mg", "concentration": "mg/L", "WT": "kg"}
MODEL = PopModel(
    OneCompartment(),
    typical={"CL": LogNormal(0.2, cv=0.3), "V": LogNormal(5.0, cv=0.3)},
    iiv=IIV({"CL": HalfNormal(0.3)}),
    covariates=[Power("V", "WT", reference=70, exponent=Fixed(1.0))],
    latent=[LatentCovariate("WT", LogNormal(70, cv=0.3), HalfNormal(0.4))],
    error=LogNormalError(HalfNormal(0.3)),
    units=UNITS,
)
TIMES = np.array([1.0, 10.0, 30.0])
WEIGHTS = np.array([55.0, 62.0, 70.0, 75.0, 81.0, 90.0, 58.0, 99.0])
HIDDEN = (1, 5, 7)


@pytest.fixture(scope="module")
def data(fits):
    """Eight subjects; the weights of three are missing, but V tells them."""
    rng = np.random.default_rng(4)
    records = []
    for k, weight in enumerate(WEIGHTS):
        cl = 0.2 * np.exp(0.2 * rng.standard_normal())
        dv = fits.bolus(TIMES, cl, 5.0 * weight / 70) * np.exp(0.1 * rng.standard_normal(3))
        given = np.nan if k in HIDDEN else weight
        records.append((f"S{k}", 0.0, 1, 300.0, np.nan, given))
        records += [(f"S{k}", t, 0, np.nan, y, given) for t, y in zip(TIMES, dv, strict=True)]
    frame = pd.DataFrame(records, columns=["ID", "TIME", "EVID", "AMT", "DV", "WT"])
    return read_dataset(frame, units=UNITS, missing={"WT": "model"})


@pytest.fixture(scope="module")
def fit(data):
    method = NUTS(draws=300, tune=200, chains=2, cores=2, pilot=60)
    return sample(MODEL, data, method, seed=3, progress=False)


def test_the_fit_names_each_missing_value_with_its_unit(fit):
    latent = fit["posterior"]["latent_covariates"]
    assert latent.dims == ("chain", "draw", "missing")
    assert latent["missing_covariate"].values.tolist() == ["WT"] * 3
    assert latent["missing_subject"].values.tolist() == ["S1", "S5", "S7"]
    assert json.loads(latent.attrs["units"]) == {"WT": "kg"}
    population = json.loads(fit["posterior"].attrs["population"])
    assert population == [
        "CL", "V", "beta_V_WT", "omega_CL", "mean_WT", "sd_WT", "sigma_log",
    ]  # fmt: skip
    assert fit["posterior"]["mean_WT"].attrs["units"] == "kg"
    assert "latent_covariates[0]" in fit["convergence"]["quantity"].values


def test_the_concentrations_tell_the_weights(fit):
    """V is proportional to weight and varies with nothing else."""
    latent = fit["posterior"]["latent_covariates"]
    middle, spread = latent.mean(("chain", "draw")), latent.std(("chain", "draw"))
    assert (np.abs(middle.values - WEIGHTS[list(HIDDEN)]) < 4 * spread.values).all()
    log_sd = np.log(latent).std(("chain", "draw")).values
    assert (log_sd < 0.5 * float(fit["posterior"]["sd_WT"].mean())).all()


def test_parameters_predictions_and_likelihoods_follow_the_draws(fit, data):
    posterior = fit["posterior"].to_dataset()
    own = posterior["parameters"].sel(parameter="V", subject="S5")
    weight = posterior["latent_covariates"].isel(missing=1)
    np.testing.assert_allclose(own.values, (posterior["V"] * weight / 70).values)
    again = predict(fit, seed=1)["predictions"]
    np.testing.assert_allclose(again["parameters"].values, posterior["parameters"].values)
    theta = posterior["parameters"].sel(subject="S5").values
    f = 300 / theta[..., 1:] * np.exp(-theta[..., :1] / theta[..., 1:] * TIMES)
    seen = fit["observed_data"]["DV"].values[np.array(data.subjects).tolist().index("S5") * 3 :][:3]
    sigma = posterior["sigma_log"].values[..., None]
    expected = -0.5 * ((np.log(seen) - np.log(f)) / sigma) ** 2
    expected += -np.log(sigma * seen * np.sqrt(2 * np.pi))
    found = fit["log_likelihood"]["DV"].values[..., 15:18]
    np.testing.assert_allclose(found, expected, rtol=1e-8)
    assert np.isfinite(fit["log_likelihood_subject"]["DV"].values).all()


def test_it_is_stored_and_read(fit, tmp_path):
    again = load(save(fit, tmp_path / "fit.nc"))
    assert again["posterior"].to_dataset().identical(fit["posterior"].to_dataset())

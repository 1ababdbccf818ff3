"""Sampling a model with a level of sites for real: what the fit holds, and what becomes of it."""

import json

import numpy as np
import pandas as pd
import pytest

from popk.dataset import read_dataset
from popk.individual import Trough, individualise
from popk.inference import NUTS, Marginal, sample
from popk.model import PopModel
from popk.prediction import predict
from popk.statistics import IIV, HalfNormal, Level, LogNormal, LogNormalError
from popk.storage import load, save
from popk.structure import OneCompartment

UNITS = {"time": "d", "amount": "mg", "concentration": "mg/L", "SITE": "1"}
MODEL = PopModel(
    OneCompartment(),
    typical={"CL": LogNormal(0.2, cv=0.3), "V": LogNormal(5.0, cv=0.3)},
    iiv=IIV({"CL": HalfNormal(0.3)}),
    levels=[Level("SITE", {"V": HalfNormal(0.5)})],
    error=LogNormalError(HalfNormal(0.3)),
    units=UNITS,
)
TIMES = np.array([1.0, 10.0, 30.0])
SHIFT = {11: 0.5, 4: -0.4, 9: 0.1, 2: -0.1}  # of each site, on log V


def read(fits, people, seed=4):
    """Subjects by ID, each with its site."""
    rng = np.random.default_rng(seed)
    records = []
    for subject, site in people.items():
        cl = 0.2 * np.exp(0.2 * rng.standard_normal())
        shape = 5.0 * np.exp(SHIFT.get(site, 0.0))
        dv = fits.bolus(TIMES, cl, shape) * np.exp(0.1 * rng.standard_normal(3))
        records.append((subject, 0.0, 1, 300.0, np.nan, site))
        records += [(subject, t, 0, np.nan, y, site) for t, y in zip(TIMES, dv, strict=True)]
    frame = pd.DataFrame(records, columns=["ID", "TIME", "EVID", "AMT", "DV", "SITE"])
    return read_dataset(frame, units=UNITS)


@pytest.fixture(scope="module")
def data(fits):
    return read(fits, {f"S{k}": list(SHIFT)[k % 4] for k in range(12)})


@pytest.fixture(scope="module")
def fit(data):
    """By the default method, which leaves it to NUTS."""
    nuts = NUTS(draws=300, tune=300, chains=2, cores=2, pilot=60)
    return sample(MODEL, data, Marginal(otherwise=nuts), seed=3, progress=False)


def test_the_fit_has_the_effects_with_labels_and_units(fit):
    eta = fit["posterior"]["eta_SITE"]
    assert eta.dims == ("chain", "draw", "site_SITE", "effect_SITE")
    assert eta["site_SITE"].values.tolist() == [2, 4, 9, 11]
    assert eta["effect_SITE"].values.tolist() == ["V"]
    assert json.loads(eta.attrs["units"]) == {"V": "1"}
    assert eta.attrs["long_name"] == (
        "random effects between groups (SITE) on the parameters' scales"
    )
    assert "z_SITE" not in fit["posterior"]
    assert "omega_SITE_V" in json.loads(fit["posterior"].attrs["population"])
    assert "eta_SITE[11, V]" in fit["convergence"]["quantity"].values


def test_the_method_and_the_conditions_are_stated(fit):
    assert fit.attrs["method_note"] == (
        "The model has a further level (SITE). Sampled by NUTS instead."
    )
    conditional = fit["log_likelihood"].attrs["conditional_on"]
    assert conditional == "the subject's own random effects, the effects of the subject's SITE"
    attrs = fit["log_likelihood_subject"].attrs
    assert attrs["integrated_out"] == "the subject's random effects"
    assert attrs["conditional_on"] == "the effects of the subject's SITE"
    assert np.isfinite(fit["log_likelihood_subject"]["DV"]).all()


def test_the_sites_are_found(fit):
    """Relative to their mean, which the typical value shares."""
    eta = fit["posterior"]["eta_SITE"].sel(effect_SITE="V")
    eta = eta - eta.mean("site_SITE")
    true = np.array([SHIFT[site] for site in (2, 4, 9, 11)])
    middle, spread = eta.mean(("chain", "draw")).values, eta.std(("chain", "draw")).values
    assert (np.abs(middle - (true - true.mean())) < 4 * spread).all()
    assert (spread < 0.1).all()


def test_the_parameters_are_made_of_them(fit, data):
    posterior = fit["posterior"]
    site = data.covariate_table()["SITE"]
    for subject in ("S0", "S3"):
        own = posterior["eta_SITE"].sel(site_SITE=int(site[subject]), effect_SITE="V")
        expected = posterior["V"] * np.exp(own)
        found = posterior["parameters"].sel(subject=subject, parameter="V")
        np.testing.assert_allclose(found.values, expected.values, rtol=1e-6)


def test_it_is_kept_and_predicts_and_advises(fit, fits, tmp_path):
    save(fit, tmp_path / "fit.zarr")
    again = load(tmp_path / "fit.zarr")
    known = predict(again, seed=1)["predictions"]["parameters"].values
    np.testing.assert_allclose(known, again["posterior"]["parameters"].values, rtol=1e-6)
    people = read(fits, {"N11": 11, "N5": 5})
    v = np.log(predict(again, people, new_subjects=True, seed=1)["predictions"]["parameters"])
    v = v.sel(parameter="V").std(("chain", "draw"))
    assert v.sel(subject="N11") < 0.1
    assert v.sel(subject="N5") > 0.2
    advice = individualise(again, people, target=Trough(5.0, "mg/L"), samples=200, seed=1)
    said = advice["decision"]["unmeasured"]
    assert said.sel(subject="N11").item() == ""
    assert said.sel(subject="N5").item().startswith("SITE 5 is not in the data of the fit")
    assert advice["decision"]["reliable"].values.all()

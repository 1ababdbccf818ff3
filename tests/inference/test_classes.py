"""Sampling a model with sub-populations: by NUTS, whatever is asked for, and what the fit holds."""

from __future__ import annotations

import json

import numpy as np
import pytest

from popk.errors import SettingError
from popk.inference import NUTS, Marginal, sample
from popk.model import PopModel
from popk.statistics import IIV, Beta, LogNormal, LogNormalError, Subpopulations
from popk.structure import OneCompartment

MODEL = PopModel(
    OneCompartment(),
    typical={"CL": LogNormal(0.2, cv=0.1), "V": LogNormal(5.0, cv=0.1)},
    iiv=IIV({"CL": LogNormal(0.2, cv=0.2)}),
    error=LogNormalError(LogNormal(0.2, cv=0.2)),
    units={"time": "d", "amount": "mg", "concentration": "mg/L", "WT": "kg"},
    subpopulations=Subpopulations(
        ("normal", "fast"),
        shares={"fast": Beta(0.3, n=10)},
        folds={"CL": {"fast": LogNormal(2.5, cv=0.1)}},
    ),
)
# The second may be of either class.
SAMPLES = {"A": ((7.0, 45.0), (28.0, 22.0)), "B": ((28.0, 11.0),), "C": ((7.0, 25.0), (28.0, 2.0))}


@pytest.fixture(scope="module")
def data(fits):
    records = []
    for subject, taken in SAMPLES.items():
        records.append(fits.dose(subject, 0.0))
        records += [fits.observe(subject, time, dv) for time, dv in taken]
    return fits.dataset(*records)


@pytest.fixture(scope="module")
def fit(data):
    instead = NUTS(draws=300, tune=200, chains=2, cores=2, pilot=60)
    return sample(MODEL, data, Marginal(otherwise=instead), seed=3, progress=False)


def test_independent_proposals_are_not_for_classes(fit, data):
    said = "The model has sub-populations. Sampled by NUTS instead."
    assert fit.attrs["method_note"] == said
    assert json.loads(fit.attrs["method"])["name"] == "Marginal"
    assert fit["posterior"].sizes["draw"] == 300
    with pytest.raises(SettingError, match=r"has sub-populations\. Sample by NUTS instead"):
        sample(MODEL, data, Marginal(otherwise=None), seed=3, progress=False)


def test_each_subject_has_the_probability_of_each_class(fit):
    probability = fit["posterior"]["class_probability"]
    assert probability.dims == ("chain", "draw", "subject", "class")
    np.testing.assert_allclose(probability.sum("class"), 1.0)
    fast = probability.sel({"class": "fast"}).mean(("chain", "draw")).values
    assert fast[0] < 0.05 < fast[1] < 0.95 < fast[2]
    label = fit["posterior"]["label"].mean(("chain", "draw")).values
    np.testing.assert_allclose(label, fast, atol=0.06)


def test_effects_and_parameters_are_those_of_the_label(fit):
    posterior = fit["posterior"].to_dataset()
    own = np.log(posterior["parameters"].sel(parameter="CL") / posterior["CL"])
    fold = np.log(posterior["fold_CL_fast"]) * posterior["label"]
    eta = posterior["eta"].sel(effect="CL")
    np.testing.assert_allclose((own - fold - eta).values, 0.0, atol=1e-9)


def test_certain_classes_do_not_enter_the_table_of_convergence(fit):
    quantities = fit["convergence"]["quantity"].values.tolist()
    assert "share_fast" in quantities
    assert not any(name.startswith(("class_probability", "label")) for name in quantities)

"""Centred and non-centred effects sample the posterior that adapted ones do."""

import json

import numpy as np
import pandas as pd
import pytest
from arviz_stats import mcse

from popk.dataset import read_dataset
from popk.errors import SettingError
from popk.inference import NUTS, sample
from popk.model import PopModel
from popk.statistics import IIV, HalfNormal, LogNormal, LogNormalError
from popk.structure import OneCompartment

UNITS = {"time": "d", "amount": "mg", "concentration": "mg/L"}
MODEL = PopModel(
    OneCompartment(),
    typical={"CL": LogNormal(0.2, cv=0.3), "V": LogNormal(5.0, cv=0.3)},
    iiv=IIV({"CL": HalfNormal(0.4), "V": HalfNormal(0.4)}),
    error=LogNormalError(HalfNormal(0.3)),
    units=UNITS,
)
TIMES = np.array([1.0, 10.0, 30.0])


@pytest.fixture(scope="module")
def data(fits):
    """Ten subjects with three observations, which tell CL and V well."""
    rng = np.random.default_rng(7)
    records = []
    for k in range(10):
        cl, v = np.array([0.2, 5.0]) * np.exp(0.3 * rng.standard_normal(2))
        dv = fits.bolus(TIMES, cl, v) * np.exp(0.1 * rng.standard_normal(3))
        records.append((f"S{k}", 0.0, 1, 300.0, np.nan))
        records += [(f"S{k}", t, 0, np.nan, y) for t, y in zip(TIMES, dv, strict=True)]
    frame = pd.DataFrame(records, columns=["ID", "TIME", "EVID", "AMT", "DV"])
    return read_dataset(frame, units=UNITS)


@pytest.mark.slow
def test_the_posterior_is_the_same_in_every_form(data):
    settings = {"draws": 300, "tune": 200, "chains": 2, "cores": 2, "pilot": 60}
    forms = {"CL": "centred", "V": "non-centred"}
    one = sample(MODEL, data, NUTS(**settings), seed=1, progress=False)
    two = sample(MODEL, data, NUTS(**settings, forms=forms), seed=2, progress=False)
    assert json.loads(two.attrs["method"])["forms"] == forms
    assert json.loads(one.attrs["method"])["forms"] == {}
    for fit in (one, two):
        assert float(fit["convergence"]["rhat"].max()) < 1.1
    names = [p.name for p in MODEL.parameters]
    for name in names:
        a, b = one["posterior"][name], two["posterior"][name]
        error = np.hypot(float(mcse(a)), float(mcse(b)))
        assert abs(float(a.mean() - b.mean())) < 5 * error, name
        assert float(a.std()) == pytest.approx(float(b.std()), rel=0.35), name
    a, b = (fit["posterior"]["eta"].transpose(..., "chain", "draw") for fit in (one, two))
    apart = (a.mean(("chain", "draw")) - b.mean(("chain", "draw"))) / a.std(("chain", "draw"))
    assert float(np.abs(apart).max()) < 0.5


def test_forms_that_do_not_fit_the_model_are_refused(data):
    with pytest.raises(SettingError, match="forms names KA, which has no random effect between"):
        sample(MODEL, data, NUTS(forms={"KA": "centred"}), seed=1, progress=False)

"""Predictions beside the observations, for every kind of model."""

import json

import numpy as np
import pytest

from popk.dataset import read_dataset
from popk.diagnostics import npde, replicates, residuals, shrinkage, vpc
from popk.diagnostics.replicates import Seen, check_replicates, individual_predictions, replicated
from popk.errors import SettingError
from popk.model import PopModel
from popk.population import FitError
from popk.prediction import predict
from popk.statistics import (
    IIV,
    IOV,
    Autocorrelated,
    Fixed,
    LatentCovariate,
    Level,
    LogNormal,
    Normal,
    Power,
    Proportional,
    Subpopulations,
)
from popk.structure import OneCompartment

SIZES = LogNormal(0.3, cv=0.1)
KINDS = {
    "occasions": {"iov": IOV({"CL": SIZES})},
    "sites": {"levels": [Level("SITE", {"CL": SIZES})]},
    "sub-populations": {
        "subpopulations": Subpopulations(
            ("normal", "fast"),
            shares={"fast": Fixed(0.3)},
            folds={"CL": {"fast": LogNormal(2.5, cv=0.2)}},
        )
    },
    "a weight that is missing": {
        "covariates": [Power("CL", "WT", reference=70, exponent=Normal(0.75, 0.1))],
        "latent": [LatentCovariate("WT", LogNormal(70, cv=0.2), LogNormal(0.25, cv=0.3))],
    },
    "autocorrelated errors": {"error": Autocorrelated(Proportional(SIZES), LogNormal(5, cv=0.3))},
    "no variability": {"iiv": IIV({})},
}


@pytest.fixture(scope="module")
def frame(fits):
    """Six patients, two of each site, the last without a weight."""
    records = []
    for k, name in enumerate("ABCDEF"):
        records += fits.history(name, troughs=(20.0 + k, 15.0, 22.0 - k), weight=60.0 + 5 * k)
    found = fits.dataset(*records).to_frame()
    found["SITE"] = found["ID"].map(dict(zip("ABCDEF", (1, 1, 2, 2, 3, 3), strict=True)))
    found["OCC"] = np.where(found["TIME"] < 50, 1, 2)
    found.loc[found["ID"] == "F", "WT"] = np.nan
    return found


@pytest.fixture(params=KINDS)
def fit(request, fits, frame):
    given = {
        "typical": {"CL": LogNormal(0.2, cv=0.1), "V": LogNormal(5.0, cv=0.1)},
        "iiv": IIV({"CL": SIZES}),
        "error": Proportional(SIZES),
    } | KINDS[request.param]
    units = {**fits.UNITS, "SITE": "1"}
    model = PopModel(OneCompartment(), units=units, **given)
    data = read_dataset(frame, units=units, missing={"WT": "model"})
    return fits.fit_of(model, data, draws=60)


def test_individual_predictions_are_those_of_predict(fit):
    found, _ = individual_predictions(fit, Seen.of(fit), None)
    expected = predict(fit, seed=1)["predictions"]["IPRED"].values
    np.testing.assert_allclose(found, expected.reshape(found.shape), rtol=1e-12)


def test_replicates_have_the_distribution_of_new_patients(fit):
    found = replicated(fit, Seen.of(fit), 4000, np.random.default_rng(1))
    expected = predict(fit, new_subjects=True, seed=2)["predictions"]["DV"].values
    expected = expected.reshape(-1, found.shape[1])
    spread = expected.std(axis=0) / np.sqrt(len(expected))
    assert np.all(np.abs(np.median(found, axis=0) - np.median(expected, axis=0)) < 8 * spread)
    np.testing.assert_allclose(
        np.log(np.subtract(*np.quantile(found, [0.75, 0.25], axis=0))),
        np.log(np.subtract(*np.quantile(expected, [0.75, 0.25], axis=0))),
        atol=0.5,
    )


def test_every_table_can_be_made_of_it(fit):
    for table in (npde(fit, replicates=100, seed=1), residuals(fit, replicates=100, seed=1)):
        for name in ("PRED", *({"NPDE", "IWRES", "PWRES"} & set(table.data_vars))):
            assert np.isfinite(table[name].values).all()
    assert np.isfinite(vpc(fit, bins=1, replicates=100, seed=1)["observed"]).all()
    shrunken = shrinkage(fit)
    assert np.isfinite(shrunken["sd"]).all()
    model = Seen.of(fit).model
    if model.levels:
        assert "eta_SITE_CL" in shrunken["quantity"].values
    assert ("kappa_CL" in shrunken["quantity"].values) == bool(model.iov.effects)


def test_replicates_computed_a_few_at_a_time_are_all_different(fits, known, monkeypatch):
    monkeypatch.setattr(replicates, "_BLOCK", 50)
    data = fits.dataset(*fits.history("A"), *fits.history("B"))
    fit = fits.fit_of(known.model(fits.UNITS, sigma=1e-9), data)
    found = replicated(fit, Seen.of(fit), 120, np.random.default_rng(1))
    assert found.shape == (120, 4)
    for column in found.T:
        assert len(np.unique(column.round(5))) > 115


def test_predictions_that_cannot_be_computed_are_refused_by_name(fits):
    data = fits.dataset(*fits.history("A"), *fits.history("B"))
    fit = fits.fit_of(fits.one_compartment(), data)
    for name in ("CL", "V"):
        fit["posterior"][name].values[0, :50] = 1e-320
    with pytest.raises(
        FitError, match=r"\d+ of 200 replicates have no finite value, .* ID [AB] at TIME"
    ):
        npde(fit, replicates=200, seed=1)
    for name in ("CL", "V"):
        fit["posterior"][name].values[0, 1:50] = 1.0
    (note,) = json.loads(npde(fit, replicates=200, seed=1).attrs["notes"])
    assert note == "1 of 200 replicates have no finite value and are left out."


@pytest.mark.parametrize(
    ("given", "most", "said"),
    [
        (50, 1, "50 replicates were asked for; give a whole number of 100 or more."),
        (True, 1, "True replicates"),
        (200, 30, r"300 or more \(10 for each of the 30 observations of one subject\)"),
    ],
)
def test_too_few_replicates_are_refused(given, most, said):
    with pytest.raises(SettingError, match=said):
        check_replicates(given, most=most)


def test_limits_that_differ_are_not_guessed(fits):
    frame = fits.dataset(*fits.history("A", troughs=(20.0, 22.0, 9.0))).to_frame()
    frame.loc[frame["EVID"] == 0, "LLOQ"] = [1.0, 2.0, np.nan]
    fit = fits.fit_of(fits.one_compartment(), read_dataset(frame, units=fits.UNITS))
    seen = Seen.of(fit)
    assert seen.lower.tolist() == [1.0, 2.0, -np.inf]
    (note,) = json.loads(residuals(fit, replicates=100, seed=1).attrs["notes"])
    assert note.startswith("Of observations that have no LLOQ although others do (1)")

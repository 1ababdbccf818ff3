"""Data and models that are legal and extreme: they finish with the right warnings, or a sentence.

Each case is read, warned of as it should be, predicted, and given a density; the fits are slow.
"""

import time

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from popk_strategies import UNITS, event_tables, models

from popk.dataset import DataError, read_dataset
from popk.design import check_fit
from popk.diagnostics import verdict_of
from popk.errors import PopkError, SettingError
from popk.individual import Trough, expected_of, individualise, log_joint, patients_of
from popk.inference import Marginal, sample
from popk.inference.marginal.cohort import Cohort
from popk.model import ModelError, PopModel
from popk.population import PopulationDraws
from popk.prediction import predict
from popk.prior_prediction import prior_predictive
from popk.statistics import (
    IIV,
    Additive,
    Correlated,
    Fixed,
    HalfNormal,
    LogNormal,
    LogNormalError,
    Proportional,
)
from popk.structure import OneCompartment, TwoCompartment

TARGET = Trough(10, "mg/L")


def model_with(fits, *, omega=None, correlations=(), error=None):
    """One compartment; CL and V vary between subjects."""
    prior = HalfNormal(0.3) if omega is None else omega
    return PopModel(
        OneCompartment(),
        typical={"CL": LogNormal(0.2, cv=0.3), "V": LogNormal(5.0, cv=0.3)},
        iiv=IIV({"CL": prior, "V": prior}, correlations=correlations),
        error=error or Proportional(HalfNormal(0.2)),
        units=fits.UNITS,
        name="degenerate",
    )


def histories(fits, **levels):
    """Patients with two troughs each."""
    return [r for name, pair in levels.items() for r in fits.history(name, pair)]


def one_patient(fits):
    return histories(fits, A=(20.0, 22.0)), "single subject"


def one_without_observations(fits):
    records = histories(fits, A=(20.0, 22.0), B=(15.0, 16.0))
    return [*records, fits.dose("C", 0.0), fits.dose("C", 28.0)], "The subject has no observation"


def all_below(fits):
    records = []
    for name in "ABC":
        records += [fits.dose(name, 0.0), fits.observe(name, 80.0, 1.0, cens=1),
                    fits.observe(name, 100.0, 1.0, cens=1)]  # fmt: skip
    return records, "Every observation is BLQ"


def constant(fits):
    return histories(fits, A=(20.0, 20.0), B=(20.0, 20.0), C=(20.0, 20.0)), ""


def same_time(fits):
    """Every dose and sample at one time: the samples after the dose."""
    records = []
    for k, name in enumerate("ABC"):
        records += [fits.dose(name, 5.0), fits.observe(name, 5.0, 58.0 + k),
                    fits.observe(name, 5.0, 61.0 - k)]  # fmt: skip
    return records, ""


def ten_years(fits):
    """A dose every week, and a sample every year."""
    records = []
    for k, name in enumerate("AB"):
        records.append(fits.dose(name, 0.0, amount=70.0, addl=521, ii=7.0))
        records += [fits.observe(name, 365.25 * year, 45.0 + 5 * k) for year in range(1, 11)]
    return records, ""


CASES = (one_patient, one_without_observations, all_below, constant, same_time, ten_years)


def values_of(model, size=5):
    """Draws of the population parameters from their priors."""
    return PopulationDraws.from_prior(model, size, np.random.default_rng(2))


def densities(model, data):
    """Log density of each subject's data and effects, (draws, effects' values), by ID."""
    draws, found = values_of(model), {}
    z = np.random.default_rng(3).standard_normal((draws.size, 4, 2))
    for patient in patients_of(draws, data, threads=1):
        expected = expected_of(draws, patient, np.zeros((draws.size, 2)))
        found[patient.subject] = log_joint(draws, patient, expected, z)[0]
    return found


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_what_is_legal_is_read_with_its_warning_and_has_a_density(fits, case):
    records, said = case(fits)
    data = fits.dataset(*records)
    told = [one.message for one in data.warnings]
    assert any(said in message for message in told) if said else not told
    model = model_with(fits)
    check_fit(model, data)
    for density in densities(model, data).values():
        assert np.isfinite(density).all()
    prior = prior_predictive(model, data, draws=4, seed=1)
    assert np.isfinite(prior["prior_predictive"]["DV"]).all()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_predictions_and_advice_are_numbers(fits, case):
    records, _ = case(fits)
    data = fits.dataset(*records)
    fit = fits.fit_of(model_with(fits), data, draws=50)
    assert np.isfinite(predict(fit, new_subjects=True, seed=1)["predictions"]["IPRED"]).all()
    advice = individualise(fit, data, target=TARGET, weeks=[4, 6], seed=1)
    probability = advice["decision"]["probability"]
    assert ((probability >= 0) & (probability <= 1)).all()


def test_one_without_observations_has_the_density_of_the_effects_alone(fits):
    records, _ = one_without_observations(fits)
    found = densities(model_with(fits), fits.dataset(*records))["C"]
    z = np.random.default_rng(3).standard_normal((5, 4, 2))
    np.testing.assert_allclose(found, -0.5 * (z**2).sum(-1) - np.log(2 * np.pi), rtol=1e-12)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_marginal_likelihoods_and_their_slopes_are_numbers(fits, case):
    """Also of one without observations, whose slopes could not be computed."""
    cohort = Cohort.of(model_with(fits), fits.dataset(*case(fits)[0]), seed=1, cores=1)
    value, slope = cohort.slopes(np.random.default_rng(4).standard_normal((6, 5)), 0)
    assert np.isfinite(value).all()
    assert np.isfinite(slope).all()
    if case is one_without_observations:
        np.testing.assert_allclose(value[:, 2], 0.0, atol=0.01)  # an average over nodes
        np.testing.assert_allclose(slope[:, 2], 0.0, atol=1e-9)


def test_samples_before_anything_was_given_are_refused_where_they_have_no_density(fits):
    """At the time of the dose, on a record before it."""
    records = [r for k, name in enumerate("ABC") for r in
               (fits.observe(name, 5.0, 1.0 + k), fits.dose(name, 5.0))]  # fmt: skip
    data = fits.dataset(*records)
    assert all("All observations of the subject stand before" in w.message for w in data.warnings)
    with pytest.raises(DataError, match="before"):
        check_fit(model_with(fits, error=LogNormalError(HalfNormal(0.2))), data)
    check_fit(model_with(fits, error=Additive(HalfNormal(1.0))), data)


# Variances and correlations at their ends


def test_a_variance_of_zero_is_refused_and_one_near_it_is_not(fits):
    with pytest.raises(ModelError, match="an SD needs one above zero"):
        model_with(fits, omega=Fixed(0.0))
    data = fits.dataset(*histories(fits, A=(20.0, 22.0), B=(15.0, 16.0)))
    tiny, small = (densities(model_with(fits, omega=Fixed(w)), data) for w in (1e-12, 1e-9))
    for name, density in tiny.items():
        np.testing.assert_allclose(density, small[name], rtol=1e-5)


def correlated(fits, value):
    return model_with(fits, correlations=[Correlated(("CL", "V"), fixed=(value,))])


def test_a_correlation_of_one_is_refused_and_one_near_it_is_not(fits):
    for value in (1.0, -1.0, 1.5):
        with pytest.raises(SettingError, match="correlations"):
            correlated(fits, value)
    data = fits.dataset(*histories(fits, A=(20.0, 22.0), B=(15.0, 16.0)))
    near, nearer = (densities(correlated(fits, v), data) for v in (1 - 1e-9, 1 - 1e-12))
    for name, density in near.items():
        assert np.isfinite(density).all()
        np.testing.assert_allclose(nearer[name], density, rtol=1e-3)


# Very many


def test_ten_years_of_doses_written_down_one_by_one(fits):
    run, single = [], []
    for k, name in enumerate("AB"):
        seen = [fits.observe(name, 365.25 * year, 45.0 + 5 * k) for year in range(1, 11)]
        run += [fits.dose(name, 0.0, amount=10.0, addl=3652, ii=1.0), *seen]
        found = [fits.dose(name, float(day), amount=10.0) for day in range(3653)] + seen
        single += sorted(found, key=lambda record: (record[1], record[2] == 0))
    model = model_with(fits)
    whole, parts = (densities(model, fits.dataset(*records)) for records in (run, single))
    for name, density in whole.items():
        np.testing.assert_allclose(parts[name], density, rtol=1e-9)


def crowd(n):
    """So many patients with a dose and three samples, as a frame."""
    rng = np.random.default_rng(1)
    clearance = 0.2 * np.exp(0.3 * rng.standard_normal(n))
    times = np.array([0.0, 7.0, 14.0, 28.0])
    values = 60.0 * np.exp(-clearance[:, None] / 5.0 * times) * rng.normal(1, 0.1, (n, 4))
    dose = np.tile(times == 0, n)
    return pd.DataFrame(
        {
            "ID": np.repeat([f"P{k}" for k in range(n)], 4), "TIME": np.tile(times, n),
            "EVID": dose.astype(int), "AMT": np.where(dose, 300.0, np.nan),
            "DV": np.where(dose, np.nan, np.abs(values.ravel())),
        }
    )  # fmt: skip


def test_ten_thousand_patients_are_read_predicted_and_simulated(fits):
    units = {name: unit for name, unit in fits.UNITS.items() if name != "WT"}
    began = time.process_time()
    data = read_dataset(crowd(10_000), units=units)
    model = model_with(fits)
    model = PopModel(model.structure, typical=model.typical, iiv=model.iiv, error=model.error,
                     units=units)  # fmt: skip
    assert (data.n_subjects, data.n_observations) == (10_000, 30_000)
    assert check_fit(model, data).events.n_subjects == 10_000
    found = prior_predictive(model, data, draws=3, seed=1)["prior_predictive"]
    assert found["DV"].shape == (1, 3, 30_000)
    assert np.isfinite(found["DV"]).all()
    assert time.process_time() - began < 120  # seconds, where this was written under five


# Fits


def fitted(model, data, seed=1):
    return sample(model, data, Marginal(draws=60, chains=2), seed=seed, progress=False)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_a_fit_finishes_and_its_verdict_says_what_it_is(fits, case):
    records, _ = case(fits)
    data = fits.dataset(*records)
    fit = fitted(model_with(fits), data)
    for name in ("CL", "V", "omega_CL", "omega_V", "sigma_prop"):
        values = fit["posterior"][name].values
        assert np.isfinite(values).all()
        assert np.ptp(values) > 0
    verdict = verdict_of(fit)
    assert verdict.converged or verdict.failures
    assert str(verdict).strip()


@pytest.mark.slow
@pytest.mark.parametrize("omega", [LogNormal(1e-4, cv=0.5), Fixed(1e-9)])
def test_fits_with_hardly_any_variability_finish(fits, omega):
    data = fits.dataset(*histories(fits, A=(20.0, 22.0), B=(21.0, 23.0), C=(19.0, 21.0)))
    fit = fitted(model_with(fits, omega=omega), data)
    spread = fit["posterior"]["parameters"].sel(parameter="CL").std("subject")
    assert float(spread.max()) < 1e-3
    assert np.isfinite(fit["posterior"]["CL"]).all()


@pytest.mark.slow
def test_a_fit_with_a_correlation_near_one_finishes(fits):
    data = fits.dataset(*histories(fits, A=(20.0, 22.0), B=(15.0, 16.0), C=(26.0, 29.0)))
    fit = fitted(correlated(fits, 0.9999), data)
    posterior = fit["posterior"]
    z = [(posterior["eta"].sel(effect=name) / posterior[f"omega_{name}"]).values.ravel()
         for name in ("CL", "V")]  # fmt: skip
    assert np.corrcoef(z)[0, 1] > 0.999


@pytest.mark.slow
def test_five_hundred_patients_are_fitted(fits):
    units = {name: unit for name, unit in fits.UNITS.items() if name != "WT"}
    data = read_dataset(crowd(500), units=units)
    model = model_with(fits)
    model = PopModel(model.structure, typical=model.typical, iiv=model.iiv, error=model.error,
                     units=units)  # fmt: skip
    fit = fitted(model, data)
    assert float(fit["posterior"]["CL"].mean()) == pytest.approx(0.2, rel=0.1)
    assert float(fit["posterior"]["omega_CL"].mean()) == pytest.approx(0.3, rel=0.15)


@pytest.mark.slow
def test_what_a_structure_cannot_tell_from_the_data_is_said(fits):
    """Two compartments from one sample of each patient: refused in a sentence, or said."""
    model = PopModel(
        TwoCompartment(),
        typical={name: LogNormal(value, cv=0.3) for name, value in
                 {"CL": 0.2, "V1": 4.0, "Q": 0.3, "V2": 3.0}.items()},
        iiv=IIV({"CL": HalfNormal(0.3)}),
        error=Proportional(HalfNormal(0.2)),
        units=fits.UNITS,
    )  # fmt: skip
    data = fits.dataset(*(r for name in "AB" for r in
                          (fits.dose(name, 0.0), fits.observe(name, 28.0, 12.0))))  # fmt: skip
    try:
        said = str(verdict_of(fitted(model, data)))
    except PopkError as fault:
        said = str(fault)
    assert said.strip()


@given(model=models(), frame=event_tables())
@settings(max_examples=20, derandomize=True)
def test_any_model_predicts_any_table(model, frame):
    """Whatever is mixed: numbers, none below zero, or a sentence on what does not go together."""
    data = read_dataset(frame.assign(SS=0), units=UNITS)  # saturated, there may be no steady state
    try:
        found = prior_predictive(model, data, draws=3, seed=1)["prior_predictive"]
    except (DataError, ModelError) as fault:
        said = str(fault)
    else:
        said = ""
        assert np.isfinite(found["IPRED"]).all()
        assert (found["IPRED"] > -1e-9).all()
        assert np.isfinite(found["DV"]).all()
    assert not said or "cannot be used" in said

"""A fit made ready once, quick modes, Monte Carlo errors, and a patient's posterior over time."""

import pickle

import numpy as np
import pytest

from popk.errors import SettingError
from popk.individual import Trough, decide, find_modes, individualise, patients_of, prepare, propose
from popk.individual.advice import made_ready
from popk.individual.forecast import troughs_of
from popk.individual.judged import monte_carlo_error
from popk.individual.posterior import patient_posterior, patient_seed, quality
from popk.individual.quick import predicted_modes
from popk.plots import PlotError, plot_patient
from popk.population import PopulationDraws
from popk.reporting import interval_table
from popk.statistics import IIV

OPTIONS = {"target": Trough(10.0, "mg/L"), "weeks": (4, 6, 8), "samples": 400}


@pytest.fixture(scope="module")
def cohort(fits):
    return fits.dataset(*fits.history("C1", weight=60.0), *fits.history("C2", weight=80.0))


@pytest.fixture(scope="module")
def fit(fits, cohort):
    return fits.fit_of(fits.one_compartment(covariates=True, cv=0.2), cohort, draws=200)


@pytest.fixture(scope="module")
def patients(fits):
    return fits.dataset(
        *fits.history("N1", (12.0, 13.0), weight=55.0),
        *fits.history("N2", (20.0,), weight=70.0),
        fits.observe("N2", 170.0, 1.0, cens=1, weight=70.0),
    )


def test_what_was_prepared_gives_the_same_advice(fit, patients):
    usual = individualise(fit, patients, **OPTIONS)
    prepared = pickle.loads(pickle.dumps(prepare(fit, own=False)))
    other = individualise(prepared, patients, **OPTIONS)
    for group in ("decision", "posterior", "curve"):
        assert usual[group].to_dataset().identical(other[group].to_dataset())


def test_a_patient_alone_is_advised_as_among_others(fit, patients):
    together = individualise(fit, patients, **OPTIONS)["decision"].to_dataset()
    alone = individualise(fit, patients.select(["N2"]), **OPTIONS)["decision"].to_dataset()
    np.testing.assert_array_equal(
        together["probability"].sel(subject="N2"), alone["probability"].sel(subject="N2")
    )


def test_patients_made_ready_are_advised_as_given(fit, patients):
    prepared = prepare(fit)
    ready = made_ready(prepared, patients)
    usual, other = (individualise(prepared, given, **OPTIONS) for given in (patients, ready))
    for group in ("decision", "posterior", "curve"):
        assert usual[group].to_dataset().identical(other[group].to_dataset())


def test_repeated_samples_have_the_forecast_of_their_own_parameters(fit, patients):
    """Each sample is forecast once; every sample that repeats it has the same troughs."""
    prepared = prepare(fit)
    advice = individualise(prepared, patients, curve=False, sustained=False, **OPTIONS)
    own = made_ready(prepared, patients)
    groups, intervals = advice["posterior"].to_dataset(), 7.0 * np.array([4.0, 6.0, 8.0])
    for k, present in enumerate(own.presents):
        theta = groups["parameters"].values[k][:, None]
        assert len(np.unique(theta, axis=0)) < len(theta)
        expected = troughs_of(prepared.model, theta, present, intervals)
        np.testing.assert_allclose(groups["troughs"].values[k], expected, rtol=1e-9)


def test_prepared_for_new_patients_it_knows_no_others(fit):
    prepared = prepare(fit, own=False)
    with pytest.raises(SettingError, match="give the patients' data"):
        individualise(prepared, None, **OPTIONS)
    whole = individualise(prepare(fit), ["C1"], **OPTIONS)
    assert whole["decision"]["source"].values.tolist() == ["cohort"]


def test_what_is_not_asked_for_is_not_computed(fit, patients):
    all_of_it = individualise(fit, patients, **OPTIONS)
    less = individualise(fit, patients, curve=False, sustained=False, **OPTIONS)
    for name in ("probability", "trough_median", "mcse", "longest"):
        np.testing.assert_allclose(all_of_it["decision"][name], less["decision"][name], rtol=1e-9)
    assert np.isnan(less["decision"]["probability_sustained"]).all()
    assert less["curve"].sizes["point"] == 0
    assert (less.attrs["curve"], less.attrs["sustained"]) == (0, 0)
    assert [row[-2].text for row in interval_table(less).rows] == ["not asked"] * 2
    with pytest.raises(PlotError, match="no curves"):
        plot_patient(less, subject="N1")
    assert decide(less, target=Trough(5.0, "mg/L"))["decision"]["probability"].notnull().all()


def test_predicted_modes_serve_as_well_as_searched_ones(fits, cohort, patients):
    fit = fits.fit_of(fits.one_compartment(covariates=True, cv=0.07), cohort, draws=200)
    population = PopulationDraws.of(fit)
    for patient in patients_of(population, patients):
        effective = []
        for modes in (find_modes(population, patient), predicted_modes(population, patient)):
            rng = np.random.default_rng(1)
            weights = propose(population, patient, modes, each=4, rng=rng).log_weight.ravel()
            khat, ess = quality(weights)
            assert khat < 0.7
            effective.append(ess)
        assert effective[1] > 0.6 * effective[0]


def test_too_few_draws_are_searched_one_by_one(fit, patients):
    population = PopulationDraws.of(fit, 20)
    patient = patients_of(population, patients)[0]
    assert predicted_modes(population, patient) is None


def test_the_posterior_from_predicted_modes_is_that_from_many_proposals(fit, patients):
    population = PopulationDraws.of(fit)
    patient = patients_of(population, patients)[0]
    made = propose(
        population, patient, find_modes(population, patient), each=60,
        rng=np.random.default_rng(5),
    )  # fmt: skip
    weight = np.exp(made.log_weight - made.log_weight.max())
    weight /= weight.sum()
    quick = patient_posterior(population, patient, samples=8000, rng=patient_seed(1, "N1"))
    for k in range(2):
        values = np.log(made.parameters[:, :, 0, k])
        mean = (weight * values).sum()
        sd = np.sqrt((weight * (values - mean) ** 2).sum())
        own = np.log(quick.parameters[:, 0, k])
        assert own.mean() == pytest.approx(mean, abs=0.1 * sd)
        assert own.std() == pytest.approx(sd, rel=0.08)


def test_the_monte_carlo_error_is_that_between_seeds(fit, patients):
    """Other random numbers, and other draws of the population, move a probability by about it."""
    found, stated = [], []
    for seed in range(12):
        shift = np.arange(seed, 400, 8)  # other draws of the fit each time
        part = fit.isel(draw=np.unique(shift % 200))
        advice = individualise(
            part, patients, seed=seed, curve=False, sustained=False, draws=50, **OPTIONS
        )
        found.append(advice["decision"]["probability"].values)
        stated.append(advice["decision"]["mcse"].values)
    between, said = np.std(found, axis=0), np.mean(stated, axis=0)
    unsure = (np.mean(found, axis=0) > 0.1) & (np.mean(found, axis=0) < 0.9)
    assert unsure.any()
    assert np.all(between[unsure] < 1.6 * said[unsure])
    assert np.all(between[unsure] > 0.3 * said[unsure])


def test_samples_of_one_population_draw_count_as_one():
    values = np.repeat([[[9.0, 11.0, 11.0, 12.0]]], 25, axis=2)
    many = monte_carlo_error(values, 10.0, np.arange(100)[None], np.array([100.0]))
    few = monte_carlo_error(values, 10.0, np.repeat(np.arange(4), 25)[None], np.array([100.0]))
    assert many[0, 0] == pytest.approx(np.sqrt(0.25 * 0.75 / 100), rel=0.02)
    assert few[0, 0] == pytest.approx(np.sqrt(0.25 * 0.75 / 4), rel=0.02)


def test_samples_that_all_agree_are_not_certain():
    values = np.full((1, 1, 400), 20.0)
    error = monte_carlo_error(values, 10.0, np.arange(400)[None], np.array([400.0]))
    assert 0 < error[0, 0] < 0.005
    nothing = monte_carlo_error(values * np.nan, 10.0, np.arange(400)[None], np.array([np.nan]))
    assert np.isnan(nothing).all()


def test_a_new_trough_updates_the_posterior_as_bayes_says(fits, fit):
    """All records at once, and the earlier posterior weighted by the new trough's likelihood."""
    earlier = fits.dataset(*fits.history("N", (14.0,)))
    later = fits.dataset(*fits.history("N", (14.0,)), fits.observe("N", 112.0, 11.0))
    options = OPTIONS | {"samples": 6000, "curve": False, "sustained": False, "draws": 400}
    before, after = (individualise(fit, data, **options) for data in (earlier, later))
    posterior = before["posterior"].to_dataset().sel(subject="N")
    cl, v = posterior["parameters"].transpose("parameter", "sample").values
    sigma = PopulationDraws.of(fit).values["sigma_prop"][posterior["draw"].values]
    f = fits.bolus(112.0, cl, v, doses=28.0 * np.arange(4))
    weight = np.exp(-0.5 * ((11.0 - f) / (sigma * f)) ** 2) / (sigma * f)
    weight /= weight.sum()
    updated = after["posterior"]["parameters"].sel(subject="N", parameter="CL").values
    mean = weight @ cl
    sd = np.sqrt(weight @ (cl - mean) ** 2)
    assert updated.mean() == pytest.approx(mean, abs=0.08 * sd)
    assert updated.std() == pytest.approx(sd, rel=0.08)
    assert abs(cl.mean() - mean) > 0.15 * sd  # it was news


def test_a_flattened_prior_gives_a_patients_own_troughs_more_weight(fits, cohort):
    """Priors alone as the population: the variances of the typical values ten times as large."""
    model = fits.one_compartment(cv=0.3)
    data = fits.dataset(
        *fits.history("N", (4.0, 4.2, 4.1, 4.1), doses=6), fits.dose("E", 0.0, addl=5, ii=28.0)
    )
    medians, widths = [], []
    for prior in (model, model.flattened(10.0)):
        fit = fits.fit_of(prior, cohort, draws=500)
        advice = individualise(fit, data, draws=1000, **OPTIONS)["decision"].to_dataset()
        advice = advice.isel(week=0)
        own, free = advice.sel(subject="N"), advice.sel(subject="E")
        assert int(own["reliable"]) == 1
        medians.append(float(own["trough_median"]))
        widths.append(np.log(float(free["trough_high"]) / float(free["trough_low"])))
    assert widths[1] > 1.5 * widths[0]
    assert abs(medians[1] - 4.1) < abs(medians[0] - 4.1)


def test_without_random_effects_there_is_nothing_to_predict(fits, patients):
    model = fits.one_compartment(iiv={})
    assert model.iiv == IIV()
    population = PopulationDraws.from_prior(model, 200, np.random.default_rng(1))
    assert predicted_modes(population, patients_of(population, patients)[0]) is None

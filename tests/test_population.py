"""Draws of population parameters, from fits and priors."""

import numpy as np
import pytest
import xarray as xr

from popk.errors import PopkError
from popk.population import FitError, PopulationDraws, dataset_of, model_of, thinned


@pytest.fixture(scope="module")
def data(fits):
    return fits.dataset(*fits.history("A", weight=50.0), *fits.history("B", weight=90.0))


@pytest.fixture(scope="module")
def fit(fits, data):
    return fits.fit_of(fits.one_compartment(covariates=True), data, chains=2, draws=50)


def test_model_and_data_come_back_as_they_were(fits, fit, data):
    assert model_of(fit) == fits.one_compartment(covariates=True)
    assert dataset_of(fit) == data


def test_what_is_not_a_fit_is_refused():
    with pytest.raises(FitError, match="its kind is 'not given'"):
        model_of(xr.DataTree())
    assert issubclass(FitError, PopkError)


def test_draws_are_counted_chain_after_chain(fit):
    population = PopulationDraws.of(fit)
    assert population.size == 100
    np.testing.assert_array_equal(
        population.values["CL"],
        np.concatenate([fit["posterior"]["CL"].values[chain] for chain in range(2)]),
    )


def test_thinned_draws_include_the_ends(fit):
    np.testing.assert_array_equal(thinned(fit, 4), [0, 33, 66, 99])
    np.testing.assert_array_equal(thinned(fit, None), np.arange(100))
    assert PopulationDraws.of(fit, 4).size == 4
    np.testing.assert_array_equal(
        PopulationDraws.of(fit, 4).values["V"], PopulationDraws.of(fit).values["V"][[0, 33, 66, 99]]
    )


@pytest.mark.parametrize("draws", [0, 101, -1, 2.5])
def test_a_number_of_draws_that_the_fit_cannot_give_is_refused(fit, draws):
    with pytest.raises(FitError, match=f"{draws} draws were asked for; the fit has 100"):
        thinned(fit, draws)


def test_draws_from_the_prior_are_distributed_as_it(fits):
    model = fits.one_compartment(cv=0.3)
    population = PopulationDraws.from_prior(model, 20_000, np.random.default_rng(1))
    for parameter in model.parameters:
        values = population.values[parameter.name]
        assert values.shape == (20_000,)
        assert np.median(values) == pytest.approx(parameter.prior.median, rel=0.02)
        assert values.std() / values.mean() == pytest.approx(0.3, rel=0.05)
    pair = np.corrcoef(population.values["CL"], population.values["V"])[0, 1]
    assert abs(pair) < 0.04


def test_parameters_are_typical_values_covariates_and_effects(fits):
    model = fits.one_compartment(covariates=True)
    values = {
        "CL": np.array([0.2, 0.3]), "V": np.array([5.0, 6.0]), "beta_CL_WT": np.array([0.75, 0.5]),
        "omega_CL": np.array([0.3, 0.4]), "omega_V": np.array([0.1, 0.2]),
        "sigma_prop": np.array([0.2, 0.25]),
    }  # fmt: skip
    population = PopulationDraws(model, values)
    expected = population.expected({"WT": np.array([50.0, 70.0, 90.0])})
    assert expected.shape == (2, 3, 2)
    eta = np.random.default_rng(2).normal(size=(2, 3, 2))
    found = population.parameters(expected, eta)
    for s in range(2):
        factor = (np.array([50.0, 70.0, 90.0]) / 70) ** values["beta_CL_WT"][s]
        np.testing.assert_allclose(
            found[s, :, 0], values["CL"][s] * factor * np.exp(eta[s, :, 0]), rtol=1e-12
        )
        np.testing.assert_allclose(
            found[s, :, 1], values["V"][s] * np.exp(eta[s, :, 1]), rtol=1e-12
        )
    np.testing.assert_array_equal(population.omega, [[0.3, 0.1], [0.4, 0.2]])
    np.testing.assert_array_equal(population.sigma["sigma_prop"], [[0.2], [0.25]])
    assert population.effect_positions == [[0], [1]]


def test_effects_act_on_their_own_parameter_whatever_their_order(fits):
    from popk.statistics import LogNormal

    model = fits.one_compartment(iiv={"V": LogNormal(0.2, cv=0.1)})
    population = PopulationDraws.from_prior(model, 3, np.random.default_rng(1))
    assert population.effect_positions == [[1]]
    found = population.parameters(population.expected({}), np.ones((3, 1, 1)))
    np.testing.assert_allclose(found[:, 0, 0], population.values["CL"])
    np.testing.assert_allclose(found[:, 0, 1], np.e * population.values["V"])


def test_without_random_effects_there_are_none(fits):
    model = fits.one_compartment(iiv={})
    population = PopulationDraws.from_prior(model, 3, np.random.default_rng(1))
    assert population.omega.shape == (3, 0)
    found = population.parameters(population.expected({}), np.zeros((3, 1, 0)))
    np.testing.assert_allclose(found[:, 0, 0], population.values["CL"])

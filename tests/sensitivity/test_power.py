"""Power-scaling, against weights made by hand."""

import json

import numpy as np
import pytest
from arviz_stats.base import array_stats
from scipy import stats
from scipy.special import logsumexp

from popk.errors import PopkError
from popk.individual import Trough, individualise
from popk.population import PopulationDraws, dataset_of
from popk.sensitivity import power_scaling
from popk.sensitivity.evidence import evidence_of

TARGET = Trough(12.0, "mg/L")


@pytest.fixture(scope="module")
def advice(grid_fit, fits, grids):
    both = fits.dataset(
        *grids.records(fits, "two", grids.SAMPLES["two"]),
        *grids.records(fits, "new", ((28.0, 17.0),)),
    )
    return individualise(grid_fit, both, target=TARGET, samples=300, draws=300)


@pytest.fixture(scope="module")
def scaled(grid_fit, advice):
    return power_scaling(grid_fit, advice, seed=2)


def test_the_prior_is_that_of_the_population_parameters(grid_fit, on_grid):
    found = evidence_of(grid_fit, draws=None, seed=1)
    values = PopulationDraws.of(grid_fit).values
    expected = 0.0
    for one in PopulationDraws.of(grid_fit).model.parameters:
        sigma = np.sqrt(np.log1p(one.prior.cv**2))
        logs = np.log(values[one.name])
        expected = expected + stats.norm.logpdf(logs, np.log(one.prior.median), sigma)
    np.testing.assert_allclose(found.log_prior, expected)
    grid, density, _ = on_grid
    for k, name in enumerate(found.subjects):
        whole = logsumexp(density[name].sum(axis=0) + grid, axis=1)
        np.testing.assert_allclose(found.log_likelihood[:, k], whole, atol=0.15)


def test_at_power_one_the_advice_stays_as_it_is(scaled, advice):
    now = scaled["intervals"].to_dataset().sel(power=1.0)
    for component in ("prior", "likelihood"):
        own = now.sel(component=component)
        np.testing.assert_allclose(own["probability"], advice["decision"]["probability"])
        np.testing.assert_array_equal(own["longest"], advice["decision"]["longest"])


def test_samples_are_weighed_by_their_draws(scaled, advice, grid_fit):
    found = evidence_of(grid_fit, draws=None, seed=2)
    smooth, _ = array_stats.psislw(-(1.25 - 1) * found.log_likelihood.sum(axis=1))
    weight = np.exp(smooth - logsumexp(smooth))
    table = scaled["intervals"].to_dataset().sel(component="likelihood", power=1.25)
    for k, subject in enumerate(advice["posterior"]["subject"].values.tolist()):
        own = advice["posterior"].to_dataset().isel(subject=k)
        w = weight[own["draw"].values]
        holds = own["troughs"].transpose("sample", "week").values >= TARGET.concentration
        expected = (w[:, None] * holds).sum(axis=0) / w.sum()
        np.testing.assert_allclose(table["probability"].sel(subject=subject), expected)


def test_draws_of_new_patients_are_those_of_the_fit(advice, grid_fit):
    """The parameter without variability tells which draw a sample comes from."""
    v = PopulationDraws.of(grid_fit).values["V"]
    posterior = advice["posterior"].to_dataset()
    for subject in ("two", "new"):
        own = posterior.sel(subject=subject)
        np.testing.assert_allclose(own["parameters"].sel(parameter="V"), v[own["draw"].values])


def test_sensitivities_have_words(scaled):
    table = scaled["parameters"].to_dataset()
    words = table["diagnosis"].sel(parameter="omega_CL").item()
    prior, data = table["sensitivity"].sel(parameter="omega_CL").values
    assert prior > 0
    assert (prior >= 0.05) == (words in ("the prior decides",) or words.startswith("prior and"))
    assert (data >= 0.05) == (words == "the data decide" or words.startswith("prior and"))
    notes = json.loads(scaled.attrs["notes"])
    assert any(note.startswith("With the prior raised to the power 0.8") for note in notes)
    assert scaled.attrs["target"] == 12.0


def test_an_advice_from_another_fit_is_refused(advice, fits, grid_fit):
    other = fits.fit_of(fits.one_compartment(cv=0.06), dataset_of(grid_fit))
    with pytest.raises(PopkError, match="rests on another fit"):
        power_scaling(other, advice)
    with pytest.raises(PopkError, match="each must be above zero"):
        power_scaling(grid_fit, powers=(0.0,))

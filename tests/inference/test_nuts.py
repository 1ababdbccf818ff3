"""Sampling for real, against integration by other means; one module-wide pair of fits."""

import json

import numpy as np
import pytest
import xarray as xr
from arviz_stats import mcse
from numba.core import event
from scipy import stats

from popk.dataset import Dataset
from popk.diagnostics import verdict_of
from popk.errors import SettingError
from popk.inference import NUTS, sample
from popk.model import ModelError, PopModel
from popk.statistics import IIV, HalfNormal, LogNormal, Proportional
from popk.storage import load, save
from popk.structure import OneCompartment

TIMES = np.array([2.0, 10.0, 25.0, 60.0])
LLOQ = 2.0
METHOD = {"draws": 300, "tune": 300, "chains": 2, "pilot": 100}
MODEL = PopModel(
    OneCompartment(),
    typical={"CL": LogNormal(0.2, cv=0.5), "V": LogNormal(5.0, cv=0.3)},
    iiv=IIV({"CL": HalfNormal(0.5)}),
    error=Proportional(HalfNormal(0.4)),
    units={"time": "d", "amount": "mg", "concentration": "mg/L"},
    name="small",
)
NAMES = ["CL", "V", "omega_CL", "sigma_prop"]


@pytest.fixture(scope="module")
def observed(fits):
    """Ten subjects after one bolus: concentrations (10, 4), some below the limit."""
    rng = np.random.default_rng(20261)
    cl = 0.25 * np.exp(0.35 * rng.standard_normal((10, 1)))
    dv = fits.bolus(TIMES, cl, 5.0) * (1 + 0.15 * rng.standard_normal((10, 4)))
    assert 0 < np.sum(dv < LLOQ) < 12
    return dv


@pytest.fixture(scope="module")
def data(fits, observed):
    return fits.after_boluses(TIMES, observed, lloq=LLOQ)


@pytest.fixture(scope="module")
def seen():
    return []


@pytest.fixture(scope="module")
def fit(data, seen):
    return sample(MODEL, data, NUTS(cores=1, **METHOD), seed=11, progress=seen.append)


def marginal(fits, observed, theta):
    """Log marginal likelihood (draws, 10) of each subject, on a grid of its random effect."""
    z = np.linspace(-6, 6, 241)
    found = np.empty((len(theta), 10))
    for s, (cl, v, omega, sigma) in enumerate(theta):
        own = (cl * np.exp(omega * z))[:, None, None]
        each = fits.log_likelihoods(observed, fits.bolus(TIMES, own, v), sigma, lloq=LLOQ)
        joint = each.sum(axis=-1) + stats.norm.logpdf(z)[:, None]
        with np.errstate(divide="ignore"):  # far out, where the density is zero
            found[s] = np.log(np.exp(joint).sum(axis=0) * (z[1] - z[0]))
    return found


def population(fit):
    return np.stack([fit["posterior"][name].values.ravel() for name in NAMES], axis=1)


def test_the_posterior_is_the_one_that_integration_gives(fit, fits, observed):
    """Importance sampling of the four population parameters, random effects on a grid."""
    rng = np.random.default_rng(5)
    drawn = np.log(population(fit))
    proposal = stats.multivariate_t(drawn.mean(axis=0), 1.2 * np.cov(drawn.T), df=8, seed=rng)
    log_theta = proposal.rvs(1500)
    theta = np.exp(log_theta)
    target = marginal(fits, observed, theta).sum(axis=1) + log_theta.sum(axis=1)
    for k, (_, prior) in enumerate([*MODEL.typical, *MODEL.iiv.omegas, *MODEL.error.priors]):
        target += prior.log_density(theta[:, k])
    weight = np.exp(target - proposal.logpdf(log_theta) - np.max(target))
    weight /= weight.sum()
    effective = 1 / np.sum(weight**2)
    assert effective > 200
    for k, name in enumerate(NAMES):
        draws = fit["posterior"][name]
        mean = weight @ theta[:, k]
        sd = np.sqrt(weight @ (theta[:, k] - mean) ** 2)
        error = np.hypot(float(mcse(draws)), sd / np.sqrt(effective))
        # Other processors round and so draw otherwise: bounds for any chain, not this one.
        assert abs(float(draws.mean()) - mean) < 5 * error, name
        assert float(draws.std()) == pytest.approx(sd, rel=0.3), name


def test_the_same_seed_gives_the_same_draws_however_many_cores(fit, data):
    with event.install_recorder("numba:compile") as recorder:
        again = sample(MODEL, data, NUTS(cores=2, **METHOD), seed=11, progress=False)
    assert not recorder.buffer  # what was compiled for the first fit serves the second
    for group in ("posterior", "prior", "posterior_predictive", "log_likelihood_subject"):
        assert again[group].to_dataset().identical(fit[group].to_dataset()), group


def test_chains_differ(fit):
    chains = fit["posterior"]["CL"].values
    assert not np.any(np.isin(chains[0], chains[1]))


def test_groups_dimensions_and_units(fit, data):
    assert set(fit.children) == {
        "posterior", "prior", "posterior_predictive", "observed_data", "log_likelihood",
        "log_likelihood_subject", "sample_stats", "data", "convergence", "identifiability",
    }  # fmt: skip
    posterior = fit["posterior"].to_dataset()
    assert json.loads(posterior.attrs["population"]) == NAMES
    units = {name: posterior[name].attrs["units"] for name in NAMES}
    assert units == {"CL": "L/d", "V": "L", "omega_CL": "1", "sigma_prop": "1"}
    assert all(posterior[name].attrs["long_name"] for name in NAMES)
    assert set(posterior.data_vars) == {*NAMES, "eta", "parameters"}
    for name in NAMES:
        assert posterior[name].dims == ("chain", "draw")
    assert posterior["eta"].dims == ("chain", "draw", "subject", "effect")
    assert posterior["parameters"].dims == ("chain", "draw", "subject", "parameter")
    assert posterior.sizes == {"chain": 2, "draw": 300, "subject": 10, "effect": 1, "parameter": 2}
    assert posterior["subject"].values.tolist() == list(data.subjects)
    assert set(fit["prior"].data_vars) == set(NAMES)
    for group in ("posterior_predictive", "observed_data", "log_likelihood"):
        own = fit[group].to_dataset()
        assert own["ID"].values.tolist() == [s for s in data.subjects for _ in TIMES]
        np.testing.assert_array_equal(own["TIME"], np.tile(TIMES, 10))
    assert fit["observed_data"]["DV"].attrs["units"] == "mg/L"
    assert Dataset.from_xarray(fit["data"].to_dataset()) == data


def test_attributes_make_it_reproducible(fit, data):
    attrs = fit.attrs
    assert attrs["kind"] == "popk fit"
    assert attrs["model_hash"] == MODEL.hash
    assert attrs["data_hash"] == data.fingerprint
    assert PopModel.from_json(attrs["model"]) == MODEL
    assert json.loads(attrs["subject_hashes"]) == dict(data.subject_fingerprints)
    assert attrs["seed"] == 11
    method = json.loads(attrs["method"])
    assert {k: method[k] for k in METHOD} == METHOD
    assert method["name"] == "NUTS"
    assert json.loads(attrs["units"]) == data.units.to_dict()
    assert {"popk", "pymc", "nutpie", "numba"} <= set(json.loads(attrs["versions"]))
    assert 0 < attrs["seconds_sampling"] <= attrs["seconds_total"]


def test_individual_parameters_are_typical_values_times_effects(fit):
    posterior = fit["posterior"].to_dataset()
    cl = posterior["parameters"].sel(parameter="CL")
    expected = posterior["CL"] * np.exp(posterior["eta"].sel(effect="CL"))
    xr.testing.assert_allclose(cl.drop_vars("parameter"), expected.drop_vars("effect"))
    v = posterior["parameters"].sel(parameter="V").drop_vars("parameter")
    xr.testing.assert_allclose(v, posterior["V"].broadcast_like(v))


def test_the_log_likelihood_is_that_of_each_observation(fit, fits, observed):
    posterior = fit["posterior"].to_dataset()
    theta = posterior["parameters"].transpose("chain", "draw", "subject", "parameter").values
    sigma = posterior["sigma_prop"].values[..., None, None]
    predicted = fits.bolus(TIMES, theta[..., :1], theta[..., 1:])
    expected = fits.log_likelihoods(observed, predicted, sigma, lloq=LLOQ)
    found = fit["log_likelihood"]["DV"].transpose("chain", "draw", "observation").values
    np.testing.assert_allclose(found.reshape(expected.shape), expected, rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(found.sum(axis=-1), expected.sum(axis=(-1, -2)), rtol=1e-8)


def test_the_log_likelihood_by_subject_integrates_the_effect_out(fit, fits, observed):
    group = fit["log_likelihood_subject"].to_dataset()
    assert group.sizes == {"chain": 2, "draw": 200, "subject": 10}
    chosen = group.isel(draw=slice(None, None, 20))
    at = fit["posterior"].to_dataset().sel(draw=chosen["draw"].values)
    theta = np.stack([at[name].values.ravel() for name in NAMES], axis=1)
    exact = marginal(fits, observed, theta)
    found = chosen["DV"].transpose("chain", "draw", "subject").values.reshape(-1, 10)
    assert abs(np.mean(found - exact)) < 0.02
    np.testing.assert_allclose(found, exact, atol=0.5)
    conditional = fit["log_likelihood"]["DV"].sum("observation").mean()
    assert float(group["DV"].sum("subject").mean()) < float(conditional) - 2


def test_simulated_observations_scatter_around_the_predictions(fit, fits):
    group = fit["posterior_predictive"].to_dataset()
    posterior = fit["posterior"].to_dataset().sel(draw=group["draw"])
    theta = posterior["parameters"].transpose("chain", "draw", "subject", "parameter").values
    expected = fits.bolus(TIMES, theta[..., :1], theta[..., 1:])
    np.testing.assert_allclose(
        group["IPRED"].values, expected.reshape(group["IPRED"].shape), rtol=1e-8
    )
    z = (group["DV"] / group["IPRED"] - 1) / posterior["sigma_prop"]
    assert float(z.mean()) == pytest.approx(0, abs=0.03)
    assert float(z.std()) == pytest.approx(1, abs=0.03)
    assert bool((group["DV"] < LLOQ).any())


def test_what_was_observed_stands_beside_it(fit, observed):
    group = fit["observed_data"].to_dataset()
    below = observed.ravel() < LLOQ
    np.testing.assert_array_equal(group["cens"], below)
    np.testing.assert_allclose(group["DV"], np.where(below, LLOQ, observed.ravel()))
    np.testing.assert_array_equal(group["lloq"], LLOQ)


def test_prior_draws_are_the_priors(fit):
    for parameter in MODEL.parameters:
        draws = fit["prior"][parameter.name].values
        assert draws.shape == (2, 300)
        assert np.median(draws) == pytest.approx(parameter.prior.median, rel=0.15)


def test_the_verdict_is_stored_and_rests_on_every_quantity(fit):
    verdict = verdict_of(fit)
    table = fit["convergence"].to_dataset()
    names = table["quantity"].values.tolist()
    assert len(names) == 4 + 10 + 20
    assert {*NAMES, "eta[S3, CL]", "parameters[S9, V]"} <= set(names)
    assert verdict.rhat_max == pytest.approx(float(table["rhat"].max()))
    assert verdict.ess_tail_min == pytest.approx(float(table["ess_tail"].min()))
    assert verdict.divergences == int(fit["sample_stats"]["diverging"].sum())
    assert (verdict.n_chains, verdict.n_draws) == (2, 300)
    assert verdict.rhat_max < 1.05


def test_fitting_changes_neither_model_nor_data(fit, data):
    assert MODEL.hash == fit.attrs["model_hash"]
    assert data.fingerprint == fit.attrs["data_hash"]


def test_progress_goes_up_within_each_stage(fit, seen):
    assert fit is not None
    stages = list(dict.fromkeys(news.stage for news in seen))
    assert stages == [
        "compiling the model", "finding a starting point", "pilot run", "sampling",
        "checking convergence", "integrating out the random effects",
    ]  # fmt: skip
    for stage, total in (("pilot run", 400), ("sampling", 1200)):
        done = [news.done for news in seen if news.stage == stage]
        assert done == sorted(done)
        assert done[-1] <= total
        assert {news.total for news in seen if news.stage == stage} == {total}
    last = next(news for news in reversed(seen) if news.stage == "sampling")
    assert last.done == 1200
    assert [(own.done, own.total, own.tuning) for own in last.chains] == [(600, 600, False)] * 2


def test_the_ess_so_far_is_that_of_the_population_parameters(fit, seen):
    """In the end it is the one that the table of convergence gives."""
    last = next(news for news in reversed(seen) if news.stage == "sampling")
    table = fit["convergence"].to_dataset()
    least = float(table["ess_bulk"].sel(quantity=NAMES).min())
    assert last.ess == pytest.approx(least)
    assert all(0 < own.ess < 1000 for own in last.chains)


def test_a_fit_survives_storage(fit, tmp_path):
    assert load(save(fit, tmp_path / "fit.nc")).identical(fit)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"draws": 9}, "NUTS was given draws=9; expected 10 or more"),
        ({"tune": 49}, "tune=49; expected 50 or more"),
        ({"chains": 0}, "chains=0; expected 1 or more"),
        ({"pilot": -1}, "pilot=-1; expected 0 or more"),
        ({"draws": 10.5}, r"draws=10\.5"),
        ({"draws": float("nan")}, "draws=nan"),
        ({"cores": 0}, "cores=0; expected 1 or more"),
        ({"target_accept": 1.0}, r"target_accept=1\.0; expected 0\.5 to below 1"),
        ({"target_accept": 0.2}, r"target_accept=0\.2"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, sentence):
    with pytest.raises(SettingError, match=sentence):
        NUTS(**settings)


def test_what_cannot_be_fitted_is_refused_before_anything_is_compiled(data, fits):
    stages = []
    model = fits.one_compartment()
    hours = PopModel(
        model.structure, typical=model.typical, iiv=model.iiv, error=model.error,
        units={**fits.UNITS, "time": "h"},
    )  # fmt: skip
    with pytest.raises(ModelError, match="time is in h on one side and in d on the other"):
        sample(hours, data, seed=1, progress=stages.append)
    with pytest.raises(SettingError, match="The seed is -1"):
        sample(MODEL, data, seed=-1, progress=False)
    assert stages == []

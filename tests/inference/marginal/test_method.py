"""Sampling with the random effects integrated out, against integration on a grid and NUTS."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from arviz_stats import mcse
from scipy import stats

from popk.dataset import read_dataset
from popk.diagnostics import verdict_of
from popk.errors import SettingError
from popk.inference import NUTS, Marginal, sample
from popk.inference.marginal import adapt
from popk.model import PopModel
from popk.statistics import (
    IIV,
    IOV,
    Correlated,
    Fixed,
    HalfNormal,
    LogNormal,
    LogNormalError,
    Proportional,
)
from popk.structure import OneCompartment

TIMES = np.array([2.0, 25.0, 60.0])
LLOQ = 2.0
V, SIGMA = 5.0, 0.15
CL_PRIOR, OMEGA_PRIOR = LogNormal(0.2, cv=0.5), HalfNormal(0.5)
UNITS = {"time": "d", "amount": "mg", "concentration": "mg/L"}
MODEL = PopModel(
    OneCompartment(),
    typical={"CL": CL_PRIOR, "V": Fixed(V)},
    iiv=IIV({"CL": OMEGA_PRIOR}),
    error=Proportional(Fixed(SIGMA)),
    units=UNITS,
    name="two unknown",
)
METHOD = {"draws": 400, "chains": 4, "round_size": 150}


@pytest.fixture(scope="module")
def observed(fits):
    """Five subjects after one bolus: concentrations (5, 3), some below the limit."""
    rng = np.random.default_rng(4)
    cl = 0.25 * np.exp(0.4 * rng.standard_normal((5, 1)))
    dv = fits.bolus(TIMES, cl, V) * (1 + SIGMA * rng.standard_normal((5, 3)))
    assert 0 < np.sum(dv < LLOQ) < 6
    return dv


@pytest.fixture(scope="module")
def data(fits, observed):
    return fits.after_boluses(TIMES, observed, lloq=LLOQ)


@pytest.fixture(scope="module")
def seen():
    return []


@pytest.fixture(scope="module")
def fit(data, seen):
    return sample(MODEL, data, Marginal(cores=1, **METHOD), seed=3, progress=seen.append)


def joint(fits, observed, cl, omega, z):
    """p(y | z) p(z) of each subject (..., 5) for parameters of any shape; z of the last axes."""
    f = fits.bolus(TIMES, (cl * np.exp(omega * z))[..., None, None], V)
    each = fits.log_likelihoods(observed, f, SIGMA, lloq=LLOQ)
    return np.exp(each.sum(axis=-1) + stats.norm.logpdf(z)[..., None])


Z = np.linspace(-6, 6, 241)


@pytest.fixture(scope="module")
def grid(fits, observed):
    """Values of CL and omega_CL (n), and the posterior probability of each pair."""
    log_cl, omega = np.linspace(-2.6, -0.2, 41), np.linspace(0.02, 2.42, 61)
    log_prior = CL_PRIOR.log_density(np.exp(log_cl)) + log_cl
    density = np.empty((41, 61))
    for i, value in enumerate(np.exp(log_cl)):
        own = joint(fits, observed, value, omega[:, None], Z).sum(axis=1) * (Z[1] - Z[0])
        with np.errstate(divide="ignore"):  # far out
            density[i] = np.log(own).sum(axis=1)
    density += log_prior[:, None] + OMEGA_PRIOR.log_density(omega)
    weight = np.exp(density - density.max())
    weight /= weight.sum()
    edges = np.concatenate([weight[[0, -1]].ravel(), weight[:, [0, -1]].ravel()])
    assert edges.max() < 1e-4 * weight.max()
    cl, omega = np.meshgrid(np.exp(log_cl), omega, indexing="ij")
    return {"CL": cl.ravel(), "omega_CL": omega.ravel()}, weight.ravel()


def test_the_posterior_is_the_one_on_a_grid(fit, grid):
    values, weight = grid
    posterior = fit["posterior"].to_dataset()
    quantities = {name: (lambda p, name=name: p[name]) for name in values} | {
        "CL^2": lambda p: p["CL"] ** 2,
        "omega^2": lambda p: p["omega_CL"] ** 2,
        "both": lambda p: p["CL"] * p["omega_CL"],
        # Midway between points of the grid.
        "low CL": lambda p: 1.0 * (p["CL"] < np.exp(-1.37)),
        "low omega": lambda p: 1.0 * (p["omega_CL"] < 0.32),
        "high omega": lambda p: 1.0 * (p["omega_CL"] > 0.84),
    }
    for name, quantity in quantities.items():
        exact = float(weight @ quantity(values))
        draws = quantity(posterior)
        assert abs(float(draws.mean()) - exact) < 4.5 * float(mcse(draws)), name


def test_unbiased_integrals_alone_have_the_same_posterior(data, grid, monkeypatch):
    """What is done where a correction leaves too much; here whatever it leaves."""
    monkeypatch.setattr(adapt, "_WRONG", -1.0)
    found = sample(MODEL, data, Marginal(cores=1, **METHOD), seed=8, progress=False)
    values, weight = grid
    for name in values:
        draws, exact = found["posterior"][name], float(weight @ values[name])
        assert abs(float(draws.mean()) - exact) < 4.5 * float(mcse(draws.values))


def test_random_effects_follow_their_conditional_posterior(fit, fits, observed):
    """Given each draw's population parameters: their place in its distribution is uniform."""
    posterior = fit["posterior"].to_dataset()
    cl, omega = (posterior[name].values.ravel()[:, None] for name in ("CL", "omega_CL"))
    z = np.linspace(-6, 6, 401)
    density = joint(fits, observed, cl, omega, z)  # (draws, z, 5)
    density /= density.sum(axis=1, keepdims=True)
    eta = posterior["eta"].transpose("chain", "draw", "subject", "effect").values.reshape(-1, 5)
    mean = (density * (omega * z)[..., None]).sum(axis=1)
    sd = np.sqrt((density * (omega * z)[..., None] ** 2).sum(axis=1) - mean**2)
    apart = (eta - mean) / sd
    below = (density * ((omega * z)[..., None] < eta[:, None])).sum(axis=1)
    chains = (posterior.sizes["chain"], posterior.sizes["draw"])
    for k in range(5):
        for values, exact in ((apart[:, k], 0.0), (apart[:, k] ** 2, 1.0), (below[:, k], 0.5)):
            error = float(mcse(values.reshape(chains))) + 0.01 * np.std(values)
            assert abs(values.mean() - exact) < 4.5 * error, k


def test_individual_parameters_are_typical_values_times_effects(fit):
    posterior = fit["posterior"].to_dataset()
    assert set(posterior.data_vars) == {"CL", "V", "omega_CL", "sigma_prop", "eta", "parameters"}
    cl = posterior["parameters"].sel(parameter="CL").transpose("chain", "draw", "subject")
    eta = posterior["eta"].sel(effect="CL").transpose("chain", "draw", "subject")
    expected = posterior["CL"].values[..., None] * np.exp(eta.values)
    np.testing.assert_allclose(cl.values, expected, rtol=1e-12)
    np.testing.assert_allclose(posterior["parameters"].sel(parameter="V"), V, rtol=1e-12)
    np.testing.assert_array_equal(posterior["sigma_prop"], SIGMA)


def test_draws_depend_on_the_seed_and_not_on_the_cores(fit, data):
    short = {"draws": 20, "chains": 2, "round_size": 100}
    one, two = (
        sample(MODEL, data, Marginal(cores=n, **short), seed=11, progress=False) for n in (1, 2)
    )
    for group in ("posterior", "prior", "posterior_predictive", "log_likelihood_subject"):
        assert one[group].to_dataset().identical(two[group].to_dataset()), group
    stats_of = [tree["sample_stats"].to_dataset() for tree in (one, two)]
    assert stats_of[0].identical(stats_of[1])
    other = sample(MODEL, data, Marginal(cores=2, **short), seed=12, progress=False)
    for name in ("CL", "omega_CL", "eta"):
        mine, others = (tree["posterior"][name].values for tree in (one, other))
        assert not np.any(np.isin(mine, others)), name


def test_statistics_say_what_the_chains_rest_on(fit, data):
    found = fit["sample_stats"].to_dataset()
    assert found["lp"].dims == found["accepted"].dims == ("chain", "draw")
    assert found.sizes == {"chain": 4, "draw": 400, "subject": 5, "mode": 1, "estimated": 2}
    assert found["subject"].values.tolist() == list(data.subjects)
    assert np.isfinite(found["lp"]).all()
    posterior = fit["posterior"]["CL"].transpose("chain", "draw").values
    moved = posterior[:, 1:] != posterior[:, :-1]
    np.testing.assert_array_equal(moved, found["accepted"].values[:, 1:])
    assert 0.3 < float(found["accepted"].mean()) <= 1
    assert (found["nodes"] >= 16).all()
    assert 0 < float(found["noise"]) < 0.5
    assert int(found["proposals"]) >= 4 * 450
    assert int(found["approximated"]) == 0  # in closed form
    assert float(found["khat"]) < 0.7


def test_the_verdict_has_the_figures_of_the_method(fit):
    verdict = verdict_of(fit)
    assert verdict.rhat_max < 1.03
    assert verdict.khat == pytest.approx(float(fit["sample_stats"]["khat"]))
    own = fit["sample_stats"]["khat_subject"]
    worst = int(np.argmax(own.values))
    assert verdict.khat_subject_max == pytest.approx(float(own[worst]))
    assert verdict.khat_subject_worst == f"S{worst}"
    assert verdict.ebfmi_min is None
    assert verdict.divergences == 0
    assert f"Pareto k-hat of the proposals {verdict.khat:.2f}" in str(verdict)


def test_attributes_make_it_reproducible(fit):
    assert fit.attrs["method_note"] == ""
    method = json.loads(fit.attrs["method"])
    assert method["name"] == "Marginal"
    assert {k: method[k] for k in METHOD} == METHOD
    assert fit.attrs["seed"] == 3


def test_progress_goes_through_the_stages_in_order(fit, seen):
    assert fit is not None
    assert list(dict.fromkeys(news.stage for news in seen)) == [
        "finding the mode", "learning the proposals", "sampling",
        "checking convergence", "integrating out the random effects",
    ]  # fmt: skip
    told = [news for news in seen if news.stage == "sampling"]
    assert [news.done for news in told] == sorted(news.done for news in told)
    assert told[-1].done == 4 * 450
    assert told[-1].made == int(fit["sample_stats"]["proposals"])
    # Weights of what is kept are nearly equal.
    assert 0.8 * 4 * 450 < told[-1].ess <= told[-1].made


KNOWN = replace(
    MODEL, typical={"CL": Fixed(0.25), "V": Fixed(V)}, iiv=IIV({"CL": Fixed(0.4)}), name="known"
)


@pytest.mark.slow
def test_where_nothing_is_estimated_nuts_samples_and_it_is_said(fit, data):
    """The random effects are left to sample."""
    stages = []
    other = NUTS(draws=50, tune=50, chains=2, cores=1, pilot=0)
    found = sample(
        KNOWN, data, Marginal(cores=1, otherwise=other), seed=1,
        progress=lambda news: stages.append(news.stage),
    )  # fmt: skip
    note = "0 parameters are estimated, not between 1 and 60. Sampled by NUTS instead."
    assert found.attrs["method_note"] == note
    assert found["posterior"].sizes["draw"] == 50
    assert "energy" in found["sample_stats"]
    assert "khat" not in found["sample_stats"]
    assert any(stage.endswith("By NUTS instead") for stage in stages)
    assert json.loads(found.attrs["method"])["otherwise"]["draws"] == 50


def test_where_nothing_else_is_wanted_it_is_an_error(data, fits):
    alone = Marginal(otherwise=None, cores=1)
    with pytest.raises(SettingError, match=r"^0 parameters are estimated.*Sample by NUTS instead"):
        sample(KNOWN, data, alone, seed=1, progress=False)
    impossible = fits.dataset(fits.dose("A", 0.0), fits.observe("A", 5.0, 1e200))
    with pytest.raises(SettingError, match="No point near the priors gives the data a likelihood"):
        sample(MODEL, impossible, alone, seed=1, progress=False)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"draws": 9}, "Marginal was given draws=9; expected 10 or more"),
        ({"draws": 10.5}, r"draws=10\.5"),
        ({"draws": float("nan")}, "draws=nan"),
        ({"chains": 0}, "chains=0; expected 1 or more"),
        ({"round_size": 99}, "round_size=99; expected 100 or more"),
        ({"cores": 0}, "cores=0; expected 1 or more"),
        ({"cores": 1.5}, r"cores=1\.5; expected 1 or more"),
        ({"cores": float("nan")}, "cores=nan; expected 1 or more"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, sentence):
    with pytest.raises(SettingError, match=sentence):
        Marginal(**settings)


def simulated(n=12):
    """Doses on days 0 and 28, each an occasion; correlated CL and V, CL varies by occasion."""
    rng = np.random.default_rng(21)
    records = []
    for k in range(n):
        z = rng.standard_normal(2)
        cl = 0.22 * np.exp(0.35 * z[0] + 0.2 * rng.standard_normal(2))
        v = 5.0 * np.exp(0.3 * (0.6 * z[0] + 0.8 * z[1]))
        amount = 0.0
        for occasion, start in enumerate((0.0, 28.0)):
            records.append((f"S{k}", start, 1, 300.0, np.nan, occasion + 1, 0, 15.0))
            amount += 300.0
            rate = cl[occasion] / v
            for since in (1.0, 10.0, 27.0):
                dv = amount / v * np.exp(-rate * since) * np.exp(0.15 * rng.standard_normal())
                below = dv < 15.0
                row = (np.nan, max(dv, 15.0), occasion + 1, int(below), 15.0)
                records.append((f"S{k}", start + since, 0, *row))
            amount *= np.exp(-rate * 28.0)
    columns = ["ID", "TIME", "EVID", "AMT", "DV", "OCC", "CENS", "LLOQ"]
    return read_dataset(pd.DataFrame(records, columns=columns), units=UNITS)


SEVERAL = PopModel(
    OneCompartment(),
    typical={"CL": LogNormal(0.2, cv=0.3), "V": LogNormal(5.0, cv=0.3)},
    iiv=IIV({"CL": HalfNormal(0.5), "V": HalfNormal(0.5)}),
    error=LogNormalError(HalfNormal(0.3)),
    units=UNITS,
)
CORRELATED = [Correlated(("CL", "V"))]
CASES = {
    "correlated": replace(SEVERAL, iiv=IIV(SEVERAL.iiv.omegas, correlations=CORRELATED)),
    "occasions": replace(SEVERAL, iov=IOV({"CL": HalfNormal(0.3)})),
    "proportional": replace(SEVERAL, error=Proportional(HalfNormal(0.3))),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_it_agrees_with_nuts(case):
    """Some values lie below the limit in every case."""
    model, data = CASES[case], simulated()
    assert 2 < data.table["CENS"].values.sum() < 20
    found = sample(model, data, Marginal(draws=1_000), seed=5, progress=False)
    verdict = verdict_of(found)
    assert verdict.converged, str(verdict)
    assert verdict.khat < 0.7
    assert verdict.khat_subject_max < 0.7
    other = sample(model, data, NUTS(draws=1_000, tune=800), seed=6, progress=False)
    for parameter in model.parameters:
        pair = [tree["posterior"][parameter.name] for tree in (found, other)]
        error = np.hypot(*(float(mcse(draws)) for draws in pair))
        assert abs(float(pair[0].mean() - pair[1].mean())) < 5 * error, parameter.name
        assert float(pair[0].std()) == pytest.approx(float(pair[1].std()), rel=0.2)
    for name in ("eta", "kappa") if case == "occasions" else ("eta",):
        pair = [
            tree["posterior"][name].transpose("chain", "draw", ...).values
            for tree in (found, other)
        ]
        mean, sd = (
            [getattr(np, what)(values, axis=(0, 1)) for values in pair] for what in ("mean", "std")
        )
        # Of 4,000 draws each, several hundred effective ones.
        assert np.max(np.abs(mean[0] - mean[1]) / sd[1]) < 0.25
        np.testing.assert_allclose(sd[0], sd[1], rtol=0.25)

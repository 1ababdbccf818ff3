"""Leaving out, against integration over dense grids and what is known in closed form."""

import json

import numpy as np
import pytest
from arviz_stats.base import array_stats
from scipy import stats
from scipy.special import logsumexp

from popk.comparison import loo
from popk.comparison.refits import Refit
from popk.comparison.smoothing import weighted
from popk.errors import PopkError
from popk.population import PopulationDraws
from popk.statistics import LogNormal

LLOQ = 1.0
DOSES = (0.0, 28.0, 56.0)


def records(fits, subject, samples):
    """Doses every 28 days, and samples (time, DV; None below the limit) before those of one day."""
    found = [observe(fits, subject, t, dv) for t, dv in samples]
    found += [fits.dose(subject, t) for t in DOSES]
    # A trough stands before the dose of its time.
    return sorted(found, key=lambda record: (record[1], record[2]))


def observe(fits, subject, time, dv):
    return fits.observe(subject, time, LLOQ if dv is None else dv, cens=int(dv is None))


SAMPLES = {
    "sparse": ((28.0, 21.0),),
    "two": ((28.0, 26.0), (84.0, 30.0)),
    "BLQ": ((28.0, 9.0), (140.0, None)),
}


@pytest.fixture(scope="module", params=[1, 2], ids=["one effect", "two effects"])
def case(request, fits):
    """A fit, and the log joint density (S, G) of each patient's observations on a grid of z."""
    iiv = {"CL": LogNormal(0.3, cv=0.1)}
    if request.param == 2:
        iiv["V"] = LogNormal(0.2, cv=0.1)
    model = fits.one_compartment(iiv=iiv, cv=0.08)
    data = fits.dataset(*(r for name, own in SAMPLES.items() for r in records(fits, name, own)))
    fit = fits.fit_of(model, data, draws=100)
    values = {n: v[:, None] for n, v in PopulationDraws.of(fit).values.items()}
    at = np.linspace(-6.5, 6.5, 1001 if request.param == 1 else 101)
    z = np.stack([one.ravel() for one in np.meshgrid(*[at] * request.param, indexing="ij")])
    log_area = request.param * np.log(at[1] - at[0])
    cl = values["CL"] * np.exp(values["omega_CL"] * z[0])
    v = values["V"] * (np.exp(values["omega_V"] * z[1]) if request.param == 2 else 1.0)
    prior = stats.norm.logpdf(z).sum(axis=0) + log_area
    each = {}
    for name, samples in SAMPLES.items():
        columns = []
        for time, dv in samples:
            f = fits.bolus(time, cl, np.broadcast_to(v, cl.shape), doses=DOSES)
            sd = values["sigma_prop"] * f
            columns.append(
                stats.norm.logcdf(LLOQ, f, sd) if dv is None else stats.norm.logpdf(dv, f, sd)
            )
        each[name] = np.stack(columns), prior
    return fit, each


def integrated(case, name, kept):
    """Log marginal likelihood (S) of some of a patient's observations, by the grid."""
    columns, prior = case[1][name]
    return logsumexp(columns[list(kept)].sum(axis=0) + prior, axis=1)


def by_psis(score, log_ratio, r_eff):
    smooth, khat = array_stats.psislw(-log_ratio, r_eff=r_eff)
    return logsumexp(smooth - logsumexp(smooth) + score), khat


def share_of(score, chains=2):
    values = np.exp(score - score.max()).reshape(chains, -1)
    return min(1.0, float(array_stats.ess(values, method="mean", relative=True)))


@pytest.fixture(scope="module")
def by_unit(case):
    units = ("patient", "observation", "future")
    return {unit: loo(case[0], unit, refit=False, seed=3) for unit in units}


def test_a_patient_is_left_out_of_the_marginal_likelihood(case, by_unit):
    found = by_unit["patient"]["loo"]
    for name, samples in SAMPLES.items():
        score = integrated(case, name, range(len(samples)))
        elpd, khat = by_psis(score, -score, share_of(score))
        own = found.sel(subject=name)
        np.testing.assert_allclose(own["elpd_i"], elpd, atol=1e-3)
        np.testing.assert_allclose(own["khat"], khat, atol=0.1)
        plain = logsumexp(score) - np.log(len(score))
        np.testing.assert_allclose(own["p_loo_i"], plain - elpd, atol=2e-3)
    attrs = by_unit["patient"].attrs
    assert attrs["elpd"] == pytest.approx(float(found["elpd_i"].sum()))
    assert attrs["se"] == pytest.approx(np.sqrt(3) * float(found["elpd_i"].std()))


def test_an_observation_is_predicted_from_the_patients_others(case, by_unit):
    found = by_unit["observation"]["loo"]
    k = 0
    for name, samples in SAMPLES.items():
        whole = integrated(case, name, range(len(samples)))
        for j, (time, _) in enumerate(samples):
            others = [i for i in range(len(samples)) if i != j]
            known = integrated(case, name, others) if others else np.zeros(len(whole))
            score = whole - known
            own = found.isel(observation=k)
            assert (own["ID"], own["TIME"]) == (name, time)
            elpd, _ = by_psis(score, -score, share_of(score))
            np.testing.assert_allclose(own["elpd_i"], elpd, atol=1e-3)
            k += 1
    assert k == found.sizes["observation"]


def test_the_future_is_predicted_from_the_past_alone(case, by_unit):
    found = by_unit["future"]["loo"]
    k = 0
    for name, samples in SAMPLES.items():
        whole = integrated(case, name, range(len(samples)))
        before = np.zeros(len(whole))
        for j in range(len(samples)):
            upto = integrated(case, name, range(j + 1))
            elpd, _ = by_psis(upto - before, before - whole, share_of(upto - before))
            np.testing.assert_allclose(found["elpd_i"][k], elpd, atol=1e-3)
            before = upto
            k += 1


def test_the_density_given_the_patients_own_effects_is_another(case, by_unit):
    """The usual mistake: its weights have no variance, and what comes out is too high."""
    columns, prior = case[1]["two"]
    together = columns.sum(axis=0)
    rng = np.random.default_rng(2)
    # Random effects as a fit draws them, from their posterior given each draw.
    chosen = np.argmax(together + prior + rng.gumbel(size=together.shape), axis=1)
    score = np.take_along_axis(together, chosen[:, None], axis=1)[:, 0]
    conditional, _ = by_psis(score, -score, 1.0)
    own = by_unit["patient"]["loo"].sel(subject="two")
    assert conditional > float(own["elpd_i"]) + 0.2


def test_draws_without_the_patient_know_its_other_data_by_weights(case, monkeypatch):
    """As if the fit's draws were those of a refit: log E[p(y)] - log E[p(others)], smoothed."""
    fit = case[0]
    population = PopulationDraws.of(fit)
    monkeypatch.setattr(
        "popk.comparison.leave_out.refit_without",
        lambda *given, seed: Refit(population, fit["posterior"].sizes["chain"]),
    )
    # So that every patient is refitted.
    monkeypatch.setattr("popk.comparison.leave_out.khat_limit", lambda draws: -np.inf)
    found = loo(fit, "observation", seed=3)["loo"]
    assert found["refitted"].values.all()
    whole = integrated(case, "two", (0, 1))
    for j, own in ((0, 1), (1, 2)):  # after the only one of the first patient
        known = integrated(case, "two", [1 - j])
        elpd, _ = by_psis(whole - known, known, share_of(whole - known))
        assert float(found["elpd_i"][own]) == pytest.approx(elpd, abs=2e-3)


def test_noise_is_below_what_is_promised(by_unit):
    for tree in by_unit.values():
        assert 0 < float(tree["integrals"]["noise"].max()) <= 0.025
        assert json.loads(tree.attrs["notes"]) == []


def test_weights_find_the_known_answer_of_a_hierarchy_of_normals():
    """y_i ~ N(mu, 1 + tau^2), mu anything: left out, y_i is normal around the others' mean."""
    rng = np.random.default_rng(5)
    variance, n = 1.0 + 0.7**2, 20
    y = rng.normal(3.0, np.sqrt(variance), n)
    mu = rng.normal(y.mean(), np.sqrt(variance / n), 20_000)
    for i in range(n):
        others = np.delete(y, i)
        spread = np.sqrt(variance * (1 + 1 / (n - 1)))
        score = stats.norm.logpdf(y[i], mu, np.sqrt(variance))
        found = weighted(score, -score)
        exact = stats.norm.logpdf(y[i], others.mean(), spread)
        assert found.khat < 0.5
        assert abs(found.elpd - exact) < max(5 * found.mcse, 1e-3)
        assert found.mcse < 0.01


def test_weights_that_are_equal_are_not_smoothed():
    found = weighted(np.log([1.0, 3.0]), np.zeros(2))
    assert found.elpd == pytest.approx(np.log(2.0))
    assert np.isnan(found.khat)


def test_what_a_draw_makes_impossible_cannot_be_left_out():
    score = np.full(200, -1.0)
    score[7] = -np.inf
    found = weighted(score, -score)
    assert (found.elpd, found.khat) == (-np.inf, np.inf)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"unit": "subject"}, "unit is 'subject'; expected one of 'patient'"),
        ({"draws": 20}, "draws is 20; leaving out needs 100 or more"),
        ({"draws": 5000}, "5000 draws were asked for; the fit has 200"),
        ({"seed": -1}, "The seed is -1"),
    ],
)
def test_what_makes_no_sense_is_refused(case, asked, said):
    with pytest.raises(PopkError, match=said):
        loo(case[0], **asked)


def test_a_point_is_no_posterior(fits):
    model = fits.one_compartment()
    data = fits.dataset(*fits.history("A"))
    with pytest.raises(PopkError, match="is one point, not a posterior"):
        loo(fits.fit_of(model, data, chains=1, draws=1))

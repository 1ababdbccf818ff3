"""The Laplace approximation, against the posterior on a grid."""

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from popk.diagnostics import verdict_of
from popk.errors import SettingError
from popk.individual import Trough, individualise
from popk.inference import Laplace, sample
from popk.inference.marginal.normals import Normals
from popk.prediction import predict
from popk.statistics import Fixed
from popk.storage import load, save

SHORT = {"draws": 500, "proposals": 800, "cores": 1}


@pytest.fixture(scope="module")
def fit(cohorts, small):
    return sample(cohorts.TWO_UNKNOWN, small[0], Laplace(**SHORT), seed=3, progress=False)


def test_resampled_draws_follow_the_posterior(fit, small, assert_posterior):
    assert_posterior(fit, small[1])


def test_the_verdict_says_that_it_is_an_approximation_that_may_be_used(fit):
    verdict = verdict_of(fit)
    assert verdict.kind == "approximation"
    assert verdict.khat < 0.7
    assert verdict.khat == pytest.approx(float(fit["sample_stats"]["khat"]))
    assert verdict.converged, str(verdict)
    assert str(verdict).startswith("Approximate, may be used: 4 chains x 500 draws")
    assert "normal approximation at the mode of the marginal posterior" in str(verdict)
    assert json.loads(fit.attrs["method"])["name"] == "Laplace"


def test_statistics_say_what_the_draws_rest_on(fit, small):
    found = fit["sample_stats"].to_dataset()
    assert found["lp"].dims == ("chain", "draw")
    assert int(found["proposals"]) == 4 * 800
    assert 0.3 < float(found["effective_share"]) <= 1
    assert float(found["noise"]) < 0.5
    assert found["subject"].values.tolist() == list(small[0].subjects)
    np.testing.assert_array_equal(found["mode_share"], [1.0])
    assert found["mode_at"].sel(estimated="CL") == pytest.approx(
        float(fit["posterior"]["CL"].mean()), rel=0.1
    )


def test_it_can_be_used_downstream_and_stored(fit, small, tmp_path):
    again = load(save(fit, tmp_path / "fit.nc"))
    assert again["posterior"].to_dataset().identical(fit["posterior"].to_dataset())
    assert verdict_of(again) == verdict_of(fit)
    assert np.isfinite(fit["log_likelihood_subject"]["DV"]).all()
    predictions = predict(again, small[0], seed=1)["predictions"]
    assert np.isfinite(predictions["IPRED"]).all()
    advice = individualise(again, target=Trough(1.0, "mg/L"), weeks=[1, 2], seed=1, draws=50)
    assert advice["decision"].sizes["subject"] == 6


def test_without_resampling_the_draws_are_normal_and_it_is_said_how_far_that_is_off(cohorts, small):
    plain = sample(
        cohorts.TWO_UNKNOWN, small[0], Laplace(**SHORT, resample=False), seed=3, progress=False
    )
    score = cohorts.OMEGA_PRIOR.score(plain["posterior"]["omega_CL"].values.ravel())
    assert stats.kstest((score - score.mean()) / score.std(), "norm").pvalue > 0.001
    values, weight, _ = small[1]
    exact = float(weight @ cohorts.OMEGA_PRIOR.score(values["omega_CL"]))
    found = plain["sample_stats"]
    apart = abs(score.mean() - exact) / np.sqrt(
        weight @ (cohorts.OMEGA_PRIOR.score(values["omega_CL"]) - exact) ** 2
    )
    assert float(found["shift"]) == pytest.approx(apart, abs=0.15)
    verdict = verdict_of(plain)
    assert not verdict.converged
    assert any("Importance weights would move a mean" in line for line in verdict.failures)


def test_both_modes_are_found_where_absorption_and_elimination_can_be_exchanged(
    cohorts, exchangeable
):
    found = sample(cohorts.FLIP_FLOP, exchangeable, Laplace(**SHORT), seed=3, progress=False)
    np.testing.assert_allclose(found["sample_stats"]["mode_share"], [0.5, 0.5], atol=0.08)
    verdict = verdict_of(found)
    assert any("The posterior has 2 modes" in note for note in verdict.notes)
    assert any("P(KA < CL/V) is 0." in note for note in verdict.notes)


def test_draws_depend_on_the_seed_and_not_on_the_cores(cohorts, small):
    def run(cores, seed):
        method = Laplace(draws=20, chains=2, proposals=100, cores=cores)
        return sample(cohorts.TWO_UNKNOWN, small[0], method, seed=seed, progress=False)

    one, two, other = run(1, 5), run(2, 5), run(1, 6)
    for group in ("posterior", "sample_stats"):
        assert one[group].to_dataset().identical(two[group].to_dataset())
    assert not np.isin(one["posterior"]["CL"].values, other["posterior"]["CL"].values).any()


def test_where_nothing_is_estimated_or_possible_it_is_an_error(cohorts, small, fits):
    known = replace(
        cohorts.TWO_UNKNOWN,
        typical={"CL": Fixed(0.25), "V": Fixed(5.0)},
        iiv=replace(cohorts.TWO_UNKNOWN.iiv, omegas={"CL": Fixed(0.4)}),
        name="known",
    )
    with pytest.raises(SettingError, match="Every population parameter of the model known is fix"):
        sample(known, small[0], Laplace(), seed=1, progress=False)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"draws": 9}, "Laplace was given draws=9; expected a whole number, 10 or more"),
        ({"chains": 0}, "chains=0; expected a whole number, 1 or more"),
        ({"proposals": 99.5}, r"proposals=99\.5"),
        ({"draws": True}, "draws=True"),
        ({"cores": 0}, "cores=0; expected 1 or more, or None"),
        ({"cores": "two"}, "cores='two'"),
        ({"resample": "no"}, "resample='no'; expected True or False"),
        ({"draws": 500, "proposals": 400}, "proposals=400 for draws=500"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, sentence):
    with pytest.raises(SettingError, match=sentence):
        Laplace(**settings)


def test_a_mixture_of_normals_has_the_density_that_it_draws_from():
    rng = np.random.default_rng(1)
    mean = np.array([[0.0, 0.0], [3.0, -1.0]])
    factor = np.array([[[1.0, 0.0], [0.5, 0.3]], [[0.4, 0.0], [0.0, 2.0]]])
    mixture = Normals(np.array([0.3, 0.7]), mean, factor)
    x = mixture.draw(2_000, rng)
    exact = sum(
        share * stats.multivariate_normal(m, f @ f.T).pdf(x)
        for share, m, f in zip(mixture.share, mean, factor, strict=True)
    )
    np.testing.assert_allclose(np.exp(mixture.log_density(x)), exact, rtol=1e-10)
    np.testing.assert_allclose(x.mean(axis=0), 0.7 * mean[1], atol=0.15)

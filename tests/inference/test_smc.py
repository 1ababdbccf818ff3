"""Sequential Monte Carlo, against a grid and where there are two modes."""

import numpy as np
import pytest

from popk.diagnostics import flip_flop, verdict_of
from popk.errors import SettingError
from popk.inference import SMC, sample
from popk.inference.marginal.importance import systematic
from popk.inference.smc import _next_power, _times
from popk.reporting import report

SHORT = {"particles": 300, "chains": 4, "cores": 1}


@pytest.fixture(scope="module")
def fit(cohorts, small):
    return sample(cohorts.TWO_UNKNOWN, small[0], SMC(**SHORT), seed=3, progress=False)


@pytest.fixture(scope="module")
def two_modes(cohorts, exchangeable):
    method = SMC(particles=200, chains=3, cores=1)
    return sample(cohorts.FLIP_FLOP, exchangeable, method, seed=3, progress=False)


def test_particles_follow_the_posterior(fit, small, assert_posterior):
    assert_posterior(fit, small[1])


def test_the_evidence_is_that_of_the_grid(fit, small):
    """The standard error of the mean of four runs is near 0.1; a forgotten factor is more."""
    own = fit["sample_stats"]["log_evidence"].values
    assert own.shape == (4,)
    assert len(set(own)) == 4
    together = np.log(np.exp(own - own.max()).mean()) + own.max()
    assert together == pytest.approx(small[1][2], abs=0.35)
    (note,) = (n for n in verdict_of(fit).notes if "log evidence" in n)
    assert f"The log evidence is {together:.2f} (standard error " in note


def test_it_is_a_sample_of_the_posterior_not_an_approximation(fit):
    verdict = verdict_of(fit)
    assert verdict.kind == "draws"
    assert verdict.khat is None
    assert verdict.khat_subject_max < 0.7
    assert "Pareto k-hat of the subjects' integrals <=" in str(verdict)
    assert (verdict.n_chains, verdict.n_draws) == (4, 300)
    found = fit["sample_stats"].to_dataset()
    assert (found["temperatures"] >= 2).all()
    assert (found["acceptance"] > 0.2).all()
    assert (found["ancestors"] > 20).all()


def test_every_run_has_particles_in_both_modes_in_their_shares(two_modes):
    """The modes weigh the same: the exchange of the rates changes nothing."""
    p = two_modes["posterior"]
    slower = (p["KA"] < 2.0 / p["V"]).mean("draw").values
    assert slower.shape == (3,)
    assert (slower > 0.3).all()
    assert (slower < 0.7).all()
    np.testing.assert_allclose(two_modes["sample_stats"]["mode_share"], [0.5, 0.5], atol=0.12)


def test_two_modes_are_named_in_the_verdict_and_flip_flop_is_reported(two_modes):
    verdict = verdict_of(two_modes)
    assert any("The posterior has 2 modes" in note for note in verdict.notes)
    found = flip_flop(two_modes)
    assert found.rate == "CL/V"
    assert found.typical == pytest.approx(0.5, abs=0.12)
    assert found.subjects["subject"].values.tolist() == ["S0", "S1", "S2", "S3"]
    # F1 alone varies between subjects: rates do not.
    np.testing.assert_allclose(found.subjects, found.typical)
    assert any(str(found) in note for note in verdict.notes)
    page = report(two_modes).html
    assert "What a reader must know of this posterior" in page
    assert "The posterior has 2 modes" in page


def test_runs_depend_on_the_seed_and_not_on_the_cores(cohorts, small):
    def run(cores, seed):
        method = SMC(particles=100, chains=2, cores=cores)
        return sample(cohorts.TWO_UNKNOWN, small[0], method, seed=seed, progress=False)

    one, two, other = run(1, 5), run(2, 5), run(1, 6)
    for group in ("posterior", "sample_stats"):
        assert one[group].to_dataset().identical(two[group].to_dataset())
    cl = one["posterior"]["CL"].values
    assert not np.isin(cl[0], cl[1]).any()
    assert not np.isin(cl, other["posterior"]["CL"].values).any()


def test_a_temperature_leaves_half_of_the_particles_effective():
    log_likelihood = np.append(-0.5 * np.linspace(0, 30, 400) ** 2, -np.inf)
    power = _next_power(log_likelihood, 0.1)
    weight = np.exp((power - 0.1) * log_likelihood[:-1])
    assert weight.sum() ** 2 / (weight**2).sum() == pytest.approx(200, rel=1e-3)
    assert _next_power(np.zeros(400), 0.1) == 1.0


def test_a_power_of_no_likelihood_is_none():
    np.testing.assert_array_equal(_times(0.0, np.array([-2.0, -np.inf])), [0.0, -np.inf])


def test_systematic_resampling_keeps_the_order_and_the_shares():
    weight = np.array([0.1, 0.0, 0.65, 0.25])
    chosen = systematic(weight, 100, np.random.default_rng(1))
    assert (np.diff(chosen) >= 0).all()
    assert np.abs(np.bincount(chosen, minlength=4) - 100 * weight).max() <= 1


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"particles": 99}, "SMC was given particles=99; expected a whole number, 100 or more"),
        ({"chains": 0}, "chains=0; expected a whole number, 1 or more"),
        ({"moves": 0}, "moves=0"),
        ({"moves": 2.5}, r"moves=2\.5"),
        ({"cores": -1}, "cores=-1; expected 1 or more"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, sentence):
    with pytest.raises(SettingError, match=sentence):
        SMC(**settings)

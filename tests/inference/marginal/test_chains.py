"""Chains of independent proposals on targets whose moments are known."""

import numpy as np
import pytest
from scipy import stats

from popk.inference.marginal.chains import chains_of, independence_chains, pareto_k

WARM = 50


def run(log_weight, *, seed=1, warm=WARM):
    return independence_chains(log_weight, warm=warm, rng=np.random.default_rng(seed))


def batch_error(values, size=100):
    """Standard error of the mean of chains (n_chains, n), by batches."""
    batches = values[:, : values.shape[1] // size * size].reshape(-1, size).mean(axis=1)
    return batches.std(ddof=1) / np.sqrt(len(batches))


def test_a_discrete_target_has_its_probabilities():
    target = np.array([0.1, 0.2, 0.3, 0.4])
    proposal = np.array([0.4, 0.3, 0.2, 0.1])
    rng = np.random.default_rng(2)
    value = rng.choice(4, size=(4, 20_000 + WARM), p=proposal)
    states, accepted = run(np.log(target / proposal)[value])
    assert states.shape == accepted.shape == (4, 20_000)
    found = np.take_along_axis(value, states, axis=1)
    for k, probability in enumerate(target):
        here = (found == k).astype(float)
        assert abs(here.mean() - probability) < 4.5 * batch_error(here), k
    # Sum over i, j of target_i proposal_j min(1, w_j / w_i).
    weight = target / proposal
    exact = np.sum(target[:, None] * proposal * np.minimum(1, weight / weight[:, None]))
    rate = accepted.astype(float)
    assert abs(rate.mean() - exact) < 4.5 * batch_error(rate)


def test_a_normal_target_has_its_mean_and_variance():
    rng = np.random.default_rng(3)
    proposal = stats.t(5, loc=0.5, scale=1.5)
    x = proposal.rvs((4, 15_000 + WARM), random_state=rng)
    states, _ = run(stats.norm.logpdf(x, 1.0, 0.8) - proposal.logpdf(x))
    found = np.take_along_axis(x, states, axis=1)
    assert abs(found.mean() - 1.0) < 4.5 * batch_error(found)
    square = (found - 1.0) ** 2
    assert abs(square.mean() - 0.64) < 4.5 * batch_error(square)
    exact = stats.norm(1.0, 0.8)
    for p in (0.05, 0.5, 0.95):
        below = (found < exact.ppf(p)).astype(float)
        assert abs(below.mean() - p) < 4.5 * batch_error(below)


def test_a_state_is_its_proposal_until_another_is_accepted():
    rng = np.random.default_rng(4)
    states, accepted = run(2 * rng.standard_normal((3, 400 + WARM)))
    for chain in range(3):
        at = np.arange(400) + WARM
        np.testing.assert_array_equal(states[chain][accepted[chain]], at[accepted[chain]])
        stays = ~accepted[chain][1:]
        np.testing.assert_array_equal(states[chain][1:][stays], states[chain][:-1][stays])
        assert 0 < accepted[chain].mean() < 1


def test_equal_weights_accept_everything_and_zero_weights_nothing():
    states, accepted = run(np.full((2, 30 + WARM), -700.0))
    assert accepted.all()
    np.testing.assert_array_equal(states, np.arange(WARM, 30 + WARM) + np.zeros((2, 1)))
    log_weight = np.full((1, 30 + WARM), -np.inf)
    log_weight[0, 7] = -1e4
    states, accepted = run(log_weight)
    assert not accepted.any()
    assert (states == 7).all()


def test_a_chain_starts_at_one_of_its_first_proposals_by_weight():
    """The proposals after them weigh nothing, so a chain stays where it starts."""
    log_weight = np.full((6_000, 4), -np.inf)
    log_weight[:, :3] = 1e4 + np.log([1.0, 2.0, 5.0])
    states, _ = run(log_weight, warm=3)
    counts = np.bincount(states[:, 0], minlength=3)
    assert stats.chisquare(counts, 6_000 * np.array([1, 2, 5]) / 8).pvalue > 1e-4


def test_chains_are_independent_and_follow_the_seed():
    log_weight = np.tile(np.random.default_rng(5).standard_normal(300 + WARM), (2, 1))
    states, _ = run(log_weight)
    assert (states[0] != states[1]).any()
    np.testing.assert_array_equal(states, run(log_weight)[0])
    assert (states != run(log_weight, seed=2)[0]).any()


@pytest.mark.parametrize(("k", "n"), [(0.3, 40_000), (0.7, 40_000), (1.2, 40_000)])
def test_k_hat_is_the_exponent_of_the_tail(k, n):
    weight = stats.genpareto(k).rvs(n, random_state=np.random.default_rng(6))
    assert pareto_k(np.log1p(weight)) == pytest.approx(k, abs=0.15)


def test_k_hat_of_normal_proposals():
    """A normal target over wider proposals has bounded weights, over narrower ones a heavy tail.

    Proposals of variance v give the weights' tail the exponent 1 - v.
    """
    rng = np.random.default_rng(7)
    for sd, low, high in ((1.5, -np.inf, 0.2), (0.6, 0.45, 0.9)):
        x = sd * rng.standard_normal(40_000)
        assert low < pareto_k(stats.norm.logpdf(x) - stats.norm.logpdf(x, scale=sd)) < high


def test_k_hat_does_not_depend_on_the_scale_and_ignores_zero_weights():
    log_weight = np.random.default_rng(8).standard_normal(4_000)
    expected = pareto_k(log_weight)
    assert np.isfinite(expected)
    assert pareto_k(log_weight - 5_000.0) == pytest.approx(expected, abs=1e-6)
    assert pareto_k(np.append(log_weight, np.full(500, -np.inf))) == expected


def test_k_hat_of_too_few_weights_is_infinite_and_of_equal_ones_minus_infinite():
    log_weight = np.full(5_000, -np.inf)
    log_weight[:99] = np.random.default_rng(9).standard_normal(99)
    assert pareto_k(log_weight) == np.inf
    assert pareto_k(np.full(200, -3.0)) == -np.inf
    assert pareto_k(np.zeros(48)) == -np.inf  # of subjects without random effects


def test_reliable_weights_resample_each_chain_in_order():
    rng = np.random.default_rng(5)
    value = 1.3 * rng.standard_normal((4, 20_000 + WARM))
    log_weight = stats.norm.logpdf(value, 0.4, 1.0) - stats.norm.logpdf(value, 0.0, 1.3)
    states, fresh, khat = chains_of(log_weight, warm=WARM, rng=rng)
    assert khat < 0.5
    assert states.shape == fresh.shape == (4, 20_000)
    assert np.all(np.diff(states, axis=1) >= 0)  # copies stand side by side
    np.testing.assert_array_equal(fresh[:, 1:], np.diff(states, axis=1) > 0)
    assert fresh[:, 0].all()
    found = np.take_along_axis(value, states, axis=1)
    for own in found:
        assert abs(own.mean() - 0.4) < 4.5 / np.sqrt(10_000)
        assert own.std() == pytest.approx(1.0, abs=0.03)


def test_weights_with_heavy_tails_are_left_to_metropolis():
    rng = np.random.default_rng(6)
    value = rng.standard_normal((2, 2_000 + WARM))
    log_weight = stats.norm.logpdf(value, 0.0, 3.0) - stats.norm.logpdf(value)
    states, fresh, khat = chains_of(log_weight, warm=WARM, rng=np.random.default_rng(7))
    assert khat >= 0.7
    again, accepted = independence_chains(log_weight, warm=WARM, rng=np.random.default_rng(7))
    np.testing.assert_array_equal(states, again)
    np.testing.assert_array_equal(fresh, accepted)

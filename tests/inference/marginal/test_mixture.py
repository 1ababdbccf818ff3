"""Mixtures of t distributions against SciPy's, and what they learn from weighted points."""

import numpy as np
import pytest
from scipy import stats
from scipy.special import logsumexp

from popk.inference.marginal.mixture import Mixture

FREEDOM = 6
MEANS = np.array([[0.0, 1.0, -1.0], [6.0, -4.0, 2.0]])
SCALES = np.array([
    [[1.0, 0.5, 0.0], [0.5, 2.0, 0.3], [0.0, 0.3, 0.5]],
    [[0.4, -0.2, 0.1], [-0.2, 0.6, 0.0], [0.1, 0.0, 1.5]],
])  # fmt: skip
WEIGHTS = np.array([3.0, 1.0])


@pytest.fixture
def mixture():
    return Mixture.normal(MEANS, SCALES, WEIGHTS)


def exact_log_density(x, means=MEANS, scales=SCALES, weights=WEIGHTS):
    parts = [
        np.log(w / np.sum(weights)) + stats.multivariate_t(m, s, df=FREEDOM).logpdf(x)
        for w, m, s in zip(weights, means, scales, strict=True)
    ]
    return logsumexp(parts, axis=0)


def weighted_fit(mixture, x, weight):
    return float(weight @ mixture.log_density(x))


def test_the_density_is_that_of_a_mixture_of_ts(mixture):
    rng = np.random.default_rng(1)
    x = np.concatenate([3 * rng.standard_normal((50, 3)), [[300.0, -200.0, 1e4]]])
    np.testing.assert_allclose(mixture.log_density(x), exact_log_density(x), rtol=1e-12)
    assert mixture.weight.tolist() == [0.75, 0.25]


def test_a_component_without_weight_adds_nothing(mixture):
    x = np.random.default_rng(1).standard_normal((5, 3))
    none = Mixture(np.array([1.0, 0.0]), mixture.mean, mixture.factor)
    expected = stats.multivariate_t(MEANS[0], SCALES[0], df=FREEDOM).logpdf(x)
    np.testing.assert_allclose(none.log_density(x), expected, rtol=1e-12)


def test_draws_have_the_moments_of_the_mixture(mixture):
    x = mixture.draw(200_000, np.random.default_rng(2))
    assert x.shape == (200_000, 3)
    w = WEIGHTS / WEIGHTS.sum()
    mean = w @ MEANS
    spread = FREEDOM / (FREEDOM - 2)
    apart = MEANS - mean
    covariance = np.einsum("k,kij->ij", w, spread * SCALES + apart[:, :, None] * apart[:, None])
    error = np.sqrt(np.diagonal(covariance) / len(x))
    assert np.all(np.abs(x.mean(axis=0) - mean) < 4.5 * error)
    np.testing.assert_allclose(np.cov(x.T), covariance, rtol=0.03, atol=0.05)
    near_second = np.mean(((x - MEANS[1]) ** 2).sum(axis=1) < ((x - MEANS[0]) ** 2).sum(axis=1))
    assert near_second == pytest.approx(0.25, abs=0.01)


def test_draws_follow_the_density(mixture):
    """Distances from the mean of a t, over d, have the F distribution; over draws of one kind."""
    one = Mixture.normal(MEANS[:1], SCALES[:1], np.ones(1))
    x = one.draw(20_000, np.random.default_rng(3)) - MEANS[0]
    distance = np.einsum("si,ij,sj->s", x, np.linalg.inv(SCALES[0]), x) / 3
    assert stats.kstest(distance, stats.f(3, FREEDOM).cdf).pvalue > 1e-4
    # The density integrates to one: an average of its ratio to another's.
    other = Mixture.normal(MEANS, 2 * SCALES, np.ones(2))
    drawn = other.draw(50_000, np.random.default_rng(4))
    ratio = np.exp(mixture.log_density(drawn) - other.log_density(drawn))
    assert ratio.mean() == pytest.approx(1.0, abs=4.5 * ratio.std() / np.sqrt(len(ratio)))


def test_the_same_seed_gives_the_same_draws(mixture):
    first, again, other = (mixture.draw(9, np.random.default_rng(seed)) for seed in (5, 5, 6))
    np.testing.assert_array_equal(first, again)
    assert not np.any(np.isin(first, other))


def test_fitting_finds_two_components_from_weighted_points(mixture):
    """Points of a wide proposal, weighted: from a start that has neither component in place."""
    rng = np.random.default_rng(7)
    wide = Mixture.normal(np.array([[2.0, -1.0, 0.0]]), 12 * np.eye(3)[None], np.ones(1))
    x = wide.draw(40_000, rng)
    log_weight = exact_log_density(x) - wide.log_density(x)
    weight = np.exp(log_weight - logsumexp(log_weight))
    start = Mixture.normal(
        np.array([[-1.0, 2.0, 0.0], [4.0, -2.0, 1.0]]),
        np.tile(4 * np.eye(3), (2, 1, 1)),
        np.ones(2),
    )
    found = start.fitted(x, weight)
    np.testing.assert_allclose(found.weight, [0.75, 0.25], atol=0.03)
    np.testing.assert_allclose(found.mean, MEANS, atol=0.12)
    scales = found.factor @ np.swapaxes(found.factor, 1, 2)
    # A fiftieth of the whole's covariance is added to each.
    np.testing.assert_allclose(scales, 0.98 * SCALES, atol=0.4)
    best = weighted_fit(mixture, x, weight)
    assert weighted_fit(start, x, weight) < best - 0.5
    assert weighted_fit(found, x, weight) > best - 0.05


@pytest.mark.parametrize("seed", range(6))
def test_fitting_never_lowers_the_weighted_log_density(seed):
    rng = np.random.default_rng(seed)
    x = np.concatenate([rng.standard_normal((300, 2)) * [1, 3], rng.standard_t(4, (200, 2)) + 4])
    weight = rng.gamma(0.7, size=500)
    weight /= weight.sum()
    k = 1 + seed % 3
    start = Mixture.normal(
        x[rng.choice(500, size=k, replace=False)], np.tile(np.cov(x.T), (k, 1, 1)), np.ones(k)
    )
    found = start.fitted(x, weight)
    assert weighted_fit(found, x, weight) > weighted_fit(start, x, weight)
    again = found.fitted(x, weight)
    # The inverse is kept at a cost that the second time no longer gains anything.
    assert weighted_fit(again, x, weight) > weighted_fit(found, x, weight) - 0.01


def test_a_component_that_nothing_supports_is_dropped(mixture):
    x = np.random.default_rng(8).standard_normal((500, 3))
    lonely = Mixture(mixture.weight, np.array([[0.0, 0.0, 0.0], [500.0, 0.0, 0.0]]), mixture.factor)
    found = lonely.fitted(x, np.full(500, 1 / 500))
    assert found.mean.shape == (1, 3)
    assert found.weight.tolist() == [1.0]


def test_points_along_a_line_have_a_density_all_the_same():
    rng = np.random.default_rng(9)
    x = rng.standard_normal((200, 1)) * [1.0, 2.0]
    start = Mixture.normal(np.zeros((1, 2)), np.eye(2)[None], np.ones(1))
    found = start.fitted(x, np.full(200, 1 / 200))
    assert np.isfinite(found.log_density(x)).all()
    assert np.isfinite(found.factor).all()


def test_splitting_adds_a_component_at_a_point_that_has_weight(mixture):
    x = np.random.default_rng(10).standard_normal((30, 3))
    weight = np.zeros(30)
    weight[17] = 1.0
    found = mixture.split(x, weight, np.random.default_rng(1))
    np.testing.assert_array_equal(found.mean, np.vstack([MEANS, x[17]]))
    np.testing.assert_allclose(found.weight, np.array([0.75, 0.25, 0.3]) / 1.3)
    np.testing.assert_array_equal(found.factor[2], mixture.factor[0])  # that of the heaviest

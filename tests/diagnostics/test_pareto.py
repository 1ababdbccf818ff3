"""Pareto smoothing: that of ArviZ, and of tails that are known."""

import numpy as np
import pytest
from arviz_stats.base import array_stats

from popk.diagnostics.pareto import smoothed_weights


@pytest.mark.parametrize("n", [25, 60, 225, 226, 4000])
@pytest.mark.parametrize("freedom", [1.0, 2.0, 5.0, 200.0])
def test_it_is_that_of_arviz(n, freedom):
    rng = np.random.default_rng([n, int(freedom)])
    log_weight = np.log(np.abs(rng.standard_t(freedom, n)) + 0.01) + 300.0
    found, khat = smoothed_weights(log_weight)
    expected, expected_khat = array_stats.psislw(-log_weight, r_eff=1.0)
    np.testing.assert_allclose(found, expected, rtol=1e-10)
    np.testing.assert_allclose(khat, expected_khat, rtol=1e-9)  # NaN for the 5 of 25
    assert np.exp(found).sum() == pytest.approx(1.0)


@pytest.mark.parametrize("k", [0.2, 0.5, 0.9])
def test_it_finds_the_tail(k):
    uniform = np.random.default_rng(1).random(200_000)
    assert smoothed_weights(-k * np.log(uniform))[1] == pytest.approx(k, abs=0.06)


def test_large_weights_that_are_all_the_same_are_no_tail():
    log_weight = np.concatenate([np.zeros(80), np.linspace(-3, -1, 20)])
    found, khat = smoothed_weights(log_weight)
    assert khat == -np.inf
    np.testing.assert_allclose(np.diff(found), np.diff(log_weight))


def test_where_no_distribution_fits_nothing_is_smoothed():
    rng = np.random.default_rng(2)
    log_weight = np.concatenate([np.zeros(95), rng.random(5) + 1.0])
    found, khat = smoothed_weights(log_weight)
    expected, expected_khat = array_stats.psislw(-log_weight, r_eff=1.0)
    assert np.isnan(khat)
    assert np.isnan(expected_khat)
    np.testing.assert_allclose(found, expected)


def test_too_few_weights_are_refused():
    with pytest.raises(ValueError, match="24 weights have no tail"):
        smoothed_weights(np.zeros(24))

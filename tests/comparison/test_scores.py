"""Scores against closed forms and counting by hand."""

import numpy as np
import pytest
from scipy import stats

from popk.comparison.scores import Limits, clustered_mean, covered, crps, pit_range
from popk.comparison.selection import _highest_of

INF = float("inf")


def known(value):
    return Limits(value, 0, -INF, INF)


@pytest.mark.parametrize("y", [-1.5, 0.3, 4.0])
def test_crps_of_a_normal(y):
    """Evenly spaced quantiles stand for the distribution; Gneiting & Raftery 2007, eq. 21."""
    mean, sd = 0.5, 1.3
    draws = stats.norm.ppf((np.arange(4000) + 0.5) / 4000, mean, sd)
    z = (y - mean) / sd
    exact = sd * (z * (2 * stats.norm.cdf(z) - 1) + 2 * stats.norm.pdf(z) - 1 / np.sqrt(np.pi))
    assert crps(np.random.default_rng(1).permutation(draws), known(y)) == pytest.approx(
        exact, abs=1e-3
    )


def test_crps_is_the_sum_over_all_pairs():
    draws = np.random.default_rng(2).gamma(2.0, size=50)
    pairs = np.abs(draws[:, None] - draws).mean()
    assert crps(draws, known(1.1)) == pytest.approx(np.abs(draws - 1.1).mean() - pairs / 2)


def test_below_the_limit_crps_sees_only_that():
    """As the integral of (F(x) - 1)^2 over what lies above the limit."""
    draws = stats.norm.ppf((np.arange(4000) + 0.5) / 4000)
    x = np.linspace(-0.5, 8, 20001)
    exact = np.trapezoid((stats.norm.cdf(x) - 1) ** 2, x)
    below = Limits(-0.5, 1, -0.5, INF)
    assert crps(draws, below) == pytest.approx(exact, abs=1e-3)
    # What the forecast says below the limit does not matter.
    moved = np.where(draws < -0.5, draws - 100.0, draws)
    assert crps(moved, below) == pytest.approx(crps(draws, below))
    assert crps(moved, Limits(0.2, 0, -0.5, INF)) == pytest.approx(
        crps(draws, Limits(0.2, 0, -0.5, INF))
    )


def test_pit_of_what_is_like_the_draws_is_uniform():
    """Quantified or below or above a limit, in a mixture of all three."""
    rng = np.random.default_rng(3)
    values, low, high = rng.normal(size=(4000, 100)), -0.7, 0.9
    pit, share = [], []
    for draws in values:
        y = rng.normal()
        status = 1 if y < low else -1 if y > high else 0
        seen = Limits(low if status > 0 else high if status < 0 else y, status, low, high)
        start, end = pit_range(draws, seen)
        assert 0 <= start < end <= 1
        pit.append(start + (end - start) * rng.random())
        share.append(covered(np.array([start]), np.array([end]), 0.5)[0])
    assert stats.kstest(pit, "uniform").pvalue > 0.01
    assert np.mean(share) == pytest.approx(0.5, abs=3 * np.std(share) / np.sqrt(len(share)))


def test_coverage_is_the_share_of_the_range_inside():
    low, high = np.array([0.0, 0.1, 0.24, 0.9]), np.array([0.5, 0.2, 0.26, 1.0])
    np.testing.assert_allclose(covered(low, high, 0.5), [0.5, 0.0, 0.5, 0.0])
    np.testing.assert_allclose(covered(low, high, 0.9), [0.9, 1.0, 1.0, 0.5])


def test_standard_errors_are_those_of_patients():
    """One number each: the usual one. Copies of it tell nothing more."""
    values = np.random.default_rng(4).normal(size=30)
    who = np.arange(30)
    one = clustered_mean(values, who)
    assert one.se == pytest.approx(values.std(ddof=1) / np.sqrt(30))
    again = clustered_mean(np.repeat(values, 4), np.repeat(who, 4))
    assert (again.value, again.se) == (pytest.approx(one.value), pytest.approx(one.se))
    missing = clustered_mean(np.append(values, np.nan), np.append(who, 99))
    assert (missing.n, missing.n_patients) == (30, 30)
    assert missing.se == pytest.approx(one.se)
    assert np.isnan(clustered_mean(values[:1], who[:1]).se)
    assert np.isnan(clustered_mean(values[:0], who[:0]).value)


def test_the_highest_of_normals_by_chance():
    """Of two it is 1/sqrt(pi); of ten 1.5388 (Harter, Biometrika 48:151, 1961)."""
    assert _highest_of(2) == pytest.approx(1 / np.sqrt(np.pi))
    assert _highest_of(10) == pytest.approx(1.53875, abs=1e-4)

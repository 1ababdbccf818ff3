"""Smooth integrals put right, against quadrature."""

from dataclasses import replace

import numpy as np
import pytest
from popk_quadrature import (
    PATIENTS,
    exact_marginals,
    learnt,
    of,
    points,
    saturable_cohort,
    saturable_on_grid,
    spoil,
)

from popk.inference.marginal.calibration import (
    Correction,
    _fitted,
    _halves,
    _worst,
    calibrated,
    points_needed,
    with_tolerance,
)


@pytest.fixture
def cohort(fits):
    made = of(fits, fits.one_compartment(cv=0.3), PATIENTS)
    x = points(200, sd=0.3)
    made.learn(x, made.integrate(x, 40, detail=True), np.full(200, 1 / 200))
    return made


def test_what_is_put_right_is_exact(fits, cohort):
    x = points(points_needed(5), sd=0.3)
    for guide in cohort._guides:  # off the middle, so that there is something to put right
        guide.shape = replace(guide.shape, centre=guide.shape.centre + 0.8)
    before = cohort.few.copy()
    found = calibrated(cohort, x)
    assert np.all(cohort.few >= before)
    other = points(60, seed=9, sd=0.3)
    exact = np.log(exact_marginals(fits, cohort, other)).sum(axis=1)
    smooth = cohort.integrate(other, 0, smooth=True).log_likelihood.sum(axis=1)
    apart = exact - (smooth + found.at(other))
    assert abs(apart.mean()) < 0.06
    assert apart.std() < 0.7 * (exact - smooth).std()
    # What is said to be left is what is left.
    assert 0.3 * apart.var() < found.error + 1e-4 < 5 * apart.var() + 1e-3


def test_what_polynomials_do_wrong_is_put_right_too(fits):
    cohort = learnt(saturable_cohort(fits))
    spoil(cohort, 0.02, picks=2)
    found = calibrated(cohort, points(points_needed(6), sd=0.4, d=6))
    x = points(12, seed=8, sd=0.4, d=6)
    exact = np.log([[saturable_on_grid(cohort, at, k)[1].sum() for k in range(3)] for at in x])
    smooth = cohort.integrate(x, 0, smooth=True).log_likelihood
    apart = exact.sum(axis=1) - smooth.sum(axis=1)
    left = apart - found.at(x)
    assert np.abs(apart).max() > 0.1  # there was something to put right
    assert np.abs(left).max() < 0.3 * np.abs(apart).max()


def test_patients_who_are_all_off_alike_are_seen_though_each_is_off_by_next_to_nothing():
    small = 8e-4
    rng = np.random.default_rng(3)
    n, x = 500, rng.uniform(-1.7, 1.7, (120, 1))
    features = np.hstack([np.ones_like(x), x, (x**2 - 1) / np.sqrt(2)])
    alike = small * np.sin(9 * x)  # no quadratic follows it; its variance is 1 / 2
    chance = small * rng.standard_normal((120, n))
    chance[:, :10] *= 5
    off = np.stack([alike + chance] * 2)
    coefficients, error, own = _fitted(features, off, np.ones(120))
    expected = n**2 * small**2 / 2 + (n - 10 + 250) * small**2
    assert error == pytest.approx(expected, rel=0.4)
    assert own.sum() == pytest.approx(error, rel=1e-9)
    assert np.abs(coefficients).max() < 1.0
    # What one patient is off by itself is far less than what would be looked at.
    assert small**2 / 2 + (5 * small) ** 2 < 0.04 / n
    assert len(_worst(own, error)) > 0.6 * n
    assert len(_worst(own, 0.031)) < 0.05 * n


def test_points_outside_the_posterior_hardly_count(cohort):
    x = points(points_needed(5), sd=0.3)
    far = x.copy()
    far[:20] *= 6
    given = np.where(np.arange(len(x)) < 20, 1e-12, 1.0)
    alike, weighted = calibrated(cohort, far), calibrated(cohort, far, given)
    assert weighted.error < alike.error
    assert weighted.error < 0.04


def test_where_the_unbiased_estimate_contradicts_the_precise_one_decides(fits, cohort):
    x = points(points_needed(5), sd=0.3)
    correction = with_tolerance(cohort, calibrated(cohort, x), x)
    assert 0.5 <= correction.tolerance < 2.0
    other = points(20, seed=9, sd=0.3)
    exact = np.log(exact_marginals(fits, cohort, other)).sum(axis=1) + cohort.log_prior(other)
    wrong = exact.copy()
    wrong[3] += 40.0
    wrong[5] -= 9.0
    wrong[7] += 0.3  # within what chance does
    unbiased = cohort.log_posterior(other, cohort.integrate(other, 3))
    decided = correction.decided(cohort, other, wrong, unbiased)
    np.testing.assert_allclose(decided[[3, 5]], exact[[3, 5]], atol=0.05)
    others = [k for k in range(20) if k not in (3, 5)]
    np.testing.assert_array_equal(decided[others], wrong[others])
    nowhere = correction.decided(cohort, other, np.full(20, np.nan), np.full(20, -np.inf))
    np.testing.assert_allclose(nowhere, exact, atol=0.05)


def test_beyond_where_it_was_measured_it_stays_what_it_is():
    edge = np.full(2, 2.0)
    found = Correction(np.zeros(2), np.ones(2), -edge, edge, np.arange(5.0), error=0.0)
    at = np.array([[2.0, -2.0], [50.0, -1e6], [1.0, 0.0]])
    value = found.at(at)
    assert value[0] == value[1] != value[2]
    root = np.sqrt(2)
    assert value[2] == pytest.approx(1.0 + 3 * 0.0 + 4 * (-1 / root))


def test_points_without_a_likelihood_are_left_out(fits):
    cohort = of(fits, fits.one_compartment(cv=0.3), {"A": PATIENTS["A"], "B": ((5.0, 1e200),)})
    found = calibrated(cohort, points(points_needed(5), sd=0.3))
    assert found.error == np.inf
    assert np.all(found.at(points(3)) == 0.0)


def test_the_noise_of_nodes_that_all_points_share_counts_in_full():
    """It is smooth: the quadratic takes it for what is to be put right, and nothing shows it."""
    x = np.random.default_rng(4).uniform(-1.7, 1.7, (120, 1))
    features = np.hstack([np.ones_like(x), x, (x**2 - 1) / np.sqrt(2)])
    noise = 0.3 * x @ np.full((1, 5), 1 / 5)
    _, error, _ = _fitted(features, np.stack([noise, -noise]), np.ones(120))
    # The mean of two is off by half as much as they are apart.
    assert error == pytest.approx((2 * 0.3) ** 2 * x.var() / 4, rel=0.05)


def test_precise_integrals_get_nodes_until_two_of_them_agree(fits, cohort, monkeypatch):
    for name, value in {"_WORK": 1, "_LEAST_NODES": 8, "_TIMES": 1, "_TOLD": 1e-4}.items():
        monkeypatch.setattr(f"popk.inference.marginal.calibration.{name}", value)
    cohort.few[:] = 8
    guide = cohort._guides[0]
    guide.shape = replace(guide.shape, centre=guide.shape.centre + 1.5)
    x = points(60, sd=0.3)
    features = np.hstack([np.ones((60, 1)), x])
    halves, each = _halves(cohort, x, features, np.full(60, 1 / 60))
    assert each[0] > 8
    first = np.stack([cohort.precise(x, turn, np.full(len(each), 8)) for turn in (0, 1)])
    exact = np.log(exact_marginals(fits, cohort, x))
    before, after = (np.abs(found.mean(axis=0) - exact)[:, 0].max() for found in (first, halves))
    assert after < 0.5 * before
    assert each.max() < 1024  # no more than are needed
    again = np.stack([cohort.precise(x, turn, each) for turn in (0, 1)])
    np.testing.assert_array_equal(halves, again)

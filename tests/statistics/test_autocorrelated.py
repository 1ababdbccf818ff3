"""Autocorrelated residual errors against a multivariate normal distribution."""

from __future__ import annotations

import numpy as np
import pytest
from popk_residuals import (
    KINDS,
    PRIOR,
    SDS,
    SIGMA,
    chained,
    check_symbols,
    correlation,
    made,
    named,
    symbolic,
)
from scipy import stats

from popk.statistics import (
    NUMPY,
    Additive,
    Autocorrelated,
    ByAssay,
    Combined,
    LogNormalError,
    Proportional,
    innovations,
    prediction_slopes,
)

ALIKE = [made(kind) for kind in KINDS]


@pytest.mark.parametrize("inner", ALIKE, ids=repr)
def test_autocorrelated_errors_are_a_multivariate_normal(inner):
    f = np.array([5.0, 4.0, 3.0, 1.5, 6.0, 5.5, 2.0])
    dv = np.array([5.5, 4.1, 3.9, 1.2, 4.0, 5.0, 2.3])
    error = Autocorrelated(inner, PRIOR)
    found = error.log_likelihood(chained(dv), f, SIGMA, NUMPY)
    if isinstance(inner, LogNormalError):
        cov = 0.09 * correlation()
        expected = stats.multivariate_normal(np.log(f), cov).logpdf(np.log(dv)) - np.log(dv).sum()
    else:
        sd = SDS[type(inner)](f)
        expected = stats.multivariate_normal(f, sd[:, None] * sd * correlation()).logpdf(dv)
    assert found.sum() == pytest.approx(expected, rel=1e-10)
    assert error.needs_positive_prediction == inner.needs_positive_prediction
    check_symbols(error, chained(dv), f, named(error, SIGMA))


def test_long_after_the_last_residual_nothing_is_left_of_it():
    f, dv = np.linspace(2.0, 5.0, 7), np.linspace(3.0, 4.0, 7)
    short = SIGMA | {"half_time": 1e-3}
    inner = Combined(PRIOR, PRIOR)
    found = Autocorrelated(inner, PRIOR).log_likelihood(chained(dv), f, short, NUMPY)
    np.testing.assert_allclose(found, inner.log_likelihood(chained(dv), f, SIGMA, NUMPY))


def test_autocorrelated_draws_have_the_correlation():
    error = Autocorrelated(Proportional(PRIOR), PRIOR)
    f = np.broadcast_to(np.linspace(2.0, 5.0, 7), (40_000, 7))
    values = error.simulate(chained(np.full(7, np.nan)), f, SIGMA, np.random.default_rng(8))
    z = (values - f) / (0.22 * f)
    np.testing.assert_allclose(np.corrcoef(z.T), correlation(), atol=0.02)
    for column in z.T:
        assert stats.kstest(column, stats.norm.cdf).pvalue > 1e-4


def test_what_is_below_its_limit_is_left_out_or_not_computed():
    dv = np.linspace(3.0, 4.0, 7)
    observed = chained(dv)._replace(status=np.array([0, 0, 0, 1, 0, 0, 0]))
    f = np.linspace(2.0, 5.0, 7)
    left_out = Autocorrelated(Proportional(PRIOR, blq="M1"), PRIOR)
    assert left_out.log_likelihood(observed, f, SIGMA, NUMPY)[3] == 0.0
    assert left_out.leaves_out_below
    other = Autocorrelated(Proportional(PRIOR), PRIOR)
    assert np.isnan(other.log_likelihood(observed, f, SIGMA, NUMPY)[3])


@pytest.mark.parametrize("f", [np.inf, np.nan, 0.0])
def test_an_autocorrelated_error_at_a_prediction_that_cannot_be_used(f):
    error = Autocorrelated(Proportional(PRIOR), PRIOR)
    prediction = np.array([2.0, 3.0, f, 4.0, 2.0, 2.0, 2.0])
    found = error.log_likelihood(chained(np.full(7, 3.0)), prediction, SIGMA, NUMPY)
    assert found[2] == -np.inf
    assert np.isfinite(np.delete(found, 2)).all()
    value, *slopes = symbolic(error, chained(np.full(7, 3.0)), prediction, SIGMA)
    np.testing.assert_allclose(value, found, rtol=1e-10)
    assert all(np.isfinite(slope).all() for slope in slopes)
    assert slopes[0][2] == 0.0


@pytest.mark.parametrize("inner", ALIKE, ids=repr)
def test_the_information_of_autocorrelated_errors(inner):
    """Slopes by automatic differentiation; curvature and innovations by the inverse covariance."""
    error = Autocorrelated(inner, PRIOR)
    f = np.array([[5.0, 4.0, 3.0, 1.5, 6.0, 5.5, 2.0]])
    dv = np.array([5.5, 4.1, 3.9, 1.2, 4.0, 5.0, 2.3])
    slope, curvature = prediction_slopes(error, chained(dv), f, SIGMA)
    _, by_f, *_ = symbolic(error, chained(dv), f, SIGMA)
    np.testing.assert_allclose(slope, by_f, rtol=1e-4, atol=1e-6)
    if not isinstance(inner, Additive | LogNormalError):
        return
    by = np.random.default_rng(1).standard_normal((1, 7, 2))
    new = innovations(error, chained(dv), f, SIGMA, by)
    information = np.einsum("so,sok,sol->skl", curvature, new, new)[0]
    sd = 0.3 * f[0] if isinstance(inner, LogNormalError) else np.full(7, 0.6)
    precision = np.linalg.inv(sd[:, None] * sd * correlation())
    np.testing.assert_allclose(information, by[0].T @ precision @ by[0], rtol=1e-4)


def test_autocorrelation_runs_across_assays():
    error = Autocorrelated(ByAssay(Additive(PRIOR), scale={1: PRIOR}), PRIOR)
    values = {"sigma_add": 0.6, "scale_ASSAY1": 1.4, "half_time": 2.5}
    f, dv = np.linspace(2.0, 5.0, 7), np.linspace(3.0, 4.0, 7)
    assay = np.array([0, 1, 0, 1, 1, 0, 1])
    observed = chained(dv)._replace(assay=assay)
    found = error.log_likelihood(observed, f, values, NUMPY).sum()
    mean = np.where(assay, 1.4 * f, f)
    expected = stats.multivariate_normal(mean, 0.36 * correlation()).logpdf(dv)
    assert found == pytest.approx(expected, rel=1e-10)
    check_symbols(error, observed, f, values)
    slope, curvature = prediction_slopes(error, observed, f[None], values)
    by_f = symbolic(error, observed, f, values)[1]
    np.testing.assert_allclose(slope[0], by_f, rtol=1e-4, atol=1e-6)
    by = np.random.default_rng(1).standard_normal((1, 7, 2))
    new = innovations(error, observed, f[None], values, by)
    information = np.einsum("so,sok,sol->skl", curvature, new, new)[0]
    scaled = by[0] * np.where(assay, 1.4, 1.0)[:, None]
    precision = np.linalg.inv(0.36 * correlation())
    np.testing.assert_allclose(information, scaled.T @ precision @ scaled, rtol=1e-4)

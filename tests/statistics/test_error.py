"""Residual errors against SciPy: densities, probabilities of being below the limit, draws."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import integrate, stats

from popk.statistics import (
    NUMPY,
    Additive,
    Combined,
    HalfNormal,
    LogNormalError,
    Proportional,
    pytensor_operations,
)

PRIOR = HalfNormal(1.0)
SIGMA = {"sigma_prop": 0.22, "sigma_add": 0.6, "sigma_log": 0.3}


def normal_with(sd):
    return lambda f: stats.norm(f, sd(f))


# The distribution of an observation around the prediction f.
EXACT = {
    Proportional(PRIOR): normal_with(lambda f: 0.22 * f),
    Additive(PRIOR): normal_with(lambda f: 0.6 + 0.0 * f),
    Combined(PRIOR, PRIOR): normal_with(lambda f: np.hypot(0.22 * f, 0.6)),
    LogNormalError(PRIOR): lambda f: stats.lognorm(s=0.3, scale=f),
}
each = pytest.mark.parametrize("error", EXACT, ids=lambda e: type(e).__name__)


@each
def test_log_density_and_log_probability_on_a_grid(error):
    f, dv = np.meshgrid([0.3, 2.0, 30.0], [0.2, 1.9, 25.0, 60.0])
    lloq = 0.5
    quantified, censored = error.log_density(dv, lloq, f, SIGMA, NUMPY)
    np.testing.assert_allclose(quantified, EXACT[error](f).logpdf(dv), rtol=1e-10)
    np.testing.assert_allclose(censored, EXACT[error](f).logcdf(lloq), rtol=1e-9)


@each
def test_symbols_compute_the_same(error):
    f, dv = np.meshgrid([0.3, 2.0, 30.0], [0.2, 1.9, 25.0])
    numbers = error.log_density(dv, 0.5, f, SIGMA, NUMPY)
    symbols = error.log_density(dv, 0.5, f, SIGMA, pytensor_operations())
    for number, symbol in zip(numbers, symbols, strict=True):
        # PyMC's normal_lcdf takes the root of 2 in single precision.
        np.testing.assert_allclose(symbol.eval(mode="FAST_COMPILE"), number, rtol=1e-6)


@each
@pytest.mark.parametrize("f", [0.7, 12.0])
def test_the_density_integrates_to_one_and_to_the_censored_probability(error, f):
    lloq = 0.9 * f

    def density(dv):
        return np.exp(error.log_density(dv, lloq, f, SIGMA, NUMPY)[0])

    low, high = EXACT[error](f).ppf([1e-13, 1 - 1e-13])
    total = integrate.quad(density, low, high, epsabs=1e-11, limit=200)[0]
    below = integrate.quad(density, low, lloq, epsabs=1e-11, limit=200)[0]
    assert total == pytest.approx(1.0, abs=1e-9)
    censored = error.log_density(f, lloq, f, SIGMA, NUMPY)[1]
    assert below == pytest.approx(np.exp(censored), abs=1e-9)


@each
def test_below_chooses_between_them(error):
    f, dv = np.array([2.0, 2.0]), np.array([1.5, 0.5])
    below = np.array([False, True])
    found = error.log_likelihood(dv, np.full(2, 0.5), below, f, SIGMA, NUMPY)
    exact = EXACT[error](2.0)
    np.testing.assert_allclose(found, [exact.logpdf(1.5), exact.logcdf(0.5)], rtol=1e-10)


@each
def test_draws_follow_the_density(error):
    f = np.full(4000, 3.0)
    values = error.simulate(f, SIGMA, np.random.default_rng(3))
    assert values.shape == f.shape
    assert stats.kstest(values, EXACT[error](3.0).cdf).pvalue > 1e-3


@each
def test_far_below_the_limit_the_probability_does_not_underflow(error):
    censored = error.log_density(1.0, 1e-3, 50.0, SIGMA | {"sigma_add": 0.01}, NUMPY)[1]
    assert np.isfinite(censored)
    assert censored < -8.0


@each
def test_names_and_dimensions_belong_together(error):
    assert len(error.priors) == len(error.dimensions)
    for (name, prior), dimension in zip(error.priors, error.dimensions, strict=True):
        assert name in SIGMA
        assert prior == PRIOR
        assert dimension == ("concentration" if name == "sigma_add" else "1")


@each
def test_whether_a_prediction_of_zero_is_possible(error):
    with np.errstate(all="ignore"):
        found = error.log_density(np.array(1.0), 0.5, np.array(0.0), SIGMA, NUMPY)
    assert error.needs_positive_prediction != bool(np.all(np.isfinite(found)))


@each
@pytest.mark.parametrize("below", [False, True])
@pytest.mark.parametrize("f", [np.inf, np.nan, 0.0])
def test_a_prediction_that_cannot_be_used(error, below, f):
    """Impossible with slope zero; a prediction of zero leaves what is below its limit certain."""
    import pytensor
    import pytensor.tensor as pt

    with np.errstate(all="raise"):
        found = error.log_likelihood(3.0, 0.5, below, np.array([f, 2.0]), SIGMA, NUMPY)
    usual = error.log_likelihood(3.0, 0.5, below, np.array([2.0]), SIGMA, NUMPY)
    assert found[1] == usual[0]
    if f == 0.0 and not error.needs_positive_prediction:
        assert np.isfinite(found[0])
    else:
        assert found[0] == (0.0 if f == 0.0 and below else -np.inf)
    prediction = pt.dscalar("prediction")
    sds = {name: pt.dscalar(name) for name, _ in error.priors}
    value = error.log_likelihood(3.0, 0.5, np.bool_(below), prediction, sds, pytensor_operations())
    slopes = pytensor.grad(value, [prediction, *sds.values()])
    compiled = pytensor.function([prediction, *sds.values()], [value, *slopes], mode="FAST_COMPILE")
    at, *gradient = compiled(f, *(SIGMA[name] for name in sds))
    np.testing.assert_allclose(at, found[0], rtol=1e-6)
    assert np.isfinite(gradient).all()
    if not np.isfinite(f):
        np.testing.assert_array_equal(gradient, 0.0)

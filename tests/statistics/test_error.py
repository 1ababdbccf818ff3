"""Residual errors against SciPy: densities, probabilities beyond a limit, draws, derivatives."""

from __future__ import annotations

import numpy as np
import pytest
from popk_residuals import (
    KINDS,
    PRIOR,
    SIGMA,
    by_scipy,
    check_symbols,
    exact,
    grid,
    made,
    named,
    seen,
    symbolic,
    truncated,
)
from scipy import integrate, stats

from popk.errors import SettingError
from popk.statistics import (
    NUMPY,
    Additive,
    Autocorrelated,
    Combined,
    LogNormalError,
    Proportional,
    StudentTError,
    prediction_slopes,
)

ERRORS = [
    error
    for kind in KINDS
    for method in ("M1", "M3", "M4")
    for error in (made(kind, blq=method), StudentTError(made(kind, blq=method), PRIOR))
]
each = pytest.mark.parametrize("error", ERRORS, ids=repr)
# Compiling takes long: one of each kind, and the others' truncation.
SOME = [
    e for e in ERRORS
    if (e.method == "M3" and not isinstance(e, StudentTError))
    or e in (
        Additive(PRIOR, blq="M1"), Additive(PRIOR, blq="M4"), Proportional(PRIOR, blq="M4"),
        StudentTError(Combined(PRIOR, PRIOR), PRIOR), StudentTError(LogNormalError(PRIOR), PRIOR),
        StudentTError(Additive(PRIOR, blq="M4"), PRIOR),
    )
]  # fmt: skip
some = pytest.mark.parametrize("error", SOME, ids=repr)
plain = pytest.mark.parametrize("error", [e for e in ERRORS if e.method == "M3"], ids=repr)


@each
def test_the_log_likelihood_on_a_grid(error):
    f, observed = grid()
    found = error.log_likelihood(observed, f, SIGMA, NUMPY)
    assert found.shape == (4, 9)
    np.testing.assert_allclose(found, by_scipy(error, observed, f), rtol=1e-10, atol=1e-10)


@some
def test_symbols_compute_the_same_with_its_gradient(error):
    f, observed = grid()
    check_symbols(error, observed, f, named(error, SIGMA))


@each
@pytest.mark.parametrize("f", [0.9, 12.0])
def test_the_density_and_the_mass_beyond_the_limits_make_one(error, f):
    lower, upper = 0.8 * f, 1.3 * f

    def density(dv):
        return np.exp(error.log_likelihood(seen(dv), np.array([f]), SIGMA, NUMPY))[0]

    inside = integrate.quad(density, lower, upper, epsabs=1e-12)[0]
    beyond = seen([1.0, 1.0], np.array([1, -1]), lower=lower, upper=upper)
    below, above = np.exp(error.log_likelihood(beyond, np.array([f, f]), SIGMA, NUMPY))
    if error.method == "M1":
        assert below == 1.0
        below = exact(error, f).cdf(lower)
    assert below + inside + above == pytest.approx(1.0, abs=1e-9)
    lowest = 0.0 if truncated(error) or error.logarithmic else -np.inf
    assert below == pytest.approx(integrate.quad(density, lowest, lower, epsabs=1e-11)[0], abs=1e-8)


@each
def test_draws_follow_the_density(error):
    f = np.full((3, 1500), 1.2)
    observed = seen(np.full(1500, np.nan))
    sigma = {name: np.full((3, 1), value) for name, value in SIGMA.items()}
    values = error.simulate(observed, f, sigma, np.random.default_rng(3))
    assert values.shape == f.shape
    law = exact(error, 1.2)
    cdf = law.cdf
    if truncated(error):
        least = law.cdf(0.0)
        assert values.min() > 0.0
        cdf = lambda x: (law.cdf(x) - least) / (1 - least)  # noqa: E731
    assert stats.kstest(values.ravel(), cdf).pvalue > 1e-3


@some
def test_far_beyond_the_limits_the_probability_does_not_underflow(error):
    values = SIGMA | {"sigma_add": 0.01}
    beyond = seen([1.0, 1.0], np.array([1, -1]), lower=1e-3, upper=1e3)
    found = error.log_likelihood(beyond, np.array([50.0, 0.5]), values, NUMPY)
    assert np.isfinite(found).all()
    if error.method != "M1":
        assert (found < -4.0).all()
    value, *slopes = symbolic(error, beyond, np.array([50.0, 0.5]), values)
    np.testing.assert_allclose(value, found, rtol=1e-10)
    assert all(np.isfinite(slope).all() for slope in slopes)


@some
def test_certain_is_certain_and_its_slope_zero(error):
    """An observation far on the right side of its limit: the other branch must not spoil it."""
    values = SIGMA | {"sigma_add": 1e-6, "sigma_prop": 1e-6, "sigma_log": 1e-6, "sigma_power": 1e-6}
    beyond = seen([1.0, 1.0], np.array([1, -1]))
    value, *slopes = symbolic(error, beyond, np.array([0.01, 900.0]), values)
    tolerance = 1e-6 if isinstance(error, StudentTError) else 1e-12
    np.testing.assert_allclose(value, 0.0, atol=tolerance)
    assert all(np.isfinite(slope).all() for slope in slopes)


@some
@pytest.mark.parametrize("status", [0, 1, -1])
@pytest.mark.parametrize("f", [np.inf, np.nan, 0.0])
def test_a_prediction_that_cannot_be_used(error, status, f):
    """Impossible with slope zero; a prediction of zero leaves what is below its limit certain."""
    observed = seen([3.0, 3.0], status)
    with np.errstate(all="raise", under="ignore"):
        found = error.log_likelihood(observed, np.array([f, 2.0]), SIGMA, NUMPY)
    usual = error.log_likelihood(seen([3.0], status), np.array([2.0]), SIGMA, NUMPY)
    assert found[1] == usual[0]
    if f == 0.0 and not error.needs_positive_prediction:
        assert np.isfinite(found[0])
    else:
        assert found[0] == (0.0 if f == 0.0 and status == 1 else -np.inf)
    value, *slopes = symbolic(error, seen([3.0], status), np.array([f]), SIGMA)
    np.testing.assert_allclose(value[0], found[0], rtol=1e-9)
    assert all(np.isfinite(slope).all() for slope in slopes)
    if not np.isfinite(f):
        for slope in slopes:
            np.testing.assert_array_equal(slope, 0.0)


@some
def test_slope_and_curvature_are_those_of_the_likelihood(error):
    f, observed = grid()
    f = np.broadcast_to(f, (4, 9))
    slope, curvature = prediction_slopes(error, observed, f, SIGMA)
    _, by_f, *_ = symbolic(error, observed, f, SIGMA)
    np.testing.assert_allclose(slope, by_f, rtol=1e-4, atol=1e-6)
    assert (curvature >= 0.0).all()
    if type(error) is Additive and error.method == "M3":
        np.testing.assert_allclose(curvature[:, :5], 1 / 0.6**2, rtol=1e-4)
    if error.method == "M1":
        np.testing.assert_array_equal(curvature[:, 5:7], 0.0)


@plain
def test_names_and_dimensions_belong_together(error):
    for own in error.parameters:
        assert own.name in SIGMA
        assert own.prior == PRIOR
        observed = own.name in ("sigma_add", "sigma_power")
        assert own.dimension == ("observed" if observed else "1")
        assert own.positive == (own.name != "power")


def test_refusals():
    with pytest.raises(SettingError, match="Additive was given blq='M2'; expected one of M1, M3"):
        Additive(PRIOR, blq="M2")
    with pytest.raises(SettingError, match="StudentTError was given HalfNormal"):
        StudentTError(PRIOR, PRIOR)
    with pytest.raises(SettingError, match="StudentTError was given StudentTError"):
        StudentTError(StudentTError(Additive(PRIOR), PRIOR), PRIOR)
    for given in (StudentTError(Additive(PRIOR), PRIOR), Additive(PRIOR, blq="M4"), PRIOR):
        with pytest.raises(SettingError, match=r"Autocorrelated was given .*; expected a Gaussian"):
            Autocorrelated(given, PRIOR)
    assert Additive(PRIOR, blq="M3") == Additive(PRIOR)
    assert Autocorrelated(LogNormalError(PRIOR, blq="M4"), PRIOR).is_sequential

"""Residual errors against SciPy: densities, probabilities beyond a limit, draws, derivatives."""

from __future__ import annotations

import functools

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from scipy import integrate, stats

from popk.errors import SettingError
from popk.statistics import (
    NUMPY,
    Additive,
    Autocorrelated,
    ByAssay,
    ByOutput,
    Combined,
    CombinedSD,
    HalfNormal,
    LogNormal,
    LogNormalError,
    Normal,
    Observed,
    PowerError,
    Proportional,
    StudentTError,
    innovations,
    prediction_slopes,
    pytensor_operations,
)

PRIOR = HalfNormal(1.0)
SIGMA = {
    "sigma_prop": 0.22, "sigma_add": 0.6, "sigma_log": 0.3, "sigma_power": 0.4, "power": 0.7,
    "freedom": 4.3, "half_time": 2.5,
}  # fmt: skip
LOWER, UPPER = 0.9, 11.0

# SD at the prediction f, by hand.
SDS = {
    Proportional: lambda f: 0.22 * f,
    Additive: lambda f: 0.6 + 0.0 * f,
    Combined: lambda f: np.hypot(0.22 * f, 0.6),
    CombinedSD: lambda f: 0.22 * f + 0.6,
    PowerError: lambda f: 0.4 * f**0.7,
}


def made(kind, **options):
    two = kind in (Combined, CombinedSD, PowerError)
    return kind(PRIOR, PRIOR, **options) if two else kind(PRIOR, **options)


def exact(error, f):
    """SciPy's distribution of an observation around the prediction, without truncation."""
    inner = error.error if isinstance(error, StudentTError) else error
    heavy = isinstance(error, StudentTError)
    if isinstance(inner, LogNormalError):
        if not heavy:
            return stats.lognorm(s=0.3, scale=f)
        return LogT(f)
    sd = SDS[type(inner)](f)
    return stats.t(4.3, loc=f, scale=sd) if heavy else stats.norm(f, sd)


class LogT:
    """The exponential of a t, as far as the tests need it."""

    def __init__(self, f):
        self.inner = stats.t(4.3, loc=np.log(f), scale=0.3)

    def logpdf(self, x):
        return self.inner.logpdf(np.log(x)) - np.log(x)

    def cdf(self, x):
        return self.inner.cdf(np.log(np.maximum(x, 1e-300)))

    def logcdf(self, x):
        return self.inner.logcdf(np.log(x))

    def logsf(self, x):
        return self.inner.logsf(np.log(x))

    def ppf(self, p):
        return np.exp(self.inner.ppf(p))


KINDS = [*SDS, LogNormalError]
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


def truncated(error):
    return error.method == "M4" and not error.logarithmic


def seen(dv, status=0, *, lower=LOWER, upper=UPPER, **more):
    """Observations in a row."""
    dv = np.atleast_1d(np.asarray(dv, dtype=float))
    zero, one = np.zeros(dv.shape, dtype=np.int64), np.ones(dv.shape)
    fields = {
        "lower": lower * one, "upper": upper * one, "status": zero + status, "output": zero,
        "assay": zero, "back": zero, "since": one,
    }  # fmt: skip
    return Observed(dv, **(fields | more))


def grid():
    """Predictions (4, 1) and observations (9) of all kinds."""
    f = np.array([[0.4], [1.1], [6.0], [30.0]])
    dv = np.array([0.2, 1.9, 5.0, 25.0, 60.0, LOWER, LOWER, UPPER, UPPER])
    status = np.array([0, 0, 0, 0, 0, 1, 1, -1, -1])
    lower = np.array([1.0] * 5 + [0.9, 3.0, 0.9, 0.9])
    upper = np.array([1.0] * 5 + [11.0, 11.0, 11.0, 4.0])
    return f, seen(dv, status, lower=lower, upper=upper)


def by_scipy(error, observed, f):
    law = exact(error, f)
    below, above = law.logcdf(observed.lower), law.logsf(observed.upper)
    quantified = law.logpdf(observed.dv)
    if truncated(error):
        least, positive = law.logcdf(0.0), law.logsf(0.0)
        below = below + np.log1p(-np.exp(least - below)) - positive
        quantified, above = quantified - positive, above - positive
    if error.method == "M1":
        below = np.zeros_like(below)
    return np.select([observed.status == 0, observed.status == 1], [quantified, below], above)


@each
def test_the_log_likelihood_on_a_grid(error):
    f, observed = grid()
    found = error.log_likelihood(observed, f, SIGMA, NUMPY)
    assert found.shape == (4, 9)
    np.testing.assert_allclose(found, by_scipy(error, observed, f), rtol=1e-10, atol=1e-10)


@functools.cache
def compiled_of(error):
    """A function from observations, prediction and parameters to value and gradient of the sum."""
    sds = {name: pt.dscalar(name) for name, _ in error.priors}
    f = pt.dmatrix("f")
    codes = ("status", "output", "assay", "back")
    symbols = Observed._make(
        pt.lvector(name) if name in codes else pt.dvector(name) for name in Observed._fields
    )
    value = error.log_likelihood(symbols, f, sds, pytensor_operations())
    slopes = pytensor.grad(value.sum(), [f, *sds.values()], disconnected_inputs="ignore")
    return pytensor.function(
        [*symbols, f, *sds.values()], [value, *slopes],
        mode=pytensor.compile.Mode("py", None), on_unused_input="ignore",
    )  # fmt: skip


def symbolic(error, observed, f, values):
    """Value (..., n), its sum's gradient by the predictions, and by each parameter."""
    f = np.asarray(f, dtype=float)
    value, by_f, *by_sigma = compiled_of(error)(
        *observed, np.atleast_2d(f), *(values[name] for name, _ in error.priors)
    )
    return value.reshape(*f.shape[:-1], -1), by_f.reshape(f.shape), *by_sigma


def named(error, values):
    """The parameters of `values` under the names of the error."""
    return {name: values[name] for name, _ in error.priors}


def check_symbols(error, observed, f, values):
    """PyTensor's value is NumPy's, and its gradient that of central differences."""
    f = np.broadcast_to(f, (*f.shape[:-1], len(observed.dv)))
    value, by_f, *by_sigma = symbolic(error, observed, f, values)

    def total(at, given):
        return error.log_likelihood(observed, at, given, NUMPY)

    np.testing.assert_allclose(value, total(f, values), rtol=1e-10, atol=1e-10)
    for k in np.ndindex(f.shape):
        step = np.zeros(f.shape)
        step[k] = 1e-6 * max(abs(f[k]), 1.0)
        change = total(f + step, values) - total(f - step, values)
        assert by_f[k] == pytest.approx(change.sum() / step[k] / 2, rel=2e-6, abs=2e-6)
    for (name, _), slope in zip(error.priors, by_sigma, strict=True):
        h = 1e-5 * values[name]
        up, down = (total(f, values | {name: values[name] + s}) for s in (h, -h))
        assert slope == pytest.approx((up - down).sum() / h / 2, rel=5e-6, abs=5e-6), name


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


# ---- autocorrelation ----

TIMES = np.array([0.0, 0.5, 2.0, 7.0, 0.0, 1.0, 30.0])
BACK = np.array([0, 1, 1, 1, 0, 1, 1])


def chained(dv):
    since = np.where(BACK > 0, np.diff(TIMES, prepend=0.0), 1.0)
    return seen(dv, back=BACK, since=since)


def correlation():
    """Of the standardised residuals: two subjects of four and three observations."""
    dt = np.abs(TIMES[:, None] - TIMES)
    same = np.arange(7) < 4
    return np.where(same[:, None] == same, np.exp(-np.log(2) * dt / 2.5), 0.0)


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


# ---- several outputs and assays ----


def test_each_output_has_its_own_error():
    error = ByOutput({"concentration": Proportional(PRIOR), "effect": Additive(PRIOR, blq="M4")})
    assert [own.name for own in error.parameters] == [
        "sigma_prop_concentration", "sigma_add_effect",
    ]  # fmt: skip
    assert [own.output for own in error.parameters] == ["concentration", "effect"]
    f, observed = grid()
    output = np.arange(9) % 2
    observed = observed._replace(output=output)
    values = {"sigma_prop_concentration": 0.22, "sigma_add_effect": 0.6}
    found = error.log_likelihood(observed, f, values, NUMPY)
    parts = [own.log_likelihood(observed, f, SIGMA, NUMPY) for _, own in error.errors]
    np.testing.assert_array_equal(found, np.where(output, parts[1], parts[0]))
    check_symbols(error, observed, f, values)
    (single,) = ByOutput({"effect": Additive(PRIOR)}).parameters
    assert (single.name, single.output) == ("sigma_add", "effect")
    nowhere = error.simulate(
        seen([1.0, 1.0], output=np.array([0, -1])),
        np.ones((3, 2)), values, np.random.default_rng(1),
    )  # fmt: skip
    assert np.isfinite(nowhere[:, 0]).all()
    assert np.isnan(nowhere[:, 1]).all()


def test_a_prediction_of_zero_of_one_output_does_not_spoil_the_other():
    error = ByOutput({"concentration": Proportional(PRIOR), "effect": Additive(PRIOR)})
    values = {"sigma_prop_concentration": 0.22, "sigma_add_effect": 0.6}
    observed = seen([2.0, 0.1], output=np.array([0, 1]))
    value, *slopes = symbolic(error, observed, np.array([2.1, 0.0]), values)
    assert np.isfinite(value).all()
    assert all(np.isfinite(slope).all() for slope in slopes)


ASSAYS = np.array([0, 1, 2, 1, 0, 0, 1, 2, 1])
LABS = ByAssay(
    {0: Proportional(PRIOR), 1: Combined(PRIOR, PRIOR), 2: LogNormalError(PRIOR)},
    scale={1: LogNormal(1.4, cv=0.1)},
    label="LAB",
)
LAB_VALUES = {
    "sigma_prop_LAB0": 0.22, "sigma_prop_LAB1": 0.22, "sigma_add_LAB1": 0.6,
    "sigma_log_LAB2": 0.3, "scale_LAB1": 1.4,
}  # fmt: skip


def test_each_assay_has_its_own_error_and_factor():
    assert [own.name for own in LABS.parameters] == list(LAB_VALUES)
    assert LABS.assays == (0, 1, 2)
    f, observed = grid()
    observed = observed._replace(assay=ASSAYS)
    found = LABS.log_likelihood(observed, f, LAB_VALUES, NUMPY)
    for level, own in LABS.errors:
        factor = 1.4 if level == 1 else 1.0
        expected = own.log_likelihood(observed, factor * f, SIGMA, NUMPY)
        np.testing.assert_allclose(found[:, level == ASSAYS], expected[:, level == ASSAYS])
    check_symbols(LABS, observed, f, LAB_VALUES)
    slope, _ = prediction_slopes(LABS, observed, np.broadcast_to(f, (4, 9)), LAB_VALUES)
    _, by_f, *_ = symbolic(LABS, observed, np.broadcast_to(f, (4, 9)), LAB_VALUES)
    np.testing.assert_allclose(slope, by_f, rtol=1e-4, atol=1e-6)


def test_assays_draw_around_their_own_prediction():
    observed = seen(np.full(9, np.nan))._replace(assay=ASSAYS)
    f = np.full((20_000, 9), 6.0)
    values = LABS.simulate(observed, f, LAB_VALUES, np.random.default_rng(2))
    for k, level in enumerate(ASSAYS):
        own = dict(LABS.errors)[level]
        law = exact(own, 8.4 if level == 1 else 6.0)
        assert stats.kstest(values[:, k], law.cdf).pvalue > 1e-4


def test_one_error_for_all_assays():
    error = ByAssay(Proportional(PRIOR), scale={1: PRIOR}, label="LAB")
    assert [own.name for own in error.parameters] == ["sigma_prop", "scale_LAB1"]
    f = np.array([4.0, 4.0])
    observed = seen([4.4, 5.0], assay=np.array([0, 1]))
    found = error.log_likelihood(observed, f, {"sigma_prop": 0.2, "scale_LAB1": 1.3}, NUMPY)
    np.testing.assert_allclose(found, stats.norm([4.0, 5.2], [0.8, 1.04]).logpdf([4.4, 5.0]))


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


@pytest.mark.parametrize(
    ("errors", "options", "said"),
    [
        ({0: Proportional(PRIOR)}, {}, "only the level 0 of ASSAY"),
        (Proportional(PRIOR), {}, "only the level 0 of ASSAY"),
        ({0: PRIOR, 1: PRIOR}, {}, "expected a residual error"),
        ({1: Additive(PRIOR), 2: Additive(PRIOR)}, {}, "names level 0 of ASSAY, for which it has"),
        ({0: Additive(PRIOR), 1: Additive(PRIOR)}, {"scale": {2: PRIOR}}, "names level 2"),
        ({0: Additive(PRIOR), 1: Additive(PRIOR)}, {"scale": {0: PRIOR}}, "the reference, to"),
        ({"A": Additive(PRIOR)}, {}, "level 'A' in errors"),
        (
            {0: Autocorrelated(Additive(PRIOR), PRIOR), 1: Additive(PRIOR)},
            {},
            r"write Autocorrelated\(ByAssay",
        ),
    ],
)
def test_assays_that_do_not_fit_together(errors, options, said):
    with pytest.raises(SettingError, match=said):
        ByAssay(errors, **options)


def test_a_reference_other_than_zero():
    error = ByAssay({1: Additive(PRIOR), 2: Additive(PRIOR)}, scale={2: PRIOR}, reference=1)
    assert error.assays == (1, 2)
    with pytest.raises(SettingError, match="error names no output"):
        ByOutput({})
    with pytest.raises(SettingError, match=r"error\['effect'\] was given Normal"):
        ByOutput({"effect": Normal(0.0, 1.0)})

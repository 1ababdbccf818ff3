"""Residual errors, observations of all kinds, and SciPy's distributions for them."""

from __future__ import annotations

import functools

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from scipy import stats

from popk.statistics import (
    NUMPY,
    Additive,
    Combined,
    CombinedSD,
    HalfNormal,
    LogNormalError,
    Observed,
    PowerError,
    Proportional,
    StudentTError,
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

"""Priors against SciPy, and against the variables that they make in PyMC."""

from __future__ import annotations

import math

import numpy as np
import pymc as pm
import pytest
from scipy import stats

from popk.errors import SettingError
from popk.statistics import Fixed, HalfNormal, LogNormal, Normal, Prior

REFERENCE = {
    LogNormal(0.164, cv=0.3): stats.lognorm(s=math.sqrt(math.log(1.09)), scale=0.164),
    LogNormal(20.0, cv=1.2): stats.lognorm(s=math.sqrt(math.log(2.44)), scale=20.0),
    Normal(-0.5, 0.25): stats.norm(-0.5, 0.25),
    HalfNormal(0.4): stats.halfnorm(scale=0.4),
}
each = pytest.mark.parametrize("prior", REFERENCE, ids=repr)


@each
def test_log_density(prior):
    exact = REFERENCE[prior]
    values = np.append(exact.ppf([0.001, 0.1, 0.5, 0.9, 0.999]), -100.0)
    np.testing.assert_allclose(prior.log_density(values), exact.logpdf(values), rtol=1e-12)


@each
def test_median(prior):
    assert prior.median == pytest.approx(REFERENCE[prior].median(), rel=1e-12)


@each
def test_draws(prior):
    values = prior.draw(np.random.default_rng(1), 4000)
    assert values.shape == (4000,)
    assert stats.kstest(values, REFERENCE[prior].cdf).pvalue > 1e-3
    np.testing.assert_array_equal(values, prior.draw(np.random.default_rng(1), 4000))


def test_the_cv_of_a_log_normal_is_that_of_its_values():
    exact = stats.lognorm(s=LogNormal(3.0, cv=0.7).sd_log, scale=3.0)
    assert exact.std() / exact.mean() == pytest.approx(0.7)


def test_variables_of_pymc_have_the_same_density():
    with pm.Model() as model:
        variables = [prior.variable(f"x{k}") for k, prior in enumerate(REFERENCE)]
    values = [exact.ppf(0.7) for exact in REFERENCE.values()]
    point = {}
    densities = model.logp(variables, sum=False, jacobian=False)
    # Values are on the log scale where the variable is positive.
    for (prior, exact), variable, value in zip(REFERENCE.items(), variables, values, strict=True):
        transformed = math.log(value) if prior.positive else value
        point[model.rvs_to_values[variable]] = np.asarray(transformed)
        assert prior.log_density(np.array(value)) == pytest.approx(exact.logpdf(value))
    run = model.compile_fn(densities, inputs=list(point), point_fn=False, mode="FAST_COMPILE")
    expected = [exact.logpdf(v) for exact, v in zip(REFERENCE.values(), values, strict=True)]
    # PyTensor takes the logarithm of a constant such as 0.25 in single precision.
    np.testing.assert_allclose(run(*point.values()), expected, rtol=1e-7)


def test_fixed_is_known():
    prior = Fixed(0.75)
    assert prior.median == 0.75
    np.testing.assert_array_equal(prior.draw(np.random.default_rng(1), 3), [0.75] * 3)
    assert prior.log_density(np.array([0.75, 0.7])).tolist() == [0.0, -np.inf]
    with pm.Model() as model:
        assert prior.variable("beta").eval() == 0.75
    assert model.free_RVs == []
    assert [variable.name for variable in model.deterministics] == ["beta"]


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: LogNormal(0.0, cv=0.3), r"LogNormal\(0, cv=0.3\): the median must be above zero"),
        (lambda: LogNormal(math.inf, cv=0.3), "the median must be above zero"),
        (lambda: LogNormal(1.0, cv=0.0), r"cv must be above zero; for a known .* Fixed\(value\)"),
        (lambda: Normal(math.nan, 1.0), "the mean must be a number"),
        (lambda: Normal(0.0, -1.0), r"Normal\(0, -1\): the sd must be above zero"),
        (lambda: HalfNormal(0.0), r"HalfNormal\(0\): the sd must be above zero"),
        (lambda: Fixed(math.nan), "the value must be a number"),
    ],
)
def test_impossible_priors_are_refused(make, sentence):
    with pytest.raises(SettingError, match=sentence):
        make()


@each
def test_a_prior_is_a_value(prior):
    same = eval(repr(prior), {type(prior).__name__: type(prior)})
    assert isinstance(same, Prior)
    assert same == prior
    assert hash(same) == hash(prior)
    assert prior != Fixed(prior.median)

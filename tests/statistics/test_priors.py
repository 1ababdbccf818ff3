"""Priors against SciPy, and against the variables that they make in PyMC."""

from __future__ import annotations

import math

import numpy as np
import pymc as pm
import pytest
from scipy import stats
from scipy.optimize import brentq

from popk.errors import SettingError
from popk.statistics import (
    Beta,
    Correlation,
    Fixed,
    HalfCauchy,
    HalfNormal,
    HalfStudentT,
    LogitNormal,
    LogNormal,
    Normal,
    Prior,
    StudentT,
    Uniform,
)


class FoldedT:
    """The absolute value of a Student t, by its definition."""

    def __init__(self, freedom, scale):
        self.whole = stats.t(freedom, scale=scale)

    def logpdf(self, x):
        both = np.log(self.whole.pdf(x) + self.whole.pdf(-np.asarray(x)))
        return np.where(np.asarray(x) >= 0, both, -np.inf)

    def cdf(self, x):
        return self.whole.cdf(x) - self.whole.cdf(-np.asarray(x))

    def ppf(self, p):
        return np.array([brentq(lambda x, q=q: self.cdf(x) - q, 0, 1e5) for q in np.atleast_1d(p)])

    def median(self):
        return float(self.ppf(0.5)[0])


class LogisticOfNormal:
    """The logistic function of a normal; its density by the slope of its distribution."""

    def __init__(self, median, sd):
        self.inner = stats.norm(np.log(median / (1 - median)), sd)

    def cdf(self, x):
        x = np.clip(x, 1e-300, 1 - 1e-16)
        return self.inner.cdf(np.log(x / (1 - x)))

    def logpdf(self, x):
        x = np.asarray(x, dtype=float)
        usual = np.where((x > 0) & (x < 1), x, 0.5)
        step = 1e-5 * usual * (1 - usual)
        slope = (self.cdf(usual + step) - self.cdf(usual - step)) / (2 * step)
        return np.where((x > 0) & (x < 1), np.log(slope), -np.inf)

    def ppf(self, p):
        return 1 / (1 + np.exp(-self.inner.ppf(p)))

    def median(self):
        return float(self.ppf(0.5))


REFERENCE = {
    LogNormal(0.164, cv=0.3): stats.lognorm(s=math.sqrt(math.log(1.09)), scale=0.164),
    LogNormal(20.0, cv=1.2): stats.lognorm(s=math.sqrt(math.log(2.44)), scale=20.0),
    Normal(-0.5, 0.25): stats.norm(-0.5, 0.25),
    HalfNormal(0.4): stats.halfnorm(scale=0.4),
    HalfCauchy(0.5): stats.halfcauchy(scale=0.5),
    HalfStudentT(4.0, 0.5): FoldedT(4.0, 0.5),
    StudentT(3.0, -0.5, 0.25): stats.t(3.0, -0.5, 0.25),
    Uniform(-0.5, 2.0): stats.uniform(-0.5, 2.5),
    Uniform(0.1, 0.9): stats.uniform(0.1, 0.8),
    LogitNormal(0.7, sd=0.6): LogisticOfNormal(0.7, 0.6),
    Beta(0.7, n=12.0): stats.beta(8.4, 3.6),
    Correlation(2.5): stats.beta(2.5, 2.5, -1.0, 2.0),
}
# The density of a logit-normal is compared with a difference quotient.
LOOSE = {LogitNormal(0.7, sd=0.6): 1e-7}
each = pytest.mark.parametrize("prior", REFERENCE, ids=repr)


@each
def test_log_density(prior):
    exact = REFERENCE[prior]
    values = np.append(exact.ppf([0.001, 0.1, 0.5, 0.9, 0.999]), -100.0)
    rtol = LOOSE.get(prior, 1e-12)
    np.testing.assert_allclose(prior.log_density(values), exact.logpdf(values), rtol=rtol)
    low, high = prior.support
    outside = np.array([x for x in (low - 0.1, high + 0.1) if np.isfinite(x)])
    assert np.all(prior.log_density(outside) == -np.inf)


@each
def test_quantiles_and_intervals(prior):
    exact = REFERENCE[prior]
    probability = [0.001, 0.1, 0.5, 0.9, 0.999]
    np.testing.assert_allclose(prior.quantile(probability), exact.ppf(probability), rtol=1e-9)
    np.testing.assert_allclose(prior.interval(0.8), exact.ppf([0.1, 0.9]), rtol=1e-9)
    with pytest.raises(SettingError, match=r"The level .* is 95; .* as 0.95 \(0.95 for 95 %\)"):
        prior.interval(95)


@each
def test_values_at_normal_scores_are_quantiles(prior):
    score = np.linspace(-3.5, 3.5, 29)
    expected = REFERENCE[prior].ppf(stats.norm.cdf(score))
    np.testing.assert_allclose(prior.at_score(score), expected, rtol=1e-6, atol=1e-9)
    assert prior.at_score(0.0) == pytest.approx(prior.median, rel=1e-12, abs=1e-15)
    assert prior.at_score(np.zeros((2, 3))).shape == (2, 3)


@each
def test_values_at_normal_scores_rise_far_into_both_tails(prior):
    """At a score of 8 a probability is as near to one as doubles can be."""
    score = np.linspace(-8.0, 8.0, 161)
    value = prior.at_score(score)
    assert np.isfinite(value).all()
    low, high = prior.support
    assert np.all((value >= low) & (value <= high))
    inside = np.abs(score) < 7.0
    if math.isfinite(high):  # a double has no room left below a bound
        inside &= score < 4.0
    assert np.all(np.diff(value[inside]) > 0)
    assert np.all(np.diff(value) >= 0)


@each
def test_a_score_is_what_its_value_comes_from(prior):
    score = np.linspace(-4.0, 4.0, 33)
    # Near an upper bound a double has too few digits left for the score.
    exact = 1e-9 if math.isinf(prior.support[1]) else 1e-4
    np.testing.assert_allclose(prior.score(prior.at_score(score)), score, atol=exact)
    assert prior.score(np.full((2, 3), prior.median)).shape == (2, 3)


def test_values_at_normal_scores_of_normal_priors_have_closed_forms():
    score = np.array([-8.0, -1.0, 0.0, 2.5, 8.0])
    np.testing.assert_allclose(Normal(-0.5, 0.25).at_score(score), -0.5 + 0.25 * score, rtol=1e-14)
    log_normal = LogNormal(0.164, cv=0.3)
    expected = 0.164 * np.exp(math.sqrt(math.log(1.09)) * score)
    np.testing.assert_allclose(log_normal.at_score(score), expected, rtol=1e-14)
    # A half-normal draw is far out in proportion to the normal quantile of half the tail.
    far = HalfNormal(0.4).at_score(8.0)
    np.testing.assert_allclose(far, 0.4 * stats.norm.isf(stats.norm.sf(8.0) / 2), rtol=1e-10)


@pytest.mark.parametrize("half", [HalfNormal(0.4), HalfCauchy(0.5), HalfStudentT(4.0, 0.5)])
def test_a_half_is_as_flat_at_zero_as_its_density_says(half):
    score = np.array([-7.0, -6.0, -5.0])
    at_zero = np.exp(half.log_density(np.array(0.0)))
    np.testing.assert_allclose(half.at_score(score), stats.norm.cdf(score) / at_zero, rtol=1e-3)


@each
def test_draws_are_values_at_scores_of_normal_numbers(prior):
    values = prior.at_score(np.random.default_rng(2).standard_normal(4000))
    assert stats.kstest(values, REFERENCE[prior].cdf).pvalue > 1e-3


@each
def test_support(prior):
    low, high = prior.support
    drawn = prior.draw(np.random.default_rng(3), 500)
    assert np.all((drawn >= low) & (drawn <= high))
    assert prior.positive == (low >= 0)


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


def transformed(prior, value):
    """A value in the sampler's coordinates, which know no bounds."""
    low, high = prior.support
    if math.isfinite(high):
        return math.log((value - low) / (high - value))
    return math.log(value) if low == 0 else value


def test_variables_of_pymc_have_the_same_density():
    with pm.Model() as model:
        variables = [prior.variable(f"x{k}") for k, prior in enumerate(REFERENCE)]
    values = [float(np.squeeze(exact.ppf(0.7))) for exact in REFERENCE.values()]
    point = {}
    densities = model.logp(variables, sum=False, jacobian=False)
    for (prior, exact), variable, value in zip(REFERENCE.items(), variables, values, strict=True):
        point[model.rvs_to_values[variable]] = np.asarray(transformed(prior, value))
        assert prior.log_density(np.array(value)) == pytest.approx(exact.logpdf(value))
    run = model.compile_fn(densities, inputs=list(point), point_fn=False, mode="FAST_COMPILE")
    expected = [exact.logpdf(v) for exact, v in zip(REFERENCE.values(), values, strict=True)]
    # PyTensor takes the logarithm of a constant such as 0.25 in single precision.
    np.testing.assert_allclose(run(*point.values()), expected, rtol=3e-7)


def test_variables_of_pymc_are_drawn_within_their_bounds():
    with pm.Model():
        variables = [prior.variable(f"x{k}") for k, prior in enumerate(REFERENCE)]
    for prior, drawn in zip(REFERENCE, pm.draw(variables, 50, random_seed=1), strict=True):
        assert drawn.shape == (50,)
        assert np.all((drawn >= prior.support[0]) & (drawn <= prior.support[1]))


def test_a_correlation_is_that_of_a_small_lkj_matrix():
    """For two rows the density of LKJ is det(R)^(eta - 1) = (1 - r^2)^(eta - 1)."""
    r = np.array([-0.9, 0.0, 0.3, 0.8])
    found = Correlation(3.0).log_density(r)
    np.testing.assert_allclose(found - found[1], 2.0 * np.log(1 - r**2), rtol=1e-12)


@pytest.mark.parametrize("half", [HalfNormal(0.4), HalfCauchy(0.5), HalfStudentT(4.0, 0.5)])
def test_a_half_is_the_absolute_value_of_its_whole(half):
    x = np.array([0.1, 0.5, 2.0])
    np.testing.assert_allclose(half.log_density(x), np.log(2) + half.whole.log_density(x))


@pytest.mark.parametrize(
    ("prior", "wider"),
    [
        (Normal(-0.5, 0.25), Normal(-0.5, 0.5)),
        (HalfNormal(0.4), HalfNormal(0.8)),
        (HalfCauchy(0.5), HalfCauchy(1.0)),
        (HalfStudentT(4.0, 0.5), HalfStudentT(4.0, 1.0)),
        (StudentT(3.0, -0.5, 0.25), StudentT(3.0, -0.5, 0.5)),
        (LogitNormal(0.7, sd=0.6), LogitNormal(0.7, sd=1.2)),
        (Uniform(0.1, 0.9), Uniform(0.1, 0.9)),
        (Fixed(0.75), Fixed(0.75)),
    ],
    ids=repr,
)
def test_flattened_by_four(prior, wider):
    assert prior.flattened(4) == wider
    assert prior.flattened(1) == prior


def test_flattened_has_the_factor_times_the_variance():
    narrow, wide = LogNormal(0.2, cv=0.3), LogNormal(0.2, cv=0.3).flattened(3)
    assert wide.median == 0.2
    assert wide.sd_log**2 == pytest.approx(3 * narrow.sd_log**2)
    for prior in (Beta(0.7, n=12.0), Correlation(2.5)):
        assert prior.flattened(3).exact.var() == pytest.approx(3 * prior.exact.var())
        assert prior.flattened(3).exact.mean() == pytest.approx(prior.exact.mean())


def test_a_flattened_normal_is_its_power():
    x = np.linspace(-2, 2, 5)
    prior, factor = Normal(0.5, 0.3), 5.0
    power = prior.log_density(x) / factor
    difference = prior.flattened(factor).log_density(x) - power
    np.testing.assert_allclose(difference, difference[0], rtol=1e-12)


def test_fixed_is_known():
    prior = Fixed(0.75)
    assert prior.median == 0.75
    np.testing.assert_array_equal(prior.draw(np.random.default_rng(1), 3), [0.75] * 3)
    assert prior.log_density(np.array([0.75, 0.7])).tolist() == [0.0, -np.inf]
    assert prior.at_score(np.array([-8.0, 0.0, 3.0])).tolist() == [0.75] * 3
    assert prior.score(np.array([0.75, 0.75])).tolist() == [0.0, 0.0]
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
        (lambda: Normal("a", 1.0), r"Normal was given mean='a'; expected a number"),
        (lambda: LogNormal(1.0, cv="0.3"), r"LogNormal was given cv='0.3'; expected a number"),
        (lambda: LogNormal(1.0, cv=-0.3), "the cv must be above zero"),
        (lambda: LogNormal(0.2, cv=30), r"a cv of 30 is 3000 %, .* for 30 % give cv=0.3"),
        (lambda: HalfCauchy(-1), r"HalfCauchy\(-1\): the scale must be above zero"),
        (lambda: HalfStudentT(0, 1), "the freedom must be above zero.$"),
        (lambda: StudentT(3, 0, 0), "the scale must be above zero; for a known value"),
        (lambda: StudentT(-3, 0, 1), "the freedom must be above zero"),
        (lambda: StudentT(3, math.inf, 1), "the centre must be a number"),
        (lambda: Uniform(2, 1), r"Uniform\(2, 1\): the lower bound must lie below the upper"),
        (lambda: Uniform(0, math.inf), "both bounds must be finite"),
        (lambda: LogitNormal(70, 0.5), "between 0 and 1; for 70 % give 0.7"),
        (lambda: LogitNormal(0.7, 0), "the sd must be above zero"),
        (lambda: Beta(1.0, 10), "the mean must lie between 0 and 1"),
        (lambda: Beta(0.5, 0), "n must be above zero"),
        (lambda: Correlation(0), "eta must be above zero"),
        (lambda: Normal(0, 1).flattened(0.5), "factor of 0.5; give one or more"),
        (lambda: LogNormal(1, cv=5).flattened(100), "its cv would be above 10; give at most 1.42"),
        (lambda: Beta(0.5, 2).flattened(3), "give a factor below 3"),
        (lambda: Correlation(1).flattened(3), "give a factor below 3"),
    ],
)
def test_impossible_priors_are_refused(make, sentence):
    with pytest.raises(SettingError, match=sentence):
        make()


def test_a_prior_of_ones_own_is_not_flattened_silently():
    class Own(Normal):
        def _flattened(self, factor):
            return Prior._flattened(self, factor)

    with pytest.raises(SettingError, match="cannot be flattened; write the wider one"):
        Own(0.0, 1.0).flattened(2)


@each
def test_a_prior_is_a_value(prior):
    same = eval(repr(prior), {type(prior).__name__: type(prior)})
    assert isinstance(same, Prior)
    assert same == prior
    assert hash(same) == hash(prior)
    assert prior != Fixed(prior.median)

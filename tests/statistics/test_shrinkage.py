"""The regularised horseshoe: its priors against SciPy, its coefficients against the formula."""

from __future__ import annotations

import math

import numpy as np
import pymc as pm
import pytensor.tensor as pt
import pytest
from scipy import integrate, stats

from popk.errors import SettingError
from popk.statistics import (
    NUMPY,
    HalfCauchy,
    Horseshoe,
    InverseGamma,
    Normal,
    Shrunk,
    pytensor_operations,
)

PRIORS = [HalfCauchy(0.2), HalfCauchy(1.0), InverseGamma(2.0, 0.5), InverseGamma(0.5, 2.0)]
SCIPY = {
    HalfCauchy: lambda p: stats.halfcauchy(scale=p.scale),
    InverseGamma: lambda p: stats.invgamma(p.shape, scale=p.scale),
}
SCREEN = Horseshoe("screen", candidates=10, expected_nonzero=2, scale=0.04, slab=0.5)


@pytest.mark.parametrize("prior", PRIORS, ids=repr)
def test_density_median_and_draws_are_those_of_scipy(prior):
    known = SCIPY[type(prior)](prior)
    values = np.array([1e-3, 0.1, 0.7, 5.0, 40.0])
    np.testing.assert_allclose(prior.log_density(values), known.logpdf(values), rtol=1e-12)
    area = integrate.quad(lambda t: np.exp(prior.log_density(np.exp(t)) + t), -40, 40, limit=400)[0]
    assert area == pytest.approx(1.0, rel=1e-6)
    assert prior.median == pytest.approx(known.median())
    drawn = prior.draw(np.random.default_rng(3), 4000)
    assert stats.kstest(drawn, known.cdf).pvalue > 1e-3


@pytest.mark.parametrize("prior", PRIORS, ids=repr)
def test_the_variable_has_the_same_density(prior):
    with pm.Model():
        variable = prior.variable("x")
        for value in (0.05, 1.3):
            expected = float(prior.log_density(np.array(value)))
            found = float(pm.logp(variable, value).eval())
            # PyTensor takes the logarithm of a constant such as 0.25 in single precision.
            assert found == pytest.approx(expected, rel=1e-7)


def test_scales_must_be_above_zero():
    with pytest.raises(SettingError, match=r"the scale must be above zero"):
        HalfCauchy(0.0)
    with pytest.raises(SettingError, match=r"the shape must be above zero"):
        InverseGamma(-1.0, 1.0)


def test_the_priors_of_a_group():
    assert SCREEN.tau == HalfCauchy(2 / 8 * 0.04)
    assert SCREEN.slab_variance == InverseGamma(2.0, 0.5)
    parts = Shrunk(SCREEN, spread=0.2).parts("beta_CL_WT")
    assert [(name, prior) for name, prior, _ in parts] == [
        ("tau_screen", SCREEN.tau),
        ("slab_screen", SCREEN.slab_variance),
        ("lambda_beta_CL_WT", HalfCauchy(1.0)),
        ("z_beta_CL_WT", Normal(0.0, 1.0)),
    ]


def population(rng, size):
    parts = Shrunk(SCREEN).parts("b")
    return {name: prior.draw(rng, size) for name, prior, _ in parts}


def test_a_coefficient_is_that_of_the_regularised_horseshoe():
    """Piironen & Vehtari 2017: lambda~^2 = c^2 lambda^2 / (c^2 + tau^2 lambda^2)."""
    drawn = population(np.random.default_rng(1), 50)
    tau, variance, own, z = drawn.values()
    regularised = np.sqrt(variance * own**2 / (variance + tau**2 * own**2))
    expected = z * tau * regularised / 0.2
    found = Shrunk(SCREEN, spread=0.2).value("b", drawn, NUMPY)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    symbolic = Shrunk(SCREEN, spread=0.2).value(
        "b", {name: pt.as_tensor(value) for name, value in drawn.items()}, pytensor_operations()
    )
    np.testing.assert_allclose(symbolic.eval(), expected, rtol=1e-12)


def test_most_coefficients_are_near_zero_and_the_slab_bounds_the_others():
    drawn = population(np.random.default_rng(2), 40_000)
    found = Shrunk(SCREEN).value("b", drawn, NUMPY)
    assert np.median(np.abs(found)) < 0.02
    assert np.mean(np.abs(found) > 0.1) > 0.05
    bound = np.abs(drawn["z_b"]) * np.sqrt(drawn["slab_screen"])
    assert (np.abs(found) <= bound).all()
    huge = drawn | {"lambda_b": np.full(40_000, 1e12)}
    at_slab = Shrunk(SCREEN).value("b", huge, NUMPY)
    assert stats.kstest(at_slab, stats.t(4.0, scale=0.5).cdf).pvalue > 1e-3


def test_the_expected_number_that_is_not_shrunk_is_what_was_asked_for():
    """Piironen & Vehtari: with tau at its median, sum of 1 - kappa_j is expected_nonzero."""
    tau = SCREEN.tau.median
    own = HalfCauchy(1.0).draw(np.random.default_rng(5), 200_000)
    kept = 1 - 1 / (1 + (tau * own / SCREEN.scale) ** 2)
    assert 10 * kept.mean() == pytest.approx(2.0, rel=0.02)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"name": "my screen"}, "name='my screen'; expected a name of letters, digits and under"),
        ({"candidates": 9.5}, "candidates=9.5; expected a whole number"),
        ({"expected_nonzero": 0}, "expected_nonzero=0; expected a number above zero"),
        ({"expected_nonzero": 10}, "expected_nonzero=10; expected less than the 10 candidates"),
        ({"scale": -1.0}, "scale=-1.0; expected a number above zero"),
        ({"slab": math.nan}, "slab=nan; expected a number above zero"),
    ],
)
def test_refusals(changes, sentence):
    given = {"name": "screen", "candidates": 10, "expected_nonzero": 2, "scale": 0.04} | changes
    with pytest.raises(SettingError, match=f"Horseshoe was given {sentence}"):
        Horseshoe(given.pop("name"), **given)


@pytest.mark.parametrize("spread", [0.0, -1.0, math.inf, "wide"])
def test_a_spread_is_an_sd(spread):
    with pytest.raises(SettingError, match=r"Shrunk was given spread=.*expected the SD over the"):
        Shrunk(SCREEN, spread=spread)
    with pytest.raises(SettingError, match=r"Shrunk was given 0.1; expected Horseshoe"):
        Shrunk(0.1)

"""Scales: back and forth, slopes, limits."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special, stats

from popk.errors import SettingError
from popk.statistics import (
    NUMPY,
    BoxCox,
    Fixed,
    HeavyTails,
    LinearScale,
    LogitScale,
    LogNormal,
    LogScale,
    Normal,
    pytensor_operations,
)

SCALES = [LogScale(), LinearScale(), LogitScale(), LogitScale(-2.0, 7.5)]
PHI = np.array([-6.0, -1.0, 0.0, 0.3, 4.0])


@pytest.mark.parametrize("scale", SCALES, ids=repr)
def test_back_and_forth(scale):
    value = scale.inverse(PHI, NUMPY)
    assert np.all((value > scale.low) & (value < scale.high))
    np.testing.assert_allclose(scale.forward(value, NUMPY), PHI, atol=1e-12)
    step = 1e-6
    slope = (scale.inverse(PHI + step, NUMPY) - scale.inverse(PHI - step, NUMPY)) / (2 * step)
    np.testing.assert_allclose(scale.slope(value), slope, rtol=1e-8)


@pytest.mark.parametrize("scale", SCALES, ids=repr)
def test_covariates_multiply_the_typical_value(scale):
    found = scale.expected(0.4, np.log([1.0, 1.5]), NUMPY)
    np.testing.assert_allclose(scale.inverse(found, NUMPY), [0.4, 0.6])


def test_against_scipy():
    np.testing.assert_allclose(LogitScale().inverse(PHI, NUMPY), special.expit(PHI))
    np.testing.assert_allclose(LogitScale(1, 3).inverse(PHI, NUMPY), 1 + 2 * special.expit(PHI))


@pytest.mark.parametrize(("low", "high"), [(1.0, 1.0), (2.0, 1.0), (0.0, np.inf)])
def test_limits_must_be_two_numbers_in_order(low, high):
    with pytest.raises(SettingError, match=r"LogitScale was given low=.*the lower first"):
        LogitScale(low, high)


def test_both_arithmetics_agree():
    import pytensor.tensor as pt

    phi = pt.as_tensor(PHI)
    for scale in SCALES:
        found = scale.inverse(phi, pytensor_operations()).eval()
        np.testing.assert_allclose(found, scale.inverse(PHI, NUMPY), rtol=1e-14)


# Shapes of random effects

SHAPES = [(BoxCox(Normal(0.0, 0.5)), value) for value in (-0.8, 0.0, 1e-7, 0.6)]
SHAPES += [(HeavyTails(LogNormal(5, cv=0.3)), value) for value in (3.0, 8.0, 1e6)]


@pytest.mark.parametrize(("shape", "value"), SHAPES, ids=str)
def test_slopes_of_shapes(shape, value):
    z, omega, step = np.linspace(-3, 3, 13), 0.4, 1e-6
    rise = shape.effect(z + step, omega, value, NUMPY) - shape.effect(z - step, omega, value, NUMPY)
    np.testing.assert_allclose(shape.slope(z, omega, value, NUMPY), rise / (2 * step), rtol=1e-7)


def test_box_cox_by_its_formula():
    z = np.linspace(-3, 3, 7)
    found = BoxCox(Normal(0, 1)).effect(z, 0.4, 0.6, NUMPY)
    np.testing.assert_allclose(found, (np.exp(0.4 * z) ** 0.6 - 1) / 0.6)
    np.testing.assert_allclose(BoxCox(Normal(0, 1)).effect(z, 0.4, 0.0, NUMPY), 0.4 * z)


@pytest.mark.parametrize(("freedom", "tolerance"), [(5.0, 0.03), (10.0, 3e-3), (50.0, 2e-5)])
def test_heavy_tails_have_the_quantiles_of_a_t(freedom, tolerance):
    z = np.linspace(-2.5, 2.5, 11)
    exact = stats.t.ppf(stats.norm.cdf(z), freedom)
    found = HeavyTails(LogNormal(5, cv=0.3)).effect(z, 1.0, freedom, NUMPY)
    np.testing.assert_allclose(found, exact, rtol=tolerance)


@pytest.mark.parametrize("prior", [Normal(5.0, 1.0), Fixed(0.0)])
def test_degrees_of_freedom_are_above_zero(prior):
    with pytest.raises(SettingError, match="degrees of freedom of zero or below"):
        HeavyTails(prior)

"""States of one and two modes: their divided differences and their arithmetic."""

from __future__ import annotations

import math
from decimal import Decimal, localcontext

import numpy as np
import pytest

from popk.structure.modes import (
    decay_one,
    decay_two,
    exponential_differences,
    infuse_one,
    infuse_two,
    multiply_one,
    multiply_two,
    repeat_one,
    repeat_two,
)

ONE = (0.3,)


def two(fast, slow):
    """Rates as the functions of two modes read them; the shares are not used by these."""
    return fast, slow, fast - slow, 0.5, 0.5


RATES = [two(0.9, 0.02), two(0.3, 0.3), two(0.3, 0.3 - 1e-9), two(40.0, 1e-8), two(1e-9, 1e-12)]


@pytest.mark.parametrize("x", [1e-12, 1e-3, 0.3, 0.999999, 1.0, 1.000001, 7.0, 600.0])
def test_divided_differences_of_the_exponential(x):
    with localcontext() as context:
        context.prec = 80
        z = Decimal(x)
        last = (-z).exp()
        first = (1 - last) / z
        upper, lower = (first - last) / z, (1 - first) / z
        exact = [float(v) for v in (last, first, upper, lower, (lower - upper) / z)]
    np.testing.assert_allclose(exponential_differences(x), exact, rtol=2e-14)


def test_divided_differences_where_the_nodes_meet():
    np.testing.assert_allclose(exponential_differences(0.0), [1, 1, 1 / 2, 1 / 2, 1 / 6])


@pytest.mark.parametrize("rates", RATES)
def test_decays_multiply(rates):
    together = multiply_two(decay_two(rates, 1.7), decay_two(rates, 4.1))
    np.testing.assert_allclose(together, decay_two(rates, 5.8), rtol=1e-13, atol=1e-300)


@pytest.mark.parametrize("rates", RATES)
@pytest.mark.parametrize("duration", [1e-6, 0.5, 3.0, 50.0])
def test_an_infusion_is_its_two_halves(rates, duration):
    half = np.array(infuse_two(rates, duration / 2))
    earlier = multiply_two(tuple(half), decay_two(rates, duration / 2))
    np.testing.assert_allclose(
        infuse_two(rates, duration), (half + earlier) / 2, rtol=1e-12, atol=1e-300
    )


@pytest.mark.parametrize("rates", RATES)
@pytest.mark.parametrize("count", [2, 3, 4, 50])
def test_a_run_is_a_sum_of_decays(rates, count):
    doses = np.sum([decay_two(rates, 5.0 * n) for n in range(count)], axis=0)
    np.testing.assert_allclose(repeat_two(rates, 5.0, count), doses, rtol=1e-11, atol=1e-300)


def test_one_mode_has_the_same_arithmetic():
    together = multiply_one(decay_one(ONE, 1.7), decay_one(ONE, 4.1))
    np.testing.assert_allclose(together, decay_one(ONE, 5.8))
    x = 0.3 * 4.0
    mean = (1 - math.exp(-x)) / x
    slope = 4.0 * (mean - math.exp(-x)) / x
    np.testing.assert_allclose(infuse_one(ONE, 4.0), [mean, slope])
    for count in (2, 3, 50):
        doses = np.sum([decay_one(ONE, 5.0 * n) for n in range(count)], axis=0)
        np.testing.assert_allclose(repeat_one(ONE, 5.0, count), doses)

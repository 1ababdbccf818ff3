"""Traced arithmetic: its derivatives, and its agreement with plain numbers."""

from __future__ import annotations

import ctypes

import numba
import numpy as np
import pytest

from popk.structure.engine.vector import Dual, W, traced
from popk.structure.functions import exp, larger, log, power, sqrt, where_positive

X, Y = 1.7, -0.6

BINARY = {
    "x + y": (lambda x, y: x + y, 1.0, 1.0),
    "x - y": (lambda x, y: x - y, 1.0, -1.0),
    "x * y": (lambda x, y: x * y, Y, X),
    "x / y": (lambda x, y: x / y, 1 / Y, -X / Y**2),
    "both": (lambda x, y: x * y / (x + y), Y**2 / (X + Y) ** 2, X**2 / (X + Y) ** 2),
    "power": (power, Y * X ** (Y - 1), X**Y * np.log(X)),
    "larger": (larger, 1.0, 0.0),
    "where y": (lambda x, y: where_positive(y, x, y), 0.0, 1.0),
}
UNARY = {
    "x + 2": (lambda x: x + 2.0, 1.0),
    "2 + x": (lambda x: 2.0 + x, 1.0),
    "x - 2": (lambda x: x - 2.0, 1.0),
    "2 - x": (lambda x: 2.0 - x, -1.0),
    "x * 2": (lambda x: x * 2.0, 2.0),
    "2 * x": (lambda x: 2.0 * x, 2.0),
    "x / 2": (lambda x: x / 2.0, 0.5),
    "2 / x": (lambda x: 2.0 / x, -2.0 / X**2),
    "-x": (lambda x: -x, -1.0),
    "x * x": (lambda x: x * x, 2 * X),
    "exp": (exp, np.exp(X)),
    "log": (log, 1 / X),
    "sqrt": (sqrt, 0.5 / np.sqrt(X)),
    "x ** 2.5": (lambda x: power(x, 2.5), 2.5 * X**1.5),
    "2.5 ** x": (lambda x: power(2.5, x), 2.5**X * np.log(2.5)),
    "(-x) ** 2": (lambda x: power(-x, 2.0), 2 * X),
    "(-x) ** -3": (lambda x: power(-x, -3), 3 * X**-4),
    "(-x) ** 2.5": (lambda x: power(-x, 2.5), 0.0),
    "abs(-x)": (lambda x: abs(-x), 1.0),
}


@pytest.mark.parametrize("name", BINARY)
def test_dual_of_two(name):
    function, by_x, by_y = BINARY[name]
    found = function(Dual(X, {0: 1.0}), Dual(Y, {1: 1.0}))
    assert found.value == pytest.approx(function(X, Y))
    slopes = [found.slopes.get(k, 0.0) for k in range(2)]
    assert slopes == [pytest.approx(by_x), pytest.approx(by_y)]


@pytest.mark.parametrize("name", UNARY)
def test_dual_of_one(name):
    function, slope = UNARY[name]
    found = function(Dual(X, {3: 1.0}))
    assert found.value == pytest.approx(function(X))
    assert found.slopes == {3: pytest.approx(slope)}


BASES = np.array([-3.0, -1.0, -0.4, 0.0, 0.4, 1.0, 2.0, -7.5])


@pytest.mark.parametrize("exponent", [2, 3, 1, 17, 2.0, -1, -2, -3.0, np.float64(3.0)])
def test_a_whole_power_is_a_product_whatever_the_sign(exponent):
    """In numbers, lanes, and both kinds of dual numbers: with its derivative."""
    bases = BASES if exponent > 0 else BASES[BASES != 0.0].repeat(2)[:W]
    expected = bases ** float(exponent)
    slopes = exponent * bases ** (exponent - 1.0)
    np.testing.assert_allclose(power(bases, exponent), expected, rtol=1e-14)
    np.testing.assert_allclose([power(x, exponent) for x in bases], expected, rtol=1e-14)
    np.testing.assert_allclose(run(lambda x: [power(x, exponent)], bases)[0], expected, rtol=1e-14)

    def derivatives(x, one):
        found = power(Dual(x, {0: one}), exponent)
        return [found.value, found.slopes[0]]

    value, slope = run(derivatives, bases, np.ones(W))
    np.testing.assert_allclose(value, expected, rtol=1e-14)
    np.testing.assert_allclose(slope, slopes, rtol=1e-13, atol=1e-300)


@pytest.mark.parametrize("exponent", [2.5, 0.5, -1.5])
def test_any_other_power_is_nothing_at_zero_and_below(exponent):
    above = BASES > 0.0
    positive = np.where(above, BASES, 1.0)
    expected = np.where(above, positive**exponent, 0.0)
    slopes = np.where(above, exponent * positive ** (exponent - 1.0), 0.0)
    np.testing.assert_allclose(power(BASES, exponent), expected, rtol=1e-14)
    np.testing.assert_allclose([power(x, exponent) for x in BASES], expected, rtol=1e-14)

    def derivatives(x, one):
        found = power(Dual(x, {0: one}), exponent)
        return [power(x, exponent), found.value, found.slopes[0]]

    lanes, value, slope = run(derivatives, BASES, np.ones(W))
    np.testing.assert_allclose(lanes, expected, rtol=1e-14)
    np.testing.assert_allclose(value, expected, rtol=1e-14)
    np.testing.assert_allclose(slope, slopes, rtol=1e-13)


def test_to_the_power_of_zero_everything_is_one():
    np.testing.assert_array_equal(power(BASES, 0), 1.0)
    np.testing.assert_array_equal(run(lambda x: [power(x, 0.0)], BASES), 1.0)
    assert power(-3.0, 0) == 1.0
    assert power(Dual(-3.0, {0: 1.0}), 0).value == 1.0


def test_an_exponent_that_is_known_late_means_the_same():
    """A parameter may have a whole value: nothing but the value decides."""
    x = np.array([-3.0, -3.0, -3.0, -3.0, 0.0, 0.0, 2.0, 2.0])
    y = np.array([2.0, -3.0, 2.5, 0.0, 2.0, 0.0, -1.0, 2.5])
    expected = np.array([9.0, -1.0 / 27.0, 0.0, 1.0, 0.0, 1.0, 0.5, 2.0**2.5])
    by_x = np.array([-6.0, -3.0 / 81.0, 0.0, 0.0, 0.0, 0.0, -0.25, 2.5 * 2.0**1.5])
    by_y = np.where(x > 0.0, expected * np.log(2.0), 0.0)
    np.testing.assert_allclose(power(x, y), expected, rtol=1e-14)
    np.testing.assert_allclose([power(*pair) for pair in zip(x, y, strict=True)], expected)

    def derivatives(x, y, one):
        found = power(Dual(x, {0: one}), Dual(y, {1: one}))
        return [power(x, y), found.value, found.slopes[0], found.slopes[1]]

    lanes, value, *slopes = run(derivatives, x, y, np.ones(W))
    np.testing.assert_allclose(lanes, expected, rtol=1e-14)
    np.testing.assert_allclose(value, expected, rtol=1e-14)
    np.testing.assert_allclose(slopes[0], by_x, rtol=1e-13)
    np.testing.assert_allclose(slopes[1], by_y, rtol=1e-13)


def test_a_power_of_what_is_no_number_is_none():
    x = np.full(W, np.nan)
    found = run(lambda x, y: [power(x, 2), power(x, 2.5), power(x, y)], x, np.arange(W) / 2.0)
    assert np.isnan(found).all()


def test_complex_steps_see_the_derivative_of_a_power():
    for x, exponent, slope in ((-3.0, 3, 27.0), (2.0, 1.5, 1.5 * 2**0.5), (-3.0, 1.5, 0.0)):
        found = power(np.array([x + 1e-80j]), exponent)[0].imag / 1e-80
        assert found == pytest.approx(slope)


def test_a_constant_has_no_slopes():
    assert (Dual(X) * Dual(Y)).slopes == {}
    assert (Dual(X, {0: 1.0}) * Dual(Y)).slopes == {0: pytest.approx(Y)}


def run(function, *inputs):
    """Results of a function of W lanes; ``inputs`` are arrays of W numbers."""
    with np.errstate(all="ignore"):
        size = len(function(*inputs))

    def code(memory):
        for place, found in enumerate(function(*(memory[k * W] for k in range(len(inputs))))):
            memory[(len(inputs) + place) * W] = found

    operation = traced(code)

    @numba.cfunc(numba.void(numba.types.CPointer(numba.float64)))
    def part(memory):
        operation(memory)

    buffer = np.concatenate([*inputs, np.zeros(size * W)])
    pointer = buffer.ctypes.data_as(ctypes.POINTER(ctypes.c_double))
    part.ctypes(pointer)
    return buffer[len(inputs) * W :].reshape(size, W)


def test_lanes_compute_what_the_numbers_do():
    """Every operation, in W lanes at once, against plain floats."""

    def operations(x, y):
        return [
            x + y, x - y, x * y, x / y, -x, abs(y), x + 2.0, 2.0 - x, 2.0 / x, x / 2.0, 3.0 * x,
            larger(x, y), where_positive(y, x, y), exp(y), log(x), sqrt(x), power(x, y),
            power(x, 3.0), power(y, 2.5), power(1.5, y),
        ]  # fmt: skip

    rng = np.random.default_rng(2)
    x, y = rng.uniform(0.1, 3.0, W), rng.normal(size=W)
    np.testing.assert_allclose(run(operations, x, y), operations(x, y), rtol=4e-15)


def test_exponential_and_logarithm_over_their_whole_range():
    rng = np.random.default_rng(3)
    exponents = np.array([-745.0, -708.5, -707.9, -1e-300, 0.0, 1e-17, 709.4, 711.0])
    with np.errstate(over="ignore"):
        expected = np.where(exponents < -708, 0.0, np.where(exponents > 709.5, np.inf,
                                                            np.exp(exponents)))  # fmt: skip
    np.testing.assert_allclose(run(lambda x: [exp(x)], exponents)[0], expected, rtol=1e-15)
    for spread in (1e-8, 1.0, 30.0, 700.0):
        x = rng.uniform(-spread, spread, W)
        np.testing.assert_allclose(run(lambda x: [exp(x)], x)[0], np.exp(x), rtol=4e-16)
        np.testing.assert_allclose(
            run(lambda x: [log(x)], np.exp(x))[0], np.log(np.exp(x)), rtol=5e-16, atol=2e-16
        )
    edge = np.array([0.0, 1e-320, np.inf, -1.0, np.nan, 1.0, 1e308, 1e-307])
    with np.errstate(all="ignore"):
        expected = np.log(edge)
    expected[1] = -np.inf  # below the smallest normal number
    np.testing.assert_allclose(run(lambda x: [log(x)], edge)[0], expected, rtol=1e-15)


def test_the_larger_of_a_number_and_nan_is_nan():
    x, y = np.ones(W), np.zeros(W)
    x[0], y[1] = np.nan, np.nan
    (found,) = run(lambda x, y: [x.larger(y)] if hasattr(x, "larger") else [x], x, y)
    np.testing.assert_array_equal(np.isnan(found), [True, True] + [False] * (W - 2))

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
    "(-x) ** 2": (lambda x: power(-x, 2.0), 0.0),
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

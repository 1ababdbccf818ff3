"""Derivatives of the traced arithmetic, and its agreement with plain numbers."""

from __future__ import annotations

import numpy as np
import pytest

from popk.structure import nonlinear
from popk.structure.jit import njit
from popk.structure.vector import Dual, W, traced

X, Y = 1.7, -0.6

BINARY = {
    "x + y": (lambda x, y: x + y, 1.0, 1.0),
    "x - y": (lambda x, y: x - y, 1.0, -1.0),
    "x * y": (lambda x, y: x * y, Y, X),
    "x / y": (lambda x, y: x / y, 1 / Y, -X / Y**2),
    "both": (lambda x, y: x * y / (x + y), Y**2 / (X + Y) ** 2, X**2 / (X + Y) ** 2),
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
}


@pytest.mark.parametrize("name", BINARY)
def test_dual_of_two(name):
    function, by_x, by_y = BINARY[name]
    found = function(Dual(X, {0: 1.0}), Dual(Y, {1: 1.0}))
    assert found.value == pytest.approx(function(X, Y))
    assert found.slopes == {0: pytest.approx(by_x), 1: pytest.approx(by_y)}


@pytest.mark.parametrize("name", UNARY)
def test_dual_of_one(name):
    function, slope = UNARY[name]
    found = function(Dual(X, {3: 1.0}))
    assert found.value == pytest.approx(function(X))
    assert found.slopes == {3: pytest.approx(slope)}


def test_a_constant_has_no_slopes():
    assert (Dual(X) * Dual(Y)).slopes == {}
    assert (Dual(X, {0: 1.0}) * Dual(Y)).slopes == {0: pytest.approx(Y)}


@pytest.mark.parametrize(
    ("equations", "n", "m"), [(nonlinear.one_compartment, 1, 4), (nonlinear.two_compartment, 2, 6)]
)
def test_equations_have_the_slopes_of_finite_differences(equations, n, m):
    rng = np.random.default_rng(1)
    point = rng.uniform(0.5, 2.0, n + m)
    duals = [Dual(value, {k: 1.0}) for k, value in enumerate(point)]
    found = equations(duals[:n], duals[n:])
    for k in range(n + m):
        step = np.zeros(n + m)
        step[k] = 1e-6
        up, down = (np.array(equations(p[:n], p[n:])) for p in (point + step, point - step))
        slopes = [rate.slopes.get(k, 0.0) for rate in found]
        np.testing.assert_allclose(slopes, (up - down) / 2e-6, rtol=1e-7, atol=1e-8)


def test_traced_code_computes_what_the_numbers_do():
    """Every operation of a lane, in W lanes at once, against plain floats."""

    def code(memory):
        x, y = memory[0], memory[W]
        results = [x + y, x - y, x * y, x / y, -x, abs(y), x + 2.0, 2.0 - x, 2.0 / x, x / 2.0,
                   3.0 * x, x.larger(y), y.where_positive(x, y)]  # fmt: skip
        results += nonlinear.two_compartment([x, x + 1.0], [x, x + 2.0, x, x + 3.0, x, x * x])
        for place, value in enumerate(results):
            memory[(2 + place) * W] = value

    operation = traced(code)

    @njit
    def run(buffer):
        operation(buffer)

    rng = np.random.default_rng(2)
    x, y = rng.uniform(0.1, 3.0, W), rng.normal(size=W)
    buffer = np.concatenate([x, y, np.zeros(15 * W)])
    run(buffer)
    expected = [x + y, x - y, x * y, x / y, -x, abs(y), x + 2.0, 2.0 - x, 2.0 / x, x / 2.0,
                3.0 * x, np.maximum(x, y), np.where(y > 0, x, y)]  # fmt: skip
    expected += nonlinear.two_compartment([x, x + 1], [x, x + 2, x, x + 3, x, x * x])
    np.testing.assert_allclose(buffer[2 * W :].reshape(15, W), expected, rtol=1e-14)


def test_the_larger_of_a_number_and_nan_is_nan():
    def code(memory):
        memory[2 * W] = memory[0].larger(memory[W])

    operation = traced(code)

    @njit
    def run(buffer):
        operation(buffer)

    x, y = np.ones(W), np.zeros(W)
    x[0], y[1] = np.nan, np.nan
    buffer = np.concatenate([x, y, np.zeros(W)])
    run(buffer)
    np.testing.assert_array_equal(np.isnan(buffer[2 * W :]), [True, True] + [False] * (W - 2))

"""The coefficients of the Runge-Kutta methods: order conditions, stability, and what they give."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from popk_histories import OneByODE, dose, events, observe, values

from popk.structure import OneCompartment, concentrations
from popk.structure.engine import esdirk, runge_kutta
from popk.structure.engine.compiled import compiled, loop_of
from popk.structure.engine.prepare import prepare


def explicit():
    """Stages, nodes, weights and embedded weights of the explicit method."""
    rows = runge_kutta.STAGES
    matrix = np.zeros((7, 7))
    for i, row in enumerate(rows):
        matrix[i, : len(row)] = row
    weights = matrix[-1]
    return matrix, np.array(runge_kutta.NODES), weights, weights - np.array(runge_kutta.ERRORS)


def implicit():
    """Of the implicit one: all stages but the first have GAMMA on the diagonal."""
    matrix = np.diag([0.0, *[esdirk.GAMMA] * 5])
    for i, row in enumerate(esdirk.STAGES):
        matrix[i, : len(row)] = row
    weights = matrix[-1]
    return matrix, np.array(esdirk.NODES), weights, weights - np.array(esdirk.ERRORS)


def residuals(order, matrix, nodes, weights):
    """By how much each condition of this order (one for each rooted tree) is missed."""
    c, one = nodes, np.ones(len(nodes))
    ac, acc = matrix @ c, matrix @ c**2
    conditions = {
        1: [(one, 1)],
        2: [(c, 2)],
        3: [(c**2, 3), (ac, 6)],
        4: [(c**3, 4), (c * ac, 8), (acc, 12), (matrix @ ac, 24)],
        5: [
            (c**4, 5), (c**2 * ac, 10), (ac**2, 20), (c * acc, 15), (matrix @ c**3, 20),
            (c * (matrix @ ac), 30), (matrix @ (c * ac), 40), (matrix @ acc, 60),
            (matrix @ (matrix @ ac), 120),
        ],
        6: [(c**5, 6)],
    }  # fmt: skip
    return np.array([abs(weights @ value - 1 / wanted) for value, wanted in conditions[order]])


METHODS = [
    pytest.param(explicit(), 5, 4, id="explicit"),
    pytest.param(implicit(), 4, 3, id="implicit"),
]


@pytest.mark.parametrize(("method", "order", "embedded_order"), METHODS)
def test_order_conditions(method, order, embedded_order):
    matrix, nodes, weights, embedded = method
    np.testing.assert_allclose(matrix.sum(axis=1), nodes, atol=1e-14)
    for known, highest in ((weights, order), (embedded, embedded_order)):
        for each in range(1, highest + 1):
            assert residuals(each, matrix, nodes, known).max() < 1e-14
        assert residuals(highest + 1, matrix, nodes, known).max() > 1e-4


@pytest.mark.parametrize(("method", "order", "embedded_order"), METHODS)
def test_what_the_steps_assume(method, order, embedded_order):
    """The last stage is the new value; the estimate leaves out the second stage."""
    matrix, nodes, weights, embedded = method
    assert nodes[0] == 0.0
    assert nodes[-1] == 1.0
    np.testing.assert_array_equal(matrix[0], 0.0)
    assert weights[1] == embedded[1] == 0.0
    assert abs(weights.sum() - 1.0) < 1e-14


def test_the_estimate_of_the_implicit_method_is_that_of_its_tableau():
    *_, weights, embedded = implicit()
    np.testing.assert_allclose(embedded, esdirk.EMBEDDED, atol=1e-15)
    assert weights[-1] == esdirk.GAMMA


def test_the_implicit_method_is_l_stable():
    matrix, _, weights, _ = implicit()

    def growth(z):
        return 1.0 + z * weights @ np.linalg.solve(np.eye(6) - z * matrix, np.ones(6))

    assert abs(growth(-1e8)) < 1e-6
    imaginary = np.abs([growth(1j * y) for y in np.geomspace(1e-2, 1e6, 200)])
    assert imaginary.max() <= 1.0 + 1e-12


@pytest.mark.parametrize("implicit", [False, True])
def test_a_tighter_tolerance_takes_the_error_down(implicit):
    """The error follows the tolerance, as it does where the estimate is of the right order."""
    theta = values(OneCompartment())
    table = events([dose(0, over=0.5), *observe(0.3, 1, 4, 9, 20, 40)])
    exact = concentrations(OneCompartment(), theta, table)
    errors = []
    for tolerance in (1e-5, 1e-7):
        structure = replace(OneByODE(), tolerance=tolerance)
        schedule = prepare(structure, table)
        value, failed = np.zeros(6), np.zeros(1, np.int64)
        loop_of(exact=False)(
            compiled(structure, implicit=implicit).description, theta, schedule.tasks,
            *schedule.arrays, schedule.rounds, *schedule.script, value, np.zeros((0, 2)), False,
            failed,
        )  # fmt: skip
        assert not failed.any()
        errors.append(np.max(np.abs(value / exact - 1.0)))
    assert errors[0] < 1e-4
    assert errors[1] < errors[0] / 20.0

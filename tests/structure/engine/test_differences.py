"""Divided differences of the exponential and what is made of it, against exact arithmetic."""

from __future__ import annotations

from decimal import Decimal, localcontext
from itertools import combinations_with_replacement
from math import factorial

import numpy as np
import pytest

from popk.structure.engine.differences import (
    ZERO,
    Exponential,
    Infusion,
    Inverse,
    Product,
    Repeat,
)

# Modes in descending order, then absorption; nodes that meet, nearly meet and lie far apart.
RATES = [
    (0.9, 0.02, 0.4), (0.9, 0.02, 0.9), (0.3, 0.3 - 1e-9, 0.3 + 1e-7), (40.0, 1e-8, 3.0),
    (1e-9, 1e-12, 5.0), (0.31, 0.3, 0.305), (2.0, 0.1, 1e-9),
]  # fmt: skip


def exact(function, nodes, order=30):
    """A divided difference by many digits: meeting nodes are moved apart by 1e-60."""
    with localcontext() as context:
        context.prec = 400
        points = [Decimal(node) + Decimal(k) * Decimal("1e-60") for k, node in enumerate(nodes)]
        row = [function(point) for point in points]
        for level in range(1, len(points)):
            row = [
                (row[k + 1] - row[k]) / (points[k + level] - points[k]) for k in range(len(row) - 1)
            ]
        return float(row[0] * (-1) ** (len(points) - 1))


def with_nodes(rates):
    """Up to three nodes, of the modes (0, 1) and absorption (2)."""
    found = [nodes for size in (1, 2, 3) for nodes in combinations_with_replacement(range(3), size)]
    return [(nodes, [rates[k] for k in nodes]) for nodes in found]


def close(found, expected, rtol=2e-12):
    assert float(found) == pytest.approx(expected, rel=rtol, abs=1e-290)


@pytest.mark.parametrize("elapsed", [1e-12, 1e-3, 0.5, 4.1, 60.0])
@pytest.mark.parametrize("rates", RATES)
def test_exponential_and_infusion(rates, elapsed):
    decay = Exponential([np.float64(rate) for rate in rates], np.float64(elapsed), 2)
    lasting, t = Infusion(decay), Decimal(elapsed)
    for nodes, points in with_nodes(rates):
        close(decay(*nodes), exact(lambda x: (-x * t).exp(), points))
        close(lasting(*nodes), exact(lambda x: (1 - (-x * t).exp()) / x, points))


def test_nodes_at_zero():
    decay = Exponential([np.float64(0.0), np.float64(0.0)], np.float64(2.0), 2)
    for order, nodes in enumerate([(0,), (0, 1), (0, 0, 1), (ZERO, 0, 1, 1)]):
        close(decay(*nodes), 2.0**order / factorial(order), 1e-14)


@pytest.mark.parametrize("rates", RATES)
def test_inverse_and_product(rates):
    lanes = [np.float64(rate) for rate in rates]
    t = Decimal(str(1.7))
    inverse, decay = Inverse(lanes), Exponential(lanes, np.float64(1.7), 2)
    both = Product(inverse, decay)
    for nodes, points in with_nodes(rates):
        close(inverse(*nodes), exact(lambda x: 1 / x, points))
        close(both(*nodes), exact(lambda x: (-x * t).exp() / x, points))


@pytest.mark.parametrize("rates", [(0.9, 0.2, 0.4), (0.9, 0.3, 0.9), (0.3, 0.3 - 1e-9, 0.3)])
@pytest.mark.parametrize("count", [2, 3, 7, 50, None])
def test_runs_of_doses(rates, count):
    lanes, interval = [np.float64(rate) for rate in rates], 5.0
    once = Exponential(lanes, np.float64(interval), 2)
    whole = None if count is None else Exponential(lanes, np.float64(interval * count), 2)
    run, tau = Repeat(once, whole), Decimal(interval)

    def total(x):
        last = Decimal(0) if count is None else (-x * tau * count).exp()
        return (1 - last) / (1 - (-x * tau).exp())

    for nodes, points in with_nodes(rates):
        close(run(*nodes), exact(total, points), 1e-11)

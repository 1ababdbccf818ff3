"""Spectra of mammillary models and functions of their rate matrices."""

from __future__ import annotations

import numpy as np
import pytest
from popk_histories import Mammillary as Slow
from scipy.linalg import expm

from popk.structure.engine.differences import Infusion
from popk.structure.engine.mammillary import Mammillary, node_sets

POINTS = {
    1: [(1.1, 20.0), (1e-7, 3.0), (300.0, 0.1)],
    2: [(0.2, 3.5, 0.5, 2.5), (4.0, 20.0, 2e-7, 1e-6), (1.0, 10.0, 1e-9, 5.0), (1e-8, 1, 3, 900)],
    3: [(0.2, 3.5, 0.9, 2.0, 0.15, 2.5), (4.0, 20, 1, 5, 1, 5), (2, 4, 1e-9, 3, 1e-7, 1e-3),
        (1e-9, 3, 5, 2, 0.1, 700), (1, 1, 1, 1, 1, 1)],
}  # fmt: skip
CASES = [(n, p, depot) for n, points in POINTS.items() for p in points for depot in (False, True)]
each = pytest.mark.parametrize(("n", "p", "depot"), CASES)


def point(p, depot):
    """Parameters as one lane holds them, and as the slow simulator does."""
    theta = np.array([*p, *([0.7] if depot else [])], dtype=float)
    return [np.float64(x) for x in theta], theta[None]


@each
def test_spectrum(n, p, depot):
    values, theta = point(p, depot)
    spectrum = Mammillary(n, absorption=depot).spectrum(values)
    rates, forward, back = (np.array(x, dtype=float) for x in spectrum[:3])
    assert len(spectrum.exchange) == (2 if n == 2 else 0)
    assert np.all(np.diff(rates) <= 0.0)
    assert np.all(rates >= 0.0)
    np.testing.assert_allclose(back.T @ forward, np.eye(n), atol=1e-13)
    matrix = -Slow(n, depot=depot).matrix(theta)[0, int(depot) :, int(depot) :].real
    found = (forward * rates) @ back.T
    np.testing.assert_allclose(found, matrix, rtol=1e-10, atol=1e-13 * np.abs(matrix).max())
    # The product of the rates is the determinant, however small the smallest is.
    others = [p[2 + 2 * k] / p[3 + 2 * k] for k in range(n - 1)]
    assert np.prod(rates) == pytest.approx(p[0] / p[1] * np.prod(others), rel=1e-9)


@pytest.mark.parametrize("elapsed", [1e-3, 0.7, 25.0])
@each
def test_functions_of_the_matrix(n, p, depot, elapsed):
    values, theta = point(p, depot)
    linear, slow = Mammillary(n, absorption=depot), Slow(n, depot=depot)
    spectrum = linear.spectrum(values)
    decay = linear.exponential(spectrum, values, np.float64(elapsed))
    matrix = slow.matrix(theta)[0].real
    size = slow.size
    whole = np.zeros((2 * size, 2 * size))
    whole[:size, :size], whole[:size, size:] = matrix, np.eye(size)
    whole = expm(whole * elapsed)[:size]
    for function, expected in ((decay, whole[:, :size]), (Infusion(decay), whole[:, size:])):
        found = linear.matrix(function, spectrum, values)
        found = np.array([[0.0 if x is None else float(x) for x in row] for row in found])
        assert np.all(found >= 0.0)
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-11 * np.abs(expected).max())


@each
def test_a_function_is_asked_at_known_nodes_only(n, p, depot):
    """Sums of doses are kept at the nodes of `node_sets`."""
    asked = set()

    class Asked(Infusion):
        def __call__(self, *nodes):
            asked.add(tuple(sorted(nodes)))
            return super().__call__(*nodes)

    values, _ = point(p, depot)
    linear = Mammillary(n, absorption=depot)
    spectrum = linear.spectrum(values)
    function = Asked(linear.exponential(spectrum, values, np.float64(2.0)))
    linear.matrix(function, spectrum, values)
    source = linear.source([np.float64(1.0 + k) for k in range(linear.size)])
    linear.slopes(function, spectrum, values, source)
    assert asked == set(node_sets(n, absorption=depot, gradient=True))

"""Adapted coordinates: the stated Gaussian, and its log determinant."""

from __future__ import annotations

import numpy as np
import pytest

from popk.statistics import NUMPY, adapted_effects

N, M = 4, 5  # subjects, parameters


MIXING = {
    "independent": [[0.4, 0.0, 0.0], [0.0, 0.2, 0.0], [0.0, 0.0, 0.7]],
    "correlated": [[0.4, 0.0, 0.0], [-0.1, 0.2, 0.0], [0.3, 0.5, 0.7]],
    "a block in another order": [[0.3, 0.0, 0.2], [0.0, 0.2, 0.0], [0.0, 0.0, 0.7]],
}


@pytest.fixture(params=MIXING.values(), ids=MIXING)
def setting(request):
    """Effects on parameters 0, 3 with 2, and 1, curvature positive semidefinite, rank 3."""
    rng = np.random.default_rng(1)
    root = rng.standard_normal((N, M, 3)) * [3.0, 1.0, 0.1]
    curvature = root @ root.transpose(0, 2, 1)
    expected = [rng.standard_normal(N) for _ in range(M - 1)] + [0.3]  # the last one a scalar
    return {
        "mixing": request.param,
        "expected": expected,
        "positions": [[0], [3, 2], [1]],
        "curvature": curvature,
        "pull": rng.standard_normal((N, M)),
    }


def stated(setting):
    """Mean (N, 3) and precision (N, 3, 3) of the documented Gaussian, with matrices."""
    b = np.array(setting["mixing"])
    moves = np.zeros((M, 3))
    for k, positions in enumerate(setting["positions"]):
        moves[positions, k] = 1.0
    expected = np.stack(np.broadcast_arrays(*setting["expected"]), axis=1)
    means, precisions = [], []
    for i in range(N):
        block = moves.T @ setting["curvature"][i] @ moves
        precision = np.eye(3) + b.T @ block @ b
        residual = moves.T @ (setting["pull"][i] - setting["curvature"][i] @ expected[i])
        means.append(np.linalg.solve(precision, b.T @ residual))
        precisions.append(precision)
    return np.array(means), np.array(precisions)


def mapped(u, setting):
    expected = np.stack(np.broadcast_arrays(*setting["expected"]), axis=1)
    residual = setting["pull"] - np.einsum("ijk,ik->ij", setting["curvature"], expected)
    z, log_determinant = adapted_effects(
        list(u.T),
        setting["mixing"],
        dict(enumerate(residual.T)),
        positions=setting["positions"],
        curvature=setting["curvature"],
        ops=NUMPY,
    )
    return np.stack(z, axis=1), log_determinant


def test_without_curvature_nothing_changes(setting):
    u = np.random.default_rng(2).standard_normal((N, 3))
    flat = setting | {"curvature": np.zeros((N, M, M)), "pull": np.zeros((N, M))}
    z, log_determinant = mapped(u, flat)
    np.testing.assert_array_equal(z, u)
    np.testing.assert_array_equal(log_determinant, 0.0)


def test_standard_normal_coordinates_become_the_stated_gaussian(setting):
    """The map is affine: its offset is the mean, its slopes a root of the covariance."""
    mean, precision = stated(setting)
    centre, log_determinant = mapped(np.zeros((N, 3)), setting)
    np.testing.assert_allclose(centre, mean, rtol=1e-10, atol=1e-12)
    columns = [mapped(np.tile(unit, (N, 1)), setting)[0] - centre for unit in np.eye(3)]
    jacobian = np.stack(columns, axis=2)  # (subject, effect, coordinate)
    covariance = jacobian @ jacobian.transpose(0, 2, 1)
    np.testing.assert_allclose(covariance @ precision, np.tile(np.eye(3), (N, 1, 1)), atol=1e-10)
    np.testing.assert_allclose(log_determinant, np.linalg.slogdet(jacobian)[1], rtol=1e-10)


def test_the_map_is_affine(setting):
    rng = np.random.default_rng(3)
    a, b = rng.standard_normal((2, N, 3))
    middle = mapped((a + b) / 2, setting)[0]
    np.testing.assert_allclose(middle, (mapped(a, setting)[0] + mapped(b, setting)[0]) / 2)


def test_one_effect(setting):
    one = setting | {"mixing": [[0.5]], "positions": [[3]]}
    z, log_determinant = mapped(np.ones((N, 1)), one)
    a = 1 + 0.25 * setting["curvature"][:, 3, 3]
    np.testing.assert_allclose(log_determinant, -0.5 * np.log(a))
    expected = np.stack(np.broadcast_arrays(*setting["expected"]), axis=1)
    residual = setting["pull"][:, 3] - np.einsum("ij,ij->i", setting["curvature"][:, 3], expected)
    np.testing.assert_allclose(z[:, 0], 0.5 * residual / a + 1 / np.sqrt(a))

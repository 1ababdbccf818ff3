"""Nodes against SciPy's t distribution, against all lattices, and against independent nodes."""

import numpy as np
import pytest
from scipy import stats

from popk.individual.nodes import draw_nodes, lattice, log_density

ONE = stats.t(4, scale=0.9)


def squared_error(points):
    """Worst-case error of a randomly shifted lattice, squared: weights one half, by definition."""
    bernoulli = points**2 - points + 1 / 6
    return np.prod(1 + np.pi**2 * bernoulli, axis=1).mean() - 1


@pytest.mark.parametrize("k", [1, 2, 3, 5])
@pytest.mark.parametrize("n", [2, 16, 30, 128])
def test_lattice_points_are_evenly_spaced_in_every_coordinate(n, k):
    points = lattice(n, k)
    assert points.shape == (n, k)
    np.testing.assert_allclose(np.sort(points, axis=0) * n, np.arange(n)[:, None] + np.zeros(k))
    with pytest.raises(ValueError, match="read-only"):
        points[0, 0] = 0.5


@pytest.mark.parametrize(("n", "k"), [(16, 2), (32, 3), (61, 4), (128, 2)])
def test_the_lattice_is_the_best_of_its_form_and_better_than_chance(n, k):
    generators = [g for g in range(1, n) if np.gcd(g, n) == 1]
    all_errors = [
        squared_error(np.stack([np.arange(n) * pow(g, j, n) % n / n for j in range(k)], axis=1))
        for g in generators
    ]
    found = squared_error(lattice(n, k))
    assert found == pytest.approx(min(all_errors))
    chance = ((1 + np.pi**2 / 6) ** k - 1) / n  # mean over independent points
    assert found < chance / 1.5


def test_a_lattice_of_one_point_or_no_coordinates_is_one():
    assert lattice(1, 3).tolist() == [[0.0, 0.0, 0.0]]
    assert lattice(8, 0).shape == (8, 0)
    nodes = draw_nodes(5, 8, 0, np.random.default_rng(1))
    assert nodes.shape == (5, 8, 0)
    np.testing.assert_array_equal(log_density(nodes), 0.0)


@pytest.mark.parametrize("node", [0, 1, 11])
@pytest.mark.parametrize("coordinate", [0, 2])
def test_every_node_has_the_t_distribution(node, coordinate):
    """Over shifts: 20,000 of them make a deviation of one part in a hundred plain."""
    nodes = draw_nodes(20_000, 12, 3, np.random.default_rng(2))
    assert nodes.shape == (20_000, 12, 3)
    assert stats.kstest(nodes[:, node, coordinate], ONE.cdf).pvalue > 1e-4


def test_one_shift_puts_a_node_into_every_part_of_every_coordinate():
    u = ONE.cdf(draw_nodes(50, 16, 2, np.random.default_rng(3)))
    parts = np.sort(np.floor(16 * u), axis=1)
    np.testing.assert_array_equal(parts, np.broadcast_to(np.arange(16)[:, None], (50, 16, 2)))


def test_nodes_are_the_quantiles_of_the_shifted_lattice():
    u = (lattice(64, 2) + np.random.default_rng(4).random((1, 1, 2))) % 1.0
    nodes = draw_nodes(1, 64, 2, np.random.default_rng(4))
    np.testing.assert_allclose(nodes, ONE.ppf(u), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("shift", [0.0, 1 - 2**-53])
def test_a_node_on_the_face_of_the_cube_is_finite(shift):
    class Edge:
        """A generator whose numbers are the lowest or the highest that there are."""

        def random(self, shape):
            return np.full(shape, shift)

    nodes = draw_nodes(2, 8, 2, Edge())
    assert np.isfinite(nodes).all()
    assert np.isfinite(log_density(nodes)).all()


@pytest.mark.parametrize("k", [1, 2, 5])
def test_the_density_is_a_product_of_ts(k):
    nodes = 3 * np.random.default_rng(5).standard_normal((4, 7, k))
    expected = ONE.logpdf(nodes).sum(axis=-1)
    np.testing.assert_allclose(log_density(nodes), expected, rtol=1e-12)


@pytest.mark.parametrize(("k", "factor"), [(1, 100), (2, 25), (3, 10)])
def test_averages_are_unbiased_and_vary_far_less_than_over_independent_nodes(k, factor):
    """Of the weights of a standard normal, times a quadratic: the integrands here look like it."""
    shifts, each = 4_000, 64

    def values(x):
        weight = np.exp(stats.norm.logpdf(x).sum(axis=-1) - log_density(x))
        return weight * (1 + 0.5 * x[..., 0] + x[..., -1] ** 2)

    rng = np.random.default_rng(6)
    even = values(draw_nodes(shifts, each, k, rng)).mean(axis=1)
    independent = values(ONE.rvs((shifts, each, k), random_state=rng)).mean(axis=1)
    error = even.std() / np.sqrt(shifts)
    assert abs(even.mean() - 2.0) < 4 * error
    assert error < 0.002
    assert even.var() < independent.var() / factor


def test_common_nodes_are_the_same_for_all():
    nodes = draw_nodes(6, 32, 3, np.random.default_rng(7), common=True)
    assert nodes.shape == (6, 32, 3)
    np.testing.assert_array_equal(nodes, np.broadcast_to(nodes[:1], nodes.shape))
    own = draw_nodes(6, 32, 3, np.random.default_rng(7))
    assert len(np.unique(own[:, 0, 0])) == 6

"""Precisions that rounding has made singular still give steps and roots."""

import numpy as np
import pytest

from popk.individual.precisions import root_of, solved


def spread(*sizes):
    """A precision (1, 2, 2) with these sizes along axes that are turned."""
    turn = np.array([[0.6, -0.8], [0.8, 0.6]])
    return (turn @ np.diag(sizes) @ turn.T)[None]


def test_what_is_regular_stays_as_it_is():
    precision, gradient = spread(1.0, 50.0), np.array([[2.0, -3.0]])
    np.testing.assert_array_equal(root_of(precision), np.linalg.cholesky(precision))
    expected = np.linalg.solve(precision, gradient[..., None])[..., 0]
    np.testing.assert_array_equal(solved(precision, gradient), expected)


@pytest.mark.parametrize("size", [1e30, 1e200])
def test_a_direction_lost_to_rounding_is_given_a_little(size):
    lost = np.array([[[size, size], [size, size]]])  # of 1 + size, 1 is lost
    with pytest.raises(np.linalg.LinAlgError):
        np.linalg.cholesky(lost)
    both = np.concatenate([lost, spread(1.0, 50.0)])
    root = root_of(both)
    np.testing.assert_allclose(root[0] @ root[0].T, lost[0], rtol=1e-9)
    np.testing.assert_allclose(root[1] @ root[1].T, both[1], rtol=1e-12)
    step = solved(both, np.array([[size, size], [2.0, -3.0]]))
    np.testing.assert_allclose(step[0].sum(), 1.0, rtol=1e-6)  # the rest is what was lost
    np.testing.assert_allclose(step[1], np.linalg.solve(both[1], [2.0, -3.0]), rtol=1e-12)


def test_what_is_no_number_is_that_of_the_effects_alone():
    both = np.concatenate([np.full((1, 2, 2), np.nan), spread(1.0, 50.0)])
    np.testing.assert_allclose(root_of(np.concatenate([both, np.ones((1, 2, 2))]))[0], np.eye(2))

"""R-hat and ESS of many quantities at a time: to the last digits those of ArviZ."""

import numpy as np
import pytest
from arviz_stats.base import array_stats

from popk.diagnostics.effective import TAILS, chain_figures

N = 40


def series(chains, size):
    """Draws (N, chains, size): autocorrelated more and less, some with ties, some of two values."""
    rng = np.random.default_rng([chains, size])
    noise = rng.standard_normal((N, chains, size))
    correlation = np.linspace(-0.9, 0.99, N)[:, None]
    draws = np.empty_like(noise)
    draws[..., 0] = noise[..., 0]
    for k in range(1, size):
        draws[..., k] = correlation * draws[..., k - 1] + noise[..., k]
    draws[::3] = np.round(2 * draws[::3]) / 2
    draws[::7] = np.where(draws[::7] > 0, 1.0, -1.0)
    draws[5] += 2.0 * np.arange(chains)[:, None]
    draws[:, 0, 0] += 0.5  # nothing is the same everywhere
    return draws


@pytest.mark.parametrize(
    ("chains", "size"), [(4, 300), (1, 101), (2, 51), (4, 4), (3, 7), (2, 10), (4, 5), (2, 6)]
)
def test_they_are_those_of_arviz(chains, size):
    draws = series(chains, size)
    rhat, bulk, tail = chain_figures(draws)
    axes = {"chain_axis": -2, "draw_axis": -1}
    np.testing.assert_allclose(bulk, array_stats.ess(draws, method="bulk", **axes), rtol=1e-9)
    expected = array_stats.ess(draws, method="tail", prob=TAILS, **axes)
    np.testing.assert_allclose(tail, expected, rtol=1e-9)
    if chains == 1:
        assert np.isnan(rhat).all()
    else:
        with np.errstate(divide="ignore", invalid="ignore"):
            expected = array_stats.rhat(draws, **axes)
        np.testing.assert_allclose(rhat, expected, rtol=1e-9)


def test_three_draws_say_nothing():
    assert np.isnan(chain_figures(series(2, 3))).all()


def test_chains_that_stay_where_they_are_have_not_come_together():
    draws = np.repeat(np.arange(4.0), 100).reshape(1, 4, 100)
    rhat, bulk, _ = chain_figures(draws)
    assert rhat[0] > 1e6
    assert bulk[0] == pytest.approx(array_stats.ess(draws[0], method="bulk"))

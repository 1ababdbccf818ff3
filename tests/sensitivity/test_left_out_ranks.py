"""LOO-PIT against integration over a grid. It is in popk.comparison; the grid is shared here."""

import json

import numpy as np
import pytest
from arviz_stats.base import array_stats
from scipy.special import logsumexp

from popk.comparison import loo_pit


@pytest.fixture(scope="module")
def table(grid_fit):
    return loo_pit(grid_fit, seed=4)


def test_each_is_the_probability_of_less_given_all_others(table, on_grid, grids):
    grid, density, below = on_grid
    for name, samples in grids.SAMPLES.items():
        whole = logsumexp(density[name].sum(axis=0) + grid, axis=1)
        rows = np.flatnonzero(table["ID"].values == name)
        for k, row in enumerate(rows):
            others = np.delete(density[name], k, axis=0).sum(axis=0) + grid
            known = logsumexp(others, axis=1)
            smooth, _ = array_stats.psislw(-(known - whole))
            weight = np.exp(smooth - logsumexp(smooth))
            conditional = np.exp(others - known[:, None])
            expected = weight @ (conditional * below[name][k]).sum(axis=1)
            found = float(table["pit"][row])
            if samples[k][1] is None:
                assert 0 < found < expected + 0.01
            else:
                assert found == pytest.approx(expected, abs=0.01)


def test_the_table_is_that_of_a_diagnostic(table, grids):
    n = sum(len(own) for own in grids.SAMPLES.values())
    assert table.sizes["observation"] == n
    assert {"ID", "TIME", "TAD", "CENS", "ROW"} <= set(table.coords)
    assert table["reliable"].isin([0, 1]).all()
    assert 0 <= table.attrs["p_value"] <= 1
    assert table.attrs["verdict"].startswith("LOO-PIT are")
    assert isinstance(json.loads(table.attrs["notes"]), list)


def test_below_the_limit_the_number_depends_on_the_seed_alone(grid_fit, table):
    again = loo_pit(grid_fit, seed=4)
    np.testing.assert_array_equal(again["pit"], table["pit"])

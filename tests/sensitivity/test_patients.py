"""Influence of single patients, against weights made on a grid."""

import json

import numpy as np
import pytest
from arviz_stats.base import array_stats
from scipy.special import logsumexp

from popk.errors import PopkError
from popk.population import PopulationDraws
from popk.sensitivity import influence


@pytest.fixture(scope="module")
def table(grid_fit):
    return influence(grid_fit, seed=3)


def test_draws_are_weighed_by_one_over_the_marginal_likelihood(table, grid_fit, on_grid):
    grid, density, _ = on_grid
    values = PopulationDraws.of(grid_fit).values
    for name, each in density.items():
        whole = logsumexp(each.sum(axis=0) + grid, axis=1)
        smooth, khat = array_stats.psislw(whole)  # takes the negative of the log ratio
        weight = np.exp(smooth - logsumexp(smooth))
        own = table.sel(subject=name)
        assert float(own["khat"]) == pytest.approx(float(khat), abs=0.2)
        for parameter in ("CL", "omega_CL", "sigma_prop"):
            x = values[parameter]
            mean = float(weight @ x)
            assert float(own["mean"].sel(parameter=parameter)) == pytest.approx(mean, rel=1e-3)
            change = (mean - x.mean()) / x.std()
            found = float(own["mean_change"].sel(parameter=parameter))
            assert found == pytest.approx(change, abs=0.02)
            spread = np.sqrt(weight @ (x - mean) ** 2) / x.std()
            assert float(own["sd_ratio"].sel(parameter=parameter)) == pytest.approx(
                spread, abs=0.02
            )


def test_the_table_carries_units_and_says_who_matters(table):
    units = json.loads(table["mean"].attrs["units"])
    assert units["CL"] == "L/d"
    assert units["omega_CL"] == "1"
    strong = np.abs(table["mean_change"].values).max(axis=0) > 0.5
    notes = " ".join(json.loads(table.attrs["notes"]))
    for name, yes in zip(table["parameter"].values, strong, strict=True):
        assert (f"the mean of {name} would move" in notes) == yes


def test_some_parameters_only_and_unknown_ones(grid_fit):
    table = influence(grid_fit, ["CL"], draws=200)
    assert table["parameter"].values.tolist() == ["CL"]
    with pytest.raises(PopkError, match="KA is no estimated population parameter"):
        influence(grid_fit, ["KA"])

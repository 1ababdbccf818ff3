"""The prior predictive: priors, equations, residual error, and nothing of the data."""

import json

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy import stats

from popk.errors import SettingError
from popk.model import ModelError
from popk.prior_prediction import prior_predictive
from popk.regimen import Regimen
from popk.storage import load, save


@pytest.fixture(scope="module")
def model(fits):
    return fits.one_compartment(covariates=True, cv=0.3)


@pytest.fixture(scope="module")
def cohort(fits):
    return fits.dataset(*fits.history("A"), *fits.history("B", weight=90.0))


@pytest.fixture(scope="module")
def tree(model, cohort):
    return prior_predictive(model, cohort, draws=2000, seed=7)


def test_the_prior_group_holds_draws_from_each_prior(tree, model):
    prior = tree["prior"].to_dataset()
    assert list(prior.data_vars) == [p.name for p in model.parameters]
    for parameter in model.parameters:
        assert prior[parameter.name].dims == ("chain", "draw")
        assert prior[parameter.name].attrs["units"] == parameter.unit
        values = prior[parameter.name].values[0]
        assert stats.kstest(values, parameter.prior.exact.cdf).pvalue > 1e-3


def test_predictions_are_the_equations(tree, fits):
    found = tree["prior_predictive"].to_dataset()
    used = found["parameters"].sel(subject="B").values[0]
    mine = found["ID"].values == "B"
    times = found["TIME"].values[mine]
    expected = fits.bolus(times, used[:, :1], used[:, 1:], doses=28.0 * np.arange(4))
    np.testing.assert_allclose(found["IPRED"].values[0][:, mine], expected, rtol=1e-8)


def test_every_draw_is_a_population_with_subjects_of_its_own(tree):
    prior = tree["prior"].to_dataset().isel(chain=0)
    theta = tree["prior_predictive"]["parameters"].isel(chain=0)
    factor = (90.0 / 70.0) ** prior["beta_CL_WT"].values
    eta = {
        "A": np.log(theta.sel(subject="A", parameter="CL") / prior["CL"]).values,
        "B": np.log(theta.sel(subject="B", parameter="CL") / prior["CL"]).values - np.log(factor),
    }
    for values in eta.values():
        standard = values / prior["omega_CL"].values
        assert stats.kstest(standard, "norm").pvalue > 1e-3
    assert abs(np.corrcoef(eta["A"], eta["B"])[0, 1]) < 0.07


def test_dv_has_the_residual_error_of_each_draw(tree):
    found, prior = tree["prior_predictive"].to_dataset(), tree["prior"].to_dataset()
    standard = (found["DV"] / found["IPRED"] - 1) / prior["sigma_prop"]
    values = standard.transpose("observation", "chain", "draw").values[0].ravel()
    assert stats.kstest(values, "norm").pvalue > 1e-3
    assert found["DV"].attrs["units"] == "mg/L"


def test_observed_values_do_not_matter(model, fits, tree):
    other = fits.dataset(*fits.history("A", troughs=(1.0, 90.0)), *fits.history("B", weight=90.0))
    found = prior_predictive(model, other, draws=2000, seed=7)
    for group in ("prior", "prior_predictive"):
        assert found[group].to_dataset().equals(tree[group].to_dataset())


def test_what_it_rests_on_is_carried_and_stored(tree, model, cohort, tmp_path):
    assert tree.attrs["kind"] == "popk prior predictive"
    assert tree.attrs["seed"] == 7
    assert tree.attrs["model_hash"] == model.hash
    assert tree.attrs["predicted_data_hash"] == cohort.fingerprint
    assert json.loads(tree.attrs["units"]) == cohort.units.to_dict()
    back = load(save(tree, tmp_path / "prior.nc"))
    assert back.attrs["model_name"] == "one compartment"
    xr.testing.assert_equal(back["prior"].to_dataset(), tree["prior"].to_dataset())


def test_a_regimen_without_observations(model, cohort):
    weights = pd.DataFrame({"WT": [70.0]}, index=["X"])
    data = Regimen(amount=300.0, interval=28.0).dataset(weights, [7.0, 14.0], units=cohort.units)
    found = prior_predictive(model, data, draws=50, seed=1)["prior_predictive"].to_dataset()
    assert found["DV"].shape == (1, 50, 2)
    assert np.isfinite(found["DV"]).all()


def test_the_seed_decides(model, cohort):
    one, same, other = (prior_predictive(model, cohort, draws=20, seed=s) for s in (1, 1, 2))
    assert one["prior_predictive"].equals(same["prior_predictive"])
    assert not np.any(one["prior"]["CL"].values == other["prior"]["CL"].values)


@pytest.mark.parametrize("draws", [0, -1, 2.5, True, "many"])
def test_a_number_of_draws_that_is_none(model, cohort, draws):
    with pytest.raises(SettingError, match="draws were asked for; give a whole number of 1 or"):
        prior_predictive(model, cohort, draws=draws, seed=1)


def test_other_refusals(model, fits):
    light = fits.dataset(*fits.history("A"))
    with pytest.raises(SettingError, match="The seed is None"):
        prior_predictive(model, light, seed=None)
    bare = Regimen(amount=1.0, interval=1.0).dataset(["A"], [1.0], units=model.units)
    with pytest.raises(ModelError, match="needs the covariate WT"):
        prior_predictive(model, bare, seed=1)

"""Criticism fires by name, and does not where the model is right."""

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from popk.diagnostics import criticise
from popk.diagnostics.criticism import holm
from popk.diagnostics.realised import realised
from popk.diagnostics.replicates import Seen
from popk.errors import PopkError, SettingError
from popk.model import PopModel
from popk.statistics import IIV, Additive, Autocorrelated, Fixed, Proportional
from popk.structure import OneCompartment

TIMES = (1.0, 5.0, 12.0, 20.0, 50.0, 90.0)
SIZE = 36


def fixed(units, *, cl=0.2, v=5.0, omega=0.3, error=None):
    return PopModel(
        OneCompartment(),
        typical={"CL": Fixed(cl), "V": Fixed(v)},
        iiv=IIV({"CL": Fixed(omega), "V": Fixed(0.2)}),
        error=error or Proportional(Fixed(0.15)),
        units=units,
        name="fixed",
    )


def criticised(fits, known, concentrations, model, *, lloq=1e-6, times=TIMES):
    data = fits.after_boluses(times, concentrations, lloq=lloq)
    return criticise(known.posterior_fit(fits, model, data), replicates=400, seed=2)


@pytest.fixture(scope="module")
def right(fits, known):
    y = known.draws(SIZE, np.random.default_rng(21), times=TIMES)
    return criticised(fits, known, y, fixed(fits.UNITS), lloq=1.5)


def test_a_right_model_with_observations_below_the_limit_is_not_flagged(right):
    assert json.loads(right.attrs["flags"]) == []
    assert right["flagged"].sum() == 0
    assert right.attrs["verdict"].startswith(f"None of {right.sizes['check']} checks flags")
    assert {"time after dose", "concentration", "size of the residuals", "two groups of CL"} <= set(
        right["check"].values
    )
    assert set(right["about"].values) == {"structure", "residual error", "variability"}
    assert right["p_adjusted"].attrs["units"] == "1"
    np.testing.assert_allclose(right["p_adjusted"], holm(right["p_value"].values))


def test_what_is_not_flagged_does_not_read_as_if_it_were(right):
    assert all(words.startswith("No more than chance: ") for words in right["seen"].values)
    words = right["seen"].sel(check="two groups of CL").item()
    assert words.startswith("No more than chance: a cut of the patients' CL into two groups expl")
    assert words.endswith("is usual of a single group.")


def test_a_missing_compartment_is_seen_along_the_time_after_dose(fits, known):
    rng = np.random.default_rng(22)
    cl = 0.2 * np.exp(0.3 * rng.standard_normal((SIZE, 1)))
    t = np.array(TIMES)
    # Two exponentials of the same area: a fast one in front of the one-compartment decline.
    y = 60 * (0.5 * np.exp(-0.4 * t) + 0.5 * np.exp(-cl / 8.0 * t))
    y = y * (1 + 0.15 * rng.standard_normal(y.shape))
    found = criticised(fits, known, y, fixed(fits.UNITS, v=6.0, error=Proportional(Fixed(0.3))))
    assert "time after dose" in json.loads(found.attrs["flags"])
    own = found.sel(check="time after dose")
    assert float(own["p_adjusted"]) < 0.01
    assert "above by" in str(own["seen"].values)
    assert "another number of compartments" in str(own["remedy"].values)
    assert "time after dose" in found.attrs["verdict"]


def test_two_groups_of_patients_are_named(fits, known):
    rng = np.random.default_rng(23)
    slow = rng.random((SIZE, 1)) < 0.4
    cl = np.where(slow, 0.1, 0.35) * np.exp(0.12 * rng.standard_normal((SIZE, 1)))
    v = 5.0 * np.exp(0.2 * rng.standard_normal((SIZE, 1)))
    y = 300 / v * np.exp(-cl / v * np.array(TIMES)) * (1 + 0.15 * rng.standard_normal((SIZE, 6)))
    found = criticised(fits, known, np.maximum(y, 0.01), fixed(fits.UNITS, omega=0.65))
    assert json.loads(found.attrs["flags"])[0] == "two groups of CL"
    assert "Subpopulations" in str(found.sel(check="two groups of CL")["remedy"].values)


def test_residuals_that_grow_are_named(fits, known):
    y = known.draws(SIZE, np.random.default_rng(24), times=TIMES)
    model = fixed(fits.UNITS, error=Additive(Fixed(3.5)))
    found = criticised(fits, known, np.maximum(y, 0.01), model)
    assert "size of the residuals" in json.loads(found.attrs["flags"])
    assert "from the lowest to the highest predictions" in str(
        found.sel(check="size of the residuals")["seen"].values
    )


def test_a_covariate_that_the_model_leaves_out_is_named(fits, known):
    rng = np.random.default_rng(25)
    weights = np.round(70 * np.exp(0.35 * rng.standard_normal(SIZE)), 1)
    cl = 0.2 * (weights / 70) ** 1.0 * np.exp(0.15 * rng.standard_normal(SIZE))
    records = []
    for k, weight in enumerate(weights.tolist()):
        y = fits.bolus(np.array(TIMES), cl[k], 5.0) * (1 + 0.15 * rng.standard_normal(len(TIMES)))
        records.append(fits.dose(f"S{k}", 0.0, weight=weight))
        for time, dv in zip(TIMES, np.maximum(y, 1e-3).tolist(), strict=True):
            records.append((*fits.observe(f"S{k}", time, dv)[:9], 1e-6, weight))
    model = fixed(fits.UNITS, omega=0.38)
    fit = known.posterior_fit(fits, model, fits.dataset(*records))
    found = criticise(fit, replicates=400, seed=2)
    assert json.loads(found.attrs["flags"]) == ["covariates"]
    own = found.sel(check="covariates")
    assert "random effects of CL have a correlation of 0." in str(own["seen"].values)
    assert str(own["seen"].values).endswith("with WT.")


def test_realised_residuals_are_normal_scores_of_what_each_draw_predicts(few_fit):
    seen = Seen.of(few_fit)
    found = realised(few_fit, seen, 200, np.random.default_rng(1))
    sigma = few_fit["posterior"]["sigma_prop"].values.reshape(-1, 1)
    z = (seen.dv - found.prediction) / (sigma * found.prediction)
    quantified = seen.status == 0
    expected = np.clip(z[:, quantified], stats.norm.ppf(1e-15), stats.norm.isf(1e-15))
    np.testing.assert_allclose(found.residual[:, quantified], expected, rtol=1e-6, atol=1e-6)
    below = seen.status == 1
    assert below.sum() == 2
    limit = np.maximum(z[:, below], stats.norm.ppf(1e-15))  # what is observed is the limit
    assert (found.residual[:, below] <= limit + 1e-9).all()
    share = stats.norm.cdf(found.residual[:, below]) / stats.norm.cdf(limit)
    inside = z[:, below] > -6
    assert stats.kstest(share[inside], "uniform").pvalue > 1e-3


def test_correlated_residuals_are_judged_by_what_is_new_in_them(fits, known):
    y = known.draws(4, np.random.default_rng(2))
    data = fits.after_boluses(known.TIMES, y, lloq=1e-6)
    error = Autocorrelated(Proportional(Fixed(0.15)), Fixed(20.0))
    model = replace(known.model(fits.UNITS), error=error)
    fit = fits.fit_of(model, data)
    seen = Seen.of(fit)
    found = realised(fit, seen, 10, np.random.default_rng(1))
    z = (seen.dv - found.prediction) / (0.15 * found.prediction)
    rho = 0.5 ** ((50.0 - 20.0) / 20.0)
    np.testing.assert_allclose(found.residual[:, 0], z[:, 0])
    expected = (z[:, 2] - rho * z[:, 1]) / np.sqrt(1 - rho**2)
    np.testing.assert_allclose(found.residual[:, 2], expected)


def test_p_values_are_adjusted_step_by_step():
    np.testing.assert_allclose(holm(np.array([0.04, 0.01, 0.03, 0.9])), [0.09, 0.04, 0.09, 0.9])


def test_settings_that_make_no_sense_are_refused(few_fit, fits, known):
    with pytest.raises(SettingError, match="level is 2"):
        criticise(few_fit, level=2, seed=1)
    data = fits.after_boluses(known.TIMES, known.draws(3, np.random.default_rng(1)), lloq=1e-6)
    with pytest.raises(PopkError, match="needs a posterior of 100 or more"):
        criticise(fits.fit_of(known.model(fits.UNITS), data, draws=10), seed=1)

"""All checks at once, and the smooth line of their drawings."""

import json

import numpy as np
import pytest

from popk.diagnostics import diagnose, npde, trend, vpc
from popk.diagnostics.together import CHECKS
from popk.errors import SettingError
from popk.population import FitError


@pytest.fixture(scope="module")
def fit(fits):
    data = fits.dataset(*fits.history("A"), *fits.history("B", (30.0, 27.0)))
    return fits.fit_of(fits.one_compartment(), data)


def test_each_check_is_what_its_function_gives(fit):
    asked = []
    found = diagnose(fit, seed=3, progress=lambda done, total: asked.append((done, total)))
    # All weigh the same, so that there is no VPC by weight.
    assert set(found.children) == set(CHECKS) - {"vpc_covariate"}
    treatment = vpc(fit, clock="TIME", stratify="TAD", prediction_corrected=True, seed=3)
    assert found["vpc_treatment"].to_dataset().identical(treatment)
    assert found["npde"].to_dataset().identical(npde(fit, seed=3))
    corrected = vpc(fit, prediction_corrected=True, seed=3)
    assert found["pcvpc"].to_dataset().identical(corrected)
    assert (found["identifiability"]["sd_ratio"].values > 0).all()
    assert asked == [(k, len(CHECKS)) for k in range(len(CHECKS) + 1)]
    assert found.attrs["model_hash"] == fit.attrs["model_hash"]
    assert json.loads(found.attrs["left_out"]) == []


def test_only_what_is_wanted(fit):
    assert set(diagnose(fit, seed=1, only=["shrinkage"]).children) == {"shrinkage"}
    with pytest.raises(SettingError, match="only holds smoke; known are residuals, npde"):
        diagnose(fit, seed=1, only=["smoke"])


def test_further_predictive_checks_are_made_where_there_is_something_to_see(fits):
    records = [r for k, n in enumerate("ABC") for r in fits.history(n, weight=60.0 + 10 * k)]
    fit = fits.fit_of(fits.one_compartment(covariates=True), fits.dataset(*records))
    found = diagnose(fit, seed=1, only=["vpc_covariate"])["vpc_covariate"].to_dataset()
    assert found.attrs["stratify"] == "WT"
    assert found.sizes["stratum"] == 3
    single = fits.after_boluses((1.0, 20.0), np.full((4, 2), 30.0), lloq=1.0)
    checks = diagnose(
        fits.fit_of(fits.one_compartment(), single), seed=1, only=["vpc_covariate", "vpc_treatment"]
    )
    assert not checks.children
    assert json.loads(checks.attrs["left_out"]) == json.loads(checks.attrs["notes"]) == []


def test_what_cannot_be_computed_leaves_a_note(fits):
    # Before the first dose the prediction is 0 in every replicate: the sample has no distribution.
    data = fits.dataset(fits.observe("A", 0.0, 20.0), *fits.history("A")[1:])
    fit = fits.fit_of(fits.one_compartment(), data)
    found = diagnose(fit, seed=1, only=["residuals", "vpc"])
    assert set(found.children) == {"vpc"}
    assert json.loads(found.attrs["left_out"]) == ["residuals"]
    (note,) = json.loads(found.attrs["notes"])
    assert note.startswith("Predictions and residuals could not be computed. The repl")


def test_no_fit_and_no_seed_are_refused(fit):
    with pytest.raises(FitError, match="not a fit of popk"):
        diagnose(diagnose(fit, seed=1, only=["shrinkage"]), seed=1)
    with pytest.raises(SettingError, match="seed"):
        diagnose(fit, seed=-1)


def test_the_trend_of_a_line_is_the_line_and_bends_with_a_curve():
    x = np.linspace(-2.0, 3.0, 300)
    at, height = trend(x, 1.5 - 0.5 * x)
    np.testing.assert_allclose(height, 1.5 - 0.5 * at, atol=1e-9)
    rng = np.random.default_rng(1)
    at, height = trend(x, np.sin(x) + rng.normal(0, 0.05, 300))
    assert abs(height[np.abs(at).argmin()]) < 0.15
    assert (np.diff(at) > 0).all()


def test_too_few_places_have_no_trend():
    assert len(trend(np.repeat([1.0, 2.0], 50), np.arange(100.0))[0]) == 0
    x = np.arange(12.0)
    y = np.where(x < 4, np.nan, x)
    assert len(trend(x, y)[0]) == 0

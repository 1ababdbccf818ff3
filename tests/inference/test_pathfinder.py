"""Pathfinder on the marginal posterior, against a grid."""

import numpy as np
import pytest

from popk.diagnostics import verdict_of
from popk.errors import SettingError
from popk.inference import Pathfinder, sample
from popk.inference.marginal.paths import _Path

SHORT = {"draws": 500, "proposals": 800, "cores": 1}


@pytest.fixture(scope="module")
def fit(cohorts, small):
    return sample(cohorts.TWO_UNKNOWN, small[0], Pathfinder(**SHORT), seed=3, progress=False)


def test_resampled_draws_follow_the_posterior(fit, small, assert_posterior):
    assert_posterior(fit, small[1])


def test_the_verdict_says_that_it_is_an_approximation_that_may_be_used(fit):
    verdict = verdict_of(fit)
    assert verdict.kind == "approximation"
    assert verdict.khat < 0.7
    assert verdict.converged, str(verdict)
    assert "along paths to the mode" in str(verdict)


def test_the_elbo_of_every_path_lies_below_the_evidence(fit, small):
    elbo = fit["sample_stats"]["elbo"].values
    assert elbo.shape == (4,)
    assert elbo.max() < small[1][2] + 0.3  # it is an average over few draws
    assert elbo.max() > small[1][2] - 2


def test_a_path_learns_the_curvature_of_a_quadratic():
    precision = np.array([[4.0, 1.0, 0.0], [1.0, 3.0, -0.5], [0.0, -0.5, 2.0]])
    mean = np.array([0.5, -0.3, 0.2])

    def at(x):
        apart = x - mean
        return -0.5 * float(apart @ precision @ apart), -precision @ apart

    x = np.array([2.0, 1.0, -2.0])
    path = _Path(x, *at(x), np.eye(3))
    for _ in range(60):
        trial = path.trial()
        path.take(trial, *at(trial))
    assert path.done
    centre, inverse = path.past[-1]
    np.testing.assert_allclose(centre, mean, atol=0.05)
    np.testing.assert_allclose(inverse, np.linalg.inv(precision), atol=0.1)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"draws": 9}, "Pathfinder was given draws=9; expected a whole number, 10 or more"),
        ({"paths": 0}, "paths=0; expected a whole number, 1 or more"),
        ({"steps": 4}, "steps=4"),
        ({"cores": 0}, "cores=0; expected 1 or more"),
        ({"draws": 500, "proposals": 400}, "proposals=400 for draws=500"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, sentence):
    with pytest.raises(SettingError, match=sentence):
        Pathfinder(**settings)

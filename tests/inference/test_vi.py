"""Variational inference: on a normal density, and a fit against a grid."""

from types import SimpleNamespace

import numpy as np
import pytest

from popk.diagnostics import verdict_of
from popk.errors import SettingError
from popk.inference import VI, sample
from popk.inference.vi import _fitted

PRECISION = np.array([[9.0, 2.0, 0.0], [2.0, 4.0, 1.0], [0.0, 1.0, 1.0]])
MEAN = np.array([1.0, -2.0, 0.5])


def silent(*news, **more):
    del news, more


def normal(x):
    apart = x - MEAN
    return -0.5 * float(apart @ PRECISION @ apart), -PRECISION @ apart


def test_of_a_normal_density_the_mean_is_found_and_the_sds_given_the_rest():
    """The known mean-field optimum: variances are one over the diagonal of the precision."""
    scores = np.random.default_rng(1).standard_normal((400, 3))
    scores = np.concatenate([scores, -scores])
    point = SimpleNamespace(size=3, log_density=normal)
    scale = np.array([0.5, 2.0, 1.0])
    found = _fitted(point, np.zeros(3), scale, scores, silent)
    np.testing.assert_allclose(found.mean, MEAN, atol=0.01)
    np.testing.assert_allclose(found.sd, 1 / np.sqrt(np.diagonal(PRECISION)), rtol=0.12)
    assert found.steps > 3
    assert found.change < 1e-3


def test_a_start_where_the_posterior_is_zero_is_an_error():
    point = SimpleNamespace(size=1, log_density=lambda x: (-np.inf, x))
    with pytest.raises(SettingError, match="zero around the point from which VI starts"):
        _fitted(point, np.zeros(1), np.ones(1), np.ones((2, 1)), silent)


@pytest.mark.slow
def test_a_fit_follows_the_posterior_and_says_what_it_is(cohorts, small, assert_posterior):
    method = VI(draws=500, proposals=2000)
    fit = sample(cohorts.TWO_UNKNOWN, small[0], method, seed=3, progress=False)
    assert_posterior(fit, small[1], factor=6)
    verdict = verdict_of(fit)
    assert verdict.kind == "approximation"
    assert verdict.khat < 0.8
    assert "mean-field normal approximation of the joint posterior" in str(verdict)
    found = fit["sample_stats"].to_dataset()
    evidence = small[1][2]
    assert evidence - 4 < float(found["elbo"]) < evidence
    assert float(found["elbo_change"]) < 1e-3
    assert fit["posterior"]["eta"].dims == ("chain", "draw", "subject", "effect")


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"draws": 9}, "VI was given draws=9; expected a whole number, 10 or more"),
        ({"fixed": 7}, "fixed=7; expected a whole number, 8 or more"),
        ({"chains": 0}, "chains=0"),
        ({"draws": 500, "proposals": 400}, "proposals=400 for draws=500"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, sentence):
    with pytest.raises(SettingError, match=sentence):
        VI(**settings)

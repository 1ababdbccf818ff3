"""Priors from published numbers: what goes in comes out again."""

import math

import numpy as np
import pytest

from popk.errors import SettingError
from popk.statistics import LogNormal, Normal, flattened, from_estimate, from_interval, from_omega


def test_an_estimate_with_its_rse():
    assert from_estimate(0.164, rse=0.12) == LogNormal(0.164, cv=0.12)
    assert from_estimate(0.60, se=0.08, kind="normal") == Normal(0.60, 0.08)
    assert from_estimate(2.0, se=0.5) == LogNormal(2.0, cv=0.25)
    assert from_estimate(-2.0, rse=0.25, kind="normal") == Normal(-2.0, 0.5)
    assert from_estimate(0.0, se=0.1, kind="normal") == Normal(0.0, 0.1)


@pytest.mark.parametrize(
    ("low", "high", "level", "kind"),
    [
        (0.155, 0.173, 0.95, LogNormal),
        (0.11, 1.55, 0.95, LogNormal),
        (0.5, 0.9, 0.9, LogNormal),
        (-0.2, 0.7, 0.95, Normal),
        (0.0, 0.7, 0.8, Normal),
        (1e-200, 1e-199, 0.95, LogNormal),
    ],
)
def test_an_interval_comes_back(low, high, level, kind):
    prior = from_interval(low, high, level=level)
    assert isinstance(prior, kind)
    np.testing.assert_allclose(prior.interval(level), (low, high), rtol=1e-9, atol=1e-12)
    inside = prior.draw(np.random.default_rng(1), 4000)
    assert np.mean((inside > low) & (inside < high)) == pytest.approx(level, abs=0.02)


def test_an_interval_may_be_asked_to_be_normal():
    prior = from_interval(0.44, 0.76, kind="normal")
    assert prior.median == pytest.approx(0.60)
    np.testing.assert_allclose(prior.interval(), (0.44, 0.76))


def test_omega_in_its_three_forms_is_one():
    omega = 0.45
    forms = {"sd": omega, "variance": omega**2, "cv": math.sqrt(math.expm1(omega**2))}
    found = {name: from_omega(rse=0.1, **{name: value}) for name, value in forms.items()}
    for prior in found.values():
        assert prior.median == pytest.approx(omega)
    assert found["sd"].cv == 0.1
    assert found["variance"].cv == 0.05


@pytest.mark.parametrize("form", ["variance", "cv"])
def test_the_rse_of_omega_is_carried_over(form):
    """Against the number given with a small relative change."""
    value, rse = 0.3, 1e-4
    moved = from_omega(rse=0.1, **{form: value * (1 + rse)}).median
    still = from_omega(rse=0.1, **{form: value}).median
    assert from_omega(rse=rse, **{form: value}).cv == pytest.approx(moved / still - 1, rel=1e-3)


def test_flattened_is_the_priors_own():
    assert flattened(Normal(0.0, 1.0), 4) == Normal(0.0, 2.0)
    with pytest.raises(SettingError, match=r"flattened was given 0.2; .* model.flattened"):
        flattened(0.2, 4)
    with pytest.raises(SettingError, match="flattened was given factor='2'; expected a number"):
        flattened(Normal(0.0, 1.0), "2")


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: from_estimate(0.164, rse=12), "an RSE of 12 is 1200 %; for 12 % give rse=0.12"),
        (lambda: from_estimate(0.164, rse=-0.1), "rse=-0.1; a relative standard error is above"),
        (lambda: from_estimate(0.164), "neither was given"),
        (lambda: from_estimate(0.164, rse=0.1, se=0.1), "both were given"),
        (lambda: from_estimate(-0.1, rse=0.1), 'For a coefficient .* add kind="normal"'),
        (lambda: from_estimate(0.0, rse=0.1, kind="normal"), "an RSE says nothing; give se"),
        (lambda: from_estimate(0.1, se=0), "se=0; a standard error is above zero"),
        (lambda: from_estimate("0.1", se=1), "value='0.1'; expected a number"),
        (lambda: from_estimate(math.nan, se=1), "the value nan; expected a number"),
        (lambda: from_estimate(0.1, rse=0.1, kind="log"), "kind='log'; expected \"lognormal\""),
        (lambda: from_interval(2, 1), "was given 2 to 1; expected two numbers, the lower first"),
        (lambda: from_interval(1, 2, level=95), "level of the interval is 95; .*0.95 for 95 %"),
        (lambda: from_interval(0, 2, kind="lognormal"), 'is above zero; use kind="normal"'),
        (lambda: from_interval(1e-200, 1e300), "a cv above 10; check both ends"),
        (lambda: from_omega(rse=0.1), "needs one of cv .*; none was given"),
        (lambda: from_omega(rse=0.1, cv=0.2, sd=0.2), "cv and sd were given"),
        (lambda: from_omega(rse=0.1, cv=26), "a CV of 26 is 2600 %; for 26 % give cv=0.26"),
        (lambda: from_omega(rse=25, cv=0.26), "an RSE of 25 is 2500 %"),
        (lambda: from_omega(rse=0.1, variance=-1), "variance=-1; expected a number above zero"),
    ],
)
def test_what_makes_no_sense_is_a_sentence(make, sentence):
    with pytest.raises(SettingError, match=sentence):
        make()

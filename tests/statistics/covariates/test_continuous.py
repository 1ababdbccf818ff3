"""Effects of measured covariates, against the formulas in plain NumPy."""

from __future__ import annotations

import math

import numpy as np
import pytest

from popk.errors import SettingError
from popk.statistics import (
    NUMPY,
    Exponential,
    Fixed,
    Horseshoe,
    LinearEffect,
    LogNormal,
    Maturation,
    Normal,
    Power,
    Shrunk,
)

WEIGHTS = np.array([3.2, 35.0, 70.0, 140.0])
AGES = np.array([0.5, 20.0, 40.0, 85.0])
KG, YEARS = {"WT": "kg"}, {"AGE": "a"}
SLOPE = Normal(0.0, 0.02)
POWER = Power("CL", "WT", reference=70.0, exponent=Normal(0.6, 0.2))
MATURATION = Maturation("CL", "PMA", tm50=LogNormal(47.7, cv=0.1), hill=LogNormal(3.4, cv=0.1))


def names(effect):
    return [coefficient.name for coefficient in effect.coefficients]


def described(effect, units):
    return [(c.unit, c.meaning) for c in effect.coefficients_in(units)]


@pytest.mark.parametrize("exponent", [0.75, -0.25, 0.0])
def test_a_power(factors, exponent):
    factors.check(POWER, {"WT": WEIGHTS}, {"beta_CL_WT": exponent}, (WEIGHTS / 70) ** exponent)


def test_the_published_factor_of_twice_the_weight():
    """Allometric clearance at 140 kg: 2 ** 0.75 = 1.682."""
    found = POWER.log_factor({"WT": 140.0}, {"beta_CL_WT": 0.75}, NUMPY)
    assert math.exp(found) == pytest.approx(1.682, abs=5e-4)


@pytest.mark.parametrize("slope", [0.01, -0.03, 0.0])
def test_an_exponential(factors, slope):
    effect = Exponential("CL", "AGE", SLOPE, reference=40.0)
    expected = np.exp(slope * (AGES - 40))
    factors.check(effect, {"AGE": AGES}, {"slope_CL_AGE": slope}, expected)


@pytest.mark.parametrize("slope", [0.01, -0.02, 0.0])
def test_a_linear_effect(factors, slope):
    effect = LinearEffect("CL", "AGE", SLOPE, reference=40.0)
    expected = 1 + slope * (AGES - 40)
    assert (expected > 0).all()
    factors.check(effect, {"AGE": AGES}, {"slope_CL_AGE": slope}, expected)


@pytest.mark.parametrize("slope", [0.1, -0.2])
def test_a_linear_factor_that_is_not_above_zero_is_undefined_with_a_slope_of_zero(factors, slope):
    effect = LinearEffect("CL", "AGE", SLOPE, reference=40.0)
    expected = 1 + slope * (AGES - 40)
    assert (expected <= 0).any()
    expected = np.where(expected > 0, expected, np.nan)
    factors.check(effect, {"AGE": AGES}, {"slope_CL_AGE": slope}, expected)
    at_zero = factors.symbolic(effect, {"AGE": [140.0]}, {"slope_CL_AGE": -0.01})
    assert np.isnan(at_zero[0]).all()
    assert at_zero[1] == {"slope_CL_AGE": 0.0}
    assert not effect.always_positive
    assert Exponential("CL", "AGE", SLOPE).always_positive


@pytest.mark.parametrize("hill", [1.0, 3.4, 12.0])
def test_a_maturation(factors, hill):
    age = np.array([25.0, 47.7, 92.0, 2080.0])
    expected = age**hill / (age**hill + 47.7**hill)
    given = {"tm50_CL_PMA": 47.7, "hill_CL_PMA": hill}
    factors.check(MATURATION, {"PMA": age}, given, expected)


def test_a_maturation_is_half_way_at_tm50_and_complete_in_adults():
    given = {"tm50_CL_PMA": 47.7, "hill_CL_PMA": 3.4}
    found = np.exp(MATURATION.log_factor({"PMA": np.array([47.7, 2080.0])}, given, NUMPY))
    np.testing.assert_allclose(found, [0.5, 1.0], atol=1e-5)


def test_a_maturation_does_not_overflow(factors):
    given = {"tm50_CL_PMA": 47.7, "hill_CL_PMA": 400.0}
    log, slopes = factors.symbolic(MATURATION, {"PMA": [1.0, 1e4]}, given)
    np.testing.assert_allclose(log, [-400 * math.log(47.7), 0.0], atol=1e-9)
    assert slopes["hill_CL_PMA"] == pytest.approx(-math.log(47.7))


@pytest.mark.parametrize(
    ("effect", "units", "expected"),
    [
        (POWER, KG, [("1", "exponent of WT/70 kg on {parameter}")]),
        (POWER, {}, [("1", "exponent of WT/70 on {parameter}")]),
        (Power("CL", "WT"), KG, [("1", "exponent of WT/(median) on {parameter}")]),
        (
            Exponential("CL", "AGE", SLOPE, 40.0),
            YEARS,
            [("1/a", "change of log {parameter} per a of AGE, from 40 a")],
        ),
        (
            Exponential("CL", "SCORE", SLOPE, 2.0),
            {"SCORE": "1"},
            [("1", "change of log {parameter} per unit of SCORE, from 2")],
        ),
        (
            LinearEffect("CL", "CRCL", SLOPE, 100.0),
            {"CRCL": "mL/min"},
            [("1/(mL/min)", "relative change of {parameter} per mL/min of CRCL, from 100 mL/min")],
        ),
        (
            MATURATION,
            {"PMA": "wk"},
            [
                ("wk", "PMA at which {parameter} is half mature"),
                ("1", "Hill exponent of the maturation of {parameter} with PMA"),
            ],
        ),
    ],
)
def test_coefficients_are_described_with_units(effect, units, expected):
    assert described(effect, units) == expected


def test_coefficients_are_named_after_parameter_and_covariate_or_by_a_label():
    assert names(POWER) == ["beta_CL_WT"]
    assert names(Power("CL", "WT", 70.0, label="clearances")) == ["beta_clearances"]
    assert names(Exponential("CL", "AGE", SLOPE)) == ["slope_CL_AGE"]
    assert names(LinearEffect("CL", "AGE", SLOPE, label="ageing")) == ["slope_ageing"]
    assert names(MATURATION) == ["tm50_CL_PMA", "hill_CL_PMA"]
    assert POWER.coefficients[0].prior == Normal(0.6, 0.2)
    assert POWER.covariates == ("WT",)


@pytest.mark.parametrize("value", [0.0, -70.0, math.nan])
def test_what_has_no_logarithm_is_at_fault(value):
    assert POWER.fault("WT", value) == "a power of WT needs a value above zero"
    assert POWER.fault("WT", 70.0) is None
    assert MATURATION.fault("PMA", value) == "the maturation with PMA needs a value above zero"
    assert MATURATION.fault("PMA", 40.0) is None


def test_any_number_will_do_for_a_slope():
    for effect in (Exponential("CL", "AGE", SLOPE), LinearEffect("CL", "AGE", SLOPE)):
        assert effect.fault("AGE", -3.0) is None
        assert effect.fault("AGE", math.nan) == "AGE must be a number"


@pytest.mark.parametrize("reference", [0.0, -70.0, math.nan, math.inf, "70", True])
def test_a_reference_must_be_above_zero(reference):
    with pytest.raises(SettingError, match=r"power effect of WT on CL was given reference .*above"):
        Power("CL", "WT", reference=reference)


@pytest.mark.parametrize("kind", [Exponential, LinearEffect])
def test_a_reference_of_a_slope_may_be_any_number(kind):
    assert kind("CL", "AGE", SLOPE, reference=-1.0).reference == -1.0
    assert kind("CL", "AGE", SLOPE, reference=0).uncentred == ()
    with pytest.raises(SettingError, match=r"effect of AGE on CL was given reference nan"):
        kind("CL", "AGE", SLOPE, reference=math.nan)


def test_an_open_reference_is_filled_in_and_a_given_one_is_kept():
    for effect in (Power("CL", "WT"), Exponential("CL", "WT", SLOPE)):
        assert effect.uncentred == ("WT",)
        filled = effect.centred({"WT": 72.0})
        assert (filled.reference, filled.uncentred) == (72.0, ())
    assert POWER.uncentred == ()
    assert POWER.centred({"WT": 72.0}) is POWER


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (
            lambda: Power("CL", "WT", 70.0, exponent=0.75),
            "The power effect of WT on CL was given exponent=0.75; expected a prior; for a known "
            "value write Fixed(0.75).",
        ),
        (
            lambda: Exponential("CL", "AGE", "flat"),
            "The exponential effect of AGE on CL was given slope='flat'; expected a prior.",
        ),
        (
            lambda: Maturation("CL", "PMA", tm50=Normal(47.7, 5.0), hill=Fixed(3.4)),
            "The maturation effect of PMA on CL was given the prior Normal(47.7, 5), which allows "
            "a tm50 of zero or below; use LogNormal.",
        ),
        (
            lambda: Maturation("CL", "PMA", tm50=LogNormal(47.7, cv=0.1), hill=Fixed(-3.4)),
            "The maturation effect of PMA on CL was given the prior Fixed(-3.4), which allows "
            "a hill of zero or below; use LogNormal.",
        ),
        (
            lambda: Power("CL", 70.0),
            "Power was given covariate=70.0; expected a name such as 'WT'.",
        ),
        (
            lambda: Power("", "WT"),
            "Power was given parameter=''; expected a name such as 'CL'.",
        ),
    ],
)
def test_refusals(make, sentence):
    with pytest.raises(SettingError) as refusal:
        make()
    assert str(refusal.value) == sentence


def test_what_must_be_positive_cannot_be_shrunk_towards_zero():
    shrunk = Shrunk(Horseshoe("screen", candidates=3, expected_nonzero=1, scale=0.1))
    assert Power("CL", "WT", 70.0, exponent=shrunk).coefficients[0].prior == shrunk
    with pytest.raises(SettingError, match=r"shrinks towards 0; a factor is shrunk as the coeff"):
        Maturation("CL", "PMA", tm50=shrunk, hill=Fixed(3.4))

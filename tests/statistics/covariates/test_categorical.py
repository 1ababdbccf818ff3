"""Folds: a factor where a covariate is 1, and one for each of several levels."""

from __future__ import annotations

import math

import numpy as np
import pytest

from popk.errors import SettingError
from popk.statistics import Fixed, Fold, Folds, Horseshoe, LogNormal, Normal, Shrunk

FOLD = Fold("CL", "ADA", factor=LogNormal(2.45, cv=0.3))
RACE = Folds("V", "RACE", factors={2: LogNormal(1.0, cv=0.3), 4: Fixed(0.8)}, reference=1)


def test_a_fold_where_the_covariate_is_one(factors):
    factors.check(FOLD, {"ADA": [0.0, 1.0]}, {"fold_CL_ADA": 2.45}, [1.0, 2.45])
    (coefficient,) = FOLD.coefficients
    assert (coefficient.name, coefficient.prior) == ("fold_CL_ADA", LogNormal(2.45, cv=0.3))
    assert coefficient.meaning == "factor on {parameter} where ADA is 1"
    assert Fold("CL", "ADA", Fixed(2.0), label="ada").coefficients[0].name == "fold_ada"


def test_a_factor_for_each_level(factors):
    given = {"fold_V_RACE_2": 1.3, "fold_V_RACE_4": 0.8}
    factors.check(RACE, {"RACE": [1.0, 2.0, 4.0, 2.0]}, given, [1.0, 1.3, 0.8, 1.3])
    assert RACE.levels == (1.0, 2.0, 4.0)
    assert [(c.name, c.prior) for c in RACE.coefficients] == [
        ("fold_V_RACE_2", LogNormal(1.0, cv=0.3)),
        ("fold_V_RACE_4", Fixed(0.8)),
    ]
    assert RACE.coefficients[1].meaning == "factor on {parameter} where RACE is 4 (1 at 1)"


def test_two_levels_are_a_fold(factors):
    both = Folds("CL", "ADA", factors={1: LogNormal(2.45, cv=0.3)}, reference=0)
    value = {"ADA": [0.0, 1.0, 1.0]}
    np.testing.assert_array_equal(
        factors.numpy(both, value, {"fold_CL_ADA_1": 2.45}),
        factors.numpy(FOLD, value, {"fold_CL_ADA": 2.45}),
    )


@pytest.mark.parametrize("value", [2.0, 0.5, -1.0, math.nan])
def test_a_fold_refuses_what_is_not_yes_or_no(value):
    assert FOLD.fault("ADA", value) == "a fold of ADA needs 0 or 1"
    assert FOLD.fault("ADA", 0.0) is None
    assert FOLD.fault("ADA", 1.0) is None


@pytest.mark.parametrize("value", [3.0, 1.5, math.nan])
def test_an_unknown_level_is_at_fault(value):
    assert RACE.fault("RACE", value) == "the effect on V knows the levels 1, 2, 4 of RACE only"
    assert [RACE.fault("RACE", level) for level in (1.0, 2.0, 4.0)] == [None] * 3


@pytest.mark.parametrize("prior", [Normal(1.0, 0.1), Fixed(-1.0), Fixed(0.0)])
def test_a_factor_must_be_above_zero(prior):
    with pytest.raises(SettingError, match=r"fold effect of ADA on CL .*zero or below; use LogNor"):
        Fold("CL", "ADA", factor=prior)
    with pytest.raises(SettingError, match=r"effect of RACE on V was given .* for level 2; "):
        Folds("V", "RACE", factors={2: prior}, reference=1)
    assert Fold("CL", "ADA", factor=Fixed(2.0)).factor == Fixed(2.0)


def test_a_factor_is_shrunk_by_its_logarithm():
    shrunk = Shrunk(Horseshoe("screen", candidates=3, expected_nonzero=1, scale=0.1))
    with pytest.raises(SettingError, match=r"Exponential\('CL', 'SEX', ..., reference=0\)"):
        Fold("CL", "SEX", factor=shrunk)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"factors": {1: LogNormal(1.0, cv=0.3)}},
            "The categorical effect of RACE on V was given the level 1 twice and as the reference.",
        ),
        (
            {"factors": [(2, LogNormal(1.0, cv=0.3)), (2.0, Fixed(1.1))]},
            "The categorical effect of RACE on V was given the level 2 twice.",
        ),
        (
            {"factors": {"black": LogNormal(1.0, cv=0.3)}},
            "The categorical effect of RACE on V was given the level 'black'; expected the numbers "
            "by which the column RACE codes its levels.",
        ),
        (
            {"factors": {}},
            "The categorical effect of RACE on V was given no factors; expected the prior of one "
            "for each level besides the reference.",
        ),
        (
            {"factors": {2: 1.3}},
            "The categorical effect of RACE on V was given 1.3 for level 2; expected a prior of a "
            "factor above zero: LogNormal(median, cv), or Fixed(value).",
        ),
    ],
)
def test_refusals(changes, sentence):
    with pytest.raises(SettingError) as refusal:
        Folds("V", "RACE", **({"factors": {2: Fixed(1.1)}, "reference": 1} | changes))
    assert str(refusal.value) == sentence


def test_they_are_values():
    again = Folds("V", "RACE", factors=RACE.factors, reference=1.0)
    assert again == RACE
    assert hash(again) == hash(RACE)
    assert again != Folds("V", "RACE", factors={2: Fixed(1.1)}, reference=1)

"""A user's own factor, against the same in plain NumPy."""

from __future__ import annotations

import math

import numpy as np
import pytest

from popk.errors import SettingError
from popk.statistics import Coefficient, CustomEffect, Fixed, LogNormal, Normal
from popk.structure.functions import exp, larger, log, power, sqrt, where_positive

CRCL = np.array([20.0, 60.0, 100.0, 150.0])
AGE = np.array([2.0, 18.0, 50.0, 80.0])
PRIORS = {"RENAL": Normal(0.5, 0.2), "AGEING": Normal(0.0, 0.01)}


def renal(x, b):
    return (1 + b.RENAL * (x.CRCL / 100 - 1)) * exp(b.AGEING * (x.AGE - 40))


def effect(factor=renal, covariates=("CRCL", "AGE"), coefficients=None):
    return CustomEffect("CL", covariates, coefficients=coefficients or PRIORS, factor=factor)


def one(factor):
    """An effect of X with the coefficient B."""
    return CustomEffect("CL", "X", coefficients={"B": Normal(0.0, 1.0)}, factor=factor)


def test_two_covariates_and_two_coefficients(factors):
    given = {"RENAL": 0.6, "AGEING": -0.01}
    expected = (1 + 0.6 * (CRCL / 100 - 1)) * np.exp(-0.01 * (AGE - 40))
    factors.check(effect(), {"CRCL": CRCL, "AGE": AGE}, given, expected)
    assert effect().covariates == ("CRCL", "AGE")
    assert [(c.name, c.prior) for c in effect().coefficients] == list(PRIORS.items())
    assert not effect().always_positive


def test_it_says_what_it_computes_with_the_units_of_the_covariates():
    formula = "factor = (1 + (RENAL * ((CRCL / 100) - 1))) * exp(AGEING * (AGE - 40))"
    assert repr(effect()) == f"CustomEffect('CL', {formula})"
    described = effect().coefficients_in({"CRCL": "mL/min", "AGE": "a"})
    assert described[0].meaning == f"in the factor on CL: {formula} (CRCL in mL/min, AGE in a)"
    known = effect(
        coefficients=(
            Coefficient("RENAL", PRIORS["RENAL"], "share of renal clearance"),
            Coefficient("AGEING", PRIORS["AGEING"], "ageing", "1/a"),
        )
    ).coefficients_in({"CRCL": "mL/min", "AGE": "a"})
    assert known[0].meaning.startswith("share of renal clearance, in the factor on CL: factor = ")
    assert known[1].unit == "1/a"


X = np.array([-2.0, 0.0, 0.5, 3.0])


@pytest.mark.parametrize(
    ("factor", "expected"),
    [
        (lambda x, b: exp(b.B * x.X), np.exp(0.7 * X)),
        (lambda x, b: 2 + log(x.X + 3) * b.B, 2 + 0.7 * np.log(X + 3)),
        (lambda x, b: b.B / (1 + x.X**2), 0.7 / (1 + X**2)),
        (lambda x, b: 1 + b.B * -x.X / 4, 1 - 0.7 * X / 4),
        (lambda x, b: 1 + power(x.X, b.B), 1 + np.where(X > 0, np.abs(X), 0.0) ** 0.7),
        (lambda x, b: larger(b.B, x.X), np.maximum(0.7, X)),
        (lambda x, b: where_positive(x.X, 1 + b.B, 1), np.where(X > 0, 1.7, 1.0)),
        (lambda x, b: 1 + b.B + 0 * x.X, np.full(4, 1.7)),
    ],
)
def test_every_operation(factors, factor, expected):
    factors.check(one(factor), {"X": X}, {"B": 0.7}, expected)


@pytest.mark.parametrize(
    ("factor", "expected"),
    [
        (lambda x, b: b.B + log(x.X), [np.nan, np.nan, 0.7 + math.log(0.5), 0.7 + math.log(3.0)]),
        (lambda x, b: b.B + sqrt(x.X), [np.nan, 0.7, 0.7 + math.sqrt(0.5), 0.7 + math.sqrt(3.0)]),
        (lambda x, b: b.B / x.X, [np.nan, np.nan, 1.4, 0.7 / 3]),
        (lambda x, b: b.B * x.X, [np.nan, np.nan, 0.35, 2.1]),
        (
            lambda x, b: 1 + b.B * exp(400 * x.X),
            [1.0, 1.7, np.nan, np.nan],
        ),
        (lambda x, b: b.B + log(x.X - 1) * log(-x.X), [np.nan] * 4),
    ],
)
def test_where_it_is_undefined_or_not_above_zero_the_slope_is_zero(factors, factor, expected):
    factors.check(one(factor), {"X": X}, {"B": 0.7}, expected)


def test_a_branch_that_is_not_taken_need_not_be_defined(factors):
    """Children have no root here, and need none."""
    ageing = one(lambda x, b: where_positive(x.X - 1, 1 + b.B * sqrt(x.X - 1), 1))
    factors.check(ageing, {"X": X}, {"B": 0.7}, [1.0, 1.0, 1.0, 1 + 0.7 * math.sqrt(2.0)])


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (
            lambda: effect(lambda x, b: b.RENAL + b.AGEING * x.SEX),
            r"The factors of CustomEffect on CL use x.SEX, which is not a covariate. The covari"
            r"ates are CRCL, AGE",
        ),
        (
            lambda: effect(lambda x, b: b.SLOPE * x.AGE),
            r"use b.SLOPE, which is not a coefficient. The coefficients are RENAL, AGEING",
        ),
        (lambda: effect(lambda x: 1.0), r"expected a function of two: \(x, b\), the covariates"),
        (lambda: effect(lambda x, b: "1"), r"return something that is not a number. Return the f"),
        (lambda: effect(lambda x, b: 1.0 if x.AGE > 18 else b.RENAL), r"compare values or decide"),
        (lambda: effect(0.5), r"were given as 0.5; expected a function of \(x, b\)"),
        (
            lambda: effect(lambda x, b: b.RENAL * x.CRCL),
            r"The factor of CustomEffect on CL does not use AGE, AGEING. Use or remove it",
        ),
        (
            lambda: effect(coefficients={"RENAL": 0.5, "AGEING": Fixed(0.0)}),
            r"The custom effect of CRCL and AGE on CL was given coefficients=.*expected a prior",
        ),
        (
            lambda: effect(covariates=("AGE", "AGE")),
            r"was given the covariates \('AGE', 'AGE'\); expected one or more different names",
        ),
        (
            lambda: effect(covariates=()),
            r"was given the covariates \(\); expected one or more different names",
        ),
        (
            lambda: effect(coefficients={"a b": Fixed(0.5)}),
            r"was given the coefficients \('a b',\); expected one or more different names",
        ),
    ],
)
def test_refusals(make, sentence):
    with pytest.raises(SettingError, match=sentence):
        make()


def test_equations_that_were_stored_must_fit_the_names():
    stored = effect().factor
    assert effect(stored) == effect()
    with pytest.raises(SettingError, match="equations that use AGE; expected one of the covariat"):
        CustomEffect("CL", "CRCL", coefficients=PRIORS, factor=stored)


def test_it_is_a_value():
    assert effect() == effect()
    assert hash(effect()) == hash(effect())
    assert effect() != effect(lambda x, b: renal(x, b) * 2)
    assert effect() != effect(coefficients=PRIORS | {"RENAL": LogNormal(0.5, cv=0.2)})

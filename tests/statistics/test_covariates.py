"""Covariate effects, variability, and how they meet in a subject's parameters."""

from __future__ import annotations

import math

import numpy as np
import pytest

from popk.errors import SettingError
from popk.statistics import (
    IIV,
    NUMPY,
    Fixed,
    Fold,
    HalfNormal,
    LogNormal,
    Normal,
    Power,
    individual_parameters,
    log_expected,
)

POWER = Power("CL", "WT", reference=70.0, exponent=Normal(0.6, 0.2))
FOLD = Fold("CL", "ADA", factor=LogNormal(2.45, cv=0.3))


def test_a_power_of_weight():
    factor = np.exp(POWER.log_factor(np.array([70.0, 140.0, 35.0]), 0.6, NUMPY))
    np.testing.assert_allclose(factor, [1.0, 2**0.6, 0.5**0.6])
    assert POWER.coefficient == "beta_CL_WT"
    assert POWER.prior == Normal(0.6, 0.2)
    assert POWER.meaning == "exponent of WT/70 on CL"


def test_a_fold_where_the_covariate_is_one():
    factor = np.exp(FOLD.log_factor(np.array([0.0, 1.0]), 2.45, NUMPY))
    np.testing.assert_allclose(factor, [1.0, 2.45])
    assert FOLD.coefficient == "fold_CL_ADA"
    assert FOLD.prior == LogNormal(2.45, cv=0.3)
    assert FOLD.meaning == "factor on CL where ADA is 1"


@pytest.mark.parametrize("value", [0.0, -70.0, math.nan])
def test_a_power_refuses_what_has_no_logarithm(value):
    assert POWER.fault(value) == "a power of WT needs a value above zero"
    assert POWER.fault(70.0) is None


@pytest.mark.parametrize("value", [2.0, 0.5, -1.0, math.nan])
def test_a_fold_refuses_what_is_not_yes_or_no(value):
    assert FOLD.fault(value) == "a fold of ADA needs 0 or 1"
    assert FOLD.fault(0.0) is None
    assert FOLD.fault(1.0) is None


@pytest.mark.parametrize("reference", [0.0, -70.0, math.nan, math.inf])
def test_a_reference_must_be_above_zero(reference):
    with pytest.raises(SettingError, match=r"power effect of WT on CL was given reference .*above"):
        Power("CL", "WT", reference=reference)


@pytest.mark.parametrize("prior", [Normal(1.0, 0.1), Fixed(-1.0), Fixed(0.0)])
def test_a_factor_must_be_above_zero(prior):
    with pytest.raises(SettingError, match=r"fold effect of ADA on CL .*zero or below; use LogNor"):
        Fold("CL", "ADA", factor=prior)
    assert Fold("CL", "ADA", factor=Fixed(2.0)).prior == Fixed(2.0)


def test_parameters_are_typical_times_covariates_times_random_effects():
    population = {"CL": 0.2, "V": 4.0, "beta_CL_WT": 0.6, "fold_CL_ADA": 2.5}
    covariates = {"WT": np.array([70.0, 100.0]), "ADA": np.array([1.0, 0.0])}
    expected = log_expected(
        ("CL", "V"), (POWER, FOLD), population=population, covariates=covariates, ops=NUMPY
    )
    np.testing.assert_allclose(np.exp(expected[0]), [0.5, 0.2 * (100 / 70) ** 0.6])
    assert np.exp(expected[1]) == pytest.approx(4.0)
    cl, v = individual_parameters(expected, {1: np.array([0.1, -0.2])}, NUMPY)
    np.testing.assert_allclose(cl, [0.5, 0.2 * (100 / 70) ** 0.6])
    np.testing.assert_allclose(v, 4.0 * np.exp([0.1, -0.2]))


def test_iiv_is_a_value_in_the_order_given():
    iiv = IIV({"V": HalfNormal(0.3), "CL": HalfNormal(0.4)})
    assert iiv.effects == ("V", "CL")
    assert iiv.omega_name("V") == "omega_V"
    assert iiv == IIV([("V", HalfNormal(0.3)), ("CL", HalfNormal(0.4))])
    assert hash(iiv) == hash(IIV(iiv.omegas))
    assert iiv != IIV({"V": HalfNormal(0.3)})
    assert IIV().effects == ()
    assert repr(iiv) == "IIV({'V': HalfNormal(0.3), 'CL': HalfNormal(0.4)})"

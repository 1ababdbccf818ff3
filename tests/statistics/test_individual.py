"""How typical values, covariate effects and variability meet in a subject's parameters."""

from __future__ import annotations

import numpy as np
import pytest

from popk.statistics import (
    IIV,
    NUMPY,
    Fold,
    HalfNormal,
    LogNormal,
    LogScale,
    Normal,
    Power,
    expected_parameters,
    individual_parameters,
)

POWER = Power("CL", "WT", reference=70.0, exponent=Normal(0.6, 0.2))
FOLD = Fold("CL", "ADA", factor=LogNormal(2.45, cv=0.3))


def test_parameters_are_typical_times_covariates_times_random_effects():
    population = {"CL": 0.2, "V": 4.0, "beta_CL_WT": 0.6, "fold_CL_ADA": 2.5}
    covariates = {"WT": np.array([70.0, 100.0]), "ADA": np.array([1.0, 0.0])}
    scales = {"CL": LogScale(), "V": LogScale()}
    expected = expected_parameters(
        scales, (POWER, FOLD), population=population, covariates=covariates, ops=NUMPY
    )
    np.testing.assert_allclose(np.exp(expected[0]), [0.5, 0.2 * (100 / 70) ** 0.6])
    assert np.exp(expected[1]) == pytest.approx(4.0)
    cl, v = individual_parameters(scales, expected, {1: np.array([0.1, -0.2])}, NUMPY)
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

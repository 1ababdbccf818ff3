"""Allometry: the power effects that it stands for."""

from __future__ import annotations

import pytest

from popk.errors import SettingError
from popk.statistics import Allometry, Fixed, Normal, Power
from popk.structure import (
    FirstOrder,
    OneCompartment,
    ParallelMichaelisMenten,
    Transit,
    TwoCompartment,
)


def exponents(effects):
    return {effect.parameter: effect.exponent for effect in effects}


def test_the_dimension_says_which_exponent():
    structure = TwoCompartment(absorption=FirstOrder(), elimination=ParallelMichaelisMenten())
    effects = Allometry(("CL", "V1", "Q", "V2", "VMAX", "KA")).effects(structure)
    assert exponents(effects) == {
        "CL": Fixed(0.75),
        "V1": Fixed(1.0),
        "Q": Fixed(0.75),
        "V2": Fixed(1.0),
        "VMAX": Fixed(0.75),
        "KA": Fixed(-0.25),
    }
    assert {(e.covariate, e.reference) for e in effects} == {("WT", 70.0)}


def test_times_scale_too():
    (effect,) = Allometry(["MTT"]).effects(OneCompartment(absorption=Transit()))
    assert effect == Power("MTT", "WT", 70.0, Fixed(0.25), "time_WT")


def test_parameters_of_one_kind_share_an_estimated_exponent():
    scaled = Allometry(("CL", "Q", "V1"), "LBM", 55.0, clearance=Normal(0.75, 0.1))
    cl, q, v1 = scaled.effects(TwoCompartment())
    assert cl == Power("CL", "LBM", 55.0, Normal(0.75, 0.1), "clearance_LBM")
    assert q == Power("Q", "LBM", 55.0, Normal(0.75, 0.1), "clearance_LBM")
    assert v1 == Power("V1", "LBM", 55.0, Fixed(1.0), "volume_LBM")


def test_the_reference_may_be_left_to_the_data():
    (effect,) = Allometry(("CL",), reference=None).effects(OneCompartment())
    assert effect.uncentred == ("WT",)


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        (("CL", "V2"), "Allometry names V2, which OneCompartment does not have (it has CL, V, VMA"),
        (("KM",), "Allometry names KM, whose dimension is concentration; it scales clearances"),
    ],
)
def test_parameters_that_cannot_be_scaled(parameters, sentence):
    structure = OneCompartment(elimination=ParallelMichaelisMenten())
    with pytest.raises(SettingError) as refusal:
        Allometry(parameters).effects(structure)
    assert str(refusal.value).startswith(sentence)


@pytest.mark.parametrize("given", ["CL", (), (1,), None])
def test_parameters_are_names(given):
    with pytest.raises(SettingError, match=r"Allometry was given parameters=.*expected the names"):
        Allometry(given)

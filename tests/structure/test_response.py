"""Effects of the concentration, at once or with a delay."""

from __future__ import annotations

import numpy as np
import pytest
from popk_solving import TIMES, bateman, solve

from popk.errors import SettingError
from popk.structure.absorption import FirstOrder
from popk.structure.base import Dosing
from popk.structure.compartments import OneCompartment, TwoCompartment
from popk.structure.response import DirectEffect, EffectCompartment, Emax, SigmoidEmax
from popk.structure.target_mediated import TargetMediated
from popk.units import Units


@pytest.mark.parametrize(
    ("structure", "names"),
    [
        (DirectEffect(OneCompartment(dosing=Dosing(lag=(1,)))), "CL V EMAX EC50 ALAG1"),
        (EffectCompartment(OneCompartment(), SigmoidEmax()), "CL V KE0 EMAX EC50 HILL"),
    ],
)
def test_order_of_parameters(structure, names):
    assert " ".join(structure.names) == names


def test_a_direct_effect_keeps_the_closed_form():
    assert DirectEffect(TwoCompartment(FirstOrder())).closed_form == (2, True)
    assert EffectCompartment(OneCompartment()).closed_form is None


@pytest.mark.parametrize("kind", [DirectEffect, EffectCompartment])
def test_the_effect_has_a_unit_of_its_own(kind):
    def units(structure):
        parts = (*structure.parameters, *structure.outputs)
        return {part.name: Units("d", "mg", "mg/L").of(part.dimension) for part in parts}

    found = units(kind(OneCompartment(), SigmoidEmax(baseline=True), unit="mm[Hg]"))
    assert {found[name] for name in ("effect", "EMAX", "E0")} == {"mm[Hg]"}
    assert (found["EC50"], found["HILL"], found["concentration"]) == ("mg/L", "1", "mg/L")
    assert units(kind(OneCompartment()))["EMAX"] == "1"


def test_direct_effects():
    structure = DirectEffect(OneCompartment(), SigmoidEmax(baseline=True))
    found = solve(structure, {"central": 70.0}, E0=5.0, EMAX=80.0, EC50=4.0, HILL=2.0)
    c = found[:, 0]
    np.testing.assert_allclose(found[:, 1], 5.0 + 80.0 * c**2 / (16.0 + c**2), rtol=1e-9)
    occupancy = solve(DirectEffect(OneCompartment()), {"central": 70.0}, EMAX=1.0, EC50=c[2])
    assert occupancy[2, 1] == pytest.approx(0.5, rel=1e-9)
    assert [output.compartment for output in structure.outputs] == [1, None]


def test_the_driver_of_an_effect():
    pk = TargetMediated()
    total = DirectEffect(pk, Emax())
    free = DirectEffect(pk, Emax(), driver="free_concentration")
    given = {"EMAX": 1.0, "EC50": 2.0}
    for structure, column in ((total, 0), (free, 1)):
        found = solve(structure, {"central": 20.0}, **given)
        np.testing.assert_allclose(found[:, -1], found[:, column] / (2.0 + found[:, column]))


def test_effect_compartment_is_a_bateman_function():
    structure = EffectCompartment(OneCompartment())
    found = solve(structure, {"central": 70.0}, CL=0.7, V=3.5, KE0=0.9, EMAX=1.0, EC50=1.0)
    delayed = 20.0 * bateman(TIMES, 0.9, 0.2)
    np.testing.assert_allclose(found[:, -1], delayed / (1.0 + delayed), atol=1e-8)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: DirectEffect("pk"), "DirectEffect was given pk='pk'; expected a structure"),
        (lambda: DirectEffect(OneCompartment(), "emax"), "response='emax'; expected one such"),
        (
            lambda: DirectEffect(OneCompartment(), driver="free"),
            "driver='free'; expected one of the outputs of OneCompartment: concentration",
        ),
        (
            lambda: DirectEffect(DirectEffect(OneCompartment())),
            "the parameter EC50, EMAX twice",
        ),
        (lambda: Emax(baseline=2), "Emax was given baseline=2; expected True or False"),
        (
            lambda: DirectEffect(OneCompartment(), unit="furlong"),
            "DirectEffect was given unit='furlong'. The unit of an effect is 'furlong', which popk",
        ),
        (lambda: EffectCompartment(OneCompartment(), unit=5), "The unit of an effect is '5'"),
    ],
)
def test_sentences(make, sentence):
    with pytest.raises(SettingError, match=sentence):
        make()

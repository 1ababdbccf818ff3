"""What structures on top of another one hand on from it."""

from __future__ import annotations

import pytest

from popk.structure.absorption import ZeroOrder
from popk.structure.base import Dosing
from popk.structure.compartments import OneCompartment
from popk.structure.indirect import IndirectResponse
from popk.structure.metabolite import ParentMetabolite
from popk.structure.response import DirectEffect, EffectCompartment
from popk.structure.target_mediated import Full, TargetMediated

LAYERS = (DirectEffect, EffectCompartment, IndirectResponse, ParentMetabolite)


@pytest.mark.parametrize("layer", LAYERS)
def test_doses_and_tolerance_are_those_of_the_structure_below(layer):
    pk = OneCompartment(ZeroOrder(), dosing=Dosing(lag=(1,)), tolerance=1e-7)
    structure = layer(pk)
    assert structure.dosing == pk.dosing
    assert structure.zero_order == (1,)
    assert structure.tolerance == 1e-7
    assert not structure.is_stiff


@pytest.mark.parametrize("layer", LAYERS[:3])
def test_stiffness_goes_up(layer):
    structure = layer(TargetMediated(Full()))
    assert structure.is_stiff
    assert structure.tolerance == TargetMediated(Full()).tolerance


def test_deviations_and_what_takes_no_doses():
    tmdd = TargetMediated(Full())
    both = IndirectResponse(DirectEffect(tmdd))
    assert both.deviations == ("target", "response")
    assert both.undosed == ("target", "complex", "response")
    delayed = IndirectResponse(EffectCompartment(OneCompartment()))
    assert delayed.deviations == ("response",)
    assert delayed.undosed == ("effect", "response")
    assert ParentMetabolite().deviations == ParentMetabolite().undosed == ()

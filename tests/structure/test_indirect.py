"""Indirect responses against the equations of the literature."""

from __future__ import annotations

import numpy as np
import pytest
from popk_solving import TIMES, solve
from scipy.integrate import solve_ivp

from popk.errors import SettingError
from popk.structure.compartments import OneCompartment
from popk.structure.elimination import TimeVaryingClearance
from popk.structure.indirect import IndirectResponse
from popk.units import Units

KINDS = ("inhibit production", "inhibit loss", "stimulate production", "stimulate loss")


@pytest.mark.parametrize(
    ("structure", "names"),
    [
        (IndirectResponse(OneCompartment()), "CL V BASE KOUT IMAX IC50"),
    ],
)
def test_order_of_parameters(structure, names):
    assert " ".join(structure.names) == names


def test_the_response_has_a_unit_of_its_own():
    structure = IndirectResponse(OneCompartment(), unit="10*9/L")
    units = Units("d", "mg", "mg/L")
    named = {part.name: part for part in (*structure.parameters, *structure.outputs)}
    assert units.of(named["BASE"].dimension) == units.of(named["response"].dimension) == "10*9/L"
    assert units.of(named["KOUT"].dimension) == "1/d"


@pytest.mark.parametrize("kind", KINDS)
def test_indirect_responses_are_those_of_dayneka(kind):
    kin, kout, top, half, k = 6.0, 0.3, 0.8, 2.5, 0.05

    def rates(t, y):
        c = 30.0 * np.exp(-k * t)
        act = top * c / (half + c)
        production, loss = {
            "inhibit production": (1 - act, 1),
            "inhibit loss": (1, 1 - act),
            "stimulate production": (1 + act, 1),
            "stimulate loss": (1, 1 + act),
        }[kind]
        return kin * production - kout * loss * y

    expected = solve_ivp(rates, (0, 40), [kin / kout], "DOP853", TIMES, rtol=1e-10).y[0]
    names = ("IMAX", "IC50") if kind.startswith("inhibit") else ("SMAX", "SC50")
    given = dict(zip(names, (top, half), strict=True))
    structure = IndirectResponse(OneCompartment(), kind)
    found = solve(structure, {"central": 90.0}, CL=0.15, V=3.0, BASE=kin / kout, KOUT=kout, **given)
    np.testing.assert_allclose(found[:, -1], expected, rtol=1e-7)
    assert found[3, -1] != pytest.approx(kin / kout, rel=0.2)


@pytest.mark.parametrize(
    ("kind", "steady"),
    [
        ("inhibit production", 20.0 * (1 - 0.6)),
        ("inhibit loss", 20.0 / (1 - 0.6)),
        ("stimulate production", 20.0 * (1 + 0.6)),
        ("stimulate loss", 20.0 / (1 + 0.6)),
    ],
)
def test_steady_states_of_indirect_responses(kind, steady):
    largest = "IMAX" if kind.startswith("inhibit") else "SMAX"
    half = largest[0] + "C50"
    given = {"CL": 1e-12, "V": 1.0, "BASE": 20.0, largest: 0.8, half: 1.0}
    found = solve(IndirectResponse(OneCompartment(), kind), {"central": 3.0},
                  np.array([0.0, 300.0]), **given)  # fmt: skip
    np.testing.assert_allclose(found[:, -1], [20.0, steady], rtol=1e-6)


def test_an_inhibition_goes_with_a_clearance_that_changes():
    structure = IndirectResponse(OneCompartment(None, TimeVaryingClearance()))
    assert " ".join(structure.names) == "CL V IMAXCL T50CL GAMMA BASE KOUT IMAX IC50"
    pk = OneCompartment(None, TimeVaryingClearance())
    both, alone = (solve(each, {"central": 90.0}) for each in (structure, pk))
    np.testing.assert_allclose(both[:, 0], alone[:, 0], rtol=1e-8)
    assert both[-1, 1] < 0.9 * both[0, 1]


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: IndirectResponse(OneCompartment(), "inhibit"), "expected one of 'inhibit produc"),
    ],
)
def test_sentences(make, sentence):
    with pytest.raises(SettingError, match=sentence):
        make()

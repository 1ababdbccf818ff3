"""Mammillary structures against closed forms, and what they are made of."""

from __future__ import annotations

from collections import namedtuple

import numpy as np
import pytest
from popk_solving import PRODUCT, TIMES, bateman, solve, solve_amounts, values_of
from scipy.linalg import expm

from popk.errors import SettingError
from popk.structure.absorption import FirstOrder, ParallelFirstOrder, Sequential, Transit, ZeroOrder
from popk.structure.base import Dosing
from popk.structure.compartments import OneCompartment, ThreeCompartment, TwoCompartment
from popk.structure.elimination import (
    DecliningClearance,
    Linear,
    MichaelisMenten,
    ParallelMichaelisMenten,
    TimeVaryingClearance,
)


# The closed forms rely on the order of the parameters.
@pytest.mark.parametrize(
    ("structure", "names"),
    [
        (OneCompartment(), "CL V"),
        (OneCompartment(FirstOrder()), "CL V KA"),
        (TwoCompartment(FirstOrder()), "CL V1 Q V2 KA"),
        (ThreeCompartment(FirstOrder()), "CL V1 Q2 V2 Q3 V3 KA"),
        (OneCompartment(None, MichaelisMenten()), "V VMAX KM"),
        (TwoCompartment(FirstOrder(), ParallelMichaelisMenten()), "CL V1 Q V2 VMAX KM KA"),
        (OneCompartment(Transit(2), TimeVaryingClearance()), "CL V IMAXCL T50CL GAMMA MTT KA"),
        (OneCompartment(ParallelFirstOrder(), DecliningClearance()), "CL V CL0 KDES KA1 KA2 FR1"),
        (OneCompartment(ZeroOrder(), dosing=Dosing(lag=(1,))), "CL V ALAG1 D1"),
        (TwoCompartment(Sequential()), "CL V1 Q V2 KA D1"),
    ],
)
def test_order_of_parameters(structure, names):
    assert " ".join(structure.names) == names


@pytest.mark.parametrize(
    ("structure", "closed_form"),
    [
        (OneCompartment(), (1, False)),
        (TwoCompartment(ZeroOrder()), (2, False)),
        (ThreeCompartment(FirstOrder()), (3, True)),
        (OneCompartment(Sequential()), (1, True)),
        (OneCompartment(Transit()), None),
        (OneCompartment(ParallelFirstOrder()), None),
        (OneCompartment(None, MichaelisMenten()), None),
        (TwoCompartment(None, TimeVaryingClearance()), None),
    ],
)
def test_closed_form(structure, closed_form):
    assert structure.closed_form == closed_form


def test_compartments_and_outputs():
    structure = ThreeCompartment(ParallelFirstOrder())
    expected = ("depot", "central", "peripheral", "peripheral2", "depot2")
    assert structure.compartments == expected
    assert [(output.name, output.compartment) for output in structure.outputs] == [
        ("concentration", 2),
        ("peripheral_concentration", 3),
        ("peripheral2_concentration", 4),
        ("depot_amount", 1),
        ("depot2_amount", 5),
    ]
    chain = OneCompartment(Transit(1))
    assert chain.compartments == ("transit0", "transit1", "depot", "central")
    assert [(o.name, o.compartment) for o in chain.outputs] == [
        ("concentration", 4),
        ("depot_amount", 3),
    ]
    assert structure.deviations == structure.undosed == ()


def test_one_compartment_is_an_exponential():
    found = solve(OneCompartment(), {"central": 100.0}, CL=0.7, V=3.5)
    np.testing.assert_allclose(found[:, 0], 100.0 / 3.5 * np.exp(-0.2 * TIMES), rtol=1e-7)


def test_oral_one_compartment_is_the_bateman_function():
    found = solve(OneCompartment(FirstOrder()), {"depot": 100.0}, CL=0.7, V=3.5, KA=1.1)
    np.testing.assert_allclose(found[:, 0], 100.0 / 3.5 * bateman(TIMES, 1.1, 0.2), atol=1e-8)
    np.testing.assert_allclose(found[:, 1], 100.0 * np.exp(-1.1 * TIMES), atol=1e-8)


def test_two_compartments_are_two_exponentials():
    structure = TwoCompartment()
    cl, v1, q, v2 = 0.2, 3.5, 0.45, 2.8
    k10, k12, k21 = cl / v1, q / v1, q / v2
    total = k10 + k12 + k21
    root = np.sqrt(total**2 - 4 * k10 * k21)
    fast, slow = (total + root) / 2, (total - root) / 2
    share = (fast - k21) / (fast - slow)
    expected = 50.0 / v1 * (share * np.exp(-fast * TIMES) + (1 - share) * np.exp(-slow * TIMES))
    np.testing.assert_allclose(solve(structure, {"central": 50.0})[:, 0], expected, rtol=1e-7)


def test_three_compartments_are_a_matrix_exponential():
    structure = ThreeCompartment(FirstOrder())
    p = values_of(structure)
    matrix = np.zeros((4, 4))
    flows = [(0, 1, p.KA), (1, 2, p.Q2 / p.V1), (2, 1, p.Q2 / p.V2), (1, 3, p.Q3 / p.V1),
             (3, 1, p.Q3 / p.V3)]  # fmt: skip
    for source, sink, rate in flows:
        matrix[sink, source] += rate
        matrix[source, source] -= rate
    matrix[1, 1] -= p.CL / p.V1
    amounts, read = solve_amounts(structure, {"depot": 100.0})
    for t, row, seen in zip(TIMES, amounts, read, strict=True):
        expected = expm(matrix * t) @ [100.0, 0, 0, 0]
        np.testing.assert_allclose(row, expected, atol=1e-7)
        scaled = [expected[1] / p.V1, expected[2] / p.V2, expected[3] / p.V3, expected[0]]
        np.testing.assert_allclose(seen, scaled, atol=1e-7)


@pytest.mark.parametrize("structure", PRODUCT, ids=repr)
def test_no_drug_is_made_or_lost(structure):
    p = values_of(structure, **({"FR1": 1.0} if "FR1" in structure.names else {}))
    a = namedtuple("Amounts", structure.compartments)(
        *np.linspace(1, 3, len(structure.compartments))
    )
    lost = structure.elimination.rate(2.0, structure.concentration(a, p), p)
    blocked = p.KA2 * a.depot2 if "FR1" in structure.names else 0.0  # 1 - FR1 is 0
    assert sum(structure.rates(2.0, a, p)) == pytest.approx(-lost - blocked, rel=1e-12)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: OneCompartment("oral"), "OneCompartment was given absorption='oral'; expected"),
        (lambda: TwoCompartment(None, "linear"), "given elimination='linear'; expected"),
        (lambda: TwoCompartment(Linear()), r"absorption=Linear\(\); expected None or one such"),
        (lambda: TwoCompartment(dosing={"lag": 1}), "given dosing={'lag': 1}; expected Dosing"),
        (
            lambda: TwoCompartment(dosing=Dosing(lag=(4,))),
            r"Dosing\(lag=...\) with compartment 4; its compartments are 1 \(central\), 2 \(peri",
        ),
    ],
)
def test_sentences(make, sentence):
    with pytest.raises(SettingError, match=sentence):
        make()

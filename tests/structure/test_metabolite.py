"""A parent and its metabolite."""

from __future__ import annotations

import numpy as np
import pytest
from popk_solving import TIMES, bateman, solve, solve_amounts

from popk.errors import SettingError
from popk.structure.absorption import FirstOrder
from popk.structure.compartments import OneCompartment, TwoCompartment
from popk.structure.elimination import ParallelMichaelisMenten
from popk.structure.metabolite import ParentMetabolite
from popk.structure.target_mediated import TargetMediated


@pytest.mark.parametrize(
    ("structure", "names"),
    [
        (ParentMetabolite(OneCompartment(FirstOrder())), "CL V KA FM CLM VM"),
    ],
)
def test_order_of_parameters(structure, names):
    assert " ".join(structure.names) == names


def test_metabolite_of_a_bolus():
    found = solve(ParentMetabolite(), {"central": 100.0}, CL=0.7, V=3.5, FM=0.6, CLM=1.8, VM=2.0)
    expected = 0.6 * 100.0 / 2.0 * bateman(TIMES, 0.2, 0.9)
    np.testing.assert_allclose(found[:, -1], expected, atol=1e-8)


def test_what_a_saturable_parent_loses_the_metabolite_gets():
    structure = ParentMetabolite(TwoCompartment(FirstOrder(), ParallelMichaelisMenten()))
    amounts, _ = solve_amounts(structure, {"depot": 100.0}, FM=1.0, CLM=1e-14)
    np.testing.assert_allclose(amounts.sum(axis=1), 100.0, rtol=1e-8)
    assert amounts[-1, -1] > 30.0


def test_the_parent_is_a_mammillary_structure():
    with pytest.raises(SettingError, match="expected the parent as OneCompartment"):
        ParentMetabolite(TargetMediated())

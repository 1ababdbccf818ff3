"""What is compiled for a structure: under which name, and where things are."""

from __future__ import annotations

import numpy as np
import pytest

from popk.structure import Dosing, FirstOrder, MichaelisMenten, OneCompartment, TwoCompartment
from popk.structure.engine.compiled import compiled, dose_columns, is_dynamic, label_of
from popk.structure.engine.plan import EXACT_PARTS, N_PLAN, ODE_PARTS, plan_of
from popk.structure.engine.superposition import N_SLOTS
from popk.structure.engine.vector import W

DOSED = TwoCompartment(FirstOrder(), dosing=Dosing(bioavailability=(2, 1), lag=(1,), rate=(2,)))


def test_labels_tell_structures_apart():
    structures = [
        OneCompartment(), TwoCompartment(), OneCompartment(FirstOrder()), DOSED,
        OneCompartment(elimination=MichaelisMenten()), OneCompartment(dosing=Dosing(lag=(1,))),
    ]  # fmt: skip
    assert len({label_of(structure) for structure in structures}) == len(structures)
    assert label_of(TwoCompartment()) == label_of(TwoCompartment())
    assert all(label_of(structure).isidentifier() for structure in structures)


def test_columns_of_the_properties_of_doses():
    columns = dose_columns(DOSED)
    assert columns.shape == (4, len(DOSED.compartments))
    expected = np.full(columns.shape, -1)
    for kind, compartment, name in (
        (0, 1, "F2"), (0, 0, "F1"), (1, 0, "ALAG1"), (3, 1, "R2")
    ):  # fmt: skip
        expected[kind, compartment] = DOSED.names.index(name)
    np.testing.assert_array_equal(columns, expected)
    assert (dose_columns(TwoCompartment()) == -1).all()
    assert is_dynamic(DOSED)
    assert not is_dynamic(TwoCompartment())


@pytest.mark.parametrize(
    "structure", [DOSED, TwoCompartment(), OneCompartment(elimination=MichaelisMenten())]
)
def test_the_description(structure):
    ready = compiled(structure)
    assert ready is compiled(structure)
    plan = plan_of.py_func(ready.description)
    assert plan.n == len(structure.compartments)
    assert plan.m == len(structure.kinetics)
    assert plan.m_all == len(structure.parameters)
    assert bool(plan.exact) == (structure.closed_form is not None)
    assert bool(plan.dynamic) == is_dynamic(structure)
    start = N_PLAN + 4 * plan.n
    named = EXACT_PARTS if plan.exact else ODE_PARTS
    addresses = ready.description[start : start + len(named)]
    if plan.exact and not plan.dynamic:  # those in lockstep come after another plan
        rest = ready.description[start + len(named) :]
        own = plan_of.py_func(rest)
        assert [own.n, own.m, own.ka] == [plan.n, plan.m, plan.ka]
        assert own.size_of_buffer >= own.slots + N_SLOTS * own.table * W
        addresses = np.concatenate([addresses, rest[N_PLAN:]])
    # An output that follows from several amounts has no parts that read one table alone.
    assert [part.address if part else 0 for part in ready.parts] == addresses.tolist()
    # Where every compartment holds drug there is nothing to resolve apart.
    assert np.count_nonzero(addresses) >= len(named) - (plan.exact == 0)
    places = [plan.p, plan.t, plan.a, plan.r, plan.s, plan.phi, plan.psi]
    sizes = [plan.m, 1, plan.n, plan.n, plan.n * plan.m, plan.n**2, plan.n**2]
    ends = [place + size * W for place, size in zip(places, sizes, strict=True)]
    assert places[1:] == ends[:-1]
    assert ends[-1] <= plan.size_of_buffer

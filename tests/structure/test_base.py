"""What every structure of the library keeps, whatever it is."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from popk_solving import PRODUCT, amounts_of, values_of

from popk.structure import compartments, indirect, metabolite, response, target_mediated
from popk.structure import elimination as eliminations
from popk.structure.compartments import OneCompartment
from popk.structure.elimination import DecliningClearance, TimeVaryingClearance
from popk.structure.metabolite import ParentMetabolite
from popk.structure.response import DirectEffect, EffectCompartment
from popk.units import Units

UNITS = Units("d", "mg", "mg/L")
MODULES = (compartments, target_mediated, response, indirect, metabolite)
EXAMPLES = [structure for module in MODULES for structure in module.examples()]


@pytest.mark.parametrize("structure", EXAMPLES + PRODUCT, ids=repr)
def test_names_counts_and_units(structure):
    p = values_of(structure)
    zero = amounts_of(structure, 0.0, 0.0)
    rates = structure.rates(0.0, zero, p)
    assert len(rates) == len(structure.compartments)
    np.testing.assert_allclose(rates, 0.0, atol=1e-12)  # without drug nothing moves
    outputs = structure.read(0.0, zero, p)
    assert len(outputs) == len(structure.outputs)
    some = amounts_of(structure, 1.0, 2.0)
    for t in (-1.0, 0.0, 3.0):
        assert np.all(np.isfinite(structure.rates(t, some, p)))
        assert np.all(np.isfinite(structure.read(t, some, p)))
    for part in (*structure.parameters, *structure.outputs):
        assert UNITS.of(part.dimension)
        assert part.meaning
    for names in (structure.names, structure.compartments, [o.name for o in structure.outputs]):
        assert len(set(names)) == len(names)
    places = [o.compartment for o in structure.outputs if o.compartment is not None]
    assert len(set(places)) == len(places)
    assert set(places) <= set(range(1, len(structure.compartments) + 1))


@pytest.mark.parametrize("structure", EXAMPLES, ids=repr)
def test_they_are_values(structure):
    again = pickle.loads(pickle.dumps(structure))
    assert again == structure
    assert hash(again) == hash(structure)
    assert again.names == structure.names
    assert sum(other == structure for other in EXAMPLES) == 1


@pytest.mark.parametrize("elimination", eliminations.examples(), ids=repr)
def test_rates_depend_on_the_time_where_the_clearance_does(elimination):
    changes = isinstance(elimination, TimeVaryingClearance | DecliningClearance)
    pk = OneCompartment(elimination=elimination)
    for structure in (pk, DirectEffect(pk), EffectCompartment(pk), ParentMetabolite(pk)):
        assert structure.depends_on_time == changes

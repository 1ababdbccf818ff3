"""What an ODE solver resolves: in units of each compartment, not in those of the dose alone."""

from __future__ import annotations

import numpy as np
import pytest
from popk_histories import dose, events, in_order, observe

from popk.structure import EffectCompartment, IndirectResponse, OneCompartment, Solver
from popk.structure.elimination import ParallelMichaelisMenten

PK = OneCompartment(elimination=ParallelMichaelisMenten())
TIMES = (0.5, 3, 10, 30, 60)
# From the first dose until it has faded; and the steady state of doses far apart.
FADED = in_order(dose(0, over=2), *(r for what in (0, 1) for r in observe(*TIMES, what=what)))
STEADY = in_order(
    dose(0, every=8, ss=1), *(r for what in (0, 1) for r in observe(0, 1, 4, what=what))
)


def solved(structure, records, **given):
    values = {parameter.name: parameter.example for parameter in structure.parameters} | given
    value, _ = Solver(structure, events(records)).run(np.array([list(values.values())]))
    assert np.all(np.isfinite(value))
    return value


@pytest.mark.parametrize("records", [FADED, STEADY], ids=["faded", "steady"])
@pytest.mark.parametrize("structure", [EffectCompartment(PK), IndirectResponse(PK)])
def test_the_unit_of_the_dose_does_not_matter(structure, records):
    """Amounts in ng in place of mg, as data often have them."""
    given = {"CL": 0.6, "V": 14.0, "VMAX": 12.0}
    finer = {name: 1e6 * value for name, value in given.items()}
    doses = [r._replace(amount=1e6 * r.amount, rate=1e6 * r.rate) for r in records]
    np.testing.assert_allclose(
        solved(structure, doses, **finer), solved(structure, records, **given), rtol=1e-9
    )


@pytest.mark.parametrize("records", [FADED, STEADY], ids=["faded", "steady"])
@pytest.mark.parametrize("size", [1e-6, 1e12])
def test_the_unit_of_the_response_does_not_matter(records, size):
    structure = IndirectResponse(PK)
    given = {"CL": 0.6, "V": 14.0, "VMAX": 12.0, "BASE": 20.0}
    found = solved(structure, records, **(given | {"BASE": 20.0 * size}))
    response = np.array([record.what == 1 for record in records if record.kind == 0])
    expected = solved(structure, records, **given) * np.where(response, size, 1.0)
    np.testing.assert_allclose(found, expected, rtol=1e-9)

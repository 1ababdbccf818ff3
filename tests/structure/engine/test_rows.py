"""Several parameter rows of one subject: who moves what, and when."""

from __future__ import annotations

import numpy as np
import pytest
from popk_histories import (
    Mammillary,
    OneByODE,
    TwoByODE,
    assert_follows,
    by_row,
    dose,
    events,
    in_order,
    observe,
    reset,
    switch,
    values,
)

from popk.structure import (
    Dosing,
    FirstOrder,
    OneCompartment,
    Solver,
    ThreeCompartment,
    TwoCompartment,
)

KINDS = [
    pytest.param(OneCompartment(), Mammillary(1), id="1-compartment"),
    pytest.param(TwoCompartment(FirstOrder()), Mammillary(2, depot=True), id="2-compartment oral"),
    pytest.param(ThreeCompartment(), Mammillary(3), id="3-compartment"),
    pytest.param(TwoByODE(FirstOrder()), Mammillary(2, depot=True), id="ODE"),
]
DOSED = Dosing(bioavailability=(1,), lag=(1,), duration=(1,), rate=(1,))
DOSED_KINDS = [
    pytest.param(OneCompartment(dosing=DOSED), id="closed form"),
    pytest.param(OneByODE(dosing=DOSED), id="ODE"),
]
HISTORIES = {
    "during an infusion and between doses": in_order(
        dose(0, over=3, every=12, times=9), *observe(1, 2), switch(2.5, 1), *observe(2.7, 9, 14),
        switch(26, 2), *observe(28, 40), switch(49, 0), *observe(60, 120),
    ),
    "at the time of a dose": in_order(
        dose(0), *observe(5), switch(12, 1), dose(12), *observe(12, 20), dose(24), switch(24, 2),
        *observe(24, 30),
    ),
    "before and after a reset": in_order(
        dose(0, over=3, every=12, times=9), *observe(1), switch(2.5, 1), *observe(9),
        switch(26, 2), reset(26), *observe(27), dose(28), *observe(28, 40), switch(49, 0),
        *observe(60),
    ),
    "a steady state in a later row": in_order(
        dose(0), *observe(1, 2), switch(2.5, 1), dose(2.5, over=14, ss=1, every=12, times=3),
        *observe(2.7, 9, 14), switch(26, 2), dose(26, ss=2, every=10, times=2), *observe(27, 40),
        switch(49, 0), *observe(60, 90),
    ),
    "a row that never holds": [dose(0), *observe(4), switch(6, 2), *observe(9)],
}  # fmt: skip


def tolerances(structure):
    return {"rtol": 3e-7, "slope": 1e-5} if structure.closed_form is None else {}


@pytest.mark.parametrize("name", HISTORIES)
@pytest.mark.parametrize(("structure", "kinetics"), KINDS)
def test_rows(structure, kinetics, name):
    records = HISTORIES[name]
    for into in range(min(2, len(structure.compartments))):
        given = [r._replace(into=into) if r.amount else r for r in records]
        assert_follows(structure, kinetics, values(structure, 3), given, **tolerances(structure))


@pytest.mark.parametrize("kind", [{}, {"over": 3.1}, {"rate": -1}, {"rate": -2}], ids=str)
@pytest.mark.parametrize("structure", DOSED_KINDS)
def test_a_dose_takes_its_properties_from_the_row_of_its_record(structure, kind):
    records = in_order(
        dose(0, every=12, times=9, **kind), *observe(1, 2), switch(2.5, 1),
        dose(2.6, row=2, **kind), dose(4, row=0, over=2), *observe(2.7, 9, 14), switch(26, 2),
        dose(26, 30, ss=2, every=10, times=2, **kind), *observe(28, 40), switch(49, 0),
        *observe(60, 120),
    )  # fmt: skip
    assert_follows(structure, Mammillary(1), values(structure, 3), records, **tolerances(structure))


def test_equal_rows_are_one_row():
    structure = TwoCompartment(FirstOrder())
    records = HISTORIES["during an infusion and between doses"]
    one = values(structure)
    apart = Solver(structure, events(records)).run(np.repeat(one, 3, axis=0))
    plain = [r for r in records if r.row is None]
    together = Solver(structure, events(plain)).run(one)
    np.testing.assert_allclose(apart.value, together.value, rtol=1e-12)
    total = by_row(apart.gradient, 3).sum(axis=1)
    np.testing.assert_allclose(total, together.gradient, rtol=1e-9, atol=1e-12)


def test_subjects_with_different_numbers_of_rows():
    structure = TwoCompartment()
    histories = [*HISTORIES.values(), [dose(0), *observe(3, 9)], [*observe(1)]]
    n_rows = [max(r.row or 0 for r in records) + 1 for records in histories]
    thetas = [values(structure, n) * (1 + 0.1 * k) for k, n in enumerate(n_rows)]
    together = Solver(structure, events(*histories)).run(np.concatenate(thetas))
    alone = [
        Solver(structure, events(records)).run(theta)
        for records, theta in zip(histories, thetas, strict=True)
    ]
    np.testing.assert_allclose(together.value, np.concatenate([a.value for a in alone]), rtol=1e-12)
    slopes = np.concatenate([a.gradient for a in alone])
    np.testing.assert_allclose(together.gradient, slopes, rtol=1e-10, atol=1e-13)

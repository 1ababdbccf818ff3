"""F2 = 1 - F1: against a structure whose F2 is a parameter of its own, with the same value."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from popk_histories import OneByODE, by_row, dose, events, in_order, observe, switch, values

from popk.structure import Dosing, FirstOrder, OneCompartment, Solver, TwoCompartment

DIVIDED = Dosing(bioavailability=1, complement={2: 1}, lag=2, duration=2, rate=2)
APART = Dosing(bioavailability=(1, 2), lag=2, duration=2, rate=2)
KINDS = [
    pytest.param(OneCompartment(FirstOrder(), dosing=DIVIDED), id="closed form"),
    pytest.param(OneByODE(FirstOrder(), dosing=DIVIDED), id="ODE"),
    pytest.param(TwoCompartment(FirstOrder(), dosing=DIVIDED), id="two compartments"),
]
SEEN = observe(0.2, 1, 2, 3.3, 6, 11.9, 13, 25, 60)
DOSES = {
    "bolus": {},
    "infusion": {"over": 3.0},
    "modelled duration": {"rate": -2.0},
    "modelled rate": {"rate": -1.0},
}


def histories(given):
    """Of doses divided between the depot and central."""
    into = {"into": 1, **given}
    return {
        "one": in_order(dose(0), dose(0, **into), *SEEN),
        "runs": in_order(
            dose(0, every=12, times=5), dose(0, every=12, times=5, **into), *SEEN, *observe(59)
        ),
        "a run, seen late": in_order(dose(0, every=4, times=9, **into), *observe(40, 60)),
        "steady state": in_order(
            dose(0, every=12, ss=1, times=2), dose(0, every=12, ss=2, times=2, **into), *SEEN
        ),
        "two rows": in_order(
            dose(0), dose(0, **into), *SEEN[:3], switch(2.5, 1), dose(4, **into), *SEEN[3:]
        ),
    }


def found_and_expected(structure, records, theta):
    """Of both structures; the gradient by F1 of the other is that by F1 less that by F2."""
    whole = replace(structure, dosing=APART)
    first = structure.names.index("F1")
    assert whole.names.index("F2") == first + 1
    apart = np.insert(theta, first + 1, 1.0 - theta[:, first], axis=1)
    table = events(records)
    found, expected = Solver(structure, table).run(theta), Solver(whole, table).run(apart)
    slopes = np.delete(expected.gradient, first + 1, axis=1)
    slopes[:, first] -= expected.gradient[:, first + 1]
    return found, expected.value, slopes


@pytest.mark.parametrize("name", list(histories({})))
@pytest.mark.parametrize("kind", DOSES)
@pytest.mark.parametrize("structure", KINDS)
def test_it_is_what_the_first_leaves(structure, kind, name):
    records = histories(DOSES[kind])[name]
    theta = values(structure, 2 if name == "two rows" else 1)
    theta[1:, structure.names.index("F1")] = 0.65
    found, value, slopes = found_and_expected(structure, records, theta)
    np.testing.assert_allclose(found.value, value, rtol=1e-12)
    scale = np.max(np.abs(slopes), axis=0)
    np.testing.assert_allclose(found.gradient, slopes, rtol=1e-9, atol=1e-11 * scale.max())
    moved = by_row(found.gradient, len(theta))[:, 0, structure.names.index("F1")]
    assert np.all(np.abs(moved[1:]) > 0.0)


@pytest.mark.parametrize("structure", KINDS)
def test_all_of_the_dose_is_given(structure):
    """The area under the concentrations does not depend on F1, and is dose / CL."""
    times = np.linspace(0.0, 400.0, 4001)
    records = in_order(dose(0), dose(0, rate=-2.0, into=1), *observe(*times))
    theta = values(structure)
    found = Solver(structure, events(records)).run(theta)
    area = np.trapezoid(found.value, times)
    assert area == pytest.approx(100.0 / theta[0, 0], rel=2e-3)
    by_f1 = np.trapezoid(found.gradient[:, structure.names.index("F1")], times)
    assert abs(by_f1) < 2e-3 * area


@pytest.mark.parametrize("structure", KINDS)
@pytest.mark.parametrize("kind", DOSES)
def test_at_the_bounds_one_path_takes_all(structure, kind):
    """The other is then empty, but not without its slope."""
    records = histories(DOSES[kind])["runs"]
    place = structure.names.index("F1")
    for bound, inside in ((1.0, 1.0 - 1e-6), (0.0, 1e-6)):
        theta = values(structure)
        theta[:, place] = bound
        near = theta.copy()
        near[:, place] = inside
        solver = Solver(structure, events(records))
        found, close = solver.run(theta), solver.run(near)
        np.testing.assert_allclose(found.value, close.value, rtol=1e-5, atol=1e-5)
        change = (found.value - close.value) / (bound - inside)
        np.testing.assert_allclose(
            found.gradient[:, place], change, rtol=1e-2, atol=1e-3 * np.abs(change).max()
        )


@pytest.mark.parametrize("structure", KINDS)
def test_less_than_nothing_cannot_be_given(structure):
    """Above 1 the outputs are infinite, with a slope of 0; other subjects are as they are."""
    records = histories({})["one"]
    theta = np.repeat(values(structure), 3, axis=0)
    theta[1, structure.names.index("F1")] = 1.0 + 1e-9
    solver = Solver(structure, events(records, records, records))
    found = solver.run(theta)
    value = found.value.reshape(3, -1)
    assert np.all(np.isposinf(value[1]))
    np.testing.assert_array_equal(found.gradient.reshape(3, value.shape[1], -1)[1], 0.0)
    np.testing.assert_allclose(value[0], value[2], rtol=1e-12)
    assert np.isfinite(value[0]).all()


def test_another_structure_has_other_code():
    """What is compiled for one must not be found by the other."""
    from popk.structure.engine.compiled import label_of

    plain = OneCompartment(FirstOrder(), dosing=Dosing(bioavailability=1, lag=2))
    divided = replace(plain, dosing=replace(plain.dosing, complement={2: 1}))
    assert label_of(plain) != label_of(divided)

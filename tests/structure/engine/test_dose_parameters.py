"""Bioavailability, lag, duration and rate as parameters: values and derivatives."""

from __future__ import annotations

import numpy as np
import pytest
from popk_histories import (
    Mammillary,
    OneByODE,
    TwoByODE,
    assert_follows,
    dose,
    events,
    in_order,
    observe,
    reset,
    values,
)

from popk.structure import (
    Dosing,
    FirstOrder,
    OneCompartment,
    Solver,
    ThreeCompartment,
    TwoCompartment,
    concentrations,
)

CENTRAL = Dosing(bioavailability=(1,), lag=(1,), duration=(1,), rate=(1,))
BOTH = Dosing(bioavailability=(1, 2), lag=(1, 2), duration=(1, 2), rate=(1, 2))
KINDS = [
    pytest.param(OneCompartment(dosing=CENTRAL), Mammillary(1), id="1-compartment"),
    pytest.param(TwoCompartment(FirstOrder(), dosing=BOTH), Mammillary(2, depot=True),
                 id="2-compartment oral"),
    pytest.param(ThreeCompartment(FirstOrder(), dosing=BOTH), Mammillary(3, depot=True),
                 id="3-compartment oral"),
    pytest.param(OneByODE(dosing=CENTRAL), Mammillary(1), id="1-compartment ODE"),
    pytest.param(TwoByODE(FirstOrder(), dosing=BOTH), Mammillary(2, depot=True),
                 id="2-compartment oral ODE"),
]  # fmt: skip
DOSES = {
    "bolus": {},
    "infusion at the data's rate": {"over": 3.1},
    "modelled rate": {"rate": -1},
    "modelled duration": {"rate": -2},
}
# Among them times between the lags (0.45, 1.3) and ends of infusions.
TIMES = (0, 0.3, 0.46, 1, 1.29, 1.31, 2, 3.3, 3.51, 3.56, 5, 8, 11.9, 12, 12.1, 12.5, 13.4, 24,
         25, 36.2, 50, 70, 120)  # fmt: skip


def histories(**given):
    """Of one kind of dose into one compartment."""
    into = given["into"]
    return {
        "one": [dose(0, **given), *observe(*TIMES)],
        "a run": in_order(dose(0, every=12, times=7, **given), *observe(*TIMES)),
        "a run, seen late": [dose(0, every=12, times=7, **given), *observe(80, 120)],
        "an overlapping run": in_order(dose(0, every=1.5, times=9, **given), *observe(*TIMES)),
        "steady state": in_order(dose(0, every=12, ss=1, times=4, **given), *observe(*TIMES)),
        "steady state of overlapping doses": in_order(
            dose(0, 10, every=1.7, ss=1, times=4, **given), *observe(*TIMES)
        ),
        "steady state with an interval below the lag": in_order(
            dose(0, 5, every=0.4, ss=1, times=4, **({**given, "over": 1.1} if "over" in given
                                                    else given)), *observe(*TIMES)
        ),
        "steady state on top": in_order(
            dose(0, into=into), *observe(2, 4), dose(7, 50, every=12, ss=2, times=3, **given),
            *observe(*TIMES[11:]),
        ),
        "a reset cancels what is to come": in_order(
            dose(0, every=12, times=9, **given), dose(1, every=5, times=20, **given),
            *observe(24, 25.2), reset(25.2), *observe(25.2, 40), dose(41, **given),
            *observe(42, 50),
        ),
    }  # fmt: skip


@pytest.mark.parametrize("name", list(histories(into=0)))
@pytest.mark.parametrize("kind", DOSES)
@pytest.mark.parametrize(("structure", "kinetics"), KINDS)
def test_doses(structure, kinetics, kind, name):
    far = {} if structure.closed_form else {"rtol": 3e-7, "slope": 1e-5}
    for into in range(min(2, len(structure.compartments))):
        records = histories(into=into, **DOSES[kind])[name]
        assert_follows(structure, kinetics, values(structure), records, **far)


@pytest.mark.parametrize("rate", [12.0, -1.0])
@pytest.mark.parametrize(("structure", "kinetics"), KINDS)
def test_constant_infusions(structure, kinetics, rate):
    far = {} if structure.closed_form else {"rtol": 3e-7, "slope": 1e-5}
    alone = [dose(0, 0, rate=rate, ss=1), *observe(*TIMES)]
    on_top = [dose(0), *observe(1), dose(2, 0, rate=rate, ss=2), *observe(*TIMES[7:])]
    for records in (alone, on_top):
        assert_follows(structure, kinetics, values(structure), records, **far)


@pytest.mark.parametrize("kind", DOSES)
@pytest.mark.parametrize("structure", [x.values[0] for x in KINDS if x.values[0].closed_form])
def test_of_nothing_the_derivative_is_what_a_unit_leaves(structure, kind):
    """Amounts are linear in F; an infusion at a given rate shrinks to a bolus."""
    for into in range(min(2, len(structure.compartments))):
        f = structure.names.index(f"F{into + 1}")
        nothing, unit = values(structure), values(structure)
        nothing[0, f], unit[0, f] = 0.0, 1.0
        for steady in (0, 1, 2):
            given = dose(0, ss=steady, every=12, times=4, into=into, **DOSES[kind])
            value, gradient = Solver(structure, events([given, *observe(*TIMES)])).run(nothing)
            np.testing.assert_array_equal(value, 0.0)
            at_once = given if given.rate in (0.0, -2.0) else given._replace(rate=0.0)
            expected = concentrations(structure, unit, events([at_once, *observe(*TIMES)]))
            np.testing.assert_allclose(gradient[:, f], expected, rtol=1e-12)
            assert np.all(np.delete(gradient, f, axis=1) == 0.0)


@pytest.mark.parametrize("structure", [x.values[0] for x in KINDS])
def test_bioavailability_is_nothing_to_a_constant_infusion(structure):
    theta = values(structure)
    records = events([dose(0, 0, rate=12.0, ss=1), *observe(*TIMES)])
    expected = concentrations(structure, theta, records)
    theta[0, structure.names.index("F1")] = 0.0
    value, gradient = Solver(structure, records).run(theta)
    np.testing.assert_allclose(value, expected, rtol=1e-12)
    np.testing.assert_array_equal(gradient[:, structure.names.index("F1")], 0.0)


def test_bioavailability_of_an_infusion_changes_its_duration():
    structure = OneCompartment(dosing=Dosing(bioavailability=(1,)))
    theta = np.array([[1.1, 14.0, 0.5]])
    times = (1, 1.9, 2, 2.1, 3, 4, 9)
    half = concentrations(structure, theta, events([dose(0, over=4), *observe(*times)]))
    shorter = [dose(0, 50, over=2), *observe(*times)]
    plain = concentrations(OneCompartment(), theta[:, :2], events(shorter))
    np.testing.assert_allclose(half, plain, rtol=1e-13)


def test_a_lag_moves_a_dose():
    structure = TwoCompartment(FirstOrder(), dosing=Dosing(lag=(1,)))
    plain = TwoCompartment(FirstOrder())
    theta = values(structure)
    times = np.array([1.3, 1.5, 4, 30, 60])
    for given in ({}, {"every": 12.0, "times": 4}, {"over": 3.0, "every": 2.0, "times": 6}):
        late = in_order(dose(0, **given), *observe(0, 1, *times))
        early = in_order(dose(0, **given), *observe(*(times - 1.3)))
        found = concentrations(structure, theta, events(late))
        expected = concentrations(plain, theta[:, :-1], events(early))
        # A dose given at once is seen by an observation that stands after it in the record.
        np.testing.assert_allclose(found[2:], expected, rtol=1e-11, atol=1e-15)
        np.testing.assert_array_equal(found[:2], 0.0)


@pytest.mark.parametrize("kind", [OneCompartment, OneByODE])
def test_extreme_properties_are_neither_nan_nor_negative(kind):
    structure = kind(dosing=CENTRAL)
    rng = np.random.default_rng(3)
    records = in_order(
        dose(0, every=12, times=3), dose(1, rate=-1, every=12, ss=1, times=2),
        dose(30, rate=-2, every=9, ss=2), dose(33, over=2), *observe(2, 20, 35, 50, 90),
    )  # fmt: skip
    spread = np.array([1.0, 1.0, 10.0, 10.0, 10.0, 10.0])
    thetas = values(structure) * np.exp(rng.uniform(-1, 1, (200, 6)) * spread)
    solver = Solver(structure, events(records))
    found = solver.ensemble(thetas[:, None, :], with_gradient=True)
    assert not np.isnan(found.value).any()
    assert np.all(found.value >= 0.0)
    assert np.all(np.isfinite(found.gradient[np.isfinite(found.value)]))

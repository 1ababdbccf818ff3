"""Steady states against long trains of doses: SS 1 and 2, of every kind of dose."""

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
    values,
)

from popk.structure import (
    FirstOrder,
    MichaelisMenten,
    OneCompartment,
    ParallelMichaelisMenten,
    ThreeCompartment,
    TwoCompartment,
    concentrations,
    concentrations_with_gradient,
)

KINDS = [
    pytest.param(OneCompartment(), Mammillary(1), id="1-compartment"),
    pytest.param(TwoCompartment(FirstOrder()), Mammillary(2, depot=True), id="2-compartment oral"),
    pytest.param(
        ThreeCompartment(FirstOrder()), Mammillary(3, depot=True), id="3-compartment oral"
    ),
    pytest.param(OneByODE(), Mammillary(1), id="1-compartment ODE"),
    pytest.param(TwoByODE(FirstOrder()), Mammillary(2, depot=True), id="2-compartment oral ODE"),
]
TIMES = (0, 1, 2, 3.3, 5, 7, 11.9, 12, 12.1, 13, 24, 31, 36.2, 50, 70)
HISTORIES = {
    "bolus": [dose(0, every=12, ss=1), *observe(*TIMES)],
    "bolus, and more": in_order(dose(0, every=12, ss=1, times=4), *observe(*TIMES)),
    "infusion": [dose(0, over=3, every=12, ss=1), *observe(*TIMES)],
    "infusion longer than two intervals": [dose(0, over=31, every=12, ss=1), *observe(*TIMES)],
    "infusion as long as the interval": [dose(0, over=12, every=12, ss=1), *observe(*TIMES)],
    "constant infusion": [dose(0, 0, rate=10, ss=1), *observe(*TIMES)],
    "constant infusion on top": [
        dose(0), *observe(1), dose(2, 0, rate=10, ss=2), *observe(*TIMES[3:])
    ],
    "bolus on top": in_order(
        dose(0), dose(3, over=5, every=9, times=5), *observe(2, 4), dose(7, 50, every=12, ss=2),
        *observe(*TIMES[5:]),
    ),
    "on top of a running infusion and one to come": in_order(
        dose(0), dose(3, over=5, every=9, times=5), *observe(2, 4),
        dose(7, 50, over=17, every=12, ss=2, times=3), *observe(*TIMES[5:]),
    ),
    "in place of a running infusion and one to come": in_order(
        dose(0, over=30, every=9, times=5), *observe(2, 4),
        dose(7, 50, over=5, every=12, ss=1, times=3), *observe(*TIMES[5:]),
    ),
    "unequal doses twice a day": in_order(
        dose(0, 50, every=24, ss=1, times=3), dose(8, 70, every=24, ss=2, times=3),
        *observe(1, 8, 9, 20, 25, 40, 60, 100),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", HISTORIES)
@pytest.mark.parametrize(("structure", "kinetics"), KINDS)
def test_linear_steady_states(structure, kinetics, name):
    far = {} if structure.closed_form else {"rtol": 3e-7, "slope": 1e-5}
    for into in range(min(2, len(structure.compartments))):
        records = [r._replace(into=into) if r.kind == 1 else r for r in HISTORIES[name]]
        assert_follows(structure, kinetics, values(structure), records, **far)


SATURABLE = [
    pytest.param(OneCompartment(elimination=MichaelisMenten()), [5.0, 30.0, 2.0], id="MM"),
    pytest.param(
        TwoCompartment(elimination=ParallelMichaelisMenten()),
        [0.3, 3.5, 0.9, 2.8, 20.0, 0.9],
        id="parallel MM",
    ),
]


@pytest.mark.parametrize("over", [0.0, 3.0, 31.0])
@pytest.mark.parametrize(("structure", "theta"), SATURABLE)
def test_saturable_steady_state_is_that_of_a_long_train(structure, theta, over):
    doses, every = 120, 12.0
    theta = np.array([theta])
    after = in_order(dose(0, over=over, every=every, ss=1, times=2), *observe(1, 5, 12, 13, 40))
    train = in_order(
        dose(-doses * every, over=over, every=every, times=doses + 2), *observe(1, 5, 12, 13, 40)
    )
    value, gradient = concentrations_with_gradient(structure, theta, events(after))
    expected, slopes = concentrations_with_gradient(structure, theta, events(train))
    np.testing.assert_allclose(value, expected, rtol=2e-4)
    scale = np.abs(slopes) + 0.05 * expected[:, None] / theta
    np.testing.assert_array_less(np.abs(gradient - slopes) / scale, 5e-3)


@pytest.mark.parametrize(("structure", "theta"), SATURABLE)
def test_saturable_steady_state_on_top_is_a_sum(structure, theta):
    """SS 2 adds the amounts of the steady state by itself to those that are there."""
    theta = np.array([theta])
    here = concentrations(structure, theta, events([dose(0, over=4), *observe(6)]))
    by_itself = concentrations(structure, theta, events([dose(6, 70, every=9, ss=1), *observe(6)]))
    both = in_order(dose(0, over=4), dose(6, 70, every=9, ss=2), *observe(6))
    found = concentrations(structure, theta, events(both))
    np.testing.assert_allclose(found, here + by_itself, rtol=1e-4)


def test_no_steady_state_is_no_number_that_looks_like_one():
    """More than Michaelis-Menten elimination can remove: there is no steady state."""
    structure = OneCompartment(elimination=MichaelisMenten())
    records = events([dose(0, 100, every=12, ss=1), *observe(1)])
    value, gradient = concentrations_with_gradient(structure, np.array([[5.0, 2.0, 1.0]]), records)
    assert value == np.inf
    assert not gradient.any()

"""The tolerance of a structure: what can be one, and what it does."""

from __future__ import annotations

import math

import numpy as np
import pytest
from popk_histories import dose, events, observe
from scipy.integrate import solve_ivp

from popk.errors import SettingError
from popk.structure import (
    MichaelisMenten,
    OneCompartment,
    ParentMetabolite,
    Solver,
    TargetMediated,
    TwoCompartment,
)

TIMES = np.array([0.3, 1.0, 4.0, 13.0, 24.0, 40.0])


@pytest.mark.parametrize("kind", [OneCompartment, TwoCompartment, TargetMediated])
@pytest.mark.parametrize("given", [0.0, -1e-5, 9e-13, 0.011, math.nan, True, "1e-5", 1])
def test_what_is_no_tolerance_is_refused(kind, given):
    with pytest.raises(SettingError) as refusal:
        kind(tolerance=given)
    assert str(refusal.value) == (
        f"{kind.__name__} was given tolerance={given!r}; expected a number from 1e-12 to 0.01, the "
        "relative error that the ODE solver may make in an amount in one step."
    )


def test_it_is_given_by_name_and_kept_as_a_number():
    structure = OneCompartment(tolerance=np.float32(1e-3))
    assert type(structure.tolerance) is float
    assert OneCompartment().tolerance == 1e-5
    assert OneCompartment(tolerance=1e-5) == OneCompartment()
    with pytest.raises(TypeError):
        OneCompartment(None, MichaelisMenten(), OneCompartment().dosing, 1e-5)


def error_at(structure, expected, theta):
    found = Solver(structure, events([dose(0.0, 100.0), *observe(*TIMES)])).run(
        theta, with_gradient=False
    )
    return np.max(np.abs(found.value / expected - 1.0))


def test_a_tighter_one_comes_closer():
    v1, q, v2, vmax, km = theta = np.array([3.5, 0.45, 2.8, 3.0, 1.0])

    def rates(_, a):
        c, tissue = a[0] / v1, a[1] / v2
        return [-vmax * c / (km + c) - q * (c - tissue), q * (c - tissue)]

    expected = solve_ivp(rates, (0, 40), [100.0, 0.0], "DOP853", TIMES, rtol=1e-12, atol=1e-12)
    concentration = expected.y[0] / v1
    errors = [
        error_at(TwoCompartment(elimination=MichaelisMenten(), **given), concentration, theta[None])
        for given in ({}, {"tolerance": 1e-9})
    ]
    assert 1e-8 < errors[0] < 2e-5
    assert errors[1] < errors[0] / 100


def test_it_does_nothing_to_a_closed_form():
    records = events([dose(0.0, 100.0), *observe(*TIMES)])
    theta = np.array([[0.2, 3.5]])
    found = [Solver(OneCompartment(tolerance=t), records).run(theta) for t in (1e-2, 1e-12)]
    np.testing.assert_array_equal(found[0].value, found[1].value)
    np.testing.assert_array_equal(found[0].gradient, found[1].gradient)


def test_what_is_on_top_takes_it_from_below():
    theta = np.array([[3.5, 3.0, 1.0, 0.7, 0.3, 2.0]])

    def solved(tolerance):
        parent = OneCompartment(elimination=MichaelisMenten(), tolerance=tolerance)
        table = events([dose(0.0, 100.0), *observe(*TIMES, what=1)])
        return Solver(ParentMetabolite(parent), table).run(theta, with_gradient=False).value

    loose, tight, tighter = solved(1e-2), solved(1e-8), solved(1e-9)
    assert np.max(np.abs(tight / tighter - 1.0)) < 1e-6
    assert np.max(np.abs(loose / tighter - 1.0)) > 1e-5

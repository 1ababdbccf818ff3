"""The JAX route gives what the compiled solver gives, derivatives included."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from popk.errors import SettingError
from popk.structure import (
    DirectEffect,
    Dosing,
    Events,
    FirstOrder,
    MichaelisMenten,
    OneCompartment,
    SigmoidEmax,
    Solver,
    ThreeCompartment,
    TwoCompartment,
    jax_outputs,
)
from popk.structure.events import DOSE, OBSERVE, RESET, ROW

jax.config.update("jax_enable_x64", True)

STRUCTURES = (
    OneCompartment(),
    TwoCompartment(),
    OneCompartment(absorption=FirstOrder()),
    # XLA takes up to two minutes to compile their derivatives.
    pytest.param(TwoCompartment(absorption=FirstOrder()), marks=pytest.mark.slow),
    pytest.param(ThreeCompartment(absorption=FirstOrder()), marks=pytest.mark.slow),
    DirectEffect(TwoCompartment(), SigmoidEmax(baseline=True)),
)


def cohort(central: int, n_outputs: int = 1) -> Events:
    """A run of boluses; infusions, a reset and a steady state; and a subject with two rows.

    Every output is observed, at every time of observation.
    """

    def seen(*times: float, row: int = 0) -> list[tuple[float, ...]]:
        return [
            (time, OBSERVE, 0.0, 0.0, 0.0, 0, 0, 0, row, what)
            for time in times
            for what in range(n_outputs)
        ]

    subjects = [
        [(0.0, DOSE, 300.0, 0.0, 28.0, 0, 12, 0, 0, 0), *seen(*(28.0 * k for k in range(1, 8)))],
        [
            (0.0, DOSE, 300.0, 7200.0, 28.0, central, 3, 0, 0, 0),
            *seen(0.02, 60.0),
            (61.0, RESET, 0.0, 0.0, 0.0, 0, 0, 0, 0, 0),
            (61.0, DOSE, 100.0, 50.0, 7.0, central, 3, 1, 0, 0),
            *seen(63.0, 90.0),
        ],
        [
            (0.0, DOSE, 300.0, 0.0, 0.0, 0, 1, 0, 0, 0),
            *seen(3.0),
            (3.0, ROW, 0.0, 0.0, 0.0, 0, 0, 0, 1, 0),
            (8.0, DOSE, 20.0, 0.0, 3.0, 0, 1, 2, 1, 0),
            *seen(9.0, row=1),
        ],
    ]
    first, rows, number, code, slot = [0], [0], [], [], 0
    for records in subjects:
        for (
            time,
            kind,
            amount,
            rate,
            interval,
            compartment,
            repeats,
            steady,
            place,
            what,
        ) in records:
            number.append((time, amount, rate, interval))
            observed = kind == OBSERVE
            code.append((kind, compartment, repeats, steady, place, slot if observed else -1, what))
            slot += observed
        first.append(len(number))
        rows.append(rows[-1] + 1 + max(record[8] for record in records))
    return Events(np.array(first), np.array(rows), np.array(number), np.array(code))


def by_theta(solver: Solver, theta: np.ndarray) -> np.ndarray:
    """The compiled solver's derivatives, (n_outputs, n_rows, n_parameters)."""
    found = solver.run(theta)
    schedule = solver.schedule
    whole = np.zeros((len(found.value), *theta.shape))
    for k, (output, row) in enumerate(zip(schedule.output_of, schedule.row_of, strict=True)):
        whole[output, row] += found.gradient[k]
    return whole


@pytest.mark.parametrize("structure", STRUCTURES, ids=repr)
def test_values_and_derivatives_are_the_compiled_solver_s(structure):
    _, depot = structure.closed_form
    events = cohort(central=int(depot), n_outputs=len(structure.outputs))
    rng = np.random.default_rng(1)
    example = np.array([parameter.example for parameter in structure.kinetics])
    theta = example * np.exp(rng.normal(0.0, 0.2, (4, len(example))))
    solver = Solver(structure, events)
    expected = solver.run(theta).value
    outputs = jax_outputs(structure, events)
    function = jax.jit(outputs)
    np.testing.assert_allclose(np.asarray(function(theta)), expected, rtol=1e-12)
    slopes = by_theta(solver, theta)
    np.testing.assert_allclose(
        np.asarray(jax.jacrev(function)(theta)),
        slopes,
        rtol=1e-9,
        atol=1e-10 * np.abs(slopes).max(),
    )
    draws = np.stack([theta, 1.1 * theta])
    np.testing.assert_allclose(
        np.asarray(jax.vmap(function)(draws)), solver.ensemble(draws).value, rtol=1e-12
    )


def test_rates_that_meet_have_derivatives():
    """With KA = CL / V the amount is KA t exp(-KA t)."""
    structure = OneCompartment(absorption=FirstOrder())
    events = cohort(central=1)
    theta = np.tile([0.2, 4.0, 0.05], (4, 1))
    outputs = jax_outputs(structure, events)
    solver = Solver(structure, events)
    np.testing.assert_allclose(np.asarray(outputs(theta)), solver.run(theta).value, rtol=1e-12)
    expected = by_theta(solver, theta)
    jacobian = np.asarray(jax.jacrev(outputs)(theta))
    np.testing.assert_allclose(jacobian, expected, rtol=1e-9, atol=1e-10 * np.abs(expected).max())
    # The third subject's first observation follows one dose alone.
    c = np.asarray(outputs(theta))
    assert c[11] == pytest.approx(300.0 * 0.05 * 3.0 * np.exp(-0.05 * 3.0) / 4.0, rel=1e-12)
    # By KA and by CL/V, which it is symmetric in, the derivative is the same, and known.
    slope = 300.0 / 4.0 * 3.0 * np.exp(-0.15) * (1.0 - 0.05 * 3.0 / 2.0)
    assert jacobian[11, 2, 2] == pytest.approx(slope, rel=1e-9)


@pytest.mark.parametrize(
    ("structure", "says"),
    [
        (OneCompartment(elimination=MichaelisMenten()), "has no closed form"),
        (OneCompartment(dosing=Dosing(lag=(1,))), "have parameters .ALAG1."),
    ],
)
def test_other_structures_are_refused(structure, says):
    with pytest.raises(SettingError, match=says):
        jax_outputs(structure, cohort(central=0))


def test_single_precision_is_refused():
    jax.config.update("jax_enable_x64", False)
    try:
        with pytest.raises(SettingError, match="jax_enable_x64"):
            jax_outputs(OneCompartment(), cohort(central=0))
    finally:
        jax.config.update("jax_enable_x64", True)


def test_parameters_may_come_from_numpy_and_must_have_the_right_shape():
    structure, events = OneCompartment(), cohort(0)
    theta = np.array([[0.2, 3.0], [0.1, 5.0], [0.3, 4.0], [0.4, 4.0]])
    outputs = jax_outputs(structure, events)
    found = Solver(structure, events).run(theta).value
    np.testing.assert_allclose(np.asarray(outputs(theta)), found, rtol=1e-12)
    for shape in ((1, 2), (5, 2), (4, 3), (8,)):
        with pytest.raises(SettingError, match=r"expected \(4, 2\).*4 parameter rows.* CL, V"):
            outputs(np.ones(shape))

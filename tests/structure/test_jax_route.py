"""The JAX route gives what the compiled solver gives, derivatives included."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from popk.errors import SettingError
from popk.structure import (
    Dosing,
    Events,
    FirstOrder,
    MichaelisMenten,
    OneCompartment,
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
    ThreeCompartment(absorption=FirstOrder()),
)


def cohort(central: int) -> Events:
    """A run of boluses; infusions, a reset and a steady state; and a subject with two rows."""
    subjects = [
        [(0.0, DOSE, 300.0, 0.0, 28.0, 0, 12, 0, 0)]
        + [(28.0 * k, OBSERVE, 0.0, 0.0, 0.0, 0, 0, 0, 0) for k in range(1, 8)],
        [
            (0.0, DOSE, 300.0, 7200.0, 28.0, central, 3, 0, 0),
            (0.02, OBSERVE, 0.0, 0.0, 0.0, 0, 0, 0, 0),
            (60.0, OBSERVE, 0.0, 0.0, 0.0, 0, 0, 0, 0),
            (61.0, RESET, 0.0, 0.0, 0.0, 0, 0, 0, 0),
            (61.0, DOSE, 100.0, 50.0, 7.0, central, 3, 1, 0),
            (63.0, OBSERVE, 0.0, 0.0, 0.0, 0, 0, 0, 0),
            (90.0, OBSERVE, 0.0, 0.0, 0.0, 0, 0, 0, 0),
        ],
        [
            (0.0, DOSE, 300.0, 0.0, 0.0, 0, 1, 0, 0),
            (3.0, OBSERVE, 0.0, 0.0, 0.0, 0, 0, 0, 0),
            (3.0, ROW, 0.0, 0.0, 0.0, 0, 0, 0, 1),
            (8.0, DOSE, 20.0, 0.0, 3.0, 0, 1, 2, 1),
            (9.0, OBSERVE, 0.0, 0.0, 0.0, 0, 0, 0, 1),
        ],
    ]
    first, rows, number, code, slot = [0], [0], [], [], 0
    for records in subjects:
        for time, kind, amount, rate, interval, compartment, repeats, steady, place in records:
            number.append((time, amount, rate, interval))
            observed = kind == OBSERVE
            code.append((kind, compartment, repeats, steady, place, slot if observed else -1, 0))
            slot += observed
        first.append(len(number))
        rows.append(rows[-1] + 1 + max(record[-1] for record in records))
    return Events(np.array(first), np.array(rows), np.array(number), np.array(code))


@pytest.mark.parametrize("structure", STRUCTURES, ids=repr)
def test_values_and_derivatives_are_the_compiled_solver_s(structure):
    events = cohort(central=len(structure.compartments) - structure.closed_form[0])
    rng = np.random.default_rng(1)
    example = np.array([parameter.example for parameter in structure.kinetics])
    theta = example * np.exp(rng.normal(0.0, 0.2, (4, len(example))))
    solver = Solver(structure, events)
    expected = solver.run(theta)
    function = jax.jit(jax_outputs(structure, events))
    np.testing.assert_allclose(np.asarray(function(theta)), expected.value, rtol=1e-12)
    by_theta = np.zeros((len(expected.value), *theta.shape))
    schedule = solver.schedule
    for k, (output, row) in enumerate(zip(schedule.output_of, schedule.row_of, strict=True)):
        by_theta[output, row] += expected.gradient[k]
    scale = 1e-10 * np.abs(by_theta).max()
    np.testing.assert_allclose(
        np.asarray(jax.jacrev(function)(theta)), by_theta, rtol=1e-9, atol=scale
    )


def test_rates_that_meet_have_finite_derivatives():
    structure = OneCompartment(absorption=FirstOrder())
    events = cohort(central=1)
    theta = np.tile([0.2, 4.0, 0.05], (4, 1))  # KA = CL / V
    jacobian = np.asarray(jax.jacrev(jax_outputs(structure, events))(theta))
    assert np.isfinite(jacobian).all()
    assert np.abs(jacobian[..., 2]).max() > 0.0


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

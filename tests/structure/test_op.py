"""The PyTensor operation: value, gradient, both ways to run it, data of other shapes."""

from __future__ import annotations

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from popk_histories import dose, events, in_order, observe, switch

from popk.structure import (
    Dosing,
    OneCompartment,
    ParallelMichaelisMenten,
    TwoCompartment,
    concentrations,
    concentrations_with_gradient,
)
from popk.structure.engine.compiled import compiled, loop_of
from popk.structure.engine.prepare import prepare
from popk.structure.op import Prediction, arrays_of, prediction

LINEAR = OneCompartment()
DOSED = OneCompartment(dosing=Dosing(bioavailability=(1,), lag=(1,)))
SATURABLE = TwoCompartment(elimination=ParallelMichaelisMenten())
CENTRES = {
    LINEAR: np.array([0.3, 5.0]),
    DOSED: np.array([0.3, 5.0, 0.8, 1.5]),
    SATURABLE: np.array([0.164, 3.48, 0.4, 3.48, 2.86, 0.875]),
}
STRUCTURES = [
    pytest.param(LINEAR, id="linear"),
    pytest.param(DOSED, id="dose parameters"),
    pytest.param(SATURABLE, id="saturable"),
]
MODES = ["NUMBA", "FAST_COMPILE"]


def cohort(n_subjects, n_cycles=2, *, rows=False):
    """A sample after every infusion, and whose they are; with rows, one more row per subject."""
    one = []
    for cycle in range(n_cycles):
        one += [dose(28.0 * cycle, 300, over=1 / 24), *observe(28.0 * cycle + 20)]
    one = in_order(*one, *([switch(25.0, 1)] if rows else []))
    return events(*[one] * n_subjects), np.repeat(np.arange(n_subjects), n_cycles)


def thetas(structure, n_rows):
    rng = np.random.default_rng(1)
    return CENTRES[structure] * np.exp(0.3 * rng.standard_normal((n_rows, 1)))


def shared(structure, table):
    """Theta, and predictions as a function of it, with data that can be exchanged."""
    theta = pt.dmatrix("theta")
    arrays = arrays_of(prepare(structure, table))
    data = {name: pytensor.shared(array) for name, array in arrays.items()}
    return theta, data, prediction(structure, theta, list(data.values()))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("structure", STRUCTURES)
def test_value_and_gradient(structure, mode):
    table, _ = cohort(3)
    theta, data, value = shared(structure, table)
    weights = np.arange(1.0, 7.0)
    slope = pytensor.grad((value * weights).sum(), theta)
    run = pytensor.function([theta], [value, slope], mode=mode)
    point = thetas(structure, 3)
    found, gradient = run(point)
    expected, rows = concentrations_with_gradient(structure, point, table)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    by_subject = (weights[:, None] * rows).reshape(3, 2, -1).sum(axis=1)
    np.testing.assert_allclose(gradient, by_subject, rtol=1e-10)

    # The same compiled function with the data of other subjects, of another number.
    table, _ = cohort(5, 3)
    again = pytensor.function([theta], value, mode=mode)
    for name, array in arrays_of(prepare(structure, table)).items():
        data[name].set_value(array)
    point = thetas(structure, 5)
    np.testing.assert_allclose(again(point), concentrations(structure, point, table), rtol=1e-12)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("structure", STRUCTURES)
def test_gradient_with_several_rows(structure, mode):
    """Every row of parameters gets its own share."""
    table, _ = cohort(2, rows=True)
    theta, _, value = shared(structure, table)
    weights = np.arange(1.0, 5.0)
    run = pytensor.function([theta], pytensor.grad((value * weights).sum(), theta), mode=mode)
    point = thetas(structure, 4)
    _, slopes = concentrations_with_gradient(structure, point, table)
    expected = np.einsum("so,sork->srk", weights.reshape(2, 2), slopes.reshape(2, 2, 2, -1))
    np.testing.assert_allclose(run(point), expected.reshape(4, -1), rtol=1e-10)


@pytest.mark.parametrize("structure", STRUCTURES)
def test_gradient_is_the_slope_of_the_value(structure):
    table, _ = cohort(2)
    theta, _, value = shared(structure, table)
    total = (value**2).sum()
    run = pytensor.function([theta], [total, pytensor.grad(total, theta)], mode="FAST_COMPILE")
    point = thetas(structure, 2)
    gradient = run(point)[1]
    # Adaptive steps make the value rough at 1e-6: a wide difference and a wide tolerance.
    for place in np.ndindex(point.shape):
        up, down = point.copy(), point.copy()
        up[place] *= 1.01
        down[place] *= 0.99
        slope = (run(up)[0] - run(down)[0]) / (0.02 * point[place])
        small = 1e-4 * run(point)[0] / point[place]
        assert gradient[place] == pytest.approx(slope, rel=2e-3, abs=small)


def test_a_subject_without_samples_has_no_gradient():
    """What others observe is theirs, though one subject observes nothing."""
    table = events([dose(0, 300), *observe(5)], [dose(0, 300)], [dose(0, 300), *observe(7, 9)])
    theta, _, value = shared(LINEAR, table)
    weights = np.array([1.0, 2.0, 3.0])
    slope = pytensor.grad((value * weights).sum(), theta)
    run = pytensor.function([theta], [value, slope], mode="FAST_COMPILE")
    point = thetas(LINEAR, 3)
    found, gradient = run(point)
    expected, rows = concentrations_with_gradient(LINEAR, point, table)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    np.testing.assert_array_equal(gradient[1], 0.0)
    np.testing.assert_allclose(gradient[0], rows[0], rtol=1e-12)
    np.testing.assert_allclose(gradient[2], 2.0 * rows[1] + 3.0 * rows[2], rtol=1e-12)
    assert np.all(gradient[[0, 2]] != 0.0)


@pytest.mark.parametrize("mode", MODES)
def test_what_explicit_steps_cannot_solve_is_solved_implicitly(mode):
    """A peripheral compartment that equilibrates within a millionth of the time.

    To any digit it could have, it is then one compartment with both volumes.
    """
    table, _ = cohort(2)
    theta, _, value = shared(SATURABLE, table)
    run = pytensor.function([theta], value, mode=mode)
    point = thetas(SATURABLE, 2)
    point[1, 2:4] = 4e5, 1e-1
    assert unsolved_explicitly(SATURABLE, point, table) == [0, 1]
    found = run(point)
    assert np.all(np.isfinite(found))
    np.testing.assert_allclose(found, concentrations(SATURABLE, point, table), rtol=1e-10)
    cl, v1, _, v2, vmax, km = point[1]
    lumped = OneCompartment(elimination=ParallelMichaelisMenten())
    expected = concentrations(lumped, np.array([[cl, v1 + v2, vmax, km]]), cohort(1)[0])
    np.testing.assert_allclose(found[2:], expected, rtol=2e-4)


def unsolved_explicitly(structure, point, table):
    """1 for each subject that the explicit solver gives up."""
    schedule = prepare(structure, table)
    failed = np.zeros(len(schedule.tasks), np.int64)
    loop_of(exact=False)(
        compiled(structure, implicit=False).description, point, schedule.tasks, *schedule.arrays,
        schedule.rounds, *schedule.script, np.zeros(schedule.n_outputs),
        np.zeros((0, point.shape[1])), False, failed,
    )  # fmt: skip
    return failed.tolist()


def test_second_derivatives_are_refused():
    table, _ = cohort(1)
    theta, _, value = shared(LINEAR, table)
    slope = pytensor.grad((value**2).sum(), theta)
    with pytest.raises(NotImplementedError, match="second derivatives"):
        pytensor.grad(slope.sum(), theta)


def test_shapes_are_known_without_solving():
    table, _ = cohort(3)
    theta, _, value = shared(LINEAR, table)
    shape = pytensor.function([theta], value.shape, mode="FAST_RUN", on_unused_input="ignore")
    assert shape(thetas(LINEAR, 3)).tolist() == [6]
    assert not any(isinstance(node.op, Prediction) for node in shape.maker.fgraph.toposort())

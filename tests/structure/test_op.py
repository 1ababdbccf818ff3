"""The PyTensor operation: value, gradient, both ways to run it, data of other shapes."""

from __future__ import annotations

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest

from popk.structure import (
    Events,
    OneCompartment,
    ParallelMichaelisMenten,
    TwoCompartment,
    concentrations,
    concentrations_with_gradient,
)
from popk.structure.events import DOSE, OBSERVE
from popk.structure.op import Concentration, concentration

LINEAR = OneCompartment()
SATURABLE = TwoCompartment(ParallelMichaelisMenten())
CENTRES = {
    LINEAR: np.array([0.3, 5.0]),
    SATURABLE: np.array([0.164, 3.48, 0.4, 3.48, 2.86, 0.875]),
}
STRUCTURES = [pytest.param(LINEAR, id="linear"), pytest.param(SATURABLE, id="saturable")]
MODES = ["NUMBA", "FAST_COMPILE"]


def cohort(n_subjects, n_cycles=2):
    """Events with one sample before every dose and one after the last, and whose they are."""
    one = []
    for cycle in range(n_cycles):
        one += [(28.0 * cycle, DOSE), (28.0 * cycle + 20, OBSERVE)]
    time, kind = (np.tile(column, n_subjects) for column in zip(*one, strict=True))
    is_dose = kind == DOSE
    zero = np.zeros(len(time))
    events = Events(
        np.arange(n_subjects + 1) * len(one), time, kind, 300.0 * is_dose, is_dose / 24, zero,
        is_dose.astype(int), zero.astype(int), np.where(is_dose, -1, np.cumsum(~is_dose) - 1),
    )  # fmt: skip
    return events, np.repeat(np.arange(n_subjects), n_cycles)


def thetas(structure, n_subjects):
    rng = np.random.default_rng(1)
    return CENTRES[structure] * np.exp(0.3 * rng.standard_normal((n_subjects, 1)))


def shared(structure, events, subject_of):
    """Theta, and functions of it, with events that can be exchanged."""
    theta = pt.dmatrix("theta")
    data = [pytensor.shared(column) for column in structure.prepare(events)]
    whose = pytensor.shared(subject_of)
    return theta, [whose, *data], concentration(structure, theta, whose, data)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("structure", STRUCTURES)
def test_value_and_gradient(structure, mode):
    events, subject_of = cohort(3)
    theta, data, value = shared(structure, events, subject_of)
    weights = np.arange(1.0, 7.0)
    slope = pytensor.grad((value * weights).sum(), theta)
    run = pytensor.function([theta], [value, slope], mode=mode)
    point = thetas(structure, 3)
    found, gradient = run(point)
    expected, rows = concentrations_with_gradient(structure, point, events)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    by_subject = (weights[:, None] * rows).reshape(3, 2, -1).sum(axis=1)
    np.testing.assert_allclose(gradient, by_subject, rtol=1e-10)

    # The same compiled function with the data of other subjects, of another number.
    events, subject_of = cohort(5)
    for variable, column in zip(data, [subject_of, *structure.prepare(events)], strict=True):
        variable.set_value(column)
    point = thetas(structure, 5)
    again = pytensor.function([theta], value, mode=mode)(point)
    np.testing.assert_allclose(again, concentrations(structure, point, events), rtol=1e-12)


@pytest.mark.parametrize("structure", STRUCTURES)
def test_gradient_is_the_slope_of_the_value(structure):
    events, subject_of = cohort(2)
    theta, _, value = shared(structure, events, subject_of)
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
        scale = np.abs(gradient).max(axis=1)[place[0]]
        assert gradient[place] == pytest.approx(slope, rel=2e-3, abs=1e-3 * scale)


def test_a_subject_without_samples_has_no_gradient():
    events, subject_of = cohort(2)
    theta, _, value = shared(LINEAR, events, subject_of)
    slope = pytensor.grad(value[:2].sum(), theta)
    run = pytensor.function([theta], slope, mode="FAST_COMPILE")
    gradient = run(thetas(LINEAR, 2))
    assert np.all(gradient[0] != 0.0)
    np.testing.assert_array_equal(gradient[1], 0.0)


def test_second_derivatives_are_refused():
    events, subject_of = cohort(1)
    theta, _, value = shared(LINEAR, events, subject_of)
    slope = pytensor.grad((value**2).sum(), theta)
    with pytest.raises(NotImplementedError, match="second derivatives"):
        pytensor.grad(slope.sum(), theta)


def test_shapes_are_known_without_solving():
    events, subject_of = cohort(3)
    theta, _, value = shared(LINEAR, events, subject_of)
    shape = pytensor.function([theta], value.shape, mode="FAST_RUN", on_unused_input="ignore")
    assert shape(thetas(LINEAR, 3)).tolist() == [6]
    assert not any(isinstance(node.op, Concentration) for node in shape.maker.fgraph.toposort())

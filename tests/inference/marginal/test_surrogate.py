"""Polynomials in place of solutions: exact for polynomials, near for equations."""

import numpy as np
import pytest

from popk.dataset import Dataset
from popk.design import design_of
from popk.inference.marginal.surrogate import fitted_surrogate
from popk.model import PopModel
from popk.statistics import IIV, LogNormal, Proportional
from popk.structure import MichaelisMenten, OneCompartment, Solver


def parameters(n, *, seed=1, sd=0.3, rows=1, columns=3):
    rng = np.random.default_rng(seed)
    return np.exp(sd * rng.standard_normal((n, rows, columns))) * [0.5, 3.0, 20.0][:columns]


def cubic(theta):
    """Two outputs (n, 2): the exponential of a cubic in the logarithms, and a cubic as it is."""
    a, b, c = np.moveaxis(np.log(theta[:, 0] / [0.5, 3.0, 20.0]), -1, 0)
    first = 1 + a - 2 * b + 0.5 * a * b + c**2 - 0.3 * b**3 + 0.7 * a * b * c
    second = a**3 - 2 * c + a * c**2
    return np.stack([np.exp(first), second], axis=1)


def cubic_gradient(theta):
    """(n, 2, 3), by the chain rule."""
    a, b, c = np.moveaxis(np.log(theta[:, 0] / [0.5, 3.0, 20.0]), -1, 0)
    value = cubic(theta)[:, 0]
    first = np.stack([
        1 + 0.5 * b + 0.7 * b * c, -2 + 0.5 * a - 0.9 * b**2 + 0.7 * a * c, 2 * c + 0.7 * a * b
    ], axis=1) * value[:, None]  # fmt: skip
    second = np.stack([3 * a**2 + c**2, 0 * b, -2 + 2 * a * c], axis=1)
    return np.stack([first, second], axis=1) / theta


def test_a_cubic_in_the_logarithms_is_reproduced():
    theta = parameters(800)
    found = fitted_surrogate(theta, cubic(theta))
    assert found.positive.tolist() == [True, False]
    assert len(found.terms) == 20  # 1 + 3 + 6 + 10
    near = parameters(300, seed=2, sd=0.2)
    solution = found.ensemble(near)
    np.testing.assert_allclose(solution.value, cubic(near), rtol=1e-5, atol=1e-5)
    assert solution.gradient.shape == (300, 0, 3)


def test_the_gradient_is_that_of_the_cubic():
    theta = parameters(800)
    found = fitted_surrogate(theta, cubic(theta))
    near = parameters(50, seed=3, sd=0.2)
    value, gradient = found.ensemble(near, with_gradient=True)
    np.testing.assert_allclose(value, found.ensemble(near).value, rtol=1e-12)
    by_hand = cubic_gradient(near)
    np.testing.assert_allclose(
        gradient.reshape(50, 2, 3), by_hand, rtol=1e-3, atol=1e-4 * np.abs(by_hand).max()
    )


@pytest.mark.parametrize("rows", [1, 2])
def test_the_gradient_is_a_quotient_of_differences(rows):
    """Of outputs by the parameters of each row, one of which may be negative."""
    rng = np.random.default_rng(4)

    def drawn(n):
        theta = parameters(n, seed=int(rng.integers(1000)), rows=rows)
        theta[..., 2] = 20 * np.log(theta[..., 2] / 20.0)  # of both signs
        return theta

    theta = drawn(1_500)
    flat = theta.reshape(len(theta), -1)
    value = np.stack([np.exp(np.sin(flat[:, 0])) + flat[:, -2], flat.sum(axis=1)], axis=1)
    found = fitted_surrogate(theta, value)
    assert found.logarithmic.reshape(rows, 3).tolist() == [[True, True, False]] * rows
    near = drawn(5)
    _, gradient = found.ensemble(near, with_gradient=True)
    gradient = gradient.reshape(5, 2, rows, 3)
    for row in range(rows):
        for m in range(3):
            step = np.zeros((rows, 3))
            step[row, m] = 1e-5
            ends = found.ensemble(near + step).value - found.ensemble(near - step).value
            np.testing.assert_allclose(gradient[:, :, row, m], ends / 2e-5, rtol=1e-5, atol=1e-6)


def test_too_few_solutions_are_none():
    theta = parameters(79)  # a cubic of three inputs has 20 coefficients, four solutions for each
    assert fitted_surrogate(theta, cubic(theta)) is None
    theta = parameters(80)
    assert fitted_surrogate(theta, cubic(theta)) is not None
    assert fitted_surrogate(theta, np.zeros((80, 0))) is None  # nothing is observed


def test_failed_solutions_are_left_out():
    theta = parameters(500)
    value = cubic(theta)
    value[::5, 0] = np.inf
    value[1::5, 1] = np.nan
    found = fitted_surrogate(theta, value)
    near = parameters(50, seed=2, sd=0.2)
    np.testing.assert_allclose(found.ensemble(near).value, cubic(near), rtol=1e-4, atol=1e-4)
    value[80:] = np.inf
    assert fitted_surrogate(theta, value) is None


def test_more_than_twenty_inputs_are_none_and_more_than_eight_a_quadratic():
    rng = np.random.default_rng(5)

    def found(inputs):
        theta = np.exp(0.2 * rng.standard_normal((1_200, 1, inputs)))
        return fitted_surrogate(theta, theta.prod(axis=2) ** 0.5)

    assert max(map(len, found(8).terms)) == 3
    assert max(map(len, found(9).terms)) == 2
    assert max(map(len, found(20).terms)) == 2
    assert found(21) is None


def test_constant_parameters_are_dropped():
    theta = parameters(600)
    theta[..., 1] = 3.0
    found = fitted_surrogate(theta, cubic(theta))
    assert found.moving.tolist() == [True, False, True]
    assert len(found.terms) == 10
    _, gradient = found.ensemble(theta[:5], with_gradient=True)
    assert (gradient.reshape(5, 2, 3)[:, :, 1] == 0).all()
    assert (gradient.reshape(5, 2, 3)[:, :, [0, 2]] != 0).all()
    theta[:] = [0.5, 3.0, 20.0]
    assert fitted_surrogate(theta, np.ones((600, 1))) is None


def test_parameters_that_move_together_are_one_input():
    theta = parameters(600)
    theta[..., 1] = 6 * theta[..., 0]
    found = fitted_surrogate(theta, cubic(theta))
    assert found.whiten.shape == (3, 2)
    near = parameters(50, seed=2, sd=0.2)
    near[..., 1] = 6 * near[..., 0]
    np.testing.assert_allclose(found.ensemble(near).value, cubic(near), rtol=1e-4, atol=1e-4)


def test_beyond_the_training_inputs_nothing_changes():
    theta = parameters(800, columns=1)
    found = fitted_surrogate(theta, theta[:, 0] ** 2)
    highest = np.exp(1.1 * np.log(theta.max() / 0.5)) * 0.5
    far = np.array([3.0, 10.0, 1e6]).reshape(-1, 1, 1) * highest
    value, gradient = found.ensemble(far, with_gradient=True)
    assert np.ptp(value) == 0
    assert (gradient == 0).all()
    assert theta.max() ** 2 < value[0, 0] < (2 * highest) ** 2
    inside = np.array([[[0.5]], [[0.7]]])
    _, gradient = found.ensemble(inside, with_gradient=True)
    np.testing.assert_allclose(gradient[:, 0, 0], [1.0, 1.4], rtol=1e-4)


def test_concentrations_of_saturable_elimination_within_one_part_in_a_hundred(fits):
    structure = OneCompartment(elimination=MichaelisMenten())
    model = PopModel(
        structure, typical={n: LogNormal(1.0, cv=0.1) for n in structure.names},
        iiv=IIV({"V": LogNormal(0.2, cv=0.1)}), error=Proportional(LogNormal(0.2, cv=0.1)),
        units=fits.UNITS,
    )  # fmt: skip
    records = [fits.dose("A", 0.0), *(fits.observe("A", t, 20.0) for t in (1.0, 7.0, 21.0))]
    records += [fits.dose("A", 28.0), fits.observe("A", 35.0, 20.0)]
    data = fits.dataset(*records)
    assert isinstance(data, Dataset)
    solver = Solver(structure, design_of(model, data).events, threads=1)
    typical = np.array([{"V": 5.0, "VMAX": 20.0, "KM": 30.0}[n] for n in structure.names])
    rng = np.random.default_rng(6)

    def drawn(n, sd):
        return typical * np.exp(sd * rng.standard_normal((n, 1, 3)))

    theta = drawn(1_200, 0.2)
    found = fitted_surrogate(theta, solver.ensemble(theta).value)
    near = drawn(300, 0.2)
    near = near[(np.abs(np.log(near / typical)) < 0.4).all(axis=(1, 2))]
    exact = solver.ensemble(near, with_gradient=True)
    rough = found.ensemble(near, with_gradient=True)
    assert exact.value.shape == (len(near), 4)
    relative = np.abs(rough.value / exact.value - 1)
    assert np.quantile(relative, 0.95) < 0.01
    # The outputs' slopes by the logarithms, against their size.
    slope = [np.asarray(s.gradient).reshape(len(near), 4, 3) * near for s in (rough, exact)]
    assert np.quantile(np.abs(slope[0] - slope[1]) / exact.value[..., None], 0.95) < 0.05
    constant = np.abs(np.median(exact.value, axis=0) / exact.value - 1)
    assert np.quantile(constant, 0.95) > 0.2  # there was something to learn

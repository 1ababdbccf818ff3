"""The ODE solver against SciPy's DOP853 at 1e-12, its gradient against complex steps through it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from popk.structure import (
    Events,
    OneCompartment,
    ParallelMichaelisMenten,
    TwoCompartment,
    concentrations,
    concentrations_with_gradient,
    ensemble,
)
from popk.structure.events import DOSE, OBSERVE, RESET

ONE = OneCompartment(ParallelMichaelisMenten())
TWO = TwoCompartment(ParallelMichaelisMenten())
THETA_ONE = np.array([0.3, 5.0, 3.0, 0.9])  # CL V VMAX KM
THETA_TWO = np.array([0.164, 3.48, 0.4, 3.48, 2.86, 0.875])  # CL V1 Q V2 VMAX KM
CASES = [pytest.param(ONE, THETA_ONE, id="one"), pytest.param(TWO, THETA_TWO, id="two")]


def dose(time, amount=300.0, over=0.0, into=0):
    return (float(time), DOSE, amount, over, into)


def observe(*times):
    return [(float(time), OBSERVE, 0.0, 0.0, 0) for time in times]


def reset(time):
    return (float(time), RESET, 0.0, 0.0, 0)


def cohort(*subjects):
    """Events of subjects, each a list of records."""
    rows = [record for records in subjects for record in records]
    time, kind, amount, duration, into = (np.array(c) for c in zip(*rows, strict=True))
    zero, is_dose = np.zeros(len(rows)), kind == DOSE
    output = np.where(kind == OBSERVE, np.cumsum(kind == OBSERVE) - 1, -1)
    first = np.cumsum([0, *map(len, subjects)])
    return Events(first, time, kind, amount, duration, zero, is_dose.astype(int), into, output)


def regimen(rng, n_compartments, *, cycles=6):
    """Irregular doses: boluses, infusions short and long, a reset; samples before, in and after."""
    records, time = observe(0.0), 0.5
    for cycle in range(cycles):
        over = rng.choice([0.0, 1 / 24, 3.0])
        into = int(rng.integers(n_compartments)) if over == 0.0 else 0
        records.append(dose(time, rng.uniform(100, 500), over, into))
        records += observe(time + over / 2, time + rng.uniform(3.0, 9.0))
        if cycle == 3:
            records += [dose(time + 9.5, 200.0, 8.0), *observe(time + 11.0), reset(time + 12.0)]
            records += observe(time + 13.0)
        time += rng.uniform(14.0, 24.0)
        records += observe(time)
    return records


def right_hand_side(structure, amounts, theta):
    """The equations once more: amounts (n, ...) and theta (m, ...) to da/dt (n, ...)."""
    if structure is ONE:
        cl, v, vmax, km = theta
        c = amounts[0] / v
        return np.stack([-cl * c - vmax * c / (km + c)])
    cl, v1, q, v2, vmax, km = theta
    c1, c2 = amounts[0] / v1, amounts[1] / v2
    return np.stack([-cl * c1 - vmax * c1 / (km + c1) - q * c1 + q * c2, q * c1 - q * c2])


def solved(structure, theta, records):
    """Concentrations and gradient by DOP853; the gradient is a complex step of every solution."""
    m, n = len(theta), len(structure.compartments)
    step = 1e-40
    moved = theta[:, None] + 1j * step * np.diag(theta)  # column j moves parameter j
    state, now, running = np.zeros((n, m), dtype=complex), 0.0, []
    values, gradients = [], []

    def advance(until):
        nonlocal state, now
        ends = sorted({end for end, _, _ in running if now < end < until})
        for stop in (*ends, until):
            if stop == now:
                continue
            inflow = np.zeros((n, 1))
            for end, rate, into in running:
                inflow[into] += rate if end > now else 0.0

            def slope(_, flat, inflow=inflow):
                amounts = flat.reshape(n, m)
                return (right_hand_side(structure, amounts, moved) + inflow).ravel()

            solution = solve_ivp(
                slope, (now, stop), state.ravel(), method="DOP853", rtol=1e-12, atol=1e-13
            )
            assert solution.success, solution.message
            state, now = solution.y[:, -1].reshape(n, m), stop

    for time, kind, amount, over, into in records:
        advance(time)
        if kind == OBSERVE:
            c = state[0] / moved[1]
            values.append(c[0].real)
            gradients.append(c.imag / step / theta)
        elif kind == RESET:
            state, running = np.zeros((n, m), dtype=complex), []
        elif over:
            running.append((time + over, amount / over, into))
        else:
            state[into] += amount
    return np.array(values), np.array(gradients)


def assert_close(structure, theta, records, *, value=5e-5, slope=1e-3):
    """Value relative to itself, gradient relative to itself or to a tenth of c / theta."""
    c, gradient = concentrations_with_gradient(structure, theta[None], cohort(records))
    exact, exact_gradient = solved(structure, theta, records)
    np.testing.assert_allclose(c, exact, rtol=value, atol=1e-6)
    scale = np.maximum(np.abs(exact_gradient), 0.1 * exact[:, None] / theta)
    np.testing.assert_array_less(np.abs(gradient - exact_gradient), slope * scale + 1e-7 / theta)
    median = np.median(np.abs(c - exact)[exact > 0] / exact[exact > 0])
    assert median < 5e-6


@pytest.mark.parametrize(("structure", "theta"), CASES)
@pytest.mark.parametrize("seed", range(6))
def test_irregular_regimens(structure, theta, seed):
    rng = np.random.default_rng(seed)
    theta = theta * np.exp(0.3 * rng.standard_normal(len(theta)))
    assert_close(structure, theta, regimen(rng, len(structure.compartments)))


@pytest.mark.parametrize("factors", [
    {2: 1e-8 / 0.4}, {5: 0.01 / 0.875}, {5: 1e3}, {4: 1e-6}, {4: 5.0, 5: 0.1}, {3: 1e-2}, {0: 1e-6},
], ids=["Q to 0", "KM small", "KM large", "VMAX to 0", "fast", "V2 small", "CL to 0"])  # fmt: skip
def test_extreme_parameters(factors):
    theta = THETA_TWO.copy()
    for place, factor in factors.items():
        theta[place] *= factor
    records = [
        dose(0, over=1 / 24),
        *observe(7, 14, 28),
        dose(28, over=1 / 24),
        *observe(28.02, 56),
    ]
    assert_close(TWO, theta, records)


@pytest.mark.parametrize(("structure", "theta"), CASES)
def test_without_vmax_it_is_the_closed_form(structure, theta):
    theta = theta.copy()
    theta[-2] = 0.0
    linear = type(structure)()
    records = regimen(np.random.default_rng(4), len(structure.compartments))
    c, gradient = concentrations_with_gradient(structure, theta[None], cohort(records))
    exact, slopes = concentrations_with_gradient(linear, theta[None, :-2], cohort(records))
    np.testing.assert_allclose(c, exact, rtol=1e-4, atol=1e-12)
    scale = np.abs(slopes).max(axis=1, keepdims=True)
    np.testing.assert_allclose(
        gradient[:, :-2] / (scale + 1e-12), slopes / (scale + 1e-12), atol=1e-4
    )
    np.testing.assert_array_equal(gradient[:, -1], 0.0)


@pytest.mark.parametrize("start", [0.0, 0.5, 2.0])
def test_saturation_that_sets_in_during_an_infusion(start):
    """A step carried over from a calm stretch must not jump over the rise of a slow infusion."""
    theta = np.array([0.55, 2.3, 3.4, 0.76])
    records = [dose(0, start * 2.3), *observe(0.2), dose(0.3, 200.0, 8.0), *observe(1.8, 9, 15)]
    records += [dose(60, 200.0, 8.0), *observe(61, 67)]
    assert_close(ONE, theta, records)


def test_nothing_before_the_first_dose_and_after_a_reset():
    records = [*observe(0, 1), dose(1, over=2.0), *observe(1, 2), reset(2), *observe(2, 30)]
    c, gradient = concentrations_with_gradient(TWO, THETA_TWO[None], cohort(records))
    np.testing.assert_array_equal(c[[0, 1, 2, 4, 5]], 0.0)
    np.testing.assert_array_equal(gradient[[0, 1, 2, 4, 5]], 0.0)
    assert c[3] > 30


def test_a_dose_after_a_reset_is_as_the_first():
    before = [dose(0), dose(3, over=9.0), reset(10), dose(10, over=0.5), *observe(10.25, 20, 40)]
    alone = [dose(10, over=0.5), *observe(10.25, 20, 40)]
    theta = THETA_TWO[None]
    np.testing.assert_allclose(
        concentrations(TWO, theta, cohort(before)),
        concentrations(TWO, theta, cohort(alone)),
        rtol=1e-5,
    )


@pytest.mark.parametrize(("structure", "theta"), CASES)
def test_a_subject_does_not_depend_on_its_neighbours(structure, theta):
    """Step sizes are a lane's own. The last bit may differ: fused operations regroup."""
    rng = np.random.default_rng(5)
    subjects = [regimen(rng, 1, cycles=2 + k % 4) for k in range(13)]
    thetas = theta * np.exp(0.5 * rng.standard_normal((13, len(theta))))
    order = rng.permutation(13)
    together = concentrations_with_gradient(
        structure, thetas[order], cohort(*(subjects[k] for k in order))
    )
    alone = [
        concentrations_with_gradient(structure, thetas[k : k + 1], cohort(subjects[k]))
        for k in order
    ]
    for place, result in enumerate(together):
        expected = np.concatenate([one[place] for one in alone])
        np.testing.assert_allclose(
            result, expected, rtol=1e-12, atol=1e-14 * np.abs(expected).max()
        )


def test_many_samples_of_one_subject_are_as_many_subjects():
    rng = np.random.default_rng(6)
    thetas = THETA_TWO * np.exp(0.5 * rng.standard_normal((11, 6)))
    events = cohort(regimen(rng, 2))
    c, gradient = ensemble(TWO, thetas, TWO.prepare(events), with_gradient=True)
    assert c.shape == (11, events.n_outputs)
    for k, theta in enumerate(thetas):
        expected, slopes = concentrations_with_gradient(TWO, theta[None], events)
        np.testing.assert_allclose(c[k], expected, rtol=1e-12)
        np.testing.assert_allclose(gradient[k], slopes, rtol=1e-10, atol=1e-12)
    values, empty = ensemble(TWO, thetas, TWO.prepare(events))
    np.testing.assert_allclose(values, c, rtol=1e-12)
    assert empty.size == 0


@pytest.mark.parametrize(("structure", "theta"), CASES)
def test_no_parameters_give_something_that_is_not_a_number(structure, theta):
    """Where no reasonable number of steps is enough, the concentration is infinite."""
    rng = np.random.default_rng(7)
    thetas = theta * np.exp(rng.uniform(-8, 8, (2000, len(theta))))
    events = cohort([dose(0, over=1 / 24), *observe(0.02, 1.0, 10.0)])
    c, _ = ensemble(structure, thetas, structure.prepare(events), with_gradient=True)
    assert not np.isnan(c).any()
    assert np.all(c > 0)
    assert np.mean(np.isinf(c)) < 0.3


def test_washed_out_drug_leaves_a_likelihood_with_a_slope():
    """Long after the last dose the solver's noise must not reach zero or below."""
    rng = np.random.default_rng(8)
    events = cohort([dose(0, over=1 / 24), *observe(*range(10, 300, 10))])
    for structure, theta, spread in ((ONE, THETA_ONE, 2.0), (TWO, THETA_TWO, 1.0)):
        thetas = theta * np.exp(rng.uniform(-spread, spread, (500, len(theta))))
        c, gradient = ensemble(structure, thetas, structure.prepare(events), with_gradient=True)
        assert np.all(c > 0)
        assert np.all(np.isfinite(c))
        assert np.all(np.isfinite(gradient / c[..., None]))
        resolution = 300e-10 / thetas[:, 1]
        assert np.all(c >= 0.999 * resolution[:, None])

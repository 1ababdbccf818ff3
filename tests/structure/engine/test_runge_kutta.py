"""The ODE solver against SciPy's DOP853 at 1e-12, its gradient against complex steps through it."""

from __future__ import annotations

import numpy as np
import pytest
from popk_histories import (
    ByScipy,
    Mammillary,
    OneByODE,
    Simulator,
    TwoByODE,
    dose,
    events,
    in_order,
    observe,
    reset,
)

from popk.structure import (
    Dosing,
    MichaelisMenten,
    OneCompartment,
    ParallelMichaelisMenten,
    Solver,
    TwoCompartment,
    concentrations,
    concentrations_with_gradient,
)

ONE = OneCompartment(elimination=ParallelMichaelisMenten())
TWO = TwoCompartment(elimination=ParallelMichaelisMenten())
DOSED = OneCompartment(
    elimination=MichaelisMenten(),
    dosing=Dosing(bioavailability=(1,), lag=(1,), duration=(1,), rate=(1,)),
)
THETA_ONE = np.array([0.3, 5.0, 3.0, 0.9])  # CL V VMAX KM
THETA_TWO = np.array([0.164, 3.48, 0.4, 3.48, 2.86, 0.875])  # CL V1 Q V2 VMAX KM
THETA_DOSED = np.array([5.0, 30.0, 2.0, 0.8, 0.7, 2.0, 60.0])  # V VMAX KM F1 ALAG1 D1 R1
CASES = [pytest.param(ONE, THETA_ONE, id="one"), pytest.param(TWO, THETA_TWO, id="two")]


def regimen(rng, n_compartments, *, cycles=6):
    """Irregular doses: boluses, infusions short and long, a reset; samples before, in and after."""
    records, time = observe(0.0), 0.5
    for cycle in range(cycles):
        over = rng.choice([0.0, 1 / 24, 3.0])
        into = int(rng.integers(n_compartments)) if over == 0.0 else 0
        records.append(dose(time, rng.uniform(100, 500), over=over, into=into))
        records += observe(time + over / 2, time + rng.uniform(3.0, 9.0))
        if cycle == 3:
            records += [dose(time + 9.5, 200.0, over=8.0), *observe(time + 11.0)]
            records += [reset(time + 12.0), *observe(time + 13.0)]
        time += rng.uniform(14.0, 24.0)
        records += observe(time)
    return in_order(*records)


def assert_close(structure, theta, records, *, value=1e-4, slope=1e-3):
    """Value relative to itself, gradient relative to itself or to a tenth of c / theta."""
    c, gradient = concentrations_with_gradient(structure, theta[None], events(records))
    simulator = Simulator(ByScipy(structure), structure.names, theta)
    exact, exact_gradient = simulator.follow(records)
    exact_gradient = exact_gradient[:, 0]
    np.testing.assert_allclose(c, exact, rtol=value, atol=1e-6)
    scale = np.maximum(np.abs(exact_gradient), 0.1 * exact[:, None] / theta)
    np.testing.assert_array_less(np.abs(gradient - exact_gradient), slope * scale + 1e-7 / theta)
    median = np.median(np.abs(c - exact)[exact > 0] / exact[exact > 0])
    assert median < 2e-5


@pytest.mark.parametrize(("structure", "theta"), CASES)
@pytest.mark.parametrize("seed", range(3))
def test_irregular_regimens(structure, theta, seed):
    rng = np.random.default_rng(seed)
    theta = theta * np.exp(0.3 * rng.standard_normal(len(theta)))
    assert_close(structure, theta, regimen(rng, len(structure.compartments)))


@pytest.mark.parametrize("kind", [{}, {"over": 3.0}, {"rate": -1}, {"rate": -2}], ids=str)
def test_doses_with_modelled_properties(kind):
    records = in_order(
        dose(0, **kind), *observe(0.3, 0.8, 2, 2.6, 5), dose(6, 60, every=1.5, times=3, **kind),
        *observe(6.5, 8, 9.1, 14, 30),
    )  # fmt: skip
    assert_close(DOSED, THETA_DOSED, records, slope=3e-3)


@pytest.mark.parametrize("factors", [
    {2: 1e-8 / 0.4}, {5: 0.01 / 0.875}, {5: 1e3}, {4: 1e-6}, {4: 5.0, 5: 0.1}, {3: 1e-2}, {0: 1e-6},
], ids=["Q to 0", "KM small", "KM large", "VMAX to 0", "fast", "V2 small", "CL to 0"])  # fmt: skip
def test_extreme_parameters(factors):
    theta = THETA_TWO.copy()
    for place, factor in factors.items():
        theta[place] *= factor
    records = [
        dose(0, 300, over=1 / 24), *observe(7, 14, 28), dose(28, 300, over=1 / 24),
        *observe(28.02, 56),
    ]  # fmt: skip
    assert_close(TWO, theta, records)


@pytest.mark.parametrize(("structure", "theta"), CASES)
def test_without_vmax_it_is_the_closed_form(structure, theta):
    theta = theta.copy()
    theta[-2] = 0.0
    linear = type(structure)()
    records = events(regimen(np.random.default_rng(4), len(structure.compartments)))
    c, gradient = concentrations_with_gradient(structure, theta[None], records)
    exact, slopes = concentrations_with_gradient(linear, theta[None, :-2], records)
    np.testing.assert_allclose(c, exact, rtol=1e-4, atol=1e-12)
    scale = np.abs(slopes).max(axis=1, keepdims=True)
    np.testing.assert_allclose(
        gradient[:, :-2] / (scale + 1e-12), slopes / (scale + 1e-12), atol=1e-4
    )
    np.testing.assert_array_equal(gradient[:, -1], 0.0)


@pytest.mark.parametrize(("kind", "n"), [(OneByODE, 1), (TwoByODE, 2)])
def test_a_tight_tolerance_gives_as_many_digits(kind, n):
    theta = THETA_TWO[None, : 2 * n]
    records = regimen(np.random.default_rng(9), n)
    value, gradient = concentrations_with_gradient(kind(), theta, events(records))
    expected, slopes = Simulator(Mammillary(n), kind().names, theta).follow(records)
    np.testing.assert_allclose(value, expected, rtol=1e-7, atol=1e-9)
    moving = np.maximum(np.abs(slopes[:, 0]), expected[:, None] / theta)
    np.testing.assert_array_less(np.abs(gradient - slopes[:, 0]), 1e-6 * moving + 1e-8)


@pytest.mark.parametrize("start", [0.0, 0.5, 2.0])
def test_saturation_that_sets_in_during_an_infusion(start):
    """A step carried over from a calm stretch must not jump over the rise of a slow infusion."""
    theta = np.array([0.55, 2.3, 3.4, 0.76])
    records = [*([dose(0, start * 2.3)] if start else []), *observe(0.2)]
    records += [dose(0.3, 200.0, over=8.0), *observe(1.8, 9, 15)]
    records += [dose(60, 200.0, over=8.0), *observe(61, 67)]
    assert_close(ONE, theta, records)


def test_nothing_before_the_first_dose_and_after_a_reset():
    records = [*observe(0, 1), dose(1, 300, over=2.0), *observe(1, 2), reset(2), *observe(2, 30)]
    c, gradient = concentrations_with_gradient(TWO, THETA_TWO[None], events(records))
    np.testing.assert_array_equal(c[[0, 1, 2, 4, 5]], 0.0)
    np.testing.assert_array_equal(gradient[[0, 1, 2, 4, 5]], 0.0)
    assert c[3] > 30


def test_a_dose_after_a_reset_is_as_the_first():
    after = [dose(10, over=0.5), *observe(10.25, 20, 40)]
    before = [dose(0), dose(3, over=9.0), reset(10), *after]
    theta = THETA_TWO[None]
    np.testing.assert_allclose(
        concentrations(TWO, theta, events(before)),
        concentrations(TWO, theta, events(after)),
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
        structure, thetas[order], events(*(subjects[k] for k in order))
    )
    alone = [
        concentrations_with_gradient(structure, thetas[k : k + 1], events(subjects[k]))
        for k in order
    ]
    for place, result in enumerate(together):
        expected = np.concatenate([one[place] for one in alone])
        np.testing.assert_allclose(
            result, expected, rtol=1e-12, atol=1e-14 * np.abs(expected).max()
        )


@pytest.mark.parametrize(("structure", "theta"), CASES)
def test_no_parameters_give_something_that_is_not_a_number(structure, theta):
    """Explicit steps alone leave a fifth of these points unsolved, implicit ones none."""
    rng = np.random.default_rng(7)
    thetas = theta * np.exp(rng.uniform(-8, 8, (2000, len(theta))))
    records = events([dose(0, 300, over=1 / 24), *observe(0.02, 1.0, 10.0)])
    found = Solver(structure, records).ensemble(thetas[:, None, :], with_gradient=True)
    assert np.isfinite(found.value).all()
    assert np.isfinite(found.gradient).all()
    assert np.all(found.value > 0)
    assert np.all(np.any(found.gradient != 0.0, axis=(1, 2)))


@pytest.mark.parametrize(("structure", "theta"), CASES)
def test_washed_out_drug_leaves_a_likelihood_with_a_slope(structure, theta):
    """Long after the last dose the solver's noise must not reach zero or below."""
    rng = np.random.default_rng(8)
    spread = 2.0 if structure is ONE else 1.0
    records = events([dose(0, 300, over=1 / 24), *observe(*range(10, 300, 10))])
    thetas = theta * np.exp(rng.uniform(-spread, spread, (500, len(theta))))
    c, gradient = Solver(structure, records).ensemble(thetas[:, None, :], with_gradient=True)
    assert np.all(c > 0)
    assert np.all(np.isfinite(c))
    assert np.all(np.isfinite(gradient / c[..., None]))
    resolution = 300e-10 / thetas[:, 1]
    assert np.all(c >= 0.999 * resolution[:, None])

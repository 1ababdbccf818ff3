"""Laws that every solution keeps, whatever the history, and what a cohort's solution looks like."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from popk_histories import (
    TwoByODE,
    dose,
    events,
    in_order,
    observe,
    reset,
    switch,
    values,
)

from popk.errors import SettingError
from popk.structure import (
    Dosing,
    FirstOrder,
    MichaelisMenten,
    OneCompartment,
    ParallelMichaelisMenten,
    Solver,
    ThreeCompartment,
    TwoCompartment,
    concentrations,
    concentrations_with_gradient,
)
from popk.structure.solve import FEWEST_TASKS

ORAL, ORAL_ODE = TwoCompartment(FirstOrder()), TwoByODE(FirstOrder())
SEEN = (0.3, 1.1, 4.7, 9.2, 17.6, 33.1, 61.7)  # never at the time of a dose
few = settings(max_examples=12, derandomize=True, deadline=None)


@st.composite
def doses(draw, *, most=4):
    """Boluses, infusions and runs into the depot and central; now and then a steady state."""
    found = []
    for _ in range(draw(st.integers(1, most))):
        times = draw(st.sampled_from([1, 1, 2, 5]))
        steady = draw(st.sampled_from([0, 0, 0, 2]))
        found.append(
            dose(
                draw(st.integers(0, 40)) / 2,
                draw(st.sampled_from([10.0, 100.0, 250.0])),
                over=draw(st.sampled_from([0.0, 0.0, 1.5, 20.0])),
                every=draw(st.sampled_from([4.0, 12.0])) if times > 1 or steady else 0.0,
                times=times,
                into=draw(st.integers(0, 1)),
                ss=steady,
            )
        )
    return in_order(*found)


def solved(structure, records, theta=None):
    point = values(structure) if theta is None else theta
    return concentrations(structure, point, events(in_order(*records)))


def close(found, expected, rtol=1e-10):
    scale = np.max(np.abs(expected), initial=1e-30)
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=1e-13 * scale)


@given(first=doses(), second=doses())
@few
def test_doses_superpose(first, second):
    seen = observe(*SEEN)
    both = solved(ORAL, [*first, *second, *seen])
    close(both, solved(ORAL, [*first, *seen]) + solved(ORAL, [*second, *seen]))


@given(records=doses(), factor=st.sampled_from([1e-6, 0.5, 3.0, 1e6]))
@few
def test_concentrations_are_proportional_to_the_dose(records, factor):
    more = [
        record._replace(amount=factor * record.amount, rate=factor * record.rate)
        for record in records
    ]
    seen = observe(*SEEN)
    close(solved(ORAL, [*more, *seen]), factor * solved(ORAL, [*records, *seen]), 1e-12)


@given(records=doses(), shift=st.sampled_from([-1000.25, 17.3, 4000.0]))
@few
@pytest.mark.parametrize("structure", [ORAL, ORAL_ODE], ids=["closed form", "ODE"])
def test_only_differences_of_times_matter(structure, records, shift):
    whole = in_order(*records, *observe(*SEEN))
    later = [record._replace(time=record.time + shift) for record in whole]
    close(solved(structure, later), solved(structure, whole), 1e-8)


@given(records=doses())
@few
def test_units_do_not_matter(records):
    """Hours for days, micrograms for milligrams, millilitres for litres."""
    theta = values(ORAL)
    whole = in_order(*records, *observe(*SEEN))
    converted = [
        r._replace(time=24 * r.time, amount=1e3 * r.amount, rate=1e3 / 24 * r.rate,
                   interval=24 * r.interval)
        for r in whole
    ]  # fmt: skip
    factors = {"CL": 1e3 / 24, "V1": 1e3, "Q": 1e3 / 24, "V2": 1e3, "KA": 1 / 24}
    factor = np.array([factors[name] for name in ORAL.names])
    found = concentrations_with_gradient(ORAL, theta * factor, events(converted))
    expected = concentrations_with_gradient(ORAL, theta, events(whole))
    close(found[0], expected[0], 1e-11)
    scale = np.abs(expected[1]).max()
    np.testing.assert_allclose(found[1] * factor, expected[1], rtol=1e-8, atol=1e-11 * scale)


@given(records=doses(most=2))
@few
@pytest.mark.parametrize("structure", [ORAL, ORAL_ODE], ids=["closed form", "ODE"])
def test_a_run_may_be_written_out(structure, records):
    singly = []
    for record in records:
        singly.append(record._replace(times=1))
        singly += [
            record._replace(time=record.time + n * record.interval, times=1, steady=0, interval=0.0)
            for n in range(1, record.times)
        ]
    seen = observe(*SEEN)
    far = 1e-10 if structure is ORAL else 1e-7
    close(solved(structure, [*singly, *seen]), solved(structure, [*records, *seen]), far)


@given(records=doses())
@few
def test_a_closed_form_solves_its_rates(records):
    whole = events(in_order(*records, *observe(*SEEN)))
    found = concentrations_with_gradient(ORAL_ODE, values(ORAL), whole)
    expected = concentrations_with_gradient(ORAL, values(ORAL), whole)
    close(found[0], expected[0], 1e-6)
    scale = np.abs(expected[1]).max(axis=0) + 1e-6 * np.abs(expected[1]).max()
    np.testing.assert_array_less(np.abs(found[1] - expected[1]) / scale, 1e-6)


@given(records=doses())
@few
@pytest.mark.parametrize("structure", [ORAL, ORAL_ODE], ids=["closed form", "ODE"])
def test_an_observation_disturbs_nothing(structure, records):
    """Twice the same observation is twice the same number; more of them change no other."""
    once = solved(structure, [*records, *observe(*SEEN)])
    twice = solved(structure, [*records, *observe(*SEEN, *SEEN)])
    close(twice, np.repeat(once, 2), 1e-12)
    between = np.linspace(0.17, 60.03, 40)
    far = 1e-11 if structure is ORAL else 1e-7
    dense = solved(structure, [*records, *observe(*SEEN, *between)])
    order = np.argsort(np.concatenate([SEEN, between]), kind="stable")
    close(dense[np.argsort(order)[: len(SEEN)]], once, far)


@pytest.mark.parametrize("structure", [ORAL, ORAL_ODE], ids=["closed form", "ODE"])
@pytest.mark.parametrize("into", [0, 1])
def test_before_and_after_a_dose_as_the_records_stand(structure, into):
    what = 2 if into == 0 else 0  # the depot's amount, or the concentration
    records = [dose(0, 40), *observe(5, what=what), dose(5, 60, into=into), *observe(5, what=what)]
    before, after = concentrations(structure, values(structure), events(records))
    jump = 60.0 if into == 0 else 60.0 / values(structure)[0, 1]
    assert after - before == pytest.approx(jump, rel=1e-9)


@given(order=st.permutations(range(11)))
@settings(few, max_examples=5)
@pytest.mark.parametrize("structure", [ORAL, ORAL_ODE], ids=["closed form", "ODE"])
def test_the_order_of_the_subjects_does_not_matter(structure, order):
    rng = np.random.default_rng(1)
    histories = [
        in_order(dose(k / 3, over=k % 3, every=12, times=1 + k % 5), dose(9, into=1),
                 *observe(*rng.uniform(0, 60, 1 + k % 4)))
        for k in range(11)
    ]  # fmt: skip
    thetas = values(structure) * np.exp(0.4 * rng.standard_normal((11, len(structure.names))))
    whole = concentrations(structure, thetas, events(*histories))
    parts = np.split(whole, np.cumsum([1 + k % 4 for k in range(11)])[:-1])
    moved = concentrations(structure, thetas[list(order)], events(*(histories[k] for k in order)))
    np.testing.assert_allclose(moved, np.concatenate([parts[k] for k in order]), rtol=1e-12)


# Cohorts


def cohort(structure, n_draws):
    """Three subjects, one of them with two parameter rows, and draws of their parameters."""
    oral = [dose(0, every=12, times=3), *observe(1, 30)]
    varying = in_order(dose(0, over=3), *observe(2), switch(4, 1), *observe(9, 20))
    table = events(oral, varying, [*oral, reset(40), *observe(41)])
    rng = np.random.default_rng(2)
    draws = values(structure) * np.exp(
        0.3 * rng.standard_normal((n_draws, 4, len(structure.names)))
    )
    return table, draws


@pytest.mark.parametrize(
    "structure",
    [ORAL, ORAL_ODE, TwoCompartment(FirstOrder(), dosing=Dosing(lag=(1,)))],
    ids=["closed form", "ODE", "lag"],
)
def test_an_ensemble_is_its_draws(structure):
    table, draws = cohort(structure, 7)
    solver = Solver(structure, table)
    found = solver.ensemble(draws, with_gradient=True)
    assert found.value.shape == (7, 8)
    assert found.gradient.shape == (7, 2 + 2 * 3 + 3, len(structure.names))
    for k, theta in enumerate(draws):
        expected = solver.run(theta)
        np.testing.assert_allclose(found.value[k], expected.value, rtol=1e-12)
        np.testing.assert_allclose(found.gradient[k], expected.gradient, rtol=1e-9, atol=1e-12)
    plain = solver.ensemble(draws)
    np.testing.assert_allclose(plain.value, found.value, rtol=1e-12)
    assert plain.gradient.shape == (7, 0, len(structure.names))


@pytest.mark.parametrize("structure", [ORAL, OneCompartment(elimination=MichaelisMenten())])
def test_threads_do_not_matter(structure):
    table, draws = cohort(ORAL, FEWEST_TASKS)
    draws = np.tile(values(ORAL), (FEWEST_TASKS, 4, 1)) if structure is ORAL else np.tile(
        [p.example for p in structure.parameters], (FEWEST_TASKS, 4, 1)
    )  # fmt: skip
    draws = draws * np.exp(0.2 * np.random.default_rng(4).standard_normal(draws.shape))
    one, three = (
        Solver(structure, table, threads=n).ensemble(draws, with_gradient=True) for n in (1, 3)
    )
    np.testing.assert_allclose(three.value, one.value, rtol=1e-12)
    scale = np.abs(one.gradient).max()
    np.testing.assert_allclose(three.gradient, one.gradient, rtol=1e-9, atol=1e-13 * scale)


def test_parameters_of_another_layout_and_kind_are_taken():
    table, draws = cohort(ORAL, 1)
    expected = concentrations(ORAL, draws[0], table)
    np.testing.assert_array_equal(
        concentrations(ORAL, np.asfortranarray(draws[0]), table), expected
    )
    whole = np.ceil(draws[0])
    np.testing.assert_array_equal(
        concentrations(ORAL, whole.astype(int), table), concentrations(ORAL, whole, table)
    )


# Parameters far from anything

EXTREME = [
    pytest.param(kind(FirstOrder() if depot else None), id=f"{kind.__name__}{'-oral' * depot}")
    for kind in (OneCompartment, TwoCompartment, ThreeCompartment)
    for depot in (False, True)
]
SATURABLE = [
    pytest.param(OneCompartment(elimination=MichaelisMenten()), id="OneCompartment-MM"),
    pytest.param(TwoCompartment(elimination=ParallelMichaelisMenten()), id="TwoCompartment-MM"),
]


def assert_numbers(structure, n_points, *, seed, unsolved, spread=30.0):
    """Neither NaN nor a negative number; a gradient that is finite where the value is.

    ``unsolved``: the share of points at which the solver may give up, with infinity.
    """
    rng = np.random.default_rng(seed)
    records = in_order(
        dose(0, every=12, times=7), dose(1, 80, over=3, every=9, times=3), *observe(0.5, 2, 40),
        dose(41, 50, every=8, ss=1, times=2), *observe(42, 60, 300),
    )  # fmt: skip
    if structure.closed_form is None:
        records = in_order(dose(0), dose(1, 80, over=3), *observe(0.5, 2, 30))
    solver = Solver(structure, events(records))
    centre = np.array([parameter.example for parameter in structure.parameters])
    done = infinite = 0
    while done < n_points:
        size = min(20_000, n_points - done)
        theta = centre * np.exp(rng.uniform(-spread, spread, (size, len(centre))))
        found = solver.ensemble(theta[:, None, :], with_gradient=True)
        bad = ~np.all(found.value >= 0.0, axis=1)  # NaN too
        finite = np.isfinite(found.value)
        bad |= np.any(finite[..., None] & ~np.isfinite(found.gradient), axis=(1, 2))
        bad |= np.any(np.isnan(found.gradient), axis=(1, 2))
        infinite += np.count_nonzero(~finite.all(axis=1))
        assert not bad.any(), f"{bad.sum()} points, the first is {theta[bad][0].tolist()}"
        done += size
    assert infinite <= unsolved * n_points, f"{infinite} of {n_points} points are unsolved"


@pytest.mark.parametrize("structure", EXTREME)
def test_no_point_gives_something_that_is_not_a_number(structure):
    assert_numbers(structure, 20_000, seed=11, unsolved=0.0)


@pytest.mark.parametrize("structure", SATURABLE)
def test_no_point_of_saturable_elimination_gives_something_that_is_not_a_number(structure):
    assert_numbers(structure, 4_000, seed=12, unsolved=0.03)


@pytest.mark.slow
@pytest.mark.parametrize("structure", EXTREME)
def test_no_point_of_a_million(structure):
    assert_numbers(structure, 1_000_000, seed=13, unsolved=0.0)


@pytest.mark.slow
@pytest.mark.parametrize("structure", SATURABLE)
def test_no_point_of_a_hundred_thousand_of_saturable_elimination(structure):
    assert_numbers(structure, 100_000, seed=14, unsolved=0.03)


@pytest.mark.parametrize("shape", [(1, 3), (3, 3), (2, 2), (2, 6), (6,), (2, 2, 3)])
def test_parameters_of_another_shape_are_refused(shape):
    """The compiled loop works on pointers: it would read beyond the array."""
    solver = Solver(OneCompartment(FirstOrder()), events([dose(0), *observe(1)], [*observe(2)]))
    wanted = r"theta has the shape .*; expected \(2, 3\): .*CL, V, KA"
    with pytest.raises(SettingError, match=wanted):
        solver.run(np.ones(shape))
    with pytest.raises(SettingError, match=wanted):
        solver.ensemble(np.ones((4, *shape)))

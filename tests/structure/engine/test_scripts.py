"""Subjects side by side against the same subjects one by one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from popk_histories import dose, events, in_order, observe, reset, switch

from popk.structure import (
    DirectEffect,
    Dosing,
    FirstOrder,
    OneCompartment,
    Solver,
    ThreeCompartment,
    TwoCompartment,
)
from popk.structure.engine.lockstep import shared
from popk.structure.engine.prepare import prepare, without_idle_switches
from popk.structure.engine.schedule import KIND
from popk.structure.engine.scripts import (
    ABOUT,
    ADD,
    FIND_DECAY,
    FIND_INFUSION,
    LOOK,
    OPERATION,
    PASS,
    SLOT,
    START,
    WHERE,
    scripts,
    side_by_side,
)
from popk.structure.engine.superposition import N_SLOTS
from popk.structure.engine.vector import W
from popk.structure.events import ROW
from popk.structure.solve import FEWEST_OUTPUTS

ORAL = TwoCompartment(FirstOrder())
STRUCTURES = [
    OneCompartment(), ORAL, ThreeCompartment(), DirectEffect(TwoCompartment(FirstOrder()))
]  # fmt: skip


@st.composite
def history(draw):
    """Doses of every kind, resets and observations, also at the times of doses."""
    records = []
    for _ in range(draw(st.integers(0, 4))):
        times = draw(st.sampled_from([1, 1, 2, 3, 9]))
        records.append(
            dose(
                draw(st.integers(0, 30)),
                draw(st.sampled_from([10.0, 250.0])),
                over=draw(st.sampled_from([0.0, 0.0, 1.0, 9.0])),
                every=draw(st.sampled_from([0.01, 4.0, 12.0])),
                times=times,
                into=draw(st.integers(0, 1)),
                ss=draw(st.sampled_from([0, 0, 0, 1, 2])),
            )
        )
    records += [reset(time) for time in draw(st.lists(st.integers(1, 60), max_size=2))]
    records += observe(*draw(st.lists(st.integers(0, 90), max_size=6)))
    return in_order(*records) or observe(1)


def both_ways(structure, table, theta, *, with_gradient=True):
    together, apart = Solver(structure, table), Solver(structure, table)
    assert len(together.schedule.rounds) > 0
    apart.schedule = replace(apart.schedule, rounds=apart.schedule.rounds[:0])
    return (solver.run(theta, with_gradient=with_gradient) for solver in (together, apart))


def parameters(structure, n, seed=3):
    noise = np.random.default_rng(seed).standard_normal((n, len(structure.names)))
    return np.array([p.example for p in structure.parameters]) * np.exp(0.5 * noise)


def assert_same(found, expected):
    # The doses of a run are summed in another order.
    scale = np.abs(expected.value).max(initial=1e-300)
    np.testing.assert_allclose(found.value, expected.value, rtol=1e-11, atol=1e-14 * scale)
    scale = np.abs(expected.gradient).max(axis=0, initial=1e-300)
    assert np.all(np.abs(found.gradient - expected.gradient) <= 1e-11 * scale)


@given(subjects=st.lists(history(), min_size=1, max_size=11))
@settings(max_examples=60, derandomize=True, deadline=None)
def test_side_by_side_is_one_by_one(subjects):
    table = events(*subjects)
    theta = parameters(ORAL, len(subjects))
    assert_same(*both_ways(ORAL, table, theta))
    found, expected = both_ways(ORAL, table, theta, with_gradient=False)
    np.testing.assert_allclose(found.value, expected.value, rtol=1e-11, atol=1e-300)


@pytest.mark.parametrize("structure", STRUCTURES, ids=lambda s: type(s).__name__)
def test_every_closed_form_goes_side_by_side(structure):
    subjects = [
        in_order(dose(k, over=k % 3, every=7, times=k % 5 + 1), *observe(3, 11 + k, 40))
        for k in range(2 * W + 3)
    ]
    assert_same(*both_ways(structure, events(*subjects), parameters(structure, len(subjects))))


def test_outputs_are_told_apart_in_each_lane():
    structure = DirectEffect(TwoCompartment(FirstOrder()))
    subjects = [
        in_order(dose(0), *(observe(t, what=(t + k) % 2)[0] for t in range(1, 6)))
        for k in range(W + 1)
    ]
    assert_same(*both_ways(structure, events(*subjects), parameters(structure, W + 1)))


def test_time_may_start_again_at_a_reset():
    subjects = [
        [dose(0, over=30), *observe(10), reset(0), dose(1), *observe(1, 4)],
        [dose(0), *observe(10), reset(20), dose(21, over=2), *observe(22, 24)],
        [*observe(1, 2), reset(0), reset(0), *observe(5)],
    ]
    assert_same(*both_ways(ORAL, events(*subjects), parameters(ORAL, 3)))


@pytest.mark.parametrize(
    ("start", "end"),
    [([], []), ([switch(0, 0)], []), ([], [switch(5, 0)]), ([switch(0, 0)], [switch(30, 0)])],
    ids=["none", "before the dose", "within the run", "both"],
)
@pytest.mark.parametrize("ss", [0, 1, 2])
def test_a_switch_to_the_only_row_changes_nothing(start, end, ss):
    doses = [dose(0, over=1, every=12, times=4, ss=ss)]
    plain, table = (
        events([*before, *in_order(*doses, *after, *observe(3, 70))], [dose(0), *observe(5)])
        for before, after in (([], []), (start, end))
    )
    without = without_idle_switches(table)
    for found, expected in zip(without, plain, strict=True):
        np.testing.assert_array_equal(found, expected)
    theta = parameters(ORAL, 2)
    found, expected = (Solver(ORAL, given).run(theta) for given in (table, plain))
    np.testing.assert_array_equal(found.value, expected.value)
    np.testing.assert_array_equal(found.gradient, expected.gradient)


def test_switches_of_subjects_with_several_rows_stay():
    table = events(
        [switch(0, 0), dose(0), switch(3, 1), switch(5, 0), *observe(6)],
        [switch(0, 0), dose(0), switch(2, 0), *observe(4)],
    )
    found = without_idle_switches(table)
    assert np.diff(found.first).tolist() == [5, 2]
    np.testing.assert_array_equal(found.number, np.delete(table.number, [5, 7], axis=0))


def test_an_atom_that_no_round_takes_is_refused():
    """The loop over rounds ends with an error rather than never."""
    schedule = prepare(ORAL, events([dose(0), *observe(5)]))
    codes = schedule.codes.copy()
    codes[0, KIND] = ROW
    with pytest.raises(ValueError, match="no round of a script takes"):
        scripts(schedule.first, schedule.numbers, codes, np.array([[0] + [-1] * (W - 1)]), ORAL)


def test_runs_in_one_group_may_need_different_sums():
    """Over 20 intervals of 1e-6 little decays in one lane, over those of 28 all in another."""
    subjects = [
        [dose(0, every=every, over=over, times=20), *observe(19 * every + over + 1)]
        for every in (1e-6, 0.5, 28)
        for over in (0.0, 1e-7)
    ]
    subjects += [[dose(0, every=12, ss=1), *observe(3)], [dose(0, 5, rate=5, ss=1), *observe(3)]]
    assert_same(*both_ways(ORAL, events(*subjects), parameters(ORAL, len(subjects))))


def test_what_a_script_says():
    """Two troughs under three infusions; the second subject is seen once more."""
    first = [dose(0, over=1), *observe(28), dose(28, over=1), *observe(56)]
    second = [dose(0, over=1), *observe(28), dose(28, over=1), *observe(56, 60)]
    schedule = prepare(TwoCompartment(), events(first, second))
    assert schedule.starts.tolist() == [0, len(schedule.operations)]
    told = [tuple(row) for row in schedule.operations[:, [OPERATION, ABOUT, SLOT]].tolist()]
    start = [(START, 0, 1), (FIND_INFUSION, 0, 0), (ADD, 0, 0)]  # at the end of the first
    rest = [(FIND_DECAY, 0, 1), (PASS, 0, 1), (LOOK, 0, 0)]
    # After 1 d the second infusion has ended, which is as long as the first; then 27 d as before.
    again = [(FIND_DECAY, 0, 2), (PASS, 0, 2), (ADD, 0, 0), (PASS, 0, 1), *rest[2:]]
    last = [(FIND_DECAY, 0, 3), (PASS, 0, 3), *rest[2:]]
    assert told == start + rest + again + last
    chosen = schedule.vectors[schedule.operations[-1, WHERE] + W :][:W]
    assert chosen[schedule.rounds[0, 1:] == 1] == 1
    assert np.sum(chosen) == 1


def test_steps_that_only_rounding_tells_apart_are_found_once():
    """And the last one makes good for what was left out: rounding does not add up."""
    times = [0.02 + 0.1 * k for k in range(400)]
    table = events([dose(0, every=0.1, times=400), *observe(*times)])
    schedule = prepare(ORAL, table)
    steps = np.diff(sorted([*times, *(0.1 * k for k in range(400))]))
    assert len(set(steps.tolist())) > 12
    found = np.sum(schedule.operations[:, OPERATION] == FIND_DECAY)
    assert 2 <= found <= 6
    assert_same(*both_ways(ORAL, table, parameters(ORAL, 1)))


def test_more_steps_than_are_kept():
    """Each step comes back after more others than there are slots."""
    gaps = [*(0.1 * k + 0.3 for k in range(2 * N_SLOTS))] * 2
    table = events([dose(0), *observe(*np.cumsum(gaps).tolist())])
    schedule = prepare(ORAL, table)
    assert np.sum(schedule.operations[:, OPERATION] == FIND_DECAY) == len(gaps)
    assert schedule.operations[:, SLOT].max() == N_SLOTS - 1
    assert_same(*both_ways(ORAL, table, parameters(ORAL, 1)))


@pytest.mark.parametrize("structure", STRUCTURES, ids=lambda s: type(s).__name__)
def test_doses_into_every_compartment(structure):
    n, _ = structure.closed_form
    size = n + ("KA" in structure.names)
    subjects = [
        in_order(
            *(dose(k + c, 10 * (c + 1), over=(k + c) % 2, into=c) for c in range(size)),
            *observe(*range(1, 9)),
        )
        for k in range(W + 2)
    ]
    theta = parameters(structure, len(subjects))
    assert_same(*both_ways(structure, events(*subjects), theta))
    found, expected = both_ways(structure, events(*subjects), theta, with_gradient=False)
    np.testing.assert_allclose(found.value, expected.value, rtol=1e-11)


def test_threads_share_the_rounds():
    table = events(*([dose(k), *observe(*range(2, 90))] for k in range(W + 1)))
    one, two = (Solver(ORAL, table, threads=n) for n in (1, 2))
    draws = 2 * FEWEST_OUTPUTS // one.schedule.n_outputs + 1
    theta = np.stack([parameters(ORAL, W + 1, seed) for seed in range(draws)])
    np.testing.assert_array_equal(one.ensemble(theta).value, two.ensemble(theta).value)
    parts = shared(one.schedule.record, 2)
    assert [part[0] for part in parts] == [1, 1]
    assert len({part[2] for part in parts}) == 2


def test_subjects_with_the_same_pattern_are_put_together():
    patterns = (
        in_order(dose(0), *observe(1, 2)),
        in_order(dose(0), dose(1.5), *observe(1)),
        [*observe(0), dose(1), *observe(2)],
    )
    schedule = prepare(ORAL, events(*(patterns[k % 3] for k in range(3 * W))))
    groups = side_by_side(schedule.first, schedule.codes)
    assert [set((group % 3).tolist()) for group in groups] != [{0, 1, 2}] * 3
    assert sorted(tuple(set((group % 3).tolist())) for group in groups) == [(0,), (1,), (2,)]
    assert sorted(groups.ravel().tolist()) == list(range(3 * W))


@pytest.mark.parametrize(
    ("structure", "table"),
    [
        (ORAL, events([dose(0), *observe(1), switch(2, 1), *observe(3)])),
        (TwoCompartment(FirstOrder(), dosing=Dosing(lag=(1,))), events([dose(0), *observe(1)])),
    ],
    ids=["rows", "lag"],
)
def test_what_is_known_only_with_the_parameters_goes_one_by_one(structure, table):
    assert len(prepare(structure, table).rounds) == 0


@pytest.mark.parametrize(("n_subjects", "n_draws"), [(3, 2), (3, 2 * W + 1), (70, 9)])
def test_an_ensemble_is_its_draws(n_subjects, n_draws):
    subjects = [
        in_order(dose(0, every=7, times=2 + k % 4), *observe(*range(1, 3 + k % 5)))
        for k in range(n_subjects)
    ]
    solver = Solver(ORAL, events(*subjects), threads=2)
    theta = np.stack([parameters(ORAL, n_subjects, seed) for seed in range(n_draws)])
    found = solver.ensemble(theta, with_gradient=True)
    for k in range(n_draws):
        assert_same(type(found)(found.value[k], found.gradient[k]), solver.run(theta[k]))

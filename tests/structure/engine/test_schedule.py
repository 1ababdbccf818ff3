"""From records to atoms: what happens, in which order, and what is left out."""

from __future__ import annotations

import numpy as np
import pytest
from popk_histories import OneByODE, TwoByODE, dose, events, in_order, observe, reset, switch

from popk.structure import Dosing, OneCompartment, Solver, TwoCompartment
from popk.structure.engine.prepare import prepare
from popk.structure.engine.schedule import (
    BEGIN,
    BOLUS,
    COMPARTMENT,
    COUNT,
    DURATION,
    END,
    ENDLESS,
    INTERVAL,
    JUMP,
    KIND,
    OUTPUT,
    PLACE,
    RATE,
    SINCE,
    SIZE,
    TIME,
)
from popk.structure.events import OBSERVE, RESET, ROW

ONE, ODE = OneCompartment(), OneByODE()
NAMES = {
    OBSERVE: "observe", RESET: "reset", ROW: "row", BOLUS: "bolus", RATE: "rate", JUMP: "jump",
    BEGIN: "begin", END: "end",
}  # fmt: skip


def atoms(records, structure=ODE):
    """Numbers and codes of one subject's atoms."""
    schedule = prepare(structure, events(records))
    assert schedule.first.tolist() == [0, len(schedule.numbers)]
    return schedule.numbers, schedule.codes


def told(records, structure=ODE):
    """(kind, time, size) of every atom."""
    numbers, codes = atoms(records, structure)
    return [
        (NAMES[kind], time, size)
        for kind, time, size in zip(codes[:, KIND], numbers[:, TIME], numbers[:, SIZE], strict=True)
    ]


def test_doses_of_a_run():
    found = told(in_order(dose(1, 30, every=5, times=3), *observe(0, 6, 20)))
    assert found == [
        ("observe", 0, 0), ("bolus", 1, 30), ("bolus", 6, 30), ("observe", 6, 0), ("bolus", 11, 30),
        ("observe", 20, 0),
    ]  # fmt: skip


def test_an_infusion_ends_before_anything_else_at_that_time():
    found = told([dose(0, 30, over=3), *observe(3), dose(3, 10), *observe(3)])
    assert found == [
        ("rate", 0, 10), ("rate", 3, -10), ("observe", 3, 0), ("bolus", 3, 10), ("observe", 3, 0),
    ]  # fmt: skip


def test_doses_implied_come_before_records_of_their_time():
    found = told([dose(0, 30, every=4, times=2), *observe(4), dose(4, 7), *observe(9)])
    assert found == [
        ("bolus", 0, 30), ("bolus", 4, 30), ("observe", 4, 0), ("bolus", 4, 7), ("observe", 9, 0),
    ]  # fmt: skip


def test_records_of_one_time_stay_as_they_stand():
    records = [*observe(2), dose(2, 5), *observe(2), dose(2, 6), *observe(2)]
    assert [kind for kind, *_ in told(records)] == ["observe", "bolus"] * 2 + ["observe"]


def test_times_that_rounding_has_moved_are_those_of_the_records():
    numbers, _ = atoms([dose(0, every=0.1, times=4), *observe(0.2, 0.3)])
    assert 3 * 0.1 != 0.3
    np.testing.assert_array_equal(numbers[:, TIME], [0.0, 0.1, 0.2, 0.2, 0.3, 0.3])


def test_a_reset_cancels_what_is_to_come():
    found = told([dose(0, 30, over=3, every=4, times=5), *observe(5), reset(6), *observe(9)])
    assert found == [
        ("rate", 0, 10), ("rate", 3, -10), ("rate", 4, 10), ("observe", 5, 0), ("reset", 6, 0),
        ("observe", 9, 0),
    ]  # fmt: skip


@pytest.mark.parametrize("structure", [OneCompartment(), ODE], ids=["closed form", "ODE"])
def test_a_dose_implied_at_the_time_of_a_reset_comes_before_it(structure):
    first, last = observe(10.0), observe(10.0)
    records = [dose(0.0, every=10.0, times=2), *first, reset(10.0), *last]
    theta = np.array([[0.2, 4.0]])
    before, after = Solver(structure, events(in_order(*records))).run(theta).value
    np.testing.assert_allclose(before, 25.0 * (1.0 + np.exp(-0.5)), rtol=1e-4)
    assert after == 0.0


def test_nothing_is_done_after_the_last_observation():
    found = told(in_order(dose(0, every=1, times=90), *observe(1.5), dose(3)))
    assert [time for _, time, _ in found] == [0, 1, 1.5]


def test_subjects_follow_each_other():
    first, second = [dose(0), *observe(1)], [*observe(0), dose(1), *observe(2, 3)]
    schedule = prepare(ONE, events(first, second))
    assert schedule.first.tolist() == [0, 2, 6]
    assert schedule.codes[schedule.codes[:, KIND] == OBSERVE, OUTPUT].tolist() == [0, 0, 1, 2]
    assert schedule.subject_of.tolist() == [0, 1, 1, 1]
    assert schedule.tasks.tolist() == [[0, 0, 0, 0, 1], [1, 1, 1, 1, 1]]


def test_rows_of_the_gradient():
    first, second = [dose(0), *observe(1)], [dose(0), switch(1, 1), switch(2, 2), *observe(2, 3)]
    schedule = prepare(ONE, events(first, second))
    assert schedule.output_of.tolist() == [0, 1, 1, 1, 2, 2, 2]
    assert schedule.row_of.tolist() == [0, 1, 2, 3, 1, 2, 3]
    assert schedule.n_slopes == 7
    switches = schedule.codes[schedule.codes[:, KIND] == ROW]
    assert switches[:, PLACE].tolist() == [1, 2]


def test_a_run_that_nothing_interrupts_is_one_jump():
    numbers, codes = atoms(
        in_order(dose(0, 30, every=5, times=9), *observe(31), *observe(100)), ONE
    )
    assert codes[:, KIND].tolist() == [JUMP, OBSERVE, BOLUS, BOLUS, OBSERVE]
    assert codes[0, COUNT] == 7
    assert numbers[0, [TIME, SIZE, INTERVAL, DURATION]].tolist() == [30, 30, 5, 0]


def test_an_infusion_that_nothing_interrupts_is_one_jump():
    numbers, codes = atoms([dose(0, 30, over=3), *observe(2, 9)], ONE)
    assert codes[:, KIND].tolist() == [RATE, OBSERVE, RATE, OBSERVE]
    numbers, codes = atoms([dose(0, 30, over=3), *observe(9)], ONE)
    assert codes[:, KIND].tolist() == [JUMP, OBSERVE]
    assert numbers[0, [TIME, SIZE, DURATION]].tolist() == [3, 10, 3]
    assert codes[0, COUNT] == 1


def test_a_switch_of_parameters_interrupts_a_run():
    _, codes = atoms(in_order(dose(0, every=5, times=9), switch(12, 1), *observe(90)), ONE)
    assert codes[:, KIND].tolist() == [JUMP, ROW, JUMP, OBSERVE]
    assert codes[[0, 2], COUNT].tolist() == [3, 6]


def test_a_steady_state_is_one_jump():
    numbers, codes = atoms([dose(7, 30, over=3, every=12, ss=1), *observe(9)], ONE)
    assert codes[:3, KIND].tolist() == [RESET, JUMP, RATE]
    assert codes[1, COUNT] == ENDLESS
    assert numbers[1, [TIME, SIZE, INTERVAL, DURATION, SINCE]].tolist() == [7, 10, 12, 3, 9]


def test_infusions_that_still_run_at_a_steady_state():
    numbers, codes = atoms([dose(0, 310, over=31, every=12, ss=1), *observe(70)], ONE)
    begun = numbers[(codes[:, KIND] == JUMP) & (codes[:, COUNT] == 1)]
    # The two last doses of the train began 12 and 24 before; the one before has ended.
    assert sorted(begun[:, DURATION].tolist())[:2] == [12, 24]
    ends = numbers[(codes[:, KIND] == RATE) & (numbers[:, SIZE] < 0), TIME]
    assert sorted(ends.tolist())[:2] == [7, 19]


def test_a_steady_state_of_an_ode_is_a_period_to_be_closed():
    numbers, codes = atoms([dose(7, 30, over=3, every=12, ss=2), *observe(9)])
    kinds = [NAMES[kind] for kind in codes[:, KIND]]
    begin, end = kinds.index("begin"), kinds.index("end")
    assert codes[end, COUNT] == end - begin
    inside = numbers[begin + 1 : end]
    assert np.sum(inside[:, SIZE]) == 0.0
    assert inside[:, TIME].min() == -5.0
    assert numbers[end, TIME] == 7.0
    assert codes[begin, COMPARTMENT] == codes[end, COMPARTMENT] == 2  # SS


@pytest.mark.parametrize("kind", [OneCompartment, OneByODE])
def test_lags_and_durations_that_depend_on_parameters(kind):
    """The same records and other parameters are another schedule."""
    structure = kind(dosing=Dosing(lag=(1,), duration=(1,)))
    records = events([dose(0, 10, rate=-2), *observe(1, 2.5, 9)])
    solver = Solver(structure, records)
    late, early = (solver.run(np.array([[1e-9, 10.0, lag, 2.0]])).value for lag in (2.0, 0.5))
    np.testing.assert_allclose(late, [0, 0.25, 1.0], atol=1e-7)
    np.testing.assert_allclose(early, [0.25, 1.0, 1.0], rtol=1e-7)


@pytest.mark.parametrize("structure", [TwoCompartment(), TwoByODE()])
def test_a_cohort_without_observations_has_no_outputs(structure):
    solver = Solver(structure, events([dose(0)], [dose(1), reset(2)]))
    found = solver.run(np.ones((2, 4)))
    assert found.value.shape == (0,)
    assert found.gradient.shape == (0, 4)

"""The closed-form kernels against matrix exponentials and high-precision references."""

from __future__ import annotations

import csv
import itertools
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from scipy.linalg import expm

from popk.structure import Events, OneCompartment, TwoCompartment, solve
from popk.structure.events import DOSE, OBSERVE, RESET

# Computed with mpmath at 60 digits or more, public domain (CC0).
REFERENCE = Path(__file__).parent / "data" / "linear_reference.csv"

ONE = (1.1, 20.0)
TWO = (0.2, 3.5, 0.5, 2.5)
STRUCTURES = {2: OneCompartment(), 4: TwoCompartment()}


class Record(NamedTuple):
    time: float
    kind: int
    amount: float = 0.0
    duration: float = 0.0
    interval: float = 0.0
    repeats: int = 0
    compartment: int = 0


def observe(*times):
    return [Record(float(time), OBSERVE) for time in times]


def dose(time, amount=100.0, *, over=0.0, every=0.0, times=1, into=0):
    return Record(float(time), DOSE, amount, over, every, times, into)


def reset(time):
    return Record(float(time), RESET)


def in_order(*records):
    return sorted(records, key=lambda record: record.time)


def events(*subjects):
    rows = [record for records in subjects for record in records]
    columns = list(zip(*rows, strict=True))
    kind = np.array(columns[1])
    return Events(
        np.cumsum([0, *(len(records) for records in subjects)]),
        np.array(columns[0]),
        kind,
        *(np.array(column) for column in columns[2:]),
        np.where(kind == OBSERVE, np.cumsum(kind == OBSERVE) - 1, -1),
    )


def solved(theta, records):
    structure = STRUCTURES[len(theta)]
    return solve.concentrations_with_gradient(structure, np.array([theta]), events(records))


class Superposition:
    """Every dose followed by itself, from event to event, by a matrix exponential."""

    def __init__(self, theta):
        self.volume = theta[1]
        k10 = theta[0] / theta[1]
        k12, k21 = (theta[2] / theta[1], theta[2] / theta[3]) if len(theta) == 4 else (0.0, 0.0)
        self.rates = np.array([[-k10 - k12, k21], [k12, -k21]])
        self.clear()

    def clear(self):
        self.state = np.zeros(2, dtype=complex)
        self.inflow = np.zeros(2)
        self.pending = []

    def follow(self, records):
        now, concentrations = 0.0, []
        for place, record in enumerate(records):
            while self.pending and min(self.pending)[0] <= record.time + 1e-9:
                due = min(self.pending)
                self.pending.remove(due)
                self.pass_time(max(due[0] - now, 0.0))
                now = max(due[0], now)
                self.happen(due)
            self.pass_time(max(record.time - now, 0.0))
            now = max(record.time, now)
            if record.kind == OBSERVE:
                concentrations.append(self.state[0] / self.volume)
            elif record.kind == RESET:
                self.clear()
            else:
                self.plan(record, place)
        return np.array(concentrations)

    def plan(self, record, place):
        for number in range(record.repeats):
            start, to = record.time + number * record.interval, record.compartment
            if record.duration == 0.0:
                implied = [(start, place, number, "bolus", record.amount, to)]
            else:
                rate = record.amount / record.duration
                implied = [
                    (start, place, number, "rate", rate, to),
                    (start + record.duration, place, number, "rate", -rate, to),
                ]
            if number == 0:
                self.happen(implied.pop(0))
            self.pending += implied

    def happen(self, event):
        *_, what, amount, compartment = event
        if what == "bolus":
            self.state[compartment] += amount
        else:
            self.inflow[compartment] += amount

    def pass_time(self, duration):
        generator = np.zeros((3, 3), dtype=complex)
        generator[:2, :2], generator[:2, 2] = self.rates, self.inflow
        self.state = (expm(generator * duration) @ [*self.state, 1.0])[:2]


def superposed(theta, records):
    """Concentrations, and their gradient by complex steps."""
    step, columns = 1e-80, []
    for j in range(len(theta)):
        moved = np.array(theta, dtype=complex)
        moved[j] += 1j * step
        columns.append(Superposition(moved).follow(records))
    return columns[0].real, np.stack([column.imag / step for column in columns], axis=1)


def assert_gradient(actual, expected, scale, theta, *, rtol=1e-6):
    """Relative, but for elements that move a concentration of ``scale`` less than rounding does."""
    lost = 1e-13 * np.abs(scale)[:, None] / np.array(theta)
    assert np.all(np.abs(actual - expected) <= rtol * np.abs(expected) + lost)


HISTORIES = {
    "bolus": [dose(0), *observe(0, 0.5, 24, 100)],
    "infusion": [dose(0, over=2), *observe(0, 0.5, 1.7, 2, 3, 48)],
    "single doses": in_order(
        *(dose(time, amount=50 + time) for time in (0, 23.2, 49, 71.7)), *observe(1, 49, 71, 90)
    ),
    "single infusions": in_order(
        *(dose(time, over=1 + time / 99) for time in (0, 23.2, 49, 71.7)), *observe(1, 49.5, 71, 90)
    ),
    "equal infusions": in_order(
        *(dose(time, over=1.5) for time in (0, 23.2, 49, 71.7)), *observe(23.1, 71, 90)
    ),
    "run of boluses": [dose(0, every=12, times=9), *observe(0, 11, 12, 13, 60, 95, 96, 97, 300)],
    "run of infusions": [
        dose(0, over=3, every=12, times=9), *observe(2, 3, 12, 13, 60, 96, 97, 99, 300)
    ],
    "overlapping runs": in_order(
        dose(0, every=12, times=9), dose(5, 30, over=4, every=7, times=12), dose(40, 10, over=80),
        *observe(4, 6, 50, 58.5, 101, 130, 200),
    ),
    "interval shorter than infusion": [
        dose(0, over=10, every=4, times=6), *observe(3, 4.5, 9, 13, 21, 29, 31, 60)
    ],
    "reset during runs": [
        dose(0, over=3, every=12, times=9), dose(1, every=5, times=20), *observe(24, 25), reset(25),
        *observe(25, 40), dose(41, over=2), *observe(42, 50),
    ],
    "reset and a new dose at once": [
        dose(0, over=30), *observe(10), reset(12), dose(12), *observe(12, 20)
    ],
}  # fmt: skip

PERIPHERAL = {
    "peripheral bolus": [dose(0, into=1), *observe(0, 0.5, 24, 100)],
    "peripheral infusion": [dose(0, over=5, into=1), *observe(0, 0.5, 5, 24, 100)],
    "both compartments": in_order(
        dose(0, every=12, times=9, into=1), dose(3, over=4, every=9, times=7),
        dose(5, over=6, every=11, times=5, into=1), *observe(4, 6, 12, 50, 58.5, 101, 130),
    ),
    "peripheral, reset, central": [
        dose(0, into=1), dose(0, over=9, into=1), *observe(5), reset(6), dose(6), *observe(7, 9)
    ],
}  # fmt: skip

CASES = [(ONE, name) for name in HISTORIES]
CASES += [(TWO, name) for name in (*HISTORIES, *PERIPHERAL)]


@pytest.mark.parametrize(("theta", "name"), CASES)
def test_concentrations_and_gradient_are_those_of_superposed_doses(theta, name):
    records = (HISTORIES | PERIPHERAL)[name]
    expected, expected_gradient = superposed(theta, records)
    concentration, gradient = solved(theta, records)
    np.testing.assert_allclose(concentration, expected, rtol=1e-11, atol=1e-13)
    assert_gradient(gradient, expected_gradient, expected, theta, rtol=1e-9)


@pytest.mark.parametrize("seed", range(6))
def test_random_parameters_agree_with_superposed_doses(seed):
    rng = np.random.default_rng(seed)
    theta = np.exp(rng.normal(0.0, 1.5, 4))
    records = PERIPHERAL["both compartments"]
    expected, expected_gradient = superposed(theta, records)
    concentration, gradient = solved(theta, records)
    np.testing.assert_allclose(concentration, expected, rtol=1e-9, atol=1e-13)
    # The matrix exponential is exact relative to its largest element, the dose's amount.
    scale = np.maximum(expected, 100.0 / theta[1])
    assert_gradient(gradient, expected_gradient, scale, theta, rtol=1e-7)


@pytest.mark.parametrize("distance", [0.0, 1e-14, 1e-9, 1e-6, 1e-4, 1e-3, 0.01, 0.1])
def test_nothing_is_lost_where_the_rates_meet(distance):
    CL, V1, V2 = 4.0, 20.0, 1e-6
    theta = (CL, V1, CL / V1 * V2 * (1.0 + distance), V2)
    records = HISTORIES["overlapping runs"]
    expected, expected_gradient = superposed(theta, records)
    concentration, gradient = solved(theta, records)
    np.testing.assert_allclose(concentration, expected, rtol=1e-11, atol=1e-13)
    assert_gradient(gradient, expected_gradient, expected, theta)


def reference_rows():
    with REFERENCE.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("case", sorted({row["case"] for row in reference_rows()}))
def test_high_precision_reference(case):
    for row in (row for row in reference_rows() if row["case"] == case):
        names = ["CL", "V", "Q", "V2"][: 2 * int(row["compartments"])]
        theta = [float(row[name]) for name in names]
        given = dose(0, float(row["amount"]), over=float(row["duration"]), into=int(row["dosed"]))
        concentration, gradient = solved(theta, [given, *observe(row["time"])])
        expected = np.array([float(row["concentration"])])
        expected_gradient = np.array([[float(row[f"d_{name}"]) for name in names]])
        np.testing.assert_allclose(concentration, expected, rtol=1e-11)
        assert_gradient(gradient, expected_gradient, expected * 1e-2, theta, rtol=1e-9)


@pytest.mark.parametrize("theta", [ONE, TWO, (1e-7, 20.0), (1e-7, 3.5, 0.5, 2.5), (9.0, 0.5)])
@pytest.mark.parametrize("over", [0.0, 1.3, 30.0])
@pytest.mark.parametrize("times", [2, 3, 4, 7, 40])
def test_a_run_is_its_doses_one_by_one(theta, over, times):
    # Observed at the end only, and after every other dose: taken in at once, and in parts.
    every, last = 11.0, 11.0 * times + 35.0
    for seen in ([last], [*np.arange(5.0, last, 22.0), last]):
        run = in_order(dose(0, over=over, every=every, times=times), *observe(*seen))
        singly = in_order(*(dose(every * n, over=over) for n in range(times)), *observe(*seen))
        together, gradient = solved(theta, run)
        apart, expected_gradient = solved(theta, singly)
        np.testing.assert_allclose(together, apart, rtol=1e-12)
        assert_gradient(gradient, expected_gradient, apart, theta, rtol=1e-10)


@pytest.mark.parametrize("exponent", [0.1, 0.2499, 0.2501, 1.0, 30.0])
def test_runs_of_any_length_have_the_gradient_of_their_closed_form(exponent):
    # 10^6 doses: sum of exp(-k tau j) = (1 - exp(-n k tau))/(1 - exp(-k tau)).
    V, interval, times = 20.0, 12.0, 1_000_000
    CL = exponent * V / interval / times
    records = [dose(0, every=interval, times=times), *observe(interval * (times - 1))]
    concentration, gradient = solved((CL, V), records)
    x = CL / V * interval
    total = np.expm1(-exponent) / np.expm1(-x)
    np.testing.assert_allclose(concentration, 100.0 / V * total, rtol=1e-12)
    slope = total * interval / V * (times / np.expm1(exponent) - 1.0 / np.expm1(x))
    np.testing.assert_allclose(gradient[:, 0], 100.0 / V * slope, rtol=1e-8)


@pytest.mark.parametrize("theta", [ONE, TWO])
def test_order_at_equal_times(theta):
    volume = theta[1]
    before_and_after = [*observe(0), dose(0), *observe(0)]
    np.testing.assert_allclose(solved(theta, before_and_after)[0], [0.0, 100.0 / volume])
    # The second dose of a run comes before a record at its time, also if it stands first.
    run = [dose(0, every=10, times=2), *observe(10 - 1e-6, 10)]
    trough, peak = solved(theta, run)[0]
    assert peak - trough == pytest.approx(100.0 / volume, rel=1e-5)
    starting = [dose(0, over=1.0, every=10, times=2), *observe(0, 10)]
    first, second = solved(theta, starting)[0]
    assert first == 0.0
    single = [dose(0, over=1.0), *observe(10)]
    assert second == pytest.approx(solved(theta, single)[0][0], rel=1e-13)


@pytest.mark.parametrize("time", [0.1 * 3, 0.3, 3 * 0.1 - 1e-12])
def test_times_of_runs_are_compared_with_a_tolerance(time):
    exact = solved(ONE, [dose(0, every=0.1, times=9), *observe(time)])[0]
    np.testing.assert_allclose(exact, np.exp(-1.1 / 20 * 0.1 * np.arange(4)).sum() * 100 / 20)


def test_a_reset_forgets_the_doses_to_come():
    records = [dose(0, every=5, times=20), dose(0, over=40), reset(10), *observe(10, 15, 60)]
    for theta in (ONE, TWO):
        concentration, gradient = solved(theta, records)
        assert not concentration.any()
        assert not gradient.any()


@pytest.mark.parametrize("theta", [ONE, TWO])
def test_concentrations_are_proportional_to_the_dose(theta):
    records = HISTORIES["overlapping runs"]
    quadrupled = [record._replace(amount=4.0 * record.amount) for record in records]
    for once, more in zip(solved(theta, records), solved(theta, quadrupled), strict=True):
        np.testing.assert_array_equal(4.0 * once, more)


@pytest.mark.parametrize("n_parameters", [2, 4])
def test_extreme_parameters_give_neither_nan_nor_negative_concentrations(n_parameters):
    corners = [np.exp(corner) for corner in itertools.product((-30, 0, 30), repeat=n_parameters)]
    name = "both compartments" if n_parameters == 4 else "overlapping runs"
    table = events(*[(HISTORIES | PERIPHERAL)[name]] * len(corners))
    concentration, gradient = solve.concentrations_with_gradient(
        STRUCTURES[n_parameters], np.array(corners), table
    )
    assert np.all(np.isfinite(concentration))
    assert np.all(concentration >= 0.0)
    assert np.all(np.isfinite(gradient))


def test_decayed_doses_underflow_to_zero():
    concentration, gradient = solved(TWO, [dose(0), *observe(1e6)])
    assert concentration == 0.0
    assert not gradient.any()


def test_subjects_do_not_affect_each_other():
    histories = list(HISTORIES.values())
    theta = np.array([TWO] * len(histories)) * np.linspace(0.5, 2.0, len(histories))[:, None]
    together = solve.concentrations(STRUCTURES[4], theta, events(*histories))
    apart = [solved(one, records)[0] for one, records in zip(theta, histories, strict=True)]
    np.testing.assert_array_equal(together, np.concatenate(apart))

"""Closed forms against every dose followed by itself, and against high-precision references."""

from __future__ import annotations

import csv
import itertools
from importlib.resources import files

import numpy as np
import pytest
from popk_histories import (
    Mammillary,
    Simulator,
    assert_follows,
    dose,
    events,
    in_order,
    observe,
    reset,
    values,
)

from popk.structure import (
    FirstOrder,
    OneCompartment,
    Solver,
    ThreeCompartment,
    TwoCompartment,
    concentrations,
    concentrations_with_gradient,
)

# Computed with mpmath at 60 digits or more, public domain (CC0).
REFERENCE = files("popk.qualification") / "data" / "linear_reference.csv"

KINDS = [
    pytest.param(kind(FirstOrder() if depot else None), Mammillary(n, depot=depot),
                 id=f"{n}-compartment{', depot' if depot else ''}")
    for n, kind in ((1, OneCompartment), (2, TwoCompartment), (3, ThreeCompartment))
    for depot in (False, True)
]  # fmt: skip
ONE, TWO = OneCompartment(), TwoCompartment()
THETA_ONE, THETA_TWO = (1.1, 20.0), (0.2, 3.5, 0.5, 2.5)
TIMES = (0, 0.5, 1.7, 2, 3, 11.9, 12, 12.1, 13, 15, 24, 36.2, 50, 58.5, 72, 96, 101, 130)


def histories(into):
    """Of doses into one compartment."""
    given = {"into": into}
    return {
        "bolus": [dose(0, **given), *observe(*TIMES)],
        "infusion": [dose(0, over=2, **given), *observe(*TIMES)],
        "single doses": in_order(
            *(dose(t, amount=50 + t, **given) for t in (0, 23.2, 49, 71.7)), *observe(1, 49, 71, 90)
        ),
        "single infusions": in_order(
            *(dose(t, over=1 + t / 99, **given) for t in (0, 23.2, 49, 71.7)),
            *observe(1, 49.5, 71, 90),
        ),
        "run of boluses": in_order(dose(0, every=12, times=9, **given), *observe(*TIMES)),
        "run of boluses, seen late": [dose(0, every=12, times=9, **given), *observe(97, 130)],
        "run of infusions": in_order(dose(0, over=3, every=12, times=9, **given), *observe(*TIMES)),
        "run of infusions, seen late": [
            dose(0, over=3, every=12, times=9, **given), *observe(100, 130)
        ],
        "interval shorter than infusion": in_order(
            dose(0, over=10, every=4, times=6, **given), *observe(*TIMES)
        ),
        "reset during runs": in_order(
            dose(0, over=3, every=12, times=9, **given), dose(1, every=5, times=20, **given),
            *observe(24, 25), reset(25), *observe(25, 40), dose(41, over=2, **given),
            *observe(42, 50),
        ),
        "reset and a new dose at once": [
            dose(0, over=30, **given), *observe(10), reset(12), dose(12, **given), *observe(12, 20)
        ],
    }  # fmt: skip


def overlapping(n_compartments):
    """Runs of boluses and infusions into all compartments at once."""
    last = n_compartments - 1
    return in_order(
        dose(0, every=12, times=9), dose(5, 30, over=4, every=7, times=12, into=last),
        dose(3, 60, every=11, times=5, into=last // 2), dose(40, 10, over=80),
        *observe(4, 6, 12, 50, 58.5, 101, 130, 200),
        *observe(201, what=n_compartments - 1),
    )  # fmt: skip


@pytest.mark.parametrize("name", list(histories(0)))
@pytest.mark.parametrize(("structure", "kinetics"), KINDS)
def test_every_dose_into_every_compartment(structure, kinetics, name):
    for into in range(len(structure.compartments)):
        assert_follows(structure, kinetics, values(structure), histories(into)[name])


@pytest.mark.parametrize(("structure", "kinetics"), KINDS)
def test_overlapping_runs_and_every_output(structure, kinetics):
    n = len(structure.compartments)
    assert_follows(structure, kinetics, values(structure), overlapping(n))
    seen = [dose(0), dose(1, over=3, into=n - 1)]
    seen += [r for what in range(len(structure.outputs)) for r in observe(9, 30, what=what)]
    assert_follows(structure, kinetics, values(structure), in_order(*seen))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("structure", "kinetics"), KINDS)
def test_random_parameters(structure, kinetics, seed):
    rng = np.random.default_rng(seed)
    theta = values(structure)[0] * np.exp(rng.normal(0.0, 1.2, len(structure.names)))
    records = overlapping(len(structure.compartments))
    simulator = Simulator(kinetics, structure.names, theta)
    expected, expected_slopes = simulator.follow(records)
    value, gradient = Solver(structure, events(records)).run(theta[None])
    # The matrix exponential is exact relative to its largest element, the dose's amount.
    scale = np.maximum(np.abs(expected), 100.0 / theta[1])
    np.testing.assert_array_less(np.abs(value - expected), 1e-9 * np.abs(expected) + 1e-11 * scale)
    moving = scale[:, None] / theta
    wrong = np.abs(gradient - expected_slopes[:, 0])
    np.testing.assert_array_less(wrong, 1e-7 * np.abs(expected_slopes[:, 0]) + 1e-9 * moving)


@pytest.mark.parametrize("distance", [0.0, 1e-14, 1e-9, 1e-6, 1e-4, 1e-3, 0.01, 0.1])
def test_nothing_is_lost_where_the_rates_meet(distance):
    cl, v1, v2 = 4.0, 20.0, 1e-6
    theta = (cl, v1, cl / v1 * v2 * (1.0 + distance), v2)
    assert_follows(TWO, Mammillary(2), theta, overlapping(2))


@pytest.mark.parametrize("distance", [0.0, 1e-14, 1e-9, 1e-6, 1e-4, 1e-3, 0.01, 0.1, -1e-6])
@pytest.mark.parametrize("n", [1, 2, 3])
def test_absorption_as_fast_as_elimination(n, distance):
    """Ka = ke, and ka at each rate of two and three compartments."""
    kind = (OneCompartment, TwoCompartment, ThreeCompartment)[n - 1]
    structure = kind(FirstOrder())
    theta = values(structure)[0]
    kinetics = Mammillary(n, depot=True)
    rates = -np.linalg.eigvals(kinetics.matrix(theta[None])[0, 1:, 1:].real).real
    records = in_order(dose(0, every=12, times=6), dose(2, over=7), *observe(1, 5, 30, 70, 99))
    for rate in rates:
        theta[-1] = rate * (1.0 + distance)
        assert_follows(structure, kinetics, theta, records)


@pytest.mark.parametrize("q", [1e-3, 1e-8, 1e-14])
@pytest.mark.parametrize("kind", [TwoCompartment, ThreeCompartment])
def test_exchange_that_vanishes_leaves_one_compartment(kind, q):
    structure = kind()
    theta = values(structure)
    theta[:, 2::2] = q
    records = in_order(dose(0, over=3, every=12, times=6), *observe(1, 5, 30, 70, 99))
    value = concentrations(structure, theta, events(records))
    alone = concentrations(ONE, theta[:, :2], events(records))
    np.testing.assert_allclose(value, alone, rtol=20 * q + 1e-12)
    assert_follows(structure, Mammillary(len(structure.compartments)), theta, records)


def reference_rows():
    with REFERENCE.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("case", sorted({row["case"] for row in reference_rows()}))
def test_high_precision_reference(case):
    for row in (row for row in reference_rows() if row["case"] == case):
        names = ["CL", "V", "Q", "V2"][: 2 * int(row["compartments"])]
        theta = np.array([float(row[name]) for name in names])
        given = dose(0, float(row["amount"]), over=float(row["duration"]), into=int(row["dosed"]))
        structure = ONE if len(names) == 2 else TWO
        value, gradient = concentrations_with_gradient(
            structure, theta[None], events([given, *observe(row["time"])])
        )
        expected = float(row["concentration"])
        np.testing.assert_allclose(value, expected, rtol=1e-11)
        slopes = np.array([float(row[f"d_{name}"]) for name in names])
        # Where rates meet at a vanishing Q, terms as large as this cancel.
        lost = 3e-8 * abs(expected) / theta
        assert np.all(np.abs(gradient[0] - slopes) <= 1e-9 * np.abs(slopes) + lost)


@pytest.mark.parametrize(
    "theta", [THETA_ONE, THETA_TWO, (1e-7, 20.0), (1e-7, 3.5, 0.5, 2.5), (9.0, 0.5)]
)
@pytest.mark.parametrize("over", [0.0, 1.3, 30.0])
@pytest.mark.parametrize("times", [2, 3, 4, 7, 40])
def test_a_run_is_its_doses_one_by_one(theta, over, times):
    # Observed at the end only, and after every other dose: taken in at once, and in parts.
    structure = ONE if len(theta) == 2 else TWO
    every, last = 11.0, 11.0 * times + 35.0
    for seen in ([last], [*np.arange(5.0, last, 22.0), last]):
        run = in_order(dose(0, over=over, every=every, times=times), *observe(*seen))
        singly = in_order(*(dose(every * n, over=over) for n in range(times)), *observe(*seen))
        point = np.array([theta])
        together, gradient = concentrations_with_gradient(structure, point, events(run))
        apart, expected = concentrations_with_gradient(structure, point, events(singly))
        np.testing.assert_allclose(together, apart, rtol=1e-12)
        lost = 1e-13 * apart[:, None] / point
        assert np.all(np.abs(gradient - expected) <= 1e-10 * np.abs(expected) + lost)


@pytest.mark.parametrize("exponent", [0.1, 0.2499, 0.2501, 0.4999, 0.5001, 1.0, 30.0])
def test_runs_of_any_length_have_the_gradient_of_their_closed_form(exponent):
    # 10^6 doses: sum of exp(-k tau j) = (1 - exp(-n k tau))/(1 - exp(-k tau)).
    volume, interval, times = 20.0, 12.0, 1_000_000
    cl = exponent * volume / interval / times
    records = [dose(0, every=interval, times=times), *observe(interval * (times - 1))]
    value, gradient = concentrations_with_gradient(ONE, np.array([[cl, volume]]), events(records))
    x = cl / volume * interval
    total = np.expm1(-exponent) / np.expm1(-x)
    np.testing.assert_allclose(value, 100.0 / volume * total, rtol=1e-12)
    slope = total * interval / volume * (times / np.expm1(exponent) - 1.0 / np.expm1(x))
    np.testing.assert_allclose(gradient[:, 0], 100.0 / volume * slope, rtol=1e-8)


@pytest.mark.parametrize("theta", [THETA_ONE, THETA_TWO])
def test_order_at_equal_times(theta):
    structure, volume = (ONE if len(theta) == 2 else TWO), theta[1]

    def solved(records):
        return concentrations(structure, np.array([theta]), events(records))

    np.testing.assert_allclose(solved([*observe(0), dose(0), *observe(0)]), [0.0, 100.0 / volume])
    # The second dose of a run comes before a record at its time, also if it stands first.
    trough, peak = solved([dose(0, every=10, times=2), *observe(10 - 1e-6, 10)])
    assert peak - trough == pytest.approx(100.0 / volume, rel=1e-5)
    first, second = solved([dose(0, over=1.0, every=10, times=2), *observe(0, 10)])
    assert first == 0.0
    assert second == pytest.approx(solved([dose(0, over=1.0), *observe(10)])[0], rel=1e-13)


@pytest.mark.parametrize("time", [0.1 * 3, 0.3, 3 * 0.1 - 1e-12])
def test_times_of_runs_are_compared_with_a_tolerance(time):
    records = [dose(0, every=0.1, times=9), *observe(time)]
    exact = concentrations(ONE, np.array([THETA_ONE]), events(records))
    np.testing.assert_allclose(exact, np.exp(-1.1 / 20 * 0.1 * np.arange(4)).sum() * 100 / 20)


def test_a_reset_forgets_the_doses_to_come():
    records = [dose(0, every=5, times=20), dose(0, over=40), reset(10), *observe(10, 15, 60)]
    for structure, theta in ((ONE, THETA_ONE), (TWO, THETA_TWO)):
        value, gradient = concentrations_with_gradient(
            structure, np.array([theta]), events(records)
        )
        assert not value.any()
        assert not gradient.any()


def test_time_may_start_again_at_a_reset():
    later = [dose(0, every=10, times=3), *observe(5, 25)]
    before = [dose(0, over=50), *observe(30)]
    found = concentrations(TWO, np.array([THETA_TWO]), events([*before, reset(0), *later]))
    alone = [concentrations(TWO, np.array([THETA_TWO]), events(part)) for part in (before, later)]
    np.testing.assert_allclose(found, np.concatenate(alone), rtol=1e-13)


@pytest.mark.parametrize("n_parameters", [2, 4])
def test_extreme_parameters_give_neither_nan_nor_negative_concentrations(n_parameters):
    corners = [np.exp(corner) for corner in itertools.product((-30, 0, 30), repeat=n_parameters)]
    structure = ONE if n_parameters == 2 else TWO
    table = events(*[overlapping(n_parameters // 2)] * len(corners))
    value, gradient = concentrations_with_gradient(structure, np.array(corners), table)
    assert np.all(np.isfinite(value))
    assert np.all(value >= 0.0)
    assert np.all(np.isfinite(gradient))


def test_decayed_doses_underflow_to_zero():
    records = events([dose(0), *observe(1e6)])
    value, gradient = concentrations_with_gradient(TWO, np.array([THETA_TWO]), records)
    assert value == 0.0
    assert not gradient.any()

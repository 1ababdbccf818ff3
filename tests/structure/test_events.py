"""From records to events: their order, runs of doses, resets, and what is refused."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from popk.dataset import DataError, read_dataset
from popk.structure import (
    Events,
    OneCompartment,
    ParallelMichaelisMenten,
    concentrations,
    events_of,
)
from popk.structure.events import DOSE, OBSERVE, RATE, RESET, expand

UNITS = {"time": "d", "amount": "mg", "concentration": "mg/L"}
NONLINEAR = OneCompartment(ParallelMichaelisMenten())
THETA = np.array([[0.3, 5.0, 3.0, 0.9]])


def dataset(*rows):
    """Rows of (ID, TIME, EVID, AMT) and further columns by name."""
    keys = ("ID", "TIME", "EVID", "AMT")
    records = []
    for *first, more in ((*row, {}) if not isinstance(row[-1], dict) else row for row in rows):
        record = dict(zip(keys, first, strict=True))
        record["DV"] = 5.0 if record["EVID"] == 0 else np.nan
        records.append(record | more)
    return read_dataset(pd.DataFrame(records), units=UNITS)


def events(*rows, n_compartments=1, **options):
    return events_of(dataset(*rows), n_compartments=n_compartments, **options)


def run(start, amount=100.0, *, every, times, over=0.0, compartment=0):
    return [(start, DOSE, amount, over, every, times, compartment)]


def seen(*times):
    return [(time, OBSERVE, 0.0, 0.0, 0.0, 0, 0) for time in times]


def flat(*records):
    """Events of one subject, in the order given."""
    rows = [row for part in records for row in part]
    time, kind, amount, over, every, times, into = (np.array(c) for c in zip(*rows, strict=True))
    output = np.where(kind == OBSERVE, np.cumsum(kind == OBSERVE) - 1, -1)
    return Events(
        np.array([0, len(rows)]), time.astype(float), kind, amount, over, every, times, into, output
    )


def test_records_keep_their_order():
    found = events(
        (1, 0, 1, 100.0), (1, 0, 0, np.nan), (1, 5, 0, np.nan), (1, 5, 1, 100.0, {"RATE": 50.0}),
        (2, 1, 1, 70.0, {"ADDL": 3, "II": 7.0}), (2, 9, 0, np.nan),
    )  # fmt: skip
    assert found.first.tolist() == [0, 4, 6]
    assert found.kind.tolist() == [DOSE, OBSERVE, OBSERVE, DOSE, DOSE, OBSERVE]
    assert found.output.tolist() == [-1, 0, 1, -1, -1, 2]
    assert found.duration.tolist() == [0, 0, 0, 2, 0, 0]
    assert found.repeats.tolist() == [1, 0, 0, 1, 4, 0]
    assert found.interval.tolist() == [0, 0, 0, 0, 7, 0]
    assert (found.n_subjects, found.n_outputs) == (2, 3)
    second = found.subject(1)
    assert second.first.tolist() == [0, 2]
    assert second.output.tolist() == [-1, 0]
    assert second.time.tolist() == [1, 9]


def test_a_sample_at_the_time_of_a_dose_is_before_or_after_it_as_the_records_stand():
    before = events((1, 0, 1, 100.0), (1, 7, 0, np.nan), (1, 7, 1, 100.0))
    after = events((1, 0, 1, 100.0), (1, 7, 1, 100.0), (1, 7, 0, np.nan))
    for structure, theta in ((OneCompartment(), THETA[:, :2]), (NONLINEAR, THETA)):
        low, high = (concentrations(structure, theta, e)[0] for e in (before, after))
        assert high - low == pytest.approx(100.0 / 5.0, rel=1e-5)


def test_rows_without_an_observation_give_a_concentration_only_when_asked():
    rows = ((1, 0, 1, 100.0), (1, 1, 2, np.nan), (1, 2, 0, np.nan, {"MDV": 1}), (1, 3, 0, np.nan))
    rows = [(*row[:4], {"MDV": 1 if row[2] else 0} | (row[4] if row[4:] else {})) for row in rows]
    assert events(*rows).n_outputs == 1
    assert events(*rows, everywhere=True).n_outputs == 3


def test_evid_4_empties_the_body_and_doses():
    found = events((1, 0, 1, 100.0), (1, 5, 4, 50.0), (1, 5, 0, np.nan))
    assert found.kind.tolist() == [DOSE, RESET, DOSE, OBSERVE]
    for structure, theta in ((OneCompartment(), THETA[:, :2]), (NONLINEAR, THETA)):
        assert concentrations(structure, theta, found)[0] == pytest.approx(10.0)


@pytest.mark.parametrize("over", [0.0, 0.5, 3.0])
def test_a_run_is_its_doses_written_out(over):
    samples = seen(1.0, 2.0, 2.1, 8.5)
    first = run(0.0, every=2.0, times=4, over=over)
    later = [run(t, every=0.0, times=1, over=over) for t in (2.0, 4.0, 6.0)]
    together = expand(flat(first, samples))
    apart = expand(flat(first[:0], run(0.0, every=0.0, times=1, over=over), samples[:1],
                        later[0], samples[1:3], later[1], later[2], samples[3:]))  # fmt: skip
    for name in ("time", "kind", "amount", "output"):
        np.testing.assert_array_equal(getattr(together, name), getattr(apart, name))


def test_an_infusion_starts_and_ends_where_it_should():
    found = expand(flat(run(1.0, 60.0, every=4.0, times=2, over=2.0), seen(3.0, 9.0)))
    assert found.time.tolist() == [1, 3, 3, 5, 7, 9]
    assert found.kind.tolist() == [RATE, RATE, OBSERVE, RATE, RATE, OBSERVE]
    assert found.amount.tolist() == [30, -30, 0, 30, -30, 0]


@pytest.mark.parametrize(("every", "number"), [(0.1, 3), (0.7, 3), (1.1, 3), (0.1, 8)])
@pytest.mark.parametrize("offset", [0.0, 0.3, 400.0])
def test_rounding_does_not_move_an_implied_dose_past_a_record(every, number, offset):
    """Three times 0.1 is not 0.3: the dose still comes before the record of that time."""
    written = float(f"{offset + every * number:.6g}")  # as a file has it
    doses = run(offset, every=every, times=number + 1)
    found = expand(flat(doses, seen(written)))
    assert found.kind.tolist() == [DOSE] * (number + 1) + [OBSERVE]
    assert found.time[-2] == found.time[-1] == written
    linear = concentrations(OneCompartment(), THETA[:, :2], flat(doses, seen(written)))
    saturable = concentrations(NONLINEAR, THETA * [1, 1, 0, 1], flat(doses, seen(written)))
    np.testing.assert_allclose(saturable, linear, rtol=2e-5)


def test_the_first_dose_of_a_run_keeps_the_place_of_its_record():
    found = expand(flat(run(0.0, every=7.0, times=1), seen(7.0), run(7.0, every=7.0, times=2)))
    assert found.kind.tolist() == [DOSE, OBSERVE, DOSE, DOSE]


def test_a_reset_cancels_doses_to_come_and_infusions_that_run():
    rows = [(1, 0, 1, 100.0, {"ADDL": 5, "II": 2.0, "RATE": 100.0, "DV": np.nan}),
            (1, 4.5, 3, np.nan, {"ADDL": 0, "II": 0.0, "RATE": 0.0}),
            (1, 5, 0, np.nan, {"ADDL": 0, "II": 0.0, "RATE": 0.0}),
            (1, 20, 0, np.nan, {"ADDL": 0, "II": 0.0, "RATE": 0.0})]  # fmt: skip
    found = events(*rows)
    expanded = expand(found)
    assert expanded.time[expanded.kind == RATE].tolist() == [0, 1, 2, 3, 4]
    for structure, theta in ((OneCompartment(), THETA[:, :2]), (NONLINEAR, THETA)):
        np.testing.assert_array_equal(concentrations(structure, theta, found), 0.0)


def test_a_dose_implied_at_the_time_of_a_reset_is_wiped_out():
    reset = [(0.3, RESET, 0.0, 0.0, 0.0, 0, 0)]
    found = expand(flat(run(0.0, every=0.1, times=9), reset, seen(1.0)))
    assert found.time.tolist() == [0, 0.1, 0.2, 0.3, 1.0]


def test_what_the_engine_cannot_do_is_refused_with_every_row():
    more = {"SS": 0, "RATE": 0.0, "CMT": 1, "ADDL": 0, "II": 0.0}
    data = dataset(
        (1, 0, 1, 100.0, more | {"SS": 1, "II": 7.0}),
        (1, 1, 0, np.nan, more),
        (2, 0, 1, 100.0, more | {"RATE": -1.0}),
        (2, 1, 1, 100.0, more | {"RATE": -2.0}),
        (2, 2, 1, 100.0, more | {"CMT": 3}),
        (2, 3, 0, np.nan, more | {"CMT": 2}),
    )
    with pytest.raises(DataError) as refusal:
        events_of(data, n_compartments=2)
    found = [(p.row, p.id, p.column, p.message) for p in refusal.value.problems]
    assert found == [
        (1, "1", "SS", "SS 1 asks for a dose at steady state, which popk does not compute yet."),
        (3, "2", "RATE", "RATE -1 asks for a modelled rate or duration, which popk does not "
         "compute yet."),
        (4, "2", "RATE", "RATE -2 asks for a modelled rate or duration, which popk does not "
         "compute yet."),
        (5, "2", "CMT", "A dose goes into compartment 3, but the structure has 2."),
        (6, "2", "CMT", "An observation is in compartment 2, but the structure is observed in its "
         "central compartment, 1."),
    ]  # fmt: skip
    assert all(p.remedy.endswith(".") for p in refusal.value.problems)

"""From records to events: their order, what they say, and what is refused."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest

from popk.dataset import DataError, read_dataset
from popk.structure.base import Dosing, Output, Parameter, Structure
from popk.structure.events import (
    DOSE,
    OBSERVE,
    RESET,
    ROW,
    Events,
    events_of,
)

UNITS = {"time": "d", "amount": "mg", "concentration": "mg/L"}


NOTHING_MODELLED = Dosing()


@dataclass(frozen=True)
class Oral(Structure):
    """A depot and a central compartment; what is observed and modelled is up to the test."""

    outputs: tuple = (Output("concentration", "concentration", "central", compartment=2),)
    dosing: Dosing = NOTHING_MODELLED
    zero_order: tuple = ()

    kinetics = (Parameter("KA", "1/time", "absorption"), Parameter("CL", "volume/time", "CL"))
    compartments = ("depot", "central")

    def rates(self, t, a, p):
        return (-p.KA * a.depot, p.KA * a.depot - p.CL * a.central)

    def read(self, t, a, p):
        return (a.central,)


TWO = Oral(
    outputs=(
        Output("concentration", "concentration", "central", compartment=2),
        Output("effect", "1", "effect"),
        Output("depot", "amount", "depot", compartment=1),
    )
)


def dataset(*rows, units=UNITS, carry=None):
    """Rows of (ID, TIME, EVID, AMT) and further columns by name."""
    keys = ("ID", "TIME", "EVID", "AMT")
    records = []
    for *first, more in ((*row, {}) if not isinstance(row[-1], dict) else row for row in rows):
        record = dict(zip(keys, first, strict=True))
        record["DV"] = 5.0 if record["EVID"] == 0 else np.nan
        records.append(record | more)
    return read_dataset(pd.DataFrame(records), units=units, carry=carry)


def events(*rows, structure=None, everywhere=False, **options):
    return events_of(dataset(*rows, **options), structure or Oral(), everywhere=everywhere)


def refused(*rows, structure=None, everywhere=False):
    with pytest.raises(DataError) as refusal:
        events(*rows, structure=structure, everywhere=everywhere)
    assert all(p.remedy.endswith(".") for p in refusal.value.problems)
    return refusal.value.problems


nan = np.nan


def test_records_keep_their_order():
    found = events(
        (1, 0, 1, 100.0), (1, 0, 0, nan), (1, 5, 0, nan), (1, 5, 1, 100.0, {"RATE": 50.0}),
        (2, 1, 1, 70.0, {"ADDL": 3, "II": 7.0, "SS": 2}), (2, 9, 0, nan),
    )  # fmt: skip
    assert found.first.tolist() == [0, 4, 6]
    assert found.rows.tolist() == [0, 1, 2]
    assert found.kind.tolist() == [DOSE, OBSERVE, OBSERVE, DOSE, DOSE, OBSERVE]
    assert found.time.tolist() == [0, 0, 5, 5, 1, 9]
    assert found.amount.tolist() == [100, 0, 0, 100, 70, 0]
    assert found.rate.tolist() == [0, 0, 0, 50, 0, 0]
    assert found.interval.tolist() == [0, 0, 0, 0, 7, 0]
    assert found.repeats.tolist() == [1, 0, 0, 1, 4, 0]
    assert found.steady.tolist() == [0, 0, 0, 0, 2, 0]
    assert found.output.tolist() == [-1, 0, 1, -1, -1, 2]
    assert found.compartment.tolist() == found.place.tolist() == found.what.tolist() == [0] * 6
    assert (found.n_subjects, found.n_outputs, found.n_rows) == (2, 3, 2)
    assert (found.number.dtype, found.code.dtype) == (np.float64, np.int64)
    assert np.shares_memory(found.time, found.number)
    assert np.shares_memory(found.kind, found.code)


def test_one_subjects_events_count_from_zero():
    units = UNITS | {"WT": "kg"}
    found = events(
        (1, 0, 1, 100.0, {"WT": 60}), (1, 3, 0, nan, {"WT": 61}), (1, 4, 0, nan, {"WT": 60}),
        (2, 1, 1, 70.0, {"WT": 70}), (2, 9, 0, nan, {"WT": 71}), units=units, carry="nonmem",
    )  # fmt: skip
    before = found.code.copy()
    second = found.subject(1)
    assert isinstance(second, Events)
    assert (second.first.tolist(), second.rows.tolist()) == ([0, 3], [0, 2])
    assert second.kind.tolist() == [DOSE, ROW, OBSERVE]
    assert second.output.tolist() == [-1, -1, 0]
    assert second.place.tolist() == [0, 1, 1]
    assert second.time.tolist() == [1, 1, 9]
    assert (second.n_subjects, second.n_outputs, second.n_rows) == (1, 1, 2)
    first = found.subject(0)
    assert (first.n_outputs, first.n_rows, len(first.time)) == (2, 2, 5)
    np.testing.assert_array_equal(found.code, before)


def test_rows_without_an_observation_give_an_output_only_when_asked():
    rows = ((1, 0, 1, 100.0, {"MDV": 1}), (1, 1, 2, nan, {"MDV": 1}), (1, 2, 0, nan, {"MDV": 1}),
            (1, 3, 0, nan, {"MDV": 0}))  # fmt: skip
    assert events(*rows).time.tolist() == [0, 3]
    everywhere = events(*rows, everywhere=True)
    assert everywhere.n_outputs == 3
    assert everywhere.kind.tolist() == [DOSE, OBSERVE, OBSERVE, OBSERVE]


def test_resets():
    found = events((1, 0, 1, 100.0), (1, 5, 3, nan), (1, 6, 4, 50.0), (1, 6, 0, nan))
    assert found.kind.tolist() == [DOSE, RESET, RESET, DOSE, OBSERVE]
    assert found.time.tolist() == [0, 5, 6, 6, 6]
    assert found.amount.tolist() == [100, 0, 0, 50, 0]
    assert found.repeats.tolist() == [1, 0, 0, 1, 0]


def test_the_whole_language_of_doses():
    blank = {"RATE": 0.0, "ADDL": 0, "II": 0.0, "SS": 0, "CMT": 0}
    structure = Oral(dosing=Dosing(duration=(2,), rate=(1,)))
    found = events(
        (1, 0, 1, 100.0, blank | {"SS": 1, "II": 12.0, "RATE": 5.0}),
        (1, 1, 4, 100.0, blank | {"SS": 1, "II": 12.0, "ADDL": 2}),
        (1, 2, 1, 0.0, blank | {"SS": 1, "RATE": 5.0, "CMT": 2}),
        (1, 3, 1, 100.0, blank | {"RATE": -1.0, "CMT": 1}),
        (1, 4, 1, 100.0, blank | {"RATE": -2.0, "CMT": 2, "SS": 2, "II": 6.0}),
        (1, 5, 0, nan, blank),
        structure=structure,
    )
    assert found.kind.tolist() == [DOSE, RESET, DOSE, DOSE, DOSE, DOSE, OBSERVE]
    doses = found.kind == DOSE
    assert found.steady[doses].tolist() == [1, 1, 1, 0, 2]
    assert found.rate[doses].tolist() == [5, 0, 5, -1, -2]
    assert found.interval[doses].tolist() == [12, 12, 0, 0, 6]
    assert found.repeats[doses].tolist() == [1, 3, 1, 1, 1]
    assert found.compartment[doses].tolist() == [0, 0, 1, 0, 1]
    assert found.amount[doses].tolist() == [100, 100, 0, 100, 100]


def test_doses_at_once_take_a_modelled_duration_where_the_structure_says_so():
    rows = [(1, 0, 1, 100.0, {"RATE": 0.0, "CMT": 0}), (1, 1, 1, 100.0, {"RATE": 9.0, "CMT": 1}),
            (1, 2, 1, 100.0, {"RATE": 0.0, "CMT": 2}), (1, 3, 1, 100.0, {"RATE": -2.0, "CMT": 1}),
            (1, 4, 0, nan, {"RATE": 0.0, "CMT": 2})]  # fmt: skip
    found = events(*rows, structure=Oral(zero_order=(1,)))
    assert found.rate.tolist() == [-2, 9, 0, -2, 0]


def test_compartments_say_what_is_observed():
    rows = [(1, 0, 1, 100.0, {"CMT": 1}), *((1, 1, 0, nan, {"CMT": c}) for c in (0, 2, 1))]
    assert events(*rows, structure=TWO).what.tolist() == [0, 0, 0, 2]
    found = events((1, 0, 1, 100.0), (1, 1, 0, nan), structure=TWO)
    assert (found.what.tolist(), found.compartment.tolist()) == ([0, 0], [0, 0])


def test_the_first_of_two_outputs_of_a_compartment_is_meant():
    both = Oral(outputs=(*TWO.outputs[:1], Output("free", "concentration", "free", compartment=2)))
    assert (
        events((1, 0, 1, 100.0, {"CMT": 1}), (1, 1, 0, nan, {"CMT": 2}), structure=both).what[1]
        == 0
    )


def test_dvid_says_what_is_observed_whatever_the_compartment():
    rows = [(1, 0, 1, 100.0, {"DVID": 0, "CMT": 1, "MDV": 1})]
    rows += [(1, t, 0, nan, {"DVID": t, "CMT": 9, "MDV": 0}) for t in (1, 2, 3)]
    rows += [(1, 4, 0, nan, {"DVID": nan, "CMT": 9, "MDV": 1})]
    found = events(*rows, structure=TWO, everywhere=True)
    assert found.what.tolist() == [0, 0, 1, 2, 0]


def test_outputs_that_the_structure_has_not_are_named():
    def rows(last):
        return (1, 0, 1, 100.0, {"DVID": 9}), (1, 1, 0, nan, {"DVID": 2}), (
            1, 2, 0, nan, {"DVID": last}
        )  # fmt: skip

    assert events(*rows(3), structure=TWO).n_outputs == 2
    (problem,) = refused(*rows(4), structure=TWO)
    assert (problem.row, problem.id, problem.column) == (3, "1", "DVID")
    assert problem.message == (
        "DVID is 4, but the structure has 3 outputs: 1 concentration, 2 effect, 3 depot."
    )
    found = refused(*rows(4))
    assert [p.row for p in found] == [2, 3]
    assert found[0].message == "DVID is 2, but the structure has one output: 1 concentration."


def test_the_depot_cannot_be_observed():
    rows = [(1, 0, 1, 100.0, {"CMT": 1}), (1, 1, 0, nan, {"CMT": 1}), (1, 2, 0, nan, {"CMT": 2})]
    (problem,) = refused(*rows)
    assert (problem.row, problem.id, problem.column) == (2, "1", "CMT")
    assert problem.message == (
        "The observation is in compartment 1, which no output of the structure is read from; "
        "observed can be CMT 2 (concentration)."
    )
    assert "write 0 (or leave CMT out) for concentration" in problem.remedy
    hidden = Oral(outputs=(Output("effect", "1", "effect"),))
    assert "its outputs name none" in refused(*rows, structure=hidden)[1].message


def test_rows_that_only_ask_for_a_prediction_are_refused_only_if_they_are_predicted():
    rows = [(1, 0, 1, 100.0, {"CMT": 1, "MDV": 1}), (1, 1, 0, nan, {"CMT": 1, "MDV": 1}),
            (1, 2, 2, nan, {"CMT": 1, "MDV": 1}), (1, 3, 0, nan, {"CMT": 2, "MDV": 0})]  # fmt: skip
    assert events(*rows).n_outputs == 1
    assert [p.row for p in refused(*rows, everywhere=True)] == [2]
    # The CMT of another event need not be an output's.
    del rows[1]
    assert events(*rows, everywhere=True).what.tolist() == [0, 0, 0]


def test_doses_that_the_structure_has_no_place_for_are_refused_together():
    more = {"RATE": 0.0, "CMT": 0}
    rows = [
        (1, 0, 1, 100.0, more | {"CMT": 3}),
        (1, 1, 0, nan, more),
        (2, 0, 1, 100.0, more | {"RATE": -1.0}),
        (2, 1, 4, 100.0, more | {"RATE": -2.0, "CMT": 2}),
        (2, 1, 1, 100.0, more | {"RATE": -2.0, "CMT": 4}),
        (2, 3, 0, nan, more),
    ]
    found = refused(*rows, structure=Oral(dosing=Dosing(rate=(2,), duration=(1,))))
    assert [(p.row, p.id, p.column, p.message) for p in found] == [
        (1, "1", "CMT", "A dose goes into compartment 3, but the structure has 2: 1 depot, 2 "
         "central."),
        (5, "2", "CMT", "A dose goes into compartment 4, but the structure has 2: 1 depot, 2 "
         "central."),
        (3, "2", "RATE", "RATE -1 asks for a modelled rate of a dose into compartment 1, for which "
         "the structure has no parameter."),
        (4, "2", "RATE", "RATE -2 asks for a modelled duration of a dose into compartment 2, for "
         "which the structure has no parameter."),
    ]  # fmt: skip
    assert "dosing=Dosing(rate=(1,)), which adds the parameter R1," in found[2].remedy
    assert "dosing=Dosing(duration=(2,)), which adds the parameter D2," in found[3].remedy
    assert events(*rows[2:3], *rows[-1:], structure=Oral(dosing=Dosing(rate=(1,)))).rate[0] == -1
    rows[3:5] = [(2, 1, 1, 100.0, more | {"RATE": -2.0, "CMT": 2})]
    assert events(*rows[3:], structure=Oral(dosing=Dosing(duration=2))).rate[0] == -2


CHANGING = [
    (1, 0, 1, 100.0, {"WT": 60.0}), (1, 1, 0, nan, {"WT": 70.0}), (1, 2, 4, 50.0, {"WT": 80.0}),
    (1, 2, 0, nan, {"WT": 80.0}), (1, 5, 2, nan, {"WT": 60.0}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("carry", "times"), [("nonmem", (0, 1, 2)), ("nocb", (0, 1, 2)), ("locf", (1, 2, 5))]
)
def test_switches_stand_before_the_record_that_brings_the_change(carry, times):
    found = events(*CHANGING, units=UNITS | {"WT": "kg"}, carry=carry)
    assert found.kind.tolist() == [DOSE, ROW, OBSERVE, ROW, RESET, DOSE, OBSERVE, ROW]
    assert found.place.tolist() == [0, 1, 1, 2, 2, 2, 2, 0]
    assert found.time[found.kind == ROW].tolist() == list(times)
    assert found.n_rows == 3
    assert found.output.tolist() == [-1, -1, 0, -1, -1, -1, 1, -1]


def test_rows_may_be_chosen():
    data = dataset(*CHANGING, units=UNITS | {"WT": "kg"}, carry="locf")
    found = events_of(data, Oral(), rows=data.parameter_rows(covariates=[]))
    assert ROW not in found.kind
    assert found.n_rows == 1


# A one-compartment body, V = 20, CL = WT / 10, walked through by hand.
CLEARANCE, VOLUME = 0.1, 20.0


def concentrations(data):
    """Boluses into one compartment, the parameters switched as the events say."""
    found, weight = events_of(data, Oral()), data.parameter_rows().covariates["WT"].to_numpy()
    amount, time, row, out = 0.0, found.time[0], 0, []
    for k in range(len(found.time)):
        until = found.time[k]
        assert until >= time
        amount *= np.exp(-CLEARANCE * weight[row] ** 0.75 / VOLUME * (until - time))
        time = until
        if found.kind[k] == ROW:
            row = found.place[k]
        elif found.kind[k] == DOSE:
            amount += found.amount[k]
        else:
            # The volume goes with the weight, as it is at the time of the sample.
            out.append(amount / (VOLUME * weight[row] / 60.0))
    return np.array(out)


TIMES = np.array([0.0, 1.0, 3.0, 7.0])
WEIGHTS = np.array([60.0, 66.0, 60.0, 90.0])


def exact(rate, until):
    """The concentrations when `rate(t)` is CL(t) / V between the records."""
    grid = np.linspace(0.0, until, 70_001)
    middle = (grid[1:] + grid[:-1]) / 2
    area = np.concatenate([[0.0], np.cumsum(rate(middle) * np.diff(grid))])
    amount = 100.0 * np.exp(-np.interp(TIMES[1:], grid, area))
    return amount / (VOLUME * WEIGHTS[1:] / 60.0)


@pytest.mark.parametrize("carry", ["nonmem", "nocb", "locf", "linear"])
def test_the_body_sees_the_covariate_that_the_rule_says(carry):
    def weight(t):
        after = np.searchsorted(TIMES, t, side="left")  # of the record at the interval's end
        if carry == "linear":
            return np.interp(t, TIMES, WEIGHTS)
        return WEIGHTS[after - 1 if carry == "locf" else after]

    rows = [(1, t, int(t == 0), 100.0 * (t == 0), {"WT": w})
            for t, w in zip(TIMES, WEIGHTS, strict=True)]  # fmt: skip
    data = dataset(*rows, units=UNITS | {"WT": "kg"}, carry=carry)
    expected = exact(lambda t: CLEARANCE * weight(t) ** 0.75 / VOLUME, TIMES[-1])
    np.testing.assert_allclose(concentrations(data), expected, rtol=2e-6)


@pytest.mark.parametrize("carry", ["nonmem", "nocb", "locf", "linear"])
def test_blank_cells_do_not_count(carry):
    blank = [(1, t, 2, nan, {"WT": nan}) for t in (0.5, 2.0, 5.0)]
    known = [(1, t, int(t == 0), 100.0 * (t == 0), {"WT": w})
             for t, w in zip(TIMES, WEIGHTS, strict=True)]  # fmt: skip
    units = UNITS | {"WT": "kg"}
    without = concentrations(dataset(*known, units=units, carry=carry))
    both = sorted(known + blank, key=lambda row: row[1])
    if carry == "nonmem":
        with pytest.raises(DataError, match="column WT: WT is missing"):
            dataset(*both, units=units, carry=carry)
        return
    with_blanks = concentrations(dataset(*both, units=units, carry=carry))
    np.testing.assert_allclose(with_blanks, without, rtol=1e-6 if carry == "linear" else 1e-13)


def test_subjects_do_not_see_each_other_in_a_large_table():
    n, size = 5000, 20
    frame = pd.DataFrame({"ID": np.repeat(np.arange(n), size), "TIME": np.tile(np.arange(size), n)})
    first = frame["TIME"] == 0
    small = read_dataset(
        frame[:size].assign(EVID=1 * first[:size], AMT=1.0 * first[:size], DV=1.0, WT=60.0),
        units=UNITS | {"WT": "kg"}, carry="nonmem",
    )  # fmt: skip
    table = small.table.isel(record=np.tile(np.arange(size), n))
    table = table.assign(
        ID=("record", frame["ID"].astype(str)), WT=("record", 60.0 + frame["TIME"] // 5)
    )
    data = type(small)(table, small.units, ("WT",), carry="nonmem")
    found = events_of(data, Oral())
    assert found.n_rows == 4 * n
    assert len(found.time) == n * (size + 3)
    assert (np.diff(found.first) == size + 3).all()
    one = found.subject(n - 1)
    np.testing.assert_array_equal(one.code, found.subject(0).code)
    np.testing.assert_array_equal(one.number, found.subject(0).number)

"""Combinations of steady state, lag, resets and modelled infusions against plain superposition.

The simulator here shares nothing with popk: one closed form per single dose, and for steady state a
train of doses long enough that the earliest is forgotten. It is checked against the exact values of
nmtests_dosing.csv before it is believed.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import pytest

from popk.dataset import read_dataset
from popk.structure import Dosing, FirstOrder, OneCompartment, concentrations, events_of

DOSING = Dosing(bioavailability=2, lag=2, duration=2, rate=2)
STRUCTURE = OneCompartment(FirstOrder(), dosing=DOSING)
UNITS = {"time": "h", "amount": "mg", "concentration": "mg/L"}
CL, V, KA = 1.1, 20.0, 1.5
K = CL / V
FORGOTTEN = 60.0  # half-lives over ln 2 after which a dose has left no digit of a double
TIMES = np.concatenate([[0.0, 12.0, 24.0], np.arange(0.37, 130.0, 2.61)])


@dataclass(frozen=True)
class Numerical(OneCompartment):
    """The same equations, given to the ODE solver."""

    closed_form = None
    tolerance: float = field(default=1e-10, kw_only=True)


def central(age, compartment):
    """Amount in central, at an age, of a unit bolus."""
    old = np.maximum(age, 0.0)
    if compartment == 2:
        amount = np.exp(-K * old)
    else:
        amount = KA / (KA - K) * (np.exp(-K * old) - np.exp(-KA * old))
    return np.where(age >= 0.0, amount, 0.0)


def infused(age, compartment):
    """Amount in central of an infusion of rate 1 that has been running for this age."""
    old = np.maximum(age, 0.0)
    slow = -np.expm1(-K * old) / K
    if compartment == 2:
        return slow
    return KA / (KA - K) * (slow + np.expm1(-KA * old) / KA)


def contribution(dose, p, times):
    """Amount in central at each time, of one record's doses as if nothing interrupted them."""
    own = dose["CMT"] == 2
    f, lag = (p["F2"], p["ALAG2"]) if own else (1.0, 0.0)
    amount, rate, start = f * dose["AMT"], dose.get("RATE", 0.0), dose["TIME"] + lag
    if dose["AMT"] == 0.0:  # a constant infusion that ends here
        age = times - dose["TIME"]
        long = FORGOTTEN / K
        ended = infused(age + long, dose["CMT"]) - infused(age, dose["CMT"])
        return rate * np.where(age >= 0.0, ended, 0.0)
    if rate == -1.0:
        rate = p["R2"]
    duration = p["D2"] if rate == -2.0 else amount / rate if rate else 0.0
    interval = dose.get("II", 0.0)
    before = 0
    if dose.get("SS", 0):
        before = int(np.ceil((FORGOTTEN / K + lag + duration) / interval))
    landing = start + interval * np.arange(-before, dose.get("ADDL", 0) + 1)
    age = np.asarray(times)[:, None] - landing
    if duration == 0.0:
        amounts = amount * central(age, dose["CMT"])
    else:
        running = infused(age, dose["CMT"]) - infused(age - duration, dose["CMT"])
        amounts = amount / duration * running
    return amounts.sum(axis=1)


def superposed(records, p, times):
    """Concentrations at times, each after the records at that time."""
    total = np.zeros(len(times))
    for record in records:
        after = times >= record["TIME"]
        if record["EVID"] in (3, 4) or record.get("SS") == 1:
            total[after] = 0.0
        if record["EVID"] in (1, 4):
            total[after] += contribution(record, p, times[after])
    return total / V


def table_of(records, times):
    """The records, and an observation after them at each of the times."""
    columns = ["TIME", "EVID", "AMT", "CMT", "RATE", "II", "ADDL", "SS", "DV"]
    observed = [{"TIME": t, "EVID": 0, "AMT": 0.0, "CMT": 2, "DV": 1.0} for t in times]
    table = pd.DataFrame([*records, *observed]).reindex(columns=columns)
    filled = table.fillna(dict.fromkeys(["RATE", "II", "ADDL", "SS"], 0.0))
    return filled.sort_values("TIME", kind="stable").assign(ID=1)


def solved(structure, records, p, times):
    dataset = read_dataset(table_of(records, times), units=UNITS)
    theta = np.array([[CL, V, KA, p["F2"], p["ALAG2"], p["D2"], p["R2"]]])
    return concentrations(structure, theta, events_of(dataset, structure))


def dose(time=0.0, amount=100.0, *, evid=1, into=2, rate=0.0, every=0.0, more=0, steady=0):
    return {
        "TIME": time, "EVID": evid, "AMT": amount, "CMT": into, "RATE": rate, "II": every,
        "ADDL": more, "SS": steady,
    }  # fmt: skip


def reset(time):
    return {"TIME": time, "EVID": 3, "AMT": 0.0, "CMT": 2}


PLAIN = {"F2": 1.0, "ALAG2": 0.0, "D2": 2.0, "R2": 10.0}
LAGGED = PLAIN | {"ALAG2": 4.15}
REDUCED = PLAIN | {"F2": 0.412}
BOTH = LAGGED | {"F2": 0.812}

CASES = {
    "infusions at steady state, lag and F": (BOTH, [dose(rate=10, every=12, more=4, steady=1)]),
    "infusions at steady state, longer than II": (
        PLAIN, [dose(rate=8, every=6, more=8, steady=1)],
    ),
    "infusions at steady state, three times II": (
        PLAIN, [dose(rate=100 / 21, every=6.5, more=2, steady=1)],
    ),
    "infusions at steady state, longer than II, lag and F": (
        BOTH, [dose(rate=5, every=6, more=8, steady=1)],
    ),
    "infusions at steady state, II = duration": (
        PLAIN, [dose(rate=100 / 12, every=12, more=3, steady=1)],
    ),
    "infusions at steady state, II = duration by F": (
        REDUCED, [dose(rate=100 * 0.412 / 12, every=12, more=3, steady=1)],
    ),
    "infusions at steady state, twice II = duration": (
        PLAIN, [dose(rate=100 / 12, every=6, more=3, steady=1)],
    ),
    "infusions at steady state, II = duration, lag": (
        LAGGED, [dose(rate=100 / 12, every=12, more=3, steady=1)],
    ),
    "modelled duration at steady state, F": (
        REDUCED | {"D2": 9.0}, [dose(rate=-2, every=24, more=3, steady=1)],
    ),
    "modelled duration at steady state, longer than II, lag": (
        LAGGED | {"D2": 31.0}, [dose(rate=-2, every=24, more=2, steady=1)],
    ),
    "modelled rate at steady state, F and lag": (
        BOTH, [dose(rate=-1, every=12, more=3, steady=1)],
    ),
    "modelled rate at steady state, longer than II": (
        PLAIN | {"R2": 3.0}, [dose(rate=-1, every=12, more=3, steady=1)],
    ),
    "boluses at steady state, lag longer than II": (
        PLAIN | {"ALAG2": 30.0}, [dose(every=12, more=3, steady=1)],
    ),
    "boluses at steady state, lag = II": (
        PLAIN | {"ALAG2": 12.0}, [dose(every=12, more=3, steady=1)],
    ),
    "infusions at steady state, lag longer than II": (
        PLAIN | {"ALAG2": 30.0}, [dose(rate=20, every=12, more=3, steady=1)],
    ),
    "infusions at steady state, lag and duration longer than II": (
        PLAIN | {"ALAG2": 30.0}, [dose(rate=100 / 17, every=12, more=3, steady=1)],
    ),
    "oral doses at steady state": (LAGGED, [dose(into=1, every=12, more=3, steady=1)]),
    "infusions into the depot at steady state, longer than II": (
        PLAIN, [dose(into=1, rate=7, every=12, more=3, steady=1)],
    ),
    "EVID 4 with SS, ADDL and lag": (
        PLAIN | {"ALAG2": 10.0}, [dose(evid=4, every=12, more=5, steady=1)],
    ),
    "EVID 4 with SS, lag and doses before": (
        LAGGED,
        [
            dose(0, 80, into=1, every=10, more=9),
            dose(12, 100, rate=8, every=8, more=3),
            dose(24, 60, evid=4, every=12, more=4, steady=1),
        ],
    ),
    "several steady states with lag": (
        LAGGED,
        [
            dose(evid=4, every=12, more=2, steady=1),
            dose(50, 150, evid=4, every=24, steady=1),
            dose(80, 50, evid=4, rate=20, every=8, more=2, steady=1),
        ],
    ),
    "steady states, each with doses to come of the one before": (
        PLAIN | {"ALAG2": 7.0},
        [dose(every=24, more=9, steady=1), dose(53, 200, every=12, more=9, steady=1)],
    ),
    "reset with doses to come": (
        PLAIN,
        [
            dose(into=1, rate=50, every=12, more=9),
            reset(50),
            dose(54, 120, into=1, every=16, more=2),
        ],
    ),
    "reset with doses to come and lag": (
        LAGGED,
        [dose(every=12, more=9), reset(49), dose(54, 120, every=16, more=2)],
    ),
    "reset between a dose and its lag": (
        PLAIN | {"ALAG2": 6.0}, [dose(), dose(20), reset(24), dose(40, 30)],
    ),
    "reset during an infusion": (PLAIN, [dose(rate=2), reset(24), dose(30, 50, rate=5)]),
    "SS 1, then SS 2": (
        PLAIN,
        [dose(every=24, more=5, steady=1), dose(12, 50, every=24, more=5, steady=2)],
    ),
    "SS 2 of infusions with lag, on running infusions": (
        BOTH,
        [
            dose(rate=6, every=12, more=9, steady=1),
            dose(7, 80, rate=4, every=24, more=3, steady=2),
            dose(9, 40, into=1, every=12, more=3, steady=2),
        ],
    ),
    "constant infusion at steady state": (PLAIN, [dose(12, 0, rate=7.5, steady=1)]),
    "constant infusion into the depot at steady state": (
        PLAIN, [dose(12, 0, into=1, rate=7.5, steady=1), dose(24, 50)],
    ),
    "constant infusion at steady state goes on": (
        PLAIN, [dose(12, 0, rate=7.5, steady=1), dose(12, 300, rate=7.5)],
    ),
    "infusions longer than their interval": (PLAIN, [dose(rate=4, every=12, more=5)]),
    "lag longer than the interval": (PLAIN | {"ALAG2": 40.0}, [dose(every=12, more=5)]),
}  # fmt: skip


def test_the_simulator_reproduces_the_exact_table(shipped_tables):
    table = pd.read_csv(shipped_tables / "nmtests_dosing.csv")
    for _, scenario in table.groupby("SCENARIO"):
        records = scenario[scenario["EVID"] != 0].to_dict("records")
        observed = scenario[scenario["EVID"] == 0]
        found = 1000.0 * superposed(records, records[0], observed["TIME"].to_numpy())
        np.testing.assert_allclose(found, observed["EXACT"], rtol=1e-10)


@pytest.mark.parametrize("case", CASES)
def test_closed_form(case):
    p, records = CASES[case]
    expected = superposed(records, p, np.sort(TIMES))
    assert np.count_nonzero(expected) > 10
    found = solved(STRUCTURE, records, p, TIMES)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("case", CASES)
def test_numerical(case):
    p, records = CASES[case]
    expected = superposed(records, p, np.sort(TIMES))
    found = solved(Numerical(FirstOrder(), dosing=DOSING), records, p, TIMES)
    np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-9)

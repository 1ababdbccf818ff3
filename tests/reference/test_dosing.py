"""Dosing events against NONMEM (5 digits) and an independent simulator (12 digits).

The scenarios are those of github.com/mrgsolve/nmtests; see popk/qualification/data.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from popk.dataset import read_dataset
from popk.structure import Dosing, FirstOrder, OneCompartment, concentrations, events_of

STRUCTURE = OneCompartment(
    FirstOrder(), dosing=Dosing(bioavailability=2, lag=2, duration=2, rate=2)
)
UNITS = {"time": "h", "amount": "mg", "concentration": "ug/L"}
EVENTS = ["ID", "TIME", "EVID", "AMT", "CMT", "SS", "II", "ADDL", "RATE", "DV"]
SCENARIOS = [*range(1, 9), 10, 11, *range(15, 19), *range(20, 24), 26]
FIVE_DIGITS = 5.01e-5


def solved(table):
    """Concentrations of the observations, with NONMEM's and the exact ones."""
    table = table.assign(ID=table["SCENARIO"], DV=table["NONMEM"].where(table["EVID"] == 0))
    events = events_of(read_dataset(table[EVENTS], units=UNITS), STRUCTURE)
    first = table.groupby("ID", sort=False).first()
    theta = np.column_stack(
        [np.broadcast_to([1.1, 20.0, 1.5], (len(first), 3)), first[["F2", "ALAG2", "D2", "R2"]]]
    )
    found = table.loc[table["EVID"] == 0, ["SCENARIO", "TIME", "NONMEM", "EXACT"]]
    return found.assign(FOUND=1000.0 * concentrations(STRUCTURE, theta, events))


def check(found):
    zero = found["EXACT"] == 0.0
    assert np.array_equal(found["FOUND"][zero], found["EXACT"][zero])
    rest = found[~zero]
    np.testing.assert_allclose(rest["FOUND"], rest["EXACT"], rtol=1e-9)
    np.testing.assert_allclose(rest["FOUND"], rest["NONMEM"], rtol=FIVE_DIGITS)


@pytest.fixture(scope="module")
def thinned(shipped_tables):
    return solved(pd.read_csv(shipped_tables / "nmtests_dosing.csv"))


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_scenario(thinned, scenario):
    found = thinned[thinned["SCENARIO"] == scenario]
    assert len(found) >= 20
    check(found)


def test_all_observations_of_all_scenarios(reference_data):
    table = pd.read_csv(reference_data / "nmtests_dosing" / "events_expected.csv")
    names = {"lagt": "ALAG2", "dur2": "D2", "rat2": "R2", "bioav": "F2"}
    table = table.rename(columns={**names, "cp_nonmem": "NONMEM", "cp_exact": "EXACT"})
    found = solved(table.rename(columns=str.upper))
    assert found["SCENARIO"].nunique() == len(SCENARIOS)
    assert len(found) == 131 * len(SCENARIOS)
    check(found)

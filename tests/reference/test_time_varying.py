"""A covariate that changes on every record, against NONMEM; see data/README.md."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from popk.dataset import read_dataset
from popk.structure import FirstOrder, OneCompartment, concentrations, events_of

STRUCTURE = OneCompartment(FirstOrder())
UNITS = {"time": "h", "amount": "mg", "concentration": "ug/L", "WT": "kg"}


@pytest.fixture(scope="module")
def table(small_tables):
    table = pd.read_csv(small_tables / "nmtests_timevarying.csv").assign(ID=1)
    return table.assign(DV=table["NONMEM"].where(table["EVID"] == 0))


def solved(table, carry):
    dataset = read_dataset(table.drop(columns=["NONMEM", "EXACT"]), units=UNITS, carry=carry)
    weight = dataset.parameter_rows().covariates["WT"].to_numpy()
    clearance = 1.1 * (weight / 70.0) ** 0.75
    theta = np.column_stack(np.broadcast_arrays(clearance, 20.0, 1.5))
    return 1000.0 * concentrations(STRUCTURE, theta, events_of(dataset, STRUCTURE))


def measured(table):
    return table[(table["EVID"] == 0) & (table["EXACT"] > 0.0)]


@pytest.mark.parametrize("carry", ["nonmem", "nocb"])
def test_the_record_at_the_end_of_an_interval_governs_it(table, carry):
    found = solved(table, carry)
    expected = measured(table)
    assert found[0] == 0.0
    assert len(expected) == len(found) - 1 == 32
    np.testing.assert_allclose(found[1:], expected["EXACT"], rtol=1e-9)
    np.testing.assert_allclose(found[1:], expected["NONMEM"], rtol=5.01e-5)


def carried_forward(table):
    """Concentrations, with the weight of the last record in force until the next; closed form."""
    (dose,) = table[table["EVID"] == 1].itertuples()
    doses = {dose.TIME + k * dose.II: dose.AMT for k in range(dose.ADDL + 1)}
    observed = table[table["EVID"] == 0].set_index("TIME")
    depot = central = now = 0.0
    weight, found = dose.WT, []
    for time in sorted({*doses, *observed.index}):
        k, ka, t = 1.1 * (weight / 70.0) ** 0.75 / 20.0, 1.5, time - now
        absorbed = ka / (ka - k) * (np.exp(-k * t) - np.exp(-ka * t))
        central = central * np.exp(-k * t) + depot * absorbed
        depot = depot * np.exp(-ka * t) + doses.get(time, 0.0)
        now = time
        if time in observed.index:
            weight = observed["WT"][time]
            found.append(1000.0 * central / 20.0)
    return np.array(found)


def test_the_last_observation_carried_forward_is_something_else(table):
    found = solved(table, "locf")
    np.testing.assert_allclose(found, carried_forward(table), rtol=1e-9)
    ratio = found[1:] / measured(table)["EXACT"]
    assert np.median(np.abs(ratio - 1.0)) > 5e-3
    assert np.max(np.abs(ratio - 1.0)) > 2e-2

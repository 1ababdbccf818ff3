"""The ACOP 2016 sets: NONMEM's individual predictions from its tabled individual parameters.

NONMEM 7.4.3, 120 subjects each; single and repeated doses, EVID 2 records as observations. The fits
ignored SS and II. Parameters and predictions have five digits: what rounding may do to a prediction
follows from the gradient, and the worst prediction uses nearly all of it.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from popk.dataset import read_dataset
from popk.structure import (
    FirstOrder,
    MichaelisMenten,
    OneCompartment,
    Solver,
    TwoCompartment,
    events_of,
)

UNITS = {"time": "h", "amount": "ug", "concentration": "ug/L"}
RUNS = {
    "runN004": ("Bolus_1CPT", OneCompartment()),
    "runN015": ("Infusion_1CPT", OneCompartment()),
    "runN026": ("Oral_1CPT", OneCompartment(FirstOrder())),
    "runN035": ("Bolus_2CPT", TwoCompartment()),
    "runN049": ("Infusion_2CPT", TwoCompartment()),
    "runODE009": ("Bolus_1CPTMM", OneCompartment(elimination=MichaelisMenten())),
    "runODE029": ("Oral_1CPTMM", OneCompartment(FirstOrder(), MichaelisMenten())),
    "runODE054": ("Infusion_2CPTMM", TwoCompartment(elimination=MichaelisMenten())),
}


def rounding(x):
    """Half of the fifth digit's unit, relative."""
    return 0.5 * 10.0 ** (np.floor(np.log10(x)) - 4.0) / x


@pytest.mark.parametrize("run", RUNS)
def test_individual_predictions(reference_data, tightly, run):
    folder = reference_data / "acop2016_nonmem"
    name, structure = RUNS[run]
    if structure.closed_form is None:
        structure = tightly(structure)
    table = pd.read_csv(folder / f"{name}.csv")
    nonmem = pd.read_csv(folder / "ipred" / f"{run}.csv")
    if len(nonmem) < len(table):  # fitted to the single doses alone
        table = table[table["SD"] == 1].reset_index(drop=True)
    for column in ("ID", "TIME", "EVID"):
        assert np.array_equal(table[column], nonmem[column])
    table["DV"] = table["DV"].where(table["EVID"] == 0).clip(lower=1.0)
    dataset = read_dataset(table.drop(columns=["SS", "II"], errors="ignore"), units=UNITS)

    tabled = nonmem.groupby("ID").first().rename(columns={"VM": "VMAX"})
    tabled["V1"] = tabled["V"]
    theta = tabled[list(structure.names)].to_numpy()
    events = events_of(dataset, structure, everywhere=True)
    solver = Solver(structure, events)
    found, gradient = solver.run(theta)
    wanted = nonmem.loc[nonmem["EVID"] != 1, ["ID", "IPRED"]]
    expected = wanted["IPRED"].to_numpy()
    assert len(found) == len(expected) >= 2280
    assert np.all(expected > 0.0)

    subject = np.searchsorted(tabled.index, wanted["ID"])
    sensitivity = np.abs(gradient * theta[subject] / found[:, None])
    allowed = rounding(expected) + (sensitivity * rounding(theta[subject])).sum(axis=1)
    assert_slopes(solver, theta, found, gradient * theta[subject])
    error = np.abs(found / expected - 1.0)
    assert np.median(error) <= 1.3e-5
    # A gradient that is too large would allow more than rounding does.
    assert np.max(error / allowed) > 0.9
    # NONMEM's own ODE solver adds a little.
    assert np.all(error <= 1.01 * allowed + (1e-6 if structure.closed_form is None else 1e-9))
    assert error.max() <= (5e-4 if structure.closed_form is None else 1.4e-4)


def assert_slopes(solver, theta, value, slopes):
    """By the logarithm of each parameter: sign and size, from values a thousandth apart."""
    for j in range(theta.shape[1]):
        moved = []
        for factor in (0.999, 1.001):
            point = theta.copy()
            point[:, j] *= factor
            moved.append(solver.run(point, with_gradient=False).value)
        expected = (moved[1] - moved[0]) / 0.002
        wrong = np.abs(slopes[:, j] - expected) / (np.abs(expected) + 0.1 * value)
        assert wrong.max() < 1e-2

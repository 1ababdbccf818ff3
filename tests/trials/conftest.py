"""Linear models whose trials can be computed by hand."""

import numpy as np
import pandas as pd
import pytest

from popk.individual import Trough
from popk.model import PopModel
from popk.regimen import Regimen
from popk.statistics import IIV, IOV, Fixed, LogNormalError, Power
from popk.structure import OneCompartment
from popk.trials import Conduct

CL, V, DOSE = 0.2, 5.0, 300.0
UNITS = {"time": "d", "amount": "mg", "concentration": "mg/L", "WT": "kg"}
TARGET = Trough(15.0, "mg/L")
RUN_IN = Regimen(amount=DOSE, interval=28, repeats=4)


def linear(*, omega=0.0, omega_v=0.0, iov=0.0, sigma=0.2, weight=0.0, cl=CL):
    """One compartment, known population parameters."""
    omegas = {name: Fixed(w) for name, w in (("CL", omega), ("V", omega_v)) if w}
    return PopModel(
        OneCompartment(),
        typical={"CL": Fixed(cl), "V": Fixed(V)},
        iiv=IIV(omegas),
        iov=IOV({"CL": Fixed(iov)}) if iov else None,
        covariates=(Power("CL", "WT", reference=70, exponent=Fixed(weight)),) if weight else (),
        error=LogNormalError(Fixed(sigma)),
        units=UNITS,
        name="linear",
    )


def by_hand(weeks, *, cl=CL, first=28.0, repeats=4):
    """True troughs of boluses: the run-in's, then after each of the weeks."""
    level, found = 0.0, []
    for gap in [first] * repeats + [7.0 * week for week in weeks]:
        level = (level + DOSE / V) * np.exp(-cl / V * gap)
        found.append(level)
    return np.array(found)


@pytest.fixture(scope="session")
def conduct():
    return Conduct(run_in=RUN_IN)


@pytest.fixture(scope="session")
def people():
    return pd.DataFrame({"WT": 70.0 * np.exp(0.2 * np.random.default_rng(2).normal(size=60))})

"""Wang's ten subjects (J Pharmacokinet Pharmacodyn 2007;34:575, table 1): marginal likelihoods.

C = 10 exp(-ke t), ke = 0.5 exp(eta), omega^2 = 0.04, residual variance 0.1. NONMEM's objective
leaves out n log(2 pi). FOCEI gives 39.458 and -2.059, adaptive quadrature (nlmixr2) 39.297 and
-1.938; compared are Gauss-Hermite quadratures with 200 points.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.special import logsumexp

from popk.dataset import read_dataset
from popk.individual import find_modes, patients_of, propose
from popk.model import PopModel
from popk.population import PopulationDraws
from popk.statistics import (
    IIV,
    NUMPY,
    Additive,
    Combined,
    CombinedSD,
    Fixed,
    Observed,
    PowerError,
    Proportional,
)
from popk.structure import OneCompartment

UNITS = {"time": "h", "amount": "mg", "concentration": "mg/L"}
SD = np.sqrt(0.1)
EXACT = {"proportional var=0.1": 39.3548, "additive var=0.1": -1.9896}
ERRORS = {
    "proportional var=0.1": (Proportional(Fixed(SD)), Combined(Fixed(SD), Fixed(1e-9)),
                             CombinedSD(Fixed(SD), Fixed(1e-9)),
                             PowerError(Fixed(SD), Fixed(1.0))),
    "additive var=0.1": (Additive(Fixed(SD)), Combined(Fixed(1e-9), Fixed(SD)),
                         PowerError(Fixed(SD), Fixed(1e-9))),
}  # fmt: skip
CASES = [(name, error) for name, errors in ERRORS.items() for error in errors]
each = pytest.mark.parametrize(("name", "error"), CASES, ids=lambda x: str(x)[:32])


@pytest.fixture(scope="module")
def samples(shipped_tables):
    return pd.read_csv(shipped_tables / "wang2007.csv")


def observed_of(y):
    zero, one = np.zeros(len(y), dtype=np.int64), np.ones(len(y))
    return Observed(y, one, one, zero, zero, zero, zero, one)


@each
def test_by_quadrature(samples, name, error):
    """The integral over eta on a grid of 4001 points from -8 to 8 omega."""
    z = np.linspace(-8.0, 8.0, 4001)
    prior = -0.5 * z**2 - 0.5 * np.log(2 * np.pi) + np.log(z[1] - z[0])
    sigma = {key: np.array([[prior.median]]) for key, prior in error.priors}
    total = 0.0
    for _, own in samples.groupby("ID"):
        f = 10.0 * np.exp(-0.5 * np.exp(0.2 * z)[:, None] * own["TIME"].to_numpy())
        y = observed_of(own["DV"].to_numpy())
        each_one = error.log_likelihood(y, f, sigma, NUMPY).sum(axis=1)
        total += -2.0 * logsumexp(each_one + prior) - len(own) * np.log(2 * np.pi)
    assert total == pytest.approx(EXACT[name], abs=1e-3)


@pytest.mark.parametrize("name", EXACT)
def test_by_the_patients_kernel(samples, name):
    """A bolus of 10 mg into 1 L, observed just after it and later: importance sampling."""
    model = PopModel(
        OneCompartment(),
        typical={"CL": Fixed(0.5), "V": Fixed(1.0)},
        iiv=IIV({"CL": Fixed(0.2)}),
        error=ERRORS[name][0],
        units=UNITS,
    )
    doses = samples.drop_duplicates("ID")[["ID"]].assign(TIME=0.0, EVID=1, AMT=10.0)
    records = pd.concat([doses, samples.assign(EVID=0, AMT=0.0)])
    dataset = read_dataset(records.sort_values("ID", kind="stable"), units=UNITS)
    draws = 400
    population = PopulationDraws(
        model, {p.name: np.full(draws, p.prior.median) for p in model.parameters}
    )
    rng = np.random.default_rng(20)
    total, variance = 0.0, 0.0
    for patient in patients_of(population, dataset):
        modes = find_modes(population, patient)
        found = np.exp(propose(population, patient, modes, each=50, rng=rng).log_marginal)
        total += -2.0 * np.log(found.mean()) - 2 * np.log(2 * np.pi)
        variance += 4.0 * found.var() / found.mean() ** 2 / draws
    assert np.sqrt(variance) < 0.02
    assert total == pytest.approx(EXACT[name], abs=4.0 * np.sqrt(variance))

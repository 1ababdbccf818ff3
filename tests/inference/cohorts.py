"""Small cohorts whose posterior is known otherwise, for the tests of the methods."""

import numpy as np
import pandas as pd
from scipy import stats
from scipy.special import logsumexp

from popk.dataset import read_dataset
from popk.model import PopModel
from popk.statistics import IIV, Fixed, HalfNormal, LogNormal, LogNormalError
from popk.structure import Dosing, FirstOrder, OneCompartment

UNITS = {"time": "h", "amount": "mg", "concentration": "mg/L"}
TIMES = np.array([2.0, 20.0, 50.0])
V, SIGMA = 5.0, 0.15
CL_PRIOR, OMEGA_PRIOR = LogNormal(0.2, cv=0.5), HalfNormal(0.5)
TWO_UNKNOWN = PopModel(
    OneCompartment(),
    typical={"CL": CL_PRIOR, "V": Fixed(V)},
    iiv=IIV({"CL": OMEGA_PRIOR}),
    error=LogNormalError(Fixed(SIGMA)),
    units=UNITS,
    name="two unknown",
)
# Exchanging the rate constants changes neither a concentration (F1 varies between subjects, not the
# rates) nor the density of the priors, as the medians of V and KA multiply to CL.
FLIP_FLOP = PopModel(
    OneCompartment(FirstOrder(), dosing=Dosing(bioavailability=1)),
    typical={
        "CL": Fixed(2.0),
        "V": LogNormal(10.0, cv=1.0),
        "KA": LogNormal(0.2, cv=1.0),
        "F1": Fixed(1.0),
    },
    iiv=IIV({"F1": HalfNormal(0.3)}),
    error=LogNormalError(Fixed(0.3)),
    units=UNITS,
    name="exchangeable",
)


def _table(rows):
    columns = ["ID", "TIME", "EVID", "AMT", "DV", "CMT"]
    return read_dataset(pd.DataFrame(rows, columns=columns), units=UNITS)


def _given(subject, times, values, *, amount, central):
    """A dose at time 0 into compartment 1, and observations of the central one."""
    rows = [(subject, 0.0, 1, amount, np.nan, 1)]
    pairs = zip(times, values, strict=True)
    return rows + [(subject, time, 0, np.nan, dv, central) for time, dv in pairs]


def _log_concentrations(log_cl):
    return np.log(300.0 / V) - np.exp(log_cl)[..., None] / V * TIMES


def two_unknown():
    """Data for `TWO_UNKNOWN`, and the logarithms of the concentrations (6, 3)."""
    rng = np.random.default_rng(4)
    log_cl = np.log(0.25) + 0.4 * rng.standard_normal(6)
    log_dv = _log_concentrations(log_cl) + SIGMA * rng.standard_normal((6, 3))
    rows = []
    for k, own in enumerate(np.exp(log_dv)):
        rows += _given(f"S{k}", TIMES, own, amount=300.0, central=1)
    return _table(rows), log_dv


Z = np.linspace(-6, 6, 161)


def log_density(log_dv, cl, omega):
    """Log density of scores of the priors at the values CL and omega_CL (n), up to no constant.

    The residual error is normal for the logarithm; the density is that of the concentrations.
    """
    found = np.empty(len(cl))
    for k in range(len(cl)):
        log_f = _log_concentrations(np.log(cl[k]) + omega[k] * Z)
        each = stats.norm.logpdf(log_dv[:, None], log_f, SIGMA) - log_dv[:, None]
        joint = each.sum(axis=-1) + stats.norm.logpdf(Z)
        found[k] = (logsumexp(joint, axis=-1) + np.log(Z[1] - Z[0])).sum()
    scores = CL_PRIOR.score(cl), OMEGA_PRIOR.score(omega)
    return found + sum(stats.norm.logpdf(own) for own in scores)


def on_grid(log_dv):
    """Values of CL and omega_CL (n), their posterior probabilities, and the log evidence."""
    scores = np.linspace(-4, 4, 81)
    cl, omega = np.meshgrid(CL_PRIOR.at_score(scores), OMEGA_PRIOR.at_score(scores), indexing="ij")
    density = log_density(log_dv, cl.ravel(), omega.ravel())
    evidence = logsumexp(density) + 2 * np.log(scores[1] - scores[0])
    weight = np.exp(density - logsumexp(density))
    return {"CL": cl.ravel(), "omega_CL": omega.ravel()}, weight, float(evidence)


def flip_flop():
    """Data for `FLIP_FLOP`: four subjects after an oral dose."""
    rng = np.random.default_rng(3)
    times = np.array([0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 24.0])
    ka, ke = 0.4, 0.1
    shape = 100.0 / 20.0 * ka / (ka - ke) * (np.exp(-ke * times) - np.exp(-ka * times))
    rows = []
    for k in range(4):
        factor = np.exp(0.2 * rng.standard_normal())
        dv = factor * shape * np.exp(0.3 * rng.standard_normal(len(times)))
        rows += _given(f"S{k}", times, dv, amount=100.0, central=2)
    return _table(rows)

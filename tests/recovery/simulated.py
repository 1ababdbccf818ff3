"""Cohorts simulated by arithmetic of their own, with the values that they were simulated with.

Closed forms and SciPy's ODE solver stand in for popk's engine; seeds are fixed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.integrate import solve_ivp

from popk.dataset import Dataset, read_dataset
from popk.model import PopModel
from popk.statistics import (
    IIV,
    IOV,
    Autocorrelated,
    Correlated,
    HalfNormal,
    LogNormal,
    Proportional,
    StudentTError,
)
from popk.structure import (
    FirstOrder,
    OneCompartment,
    QuasiSteadyState,
    TargetMediated,
)

UNITS = {"time": "h", "amount": "mg", "concentration": "mg/L"}
COLUMNS = ["ID", "TIME", "EVID", "AMT", "DV", "CENS", "LLOQ", "OCC"]
WEAK = HalfNormal(1.0)


@dataclass(frozen=True)
class Case:
    """A model, the true values of its parameters by name, and a cohort that they gave."""

    model: PopModel
    true: dict[str, float]
    data: Dataset


def roughly(true: dict[str, float], names: tuple[str, ...]) -> dict[str, LogNormal]:
    """Priors 30 % off the true typical values, with a CV of 100 %."""
    off = (1.3, 0.7)
    return {name: LogNormal(true[name] * off[k % 2], cv=1.0) for k, name in enumerate(names)}


def bateman(time, dose, cl, v, ka):
    """Concentration after an oral dose at time zero."""
    k = cl / v
    return dose * ka / v / (ka - k) * (np.exp(-k * time) - np.exp(-ka * time))


def effects(rng, sds, n, correlation=None):
    """Random effects (n, k) with these SDs and correlations."""
    z = rng.standard_normal((n, len(sds)))
    if correlation is not None:
        z = z @ np.linalg.cholesky(correlation).T
    return z * np.asarray(sds)


def records(who, times, dv, *, dose, start=0.0, occasion=1, lloq=np.nan):
    """A dose at ``start`` and the observations at times after it."""
    found = [(who, start, 1, dose, np.nan, 0, np.nan, occasion)]
    for t, y in zip(times, dv, strict=True):
        below = bool(y < lloq)
        found.append((who, start + t, 0, np.nan, lloq if below else y, int(below), lloq, occasion))
    return found


def table(rows, *, drop=(), units=UNITS):
    frame = pd.DataFrame(rows, columns=COLUMNS).drop(columns=list(drop))
    return read_dataset(frame, units=units)


def oral_below_limit() -> Case:
    """60 patients after one oral dose, a third of the samples below the limit (M3)."""
    rng = np.random.default_rng(101)
    true = {"CL": 5.0, "V": 50.0, "KA": 1.2, "sigma_prop": 0.2}
    true |= {"omega_CL": 0.35, "omega_V": 0.25, "omega_KA": 0.5}
    times = np.array([0.5, 1.0, 2.0, 4.0, 8.0, 12.0, 24.0, 36.0])
    eta = effects(rng, [true[f"omega_{n}"] for n in ("CL", "V", "KA")], 60)
    cl, v, ka = (true[n] * np.exp(eta[:, [k]]) for k, n in enumerate(("CL", "V", "KA")))
    f = bateman(times, 100.0, cl, v, ka)
    dv = f * (1 + true["sigma_prop"] * rng.standard_normal(f.shape))
    limit = 0.55
    assert 0.25 < (dv < limit).mean() < 0.4
    rows = [r for k in range(60) for r in records(k, times, dv[k], dose=100.0, lloq=limit)]
    model = PopModel(
        OneCompartment(FirstOrder()),
        typical=roughly(true, ("CL", "V", "KA")),
        iiv=IIV(dict.fromkeys(("CL", "V", "KA"), WEAK)),
        error=Proportional(WEAK),
        units=UNITS,
        name="oral, below the limit",
    )
    return Case(model, true, table(rows, drop=("OCC",)))


def occasions() -> Case:
    """40 patients, an oral dose in each of three occasions; CL and V correlated, IOV of CL, KA."""
    rng = np.random.default_rng(102)
    true = {"CL": 5.0, "V": 50.0, "KA": 1.0, "sigma_prop": 0.15, "corr_CL_V": 0.6}
    true |= {"omega_CL": 0.35, "omega_V": 0.25, "omega_KA": 0.4}
    true |= {"omega_iov_CL": 0.2, "omega_iov_KA": 0.5}
    correlation = np.eye(3)
    correlation[0, 1] = correlation[1, 0] = true["corr_CL_V"]
    times = np.array([0.5, 1.5, 4.0, 10.0, 24.0])
    eta = effects(rng, [true[f"omega_{n}"] for n in ("CL", "V", "KA")], 40, correlation)
    kappa = effects(rng, [true["omega_iov_CL"], true["omega_iov_KA"]], 120).reshape(40, 3, 2)
    rows = []
    for k in range(40):
        for occasion in range(3):  # a week apart: nothing is left of the dose before
            cl = true["CL"] * np.exp(eta[k, 0] + kappa[k, occasion, 0])
            ka = true["KA"] * np.exp(eta[k, 2] + kappa[k, occasion, 1])
            f = bateman(times, 100.0, cl, true["V"] * np.exp(eta[k, 1]), ka)
            dv = f * (1 + true["sigma_prop"] * rng.standard_normal(len(f)))
            start, number = 168.0 * occasion, occasion + 1
            rows += records(k, times, dv, dose=100.0, start=start, occasion=number)
    model = PopModel(
        OneCompartment(FirstOrder()),
        typical=roughly(true, ("CL", "V", "KA")),
        iiv=IIV(
            dict.fromkeys(("CL", "V", "KA"), WEAK),
            correlations=[Correlated(("CL", "V"), eta=1.0)],
        ),
        iov=IOV({"CL": WEAK, "KA": WEAK}),
        error=Proportional(WEAK),
        units=UNITS,
        name="three occasions",
    )
    return Case(model, true, table(rows, drop=("CENS", "LLOQ")))


def target_mediated() -> Case:
    """36 patients after 10 to 300 mg of an antibody that its target clears (quasi-steady state)."""
    rng = np.random.default_rng(103)
    units = UNITS | {"time": "d"}
    true = {"CL": 0.2, "V": 3.5, "KSS": 0.5, "R0": 2.0, "KDEG": 0.6, "KINT": 0.25}
    true |= {"sigma_prop": 0.15, "omega_CL": 0.3, "omega_V": 0.2, "omega_R0": 0.4}
    times = np.array([0.1, 1.0, 3.0, 7.0, 10.0, 14.0, 21.0, 28.0, 42.0])
    eta = effects(rng, [true[f"omega_{n}"] for n in ("CL", "V", "R0")], 36)

    def total(dose, cl, v, r0):
        def slopes(_, state):
            drug, target = state
            half = 0.5 * (drug - target - true["KSS"])
            free = half + np.sqrt(half**2 + true["KSS"] * drug)
            bound = target * free / (true["KSS"] + free)
            grown = true["KDEG"] * (r0 - (target - bound))
            return -cl / v * free - true["KINT"] * bound, grown - true["KINT"] * bound

        found = solve_ivp(
            slopes, (0, times[-1]), (dose / v, r0), t_eval=times, rtol=1e-8, atol=1e-10,
            method="LSODA",
        )  # fmt: skip
        return found.y[0]

    rows = []
    for k in range(36):
        dose = (10.0, 30.0, 100.0, 300.0)[k % 4]
        cl, v, r0 = (true[n] * np.exp(e) for n, e in zip(("CL", "V", "R0"), eta[k], strict=True))
        f = total(dose, cl, v, r0)
        dv = f * (1 + true["sigma_prop"] * rng.standard_normal(len(f)))
        rows += records(k, times, dv, dose=dose, lloq=0.02)
    names = ("CL", "V", "KSS", "R0", "KDEG", "KINT")
    model = PopModel(
        TargetMediated(QuasiSteadyState(), peripheral=False),
        typical=roughly(true, names),
        iiv=IIV(dict.fromkeys(("CL", "V", "R0"), WEAK)),
        error=Proportional(WEAK),
        units=units,
        name="target-mediated",
    )
    return Case(model, true, table(rows, drop=("OCC",), units=units))


def large_omega() -> Case:
    """80 patients with three samples each; CVs of CL and V of 90 and 60 %."""
    rng = np.random.default_rng(104)
    true = {"CL": 3.0, "V": 40.0, "sigma_prop": 0.2}
    true |= {"omega_CL": float(np.sqrt(np.log1p(0.81))), "omega_V": float(np.sqrt(np.log1p(0.36)))}
    eta = effects(rng, (true["omega_CL"], true["omega_V"]), 80)
    rows = []
    for k in range(80):
        times = rng.uniform((0.5, 6.0, 14.0), (4.0, 12.0, 30.0)).round(2)
        v = true["V"] * np.exp(eta[k, 1])
        f = 200.0 / v * np.exp(-true["CL"] * np.exp(eta[k, 0]) / v * times)
        dv = f * (1 + true["sigma_prop"] * rng.standard_normal(3))
        rows += records(k, times, dv, dose=200.0)
    model = PopModel(
        OneCompartment(),
        typical=roughly(true, ("CL", "V")),
        iiv=IIV({"CL": HalfNormal(1.5), "V": HalfNormal(1.5)}),
        error=Proportional(HalfNormal(0.5)),
        units=UNITS,
        name="large omega",
    )
    return Case(model, true, table(rows, drop=("CENS", "LLOQ", "OCC")))


def residuals(kind: str) -> Case:
    """40 patients after a bolus; residual error ``"autocorrelated"`` or ``"heavy"`` (Student t)."""
    rng = np.random.default_rng(107)
    true = {"CL": 3.0, "V": 40.0, "omega_CL": 0.3, "omega_V": 0.2, "sigma_prop": 0.15}
    eta = effects(rng, (true["omega_CL"], true["omega_V"]), 40)
    times = np.array([0.5, 1.0, 2.0, 4.0, 6.0, 9.0, 12.0, 18.0, 24.0, 30.0])
    if kind == "autocorrelated":
        true["half_time"] = 3.0
        factor = np.linalg.cholesky(0.5 ** (np.abs(times[:, None] - times) / true["half_time"]))
        noise = rng.standard_normal((40, len(times))) @ factor.T
        error = Autocorrelated(Proportional(WEAK), LogNormal(2.0, cv=1.0))
    else:
        true["freedom"] = 4.0
        noise = rng.standard_t(true["freedom"], (40, len(times)))
        error = StudentTError(Proportional(WEAK), LogNormal(6.0, cv=1.0))
    cl, v = (true[n] * np.exp(eta[:, [k]]) for k, n in enumerate(("CL", "V")))
    f = 200.0 / v * np.exp(-cl / v * times)
    dv = f * (1 + true["sigma_prop"] * noise)
    # A negative reading is no reading; of 400 samples none or one.
    rows = [row for k in range(40) for row in records(k, times, dv[k], dose=200.0)]
    rows = [row for row in rows if row[2] or row[4] > 0]
    model = PopModel(
        OneCompartment(),
        typical=roughly(true, ("CL", "V")),
        iiv=IIV({"CL": WEAK, "V": WEAK}),
        error=error,
        units=UNITS,
        name=f"{kind} residuals",
    )
    return Case(model, true, table(rows, drop=("CENS", "LLOQ", "OCC")))

"""Cohorts of which a model is right, or wrong in one known way; by arithmetic of their own."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy.integrate import solve_ivp

from popk.dataset import Dataset, read_dataset
from popk.model import PopModel
from popk.statistics import IIV, Additive, Combined, HalfNormal, LogNormal, Power, Proportional
from popk.structure import FirstOrder, MichaelisMenten, OneCompartment, TwoCompartment

UNITS = {"time": "h", "amount": "mg", "concentration": "mg/L", "WT": "kg"}
DAYS = UNITS | {"time": "d"}
WEAK = HalfNormal(1.0)


@dataclass(frozen=True)
class Criticised:
    """A model, data, and the checks of which at least one must flag it (none: it is right)."""

    model: PopModel
    data: Dataset
    flags: tuple[str, ...] = ()


def model(structure, typical, error, *, units=UNITS, iiv=("CL", "V"), covariates=()):
    """A model with weak priors around these typical values."""
    return PopModel(
        structure,
        typical={name: LogNormal(value, cv=1.0) for name, value in typical.items()},
        iiv=IIV(dict.fromkeys(iiv, WEAK)),
        covariates=covariates,
        error=error,
        units=units,
    )


def read(rows, units=UNITS):
    names = ["ID", "TIME", "EVID", "AMT", "DV", "CENS", "LLOQ", "WT"]
    return read_dataset(pd.DataFrame(rows, columns=names), units=units)


def course(rows, who, doses, times, dv, *, weight=70.0, lloq=1e-6):
    """Records of one subject in the order of time, a sample before a dose at its time."""
    own = [(who, at, 1, amount, np.nan, 0, lloq, weight) for at, amount in doses]
    for at, y in zip(times, dv, strict=True):
        below = bool(y < lloq)
        own.append((who, at, 0, np.nan, lloq if below else y, int(below), lloq, weight))
    rows += sorted(own, key=lambda row: (row[1], row[2]))


def bolus(time, cl, v, dose=100.0):
    return dose / v * np.exp(-cl / v * time)


def two_exponentials(time, cl, v1, q, v2, dose=100.0):
    k10, k12, k21 = cl / v1, q / v1, q / v2
    total, product = k10 + k12 + k21, k10 * k21
    root = np.sqrt(total**2 - 4 * product)
    a, b = (total + root) / 2, (total - root) / 2
    return dose / v1 * ((a - k21) * np.exp(-a * time) + (k21 - b) * np.exp(-b * time)) / (a - b)


def after_bolus(curve, rng, *, n, times, noise, lloq=1e-6):
    """n subjects after one bolus; ``curve(rng)`` gives a function of time, ``noise`` DV from it."""
    rows = []
    for k in range(n):
        dv = noise(curve(rng)(times), rng)
        keep = dv > 0
        course(rows, k, [(0.0, 100.0)], times[keep], dv[keep], lloq=lloq)
    return read(rows)


def proportional(sd):
    return lambda f, rng: f * (1 + sd * rng.standard_normal(f.shape))


def one_compartment(seed, *, lloq=0.15, n=50):
    """Right: one compartment, a tenth below the limit."""
    rng = np.random.default_rng(seed)

    def curve(rng):
        cl, v = (
            3.0 * np.exp(0.35 * rng.standard_normal()),
            40 * np.exp(0.25 * rng.standard_normal()),
        )
        return lambda t: bolus(t, cl, v)

    times = np.array([0.5, 2.0, 6.0, 12.0, 24.0, 36.0])
    data = after_bolus(curve, rng, n=n, times=times, noise=proportional(0.15), lloq=lloq)
    return Criticised(model(OneCompartment(), {"CL": 4.0, "V": 30.0}, Proportional(WEAK)), data)


def sparse(seed, *, n=60):
    """Right: three samples of each patient at times of their own, clearance by weight."""
    rng = np.random.default_rng(seed)
    rows = []
    for k in range(n):
        weight = float(np.round(70 * np.exp(0.25 * rng.standard_normal()), 1))
        cl = 3.0 * (weight / 70) ** 0.75 * np.exp(0.4 * rng.standard_normal())
        v = 40.0 * np.exp(0.25 * rng.standard_normal())
        times = np.sort(rng.uniform((1.0, 8.0, 16.0), (6.0, 14.0, 24.0))).round(2)
        dv = proportional(0.2)(bolus(times, cl, v), rng)
        course(rows, k, [(0.0, 100.0)], times, np.maximum(dv, 0.01), weight=weight)
    power = (Power("CL", "WT", reference=70.0, exponent=LogNormal(0.7, cv=0.5)),)
    made = model(OneCompartment(), {"CL": 4.0, "V": 30.0}, Proportional(WEAK), covariates=power)
    return Criticised(made, read(rows))


def two_compartments(seed, *, n=40):
    """Right: two compartments, sampled well."""
    rng = np.random.default_rng(seed)

    def curve(rng):
        cl, v1 = (
            3.0 * np.exp(0.3 * rng.standard_normal()),
            10 * np.exp(0.25 * rng.standard_normal()),
        )
        return lambda t: two_exponentials(t, cl, v1, 5.0, 30.0)

    times = np.array([0.25, 0.75, 1.5, 3.0, 6.0, 10.0, 16.0, 24.0])
    data = after_bolus(curve, rng, n=n, times=times, noise=proportional(0.12))
    typical = {"CL": 4.0, "V1": 8.0, "Q": 4.0, "V2": 40.0}
    return Criticised(model(TwoCompartment(), typical, Proportional(WEAK), iiv=("CL", "V1")), data)


def combined_error(seed, *, n=40):
    """Right: one compartment by mouth, a combined error."""
    rng = np.random.default_rng(seed)

    def curve(rng):
        cl, v = 5.0 * np.exp(0.3 * rng.standard_normal()), 50 * np.exp(0.2 * rng.standard_normal())
        ka = 1.2 * np.exp(0.3 * rng.standard_normal())
        return lambda t: 100 * ka / v / (ka - cl / v) * (np.exp(-cl / v * t) - np.exp(-ka * t))

    def noise(f, rng):
        return f + np.sqrt(0.05**2 + (0.1 * f) ** 2) * rng.standard_normal(f.shape)

    times = np.array([0.5, 1.0, 2.0, 4.0, 8.0, 12.0, 24.0])
    data = after_bolus(curve, rng, n=n, times=times, noise=noise)
    made = model(
        OneCompartment(FirstOrder()), {"CL": 4.0, "V": 60.0, "KA": 1.0},
        Combined(HalfNormal(0.5), HalfNormal(0.5)), iiv=("CL", "V", "KA"),
    )  # fmt: skip
    return Criticised(made, data)


def saturable(seed, *, n=40, right=True):
    """An antibody that its target clears, intervals of 4 and then 6 or 8 weeks; samples in each.

    Right with Michaelis-Menten elimination, wrong with a linear one.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for k in range(n):
        vmax = 8.0 * np.exp(0.25 * rng.standard_normal())
        v = 4.0 * np.exp(0.2 * rng.standard_normal())
        long = 42.0 if k % 2 else 56.0
        given = [0.0, 28.0, 56.0, 84.0, 84.0 + long, 84.0 + 2 * long]
        times = np.array(
            [1.0, 14.0, 27.9, 83.9, 85.0, 84.0 + long / 2, 83.9 + long, 83.9 + 2 * long]
        )
        f = _saturable(vmax, v, 8.0, [(at, 300.0) for at in given], times)
        dv = np.maximum(proportional(0.12)(f, rng), 1e-3)
        course(rows, k, [(at, 300.0) for at in given], times, dv, lloq=0.25)
    data = read(rows, DAYS)
    if right:
        typical = {"VMAX": 6.0, "KM": 10.0, "V": 5.0}
        structure, iiv = OneCompartment(elimination=MichaelisMenten()), ("VMAX", "V")
        made = model(structure, typical, Proportional(WEAK), units=DAYS, iiv=iiv)
        return Criticised(made, data)
    made = model(OneCompartment(), {"CL": 0.3, "V": 5.0}, Proportional(WEAK), units=DAYS)
    return Criticised(made, data, ("concentration", "time after dose"))


def _saturable(vmax, v, km, doses, times):
    """Concentrations after boluses, eliminated at vmax c / (km + c)."""
    found, c = np.empty(len(times)), 0.0
    ends = [*(at for at, _ in doses[1:]), float(times[-1]) + 1]
    for (start, amount), end in zip(doses, ends, strict=True):
        c += amount / v
        own = (times > start) & (times <= end)
        solved = solve_ivp(
            lambda _, y: -vmax / v * y / (km + y), (start, end), [c], method="LSODA",
            t_eval=np.append(times[own], end), rtol=1e-8, atol=1e-10,
        )  # fmt: skip
        found[own], c = solved.y[0][:-1], solved.y[0][-1]
    return found


def too_few_compartments(seed):
    """Wrong: one compartment for data of two."""
    made = model(OneCompartment(), {"CL": 4.0, "V": 30.0}, Proportional(WEAK))
    return Criticised(made, two_compartments(seed).data, ("time after dose",))


def wrong_error(seed):
    """Wrong: an additive error for data with a proportional one."""
    right = one_compartment(seed, lloq=1e-6)
    made = replace(right.model, error=Additive(HalfNormal(2.0)))
    return Criticised(made, right.data, ("size of the residuals",))


def two_clearances(seed, *, n=60):
    """Wrong: a third of the patients has less than half the clearance, for no recorded reason."""
    rng = np.random.default_rng(seed)

    def curve(rng):
        slow = rng.random() < 1 / 3
        cl = (1.4 if slow else 4.5) * np.exp(0.2 * rng.standard_normal())
        v = 40 * np.exp(0.25 * rng.standard_normal())
        return lambda t: bolus(t, cl, v)

    times = np.array([0.5, 2.0, 6.0, 12.0, 24.0])
    data = after_bolus(curve, rng, n=n, times=times, noise=proportional(0.12))
    made = model(OneCompartment(), {"CL": 4.0, "V": 30.0}, Proportional(WEAK))
    return Criticised(made, data, ("two groups of CL",))


RIGHT = {
    "one compartment, some below the limit": one_compartment,
    "three samples each": sparse,
    "two compartments": two_compartments,
    "by mouth, combined error": combined_error,
    "saturable elimination": saturable,
}
WRONG = {
    "one compartment for two": too_few_compartments,
    "linear for saturable elimination": lambda seed: saturable(seed, right=False),
    "additive for proportional error": wrong_error,
    "two clearances": two_clearances,
}

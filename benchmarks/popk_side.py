"""popk, as the comparisons call it: everything that knows popk's interface is in this file."""

from __future__ import annotations

import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np
import pandas as pd
from cases import (
    AMOUNT,
    HOUR,
    INTERVAL,
    LINEAR,
    MICHAELIS_MENTEN,
    SIGMA,
    TROUGHS,
    TYPICAL,
    gradient_of_density,
)
from serve import serve

import popk
from popk.structure import ParallelMichaelisMenten, TwoCompartment, events_of
from popk.structure.solve import Solver

UNITS = {"time": "d", "amount": "mg", "concentration": "mg/L"}


# Of popk's ODE solver: with it concentrations are right to 1e-6.
TOLERANCE = 1e-6


def structure_of(linear):
    if linear:
        return TwoCompartment()
    return TwoCompartment(elimination=ParallelMichaelisMenten(), tolerance=TOLERANCE)


def table_of(case):
    """A cohort as an event table; regular doses are one record with ADDL."""
    n, doses = case.dose_times.shape
    records = 1 if case.regular else doses
    rate = AMOUNT / case.duration if case.duration else 0.0
    days = np.hstack([case.dose_times[:, :records], case.times])
    dose = np.hstack([np.ones((n, records), bool), np.zeros(case.times.shape, bool)])
    dv = np.hstack([np.full((n, records), np.nan), case.y])
    order = np.argsort(days, axis=1, kind="stable")
    columns = (days, dose, dv)
    days, dose, dv = (np.take_along_axis(column, order, 1).ravel() for column in columns)
    repeats = doses - 1 if case.regular else 0
    return pd.DataFrame(
        {
            "ID": np.repeat(np.arange(1, n + 1), records + TROUGHS),
            "TIME": days,
            "EVID": dose.astype(int),
            "AMT": np.where(dose, AMOUNT, 0.0),
            "RATE": np.where(dose, rate, 0.0),
            "ADDL": np.where(dose, repeats, 0),
            "II": np.where(dose & (repeats > 0), INTERVAL, 0.0),
            "DV": dv,
            "MDV": dose.astype(int),
        }
    )


@numba.njit(error_model="numpy", fastmath={"contract"})
def log_density(concentration, slopes, log_y, gradient):
    """Log-normal log density without its constant; the gradient by each patient's parameters."""
    total = 0.0
    per_patient = len(concentration) // len(gradient)
    for i in range(len(gradient)):
        gradient[i] = 0.0
        for k in range(i * per_patient, (i + 1) * per_patient):
            residual = (log_y[k] - np.log(concentration[k])) / SIGMA
            total -= 0.5 * residual * residual
            pull = residual / (SIGMA * concentration[k])
            for j in range(gradient.shape[1]):
                gradient[i, j] += pull * slopes[k, j]
    return total


def load(case, options):
    """``kernel`` in the result leaves the residuals out: concentrations and derivatives alone."""
    structure = structure_of(case.linear)
    events = events_of(popk.read_dataset(table_of(case), units=UNITS), structure)
    solver = Solver(structure, events, threads=1)
    theta = np.ascontiguousarray(case.theta)
    log_y, gradient = np.log(case.y).ravel(), np.empty_like(theta)

    def kernel(times):
        for _ in range(times):
            solver.run(theta, with_gradient=True)

    def density(times):
        for _ in range(times):
            concentration, slopes = solver.run(theta, with_gradient=True)
            log_density(concentration, slopes, log_y, gradient)

    def check():
        concentration, slopes = solver.run(theta, with_gradient=True)
        log_density(concentration, slopes, log_y, gradient)
        concentration = concentration.reshape(case.y.shape)
        slopes = slopes.reshape(*case.y.shape, theta.shape[1])
        assert np.allclose(gradient, gradient_of_density(case, concentration, slopes))
        return concentration, gradient.copy()

    return {"density": density, "kernel": kernel}, check


def simulate(*, linear, patients, seed=1):
    """Virtual patients for 52 weeks, 13 infusions of 1 h, each day: a table of all of them.

    From typical values and IIV (30 %) to the columns ID, TIME, IPRED and DV (with residual error).
    The patients are shared out over the cores.
    """
    structure = structure_of(linear)
    names = LINEAR if linear else MICHAELIS_MENTEN
    times = np.arange(1.0, 365.0)
    regimen = popk.Regimen(amount=AMOUNT, interval=INTERVAL, repeats=13, duration=HOUR)
    one = regimen.dataset([1], times, units=popk.Units.parse(UNITS))
    solver = Solver(structure, events_of(one, structure, everywhere=True), threads=1)
    typical = np.array([TYPICAL[name] for name in names])

    def part(rng, count):
        theta = typical * np.exp(0.3 * rng.standard_normal((count, len(names))))
        ipred = solver.ensemble(theta[:, None, :]).value.ravel()
        return ipred, ipred * np.exp(SIGMA * rng.standard_normal(len(ipred)))

    cores = os.cpu_count() or 1
    counts = [len(part) for part in np.array_split(np.arange(patients), 4 * cores)]
    with ThreadPoolExecutor(cores) as pool:
        found = list(pool.map(part, np.random.default_rng(seed).spawn(len(counts)), counts))
    return pd.DataFrame(
        {
            "ID": np.repeat(np.arange(1, patients + 1), len(times)),
            "TIME": np.tile(times, patients),
            "IPRED": np.concatenate([ipred for ipred, _ in found]),
            "DV": np.concatenate([dv for _, dv in found]),
        }
    )


def time_simulations(patients=10_000, repeats=5):
    """Seconds of each simulation, as JSON: {"linear": [...], "Michaelis-Menten": [...]}."""
    found = {}
    for name, linear in (("linear", True), ("Michaelis-Menten", False)):
        simulate(linear=linear, patients=10)  # compile
        found[name] = []
        for _ in range(repeats):
            began = time.perf_counter()
            table = simulate(linear=linear, patients=patients)
            found[name].append(time.perf_counter() - began)
        assert len(table) == 364 * patients
        assert np.isfinite(table["DV"]).all()
    print(json.dumps(found))


if __name__ == "__main__":
    if sys.argv[1:] == ["simulate"]:
        time_simulations()
    else:
        serve(load, "popk", "numba")

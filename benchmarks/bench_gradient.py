"""Time of concentrations and gradients of a Michaelis-Menten cohort: popk against SciPy.

Both solve the same patients (popk's demonstration cohort at its model's typical values) in one
run. SciPy integrates amounts and the same forward sensitivities with its RK45, its right-hand side
in Python as its users write it, at a tolerance at which both are about equally accurate against a
tight reference (DOP853, 1e-12). Medians of ratios over repeats.
"""

from __future__ import annotations

import statistics
import time
from importlib.resources import files

import numpy as np
from popk.models.natalizumab import model
from scipy.integrate import solve_ivp

import popk
from popk.structure import events_of
from popk.structure.events import OBSERVE, RATE, expand
from popk.structure.vector import Dual

SUBJECTS = 16  # SciPy is slow
REPEATS = 5


def equations(t, y, theta, rate):
    """Amounts and sensitivities of one subject, from popk's own right-hand side."""
    from popk.structure.nonlinear import two_compartment

    amounts, s = y[:2], y[2:].reshape(2, 6)
    duals = [Dual(amount, {j: 1.0}) for j, amount in enumerate(amounts)]
    parameters = [Dual(p, {2 + k: 1.0}) for k, p in enumerate(theta)]
    rates = two_compartment(duals, parameters)
    jac = np.array([[r.slopes.get(j, 0.0) for j in range(2)] for r in rates])
    par = np.array([[r.slopes.get(2 + k, 0.0) for k in range(6)] for r in rates])
    value = np.array([r.value for r in rates]) + rate
    return np.concatenate([value, (jac @ s + par).ravel()])


def scipy_subject(events, theta, method, tolerance):
    """Concentrations of one subject, sensitivities integrated along."""
    y, rate, t, found = np.zeros(14), np.zeros(2), float(events.time[0]), []
    for k in range(len(events.time)):
        if events.time[k] > t:
            span = (t, float(events.time[k]))
            solution = solve_ivp(
                equations,
                span,
                y,
                method,
                rtol=tolerance,
                atol=tolerance * 1e-3,
                args=(theta, rate.copy()),
            )
            y, t = solution.y[:, -1], span[1]
        if events.kind[k] == OBSERVE:
            found.append(y[0] / theta[1])
        elif events.kind[k] == RATE:
            rate[events.compartment[k]] += events.amount[k]
    return np.array(found)


def main():
    """Print the table."""
    path = files("popk.demo") / "data" / "natalizumab" / "cohort.csv"
    cohort = popk.read_dataset(path, units=model.units)
    part = cohort.select(cohort.subjects[:SUBJECTS])
    events = events_of(part, n_compartments=2)
    theta = np.array([prior.median for _, prior in model.typical])
    each = [expand(events.subject(i)) for i in range(SUBJECTS)]
    tight = np.concatenate([scipy_subject(e, theta, "DOP853", 1e-12) for e in each])
    rows = np.tile(theta, (SUBJECTS, 1))
    prepared = model.structure.prepare(events)
    popk_value, gradient = np.empty(events.n_outputs), np.empty((events.n_outputs, 6))
    subjects, offsets = np.arange(SUBJECTS), np.zeros(SUBJECTS, np.int64)

    def solve() -> None:
        model.structure.kernel(rows, subjects, offsets, *prepared, popk_value, gradient, True)

    solve()  # compile
    ratios, ours, theirs = [], [], []
    for _ in range(REPEATS):
        began = time.perf_counter()
        for _ in range(50):
            solve()
        ours.append((time.perf_counter() - began) / 50 / SUBJECTS)
        began = time.perf_counter()
        scipy_value = np.concatenate([scipy_subject(e, theta, "RK45", 1e-5) for e in each])
        theirs.append((time.perf_counter() - began) / SUBJECTS)
        ratios.append(theirs[-1] / ours[-1])
    for name, seconds, value in (("popk", ours, popk_value), ("SciPy RK45", theirs, scipy_value)):
        error = np.max(np.abs(value / tight - 1))
        print(
            f"{name:<11} {1e6 * statistics.median(seconds):10.1f} us per patient and gradient, "
            f"largest relative error {error:.1e}"
        )
    print(f"ratio (median of {REPEATS}): {statistics.median(ratios):.0f}")


if __name__ == "__main__":
    main()

"""PyMC as one writes it first: the sum over every pair of an observation and a dose before it."""

from __future__ import annotations

import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt
from cases import AMOUNT, LINEAR, SIGMA, TROUGHS
from serve import serve


def load(case, options):
    n = case.patients
    rows = [(i, k) for i in range(n) for k in range(TROUGHS)]
    observation = np.repeat(np.arange(n * TROUGHS), case.doses.ravel())
    since = np.concatenate(
        [case.times[i, k] - case.dose_times[i, : case.doses[i, k]] for i, k in rows]
    )
    patient = observation // TROUGHS
    with pm.Model() as model:
        CL, V1, Q, V2 = (pm.Flat(name, shape=n) for name in LINEAR)
        k10, k21 = CL / V1, Q / V2
        total = k10 + Q / V1 + k21
        fast = 0.5 * (total + pt.sqrt(total**2 - 4 * k10 * k21))
        slow = k10 * k21 / fast
        scale = AMOUNT / (V1 * (fast - slow))
        pairs = 0.0
        for rate, weight in ((fast, scale * (fast - k21)), (slow, scale * (k21 - slow))):
            spread = pt.expm1(rate * case.duration) / (rate * case.duration) if case.duration else 1
            pairs += (weight * spread)[patient] * pt.exp(-rate[patient] * since)
        concentration = pt.zeros(n * TROUGHS)[observation].inc(pairs)
        pm.LogNormal("y", pt.log(concentration), SIGMA, observed=case.y.ravel())
    density = model.logp_dlogp_function(ravel_inputs=True, mode="NUMBA")
    density.set_extra_values({})
    theta = np.ascontiguousarray(case.theta.T.ravel())
    computed = model.replace_rvs_by_values([concentration])
    look = pytensor.function(model.continuous_value_vars, computed[0], mode="NUMBA")

    def repeat(times):
        for _ in range(times):
            density(theta)

    def check():
        found = look(*case.theta.T).reshape(case.y.shape)
        return found, np.asarray(density(theta)[1]).reshape(case.theta.T.shape).T

    return {"density": repeat}, check


if __name__ == "__main__":
    serve(load, "pymc", "numba")

"""How fast the work could be done on this processor, measured in the same run.

Linear models: every stretch between events that cannot be left out needs one exponential per mode,
two in all; times the cost of one exponential of NumPy's vectorised `exp`. With regular doses the
stretches are those between a patient's observations, with irregular ones those between all events.

ODE models: the fewest stages with which one of SciPy's explicit methods reaches the accuracy asked
for, solving the amounts alone and controlling their error, steps that are tried and rejected not
counted; times the cost of one stage: the rates and their derivatives by the six parameters, for
many patients at once in vector instructions, without the sums that combine the stages.
"""

from __future__ import annotations

import numba
import numpy as np
from cases import TROUGHS, pieces
from scipy.integrate import solve_ivp
from serve import one_core, seconds

STAGES = {"RK45": 6, "DOP853": 12}  # of an accepted step; none for the choice of the first one
TOLERANCES = tuple(10.0 ** (-k / 2) for k in range(6, 18))
LANES = 64  # patients solved at once: what they need stays in the fastest cache


def cost_of_exponential():
    """Time of one exponential (s)."""
    x = -np.random.default_rng(1).uniform(0, 20, 4096)
    out = np.empty_like(x)

    def repeat(times):
        for _ in range(times):
            np.exp(x, out=out)

    with one_core():
        return min(seconds(repeat, 0.05) for _ in range(5)) / len(x)


@numba.njit(error_model="numpy", fastmath=True)
def _stages(y, p, out, times):
    """Rates and sensitivities of LANES patients; flat arrays, one row of LANES per quantity."""
    n = LANES
    for _ in range(times):
        for i in range(n):
            CL, V1, Q = p[i], p[n + i], p[2 * n + i]
            V2, VMAX, KM = p[3 * n + i], p[4 * n + i], p[5 * n + i]
            v1, v2 = 1.0 / V1, 1.0 / V2
            c, c2 = y[i] * v1, y[n + i] * v2
            below = 1.0 / (KM + c)
            share, exchange = c * below, Q * (c - c2)
            lost = (CL + VMAX * KM * below * below + Q) * v1
            back, over = Q * v2, Q * v1
            out[i] = -CL * c - VMAX * share - exchange
            out[n + i] = exchange
            own = (-c, lost * c, c2 - c, -back * c2, -share, VMAX * share * below)
            other = (0.0, -over * c, c - c2, back * c2, 0.0, 0.0)
            for k in range(6):
                s1, s2 = y[(2 + k) * n + i], y[(8 + k) * n + i]
                out[(2 + k) * n + i] = back * s2 - lost * s1 + own[k]
                out[(8 + k) * n + i] = over * s1 - back * s2 + other[k]


def cost_of_stage():
    """Time of one stage of one patient (s)."""
    rng = np.random.default_rng(1)
    y, p, out = rng.uniform(1, 2, 14 * LANES), rng.uniform(1, 2, 6 * LANES), np.empty(14 * LANES)
    _stages(y, p, out, 1)
    with one_core():
        return min(seconds(lambda times: _stages(y, p, out, times), 0.05) for _ in range(5)) / LANES


def stages_needed(case, exact, accuracy):
    """Fewest stages per patient with which SciPy reaches the accuracy, and how it did."""
    tried = []
    for method, stages in STAGES.items():
        for tolerance in TOLERANCES:
            found, steps = _solve(case, method, tolerance)
            if np.abs(found / exact - 1).max() <= accuracy:
                tried.append((stages * steps / case.patients, method, tolerance))
                break
    return min(tried)


def _rates(t, a, theta, infusion):
    CL, V1, Q, V2, VMAX, KM = theta
    c = a[0] / V1
    exchange = Q * (c - a[1] / V2)
    return (infusion - CL * c - VMAX * c / (KM + c) - exchange, exchange)


def _solve(case, method, tolerance):
    found, steps = np.empty(case.y.shape), 0
    for i, columns in enumerate(zip(*pieces(case), strict=True)):
        a, theta = np.zeros(2), case.theta[i].tolist()
        for start, end, bolus, infusion, seen in zip(*columns, strict=True):
            a[0] += bolus
            piece = solve_ivp(
                _rates, (start, end), a, method, rtol=tolerance, atol=1e-3 * tolerance,
                args=(theta, infusion), first_step=end - start,
            )  # fmt: skip
            a, steps = piece.y[:, -1].copy(), steps + len(piece.t) - 1
            if seen >= 0:
                found[i, seen] = a[0] / theta[1]
    return found, steps


def exponentials(case):
    """Exponentials per patient that cannot be left out."""
    return 2 * (TROUGHS + (0 if case.regular else case.dose_times.shape[1]))

"""SciPy's solve_ivp with forward sensitivities, and with it the reference of the ODE cases.

The right-hand side of the amounts and of their derivatives by the parameters is written out by
hand and compiled by Numba: SciPy at its fastest.
"""

from __future__ import annotations

import numba
import numpy as np
from cases import gradient_of_density, pieces
from scipy.integrate import solve_ivp
from serve import serve

N_AMOUNTS, N_PARAMETERS = 2, 6


@numba.njit(error_model="numpy", fastmath={"contract"})
def sensitivities(t, y, theta, infusion, out):
    """Rates of (a1, a2, their 2 x 6 derivatives), into ``out``."""
    CL, V1, Q, V2, VMAX, KM = theta
    c, c2 = y[0] / V1, y[1] / V2
    below = 1.0 / (KM + c)
    out[0] = infusion - CL * c - VMAX * c * below - Q * (c - c2)
    out[1] = Q * (c - c2)
    lost = (CL + VMAX * KM * below * below + Q) / V1
    back, over = Q / V2, Q / V1
    for k in range(N_PARAMETERS):
        s1, s2 = y[2 + k], y[8 + k]
        out[2 + k] = -lost * s1 + back * s2
        out[8 + k] = over * s1 - back * s2
    out[2] -= c  # CL
    out[3] += lost * c  # V1
    out[9] -= over * c
    out[4] -= c - c2  # Q
    out[10] += c - c2
    out[5] -= back * c2  # V2
    out[11] += back * c2
    out[6] -= c * below  # VMAX
    out[7] += VMAX * c * below * below  # KM
    return out


@numba.njit(error_model="numpy", fastmath={"contract"})
def rates(t, y, theta, infusion):
    return sensitivities(t, y, theta, infusion, np.empty(14))


def solve(case, method, tolerance):
    """Concentrations, derivatives (patients, TROUGHS, 6) and evaluations of the right-hand side."""
    concentration = np.empty(case.y.shape)
    slopes = np.empty((*case.y.shape, N_PARAMETERS))
    evaluations = 0
    for i, columns in enumerate(zip(*pieces(case), strict=True)):
        theta, y = case.theta[i], np.zeros(14)
        V1 = theta[1]
        for start, end, bolus, infusion, seen in zip(*columns, strict=True):
            y[0] += bolus
            found = solve_ivp(
                rates, (start, end), y, method, rtol=tolerance, atol=1e-3 * tolerance,
                args=(theta, infusion),
            )  # fmt: skip
            y = found.y[:, -1].copy()
            evaluations += found.nfev
            if seen >= 0:
                concentration[i, seen] = y[0] / V1
                slopes[i, seen] = y[2:8] / V1
                slopes[i, seen, 1] -= y[0] / V1**2
    return concentration, slopes, evaluations


def load(case, options):
    method, tolerance = options["form"], options["tolerance"]

    def check():
        concentration, slopes, _ = solve(case, method, tolerance)
        return concentration, gradient_of_density(case, concentration, slopes)

    def repeat(times):
        for _ in range(times):
            check()

    return {"density": repeat}, check


if __name__ == "__main__":
    serve(load, "scipy", "numba")

"""Structures solved as an ODE against equations written anew, and against a closed form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import lambertw

from popk.qualification.check import Check, Measure
from popk.qualification.follower import ByEquations
from popk.qualification.histories import dose, events, in_order, observe
from popk.qualification.numerical import Apart, differences, largest
from popk.structure import (
    MichaelisMenten,
    OneCompartment,
    ParallelMichaelisMenten,
    QuasiSteadyState,
    TargetMediated,
    TwoCompartment,
    concentrations_with_gradient,
)

__all__ = ["CHECKS", "RTOL", "saturable"]

type Numbers = NDArray[Any]

# The default tolerance of a step is 1e-5 of an amount; so much may be left after many steps.
VALUE, GRADIENT = 3e-4, 1e-2
TIGHT = 1e-9  # another tolerance, and what may be left of it
VALUE_TIGHT, GRADIENT_TIGHT = 1e-6, 1e-4
RTOL = 1e-11
DAYS = (0.5, 7, 13, 27.9, 29, 41, 55.9, 70, 84, 112, 126, 140, 168)


def saturable(t: Numbers, a: Numbers, p: Numbers) -> Sequence[Numbers]:
    """Two compartments, linear and Michaelis-Menten elimination side by side."""
    cl, v1, q, v2, vmax, km = p.T
    central, peripheral = a[:, 0] / v1, a[:, 1] / v2
    flow = q * (central - peripheral)
    return (-cl * central - flow - vmax * central / (km + central), flow)


def _bound(t: Numbers, a: Numbers, p: Numbers) -> Sequence[Numbers]:
    """Gibiansky et al. 2008: total drug, peripheral drug, total target less its baseline."""
    cl, v1, q, v2, kss, r0, kdeg, kint = p.T
    drug, target = a[:, 0] / v1, r0 + a[:, 2] / v1
    free = _free(drug, target, kss)
    flow = q * (free - a[:, 1] / v2)
    turnover = kdeg * r0 - kdeg * target - (kint - kdeg) * (drug - free)
    return (-cl * free - flow - kint * (drug - free) * v1, flow, turnover * v1)


def _free(drug: Numbers, target: Numbers, kss: Numbers) -> Numbers:
    """The positive root of the quasi-steady state."""
    middle = drug - target - kss
    return np.asarray(0.5 * (middle + np.sqrt(middle * middle + 4.0 * kss * drug)))


def _total(t: Numbers, a: Numbers, p: Numbers) -> Sequence[Numbers]:
    """Total drug, free drug, total target, free target."""
    kss, r0 = p[:, 4], p[:, 5]
    drug, target = a[:, 0] / p[:, 1], r0 + a[:, 2] / p[:, 1]
    free = _free(drug, target, kss)
    return (drug, free, target, target - (drug - free))


def _parallel() -> list[Measure]:
    """The structure and the parameters of natalizumab, and others around them."""
    structure = TwoCompartment(elimination=ParallelMichaelisMenten())
    kinetics = ByEquations(2, saturable, lambda t, a, p: (a[:, 0] / p[:, 1],), rtol=RTOL)
    published = np.array([[0.164, 3.48, 0.40, 3.48, 2.86, 0.875]])
    points = (published, published * [[0.6, 0.8, 1.5, 1.2, 2.0, 4.0]])
    infusions = in_order(dose(0, 300.0, over=1 / 24, every=28, times=5), *observe(*DAYS))
    boluses = in_order(dose(0, 300.0), dose(30, 150.0), *observe(*DAYS))
    found = [
        differences(structure, kinetics, theta, records)
        for theta in points
        for records in (infusions, boluses)
    ]
    return largest(found, VALUE, GRADIENT)


def _target_mediated() -> list[Measure]:
    structure = TargetMediated(binding=QuasiSteadyState())
    kinetics = ByEquations(3, _bound, _total, rtol=RTOL)
    theta = np.array([[0.2, 3.5, 0.45, 2.8, 0.1, 1.5, 0.5, 0.2]])
    found: list[Apart] = []
    for amount in (30.0, 300.0):
        for what in range(4):
            seen = in_order(dose(0, amount, every=14, times=3), *observe(1, 9, 20, 33, what=what))
            found.append(differences(structure, kinetics, theta, seen))
    return largest(found, VALUE, GRADIENT)


def _in_closed_form() -> list[Measure]:
    """C + KM log C falls by VMAX/V in a unit of time: C = KM W(...)."""
    usual = OneCompartment(elimination=MichaelisMenten())
    tight = OneCompartment(elimination=MichaelisMenten(), tolerance=TIGHT)
    return [
        *_from_exact(usual, "default tolerance", VALUE, GRADIENT),
        *_from_exact(tight, f"tolerance {TIGHT:g}", VALUE_TIGHT, GRADIENT_TIGHT),
    ]


def _from_exact(
    structure: OneCompartment, word: str, limit: float, limit_of_gradient: float
) -> list[Measure]:
    times = np.array([0.5, 2.0, 7.0, 14.0, 21.0, 28.0, 42.0])
    value, slope = 0.0, 0.0
    for point in ((5.0, 10.0, 20.0), (3.5, 12.0, 4.0), (6.0, 4.0, 60.0)):
        theta = np.array(point)
        found, gradient = concentrations_with_gradient(
            structure, theta[None], events([dose(0, 300.0), *observe(*times)])
        )
        expected = _lambert(theta, times)
        slopes = np.stack(
            [
                (_lambert(theta + h, times) - _lambert(theta - h, times)) / (2 * h.sum())
                for h in np.diag(1e-5 * theta)
            ],
            axis=1,
        )
        # Amounts are resolved relative to the dose.
        seen = expected + 1e-4 * 300.0 / theta[0]
        value = max(value, float(np.max(np.abs(found - expected) / seen)))
        room = np.abs(slopes) + 1e-3 * seen[:, None] / theta
        slope = max(slope, float(np.max(np.abs(gradient - slopes) / room)))
    return [
        Measure(f"{word}: largest difference of 21 concentrations, relative to them and to 1e-4 of "
                "the first", value, limit),
        Measure(f"{word}: largest relative difference of derivatives", slope, limit_of_gradient),
    ]  # fmt: skip


def _lambert(theta: Numbers, times: Numbers) -> Numbers:
    """Concentrations after a bolus of 300; theta is V, VMAX, KM."""
    v, vmax, km = theta
    start = 300.0 / v
    return np.asarray(km * lambertw(start / km * np.exp((start - vmax / v * times) / km)).real)


_WHY = (
    "popk's solvers keep each step's error below 1e-5 of an amount by default, of which three in "
    "ten thousand of a concentration may be left after many steps: far below any assay's error."
)
CHECKS = (
    Check(
        "Michaelis-Menten elimination in closed form",
        "numerical",
        ("R-04",),
        "Lambert's W (SciPy), the exact solution after a bolus (Schnell & Mendoza, J Theor Biol "
        "1997;187:207-212); derivatives by central differences of it.",
        _WHY,
        _in_closed_form,
    ),
    Check(
        "parallel linear and Michaelis-Menten elimination",
        "numerical",
        ("R-02", "R-04"),
        "The equations written anew, solved by SciPy's DOP853 with a relative tolerance of 1e-11; "
        "derivatives by complex steps. Infusions and boluses, the published parameters of "
        "natalizumab (van den Berg et al. 2025, doi 10.1002/psp4.70014) and others.",
        _WHY,
        _parallel,
    ),
    Check(
        "target-mediated disposition",
        "numerical",
        ("R-02", "R-04"),
        "The quasi-steady-state equations (Gibiansky et al., J Pharmacokinet Pharmacodyn "
        "2008;35:573-591) written anew, solved by DOP853 with a relative tolerance of 1e-11; all "
        "four outputs.",
        _WHY,
        _target_mediated,
    ),
)

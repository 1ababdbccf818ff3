"""A model whose parameters are known exactly, and data of it by its equation in numpy."""

import numpy as np

from popk.model import PopModel
from popk.statistics import IIV, Fixed, Proportional
from popk.structure import OneCompartment

CL, V, OMEGA_CL, OMEGA_V, SIGMA = 0.2, 5.0, 0.3, 0.2, 0.15
TIMES = (1.0, 20.0, 50.0, 90.0)


def model(units, *, cl=CL, omega=OMEGA_CL, sigma=SIGMA):
    return PopModel(
        OneCompartment(),
        typical={"CL": Fixed(cl), "V": Fixed(V)},
        iiv=IIV({"CL": Fixed(omega), "V": Fixed(OMEGA_V)}),
        error=Proportional(Fixed(sigma)),
        units=units,
        name="known",
    )


def draws(size, rng, *, times=TIMES, amount=300.0):
    """Concentrations (size, times) of as many patients after a bolus."""
    cl = CL * np.exp(OMEGA_CL * rng.standard_normal((size, 1)))
    v = V * np.exp(OMEGA_V * rng.standard_normal((size, 1)))
    true = amount / v * np.exp(-cl / v * np.asarray(times))
    return true * (1 + SIGMA * rng.standard_normal(true.shape))

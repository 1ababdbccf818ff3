"""A model whose parameters are known exactly, and data of it by its equation in numpy."""

import numpy as np

from popk.individual import find_modes, patients_of, propose
from popk.model import PopModel
from popk.population import PopulationDraws
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


def posterior_fit(fits, model, data, *, draws=200, seed=1):
    """A fit whose population parameters are the prior's, and random effects the posterior's.

    With parameters that are fixed, or known well, this is the posterior.
    """
    fit = fits.fit_of(model, data, draws=draws // 2, seed=seed)
    population = PopulationDraws.of(fit)
    rng = np.random.default_rng(seed)
    eta = np.empty((draws, data.n_subjects, len(model.iiv.effects)))
    for k, patient in enumerate(patients_of(population, data)):
        found = propose(population, patient, find_modes(population, patient), each=32, rng=rng)
        taken = (found.log_weight + rng.gumbel(size=found.log_weight.shape)).argmax(axis=1)
        eta[:, k] = population.eta(found.z[np.arange(draws), taken])[0]
    posterior = fit["posterior"].to_dataset()
    shape = posterior["eta"].shape
    fit["posterior"] = posterior.assign(eta=(posterior["eta"].dims, eta.reshape(shape)))
    return fit

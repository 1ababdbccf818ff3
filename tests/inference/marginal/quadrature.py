"""Patients whose integrals are known by quadrature, in closed form and solved step by step."""

from dataclasses import replace

import numpy as np
from scipy import stats
from scipy.special import log_ndtr

from popk.inference.marginal.cohort import Cohort
from popk.model import PopModel
from popk.statistics import IIV, LogNormal, Proportional
from popk.structure import MichaelisMenten, OneCompartment, Solver

# Times and values after one bolus of 300 mg at time 0; None lies below the limit of 1 mg/L.
PATIENTS = {
    "A": ((28.0, 25.0),),
    "B": ((7.0, 50.0), (28.0, 30.0)),
    "C": ((1.0, 48.0), (14.0, 40.0), (42.0, 6.0)),
    "D": ((14.0, 30.0), (90.0, None)),
}
LLOQ = 1.0
AT = np.linspace(-7, 7, 361)
Z = np.stack(np.meshgrid(AT, AT, indexing="ij"), axis=-1)
AREA = (AT[1] - AT[0]) ** 2


def of(fits, model, patients, **settings):
    records = []
    for subject, observed in patients.items():
        records.append(fits.dose(subject, 0.0))
        for time, dv in observed:
            value, below = (LLOQ, 1) if dv is None else (dv, 0)
            records.append(fits.observe(subject, time, value, cens=below))
    return Cohort.of(model, fits.dataset(*records), **{"seed": 1, "cores": 1} | settings)


def log_error_density(observed, f, sigma):
    """Sum over observations (the last axis of f), proportional error."""
    total = 0.0
    for k, (_, dv) in enumerate(observed):
        sd = sigma * f[..., k]
        total = total + (
            log_ndtr((LLOQ - f[..., k]) / sd)
            if dv is None
            else -0.5 * ((dv - f[..., k]) / sd) ** 2 - np.log(sd * np.sqrt(2 * np.pi))
        )
    return total


def posterior_on_grid(fits, values, s, observed):
    """p(y | z) p(z) on the grid Z under population draw s, times the area of a point."""
    cl = values["CL"][s] * np.exp(values["omega_CL"][s] * Z[..., 0])
    v = values["V"][s] * np.exp(values["omega_V"][s] * Z[..., 1])
    times = np.array([time for time, _ in observed])
    with np.errstate(under="ignore"):
        f = np.maximum(fits.bolus(times, cl[..., None], v[..., None]), 1e-100)
    likelihood = log_error_density(observed, f, values["sigma_prop"][s])
    return np.exp(likelihood + stats.norm.logpdf(Z).sum(axis=-1)) * AREA


def exact_marginals(fits, cohort, x):
    """Marginal likelihood (S, n_subjects) at points x."""
    values = cohort.coordinates.draws(x).values
    return np.array([
        [posterior_on_grid(fits, values, s, own).sum() for own in PATIENTS.values()]
        for s in range(len(x))
    ])  # fmt: skip


def points(n, *, seed=2, sd=0.7, d=5):
    return sd * np.random.default_rng(seed).standard_normal((n, d))


def assert_unbiased(estimate, exact, *, within):
    """Independent estimates (n, …) of ``exact`` (…): none far off, and precise enough to say so."""
    error = estimate.std(axis=0, ddof=1) / np.sqrt(len(estimate))
    assert np.all(error < within * exact)
    assert np.all(np.abs(estimate.mean(axis=0) - exact) < 4.5 * error)


SATURABLE = {
    "A": ((7.0, 40.0), (21.0, 18.0)),
    "B": ((7.0, 52.0), (21.0, 35.0), (35.0, 24.0)),
    "C": ((3.0, 45.0), (28.0, 9.0)),
}


def saturable_cohort(fits, **settings):
    """Solved step by step; V varies between subjects."""
    model = PopModel(
        OneCompartment(elimination=MichaelisMenten()),
        typical={"V": LogNormal(5.0, cv=0.1), "VMAX": LogNormal(10.0, cv=0.15),
                 "KM": LogNormal(20.0, cv=0.15)},
        iiv=IIV({"V": LogNormal(0.2, cv=0.2), "VMAX": LogNormal(0.2, cv=0.2)}),
        error=Proportional(LogNormal(0.15, cv=0.2)),
        units=fits.UNITS,
    )  # fmt: skip
    return of(fits, model, SATURABLE, **settings)


def learnt(cohort, *, n=150):
    """The cohort after learning around the prior medians, with polynomials for equations."""
    x = points(n, sd=0.6, d=len(cohort.coordinates.names))
    cohort.learn(x, cohort.integrate(x, 40, detail=True), np.full(n, 1 / n))
    cohort.train(x, 41, x[:40])
    return cohort


def saturable_on_grid(cohort, x, k):
    """Random effects (n, 2), and p(y | z) p(z) of patient k at a point x (d), times their area.

    By the structure's own solutions.
    """
    draws = cohort.coordinates.draws(x[None])
    at = np.linspace(-5.5, 5.5, 67)
    z = np.stack(np.meshgrid(at, at, indexing="ij"), axis=-1).reshape(-1, 2)
    names = cohort.coordinates.model.structure.names
    theta = np.empty((len(z), 1, 3))
    for m, name in enumerate(names):
        effect = {"V": 0, "VMAX": 1}.get(name)
        own = 0.0 if effect is None else draws.values[f"omega_{name}"] * z[:, effect]
        theta[:, 0, m] = draws.values[name] * np.exp(own)
    solver = cohort.patients[k].solver
    assert isinstance(solver, Solver)
    observed = list(SATURABLE.values())[k]
    sigma = draws.values["sigma_prop"]
    likelihood = log_error_density(observed, solver.ensemble(theta).value, sigma)
    return z, np.exp(likelihood + stats.norm.logpdf(z).sum(axis=-1)) * (at[1] - at[0]) ** 2


def spoil(cohort, off, *, picks):
    """Move every coefficient of the polynomials up or down by a part of itself."""
    rng = np.random.default_rng(6)
    for guide in cohort._guides:
        guide.picks = picks
        made = guide.fast.solver
        factor = 1 + off * rng.choice([-1.0, 1.0], made.coefficients.shape)
        made = replace(made, coefficients=made.coefficients * factor)
        guide.fast = replace(guide.fast, solver=made)

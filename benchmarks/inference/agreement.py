"""Whether Stan is given popk's model: the joint log density at the same points, by popk's parts."""

from __future__ import annotations

import numpy as np
from scipy import stats

from popk.design import design_of
from popk.observations import observations
from popk.population import PopulationDraws
from popk.prediction import simulate_rows
from popk.statistics import NUMPY, Normal

POINTS = 3
ROUGHLY = (
    0.3  # of the priors' SDs, and of the effects', from the middle: no density is minus infinity
)
SPREAD = {"omega": 0.3, "sigma": 0.5}  # half-normals in units of their SDs, about


def points(work, seed):
    """Points in the coordinates of the Stan program, non-centred, and popk's log densities there.

    Returns (POINTS, coordinates) and (POINTS,), of the density that counts logarithms where the
    program samples logarithms, and half-normals as they are.
    """
    rng = np.random.default_rng(seed)
    values, coordinates, density = {}, [], np.zeros(POINTS)
    for full in work.parameters:
        name = full.removeprefix("log ")
        prior = next(p.prior for p in work.model.parameters if p.name == name)
        score = ROUGHLY * rng.standard_normal(POINTS)
        if name != full:
            values[name] = prior.median * np.exp(prior.sd_log * score)
            density += stats.norm.logpdf(score)
        elif isinstance(prior, Normal):
            values[name] = prior.mean + prior.sd * score
            density += stats.norm.logpdf(score)
        else:
            values[name] = prior.sd * SPREAD[name.split("_")[0]] * np.exp(score)
            density += prior.exact.logpdf(values[name])
            score = np.log(values[name])
        coordinates.append(score[:, None])
    effects = work.model.iiv.effects
    z = ROUGHLY * rng.standard_normal((POINTS, work.dataset.n_subjects, len(effects)))
    omega = np.stack([values[f"omega_{name}"] for name in effects], axis=-1)
    density += stats.norm.logpdf(z).sum(axis=(1, 2)) + likelihood(work, values, z * omega[:, None])
    coordinates.append(z.transpose(0, 2, 1).reshape(POINTS, -1))
    return np.hstack(coordinates), density


def likelihood(work, values, eta):
    """Log likelihood (S) of all observations, given population parameters and random effects."""
    population = PopulationDraws(work.model, values)
    design = design_of(work.model, work.dataset)
    predicted = simulate_rows(work.model, population.row_parameters(design, eta), design.events)
    observed = observations(work.model, work.dataset, design.events)
    each = work.model.error.log_likelihood(observed, predicted, population.sigma, NUMPY)
    return np.asarray(each).sum(axis=1)

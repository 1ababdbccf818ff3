"""Where the chains start: a plausible mode, and each subject's likelihood around it.

The joint mode over population parameters and random effects is no place to start: the density grows
without bound as an SD shrinks. So the SDs are held while everything else is maximised, then set to
what the random effects and their uncertainty say (an EM step with a Gaussian approximation), a few
times over.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from popk.dataset import Dataset
from popk.design import check_fit, observations
from popk.model import PopModel
from popk.population import PopulationDraws
from popk.statistics import prediction_slopes
from popk.structure import Solver

__all__ = ["Start", "approximate_likelihood", "find_start"]

type Floats = NDArray[np.float64]

_EM_STEPS = 6
_EVALUATIONS = 80  # of the density, in each EM step


@dataclass(frozen=True)
class Start:
    """A point in the sampler's coordinates and the likelihood's quadratic approximation there.

    ``position`` (n_dim), of which ``coordinates`` are the random effects'; ``curvature``
    (n_subjects, m, m) and ``pull`` (n_subjects, m), in the log parameters (see
    `popk.statistics.adapted`).
    """

    position: Floats
    coordinates: slice
    curvature: Floats
    pull: Floats


class Point:
    """Reads and writes the sampler's flat vector by variable name."""

    def __init__(self, compiled: Any) -> None:
        names, slices, shapes = compiled.shape_info
        self._compiled = compiled
        self._places = dict(zip(names, zip(slices, shapes, strict=True), strict=True))
        self.size = int(compiled.n_dim)

    def place(self, name: str) -> slice | None:
        """Where a free variable (under its transformed name) stands, or None."""
        for candidate in (name, f"{name}_log__", f"{name}_signed"):
            found = self._places.get(candidate)
            if found is not None and found[0].stop <= self.size:
                return slice(found[0].start, found[0].stop)
        return None

    def is_log(self, name: str) -> bool:
        """Whether the sampler sees the logarithm of a variable."""
        found = self._places.get(f"{name}_log__")
        return found is not None and found[0].stop <= self.size

    def values(self, x: Floats) -> dict[str, Floats]:
        """Every variable, transformed back, at a point."""
        expanded = self._compiled.expand_func(x)
        flat = np.asarray(expanded[0] if isinstance(expanded, list | tuple) else expanded)
        return {name: flat[where].reshape(shape) for name, (where, shape) in self._places.items()}

    def log_density(self, x: Floats) -> tuple[float, Floats]:
        """Log density and gradient."""
        value, gradient = self._compiled.logp_func(x)
        return float(value), np.asarray(gradient)


def find_start(model: PopModel, dataset: Dataset, compiled: Any) -> Start:
    """A starting point for every chain.

    Parameters
    ----------
    model, dataset
        What is fitted to what.
    compiled
        The compiled adapted model, its curvature and pull zero.
    """
    point = Point(compiled)
    x = np.zeros(point.size)
    for parameter in model.parameters:
        where = point.place(parameter.name)
        if where is not None:
            median = parameter.prior.median
            x[where] = np.log(median) if point.is_log(parameter.name) else median
    omegas = [model.iiv.omega_name(effect) for effect in model.iiv.effects]
    held = np.zeros(point.size, dtype=bool)
    for name in omegas:
        where = point.place(name)
        if where is not None:
            held[where] = True

    def objective(at: Floats) -> tuple[float, Floats]:
        value, gradient = point.log_density(at)
        if not (np.isfinite(value) and np.all(np.isfinite(gradient))):
            return 1e300, np.zeros(point.size)
        return -value, np.where(held, 0.0, -gradient)

    for _ in range(_EM_STEPS if omegas else 1):
        found = minimize(
            objective, x, jac=True, method="L-BFGS-B", options={"maxfun": _EVALUATIONS}
        )
        x = found.x
        values = point.values(x)
        curvature, pull = approximate_likelihood(model, dataset, [values])
        if omegas:
            x = _update_sds(model, point, x, values, curvature)
    coordinates = point.place("u") or slice(0, 0)
    # With the approximation in place, the conditional mode is u = 0.
    x[coordinates] = 0.0
    return Start(x, coordinates, curvature, pull)


def _update_sds(
    model: PopModel, point: Point, x: Floats, values: Mapping[str, Floats], curvature: Floats
) -> Floats:
    """One EM step for the SDs: mean of eta^2 plus its conditional variance."""
    positions = [model.structure.names.index(effect) for effect in model.iiv.effects]
    names = [model.iiv.omega_name(effect) for effect in model.iiv.effects]
    omega = np.array([float(values[name]) for name in names])
    block = curvature[:, positions][:, :, positions]
    precision = np.eye(len(omega)) + omega[:, None] * block * omega
    variance = np.diagonal(np.linalg.inv(precision), axis1=1, axis2=2)
    z = values["u"]
    new = omega * np.sqrt(np.mean(z**2 + variance, axis=0))
    x = x.copy()
    place = point.place("u")
    assert place is not None
    for k, name in enumerate(names):
        where = point.place(name)
        if where is None:  # fixed
            new[k] = omega[k]
            continue
        x[where] = np.log(new[k]) if point.is_log(name) else new[k]
    x[place] = (z * omega / new).ravel()
    return x


def approximate_likelihood(
    model: PopModel, dataset: Dataset, draws: Sequence[Mapping[str, Any]]
) -> tuple[Floats, Floats]:
    """Quadratic approximation of each subject's log likelihood in the log parameters.

    Averaged over draws, as in Gaussian variational approximation (Opper & Archambeau, Neural
    Computation 21:786, 2009): the expected curvature, and a slope that matches the expected slope
    at the mean. A few draws see the bends that a single point misses.

    Parameters
    ----------
    model, dataset
        What is fitted to what.
    draws
        Points to average over, each with the population parameters and, where there are random
        effects, ``eta`` (n_subjects, n_effects).

    Returns
    -------
    Curvature (n_subjects, m, m) and pull (n_subjects, m). Where a subject has several rows of
    parameters, the log parameters are the means over its rows, which all move alike: a random
    effect moves them so, a coefficient of a covariate nearly so.
    """
    design = check_fit(model, dataset)
    solver = Solver(model.structure, design.events)
    schedule = solver.schedule
    subject, output, row = schedule.subject_of, schedule.output_of, schedule.row_of
    observed = observations(dataset)
    n, m = dataset.n_subjects, len(model.structure.names)
    curvature, gradient, mean = np.zeros((n, m, m)), np.zeros((n, m)), np.zeros((n, m))
    for draw in draws:
        population = PopulationDraws(
            model, {p.name: np.reshape(draw[p.name], 1) for p in model.parameters}
        )
        eta = np.asarray(draw["eta"])[None] if model.iiv.effects else np.zeros((1, n, 0))
        theta = population.row_parameters(design, eta)[0]
        prediction, by_row = solver.run(theta)
        sigma = {name: value[0] for name, value in population.sigma.items()}
        slope, bend = prediction_slopes(model.error, observed, prediction, sigma)
        by_log = np.zeros((len(prediction), m))
        np.add.at(by_log, output, by_row * theta[row])
        outer = bend[:, None, None] * by_log[:, :, None] * by_log[:, None, :]
        np.add.at(curvature, subject, outer)
        np.add.at(gradient, subject, slope[:, None] * by_log)
        mean += design.mean_of_rows(np.log(theta))
    size = len(draws)
    curvature, gradient, mean = curvature / size, gradient / size, mean / size
    return curvature, gradient + np.einsum("ijk,ik->ij", curvature, mean)

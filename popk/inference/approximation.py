"""Each subject's log likelihood, roughly: a quadratic in its parameters on their scales.

It only shapes the coordinates that the sampler works in (`popk.statistics.adapted`): the posterior
does not depend on it.
"""

from __future__ import annotations

from collections.abc import Container, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from popk.dataset import Dataset
from popk.design import Design, check_fit
from popk.levels import effects_in_draw
from popk.model import PopModel
from popk.observations import observations
from popk.population import PopulationDraws
from popk.statistics import NUMPY, innovations, prediction_slopes
from popk.structure import Solver
from popk.structure.engine.prepare import Schedule

__all__ = ["approximate_likelihood", "effect_names"]

type Floats = NDArray[np.float64]


def approximate_likelihood(
    model: PopModel, dataset: Dataset, draws: Sequence[Mapping[str, Any]]
) -> dict[str, Floats]:
    """Quadratic approximation of each subject's log likelihood in its parameters on their scales.

    Averaged over draws, as in Gaussian variational approximation (Opper & Archambeau, Neural
    Computation 21:786, 2009): the expected curvature, and a slope that matches the expected slope
    at the mean. A few draws see the bends that a single point misses.

    Parameters
    ----------
    model, dataset
        What is fitted to what.
    draws
        Points to average over, each with the population parameters and, where there are random
        effects, ``eta`` (n_subjects, n_effects) and ``kappa`` (n_occasions, n_effects); with
        sub-populations instead ``class_eta`` and ``class_kappa``, these of each class, and
        ``class_probability`` (n_subjects, n_classes). With latent covariates that are missing
        ``latent_covariates`` (n_missing), with a further level SITE ``eta_SITE`` (n_groups,
        n_effects).

    Returns
    -------
    The data of `popk.graph.build`: ``curvature`` (n_subjects, m, m) and ``pull`` (n_subjects, m),
    for what moves all rows of a subject alike; where subjects have several rows also
    ``curvature_of_rows`` (n_rows, m, m), by what moves all rows and by what moves one of them. With
    variability between occasions these have it integrated out, and there are
    ``occasion_curvature`` (n_occasions, q, q), ``occasion_pull`` (n_occasions, q) and
    ``occasion_curvature_of_rows`` (n_rows, q, m) for the effects of each occasion, the others
    being held. With sub-populations everything is averaged over the classes, too.
    """
    design = check_fit(model, dataset)
    solver = Solver(model.structure, design.events)
    observed = observations(model, dataset, design.events)
    m, between = len(model.structure.names), np.zeros((len(model.iov.effects),) * 2)
    subjects = [_Subject.of(design, solver.schedule, i, m) for i in range(dataset.n_subjects)]
    for draw in draws:
        population = PopulationDraws(
            model,
            {p.name: np.reshape(draw[p.name], 1) for p in model.parameters},
            levels=effects_in_draw(model, design.covariates, draw),
        )
        sigma = {name: value[0] for name, value in population.sigma.items()}
        for theta, weight in _by_class(population, design, draw):
            prediction, by_row = solver.run(theta)
            slope, bend = prediction_slopes(model.error, observed, prediction, sigma)
            by_phi = by_row * population.slopes(theta)[solver.schedule.row_of]
            scales = model.scale_of.values()
            phi = np.stack([s.forward(theta[:, k], NUMPY) for k, s in enumerate(scales)], axis=1)
            for part, share in zip(subjects, weight / len(draws), strict=True):
                if share == 0:  # anything may happen in a class that is not the subject's
                    continue
                own = by_phi[part.slopes].reshape(part.n_outputs, part.phi.size)
                seen, here = observed.part(part.outputs), prediction[part.outputs]
                new = innovations(model.error, seen, here, sigma, own)
                part.curvature += (bend[part.outputs, None] * new).T @ new * share
                part.gradient += slope[part.outputs] @ own * share
                part.phi += phi[part.rows].ravel() * share
        mixing = population.omega_iov[0][:, None] * population.factor_iov[0]
        between += mixing @ mixing.T / len(draws)
    positions = PopulationDraws(model, {}).occasion_positions
    found = [part.of_subject(between, positions) for part in subjects]
    data = {
        "curvature": np.stack([own.sum(axis=0) for own, _ in found]),
        "pull": np.stack([pull for _, pull in found]),
    }
    if design.varies:
        data["curvature_of_rows"] = np.concatenate([own for own, _ in found])
    if not positions:
        return data
    names = ("occasion_curvature", "occasion_pull", "occasion_curvature_of_rows")
    parts = [part.of_occasions(positions) for part in subjects]
    joined = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    return data | dict(zip(names, joined, strict=True))


def effect_names(model: PopModel, found: Container[Hashable]) -> list[str]:
    """Names of those of `found` that `approximate_likelihood` takes besides the parameters."""
    groups = [level.effects_name for level in model.levels]
    if not model.classes:
        return [name for name in ("eta", "kappa", "latent_covariates", *groups) if name in found]
    names = ("class_eta", "class_kappa", "class_probability", "latent_covariates", *groups)
    return [name for name in names if name in found]


def _by_class(
    population: PopulationDraws, design: Design, draw: Mapping[str, Any]
) -> Iterator[tuple[Floats, Floats]]:
    """Parameters (n_rows, m) under one draw and each subject's weight (n_subjects), by class."""
    model, n = population.model, design.events.n_subjects
    none = np.zeros((1, n, 0))
    latent = np.asarray(draw["latent_covariates"])[None] if design.missing else None
    if not model.classes:
        eta = np.asarray(draw["eta"])[None] if model.iiv.effects else none
        kappa = np.asarray(draw["kappa"])[None] if model.iov.effects else None
        yield population.row_parameters(design, eta, kappa, latent)[0], np.ones(n)
        return
    for k in range(len(model.classes)):
        eta = np.asarray(draw["class_eta"])[k][None] if model.iiv.effects else none
        kappa = np.asarray(draw["class_kappa"])[k][None] if model.iov.effects else None
        labels = np.full((1, n), k)
        theta = population.row_parameters(design, eta, kappa, latent, labels=labels)[0]
        yield theta, np.asarray(draw["class_probability"])[:, k]


@dataclass
class _Subject:
    """A subject's quadratic approximation in the parameters of all its rows, (n_rows * m).

    ``rows``, ``outputs`` and ``slopes``: its part of the rows of parameters, of the outputs, and of
    the rows of the gradient. ``occasion`` (n_rows), counted from 0.
    """

    rows: slice
    outputs: slice
    slopes: slice
    occasion: NDArray[np.int64]
    curvature: Floats
    gradient: Floats
    phi: Floats

    @classmethod
    def of(cls, design: Design, schedule: Schedule, index: int, m: int) -> _Subject:
        _, row, output, slope, n_rows = schedule.tasks[index].tolist()
        n = design.events.subject(index).n_outputs
        size = n_rows * m
        _, occasion = np.unique(design.occasion[row : row + n_rows], return_inverse=True)
        return cls(
            slice(row, row + n_rows), slice(output, output + n),
            slice(slope, slope + n * n_rows), occasion.ravel(),
            np.zeros((size, size)), np.zeros(size), np.zeros(size),
        )  # fmt: skip

    @property
    def n_outputs(self) -> int:
        return int(self.outputs.stop - self.outputs.start)

    def of_subject(self, between: Floats, positions: list[int]) -> tuple[Floats, Floats]:
        """Curvature by row (n_rows, m, m) and pull (m), occasions' effects integrated out.

        ``between`` is the covariance of the occasions' effects on the parameters at ``positions``.
        """
        n_rows = len(self.occasion)
        m = len(self.phi) // n_rows
        curvature, pull = self.curvature, self.gradient + self.curvature @ self.phi
        if positions:
            acts = self._acts(positions)
            covariance = np.kron(np.eye(self.occasion.max() + 1), between)
            bent = curvature @ acts
            inner = np.eye(len(covariance)) + covariance @ (acts.T @ bent)
            gain = np.linalg.solve(inner, covariance)
            pull = pull - bent @ (gain @ (acts.T @ pull))
            curvature = curvature - bent @ gain @ bent.T
            curvature = 0.5 * (curvature + curvature.T)
        by_row = curvature.reshape(n_rows, m, n_rows, m).sum(axis=0).transpose(1, 0, 2)
        return by_row, pull.reshape(n_rows, m).sum(axis=0)

    def of_occasions(self, positions: list[int]) -> tuple[Floats, Floats, Floats]:
        """Curvature (n, q, q), pull (n, q) and curvature by row (n_rows, q, m)."""
        n_rows, q = len(self.occasion), len(positions)
        m = len(self.phi) // n_rows
        n = int(self.occasion.max()) + 1
        acts = self._acts(positions).reshape(-1, n, q)
        by_row = np.empty((n_rows, q, m))
        curvature, pull = np.empty((n, q, q)), np.empty((n, q))
        for o in range(n):
            mine = np.repeat(self.occasion == o, m)
            own = self.curvature[np.ix_(mine, mine)]
            moves = acts[mine, o]
            curvature[o] = moves.T @ own @ moves
            pull[o] = moves.T @ (self.gradient[mine] + own @ self.phi[mine])
            by_row[self.occasion == o] = (moves.T @ own).reshape(q, -1, m).transpose(1, 0, 2)
        return curvature, pull, by_row

    def _acts(self, positions: list[int]) -> Floats:
        """What an occasion's effect moves: (n_rows * m, n_occasions * q), zeros and ones."""
        n_rows, q = len(self.occasion), len(positions)
        found = np.zeros((n_rows, len(self.phi) // n_rows, self.occasion.max() + 1, q))
        for r, o in enumerate(self.occasion):
            found[r, positions, o, np.arange(q)] = 1.0
        return found.reshape(len(self.phi), -1)

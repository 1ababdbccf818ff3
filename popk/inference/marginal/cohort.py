"""A dataset's patients, and what is learnt of their integrals as the posterior becomes known."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from popk.individual import Patient, find_modes, log_joint, nodes_around, parameters_of, propose
from popk.inference.marginal.guide import shape_of
from popk.inference.marginal.integrals import (
    CLOSER,
    FEWEST_NODES,
    NEAR_MODE,
    SHIFTS,
    Integrals,
    Marginals,
)
from popk.inference.marginal.surrogate import fitted_surrogate
from popk.inference.marginal.weighing import apart, tamed
from popk.population import PopulationDraws

__all__ = ["Cohort"]

type Floats = NDArray[np.float64]
type Ints = NDArray[np.int64]

_RIDGE = 1e-3
_SOLVED = 3  # nodes at each point that polynomials are fitted to
_NEAR = 1.0  # SD of the log likelihood ratio above which polynomials are not used
_PICKING = 0.2  # variance of the log posterior's estimate that picking may add
_MOST_PICKS = 1000  # for a patient; those with more than nodes are solved at these instead
_DEFENSIVE_NODES = 64  # at least, where some are spread widely


@dataclass
class Cohort(Integrals):
    """A dataset's patients, ready to be integrated at points x (S, d) of `Coordinates`.

    Where their conditional posteriors are and what shape, which nodes they share, and what stands
    in for their equations is learnt from points of the posterior as it becomes known.
    """

    def begin(self, x: Floats, reach: Floats) -> None:
        """Learn how each patient's conditional mode moves around a point (d), ``reach`` (d) far."""
        around = x + np.vstack([np.zeros(len(x)), np.diag(reach), -np.diag(reach)])
        draws = self.coordinates.draws(around)
        self._centre = x
        features = self._features(around)

        def one(patient: Patient, index: int, rng: np.random.Generator) -> Floats:
            del rng
            modes = find_modes(draws, patient, tolerance=NEAR_MODE * CLOSER)
            return np.linalg.lstsq(features, modes.z)[0]

        for guide, lines in zip(self._guides, self._map(0, one), strict=True):
            guide.lines = lines

    def learn(self, x: Floats, found: Marginals, weight: Floats) -> None:
        """Learn from weighted points (S, d) where conditional posteriors are and what shape.

        Their modes are predicted from the coordinates by a line for each effect; the shapes are
        averages. ``found`` holds all detail, ``weight`` (S) sums to one.
        """
        self._centre = weight @ x
        design = self._features(x)
        weighted = design * weight[:, None]
        gram = weighted.T @ design
        gram += _RIDGE * np.diag(np.diagonal(gram)) * (np.arange(len(gram)) > 0)
        for index, guide in enumerate(self._guides):
            guide.lines = np.linalg.solve(gram, weighted.T @ found.modes[index])
            second = np.tensordot(weight, found.second[index], 1)
            guide.shape = shape_of(weight @ found.first[index], second)

    def settle(self, x: Floats) -> None:
        """Choose the nodes that all points share, for each patient.

        Of some sets the one whose error, as the average of all sets tells it, changes least over
        points (S, d).
        """

        def one(
            patient: Patient, index: int, at: tuple[Floats, PopulationDraws],
            rng: np.random.Generator,
        ) -> tuple[Floats, ...]:  # fmt: skip
            del rng
            modes = self._modes(patient, index, *at)
            return tuple(
                self._shared(patient, index, at[1], modes, shift, each[index])[2]
                for shift in range(SHIFTS)
            )

        each = [self._nodes(index, smooth=True) for index in range(len(self.patients))]
        for guide, found in zip(self._guides, self._each(x, 0, one, each, rough=True), strict=True):
            values = np.stack(found)  # (SHIFTS, S)
            with np.errstate(invalid="ignore"):
                error = np.std(values - logsumexp(values, axis=0), axis=1)
            guide.shift = int(np.argmin(np.nan_to_num(error, nan=np.inf)))

    def widen(self, which: Ints, fewest: int = _DEFENSIVE_NODES) -> None:
        """Spread part of some patients' nodes as widely as the effects are; ``fewest`` nodes."""
        for index in which:
            guide = self._guides[index]
            if guide.shape is not None:
                guide.shape = replace(guide.shape, defensive=True)
                for nodes in (self.nodes, self.few):
                    nodes[index] = max(nodes[index], fewest)

    def train(self, x: Floats, stage: int, near: Floats) -> None:
        """Fit polynomials to solutions at points (S, d), and keep those that hold ``near`` others.

        Where they hold, the number of picks follows from how closely.
        """
        draws, tried = self.coordinates.draws(x), self.coordinates.draws(near)

        def one(patient: Patient, index: int, rng: np.random.Generator) -> tuple[Floats, ...]:
            guide = self._guides[index]
            # Where the nodes are need not be exact, and exact modes are what costs most.
            sought = guide.fast is not None
            modes = self._modes(guide.fast or patient, index, x, draws, sought=sought)
            guide.fast, guide.scatter, guide.picks = None, 0.0, 1
            z = nodes_around(modes, each=_SOLVED, rng=rng, shape=guide.shape)
            theta = parameters_of(draws, patient, modes.expected[:, None], z)[0]
            theta = theta.reshape(-1, *theta.shape[2:])
            made = fitted_surrogate(theta, patient.solver.ensemble(theta).value)
            if made is None:
                return ()
            fast = replace(patient, solver=cast("Any", made))
            modes = self._modes(fast, index, near, tried)
            nodes = propose(tried, fast, modes, each=FEWEST_NODES, rng=rng, shape=guide.shape)
            exact = log_joint(tried, patient, modes.expected, nodes.z)[0] - nodes.log_density
            off, scatter = apart(tamed(modes, nodes), exact)
            if off < _NEAR:
                guide.fast, guide.scatter = fast, scatter
            return ()

        list(self._map(stage, one))
        self.pick(_PICKING / len(self.patients))

    def pick(self, allowed: float, *, fewest: int = 1) -> None:
        """Solve so many nodes of each point exactly that they add no more variance to a patient."""
        for guide in self._guides:
            if guide.fast is not None:
                guide.picks = int(np.ceil(np.clip(guide.scatter / allowed, fewest, _MOST_PICKS)))

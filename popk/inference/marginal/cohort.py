"""A dataset's patients, and what is learnt of their integrals as the posterior becomes known."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from popk.individual import (
    Frame,
    Modes,
    Patient,
    Shape,
    find_modes,
    log_joint,
    nodes_around,
    parameters_of,
    propose,
)
from popk.inference.marginal.guide import shape_of
from popk.inference.marginal.integrals import (
    CLOSER,
    FEWEST_NODES,
    NEAR_MODE,
    SHIFTS,
    Integrals,
    Marginals,
)
from popk.inference.marginal.spread import described, sampled
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
_SPREAD = 1024  # nodes that show where all of a conditional posterior is
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
        self._centre, self._reach = x, reach
        features = self.features(around)

        def one(patient: Patient, index: int, rng: np.random.Generator) -> Floats:
            del rng
            modes = find_modes(draws, patient, tolerance=NEAR_MODE * CLOSER)
            return np.linalg.lstsq(features, modes.z)[0]

        for guide, lines in zip(self._guides, self._map(0, one), strict=True):
            guide.lines = lines

    def learn(self, x: Floats, found: Marginals, weight: Floats) -> None:
        """Learn from weighted points (S, d) where conditional posteriors are and what shape.

        Their modes are predicted from the coordinates by a quadratic for each effect; the shapes
        are averages. ``found`` holds all detail, ``weight`` (S) sums to one.
        """
        self._centre = weight @ x
        self._reach = np.sqrt(weight @ (x - self._centre) ** 2)
        design = self.features(x)
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

    def widen(self, which: Ints, x: Floats, stage: int, fewest: int = _DEFENSIVE_NODES) -> None:
        """Spread some patients' nodes over all of their conditional posteriors.

        Part of them as widely as the effects are, part as a mixture says that is fitted to the
        effects of many nodes at points (S, d) of the posterior. At least ``fewest`` nodes.
        """
        draws = self.coordinates.draws(x)

        def one(patient: Patient, index: int, rng: np.random.Generator) -> None:
            modes = self._modes(self._guides[index].fast or patient, index, x, draws)
            self._guides[index].shape = self._spread(patient, index, draws, modes, rng)
            for nodes in (self.nodes, self.few):
                nodes[index] = max(nodes[index], fewest)

        known = [int(k) for k in which if self._guides[k].shape is not None]
        list(self._map(stage, one, known))

    @property
    def is_spread(self) -> NDArray[np.bool_]:
        """Of which patients the nodes are spread by a mixture (n)."""
        shapes = [guide.shape for guide in self._guides]
        return np.array([shape is not None and shape.centres is not None for shape in shapes])

    def judged(
        self, index: int, learning: Floats, x: Floats, stage: int, each: int
    ) -> tuple[Floats, Floats]:
        """One patient's integral anew, with nodes spread over all of its conditional posterior.

        Parameters
        ----------
        index
            Which patient.
        learning
            Points of the posterior where it is learnt how to spread them.
        x
            Points (S, d) at which it is done.
        stage
            Chooses the seeds.
        each
            Nodes.

        Returns
        -------
        Log weights (S, each) of exact solutions at the nodes, over their sum; and the logarithm (S)
        of the smooth integral over this one.
        """
        patient, guide = self.patients[index], self._guides[index]
        rng = np.random.default_rng([self.seed, stage, index])
        near, draws = self.coordinates.draws(learning), self.coordinates.draws(x)
        used = guide.fast or patient
        shape = self._spread(patient, index, near, self._modes(used, index, learning, near), rng)
        modes, few = self._modes(used, index, x, draws), self._nodes(index, smooth=True)
        smooth = self._shared(used, index, draws, modes, guide.shift, few)[2]
        weights, marginals = [], []
        parts = np.arange(0, len(x), self._at_a_time(index, each))
        for rows in np.split(np.arange(len(x)), parts[1:]):
            own = modes.taken(rows)
            nodes = propose(draws.taken(rows), patient, own, each=each, rng=rng, shape=shape)
            weights.append(nodes.log_weight)
            marginals.append(nodes.log_marginal)
        marginal = np.concatenate(marginals)
        with np.errstate(invalid="ignore"):
            relative = np.concatenate(weights) - marginal[:, None] - np.log(each)
        return np.where(np.isfinite(relative), relative, -np.inf), smooth - marginal

    def _spread(
        self, patient: Patient, index: int, draws: PopulationDraws, modes: Modes,
        rng: np.random.Generator,
    ) -> Shape:  # fmt: skip
        """The patient's shape, with a mixture that describes all of its conditional posterior."""
        shape = self._guides[index].shape
        assert shape is not None
        shape = replace(shape, defensive=True, centres=None, factors=None)
        found = propose(draws, patient, modes, each=_SPREAD, rng=rng, shape=shape)
        points = Frame.of(draws, patient, modes).forward(found.z)
        mixture = described(sampled(points, found.log_weight, rng), rng)
        return replace(shape, centres=mixture.mean, factors=mixture.factor)

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

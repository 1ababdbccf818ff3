"""The marginal likelihood of every patient at many points of the population parameters.

The estimate at each point is unbiased, with random numbers of the patient's own: a Metropolis chain
on it has the exact posterior as its stationary distribution, however few the nodes (Andrieu &
Roberts, Annals of Statistics 37:697, 2009), and so have the random effects that are picked from the
nodes by weight.

Where a patient's equations are costly, polynomials stand in for them (`Surrogate`) and a few nodes,
picked by their weights, are solved exactly: the average of exact over approximate likelihood at the
picks, times the approximate integral, is again an unbiased estimate.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from popk.dataset import Dataset
from popk.design import Design, design_of
from popk.individual import (
    Modes,
    Patient,
    Shape,
    expected_of,
    find_modes,
    log_joint,
    n_effects,
    patients_of,
    propose,
)
from popk.inference.marginal.coordinates import Coordinates
from popk.inference.marginal.surrogate import fitted_surrogate
from popk.model import PopModel
from popk.population import PopulationDraws

__all__ = ["Cohort", "Marginals"]

type Floats = NDArray[np.float64]
type Ints = NDArray[np.int64]

FEWEST_NODES = 16
_NUMBERS = 240_000  # predictions and parameters at a time: a few MB, worth handing to a thread
_STEP = 4e-3  # in a coordinate: above the error of an ODE solver, below any posterior's width
_RIDGE = 1e-3
_SOLVED = 4  # nodes at each point that polynomials are fitted to
_NEAR = 1.0  # SD of the log likelihood ratio above which polynomials are not used
_PICKING = 0.1  # variance of the log posterior's estimate that picking may add
_MOST_PICKS = 12
_NEAR_MODE = 0.5  # promised gain of log density of the last step to a mode: one SD
_NARROWEST = 0.25  # a shape's variance, of that of the normal one


@dataclass(frozen=True)
class Marginals:
    """What was found at S points.

    ``log_likelihood`` (S, n_subjects), the log of the estimated marginal likelihood of each;
    ``picks``, for each subject standardised effects (S, K, k) drawn given its data. Where asked
    for: ``modes``, the same at their conditional modes (S, k); ``log_weight``, of each subject the
    importance weights of its nodes (S, J), relative to their sum; ``first`` (S, k) and ``second``
    (S, k, k) moments of the conditional posterior in the coordinates of `popk.individual.Shape`.
    """

    log_likelihood: Floats
    picks: tuple[Floats, ...]
    modes: tuple[Floats, ...] = ()
    log_weight: tuple[Floats, ...] = ()
    first: tuple[Floats, ...] = ()
    second: tuple[Floats, ...] = ()

    def taken(self, chosen: Any) -> Marginals:
        """At some of the points."""
        return Marginals(self.log_likelihood[chosen], tuple(own[chosen] for own in self.picks))


@dataclass
class _Guide:
    """What has been learnt of a patient.

    ``lines`` (1 + d, k), its conditional mode as a function of the coordinates; the ``shape``
    around the mode; the patient with polynomials for equations, ``fast``, and the number of
    ``picks`` to be solved exactly for each point.
    """

    lines: Floats | None = None
    latest: Floats | None = None
    shape: Shape | None = None
    fast: Patient | None = None
    picks: int = 1


@dataclass
class Cohort:
    """A dataset's patients, ready to be integrated at points x (S, d) of `Coordinates`.

    Parameters
    ----------
    coordinates
        Of the population parameters.
    patients
        The patients.
    design
        What of the data predictions rest on.
    seed
        Seed of all random numbers.
    cores
        Patients integrated at a time.
    nodes
        Nodes of each patient's integral, (n_subjects).
    common
        Whether all points share a patient's nodes.
    """

    coordinates: Coordinates
    patients: list[Patient]
    design: Design
    seed: int
    cores: int
    nodes: Ints
    common: bool = False
    _guides: list[_Guide] = field(default_factory=list)
    _centre: Floats | None = None

    @classmethod
    def of(cls, model: PopModel, dataset: Dataset, *, seed: int, cores: int) -> Cohort:
        """The patients of a dataset whose fit to the model has been checked."""
        patients = patients_of(PopulationDraws(model, {}), dataset, threads=1)
        nodes = np.full(len(patients), FEWEST_NODES, dtype=np.int64)
        guides = [_Guide() for _ in patients]
        design = design_of(model, dataset)
        return cls(Coordinates(model), patients, design, seed, cores, nodes, _guides=guides)

    @property
    def n_effects(self) -> list[int]:
        """Number of each patient's random effects."""
        none = PopulationDraws(self.coordinates.model, {})
        return [n_effects(none, patient) for patient in self.patients]

    @property
    def is_costly(self) -> bool:
        """Whether solving the equations takes most of the time."""
        return self.coordinates.model.structure.closed_form is None

    @property
    def n_fast(self) -> int:
        """Patients for whom polynomials stand in."""
        return sum(guide.fast is not None for guide in self._guides)

    def log_posterior(self, x: Floats, found: Marginals) -> Floats:
        """Log posterior density (S), up to the evidence."""
        total = found.log_likelihood.sum(axis=1) + self.log_prior(x)
        return np.where(np.isfinite(total), total, -np.inf)

    def log_prior(self, x: Floats) -> Floats:
        """Log prior density (S), and what the measured values of latent covariates say."""
        found = self.coordinates.log_prior(x)
        if not self.coordinates.model.latent:
            return found
        return found + self.coordinates.draws(x).measured_density(self.design)

    def integrate(self, x: Floats, stage: int, *, detail: bool = False) -> Marginals:
        """Every patient's marginal likelihood at points (S, d); ``stage`` chooses the seeds."""
        one = partial(self._one, detail=detail)
        likelihood, *parts = zip(*self._each(x, stage, one), strict=True)
        return Marginals(np.stack(likelihood, axis=1), *parts)

    def correct(self, x: Floats, found: Marginals, stage: int) -> Marginals:
        """The same by exact solutions at the picks, of which one is left for each subject."""
        draws = self.coordinates.draws(x)

        def one(patient: Patient, index: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
            picks, fast = found.picks[index], self._guides[index].fast
            if fast is None:
                return found.log_likelihood[:, index], picks[:, :1]
            expected = _expected(draws, patient)
            exact = log_joint(draws, patient, expected, picks)[0]
            with np.errstate(invalid="ignore"):
                ratio = exact - log_joint(draws, fast, expected, picks)[0]
            ratio = np.where(np.isfinite(ratio), ratio, -np.inf)
            chosen, total = _picked(ratio, 1, rng)
            likelihood = found.log_likelihood[:, index] + total - np.log(ratio.shape[1])
            return likelihood, np.take_along_axis(picks, chosen[..., None], axis=1)

        likelihood, z = zip(*self._map(stage, one), strict=True)
        return Marginals(np.stack(likelihood, axis=1), z)

    def slopes(self, x: Floats, stage: int) -> tuple[Floats, Floats]:
        """Log marginal likelihoods (S, n) and their derivatives by the coordinates (S, n, d).

        By Fisher's identity: the derivative of the log of the average over nodes that are held
        (Louis, J R Stat Soc B 44:226, 1982), by central differences.
        """
        size, d = x.shape
        moves = np.concatenate([np.eye(d), -np.eye(d)]) * _STEP
        here = self.coordinates.draws(x)
        moved = self.coordinates.draws((x[:, None] + moves).reshape(-1, d))

        def one(patient: Patient, index: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
            guide = self._guides[index]
            modes = find_modes(here, patient, start=guide.latest)
            guide.latest = modes.z
            nodes = propose(here, patient, modes, each=int(self.nodes[index]), rng=rng, common=True)
            z = np.repeat(nodes.z, 2 * d, axis=0)
            there = log_joint(moved, patient, _expected(moved, patient), z)[0]
            there = there - np.repeat(nodes.log_density, 2 * d, axis=0)
            with np.errstate(invalid="ignore"):
                ends = logsumexp(there, axis=1).reshape(size, 2, d)
                slope = (ends[:, 0] - ends[:, 1]) / (2 * _STEP)
            return nodes.log_marginal, np.where(np.isfinite(slope), slope, 0.0)

        value, slope = zip(*self._map(stage, one), strict=True)
        return np.stack(value, axis=1), np.stack(slope, axis=1)

    def prior_slopes(self, x: Floats) -> Floats:
        """Derivatives (S, d) of `log_prior`."""
        size, d = x.shape
        moves = np.stack([np.eye(d), -np.eye(d)]) * _STEP
        ends = self.log_prior((x[:, None, None] + moves).reshape(-1, d)).reshape(size, 2, d)
        return np.asarray((ends[:, 0] - ends[:, 1]) / (2 * _STEP))

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
            guide.shape = _shape(weight @ found.first[index], second)

    def widen(self, which: Ints, factor: float) -> None:
        """Spread the nodes of some patients more widely around their modes."""
        for index in which:
            shape = self._guides[index].shape
            if shape is not None:
                self._guides[index].shape = Shape(shape.centre, factor * shape.factor)

    def train(self, x: Floats, stage: int, near: Floats) -> None:
        """Fit polynomials to solutions at points (S, d), and keep those that hold ``near`` others.

        Where they hold, the number of picks follows from how closely.
        """
        draws, tried = self.coordinates.draws(x), self.coordinates.draws(near)
        allowed = _PICKING / len(self.patients)

        def one(patient: Patient, index: int, rng: np.random.Generator) -> tuple[Floats, ...]:
            guide = self._guides[index]
            guide.fast, guide.picks = None, 1
            modes = self._modes(patient, index, x, draws)
            nodes = propose(draws, patient, modes, each=_SOLVED, rng=rng, shape=guide.shape)
            theta = nodes.parameters.reshape(-1, *nodes.parameters.shape[2:])
            made = fitted_surrogate(theta, patient.solver.ensemble(theta).value)
            if made is None:
                return ()
            fast = replace(patient, solver=cast("Any", made))
            z = self._one(fast, index, (near, tried), rng, rng, detail=False)[1]
            expected = _expected(tried, patient)
            exact, rough = (log_joint(tried, p, expected, z)[0] for p in (patient, fast))
            with np.errstate(invalid="ignore"):
                apart = float(np.std(exact - rough))
            if apart < _NEAR:
                guide.fast = fast
                guide.picks = int(np.clip(np.ceil(np.expm1(apart**2) / allowed), 1, _MOST_PICKS))
            return ()

        list(self._map(stage, one))

    def _features(self, x: Floats) -> Floats:
        assert self._centre is not None
        return np.concatenate([np.ones((len(x), 1)), x - self._centre], axis=1)

    def _modes(self, patient: Patient, index: int, x: Floats, draws: PopulationDraws) -> Modes:
        """Conditional modes, begun at those predicted once they have been learnt."""
        lines = self._guides[index].lines
        if lines is None:
            return find_modes(draws, patient)
        start = self._features(x) @ lines
        return find_modes(draws, patient, start=start, tolerance=_NEAR_MODE)

    def _one(
        self, patient: Patient, index: int, at: tuple[Floats, PopulationDraws],
        shifts: np.random.Generator, rng: np.random.Generator, *, detail: bool,
    ) -> tuple[Floats, ...]:  # fmt: skip
        x, draws = at
        guide = self._guides[index]
        modes = self._modes(patient, index, x, draws)
        nodes = propose(
            draws, patient, modes, each=int(self.nodes[index]), rng=shifts, shape=guide.shape,
            common=self.common,
        )  # fmt: skip
        chosen, total = _picked(nodes.log_weight, guide.picks, rng)
        marginal = total - np.log(nodes.log_weight.shape[1])
        picks = np.take_along_axis(nodes.z, chosen[..., None], axis=1)
        if not detail:
            return marginal, picks
        with np.errstate(divide="ignore", invalid="ignore"):
            relative = nodes.log_weight - total[:, None]
        relative = np.where(np.isfinite(relative), relative, -np.inf)
        weight = np.exp(relative)
        y = (nodes.z - modes.z[:, None]) @ np.linalg.cholesky(modes.precision)
        second = np.einsum("sj,sjk,sjl->skl", weight, y, y)
        return marginal, picks, modes.z, relative, np.einsum("sj,sjk->sk", weight, y), second

    def _each(
        self, x: Floats, stage: int, one: Callable[..., tuple[Floats, ...]]
    ) -> Iterator[tuple[Floats, ...]]:
        """``one`` of every patient, over parts of the points, joined."""
        sizes = [self._at_a_time(index) for index in range(len(self.patients))]
        parts = {
            size: [
                (x[k : k + size], self.coordinates.draws(x[k : k + size]))
                for k in range(0, len(x), size)
            ]
            for size in set(sizes)
        }

        def whole(patient: Patient, index: int, rng: np.random.Generator) -> tuple[Floats, ...]:
            found, used = [], self._guides[index].fast or patient
            for piece in parts[sizes[index]]:
                shifts = np.random.default_rng([self.seed, index]) if self.common else rng
                found.append(one(used, index, piece, shifts, rng))
            return tuple(np.concatenate(columns) for columns in zip(*found, strict=True))

        return self._map(stage, whole)

    def _at_a_time(self, index: int) -> int:
        """Points integrated at a time."""
        patient = self.patients[index]
        parameters = len(self.coordinates.model.structure.names) * len(patient.occasion)
        numbers = self.nodes[index] * (len(patient.observed.dv) + parameters)
        return max(8, int(2 ** np.floor(np.log2(_NUMBERS / numbers))))

    def _map[T](
        self, stage: int, work: Callable[[Patient, int, np.random.Generator], T]
    ) -> Iterator[T]:
        """The work for each patient, with its own random numbers whatever the number of cores."""

        def task(index: int) -> T:
            rng = np.random.default_rng([self.seed, stage, index])
            return work(self.patients[index], index, rng)

        with ThreadPoolExecutor(self.cores) as pool:
            yield from pool.map(task, range(len(self.patients)))


def _expected(draws: PopulationDraws, patient: Patient) -> Floats:
    """Parameters of the patient's rows on their scales without random effects (S, n_rows, m)."""
    return expected_of(draws, patient, np.zeros((draws.size, n_effects(draws, patient))))


def _picked(log_weight: Floats, picks: int, rng: np.random.Generator) -> tuple[Ints, Floats]:
    """Columns (S, picks) drawn by weight, evenly spread; log of the sum of the weights (S)."""
    highest = log_weight.max(axis=1, keepdims=True)
    highest = np.where(np.isfinite(highest), highest, 0.0)
    share = np.cumsum(np.exp(log_weight - highest), axis=1)
    turns = (rng.random((len(share), 1)) + np.arange(picks)) / picks * share[:, -1:]
    chosen = (share[:, None] < turns[..., None]).sum(axis=2)
    with np.errstate(divide="ignore"):
        total = highest[:, 0] + np.log(share[:, -1])
    return chosen.clip(0, log_weight.shape[1] - 1), total


def _shape(first: Floats, second: Floats) -> Shape:
    """A shape with these moments, in no direction much narrower than the normal one."""
    values, vectors = np.linalg.eigh(second - np.outer(first, first))
    widened = (vectors * np.maximum(values, _NARROWEST)) @ vectors.T
    return Shape(first, np.linalg.cholesky(widened))

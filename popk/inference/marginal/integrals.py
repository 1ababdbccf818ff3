"""The marginal likelihood of every patient at many points of the population parameters.

There are three estimates. The smooth one has the same few nodes at every point: it is off by nearly
the same everywhere (`popk.inference.marginal.calibration`). The precise one has many. The unbiased
one has nodes of its own at every point: a Metropolis chain on it has the exact posterior as its
stationary distribution, however few the nodes (Andrieu & Roberts, Annals of Statistics 37:697,
2009), and so have the random effects that are picked from the nodes by weight.

Where a patient's equations are costly, polynomials stand in for them (`Surrogate`) and a few nodes,
picked by their weights, are solved exactly: the average of exact over approximate likelihood at the
picks, times the approximate integral, is again an unbiased estimate.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from popk.dataset import Dataset
from popk.design import Design, design_of
from popk.individual import (
    Modes,
    Patient,
    Proposals,
    expected_of,
    find_modes,
    log_joint,
    n_effects,
    patients_of,
    propose,
)
from popk.inference.marginal.coordinates import Coordinates
from popk.inference.marginal.guide import Guide
from popk.inference.marginal.slopes import Neighbourhood, joint_slopes
from popk.inference.marginal.weighing import picked, tamed
from popk.model import PopModel
from popk.population import PopulationDraws

__all__ = ["CLOSER", "FEWEST_NODES", "NEAR_MODE", "SHIFTS", "Integrals", "Marginals"]

type Floats = NDArray[np.float64]
type Ints = NDArray[np.int64]

FEWEST_NODES = 16
_NUMBERS = 1_000_000  # predictions and parameters at a time: 8 MB, worth handing to a thread
_STEP = 4e-3  # in a coordinate: below any posterior's width
NEAR_MODE = 0.5  # promised gain of log density of the last step to a mode: one SD
CLOSER = 0.01  # of that, where modes are followed
_FARTHEST = 4.0  # SD of the posterior, up to which the modes' movement is followed
_CLIMBING = 64  # nodes while modes are sought, where they cost little
_CORRECTED = 8  # picks of a precise integral
SHIFTS = 8  # sets of shared nodes, of which the best is used


@dataclass(frozen=True)
class Marginals:
    """What was found at S points.

    ``log_likelihood`` (S, n_subjects), the log of the estimated marginal likelihood of each;
    ``picks``, for each subject standardised effects (S, K, k) drawn given its data, and
    ``promised``, the log joint density (S, K) by which they were drawn. Where asked for: ``modes``,
    the same at their conditional modes (S, k); ``log_weight``, of each subject the importance
    weights of its nodes (S, J), relative to their sum; ``first`` (S, k) and ``second`` (S, k, k)
    moments of the conditional posterior in the coordinates of `popk.individual.Shape`.
    """

    log_likelihood: Floats
    picks: tuple[Floats, ...]
    promised: tuple[Floats, ...] = ()
    modes: tuple[Floats, ...] = ()
    log_weight: tuple[Floats, ...] = ()
    first: tuple[Floats, ...] = ()
    second: tuple[Floats, ...] = ()

    def taken(self, chosen: Any) -> Marginals:
        """At some of the points."""
        each = (self.picks, self.promised)
        return Marginals(
            self.log_likelihood[chosen], *(tuple(own[chosen] for own in part) for part in each)
        )


@dataclass
class Integrals:
    """A dataset's patients, and the integrals over their random effects.

    At points x (S, d) of `Coordinates`.

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
    few
        Those of its smooth estimate.
    common
        Whether all points share a patient's nodes.
    """

    coordinates: Coordinates
    patients: list[Patient]
    design: Design
    seed: int
    cores: int
    nodes: Ints
    few: Ints
    common: bool = False
    _guides: list[Guide] = field(default_factory=list)
    _centre: Floats | None = None
    _reach: Floats | None = None

    @classmethod
    def of(cls, model: PopModel, dataset: Dataset, *, seed: int, cores: int) -> Self:
        """The patients of a dataset whose fit to the model has been checked."""
        patients = patients_of(PopulationDraws(model, {}), dataset, threads=1)
        nodes = np.full(len(patients), FEWEST_NODES, dtype=np.int64)
        guides = [Guide() for _ in patients]
        design = design_of(model, dataset)
        cohort = cls(Coordinates(model), patients, design, seed, cores, nodes, nodes.copy(),
                     _guides=guides)  # fmt: skip
        effects = np.array(cohort.n_effects)
        cohort.few *= np.where(effects <= 3, 1, np.where(effects <= 6, 2, 4))
        return cohort

    def some(self, n: int, rng: np.random.Generator) -> Self:
        """So many of the patients, drawn at random, of whom nothing is known yet."""
        drawn = np.sort(rng.choice(len(self.patients), size=n, replace=False))
        return replace(
            self, patients=[self.patients[k] for k in drawn], nodes=self.nodes[drawn],
            few=self.few[drawn], _guides=[Guide() for _ in drawn],
        )  # fmt: skip

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

    def integrate(
        self, x: Floats, stage: int, *, detail: bool = False, rough: bool = False,
        smooth: bool = False,
    ) -> Marginals:  # fmt: skip
        """Every patient's marginal likelihood at points (S, d).

        Parameters
        ----------
        x
            The points.
        stage
            Chooses the seeds.
        detail
            Whether modes, weights and moments are wanted.
        rough
            Use the polynomials even where they are not near enough to be corrected at picks.
        smooth
            Be rough, and use the same nodes at every point and stage: the estimate is not unbiased,
            but a smooth function that is off by nearly the same everywhere.
        """
        one = partial(self._one, detail=detail, smooth=smooth)
        each = [self._nodes(index, smooth=smooth) for index in range(len(self.patients))]
        likelihood, *parts = zip(
            *self._each(x, stage, one, each, rough=rough or smooth), strict=True
        )
        return Marginals(np.stack(likelihood, axis=1), *parts)

    def precise(self, x: Floats, turn: int, each: Ints, which: Ints | None = None) -> Floats:
        """Log marginal likelihoods (S, n_subjects) with ``each`` (n_subjects) nodes.

        All points share them, one set for every ``turn``; where polynomials stand in, the integral
        is corrected at many picks. Of some subjects only, if ``which`` says of which.
        """
        one = partial(self._precise, turn=turn, each=each)
        found = self._each(x, 0, one, each.tolist(), rough=True, which=which)
        return np.stack([likelihood for (likelihood,) in found], axis=1)

    def correct(self, x: Floats, found: Marginals, stage: int) -> Marginals:
        """The same by exact solutions at the picks, of which one is left for each subject."""
        draws = self.coordinates.draws(x)

        def one(patient: Patient, index: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
            picks, fast = found.picks[index], self._used(index)
            if fast is patient:
                return found.log_likelihood[:, index], picks[:, :1]
            expected = _expected(draws, patient)
            exact = log_joint(draws, patient, expected, picks)[0]
            with np.errstate(invalid="ignore"):
                ratio = exact - found.promised[index]
            ratio = np.where(np.isfinite(ratio), ratio, -np.inf)
            chosen, total = picked(ratio, 1, rng)
            likelihood = found.log_likelihood[:, index] + total - np.log(ratio.shape[1])
            return likelihood, np.take_along_axis(picks, chosen[..., None], axis=1)

        likelihood, z = zip(*self._map(stage, one), strict=True)
        return Marginals(np.stack(likelihood, axis=1), z)

    def exact_weights(self, x: Floats, stage: int, which: Sequence[int], each: int) -> list[Floats]:
        """Of some subjects, log weights (S, each) of nodes by exact solutions, over their sum."""
        draws = self.coordinates.draws(x)

        def one(patient: Patient, index: int, rng: np.random.Generator) -> Floats:
            guide = self._guides[index]
            modes = self._modes(guide.fast or patient, index, x, draws)
            parts = np.arange(0, len(x), self._at_a_time(index, each))
            found = []
            for rows in np.split(np.arange(len(x)), parts[1:]):
                own, here = draws.taken(rows), modes.taken(rows)
                nodes = propose(own, patient, here, each=each, rng=rng, shape=guide.shape)
                total = logsumexp(nodes.log_weight, axis=1, keepdims=True)
                with np.errstate(invalid="ignore"):
                    relative = nodes.log_weight - total
                found.append(np.where(np.isfinite(relative), relative, -np.inf))
            return np.concatenate(found)

        return list(self._map(stage, one, which))

    def slopes(self, x: Floats, stage: int) -> tuple[Floats, Floats]:
        """Log marginal likelihoods (S, n) and their derivatives by the coordinates (S, n, d).

        By Fisher's identity: the derivative of the log of the average over nodes that are held
        (Louis, J R Stat Soc B 44:226, 1982).
        """
        around = Neighbourhood.of(self.coordinates, x)
        here = around.here

        def one(patient: Patient, index: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
            guide = self._guides[index]
            fits = guide.latest is not None and len(guide.latest) == len(x)
            start = guide.latest if fits else None
            modes = find_modes(here, patient, start=start, tolerance=NEAR_MODE * CLOSER)
            guide.latest = modes.z
            each = max(int(self.nodes[index]), FEWEST_NODES if self.is_costly else _CLIMBING)
            nodes = propose(here, patient, modes, each=each, rng=rng, common=True)
            slope = joint_slopes(around, patient, nodes.z, nodes.parameters)
            with np.errstate(invalid="ignore"):
                relative = nodes.log_weight - logsumexp(nodes.log_weight, axis=1, keepdims=True)
            weight = np.nan_to_num(np.exp(relative))
            return nodes.log_marginal, np.einsum("sj,sjd->sd", weight, slope)

        value, slope = zip(*self._map(stage, one), strict=True)
        return np.stack(value, axis=1), np.stack(slope, axis=1)

    def prior_slopes(self, x: Floats) -> Floats:
        """Derivatives (S, d) of `log_prior`."""
        size, d = x.shape
        moves = np.stack([np.eye(d), -np.eye(d)]) * _STEP
        ends = self.log_prior((x[:, None, None] + moves).reshape(-1, d)).reshape(size, 2, d)
        return np.asarray((ends[:, 0] - ends[:, 1]) / (2 * _STEP))

    def _nodes(self, index: int, *, smooth: bool) -> int:
        """Nodes of a patient's integral; fewer where they only rank points."""
        return int((self.few if smooth and not self.common else self.nodes)[index])

    def _used(self, index: int, *, rough: bool = False) -> Patient:
        """The patient, or its stand-in where that is near enough, or only ranks points."""
        guide = self._guides[index]
        if guide.fast is None or (guide.picks >= self.nodes[index] and not rough):
            return self.patients[index]
        return guide.fast

    def features(self, x: Floats) -> Floats:
        """What modes are predicted from (S, 1 + 2 d): a quadratic, cross terms left out.

        Far away, where it was not learnt, it stays what it is at the edge.
        """
        assert self._centre is not None
        assert self._reach is not None
        away = np.clip((x - self._centre) / self._reach, -_FARTHEST, _FARTHEST)
        return np.concatenate([np.ones((len(x), 1)), away, away**2], axis=1)

    def _modes(
        self,
        patient: Patient,
        index: int,
        x: Floats,
        draws: PopulationDraws,
        *,
        sought: bool = True,
    ) -> Modes:
        """Conditional modes, begun at those predicted once they have been learnt, or just those."""
        lines = self._guides[index].lines
        if lines is None:
            return find_modes(draws, patient)
        start = self.features(x) @ lines
        if not sought:
            return find_modes(draws, patient, start=start, steps=0)
        return find_modes(draws, patient, start=start, tolerance=NEAR_MODE)

    def _one(
        self, patient: Patient, index: int, at: tuple[Floats, PopulationDraws],
        rng: np.random.Generator, *, detail: bool, smooth: bool,
    ) -> tuple[Floats, ...]:  # fmt: skip
        x, draws = at
        guide = self._guides[index]
        modes = self._modes(patient, index, x, draws)
        each = self._nodes(index, smooth=smooth)
        exact = patient is self.patients[index]
        if smooth or self.common:
            nodes, log_weight, _ = self._shared(patient, index, draws, modes, guide.shift, each)
        else:
            nodes = propose(draws, patient, modes, each=each, rng=rng, shape=guide.shape)
            log_weight = nodes.log_weight if exact else tamed(modes, nodes)
        many = 1 if exact else guide.picks
        chosen, total = picked(log_weight, many, rng)
        marginal = total - np.log(nodes.log_weight.shape[1])
        picks = np.take_along_axis(nodes.z, chosen[..., None], axis=1)
        promised = np.take_along_axis(log_weight + nodes.log_density, chosen, axis=1)
        if not detail:
            return marginal, picks, promised
        with np.errstate(divide="ignore", invalid="ignore"):
            relative = log_weight - total[:, None]
        relative = np.where(np.isfinite(relative), relative, -np.inf)
        weight = np.exp(relative)
        y = (nodes.z - modes.z[:, None]) @ np.linalg.cholesky(modes.precision)
        second = np.einsum("sj,sjk,sjl->skl", weight, y, y)
        return (
            marginal,
            picks,
            promised,
            modes.z,
            relative,
            np.einsum("sj,sjk->sk", weight, y),
            second,
        )

    def _shared(
        self, patient: Patient, index: int, draws: PopulationDraws, modes: Modes, shift: int,
        each: int,
    ) -> tuple[Proposals, Floats, Floats]:  # fmt: skip
        """Nodes that all points share, their log weights, held, and the log integrals (S)."""
        nodes = propose(
            draws, patient, modes, each=each, rng=np.random.default_rng([self.seed, index, shift]),
            shape=self._guides[index].shape, common=True,
        )  # fmt: skip
        exact = patient is self.patients[index]
        log_weight = nodes.log_weight if exact else tamed(modes, nodes)
        return nodes, log_weight, logsumexp(log_weight, axis=1) - np.log(log_weight.shape[1])

    def _precise(
        self, patient: Patient, index: int, at: tuple[Floats, PopulationDraws],
        rng: np.random.Generator, *, turn: int, each: Ints,
    ) -> tuple[Floats]:  # fmt: skip
        x, draws = at
        shift = SHIFTS + turn
        modes = self._modes(patient, index, x, draws)
        nodes, log_weight, marginal = self._shared(
            patient, index, draws, modes, shift, int(each[index])
        )
        own = self.patients[index]
        if patient is own:
            return (nodes.log_marginal,)
        rng = np.random.default_rng([self.seed, index, shift, 1])
        chosen, _ = picked(log_weight, _CORRECTED, rng, common=True)
        z = np.take_along_axis(nodes.z, chosen[..., None], axis=1)
        promised = np.take_along_axis(log_weight + nodes.log_density, chosen, axis=1)
        with np.errstate(invalid="ignore"):
            ratio = log_joint(draws, own, modes.expected, z)[0] - promised
        ratio = np.where(np.isfinite(ratio), ratio, -np.inf)
        return (marginal + logsumexp(ratio, axis=1) - np.log(_CORRECTED),)

    def _each(
        self,
        x: Floats,
        stage: int,
        one: Callable[..., tuple[Floats, ...]],
        each: list[int],
        *,
        rough: bool,
        which: Ints | None = None,
    ) -> Iterator[tuple[Floats, ...]]:
        """``one`` of every patient, over parts of the points, joined; ``each`` are its nodes."""
        sizes = [self._at_a_time(index, nodes) for index, nodes in enumerate(each)]
        parts = {
            size: [
                (x[k : k + size], self.coordinates.draws(x[k : k + size]))
                for k in range(0, len(x), size)
            ]
            for size in set(sizes)
        }

        def whole(patient: Patient, index: int, rng: np.random.Generator) -> tuple[Floats, ...]:
            found, used = [], self._used(index, rough=rough)
            for piece in parts[sizes[index]]:
                found.append(one(used, index, piece, rng))
            return tuple(np.concatenate(columns) for columns in zip(*found, strict=True))

        return self._map(stage, whole, None if which is None else which.tolist())

    def _at_a_time(self, index: int, nodes: int) -> int:
        """Points integrated at a time."""
        patient = self.patients[index]
        parameters = len(self.coordinates.model.structure.names) * len(patient.occasion)
        numbers = nodes * (len(patient.observed.dv) + parameters)
        return max(8, int(2 ** np.floor(np.log2(_NUMBERS / numbers))))

    def _map[T](
        self, stage: int, work: Callable[[Patient, int, np.random.Generator], T],
        which: Sequence[int] | None = None,
    ) -> Iterator[T]:  # fmt: skip
        """The work for each patient, with its own random numbers whatever the number of cores."""

        def task(index: int) -> T:
            rng = np.random.default_rng([self.seed, stage, index])
            return work(self.patients[index], index, rng)

        with ThreadPoolExecutor(self.cores) as pool:
            yield from pool.map(task, range(len(self.patients)) if which is None else which)


def _expected(draws: PopulationDraws, patient: Patient) -> Floats:
    """Parameters of the patient's rows on their scales without random effects (S, n_rows, m)."""
    return expected_of(draws, patient, np.zeros((draws.size, n_effects(draws, patient))))

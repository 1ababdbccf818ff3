"""Sequential Monte Carlo from the prior to the marginal posterior of the population parameters."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import logsumexp

from popk.dataset import Dataset
from popk.errors import SettingError
from popk.inference.marginal.adapt import refine
from popk.inference.marginal.assemble import assembled
from popk.inference.marginal.cohort import Cohort
from popk.inference.marginal.importance import khat_of_subjects, systematic
from popk.inference.marginal.mixture import Mixture
from popk.inference.marginal.modes import figures_of_modes
from popk.inference.marginal.normals import Normals, around_peaks
from popk.inference.marginal.peak import Peak, find_peaks, prepared
from popk.inference.marginal.search import modes_above
from popk.inference.progress import Progress
from popk.inference.runs.store import NOWHERE, Store
from popk.inference.settings import check_cores, check_whole
from popk.model import PopModel

__all__ = ["SMC"]

type Floats = NDArray[np.float64]
type Ints = NDArray[np.int64]

_EFFECTIVE = 0.5  # share of the particles that a new temperature leaves effective
_MOST_TEMPERATURES = 200
_ENOUGH = 2.0  # accepted moves of each particle at each temperature, on average
_INDEPENDENT = 0.2  # acceptance below which proposals no longer ignore where a particle is
_COMPONENTS = 4
_DEFENSIVE, _WIDER = 0.1, 3.0  # share of the proposals spread more widely, and their covariance
_SCALE = 2.38  # of a random walk, over the root of the dimension (Roberts & Rosenthal 2001)
_LEARNT = 200  # particles from which it is learnt where conditional posteriors are
_STARTS = 6  # particles from which modes are looked for
_PAIRS = 48  # points at which the integrals are checked


@dataclass(frozen=True, kw_only=True)
class SMC:
    """Particles that are led from the prior to the posterior by degrees, for several modes.

    Each patient's random effects are integrated out, as with `Marginal`. Particles from the prior
    are weighed by a small power of the likelihood, resampled, and moved; the power grows to one in
    steps that leave half of the particles effective (Del Moral, Doucet & Jasra, J R Stat Soc B
    68:411, 2006). A particle keeps the unbiased estimate of its likelihood until it is replaced, so
    that the posterior is exact (Chopin, Jacob & Papaspiliopoulos, J R Stat Soc B 75:397, 2013).
    Because they begin at the prior, particles find every mode whose share is not too small for
    their number, and what is left of them in each is its share.

    Each chain is a run of its own. They also give the evidence (marginal likelihood of the data),
    as ``log_evidence`` (chain) in ``sample_stats``. Particles with a common ancestor stand next to
    each other, so that the effective sample size allows for their likeness.

    Parameters
    ----------
    particles
        Of each run: the draws of a chain.
    chains
        Number of independent runs.
    moves
        At most so many moves of every particle at each temperature; fewer where each has moved
        twice, on average.
    cores
        Patients integrated at a time; all of the machine's cores if None. Results do not depend on
        it.

    Raises
    ------
    SettingError
        When a setting makes no sense, in a sentence.
    """

    particles: int = 1000
    chains: int = 4
    moves: int = 12
    cores: int | None = None

    def __post_init__(self) -> None:
        check_whole(self, {"particles": 100, "chains": 1, "moves": 1})
        check_cores(self, self.cores)

    def run(
        self,
        model: PopModel,
        dataset: Dataset,
        *,
        seed: int,
        progress: Progress,
        store: Store = NOWHERE,
    ) -> tuple[xr.Dataset, xr.Dataset]:
        """Posterior and statistics of the runs, each (chain, draw, …).

        Nothing is kept in the store: continued after an interruption, it is done again from the
        seed, with the same result.

        Raises
        ------
        SettingError
            When the model has sub-populations or further levels, nothing is estimated, or no
            particle gives the data a likelihood.
        """
        del store
        scout, (own_seed, *seeds) = prepared(
            self, model, dataset, seed=seed, seeds=1 + 2 * self.chains
        )
        progress("finding the modes")
        peaks, noise = _scouted(scout, np.random.default_rng(own_seed))
        ends = []
        for chain in range(self.chains):
            own = Cohort.of(model, dataset, seed=seeds[2 * chain], cores=scout.cores)
            own = replace(own, nodes=scout.nodes.copy(), common=scout.common)
            rng = np.random.default_rng(seeds[2 * chain + 1])
            run = _Run(own, self.particles, self.moves, rng)
            ends.append(run.to_posterior(_part(progress, chain, self.chains)))
        progress("sampling", 1000 * self.chains, 1000 * self.chains)
        x = np.concatenate([end.x for end in ends])
        z = [np.concatenate(own) for own in zip(*(end.z for end in ends), strict=True)]
        posterior = assembled(scout, x, z, chains=self.chains)
        progress("finding the modes")
        modes = modes_above(scout, _apart(x, [peak.x for peak in peaks]))
        centres = [(mode.x, mode.precision) for mode in modes]
        figures = figures_of_modes(scout.coordinates, centres, posterior)
        checked = khat_of_subjects(scout, x)
        figures["khat_subject"] = ("subject", checked)
        return posterior, self._statistics(scout, ends, noise).assign(figures)

    def _statistics(self, cohort: Cohort, ends: list[_End], noise: float) -> xr.Dataset:
        return xr.Dataset(
            {
                "lp": (("chain", "draw"), np.stack([end.log_posterior for end in ends])),
                "log_evidence": ("chain", [end.log_evidence for end in ends]),
                "temperatures": ("chain", [end.temperatures for end in ends]),
                "acceptance": ("chain", [end.acceptance for end in ends]),
                "ancestors": ("chain", [end.ancestors for end in ends]),
                "nodes": ("subject", cohort.nodes),
                "noise": ((), noise),
            },
            coords={
                "chain": np.arange(self.chains),
                "draw": np.arange(self.particles),
                "subject": [patient.subject for patient in cohort.patients],
            },
        )


def _apart(x: Floats, known: list[Floats]) -> Floats:
    """Points from which to look for modes: those known, and particles far from each other."""
    starts = list(known)
    scale = x.std(axis=0) + 1e-12
    while len(starts) < len(known) + _STARTS:
        distances = [(((x - start) / scale) ** 2).sum(axis=1) for start in starts]
        starts.append(x[np.argmax(np.min(distances, axis=0))])
    return np.stack(starts)


def _scouted(cohort: Cohort, rng: np.random.Generator) -> tuple[list[Peak], float]:
    """The modes, and the variance of the log posterior's estimate with the nodes chosen there."""
    peaks = find_peaks(cohort, rng)
    return peaks, refine(cohort, around_peaks(peaks).draw(_PAIRS, rng))


def _part(progress: Progress, chain: int, chains: int) -> Progress:
    """Reports thousandths of one run as those of all."""

    def report(
        stage: str, done: int = 0, total: int = 0, divergences: int = 0, **more: Any
    ) -> None:
        progress(stage, 1000 * chain + done, total * chains, divergences, **more)

    return report


@dataclass(frozen=True)
class _End:
    """Particles at the posterior: points (N, d), effects of each subject (N, k), and figures."""

    x: Floats
    z: list[Floats]
    log_posterior: Floats
    log_evidence: float
    temperatures: int
    acceptance: float
    ancestors: int


@dataclass
class _Particles:
    """Points x (N, d), log likelihood (N) as estimated, effects picked in doing so, origin (N)."""

    x: Floats
    log_likelihood: Floats
    z: list[Floats]
    origin: Ints

    def taken(self, chosen: Ints) -> _Particles:
        """Some of them, in this order."""
        z = [own[chosen] for own in self.z]
        return _Particles(self.x[chosen], self.log_likelihood[chosen], z, self.origin[chosen])

    def replace(self, which: NDArray[np.bool_], new: _Particles) -> None:
        """Put new ones, but for their origin, in the place of some."""
        self.x[which] = new.x[which]
        self.log_likelihood[which] = new.log_likelihood[which]
        for own, other in zip(self.z, new.z, strict=True):
            own[which] = other[which]


@dataclass
class _Run:
    """One run: a cohort of its own, the number of particles and of moves, random numbers."""

    cohort: Cohort
    size: int
    moves: int
    rng: np.random.Generator
    _stages: count[int] = field(default_factory=lambda: count(1))

    def to_posterior(self, progress: Progress) -> _End:
        d = len(self.cohort.coordinates.names)
        now = self._weighed(self.rng.standard_normal((self.size, d)))
        if not np.isfinite(now.log_likelihood).any():
            raise SettingError(
                f"None of {self.size} draws from the priors gives the data a likelihood above "
                "zero. Check the units of the data and the priors (popk.check_priors)."
            )
        power, log_evidence, acceptance, temperatures = 0.0, 0.0, 0.0, 0
        while power < 1.0:
            if temperatures == _MOST_TEMPERATURES:
                raise SettingError(
                    f"After {temperatures} temperatures the posterior was not reached (the power "
                    f"of the likelihood is {power:.2g}). Give more particles, or informative "
                    "priors."
                )
            temperatures += 1
            before, power = power, _next_power(now.log_likelihood, power)
            log_weight = _times(power - before, now.log_likelihood)
            log_evidence += float(logsumexp(log_weight)) - np.log(self.size)
            weight = np.exp(log_weight - logsumexp(log_weight))
            proposals = self._proposals(now.x, weight)
            now = now.taken(systematic(weight, self.size, self.rng))
            self._learn(now.x)
            acceptance = self._move(now, power, proposals)
            progress("sampling", int(1000 * power), 1000)
        log_posterior = now.log_likelihood + self.cohort.coordinates.log_prior(now.x)
        n_ancestors = len(np.unique(now.origin))
        return _End(
            now.x, now.z, log_posterior, log_evidence, temperatures, acceptance, n_ancestors
        )

    def _weighed(self, x: Floats) -> _Particles:
        stage = 2 * next(self._stages)
        rough = self.cohort.integrate(x, stage)
        exact = self.cohort.correct(x, rough, stage + 1)
        log_prior = self.cohort.coordinates.log_prior(x)
        likelihood = self.cohort.log_posterior(x, exact) - log_prior
        z = [own[:, 0].copy() for own in exact.picks]
        return _Particles(x, likelihood, z, np.arange(len(x)))

    def _learn(self, x: Floats) -> None:
        """Let Newton's steps to the conditional modes begin near them."""
        chosen = x[:: max(1, len(x) // _LEARNT)]
        found = self.cohort.integrate(chosen, 2 * next(self._stages), detail=True)
        self.cohort.learn(chosen, found, np.full(len(chosen), 1 / len(chosen)))

    def _proposals(self, x: Floats, weight: Floats) -> Mixture:
        """A mixture that describes the weighted particles."""
        centre = weight @ x
        apart = x - centre
        covariance = (weight[:, None] * apart).T @ apart
        covariance += 1e-6 * np.trace(covariance) / len(centre) * np.eye(len(centre))
        found = Mixture.normal(centre[None], covariance[None], np.ones(1)).fitted(x, weight)
        for _ in range(_COMPONENTS - 1):
            found = found.split(x, weight, self.rng).fitted(x, weight)
        return found.widened(_DEFENSIVE, _WIDER)

    def _move(self, now: _Particles, power: float, proposals: Mixture) -> float:
        """Metropolis moves in place; the rate at which the last was accepted."""
        total, rate, independent, scale = 0.0, 0.0, True, _SCALE / np.sqrt(now.x.shape[1])
        for _ in range(self.moves):
            if independent:
                x = proposals.draw(self.size, self.rng)
                forward = proposals.log_density(now.x) - proposals.log_density(x)
            else:
                # A component is chosen whatever the particle, so the step is symmetric.
                steps = Normals(proposals.weight, 0.0 * proposals.mean, scale * proposals.factor)
                x = now.x + steps.draw(self.size, self.rng)
                forward = np.zeros(self.size)
            new = self._weighed(x)
            prior = self.cohort.coordinates.log_prior
            log_ratio = _times(power, new.log_likelihood) - _times(power, now.log_likelihood)
            log_ratio += prior(x) - prior(now.x) + forward
            accepted = np.log(self.rng.random(self.size)) < log_ratio
            now.replace(accepted, new)
            rate = float(accepted.mean())
            total += rate
            if total >= _ENOUGH:
                break
            if independent:
                independent = rate >= _INDEPENDENT
            else:
                scale *= float(np.clip(rate / 0.25, 0.5, 2.0))
        return rate


def _times(power: float, log_likelihood: Floats) -> Floats:
    """Log of a power of the likelihood, also where that is zero."""
    possible = np.isfinite(log_likelihood)
    return np.where(possible, power * np.where(possible, log_likelihood, 0.0), -np.inf)


def _next_power(log_likelihood: Floats, power: float) -> float:
    """The power that leaves a share of the particles effective, at most one."""
    possible = log_likelihood[np.isfinite(log_likelihood)]
    wanted = _EFFECTIVE * len(possible)

    def excess(step: float) -> float:
        log_weight = step * (possible - possible.max())
        effective = 2 * logsumexp(log_weight) - logsumexp(2 * log_weight)
        return float(np.exp(effective)) - wanted

    most = 1.0 - power
    if excess(most) >= 0:
        return 1.0
    return power + float(brentq(excess, 0.0, most, xtol=1e-12 * most))

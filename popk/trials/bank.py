"""What is known of every patient of a trial: particles, weighed by each new trough.

A particle of a patient is a draw of the population parameters, the patient's random effects, and
the amounts in the compartments, which go on from visit to visit. A trough multiplies the particles'
weights by its likelihood (iterated importance sampling: Chopin, Biometrika 89:539, 2002). Where too
few particles carry the weight, new ones are proposed from a distribution fitted to the old (Cappé
et al., J Comput Graph Stat 13:907, 2004) and weighed by the whole history: no particle moves
without its exact weight, so that what is lost is efficiency, which the effective number tells.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from popk.individual.nodes import draw_nodes, log_density
from popk.model import ModelError, PopModel
from popk.population import PopulationDraws
from popk.statistics import Observed
from popk.structure import Solver, Structure
from popk.trials.course import Infusion, course, restarted
from popk.trials.people import likelihood, observed_as
from popk.trials.states import WithState, can_restart

__all__ = ["Bank", "Known", "check_estimable"]

type Floats = NDArray[np.float64]
type Ints = NDArray[np.int64]

_NARROW = 1e-6  # an SD that is taken as no smaller where it is divided by
_FIRST = 4  # times as many particles from the prior
_LEAST = 1 / 3  # part of the particles that must be effective
_FLOOR = 0.0025  # part of the variance between patients by which a proposal is widened
_TINY = 1e-12  # variance of what is the same in all population draws
# Part of the population draws that are proposed evenly, try by try: one patient says little of the
# population that a fit knows, but much of what is known from priors alone.
_EVENLY = (1.0, 0.3, 0.3)


@dataclass(frozen=True, eq=False)
class Known:
    """Everything measured so far of some patients: infusions, troughs, at visits 0 to v.

    ``given`` (n, v + 1): when; ``dv``, ``status`` (n, v): what was measured at visits 1 to v, NaN
    where nothing was; ``lloq``: the limit of quantification.
    """

    given: Floats
    dv: Floats
    status: Ints
    lloq: float | None

    def taken(self, rows: Ints) -> Known:
        """Of some patients."""
        return Known(self.given[rows], self.dv[rows], self.status[rows], self.lloq)


@dataclass(frozen=True, eq=False)
class Cloud:
    """Particles of some patients: P of each of n.

    ``draw`` (P, n) of the population; ``point`` (P, n, k), random effects in the coordinates of
    `Bank.coordinates`; ``theta`` (P, n, m); ``amounts`` (P, n, n_compartments) at the last visit,
    before its infusion; ``log_weight`` (P, n), normalised.
    """

    draw: Ints
    point: Floats
    theta: Floats
    amounts: Floats
    log_weight: Floats

    @property
    def weight(self) -> Floats:
        """Weights (P, n), which sum to one."""
        return np.asarray(np.exp(self.log_weight))

    @property
    def ess(self) -> Floats:
        """Effective number of particles (n)."""
        return np.asarray(1.0 / (self.weight**2).sum(axis=0))

    def taken(self, rows: Ints) -> Cloud:
        """Those of some patients."""
        return Cloud(*(getattr(self, name)[:, rows] for name in _PARTS))

    def put(self, rows: Ints, other: Cloud) -> None:
        """Replace those of some patients, in place."""
        for name in _PARTS:
            getattr(self, name)[:, rows] = getattr(other, name)

    def copied(self) -> Cloud:
        """A copy that can be changed."""
        return Cloud(*(getattr(self, name).copy() for name in _PARTS))


_PARTS = ("draw", "point", "theta", "amounts", "log_weight")


def check_estimable(model: PopModel) -> None:
    """Refuse models of which particles cannot be kept.

    Raises
    ------
    ModelError
        With the reason.
    """
    reasons = {
        "variability between occasions": bool(model.iov.effects),
        "sub-populations": model.subpopulations is not None,
        "groups of patients": bool(model.levels),
        "autocorrelated errors": model.error.is_sequential,
    }
    found = [name for name, there in reasons.items() if there]
    if found:
        raise ModelError(
            [
                f"model {model.name} has {' and '.join(found)}, which a policy that asks for the "
                "model's forecast at every visit of a trial cannot take into account yet. Give a "
                "model without as the one to estimate with, and this one as truth=."
            ]
        )


class Bank:
    """The particles of all patients of a trial, under the model that the policies use."""

    def __init__(
        self,
        population: PopulationDraws,
        covariates: Mapping[str, Floats],
        infusion: Infusion,
        *,
        output: int,
        particles: int,
        seed: int,
        size: int,
    ) -> None:
        check_estimable(population.model)
        self.population, self.infusion, self.output = population, infusion, output
        self.particles, self.seed = particles, seed
        model = population.model
        self._restarts = can_restart(model.structure)
        self._structure: Structure = (
            WithState(model.structure) if self._restarts else model.structure
        )
        self._n_states = len(model.structure.compartments) if self._restarts else 0
        expected = population.expected(covariates)
        self._expected = np.broadcast_to(expected, (population.size, size, expected.shape[-1]))
        scale = np.maximum(population.omega, _NARROW)[..., None] * population.factor
        self._matrix, self._inverse = scale, np.linalg.inv(scale)
        self._log_scale = np.log(np.abs(np.diagonal(scale, axis1=1, axis2=2))).sum(axis=1)
        self._between = (scale @ np.swapaxes(scale, 1, 2)).mean(axis=0)
        self._first = [positions[0] for positions in population.effect_positions]
        self._others = [k for k in range(expected.shape[-1]) if k not in self._first]
        self.renewals, self.impossible = 0, 0

    def opened(self, known: Known) -> Cloud:
        """Particles of all patients after the run-in."""
        n, size = len(known.given), _FIRST * self.particles
        rng = np.random.default_rng([self.seed, 7])
        k = len(self._first)
        even = np.arange(size) % self.population.size
        draw = np.stack([rng.permutation(even) for _ in range(n)], axis=1)
        z = rng.standard_normal((size, n, k))
        everybody = np.arange(n)
        point = self._centre(draw, everybody) + np.einsum("pnij,pnj->pni", self._matrix[draw], z)
        cloud = self._weighed(everybody, known, draw, point, np.zeros((size, n)), z)
        return self._renewed(everybody, known, cloud, rng)

    def learnt(self, rows: Ints, known: Known, cloud: Cloud, rng: np.random.Generator) -> Cloud:
        """Particles of some patients after the interval that ended at the last visit."""
        now, before = known.given[:, -1], known.given[:, -2]
        if self._restarts:
            times = np.repeat(now[:, None], 1 + self._n_states, axis=1)
            found = self._ahead(cloud, before, times, self._wanted(1))
        else:
            found = self._whole(cloud.theta, known.given[:, :-1], now[:, None], self._wanted(1))
        seen = observed_as(
            self.population.model, self.output, known.dv[:, -1], known.status[:, -1], known.lloq
        )
        gained = self._likelihood(seen, found[..., 0], cloud.draw)
        log_weight = cloud.log_weight + gained
        self.impossible += int((~np.isfinite(log_weight.max(axis=0))).sum())
        moved = Cloud(cloud.draw, cloud.point, cloud.theta, found[..., 1:], _normalised(log_weight))
        poor = np.flatnonzero(~(moved.ess >= _LEAST * self.particles))
        if len(poor) and self._first:
            self.renewals += len(poor)
            moved.put(poor, self._renewed(rows[poor], known.taken(poor), moved.taken(poor), rng))
        return moved

    def troughs(self, known: Known, cloud: Cloud, intervals: Floats) -> Floats:
        """True troughs (P, n, n_intervals) after an infusion now and each interval."""
        now = known.given[:, -1]
        times, what = now[:, None] + intervals, np.full(len(intervals), self.output)
        found = (
            self._ahead(cloud, now, times, what)
            if self._restarts
            else self._whole(cloud.theta, known.given, times, what)
        )
        return np.where(np.isfinite(found), found, np.nan)

    def _wanted(self, count: int) -> Ints:
        """Outputs: the trough ``count`` times, then the amounts."""
        own = len(self.population.model.structure.outputs)
        return np.concatenate([np.full(count, self.output), own + np.arange(self._n_states)])

    def _centre(self, draw: Ints, rows: Ints) -> Floats:
        """Coordinates (P, n, k) of patients without random effects."""
        return np.asarray(self._expected[draw, rows[None]][..., self._first])

    def _theta(self, draw: Ints, rows: Ints, z: Floats) -> Floats:
        """Parameters (P, n, m) of particles with standardised effects z (P, n, k)."""
        flat = draw.ravel()
        some = self.population.taken(flat)
        eta = some.eta(z.reshape(len(flat), 1, -1))[0]
        expected = self._expected[draw, rows[None]].reshape(len(flat), 1, -1)
        return some.parameters(expected, eta).reshape(*draw.shape, -1)

    def _likelihood(self, observed: Observed, prediction: Floats, draw: Ints) -> Floats:
        """Log likelihood of observations (n) for predictions (P, n) of particles."""
        sigma = {name: value[draw, 0] for name, value in self.population.sigma.items()}
        return likelihood(self.population.model.error, observed, prediction, sigma)

    def _weighed(
        self, rows: Ints, known: Known, draw: Ints, point: Floats, proposed: Floats,
        z: Floats | None = None,
    ) -> Cloud:  # fmt: skip
        """Particles with the weights of the whole history; ``proposed`` (P, n) their log density.

        Without ``z`` prior and proposal are densities of the draw and of the point; with it the
        points are draws from the prior.
        """
        prior = 0.0
        if z is None:
            shift = point - self._centre(draw, rows)
            z = np.einsum("pnij,pnj->pni", self._inverse[draw], shift)
            prior = -0.5 * (z**2).sum(axis=-1) - self._log_scale[draw]
        theta = self._theta(draw, rows, z)
        visits = known.dv.shape[1]
        times = known.given[:, 1:]
        times = np.concatenate([times, np.repeat(times[:, -1:], self._n_states, axis=1)], axis=1)
        found = self._whole(theta, known.given[:, :-1], times, self._wanted(visits))
        total = np.zeros(draw.shape)
        for visit in np.flatnonzero(np.isfinite(known.dv).any(axis=0)).tolist():
            seen = observed_as(self.population.model, self.output, known.dv[:, visit],
                               known.status[:, visit], known.lloq)  # fmt: skip
            total += self._likelihood(seen, found[..., visit], draw)
        return Cloud(draw, point, theta, found[..., visits:], _normalised(total + prior - proposed))

    def _renewed(self, rows: Ints, known: Known, cloud: Cloud, rng: np.random.Generator) -> Cloud:
        """New particles from a distribution fitted to the old, until enough are effective."""
        if not self._first:
            return _resampled(cloud, self.particles, rng)
        best: Cloud | None = None
        open_ = np.arange(len(rows))
        for evenly in _EVENLY:
            source = cloud if best is None else best.taken(open_)
            fresh = self._proposed(rows[open_], known.taken(open_), source, rng, evenly)
            if best is None:
                best = fresh
            else:
                better = fresh.ess > source.ess
                best.put(open_[better], fresh.taken(np.flatnonzero(better)))
            open_ = np.flatnonzero(best.ess < _LEAST * self.particles)
            if not len(open_):
                break
        assert best is not None
        return best

    def _proposed(
        self,
        rows: Ints,
        known: Known,
        cloud: Cloud,
        rng: np.random.Generator,
        evenly: float,
    ) -> Cloud:
        """New particles around the old; the part ``evenly`` with any population draw."""
        n, k, size = len(rows), len(self._first), self.particles
        draw, chance = _drawn(_mixed(cloud, self.population.size, evenly), size, rng)
        others = self._expected[:, rows][..., self._others]  # what else the points go with
        column = np.arange(n)[None]
        fitted = _regressed(cloud, others[cloud.draw, column])
        spread = fitted.spread + _FLOOR * self._between
        factor = np.linalg.cholesky(spread)
        nodes = draw_nodes(n, size, k, rng)
        point = fitted.at(others[draw, column]) + np.swapaxes(
            nodes @ np.swapaxes(factor, 1, 2), 0, 1
        )
        log_size = np.log(np.diagonal(factor, axis1=1, axis2=2)).sum(axis=1)
        proposed = log_density(nodes).T - log_size + np.log(chance)
        return self._weighed(rows, known, draw, point, proposed)

    def _whole(self, theta: Floats, given: Floats, times: Floats, what: Ints) -> Floats:
        """Outputs (P, n, n_times) from the beginning."""
        events = course(self.infusion, given, times, what)
        ones = np.ones((*theta.shape[:2], self._n_states))
        found = Solver(self._structure, events).ensemble(np.concatenate([theta, ones], axis=2))
        return found.value.reshape(len(theta), *times.shape)

    def _ahead(self, cloud: Cloud, now: Floats, times: Floats, what: Ints) -> Floats:
        """Outputs (P, n, n_times) after an infusion now, from the amounts before it."""
        events = restarted(self.infusion, now, times, what, self._n_states)
        size, n, m = cloud.theta.shape
        theta = np.ones((size, n, 2, m + self._n_states))
        theta[..., :m] = cloud.theta[:, :, None]
        theta[:, :, 0, m:] = cloud.amounts
        found = Solver(self._structure, events).ensemble(theta.reshape(size, 2 * n, -1))
        return found.value.reshape(size, *times.shape)


class _Fitted(NamedTuple):
    """Normal distributions (n) of points (k), whose means are linear in other quantities (q)."""

    mean: Floats
    others: Floats
    slope: Floats
    spread: Floats

    def at(self, others: Floats) -> Floats:
        """Means (P, n, k) at values (P, n, q) of the other quantities."""
        return np.asarray(self.mean + np.einsum("nkq,pnq->pnk", self.slope, others - self.others))


def _regressed(cloud: Cloud, others: Floats) -> _Fitted:
    """Points of particles (P, n, k) regressed on ``others`` (P, n, q), by their weights."""
    weight = cloud.weight
    mean, middle = (np.einsum("pn,pni->ni", weight, x) for x in (cloud.point, others))
    away, beside = cloud.point - mean, others - middle
    spread = np.einsum("pn,pni,pnj->nij", weight, away, away)
    across = np.einsum("pn,pni,pnj->nij", weight, away, beside)
    within = np.einsum("pn,pni,pnj->nij", weight, beside, beside)
    # Few effective particles know little of many slopes.
    variance = np.diagonal(within, axis1=1, axis2=2)
    ridge = variance * (others.shape[2] / cloud.ess)[:, None] + _TINY
    within = within + ridge[..., None] * np.eye(others.shape[2])
    slope = np.swapaxes(np.linalg.solve(within, np.swapaxes(across, 1, 2)), 1, 2)
    rest = spread - slope @ np.swapaxes(across, 1, 2)
    return _Fitted(mean, middle, slope, 0.5 * (rest + np.swapaxes(rest, 1, 2)))


def _normalised(log_weight: Floats) -> Floats:
    """Log weights (P, n) that sum to one; even where none is above zero."""
    most = log_weight.max(axis=0)
    usable = np.isfinite(most)
    shifted = np.where(usable, log_weight - np.where(usable, most, 0.0), 0.0)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=0)))


def _mixed(cloud: Cloud, total: int, evenly: float) -> Floats:
    """Probabilities (n, total) of population draws: in part even, in part their present weight."""
    n = cloud.draw.shape[1]
    place = cloud.draw + np.arange(n) * total
    held = np.bincount(place.ravel(), cloud.weight.ravel(), minlength=n * total)
    return np.asarray(evenly / total + (1 - evenly) * held.reshape(n, total))


def _drawn(chance: Floats, size: int, rng: np.random.Generator) -> tuple[Ints, Floats]:
    """``size`` population draws for each patient (size, n), and their probabilities."""
    n, total = chance.shape
    ends = np.cumsum(chance, axis=1)
    ends = ends / ends[:, -1:] + np.arange(n)[:, None]
    even = (np.arange(size) + rng.random((n, size))) / size
    at = np.searchsorted(ends.ravel(), (even + np.arange(n)[:, None]).ravel()).reshape(n, size)
    found = rng.permuted(np.clip(at - total * np.arange(n)[:, None], 0, total - 1), axis=1)
    return found.T.astype(np.int64), np.take_along_axis(chance, found, axis=1).T


def _resampled(cloud: Cloud, size: int, rng: np.random.Generator) -> Cloud:
    """``size`` of the particles of each patient, by their weights, systematically."""
    ends = np.cumsum(cloud.weight, axis=0)
    even = (np.arange(size)[:, None] + rng.random(cloud.draw.shape[1])) / size
    chosen = (even[:, None] > ends[None]).sum(axis=1).clip(0, len(ends) - 1)

    def of(values: Floats) -> Floats:
        index = chosen.reshape(chosen.shape + (1,) * (values.ndim - 2))
        return np.take_along_axis(values, index, axis=0)

    draw = np.take_along_axis(cloud.draw, chosen, axis=0)
    even_weight = np.full(chosen.shape, -np.log(size))
    return Cloud(draw, of(cloud.point), of(cloud.theta), of(cloud.amounts), even_weight)

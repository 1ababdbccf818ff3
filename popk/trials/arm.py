"""One policy followed through: visit by visit, all patients at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from popk.errors import SettingError
from popk.trials.bank import Bank, Cloud, Known
from popk.trials.conduct import Slips
from popk.trials.people import People
from popk.trials.policies import History, Policy

__all__ = ["Arm", "Followed", "Forecaster", "Foresight", "Informed", "followed", "run_in"]

type Floats = NDArray[np.float64]
type Ints = NDArray[np.int64]

_LEAST = 0.1  # of a planned interval, that an actual one lasts however visits scatter
_MIDDAYS = 0.5


@dataclass(frozen=True)
class Arm:
    """What the arms of a trial share, times in the model's unit.

    ``end`` is how long after the first decision patients are followed, ``interval`` that of the
    run-in; ``n_visits`` how many visits there is room for.
    """

    end: float
    interval: float
    per_week: float
    per_day: float
    n_visits: int
    target: float
    lloq: float | None
    seed: int


@dataclass(frozen=True, eq=False)
class Followed:
    """What became of the patients under one policy, (n, n_visits) each.

    ``time`` of each visit, NaN after the first visit that is beyond the end; ``planned``,
    ``trough`` (true), ``dv`` and ``status`` of the interval that ends there. ``probability`` and
    ``ess`` are those of the decision made at the visit: that the trough of the interval chosen is
    at or above the policy's target, and the effective number of particles. ``under`` (n): share of
    the time after the first decision under the target.
    """

    time: Floats
    planned: Floats
    trough: Floats
    dv: Floats
    status: Ints
    probability: Floats
    ess: Floats
    under: Floats

    def known(self, rows: Ints, visit: int, lloq: float | None) -> Known:
        """What is known of some patients at a visit."""
        return Known(
            self.time[rows, : visit + 1],
            self.dv[rows, 1 : visit + 1],
            self.status[rows, 1 : visit + 1],
            lloq,
        )


class Forecaster(Protocol):
    """Who tells a policy the probability that a trough holds."""

    def probability(
        self, rows: Ints, found: Followed, visit: int, intervals: Floats, target: float
    ) -> tuple[Floats, Floats]:
        """P(trough >= target) (n, n_intervals) of some patients, and effective numbers (n)."""


class Foresight:
    """The true parameters of everybody: nobody can know better."""

    def __init__(self, people: People) -> None:
        self.people = people

    def probability(
        self, rows: Ints, found: Followed, visit: int, intervals: Floats, target: float
    ) -> tuple[Floats, Floats]:
        """1 where the true trough after the planned interval is at or above the target, else 0."""
        given = found.time[rows, : visit + 1]
        troughs = self.people.concentrations(rows, given, given[:, -1:] + intervals)
        return (troughs >= target).astype(float), np.full(len(rows), np.nan)


class Informed:
    """The posterior given all troughs so far, by particles (`popk.trials.bank`)."""

    def __init__(self, bank: Bank, opened: Cloud, lloq: float | None) -> None:
        self.bank, self.cloud, self.lloq = bank, opened.copied(), lloq
        self._opened = True
        self._rng = np.random.default_rng([bank.seed, 8])

    def probability(
        self, rows: Ints, found: Followed, visit: int, intervals: Floats, target: float
    ) -> tuple[Floats, Floats]:
        """As the particles say."""
        known = found.known(rows, visit, self.lloq)
        some = self.cloud.taken(rows)
        if not self._opened:  # at the first decision they know all there is
            some = self.bank.learnt(rows, known, some, self._rng)
            self.cloud.put(rows, some)
        self._opened = False
        troughs = self.bank.troughs(known, some, intervals)
        # A particle that could not be computed counts as below.
        share = np.einsum("pn,pnw->nw", some.weight, (troughs >= target).astype(float))
        return share, some.ess


def run_in(people: People, slips: Slips, arm: Arm) -> Followed:
    """Everybody up to the first decision."""
    n = len(slips.later)
    shape = (n, arm.n_visits)
    found = Followed(
        time=np.full(shape, np.nan),
        planned=np.full(shape, np.nan),
        trough=np.full(shape, np.nan),
        dv=np.full(shape, np.nan),
        status=np.zeros(shape, dtype=np.int64),
        probability=np.full(shape, np.nan),
        ess=np.full(shape, np.nan),
        under=np.full(n, np.nan),
    )
    found.time[:, 0] = 0.0
    everybody = np.arange(n)
    for visit in range(slips.start):
        _to_next(people, slips, arm, found, everybody, visit, np.full(n, arm.interval))
    return found


def followed(
    policy: Policy,
    people: People,
    slips: Slips,
    arm: Arm,
    opened: Followed,
    forecaster: Forecaster | None,
) -> Followed:
    """Everybody under a policy, from the first decision to the end."""
    parts = {name: getattr(opened, name).copy() for name in opened.__dataclass_fields__}
    found = Followed(**parts)
    stop = found.time[:, slips.start] + arm.end
    weeks = np.array(policy.candidates, dtype=float)
    target = getattr(policy, "target", None)
    target = arm.target if target is None else float(target)
    for visit in range(slips.start, arm.n_visits - 1):
        rows = np.flatnonzero(found.time[:, visit] < stop)
        if not len(rows):
            break
        chance = np.zeros((len(rows), 0))
        if len(weeks):
            assert forecaster is not None
            chance, found.ess[rows, visit] = forecaster.probability(
                rows, found, visit, weeks * arm.per_week, target
            )
        planned = _decisions(policy, people, slips, arm, found, (rows, visit, weeks, chance))
        for k, week in enumerate(weeks.tolist()):
            own = planned == week
            found.probability[rows[own], visit] = chance[own, k]
        _to_next(people, slips, arm, found, rows, visit, planned * arm.per_week)
    if np.any(np.nanmax(found.time, axis=1) < stop):
        raise SettingError(
            f"The policy {policy.name!r} gave intervals so short that a patient has more than "
            f"{arm.n_visits} visits; give intervals of a week or more, or a shorter trial."
        )
    under = _time_under(people, found, stop, arm, slips.start)
    return Followed(**{**{n: getattr(found, n) for n in parts}, "under": under})


def _decisions(
    policy: Policy,
    people: People,
    slips: Slips,
    arm: Arm,
    found: Followed,
    at: tuple[Ints, int, Floats, Floats],
) -> Floats:
    """Weeks (n) that the policy gives some patients at a visit."""
    rows, visit, weeks, chance = at
    names = list(people.covariates)
    covariates = np.array([people.covariates[name] for name in names])
    times, planned = found.time / arm.per_week, found.planned / arm.per_week
    below = found.status == 1
    decided = np.empty(len(rows))
    for k, row in enumerate(rows.tolist()):
        history = History(
            times[row, : visit + 1],
            planned[row, 1 : visit + 1],
            found.dv[row, 1 : visit + 1],
            below[row, 1 : visit + 1],
            visit - slips.start,
            dict(zip(names, covariates[:, row].tolist(), strict=True)) if names else {},
            arm.target,
            weeks,
            chance[k],
        )
        given = policy.interval(history)
        if not (np.isscalar(given) and np.isfinite(given) and given > 0):
            raise SettingError(
                f"The policy {policy.name!r} gave {given!r} as the interval of a patient; it must "
                "be weeks above zero."
            )
        decided[k] = given
    return decided


def _to_next(
    people: People,
    slips: Slips,
    arm: Arm,
    found: Followed,
    rows: Ints,
    visit: int,
    planned: Floats,
) -> None:
    """Fill in the next visit of some patients, in place."""
    lasted = planned + slips.later[rows, visit + 1]
    found.planned[rows, visit + 1] = planned
    found.time[rows, visit + 1] = found.time[rows, visit] + np.maximum(lasted, _LEAST * planned)
    given = found.time[rows, : visit + 1]
    troughs = people.concentrations(rows, given, found.time[rows, visit + 1 : visit + 2])[:, 0]
    found.trough[rows, visit + 1] = troughs
    whole = np.full(len(found.time), np.nan)
    whole[rows] = np.where(slips.measured[rows, visit + 1], troughs, np.nan)
    seen = people.measured(visit + 1, whole, arm.lloq, arm.seed)
    found.dv[rows, visit + 1] = seen.dv[rows]
    found.status[rows, visit + 1] = seen.status[rows]


def _time_under(people: People, found: Followed, stop: Floats, arm: Arm, start: int) -> Floats:
    """Share (n) of the time from the first decision to the end under the target.

    By the middles of days: where visits fall on days the share is right on average.
    """
    n = len(stop)
    grid = arm.per_day * (np.arange(round(arm.end / arm.per_day)) + _MIDDAYS)
    times = found.time[:, start, None] + grid
    values = people.concentrations(np.arange(n), found.time, times)
    return np.asarray((~(values >= arm.target)).mean(axis=1))

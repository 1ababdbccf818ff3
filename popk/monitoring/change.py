"""Whether a patient's clearance has changed: a change point over its own observations.

Under the ordinary hypothesis one set of random effects explains all observations. Against it stand,
for every interval between observations, that clearance was multiplied by a factor from then on, or
within that interval alone. The factor is integrated out: half of its prior is a change in either
direction, half an increase as antibodies bring it about. Every hypothesis is integrated over the
random effects and the population by the patient kernel, all of them in one call: first with a part
of the population draws, and with all of them where that leaves a change possible.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp
from scipy.stats import norm

from popk.individual import Patient
from popk.individual.forecast import Present
from popk.monitoring.case import Case
from popk.monitoring.kernel import Weighed, weigh
from popk.population import PopulationDraws
from popk.statistics import Exponential, Normal
from popk.structure import Events, Solver
from popk.structure.events import KIND, OBSERVE, OUTPUT, PLACE, ROW, TIME
from popk.units import Units

__all__ = ["ANTIBODIES", "CHANGE", "PRIOR", "Changed", "Factor", "changed", "split_rows"]

type Floats = NDArray[np.float64]
type Ints = NDArray[np.int64]

PRIOR = 0.05  # probability, before the data, that clearance has changed on the way
PERSISTENT = 0.75  # part of it that lasts until now
MOST = 10  # intervals between observations that are told apart: the last ones
_GLANCE = 16  # population draws of a first look, every patient's
_LOOKED_INTO = PRIOR  # by the first look, all draws are used from there
_COVARIATE = "CHANGED"
# Clearance, or what stands for it where elimination is saturable alone.
_ELIMINATION = ("CL", "CLM", "VMAX")


@dataclass(frozen=True)
class Factor:
    """A log-normal factor on clearance."""

    median: float
    sd_log: float

    def quantiles(self, probability: Floats) -> Floats:
        """Quantiles of the factor."""
        return np.asarray(self.median * np.exp(self.sd_log * norm.ppf(probability)))


CHANGE = Factor(1.0, 0.5)
ANTIBODIES = Factor(4.0, 0.4)


@dataclass(frozen=True)
class Changed:
    """What the hypotheses come to.

    ``weighed`` holds the nodes of all of them; ``hypothesis`` (n) is each node's (0: no change),
    ``factor`` (n) its factor on clearance (1 under none), ``log_evidence`` (K) of each and
    ``log_prior`` (K). ``starts`` (K) is the time from which clearance had changed (minus infinity:
    from the beginning; NaN: never) and ``lasts`` (K) says whether it still has. ``present`` is
    where the patient stands, in the rows of ``weighed.patient``.
    """

    weighed: Weighed
    hypothesis: Ints
    factor: Floats
    log_evidence: Floats
    log_prior: Floats
    starts: Floats
    lasts: NDArray[np.bool_]
    present: Present
    parameter: str

    @property
    def log_weight(self) -> Floats:
        """Log of prior times likelihood of each hypothesis (K)."""
        return np.asarray(self.log_evidence + self.log_prior)

    @property
    def probability(self) -> float:
        """Posterior probability of a change, against the ordinary hypothesis alone."""
        whole = logsumexp(self.log_weight)
        return float(1.0 - np.exp(self.log_weight[0] - whole)) if np.isfinite(whole) else np.nan

    @property
    def alone(self) -> Ints:
        """Places (n) of the nodes under a change."""
        return np.flatnonzero(self.hypothesis > 0)


def changed(case: Case, base: Weighed) -> Changed | None:
    """The hypotheses of a change, and none; None where the question makes no sense.

    That is without observations, where compartments are emptied on the way, or for a structure
    without a clearance on a logarithmic scale. Nor is it asked of a patient whose class,
    category or other covariates are not known, who may be another one instead. A probability that
    a part of the population draws finds to be below the prior one is not computed more exactly.
    """
    size = case.population.size
    if size > _GLANCE:
        some = np.linspace(0, size - 1, _GLANCE).round().astype(np.int64)
        found = _weighed(case, base, some)
        if found is None or found.probability < _LOOKED_INTO:  # not where nothing explains the data
            return found
    return _weighed(case, base, np.arange(size))


def _weighed(case: Case, base: Weighed, places: Ints) -> Changed | None:
    """The hypotheses by the population draws at ``places``."""
    model, patient = case.model, case.partial.patient
    parameter = next((name for name in _ELIMINATION if name in model.structure.names), None)
    if parameter is None or case.restarts or not len(patient.observed.dv) or not base.possible:
        return None
    if patient.n_last or case.population.of_class(patient.label).n_classes > 1:
        return None
    splits = _splits(case)
    first, last = _intervals(len(splits))
    during = _during(first, last, len(splits) + 1, len(patient.occasion))
    size, count = len(places), len(during)
    factor = _factors(size, case.rng)
    units = case.model.units
    effect = Exponential(parameter, _COVARIATE, slope=Normal(0.0, 1.0), reference=0.0)
    wider = replace(
        model,
        covariates=(*model.covariates, effect),
        units=Units(units.time, units.amount, units.concentration,
                    (*units.covariates, (_COVARIATE, "1"))),
        card=None,
    )  # fmt: skip
    many = case.population.taken(np.tile(places, count))
    slope = {effect.coefficients[0].name: np.tile(np.log(factor), count)}
    many = PopulationDraws(wider, {**many.values, **slope}, many.label, many.levels)
    split = _split(patient, case.partial.events, splits)
    given = {name: np.tile(value, len(splits) + 1) for name, value in patient.covariates.items()}
    states = np.repeat(during, size, axis=0).astype(float)
    split = replace(split, covariates={**given, _COVARIATE: states})
    start = np.tile(base.modes.z[places], (count, 1))
    found = weigh(many, split, case.rng, start=start)
    evidence = logsumexp(found.log_marginal.reshape(count, size), axis=1) - np.log(size)
    hypothesis = found.draw // size
    lasting = during[:, -1].astype(bool)
    return Changed(
        weighed=replace(found, draw=places[found.draw % size], population=many),
        hypothesis=hypothesis,
        factor=np.where(hypothesis > 0, factor[found.draw % size], 1.0),
        log_evidence=np.asarray(evidence),
        log_prior=np.log(_priors(lasting)),
        starts=np.array([np.nan, *(-np.inf if k == 0 else splits[k - 1] for k in first)]),
        lasts=lasting,
        present=_present(case.present, splits, len(patient.occasion)),
        parameter=parameter,
    )


def _factors(size: int, rng: np.random.Generator) -> Floats:
    """A factor for each population draw, spread evenly over the prior."""
    half = size // 2
    parts = [
        kind.quantiles((np.arange(n) + rng.random(n)) / n)
        for kind, n in ((CHANGE, half), (ANTIBODIES, size - half))
        if n
    ]
    return np.asarray(rng.permutation(np.concatenate(parts)))


def _splits(case: Case) -> Floats:
    """Times of the observations after which an interval ends: another dose follows, or nothing."""
    times = np.unique(case.times)
    doses = np.append(case.doses.time, np.inf)
    following = doses[np.searchsorted(doses, times, side="left")]
    ends = np.append(times[1:], np.inf)
    return times[(following < ends) | np.isinf(ends)][-MOST:]


def _intervals(count: int) -> tuple[Ints, Ints]:
    """First and last interval of each change: lasting ones, then those of one interval alone."""
    first = np.concatenate([np.arange(count), np.arange(count)])
    last = np.concatenate([np.full(count, count), np.arange(count)])
    return first, last


def _during(first: Ints, last: Ints, intervals: int, rows: int) -> NDArray[np.int64]:
    """Whether clearance is changed, (K, intervals * rows), no change first."""
    each = np.arange(intervals)
    held = (each >= first[:, None]) & (each <= last[:, None])
    held = np.vstack([np.zeros(intervals, dtype=bool), held])
    return np.asarray(np.repeat(held, rows, axis=1).astype(np.int64))


def _priors(lasting: NDArray[np.bool_]) -> Floats:
    """Prior probability of each hypothesis, the first being none."""
    changes = lasting[1:]
    of = np.where(changes, PERSISTENT / changes.sum(), (1 - PERSISTENT) / (~changes).sum())
    return np.concatenate([[1 - PRIOR], PRIOR * of])


def split_rows(events: Events, splits: Floats, rows: int) -> Events:
    """The same events with rows of parameters of its own for every interval between the splits.

    Row r of the interval j (counted from 0; the last one follows the last split) becomes r + j
    * ``rows``. What happens at a split belongs to the interval after it, observations to the one
    before it.
    """
    number, code = events.number, events.code.copy()
    time = number[:, TIME]
    seen = code[:, KIND] == OBSERVE
    interval = np.where(
        seen, np.searchsorted(splits, time, "left"), np.searchsorted(splits, time, "right")
    )
    held = np.zeros(len(code), dtype=np.int64)  # the row that holds after each event
    current = 0
    for k in range(len(code)):
        current = int(code[k, PLACE]) if code[k, KIND] == ROW else current
        held[k] = current
    code[:, PLACE] += rows * interval
    at = [int(np.argmax(interval > j)) if np.any(interval > j) else len(code)
          for j in range(len(splits))]  # fmt: skip
    more_number, more_code = np.zeros((len(splits), 4)), np.zeros((len(splits), 7), dtype=np.int64)
    more_number[:, TIME], more_code[:, KIND], more_code[:, OUTPUT] = splits, ROW, -1
    before = np.array([held[k - 1] if k else 0 for k in at], dtype=np.int64)
    more_code[:, PLACE] = before + rows * np.arange(1, len(splits) + 1)
    number = np.insert(number, at, more_number, axis=0)
    code = np.insert(code, at, more_code, axis=0)
    extra = int(events.rows[1]) - rows
    total = rows * (len(splits) + 1) + extra
    return Events(
        np.array([0, len(code)], dtype=np.int64), np.array([0, total], dtype=np.int64), number, code
    )


def _split(patient: Patient, events: Events, splits: Floats) -> Patient:
    rows, n = len(patient.occasion), len(splits)
    solver = Solver(patient.solver.structure, split_rows(events, splits, rows), threads=1)
    return replace(
        patient,
        solver=solver,
        occasion=np.tile(patient.occasion, n + 1),
        last_row=patient.last_row + rows * n,
    )


def _present(present: Present, splits: Floats, rows: int) -> Present:
    history = split_rows(present.history, splits, rows)
    row = present.row + rows * len(splits)
    coming = row if present.coming == present.row else rows * (len(splits) + 1)
    return replace(present, history=history, row=row, coming=coming)

"""Checks of what a patient's observations say: how much, and whether they and the model agree."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from popk.monitoring.case import Case
from popk.monitoring.finding import Finding
from popk.monitoring.kernel import Drawn, Weighed, tails
from popk.statistics import NUMPY

__all__ = [
    "Latest",
    "below_quantification",
    "contraction",
    "contradictions",
    "information",
    "latest_of",
    "measured_below",
]

type Floats = NDArray[np.float64]

LITTLE, NONE = 0.4, 0.1  # contraction of the logarithm of the predicted trough
USUAL = 1.15  # up to so many usual intervals after a dose, a sample is at the usual interval
RARE = 0.2  # an observation below quantification that is less likely than this in the population
OVERRULED, OVERRULED_AGAIN = 0.9, 0.75  # P(above the target) of one that was measured below it
BELIEVED = (0.75, 0.8, 0.85, 0.9, 0.92, 0.95, 0.97, 0.99)
_LATEST = 3  # observations that are held against the target
CONTRADICTS, SURELY = 0.01, 0.002  # p-values


def contraction(before: Floats, after: Floats, floor: float) -> float:
    """1 - var(log trough | data) / var(log trough); NaN where it cannot be told."""
    logs = [np.log(np.maximum(v[np.isfinite(v)], floor)) for v in (before, after)]
    if any(len(own) < 2 for own in logs) or logs[0].var() == 0:
        return float("nan")
    return float(1.0 - logs[1].var() / logs[0].var())


def information(case: Case, contracted: float) -> Iterator[Finding]:
    """Too little is known of the patient for advice of its own."""
    status = case.partial.patient.observed.status
    n, quantified = len(status), int((status == 0).sum())
    name, take = "too little information", "Take a trough before the interval is changed."
    if n == 0:
        yield Finding(
            name, "withheld",
            "There is no observation of this patient: what is shown is the population's, for these "
            f"doses and covariates. {take}",
        )  # fmt: skip
        return
    if quantified == 0:
        yield Finding(
            name, "withheld",
            "No observation is quantified (all are BLQ or above the limit): they bound the "
            "concentration on one side only. Use a more sensitive assay, or sample earlier in the "
            "interval.",
        )  # fmt: skip
        return
    said = f"; it leaves the predicted trough {_narrower(contracted)}" if n == 1 else ""
    if n == 1:
        yield Finding(
            name, "widened",
            "There is one observation only: a mistaken sample or a change could not be told from "
            f"this patient's own clearance{said}. {take}",
        )  # fmt: skip
    elif np.isfinite(contracted) and contracted < LITTLE:
        yield Finding(
            name,
            "withheld" if contracted < NONE else "widened",
            f"The {n} observations say little: they leave the predicted trough "
            f"{_narrower(contracted)}. {take}",
        )


def _narrower(contracted: float) -> str:
    if not np.isfinite(contracted):
        return "as uncertain as it was"
    if contracted <= 0:
        return "no less uncertain than in the population"
    return f"{1 - (1 - contracted) ** 0.5:.0%} narrower (SD of its logarithm) than the population's"


def below_quantification(case: Case, before: Drawn, prediction: Floats) -> Iterator[Finding]:
    """Observations below quantification at the usual interval; ``prediction`` of ``before``."""
    observed = case.partial.patient.observed
    usual, since = case.doses.usual_interval, case.since_dose
    beyond = np.flatnonzero((observed.status == 1) & (since <= USUAL * usual))
    if not len(beyond) or case.model.error.is_sequential:
        return
    above, _ = tails(case.population, case.partial.patient, prediction, before.draw)
    rare = [k for k in beyond.tolist() if 1.0 - above[:, k].mean() < RARE]
    if not rare:
        return
    k, last = rare[-1], len(observed.dv) - 1
    p = float(1.0 - above[:, k].mean())
    yield Finding(
        "below quantification",
        "withheld" if k == last else "widened",
        f"An observation {case.where(k)} is below quantification at the standard interval "
        f"({since[k]:g} {case.model.units.time} after a dose), which has probability "
        f"{max(p, 1e-4):.2g} or less in the population: check for antibodies and for missed "
        "infusions, then the draw time and the assay.",
        p,
    )


@dataclass(frozen=True)
class Latest:
    """One of a patient's latest observations, and what the model believes of it.

    ``value`` and ``status`` as in the data; ``where`` says which observation it is. ``reached`` are
    the highest concentrations of which the model gives `BELIEVED` that the true one was no lower.
    """

    value: float
    status: int
    where: str
    reached: tuple[float, ...]

    def believed(self, target: float) -> float:
        """P(true concentration >= target) by the model, rounded down."""
        held = [p for p, value in zip(BELIEVED, self.reached, strict=True) if value >= target]
        return max(held, default=0.0)


def latest_of(case: Case, base: Weighed, prediction: Floats) -> tuple[Latest, ...]:
    """The latest observations of what is forecast, the last one at the end.

    ``prediction`` (n, n_observations) is that of the nodes of ``base``.
    """
    observed = case.partial.patient.observed
    own = np.flatnonzero(observed.output == case.present.output)[-_LATEST:]
    if not base.possible:
        return ()
    shares = _shares(base)
    found = []
    for k in own.tolist():
        order = np.argsort(-prediction[:, k])
        place = np.searchsorted(np.cumsum(shares[order]), np.array(BELIEVED) - 1e-12)
        reached = prediction[order[place.clip(max=len(order) - 1)], k]
        value, status = float(observed.dv[k]), int(observed.status[k])
        found.append(Latest(value, status, case.where(k), tuple(reached.tolist())))
    return tuple(found)


def measured_below(latest: Sequence[Latest], target: float, unit: str) -> Iterator[Finding]:
    """The latest observations are below the target, and the model is sure that they were not.

    Residual error may do that once, so advice is widened; it hardly does so twice.
    """
    run: list[Latest] = []
    for one in reversed(latest):
        # A limit of quantification above the target says nothing.
        below = one.value <= target if one.status == 1 else one.status == 0 and one.value < target
        if not below:
            break
        run.append(one)
    if not run:
        return
    again = len(run) > 1
    p = min(one.believed(target) for one in run)
    if p < (OVERRULED_AGAIN if again else OVERRULED):
        return
    what = f"last {len(run)} observations were" if again else "last observation was"
    yield Finding(
        "below the target",
        "withheld" if again else "widened",
        f"The {what} below the target of {target:g} {unit} ({run[0].where}), though the model "
        f"gives {p:.0%} or more that the true concentration was not: it believes the population "
        "more than this patient. Repeat the sample and test for antibodies before the interval is "
        "changed.",
        p,
    )


def _shares(base: Weighed) -> Floats:
    """Weights of the nodes, which sum to one."""
    weight = np.exp(base.log_weight - base.log_weight[np.isfinite(base.log_weight)].max())
    return np.asarray(weight / weight.sum())


def contradictions(case: Case, base: Weighed, prediction: Floats) -> Iterator[Finding]:
    """Observations between which no dose was given, and that cannot both be right."""
    error, observed = case.model.error, case.partial.patient.observed
    if error.is_sequential or not error.is_gaussian or not base.possible:
        return
    sigma = base.population.taken(base.draw).sigma
    with np.errstate(all="ignore"):
        residual, _ = error.standardised(observed, prediction, sigma, NUMPY)
    weight = _shares(base)
    residual = np.broadcast_to(residual, prediction.shape)
    times, doses, found = case.times, case.doses.time, []
    records = np.flatnonzero(case.is_observation)
    given = np.isin(case.column("EVID"), (1, 3, 4))
    for k in range(len(times) - 1):
        between = (doses >= times[k]) & (doses < times[k + 1])
        # Of one time the order of the records decides.
        between = np.any(between) or np.any(given[records[k] : records[k + 1]])
        if between or observed.output[k] != observed.output[k + 1]:
            continue
        away = (residual[:, k + 1] - residual[:, k]) / np.sqrt(2.0)
        p = float(weight @ np.nan_to_num(_beyond(away, observed.status[k : k + 2])))
        found.append((p, k))
    if not found:
        return
    p, k = min(found)
    p = min(1.0, p * len(found))
    if p < CONTRADICTS:
        yield Finding(
            "contradiction",
            "withheld" if p < SURELY else "widened",
            f"Two observations contradict each other: {case.where(k)} and {case.where(k + 1)}, "
            f"with no dose between them, differ more than the assay allows (probability {p:.2g}). "
            "Check which one is right, and that no dose is left out.",
            p,
        )


def _beyond(away: Floats, status: NDArray[np.int64]) -> Floats:
    """p-values of differences; of a limit only the side that the observation lies on counts."""
    first, second = int(status[0]), int(status[1])
    if first == 0 and second == 0:
        return np.asarray(2 * norm.sf(np.abs(away)))
    if first == 0 or (second not in (0, first)):
        # The later one lies further below (above) than its limit: the true difference is larger.
        return np.asarray(2 * (norm.cdf(away) if second == 1 else norm.sf(away)))
    if second == 0:
        return np.asarray(2 * (norm.sf(away) if first == 1 else norm.cdf(away)))
    return np.ones_like(away)

"""What may explain a patient's data, and how probable each explanation is.

The records as they are, a change of clearance, an observation that is wrong, a mistake in the
records: each has a prior probability that is stated, and its marginal likelihood is computed by
the patient kernel. They stand against each other, so that a wrong sample is not taken for
antibodies.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp
from scipy.stats import norm

from popk.monitoring import change, mistakes
from popk.monitoring.case import Case, Domain
from popk.monitoring.change import Changed, changed
from popk.monitoring.finding import Finding
from popk.monitoring.kernel import Drawn, Weighed, left_out, log_shares, tails, two_sided
from popk.monitoring.mistakes import Mistake

__all__ = ["Explanations", "explain", "findings_of"]

type Floats = NDArray[np.float64]

WRONG = 0.02  # probability, before the data, that one of the observations is wrong
_ASTRAY = 1.5  # SD of the logarithm of a wrong observation around the population's median
_LIKELY = 0.1  # posterior probability from which a mistake is named
SUSPECT = 0.05  # adjusted p-values from which an observation is doubted
WIDENED, WITHHELD = 0.01, 0.0005  # … and from which advice is widened or withheld
UNLIKE, UTTERLY = 0.001, 1e-5  # the same given the population alone
NOTED, BELIEVED, SURE = 0.2, 0.5, 0.9  # posterior probabilities of an explanation
ORDINARY, CHANGED = "ordinary", "changed"


@dataclass(frozen=True)
class Explanations:
    """Surprise of each observation, and the posterior probabilities of the explanations.

    ``given_others`` (n) and ``given_population`` (n) are two-sided p-values, adjusted for the
    number of observations (Bonferroni); NaN where they cannot be had. ``expected`` (3, n) are
    quantiles of the surprising ones, given the others. ``shares`` are posterior
    probabilities: ``"ordinary"``, ``"changed"``, the position of an observation that is wrong (as
    text), and the words of a `Mistake`. ``rank`` is P(Y <= y) of the last observation given the
    others (beyond a limit, drawn evenly from what lies beyond), uniform if the model is right.
    """

    given_others: Floats
    given_population: Floats
    expected: Floats
    change: Changed | None
    shares: Mapping[str, float]
    tried: tuple[Mistake, ...] = field(default=())
    rank: float = float("nan")

    @property
    def wrong(self) -> list[int]:
        """Positions of the observations that may be wrong."""
        return [int(name) for name in self.shares if name.isdigit()]


def explain(
    case: Case, base: Weighed, before: Drawn, prediction: Floats, *, domain: Domain, odd: bool
) -> Explanations:
    """Surprise of each observation, and what explains the data.

    Parameters
    ----------
    case, base
        The patient, and its posterior by the draws that the checks use.
    before, prediction
        Draws of the parameters before any observation, and what they predict of each.
    domain
        Where the model has been.
    odd
        Whether other checks doubt the units.
    """
    observed, patient = base.patient.observed, base.patient
    count = len(observed.dv)
    others = population = rest = np.full(count, np.nan)
    expected, rank = np.full((3, count), np.nan), float("nan")
    if count and not case.model.error.is_sequential:
        above, _ = tails(case.population, patient, prediction, before.draw)
        population = np.minimum(1.0, count * two_sided(above.mean(axis=0), observed.status))
        if base.possible:
            left, _, rest, expected = left_out(base, case.partial, case.rng)
            others = np.minimum(1.0, count * two_sided(left, observed.status))
            rank = _rank(float(left[-1]), int(observed.status[-1]), case.rng)
    found = changed(case, base)
    logs = {ORDINARY: base.evidence + np.log1p(-change.PRIOR - WRONG)}
    if found is not None:
        logs[CHANGED] = float(logsumexp(found.log_weight[1:]))
    # Where nothing explains the data every observation is doubted.
    doubted = np.nan_to_num(others, nan=1.0 if base.possible else 0.0) < SUSPECT
    for k in np.flatnonzero(doubted).tolist():
        if np.isfinite(rest[k]):
            own = _astray(observed.dv[k], int(observed.status[k]), prediction[:, k])
            logs[str(k)] = float(rest[k]) + own + float(np.log(WRONG / count))
    tried: list[Mistake] = []
    unlike = np.nan_to_num(population, nan=1.0) < WIDENED
    if count and (odd or not base.possible or bool((population < WIDENED).any())):
        tried += mistakes.units(case, domain)
    if count:
        tried += mistakes.sample_times(case, doubted | unlike)
    for one in tried:
        logs[one.what] = mistakes.log_evidence_of(case, one) + float(np.log(one.prior))
    return Explanations(others, population, expected, found, log_shares(logs), tuple(tried), rank)


def _rank(above: float, status: int, rng: np.random.Generator) -> float:
    """P(Y <= y) from P(Y > y), drawn evenly from what lies beyond a limit."""
    if status > 0:
        return (1.0 - above) * float(rng.random())
    return 1.0 - above * (float(rng.random()) if status < 0 else 1.0)


def _astray(value: float, status: int, prediction: Floats) -> float:
    """Log density (probability beyond a limit) of an observation that is wrong."""
    usable = prediction[np.isfinite(prediction) & (prediction > 0)]
    if value <= 0 or not len(usable):
        return float("-inf")
    away = (np.log(value) - np.median(np.log(usable))) / _ASTRAY
    if status:
        return float(norm.logcdf(away if status > 0 else -away))
    return float(norm.logpdf(away) - np.log(_ASTRAY * value))


def findings_of(case: Case, seen: Explanations) -> Iterator[Finding]:
    """What the explanations come to, in words."""
    found = [*_units(case, seen), *_sample_times(case, seen)]
    if (one := _change(case, seen)) is not None:
        found.append(one)
    found += _unlike(case, seen)
    yield from found
    # In wrong units every observation surprises.
    if not any(one.name == "units" and one.severity == "withheld" for one in found):
        yield from _surprise(case, seen)


def _units(case: Case, seen: Explanations) -> Iterator[Finding]:
    """Mistakes of unit, of which several may explain the same."""
    of = {one.what: seen.shares[one.what] for one in seen.tried if one.observation < 0}
    p = sum(of.values())
    if not p >= NOTED:
        return
    likely = sorted((what for what, share in of.items() if share >= _LIKELY), key=of.__getitem__)
    prior = sum(one.prior for one in seen.tried if one.observation < 0)
    yield Finding(
        "units",
        "withheld" if p >= BELIEVED else "note",
        f"The patient's data are far more likely if {', or '.join(reversed(likely))} (probability "
        f"{_near_one(p)}, {prior:.2g} before the data). Check the units and correct the records.",
        p,
    )


def _sample_times(case: Case, seen: Explanations) -> Iterator[Finding]:
    for one in seen.tried:
        p = seen.shares[one.what]
        if one.observation < 0 or not p >= NOTED:
            continue
        yield Finding(
            "sample time",
            "withheld" if p >= BELIEVED else "note",
            f"The observation {case.where(one.observation)} is far more likely if {one.what} "
            f"(probability {_near_one(p)}, {one.prior:.2g} before the data). Ask when it was "
            "drawn, and correct TIME or leave it out.",
            p,
        )


def _surprise(case: Case, seen: Explanations) -> Iterator[Finding]:
    """The most surprising observation, and which others surprise."""
    unit, values = case.model.units.concentration, np.nan_to_num(seen.given_others, nan=1.0)
    odd = np.flatnonzero(values < SUSPECT)
    if not len(odd):
        return
    k = int(odd[values[odd].argmin()])
    p, count = float(values[k]), len(values)
    low, middle, high = seen.expected[:, k]
    given = "the population" if count == 1 else "this patient's other data"
    wrong = seen.shares.get(str(k), float("nan"))
    others = [f"{seen_at} ({_p(float(values[j]))})" for j in odd.tolist() if j != k
              for seen_at in [f"row {case.rows[j]}"]]  # fmt: skip
    yield Finding(
        "surprising observation",
        "withheld" if p < WITHHELD else "widened" if p < WIDENED else "note",
        f"The observation {case.where(k)} is surprising: from {given} {middle:.3g} {unit} was "
        f"expected (90 % {low:.3g} to {high:.3g}), and one as far off has probability {_p(p)}"
        + (f" (allowing for {count} observations)" if count > 1 else "")
        + (f"; that it is wrong has probability {_near_one(wrong)}" if wrong >= NOTED else "")
        + ". Check draw time and assay first, then test for anti-drug antibodies."
        + (f" Beside it surprise those of {', '.join(others)}." if others else ""),
        p,
    )


def _p(value: float) -> str:
    return f"{value:.2g}" if value >= 1e-4 else "below 0.0001"


def _near_one(value: float) -> str:
    return "above 0.99" if value > 0.99 else f"{value:.2g}"


def _unlike(case: Case, seen: Explanations) -> Iterator[Finding]:
    values = np.nan_to_num(seen.given_population, nan=1.0)
    if not len(values) or values.min() >= UNLIKE:
        return
    k = int(values.argmin())
    yield Finding(
        "unlike the population",
        "withheld" if values[k] < UTTERLY else "widened",
        f"The observation {case.where(k)} is unlike anything that the model expects of such a "
        f"patient: one as far off has probability {_p(float(values[k]))} in the population. Check "
        "units, doses, times and the drug.",
        float(values[k]),
    )


def _change(case: Case, seen: Explanations) -> Finding | None:
    found, p = seen.change, seen.shares.get(CHANGED, float("nan"))
    if found is None or not p >= NOTED:
        return None
    own = found.alone
    weight = np.exp(found.weighed.log_weight[own] - found.weighed.log_weight[own].max())
    weight *= np.exp(found.log_prior)[found.hypothesis[own]]
    weight /= weight.sum()
    factor = found.factor[own]
    raised = float(weight[factor > 2].sum())
    order = np.argsort(factor)
    reached = np.cumsum(weight[order])
    low, middle, high = factor[order][
        np.searchsorted(reached, (0.05, 0.5, 0.95)).clip(0, len(own) - 1)
    ]
    starts = found.starts[found.hypothesis[own]]
    times = np.unique(starts)
    shares = np.array([weight[starts == time].sum() for time in times])
    start = float(times[shares.argmax()])
    lasts = float(weight[found.lasts[found.hypothesis[own]]].sum())
    since = (
        "from the first dose" if np.isinf(start)
        else f"after TIME {start:g} {case.model.units.time}"
    )  # fmt: skip
    like = raised > BELIEVED
    severity = "note" if p < BELIEVED else "widened"
    if like and p >= SURE:
        severity = "withheld"
    return Finding(
        "antibodies" if like else "clearance changed",
        severity,
        f"{found.parameter} has changed on the way with probability {_near_one(p)} "
        f"({change.PRIOR:g} before the data): most likely {since} "
        f"({_near_one(float(shares.max()))}), to {middle:.2g} times what it was (90 % {low:.2g} "
        f"to {high:.2g}), and still with probability {_near_one(lasts)}. "
        + ("Such an increase is what anti-drug antibodies do: test for them" if like else
           "Look for a cause (weight, disease, co-medication)")
        + ", and confirm with another sample before the interval is changed.",
        p,
    )  # fmt: skip

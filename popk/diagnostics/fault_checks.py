"""Checks of structure and residual error: a finding for each thing that may be wrong."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.special import ndtri

from popk.diagnostics.bins import bin_edges, placed
from popk.diagnostics.discrepancies import (
    FEWEST,
    bin_means,
    equal_bins,
    magnitude,
    matched,
    neighbours,
    tails,
    trend,
)
from popk.diagnostics.prediction_errors import completed, ranks, whitened
from popk.diagnostics.realised import Realised
from popk.diagnostics.replicates import Seen

__all__ = ["Finding", "Material", "findings"]

type Floats = NDArray[np.float64]
type Ints = NDArray[np.int64]

_BINS = 6
_EACH = 8  # observations of a bin, at least

_REMEDIES = {
    "time after dose": "Try another number of compartments, another absorption (lag, transit) or "
    "an elimination that saturates.",
    "concentration": "Try an elimination that saturates (MichaelisMenten, "
    "ParallelMichaelisMenten, TargetMediated), or another number of compartments.",
    "dosing interval": "Try an elimination that saturates, or another number of compartments: the "
    "model's decline does not hold for intervals of another length.",
    "time in treatment": "Try a clearance that changes with time (TimeVaryingClearance), "
    "covariates that change (anti-drug antibodies, weight), or variability between occasions.",
    "size of the residuals": "Try another residual error: Proportional or Combined where residuals "
    "grow with the concentration, an additive part where they are too large at low ones.",
    "shape of the residuals": "Look for mistaken records; try StudentTError where a few residuals "
    "are far out, LogNormalError where they are skewed.",
    "neighbouring residuals": "Residuals of neighbouring samples go together: look at the "
    "structure first; else try variability between occasions (IOV) or Autocorrelated.",
}


class Finding(NamedTuple):
    """One check: ``p``, its posterior predictive p-value; what was seen; what to try."""

    name: str
    about: str
    p: float
    seen: str
    remedy: str


@dataclass(frozen=True, eq=False)
class Material:
    """What the checks look at: observations, draws, and replicates (R, n) of the observations."""

    seen: Seen
    drawn: Realised
    simulated: Floats
    rng: np.random.Generator


def findings(material: Material) -> Iterator[Finding]:
    """Every check of the structure and of the residual error that these data allow."""
    yield from _of_structure(material)
    yield from _of_residuals(material)


def _of_structure(material: Material) -> Iterator[Finding]:
    seen, drawn = material.seen, material.drawn
    found = seen.coordinates()
    since = np.asarray(found["TAD"][1], dtype=float)
    interval = np.fmax(seen.interval, since)
    interval = np.where(np.isnan(seen.interval), np.nan, interval)
    unit = seen.dataset.units.time
    errors = _prediction_errors(material)
    done: list[Ints] = []  # after a single dose, time after it and in treatment are the same
    for name, x in (
        ("time after dose", since),
        ("dosing interval", interval),
        ("time in treatment", np.asarray(found["TIME"][1], dtype=float)),
    ):
        place, edges = _places(seen, x, drawn.counted)
        if edges is None or any(np.array_equal(place, other) for other in done):
            continue
        done.append(place)
        own, bins = place >= 0, int(place.max()) + 1
        p_own = float(trend(drawn.residual[:, own], place[own], bins).mean())
        means = bin_means(drawn.residual[:, own], place[own], bins)
        one = (p_own, _course(means, name, edges, unit, "the patients' own predictions"))
        p_all, all_means = _population_trend(errors, place, bins)
        two = (p_all, _course(all_means, name, edges, unit, "the population's prediction"))
        p, words = min(one, two, key=lambda pair: pair[0])
        yield Finding(name, "structure", min(1.0, 2 * p), words, _REMEDIES[name])
    if (by := _by_prediction(seen, drawn)) is None:
        return
    values = drawn.residual[:, drawn.counted]
    p = float(trend(values, by.place, by.bins).mean())
    means = bin_means(values, by.place, by.bins)
    words = _course(means, "concentration", by.edges, by.unit, "the patients' own predictions")
    yield Finding("concentration", "structure", p, words, _REMEDIES["concentration"])


class _ByPrediction(NamedTuple):
    """Bins of each draw's predictions: place (D, n counted), their number, edges and unit."""

    place: Ints
    bins: int
    edges: list[Floats]
    unit: str


def _by_prediction(seen: Seen, drawn: Realised) -> _ByPrediction | None:
    """Bins with as many observations each, those of several outputs apart; None for too few."""
    outputs = np.array(seen.outputs)[drawn.counted]
    prediction = drawn.prediction[:, drawn.counted]
    place = np.zeros(prediction.shape, dtype=np.int64)
    edges: list[Floats] = []
    total = 0
    for name in dict.fromkeys(outputs.tolist()):
        own = np.flatnonzero(outputs == name)
        bins = max(1, min(_BINS, len(own) // _EACH))
        place[:, own] = total + equal_bins(prediction[:, own], bins)
        edges.append(np.quantile(prediction[:, own], np.linspace(0, 1, bins + 1)))
        total += bins
    if len(outputs) < FEWEST or total < 2:
        return None
    return _ByPrediction(place, total, edges, "" if seen.units.startswith("{") else seen.units)


def _places(seen: Seen, x: Floats, counted: NDArray[np.bool_]) -> tuple[Ints, list[Floats] | None]:
    """Bin of each observation (-1 for none), those of several outputs apart, and their edges."""
    place = np.full(len(x), -1)
    edges: list[Floats] = []
    outputs = np.array(seen.outputs)
    for name in dict.fromkeys(seen.outputs):
        own = np.asarray((outputs == name) & np.isfinite(x) & counted)
        distinct = len(np.unique(x[own]))
        size = min(_BINS, int(own.sum()) // _EACH, distinct)
        if size < 2:
            continue
        cut = bin_edges(x[own], size)
        place[own] = placed(x[own], cut) + sum(len(one) - 1 for one in edges)
        edges.append(cut)
    return place, edges or None


def _prediction_errors(material: Material) -> Floats:
    """Decorrelated prediction errors (1 + R, n): the data's first, then each replicate's own.

    Each keeps as close as possible to its own observation (symmetric root), so that a trend stays
    where it is; all are normal scores among the replicates.
    """
    seen, simulated = material.seen, material.simulated
    both = completed(seen, simulated, material.rng)
    found = np.empty((1 + len(simulated), len(seen.dv)))
    for subject, rows in seen.of_subjects:
        y, reps = whitened(both.observed[rows], both.simulated[:, rows], subject, symmetric=True)
        own = (stats.rankdata(reps, axis=0) - 0.5) / len(reps)
        found[0, rows], found[1:, rows] = ndtri(ranks(y, reps)), ndtri(own)
    return found


def _population_trend(
    errors: Floats, place: Ints, bins: int
) -> tuple[float, tuple[Floats, Floats]]:
    """P of the means in bins of the data's errors among those of the replicates."""
    own = place >= 0
    mean, count = bin_means(errors[:, own], place[own], bins)
    moved = mean - mean[1:].mean(axis=0)
    covariance = np.atleast_2d(np.cov(moved[1:], rowvar=False))
    statistic = np.einsum("si,ij,sj->s", moved, np.linalg.pinv(covariance), moved)
    return float(matched(statistic[:1], statistic[1:])[0]), (mean[:1], count[:1])


def _course(
    means: tuple[Floats, Floats], name: str, edges: list[Floats], unit: str, beside: str
) -> str:
    """Where values lie above or below, in words: the one or two bins that stand out."""
    mean, count = means[0].mean(axis=0), means[1].mean(axis=0)
    weight = mean * np.sqrt(count)
    spans = [(one[k], one[k + 1]) for one in edges for k in range(len(one) - 1)]
    best = np.argsort(-np.abs(weight))[:2]
    parts = [
        f"{'above' if mean[k] > 0 else 'below'} by {abs(mean[k]):.2f} SD at a {name} of "
        f"{spans[k][0]:.3g} to {spans[k][1]:.3g} {unit}"
        for k in sorted(best.tolist())
    ]
    return f"On average observations lie, beside {beside}, {' and '.join(parts)}."


def _of_residuals(material: Material) -> Iterator[Finding]:
    seen, drawn = material.seen, material.drawn
    counted = drawn.counted
    values = drawn.residual[:, counted]
    if (by := _by_prediction(seen, drawn)) is None:
        return
    p = float(trend(magnitude(values), by.place, by.bins, centred=True).mean())
    spread = np.sqrt(bin_means(values**2, by.place, by.bins)[0]).mean(axis=0)
    of = "predictions" if len(by.edges) == 1 else "predictions of each output in turn"
    words = (
        f"Residuals have, from the lowest to the highest {of}, "
        f"{', '.join(f'{one:.2f}' for one in spread)} times the SD that the model gives them."
    )
    name = "size of the residuals"
    yield Finding(name, "residual error", p, words, _REMEDIES[name])
    skew = float(stats.skew(values, axis=1).mean())
    heavy = float(stats.kurtosis(values, axis=1).mean())
    name = "shape of the residuals"
    words = f"Residuals have a skewness of {skew:.2f} and an excess kurtosis of {heavy:.2f}."
    yield Finding(name, "residual error", float(tails(values).mean()), words, _REMEDIES[name])
    before, after = _pairs(seen, counted)
    if len(before) >= FEWEST:
        name = "neighbouring residuals"
        p = float(neighbours(values, before, after).mean())
        r = float((values[:, before] * values[:, after]).mean())
        words = f"Residuals of neighbouring samples of a patient have a correlation of {r:.2f}."
        yield Finding(name, "residual error", p, words, _REMEDIES[name])


def _pairs(seen: Seen, counted: NDArray[np.bool_]) -> tuple[Ints, Ints]:
    """Positions, among the observations counted, of samples of a patient that follow each other."""
    rows = np.flatnonzero(counted)
    outputs = np.array(seen.outputs)[rows]
    same = (seen.subject[rows][1:] == seen.subject[rows][:-1]) & (outputs[1:] == outputs[:-1])
    after = np.flatnonzero(same) + 1
    return after - 1, after

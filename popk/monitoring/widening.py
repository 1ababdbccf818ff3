"""Forecasts that allow for what was found: a mixture of explanations, or wider random effects."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from popk.individual.forecast import Forecast, Present, forecast
from popk.monitoring.case import Case
from popk.monitoring.change import Changed
from popk.monitoring.explanations import CHANGED, ORDINARY, Explanations
from popk.monitoring.kernel import Drawn, Weighed, weigh
from popk.population import PopulationDraws

__all__ = ["FLATTENED", "Widened", "flattened", "widened"]

type Floats = NDArray[np.float64]
type Ints = NDArray[np.int64]

CURVE_POINTS = 90  # evenly spaced, as of the advice itself
FLATTENED = 2.0  # factor on the SDs of the random effects between subjects
# Findings that the mixture of explanations allows for; others flatten the prior.
EXPLAINED = frozenset({"antibodies", "clearance changed", "surprising observation"})


@dataclass(frozen=True)
class Widened:
    """Draws of a patient's parameters now (n, m), the population draw of each, and the forecast."""

    parameters: Floats
    draw: Ints
    seen: Forecast


def flattened(population: PopulationDraws) -> PopulationDraws:
    """The same draws with random effects between subjects whose SDs are `FLATTENED` times as large.

    A patient to whom the population may not apply is thereby known less from it.
    """
    iiv = population.model.iiv
    wider = {
        iiv.omega_name(e): FLATTENED * population.values[iiv.omega_name(e)] for e in iiv.effects
    }
    return replace(population, values={**population.values, **wider})


def widened(
    case: Case,
    base: Weighed,
    seen: Explanations,
    names: set[str],
    *,
    intervals: Floats,
    size: int,
) -> Widened | None:
    """Forecasts under what was found; None where nothing explains the data.

    Parameters
    ----------
    case, base, seen
        The patient, its posterior, the explanations.
    names
        Names of the findings that widen.
    intervals
        Candidate intervals in the data's unit of time, ascending.
    size
        How many draws.
    """
    ordinary = base
    if names - EXPLAINED:
        ordinary = weigh(flattened(case.population), case.partial.patient, case.rng)
    if not ordinary.possible:
        return None
    parts: list[tuple[float, Callable[[int], tuple[Drawn, Present]]]] = []

    def of(weighed: Weighed) -> Callable[[int], tuple[Drawn, Present]]:
        return lambda n: (weighed.drawn(n, case.rng), case.present)

    if names & EXPLAINED:
        parts.append((seen.shares[ORDINARY], of(ordinary)))
        for k in seen.wrong:
            kept = np.arange(case.partial.n_observations) != k
            without = weigh(case.population, case.partial.seeing(kept), case.rng)
            if without.possible:
                parts.append((seen.shares[str(k)], of(without)))
        if seen.change is not None:
            parts.append((seen.shares[CHANGED], _changed(case, seen.change)))
    else:
        parts.append((1.0, of(ordinary)))
    shares = np.array([share for share, _ in parts])
    counts = _counts(shares / shares.sum(), size)
    made = [_one(case, draw(n), intervals)
            for (_, draw), n in zip(parts, counts.tolist(), strict=True) if n]  # fmt: skip
    return _joined(made, case.rng.permutation(size))


def _changed(case: Case, found: Changed) -> Callable[[int], tuple[Drawn, Present]]:
    weighed = replace(
        found.weighed,
        log_weight=found.weighed.log_weight + found.log_prior[found.hypothesis],
    )
    return lambda n: (weighed.drawn(n, case.rng, found.alone), found.present)


def _counts(shares: Floats, size: int) -> Ints:
    """How many of ``size`` draws each part has, the nearest whole numbers."""
    ends = np.round(np.cumsum(shares) * size).astype(np.int64)
    return np.diff(ends, prepend=0)


def _one(case: Case, made: tuple[Drawn, Present], intervals: Floats) -> Widened:
    drawn, present = made
    seen = forecast(case.model, drawn.parameters, present, intervals, CURVE_POINTS)
    return Widened(drawn.parameters[:, present.row], drawn.draw, seen)


def _joined(made: list[Widened], order: Ints) -> Widened:
    parts = [one.seen for one in made]
    seen = Forecast(
        np.concatenate([one.troughs for one in parts])[order],
        np.concatenate([one.sustained for one in parts])[order],
        np.concatenate([one.curve for one in parts])[order],
        parts[0].curve_times,
    )
    return Widened(
        np.concatenate([one.parameters for one in made])[order],
        np.concatenate([one.draw for one in made])[order],
        seen,
    )

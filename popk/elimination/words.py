"""The answer in sentences."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from popk.decision.results import in_percent
from popk.individual import Trough
from popk.units import Units

__all__ = ["Said", "words_of"]

type Floats = NDArray[np.float64]

_SAME = 0.05  # relative difference below which two half-lives are told as one


class Said(NamedTuple):
    """What the sentences of one subject are made of.

    ``decision`` by week, as in the result; ``single`` (rule, week), in per cent; ``reference``,
    what 100 % is; ``basis``, what the numbers are over; ``refused``, why there is no answer.
    """

    decision: dict[str, Floats]
    single: Floats
    weeks: Floats
    rules: list[tuple[str, float]]
    reference: str
    target: Trough | None
    units: Units
    basis: str
    refused: str


def words_of(said: Said) -> str:
    """What is left, how the half-life changes, what a single one predicts, and the target."""
    if said.refused:
        return f"No answer: {said.refused}"
    if np.isnan(said.decision["left_median"]).all():
        return "No answer: the equations could not be solved for any draw."
    parts = [_left(said), _changing(said), *_rules(said)]
    if said.target is not None:
        parts.append(_target(said))
    return " ".join(part for part in parts if part)


def _ends(said: Said) -> list[int]:
    """The first and the last of the weeks asked about."""
    return sorted({0, len(said.weeks) - 1})


def _left(said: Said) -> str:
    own, unit = said.decision, said.units.concentration
    parts = [
        f"after {said.weeks[k]:.3g} weeks {own['left_median'][k]:.2g} % of {said.reference} is "
        f"left (90 % interval {own['left_low'][k]:.2g} to {own['left_high'][k]:.2g} %), "
        f"{own['trough_median'][k]:.3g} {unit} ({own['trough_low'][k]:.3g} to "
        f"{own['trough_high'][k]:.3g})"
        for k in _ends(said)
    ]
    return f"Without a further dose, {'; '.join(parts)}; {said.basis}."


def _changing(said: Said) -> str:
    """The half-life at the first and the last of the weeks."""
    own, unit, time = said.decision, said.units.concentration, said.units.time
    known = [k for k in _ends(said) if np.isfinite(own["half_life_median"][k])]
    if not known:
        return ""
    parts = [
        f"{own['half_life_median'][k]:.3g} {time} after {said.weeks[k]:.3g} weeks "
        f"({own['half_life_low'][k]:.3g} to {own['half_life_high'][k]:.3g}; at "
        f"{own['trough_median'][k]:.3g} {unit})"
        for k in known
    ]
    start, end = (own["half_life_median"][k] for k in (known[0], known[-1]))
    changes = len(known) > 1 and abs(start / end - 1) > _SAME
    return f"The half-life {'is not one number:' if changes else 'then is'} {' and '.join(parts)}."


def _rules(said: Said) -> list[str]:
    found = []
    for (name, length), left in zip(said.rules, said.single, strict=True):
        parts = " and ".join(
            f"{left[k]:.2g} % after {said.weeks[k]:.3g} weeks" for k in _ends(said)
        )
        found.append(
            f"A single half-life of {length:g} {said.units.time} ({name}) would leave {parts}."
        )
    return found


def _target(said: Said) -> str:
    assert said.target is not None
    chance = said.decision["probability"]
    parts = " and ".join(
        f"{in_percent(float(chance[k]))} after {said.weeks[k]:.3g} weeks" for k in _ends(said)
    )
    return (
        "What counts is not the percentage but what is left against the target: P(concentration >= "
        f"{said.target.words}) is {parts}."
    )

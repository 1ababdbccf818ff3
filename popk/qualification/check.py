"""What a check is, what it measures, and what came of it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

__all__ = ["KINDS", "Check", "Measure", "Outcome", "carried_out"]

KINDS = ("numerical", "inferential", "decision", "integrity")


@dataclass(frozen=True)
class Measure:
    """One figure beside its limit.

    Parameters
    ----------
    what
        What was measured, with its unit where it has one.
    figure
        The figure; a NaN never passes.
    limit
        What it may be at most, or has to be at least.
    at_least
        Which of the two.
    """

    what: str
    figure: float
    limit: float
    at_least: bool = False

    @property
    def passed(self) -> bool:
        """Whether the figure is within the limit."""
        if math.isnan(self.figure):
            return False
        return bool(self.figure >= self.limit if self.at_least else self.figure <= self.limit)


@dataclass(frozen=True)
class Check:
    """A comparison that popk carries with it.

    Parameters
    ----------
    name
        A few words.
    kind
        One of `KINDS`.
    requirements
        IDs of the requirements that it is evidence for.
    against
        What popk is compared with, and its source.
    tolerance
        Why the limits are what they are.
    run
        Makes the comparison.
    """

    name: str
    kind: str
    requirements: tuple[str, ...]
    against: str
    tolerance: str
    run: Callable[[], Sequence[Measure]]


@dataclass(frozen=True)
class Outcome:
    """What came of a check: its figures or, where it could not be made, why; seconds it took."""

    check: Check
    measures: tuple[Measure, ...]
    fault: str
    seconds: float

    @property
    def passed(self) -> bool:
        """Whether it was made and every figure is within its limit."""
        return not self.fault and all(measure.passed for measure in self.measures)


def carried_out(check: Check) -> Outcome:
    """Make one comparison; what goes wrong in it is its outcome."""
    began = time.perf_counter()
    measures: tuple[Measure, ...] = ()
    fault = ""
    try:
        measures = tuple(check.run())
        if not measures:
            fault = "Nothing was measured."
    except Exception as error:  # noqa: BLE001  the other checks are to be made all the same
        fault = f"{type(error).__name__}: {error}"
    return Outcome(check, measures, fault, time.perf_counter() - began)

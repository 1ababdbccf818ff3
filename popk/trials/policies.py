"""Policies: how long the next interval is to be, from what is known of a patient at a visit."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from popk.errors import SettingError
from popk.individual.decision import candidate_weeks, longest_interval

__all__ = [
    "DecisionTree",
    "FixedInterval",
    "History",
    "ModelInformed",
    "Policy",
    "Rule",
    "WeightBands",
]

type Floats = NDArray[np.float64]
type Bools = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class History:
    """What a policy may see of one patient at a visit, after the trough is known.

    Parameters
    ----------
    times
        Weeks since the first infusion at which each was given (n + 1); the last one is now.
    planned
        Weeks that each of the n intervals between them was planned to last.
    troughs
        Trough measured at the end of each interval (n), in the model's unit; the limit where it is
        below the limit of quantification, NaN where nothing was measured.
    below
        Whether it is below the limit of quantification (n).
    decided
        How many intervals were chosen by the policy: the first ``n - decided`` are the run-in.
    covariates
        The patient's covariates, by name.
    target
        Lowest acceptable trough of the trial.
    weeks, probability
        The policy's `Policy.candidates`, and for each the probability that the true trough after it
        is at or above the policy's target; empty for a policy that has no candidates.
    """

    times: Floats
    planned: Floats
    troughs: Floats
    below: Bools
    decided: int
    covariates: Mapping[str, float]
    target: float
    weeks: Floats
    probability: Floats


@runtime_checkable
class Policy(Protocol):
    """What `popk.trial` asks of a policy; any object with these three will do.

    It should be a frozen value without a state of its own: it is asked about all patients, visit by
    visit. `Rule` makes one of a function.
    """

    @property
    def name(self) -> str:
        """For tables and figures."""

    @property
    def candidates(self) -> tuple[float, ...]:
        """Intervals in weeks for which it wants the model's forecast; none if it needs none."""

    def interval(self, history: History) -> float:
        """Weeks to the next infusion."""


def _weeks(who: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | np.number):
        raise SettingError(f"{who} was given an interval of {value!r}; give weeks, as 4.")
    if not (math.isfinite(value) and value > 0):
        raise SettingError(f"{who} was given an interval of {value!r} weeks; give more than zero.")
    return float(value)


@dataclass(frozen=True)
class FixedInterval:
    """The same interval for everybody, in weeks."""

    weeks: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "weeks", _weeks("FixedInterval", self.weeks))

    @property
    def name(self) -> str:
        """For tables and figures."""
        return f"every {self.weeks:g} weeks"

    @property
    def candidates(self) -> tuple[float, ...]:
        """None."""
        return ()

    def interval(self, history: History) -> float:
        """Weeks to the next infusion."""
        return self.weeks


@dataclass(frozen=True, init=False)
class WeightBands:
    """An interval by body weight.

    ``WeightBands({60: 7, 80: 6}, above=5)``: 7 weeks up to and with 60 kg, 6 up to 80, 5 above.

    Parameters
    ----------
    bands
        From the upper end of a band, in the covariate's unit, to its interval in weeks.
    above
        Weeks for those above the last band.
    covariate
        Name of the weight.
    """

    bands: tuple[tuple[float, float], ...]
    above: float
    covariate: str

    def __init__(
        self, bands: Mapping[float, float], *, above: float, covariate: str = "WT"
    ) -> None:
        if not bands:
            raise SettingError("WeightBands was given no band; give {60: 7, 80: 6}, for example.")
        pairs = tuple((float(end), _weeks("WeightBands", bands[end])) for end in sorted(bands))
        object.__setattr__(self, "bands", pairs)
        object.__setattr__(self, "above", _weeks("WeightBands", above))
        object.__setattr__(self, "covariate", covariate)

    @property
    def name(self) -> str:
        """For tables and figures."""
        parts = [f"≤ {end:g}: {weeks:g}" for end, weeks in self.bands]
        return f"by {self.covariate} ({', '.join(parts)}, above: {self.above:g})"

    @property
    def candidates(self) -> tuple[float, ...]:
        """None."""
        return ()

    def interval(self, history: History) -> float:
        """Weeks to the next infusion."""
        if self.covariate not in history.covariates:
            raise SettingError(
                f"WeightBands reads {self.covariate}, which the virtual patients do not have; they "
                f"have {', '.join(history.covariates) or 'no covariates'}."
            )
        weight = history.covariates[self.covariate]
        return next((weeks for end, weeks in self.bands if weight <= end), self.above)


@dataclass(frozen=True, kw_only=True)
class DecisionTree:
    """A trough-guided tree with steps of one week, as in trials of personalised extension.

    At a visit, of the troughs measured since the interval last changed: where the last is below
    the target (or below the limit of quantification), the interval becomes one step shorter; where
    there are ``after`` of them or more, and their mean is ``margin`` times the target or more, one
    step longer; otherwise it stays.

    Targets 10 and 5 mg/L are those of NEXT-MS (Toorop et al., J Neurol Neurosurg Psychiatry 95:392,
    2024, from its abstract). Steps of a week, another measurement after two infusions and a cap of
    8 weeks are common practice. The tree of that trial itself was not seen: ``margin`` is an
    assumption (half as much again as the target), and its own cut-offs should be given where they
    are known.

    Parameters
    ----------
    target
        Trough to keep, in the model's unit.
    margin
        How many times the target the mean trough must be before the interval is extended.
    after
        How many troughs at the present interval are needed for it.
    weeks
        The intervals it steps through.
    """

    target: float
    margin: float = 1.5
    after: int = 2
    weeks: Sequence[float] = (4.0, 5.0, 6.0, 7.0, 8.0)

    def __post_init__(self) -> None:
        object.__setattr__(self, "weeks", tuple(candidate_weeks(self.weeks).tolist()))
        for name, least in (("target", 0.0), ("margin", 0.0), ("after", 0)):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > least):
                raise SettingError(
                    f"DecisionTree was given {name}={value!r}; give a number above zero."
                )

    @property
    def name(self) -> str:
        """For tables and figures."""
        return f"decision tree, {self.target:g}"

    @property
    def candidates(self) -> tuple[float, ...]:
        """None."""
        return ()

    def interval(self, history: History) -> float:
        """Weeks to the next infusion."""
        present = history.planned[-1]
        weeks = np.asarray(self.weeks)
        place = int(np.abs(weeks - present).argmin())
        changed = np.flatnonzero(history.planned != present)
        own = slice(changed[-1] + 1 if len(changed) else 0, None)
        troughs, below = history.troughs[own], history.below[own]
        known = np.isfinite(troughs)
        if not known.any():
            return float(weeks[place])
        troughs, below = troughs[known], below[known]
        if below[-1] or troughs[-1] < self.target:
            place -= 1
        elif len(troughs) >= self.after and troughs.mean() >= self.margin * self.target:
            place += 1
        return float(weeks[min(max(place, 0), len(weeks) - 1)])


@dataclass(frozen=True, kw_only=True)
class ModelInformed:
    """The longest interval whose true trough is at or above the target with a probability.

    The decision of `popk.individualise`, at every visit, from the posterior of the patient's
    parameters given all troughs so far. Where not even the shortest candidate holds the
    probability, the shortest is taken.

    Parameters
    ----------
    probability
        The probability to hold.
    weeks
        Candidate intervals.
    target
        Lowest acceptable trough, in the model's unit; that of the trial if None.
    step
        The interval grows by at most so many weeks at a visit; without a limit if None.
    """

    probability: float = 0.9
    weeks: Sequence[float] = (4.0, 5.0, 6.0, 7.0, 8.0)
    target: float | None = None
    step: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "weeks", tuple(candidate_weeks(self.weeks).tolist()))
        if not 0 < self.probability < 1:
            raise SettingError(
                f"ModelInformed was given probability={self.probability!r}; give one between 0 and "
                "1, as 0.9."
            )
        for name in ("target", "step"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise SettingError(
                    f"ModelInformed was given {name}={value!r}; give a number above zero."
                )

    @property
    def name(self) -> str:
        """For tables and figures."""
        more = "" if self.target is None else f", {self.target:g}"
        return f"model-informed {self.probability:g}{more}"

    @property
    def candidates(self) -> tuple[float, ...]:
        """Its weeks."""
        return tuple(self.weeks)

    def interval(self, history: History) -> float:
        """Weeks to the next infusion."""
        allowed = np.ones(len(history.weeks), dtype=bool)
        if self.step is not None:
            allowed = history.weeks <= history.planned[-1] + self.step
            allowed[0] = True
        weeks = history.weeks[allowed]
        found = longest_interval(weeks, history.probability[allowed], self.probability)
        return float(weeks[0] if np.isnan(found) else found)


@dataclass(frozen=True)
class Rule:
    """A policy of your own: a function of a patient's `History` that gives weeks.

    Parameters
    ----------
    name
        For tables and figures.
    function
        From a `History` to the weeks until the next infusion.
    candidates
        Intervals for which ``history.probability`` is wanted.
    """

    name: str
    function: Callable[[History], float]
    candidates: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.candidates:
            object.__setattr__(self, "candidates", tuple(candidate_weeks(self.candidates).tolist()))

    def interval(self, history: History) -> float:
        """Weeks to the next infusion."""
        return self.function(history)

"""A subject's dosing history, and the engine's events with readings put into it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from popk.design import Design
from popk.fitted import FitError
from popk.structure import Events
from popk.structure.events import DOSE, KIND, OBSERVE, OUTPUT, RESET, TIME, WHAT

__all__ = ["History", "histories_of", "with_readings"]

type Floats = NDArray[np.float64]
type Ints = NDArray[np.int64]

_NEARLY = 0.75  # of a dosing interval after the last dose: a record there ends the interval


@dataclass(frozen=True)
class History:
    """What was given to one subject, and until when it was followed.

    Parameters
    ----------
    subject
        ID.
    doses
        Times of all doses (n), those of runs (ADDL) included, ascending, in the data's unit.
    amounts
        Amount of each dose (n).
    settled
        Interval of steady-state doses (SS) from which the history starts; NaN without.
    end
        Time of the last record.
    """

    subject: str
    doses: Floats
    amounts: Floats
    settled: float
    end: float

    @property
    def interval(self) -> float:
        """The last dosing interval; NaN where one dose was given."""
        gaps = np.diff(self.doses)
        return float(gaps[-1]) if len(gaps) else self.settled

    @property
    def cycles(self) -> Floats:
        """Start and end (n, 2) of each dosing interval up to the last record.

        The last one counts where three quarters of the interval before it have passed; it ends
        with the record.
        """
        last, ends = self.doses[-1], self.doses[1:]
        if self.end - last >= _NEARLY * self.interval:
            ends = np.append(ends, self.end)
        return np.stack([self.doses[: len(ends)], ends], axis=1)


def histories_of(design: Design, subjects: Sequence[str]) -> list[History]:
    """The history of each subject.

    Raises
    ------
    FitError
        When a subject has no dose, or its history starts anew (EVID 3 or 4).
    """
    events, found = design.events, []
    for k, subject in enumerate(subjects):
        own = slice(int(events.first[k]), int(events.first[k + 1]))
        kind, time = events.kind[own], events.time[own]
        if (kind == RESET).any():
            raise FitError(
                f"The history of ID {subject} starts anew (EVID 3 or 4), so its exposure over the "
                "whole of it has no meaning; give the data from the reset on, as another subject."
            )
        given = np.flatnonzero(kind == DOSE)
        if not len(given):
            raise FitError(f"ID {subject} was given no dose, so it has no exposure; leave it out.")
        repeats, steady = events.repeats[own][given], events.steady[own][given] > 0
        gap, amount = events.interval[own][given], events.amount[own][given]
        runs = [t + g * np.arange(n) for t, g, n in zip(time[given], gap, repeats, strict=True)]
        times = np.concatenate(runs)
        order = np.argsort(times, kind="stable")
        found.append(
            History(
                subject,
                times[order],
                np.repeat(amount, repeats)[order],
                float(gap[steady][-1]) if steady.any() else float("nan"),
                float(time.max()),
            )
        )
        found[-1] = _within(found[-1])
    return found


def _within(history: History) -> History:
    """Without the doses of a run that come after the last record; those at one time are one."""
    times = np.unique(history.doses[history.doses <= history.end])
    amounts = np.array([history.amounts[history.doses == time].sum() for time in times])
    return History(history.subject, times, amounts, history.settled, history.end)


def with_readings(events: Events, readings: Sequence[Floats], *, what: int) -> Events:
    """The same doses and changes of parameters, read at other times.

    Parameters
    ----------
    events
        Of the cohort.
    readings
        Times (n) of each subject, ascending; at the time of a dose it is just before it.
    what
        Index of the structure's output that is read.
    """
    numbers, codes, first, offset = [], [], [0], 0
    for k, times in enumerate(readings):
        own = slice(int(events.first[k]), int(events.first[k + 1]))
        kept = events.kind[own] != OBSERVE
        number, code = np.zeros((len(times), 4)), np.zeros((len(times), 7), dtype=np.int64)
        number[:, TIME], code[:, KIND], code[:, WHAT] = times, OBSERVE, what
        code[:, OUTPUT] = offset + np.arange(len(times))
        offset += len(times)
        number = np.vstack([number, events.number[own][kept]])
        code = np.vstack([code, events.code[own][kept]])
        order = np.argsort(number[:, TIME], kind="stable")
        numbers.append(number[order])
        codes.append(code[order])
        first.append(first[-1] + len(order))
    return Events(
        np.array(first, dtype=np.int64), events.rows, np.vstack(numbers), np.vstack(codes)
    )

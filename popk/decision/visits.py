"""When a patient may come for the next dose."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from popk.errors import SettingError

__all__ = ["Feasible", "LastDose", "Visits", "last_dose_of"]

type Floats = NDArray[np.float64]
type LastDose = date | str | Mapping[str, date | str] | None

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_SLACK = 1e-9  # of a limit in weeks, for numbers that are not whole


class Feasible(NamedTuple):
    """A patient's feasible intervals in weeks (n), ascending, and their dates (empty if unknown).

    ``note`` says why there is none.
    """

    weeks: Floats
    dates: tuple[date, ...]
    note: str


@dataclass(frozen=True, init=False, repr=False)
class Visits:
    """Feasible visits: intervals in weeks, or days of a site, within limits.

    Give ``weeks``; or ``weekdays`` (with ``shortest`` and ``longest``), a ``calendar``, or both,
    with which the date of each patient's last dose must be known (``last_dose`` of the questions).

    Parameters
    ----------
    weeks
        Intervals in weeks, such as ``range(4, 9)``.
    weekdays
        Weekdays on which the site infuses: ``("Mon", "Thu")``.
    calendar
        Dates on which it does: `datetime.date`, or text as ``"2026-05-04"``.
    shortest, longest
        Limits of the interval, in weeks.
    step
        Longest change upwards from the patient's present interval, in weeks: with 1 a patient at
        4 weeks goes to 5 at most.

    Raises
    ------
    SettingError
        When they leave open what is meant, or cannot be met.
    """

    weeks: tuple[float, ...]
    weekdays: tuple[str, ...]
    calendar: tuple[date, ...]
    shortest: float | None
    longest: float | None
    step: float | None

    def __init__(
        self,
        weeks: Iterable[float] = (),
        *,
        weekdays: Iterable[str] = (),
        calendar: Iterable[date | str] = (),
        shortest: float | None = None,
        longest: float | None = None,
        step: float | None = None,
    ) -> None:
        given = {
            "weeks": tuple(sorted({float(week) for week in weeks})),
            "weekdays": tuple(_weekday(day) for day in weekdays),
            "calendar": tuple(sorted({_date(day, "calendar") for day in calendar})),
            "shortest": shortest,
            "longest": longest,
            "step": step,
        }
        for name, value in given.items():
            object.__setattr__(self, name, value)
        self._check()

    def __repr__(self) -> str:
        names = ("weeks", "weekdays", "calendar", "shortest", "longest", "step")
        given = {name: getattr(self, name) for name in names}
        parts = [f"{name}={value!r}" for name, value in given.items() if value not in ((), None)]
        return f"Visits({', '.join(parts)})"

    def _check(self) -> None:
        if bool(self.weeks) == bool(self.weekdays or self.calendar):
            raise SettingError(
                f"{self!r} leaves open when a patient may come: give weeks, as "
                "Visits(range(4, 9)), or else the days of the site, as "
                'Visits(weekdays=("Mon", "Thu"), shortest=4, longest=8) or Visits(calendar=[...]).'
            )
        if any(not (math.isfinite(week) and week > 0) for week in self.weeks):
            raise SettingError(f"The candidate weeks are {self.weeks}; each must be above zero.")
        for name in ("shortest", "longest", "step"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value >= 0):
                raise SettingError(f"{name} is {value!r}; give weeks, zero or more.")
        if self.weekdays and not self.calendar and None in (self.shortest, self.longest):
            raise SettingError(
                "With weekdays alone give the shortest and the longest interval too, as shortest=4 "
                "and longest=8."
            )
        if None not in (low := (self.shortest, self.longest)) and low[0] > low[1]:  # type: ignore[operator]
            raise SettingError(
                f"The shortest interval is {self.shortest:g} weeks and the longest "
                f"{self.longest:g}: no interval is both."
            )

    @property
    def needs_date(self) -> bool:
        """Whether the date of the last dose must be known."""
        return not self.weeks

    def feasible(self, present_interval: float, last_dose: date | None) -> Feasible:
        """A patient's feasible intervals.

        Parameters
        ----------
        present_interval
            Time between the last two doses in weeks; NaN where there is none.
        last_dose
            Date of the last dose, where known.
        """
        if self.step is not None and math.isnan(present_interval):
            note = (
                "A step is limited against the present interval, and there is a single dose: the "
                "present interval is not known."
            )
            return Feasible(np.zeros(0), (), note)
        found = np.array(self.weeks) if self.weeks else self._days(last_dose)
        low = max(self.shortest or 0.0, 0.0)
        high = math.inf if self.longest is None else self.longest
        if self.step is not None:
            high = min(high, present_interval + self.step)
        found = found[(found > 0) & (found >= low - _SLACK) & (found <= high + _SLACK)]
        dates: tuple[date, ...] = ()
        if last_dose is not None:
            dates = tuple(last_dose + timedelta(days=round(7 * week)) for week in found.tolist())
        note = "" if len(found) else "No visit is feasible within these limits."
        return Feasible(found, dates, note)

    def _days(self, last_dose: date | None) -> Floats:
        assert last_dose is not None
        if self.calendar:
            after = [(day - last_dose).days for day in self.calendar]
        else:
            after = list(range(1, int(7 * (self.longest or 0.0)) + 1))
        if self.weekdays:
            allowed = {_DAYS.index(day) for day in self.weekdays}
            after = [k for k in after if (last_dose + timedelta(days=k)).weekday() in allowed]
        return np.array([k / 7 for k in after if k > 0])


def last_dose_of(given: LastDose, subject: str, visits: Visits) -> date | None:
    """The date of a patient's last dose.

    Raises
    ------
    SettingError
        When the visits are days of a calendar and it is not given.
    """
    own = given.get(subject) if isinstance(given, Mapping) else given
    if own is None and visits.needs_date:
        raise SettingError(
            f"The visits are days of a calendar, and the date of the last dose of ID {subject} is "
            f'not given. Give last_dose={{"{subject}": "2026-05-04"}} (the date of the last dose '
            "in the data)."
        )
    return None if own is None else _date(own, "last_dose")


def _weekday(given: str) -> str:
    name = str(given).strip()[:3].title()
    if name not in _DAYS:
        raise SettingError(f"{given!r} is no weekday; give {', '.join(_DAYS)}.")
    return name


def _date(given: date | str, where: str) -> date:
    if isinstance(given, date):
        return given
    try:
        return date.fromisoformat(given)
    except (TypeError, ValueError):
        raise SettingError(
            f"{where} holds {given!r}, which is no date; write it as 2026-05-04."
        ) from None

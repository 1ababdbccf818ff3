"""Sentences about records, in the words of the page: its rows, and dates beside times."""

from __future__ import annotations

import re
from datetime import timedelta

from popk.serving.entered import Entered
from popk.serving.events import Recorded
from popk.serving.needs import Needs

__all__ = ["on_page"]

_ROW = re.compile(r"\brow (\d+)\b")
_NUMBER = r"-?\d+(?:\.\d+)?(?:e[+-]?\d+)?"
_TIME = re.compile(rf"\bTIME ({_NUMBER})(?: to ({_NUMBER}))?(?: (\w+))?")


def on_page(text: str, entered: Entered, recorded: Recorded, needs: Needs) -> str:
    """The sentence with the page's own rows, and with the date after each TIME.

    Parameters
    ----------
    text
        Of popk: ``TIME 84 d (row 5)`` becomes ``TIME 84 d, 2026-03-30 08:00 (sample row 2)``.
    entered, recorded, needs
        What was entered, its data set, and the model's units.
    """

    def row(match: re.Match[str]) -> str:
        at = int(match[1]) - 1
        return recorded.places[at].words if 0 <= at < len(recorded.places) else match[0]

    def time(match: re.Match[str]) -> str:
        unit = needs.units.time
        known = match[3] == unit
        dates = [_date(entered, needs, float(value)) for value in match.groups()[:2] if value]
        if entered.origin is None:
            return match[0]
        said = f"TIME {match[1]}{f' to {match[2]}' if match[2] else ''} {unit}"
        return f"{said} [{' to '.join(dates)}]" + ("" if known or not match[3] else f" {match[3]}")

    return _TIME.sub(time, _ROW.sub(row, text))


def _date(entered: Entered, needs: Needs, time: float) -> str:
    """The day of a time that a sentence states with six digits."""
    if entered.origin is None:
        return ""
    known = [one.time for one in entered.samples]
    known += [one.time + k * one.every for one in entered.doses for k in range(one.more + 1)]
    nearest = min(known, key=lambda other: abs(other - time))
    exact = nearest if abs(nearest - time) <= 1e-5 * max(1.0, abs(time)) else time
    # A second more, for what is lost in numbers of days.
    moment = entered.origin + timedelta(days=exact / needs.per_day, seconds=1)
    return f"{moment:%Y-%m-%d}"

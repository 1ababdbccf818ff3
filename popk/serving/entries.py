"""Texts of a form read as numbers, dates and choices; every fault is collected with its field."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from popk.serving.faults import Fault, FormError, Place, quoted

__all__ = ["NUMBER", "Limits", "Reader", "if_given"]

NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)
_COMMA = re.compile(r"[+-]?\d+,\d+", re.ASCII)
_FORMATS = ("%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S")
_EARLIEST = datetime(1980, 1, 1)
_LONGEST = 2_000  # characters of one entry


@dataclass(frozen=True)
class Limits:
    """What a number must keep: above ``above``, at least ``least``, at most ``most``, whole."""

    above: float = -math.inf
    least: float = -math.inf
    most: float = math.inf
    whole: bool = False

    def fault(self, value: float) -> str:
        """What the number does not keep; empty where it keeps all."""
        if value <= self.above:
            return f"must be above {self.above:g}"
        if value < self.least:
            return f"must be {self.least:g} or more"
        if value > self.most:
            return f"must be {self.most:g} or less"
        return "must be a whole number" if self.whole and value != int(value) else ""


@dataclass
class Reader:
    """Reads entries and collects what is wrong with them."""

    faults: list[Fault] = field(default_factory=list)

    def fault(self, place: Place, message: str) -> None:
        """Take up a fault."""
        self.faults.append(Fault.at(place, message))

    def raise_if_faults(self) -> None:
        """Refuse the form when anything is wrong.

        Raises
        ------
        FormError
            With every fault found so far.
        """
        if self.faults:
            raise FormError(self.faults)

    def text(self, given: Any, place: Place) -> str:
        """An entry without surrounding blanks; empty where there is none."""
        if given is None:
            return ""
        if isinstance(given, bool) or not isinstance(given, str | int | float):
            self.fault(place, "expected one entry; a list, an object or a truth value was given.")
            return ""
        text = _as_text(given).strip()
        if len(text) > _LONGEST:
            self.fault(place, f"{len(text)} characters were given; expected {_LONGEST} at most.")
            return ""
        if any("\ud800" <= c <= "\udfff" for c in text):
            self.fault(place, f"{quoted(text)} holds half a character; enter it again.")
            return ""
        return text

    def number(
        self, given: Any, place: Place, *, limits: Limits, example: str, unit: str = ""
    ) -> float | None:
        """A number; None where it is missing or wrong, of which the fault is taken up."""
        before = len(self.faults)
        text = self.text(given, place)
        within = f" in {unit}" if unit not in ("", "1") else ""
        if not text:
            if len(self.faults) == before:
                self.fault(place, f"is missing; give a number{within}, as {example}.")
            return None
        if _COMMA.fullmatch(text):
            point = text.replace(",", ".")
            self.fault(place, f"{quoted(text)} has a comma; write {point}, with a point.")
            return None
        value = float(text) if NUMBER.fullmatch(text) else math.nan
        if not math.isfinite(value):
            self.fault(place, f"{quoted(text)} is not a number; give one{within}, as {example}.")
            return None
        if wrong := limits.fault(value):
            self.fault(place, f"{quoted(text)} {wrong}; give a number{within}, as {example}.")
            return None
        return value

    def moment(self, given: Any, place: Place, *, now: datetime) -> datetime | None:
        """A date with a time of day, not in the future; None where it is missing or wrong."""
        before = len(self.faults)
        text = self.text(given, place)
        if not text:
            if len(self.faults) == before:
                self.fault(place, "is missing; give date and time, as 2026-05-04 08:30.")
            return None
        found = _moment(text)
        if found is None:
            self.fault(
                place, f"{quoted(text)} is not a date with a time of day, as 2026-05-04 08:30."
            )
        elif found < _EARLIEST:
            self.fault(place, f"{found:%Y-%m-%d} lies before {_EARLIEST:%Y-%m-%d}; check the year.")
        elif found > now:
            self.fault(
                place,
                f"{found:%Y-%m-%d %H:%M} lies in the future (now it is {now:%Y-%m-%d %H:%M}); "
                "enter what has happened only.",
            )
        else:
            return found
        return None

    def one_of(self, given: Any, place: Place, choices: Iterable[str]) -> str | None:
        """One of a few texts; None where it is none of them."""
        known, text = list(choices), self.text(given, place)
        if text in known:
            return text
        said = f"{quoted(text)} is not known" if text else "is missing"
        self.fault(place, f"{said}; choose one of {', '.join(known)}.")
        return None

    def rows(self, given: Any, place: Place, *, most: int) -> list[Mapping[str, Any]]:
        """Rows of fields, as many as are allowed."""
        if given is None:
            return []
        if not isinstance(given, list) or not all(isinstance(row, Mapping) for row in given):
            self.fault(place, "expected rows of fields.")
            return []
        if len(given) > most:
            self.fault(place, f"{len(given)} rows were given; at most {most} can be used here.")
            return []
        return given


def if_given(given: Any, default: str) -> Any:
    """An entry, or what holds where there is none."""
    return default if given is None or given == "" else given


def _as_text(given: str | float) -> str:
    try:
        return str(given)
    except ValueError:  # a whole number of thousands of digits
        return "9" * (_LONGEST + 1)


def _moment(text: str) -> datetime | None:
    for form in _FORMATS:
        try:
            return datetime.strptime(text, form)
        except ValueError:
            continue
    return None

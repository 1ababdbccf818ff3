"""Rows of doses and samples as they were entered, brought to one origin of time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from popk.serving.entries import Limits, Reader, if_given
from popk.serving.faults import Place, quoted
from popk.serving.needs import Needs

__all__ = ["MOST_DOSES", "MOST_SAMPLES", "Dose", "Rows", "Sample"]

MOST_DOSES, MOST_SAMPLES = 200, 100  # rows
_GIVEN = 1000  # doses in all, those that repeat included
_YEARS = 30
_OF_DOSE = ("when", "amount", "hours", "more", "every")
_OF_SAMPLE = ("when", "value", "below", "limit")
_YES, _NO = (True, "true", "1", 1), (False, "false", "0", 0, None, "")
_NAN = float("nan")


@dataclass(frozen=True)
class Dose:
    """``time`` in the model's unit since the first entry; ``more`` doses follow, ``every`` apart.

    ``row`` is that on the page, from 0; ``hours`` the length of the infusion, 0 of a bolus;
    ``codes`` are further columns, such as OCC.
    """

    row: int
    time: float
    amount: float
    hours: float
    more: int
    every: float
    codes: Mapping[str, int]

    @property
    def last(self) -> float:
        """Time of the last of them."""
        return self.time + self.more * self.every


@dataclass(frozen=True)
class Sample:
    """A concentration, or with ``below`` that it lies below ``limit`` (NaN where none is known)."""

    row: int
    time: float
    value: float
    below: bool
    limit: float
    codes: Mapping[str, int]


@dataclass(frozen=True)
class _Row:
    """A row of the page: its fields, and where they are."""

    at: int
    kind: str
    given: Mapping[str, Any]

    def place(self, field: str, words: str) -> Place:
        """A field of the row."""
        title = f"{self.kind.capitalize()}, row {self.at + 1}"
        return Place(f"{self.kind}.{self.at}.{field}", f"{title}, {words}" if words else title)


class Rows:
    """Reads the rows, whose times are moments (``dated``) or numbers.

    After `read`: ``doses``, ``samples``, and ``origin``, the moment of time 0 (None without dates).
    """

    doses: tuple[Dose, ...] = ()
    samples: tuple[Sample, ...] = ()
    origin: datetime | None = None

    def __init__(self, reader: Reader, needs: Needs, now: datetime, *, dated: bool) -> None:
        self._reader, self._needs, self._now, self._dated = reader, needs, now, dated
        self._moments: dict[tuple[str, int], datetime] = {}

    def read(self, doses: Any, samples: Any) -> None:
        """Read all; what is wrong is in the reader's faults."""
        reader = self._reader
        before = len(reader.faults)
        given = [self._dose(row) for row in self._rows(doses, "doses", MOST_DOSES, _OF_DOSE)]
        drawn = [self._sample(row)
                 for row in self._rows(samples, "samples", MOST_SAMPLES, _OF_SAMPLE)]  # fmt: skip
        if not given and len(reader.faults) == before:
            reader.fault(Place("doses", "Doses"), "there is none; the interval runs from a dose.")
        if len(reader.faults) > before:
            return
        if self._moments:
            self.origin = min(self._moments.values())
        self.doses = tuple(self._placed(one, "doses") for one in given if one is not None)
        self.samples = tuple(self._placed(one, "samples") for one in drawn if one is not None)
        self._check()

    def _rows(self, given: Any, kind: str, most: int, fields: Sequence[str]) -> Iterator[_Row]:
        known = (*fields, *(code.name for code in self._needs.codes))
        listed = self._reader.rows(given, Place(kind, kind.capitalize()), most=most)
        for at, fields_given in enumerate(listed):
            row = _Row(at, kind, fields_given)
            if unknown := [name for name in fields_given if name not in known]:
                self._reader.fault(
                    row.place("when", ""), f"the field {quoted(unknown[0])} is not known."
                )
                continue
            yield row

    def _when(self, row: _Row) -> float | None:
        place = row.place("when", "time")
        if not self._dated:
            # A finer time than any clinic records; beyond, numbers lose digits.
            most = _YEARS * self._needs.per_day * 366
            limits = Limits(least=-most, most=most)
            return self._reader.number(
                row.given.get("when"), place, limits=limits, example="28",
                unit=self._needs.units.time,
            )  # fmt: skip
        moment = self._reader.moment(row.given.get("when"), place, now=self._now)
        if moment is None:
            return None
        self._moments[row.kind, row.at] = moment
        return 0.0

    def _placed[R: (Dose, Sample)](self, one: R, kind: str) -> R:
        """With its time since the origin."""
        if self.origin is None:
            return one
        days = (self._moments[kind, one.row] - self.origin).total_seconds() / 86400
        return replace(one, time=round(days * self._needs.per_day, 9))

    def _dose(self, row: _Row) -> Dose | None:
        number, given, units = self._reader.number, row.given, self._needs.units
        when = self._when(row)
        amount = number(
            given.get("amount"), row.place("amount", "amount"), limits=Limits(above=0.0, most=1e9),
            example=f"{self._needs.usual_dose:g}", unit=units.amount,
        )  # fmt: skip
        hours = number(
            if_given(given.get("hours"), "0"), row.place("hours", "length of the infusion"),
            limits=Limits(least=0.0, most=24 * 366), example="1", unit="hours",
        )  # fmt: skip
        more = number(
            if_given(given.get("more"), "0"), row.place("more", "further doses"),
            limits=Limits(least=0, most=_GIVEN, whole=True), example="5",
        )  # fmt: skip
        every: float | None = 0.0
        if more != 0:
            every = number(
                given.get("every"), row.place("every", "time between them"),
                limits=Limits(above=0.0), example="28", unit=units.time,
            )  # fmt: skip
        else:  # of no use, but kept in the record
            self._reader.text(given.get("every"), row.place("every", "time between them"))
        codes = self._codes(row)
        if when is None or amount is None or hours is None or more is None or every is None:
            return None
        return Dose(row.at, when, amount, hours, int(more), every, codes)

    def _sample(self, row: _Row) -> Sample | None:
        reader, given, unit = self._reader, row.given, self._needs.units.concentration
        level = Limits(above=0.0, most=1e9)
        before, when = len(reader.faults), self._when(row)
        below = given.get("below") in _YES
        if not below and given.get("below") not in _NO:
            reader.fault(row.place("below", "below the limit"), "expected true or false.")
        limit, value = given.get("limit"), _NAN
        place = row.place("limit", "limit of quantification")
        least: float | None = _NAN
        if below or reader.text(limit, place):
            least = reader.number(limit, place, limits=level, example="0.5", unit=unit)
        place = row.place("value", "concentration")
        if below:  # of no use, but kept in the record
            reader.text(given.get("value"), place)
        else:
            read = reader.number(given.get("value"), place, limits=level, example="22.5", unit=unit)
            value = _NAN if read is None else read
            if least is not None and value < least:
                reader.fault(
                    place,
                    f"{value:g} {unit} lies below its limit of quantification, {least:g}; tick "
                    "“below the limit”, or correct one of them.",
                )
        codes = self._codes(row)
        if when is None or least is None or len(reader.faults) > before:
            return None
        return Sample(row.at, when, value, below, least, codes)

    def _codes(self, row: _Row) -> dict[str, int]:
        """Occasion, output and assay, where the model tells them apart."""
        found = {}
        for code in self._needs.codes:
            if code.of_samples and row.kind == "doses":
                continue
            where, given = row.place(code.name, code.words), row.given.get(code.name)
            if code.choices:
                text = self._reader.one_of(given, where, [str(c) for c in code.choices])
                found[code.name] = int(text or 0)
                continue
            limits = Limits(least=0, most=1000, whole=True)
            found[code.name] = int(
                self._reader.number(given, where, limits=limits, example="1") or 0
            )
        return found

    def _check(self) -> None:
        """What can only be said of the rows together."""
        reader, per_day = self._reader, self._needs.per_day
        whole = sum(one.more + 1 for one in self.doses)
        if whole > _GIVEN:
            reader.fault(
                Place("doses", "Doses"),
                f"{whole} doses were given in all; at most {_GIVEN} can be used here.",
            )
        first = min(one.time for one in self.doses)
        times = [first, *(one.time for one in self.samples), *(one.last for one in self.doses)]
        if max(times) - min(times) > _YEARS * 366 * per_day:
            reader.fault(
                Place("doses", "Doses"),
                f"the entries span more than {_YEARS} years; check the times.",
            )
            return
        for one in self.doses:
            if self.origin is None or not one.more:
                continue
            last = self.origin + timedelta(days=one.last / per_day)
            if last > self._now:
                reader.fault(
                    Place(f"doses.{one.row}.more", f"Doses, row {one.row + 1}, further doses"),
                    f"the last of them would be on {last:%Y-%m-%d}, in the future; enter what has "
                    "been given only.",
                )
        for sample in self.samples:
            if sample.time < first:
                reader.fault(
                    Place(f"samples.{sample.row}.when", f"Samples, row {sample.row + 1}, time"),
                    "the sample lies before the first dose; enter the doses before it, or leave "
                    "it out.",
                )

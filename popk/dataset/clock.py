"""Calendar dates and clock times made the time since a subject's first record or dose."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from popk.dataset.problems import DataError, Problem
from popk.dataset.source import MISSING, TextTable
from popk.errors import SettingError
from popk.units import Units, seconds_in

__all__ = ["Dates", "with_times"]

_ISO = re.compile(r"\d{4}-\d\d-\d\d(?:[ T]\d\d?:\d\d(?::\d\d(?:\.\d+)?)?)?\s*(Z|[+-]\d\d:?\d\d)?")
_CLOCK = re.compile(r"(\d\d?):(\d\d)(?::(\d\d)(?:\.\d+)?)?")
_SERIAL = re.compile(r"[2-7]\d{4}([.,]\d+)?")
_MIDNIGHT = re.compile(r"[ T]00:00(:00(\.0+)?)?$")
_EITHER = re.compile(r"\d{1,2}[/.-]\d{1,2}[/.-]\d{2,4}.*")
_MICROSECOND = timedelta(microseconds=1)
_YEARS = range(1900, 2101)


@dataclass(frozen=True)
class Dates:
    """The columns that say when something happened, and how they are written.

    Parameters
    ----------
    date
        Column of the date, or of date and time of day together.
    clock
        Column of the time of day (``14:30``), where it is another.
    format
        How both are written, as `datetime.strptime` takes it, date and time of day with a blank
        between them where they are two columns: ``"%d.%m.%Y %H:%M"``. ISO 8601 (2026-05-28 14:30)
        is read without it.
    zone
        Time zone of the clocks, ``"Europe/Berlin"``: changes to and from summer time are then
        allowed for, and an hour that there was twice, or never, is refused. Without it clock times
        are subtracted as they stand.
    zero
        Time 0 of each subject: its first ``"record"``, or its first ``"dose"``.

    Raises
    ------
    SettingError
        When one makes no sense, in a sentence.
    """

    date: str
    clock: str | None = None
    format: str | None = None
    zone: str | None = None
    zero: Literal["record", "dose"] = "record"

    def __post_init__(self) -> None:
        if self.zero not in ("record", "dose"):
            raise SettingError(f"zero is {self.zero!r}; expected record or dose.")
        if self.format is not None:
            _check_format(self.format)
        if self.zone is not None:
            try:
                ZoneInfo(self.zone)
            except (ZoneInfoNotFoundError, ValueError, OSError):
                raise SettingError(
                    f"zone is {self.zone!r}, which is no time zone that this machine knows; "
                    "expected a name such as Europe/Berlin."
                ) from None


def _check_format(form: str) -> None:
    """Refuse a format that reads no date, or not all of one.

    Raises
    ------
    SettingError
        When a date that is written by it does not come back.
    """
    day = datetime(2026, 5, 28, 14, 30, tzinfo=UTC)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of a format without a year
            same = datetime.strptime(day.strftime(form), form).date() == day.date()
    # strptime compiles the format as a pattern, which can fail in its own way.
    except (ValueError, re.error):
        same = False
    if not same:
        raise SettingError(
            f"format is {form!r}, which does not read year, month and day; expected one such as "
            "%d.%m.%Y or %m/%d/%y %H:%M."
        )


def with_times(
    text: TextTable, dates: Dates, columns: Mapping[str, str], units: Units
) -> TextTable:
    """The table with a column TIME in the place of its dates, in the wanted unit.

    What cannot be read is added to the table's problems, row by row.

    Raises
    ------
    DataError
        When a column is not there, or no dates can be read.
    """
    if any(name.upper() == "TIME" for name in columns) and columns.get("TIME") != dates.clock:
        _refuse(text, "columns names the column TIME, and dates says what it is made of.",
                "Give one of them.")  # fmt: skip
    upper = [name.replace("\ufeff", "").strip().upper() for name in text.header]
    places = [_place(text, upper, name) for name in (dates.date, dates.clock) if name is not None]
    found = [_moment(text, at, places, dates) for at in range(len(text.rows))]
    text.problems.raise_if_errors()
    moments = _comparable(text, [moment for moment in found if moment is not None], dates)
    zeros = _zeros(text, moments, dates, columns, upper)
    seconds = seconds_in(units.time)
    times = [
        # As the table's other numbers are written.
        repr(float(Fraction((moment - zeros[subject]) // _MICROSECOND, 10**6 * seconds))).replace(
            ".", text.decimal
        )
        for moment, subject in zip(moments, _subjects(text, columns, upper), strict=True)
    ]
    spare = ["TIME"] if "TIME" in upper and upper.index("TIME") not in places else []
    kept = [at for at in range(len(upper)) if at not in places and upper[at] not in spare]
    made = f"TIME in {units.time} since each subject's first {dates.zero}, from " + " and ".join(
        text.header[at] for at in places
    )
    notes = [f"{made}."]
    if spare:
        notes.append("The table's own column TIME was not read.")
    if dates.zone is not None:
        notes.append(f"Clock times are those of {dates.zone}, changes of summer time included.")
    elif any(moment.time() != datetime.min.time() for moment in moments) and not _has_offset(found):
        notes.append(
            "Clock times were subtracted as they stand: across a change to or from summer time "
            "that is an hour off (zone says which it is)."
        )
    elif not _has_offset(found):
        notes.append("Dates have no time of day: TIME is in whole days.")
    return replace(
        text,
        header=(*(text.header[at] for at in kept), "TIME"),
        cells=tuple(
            (*(record[at] for at in kept), time)
            for record, time in zip(text.cells, times, strict=True)
        ),
        notes=(*text.notes, *notes),
    )


def _has_offset(found: list[datetime | None]) -> bool:
    return any(moment is not None and moment.tzinfo is not None for moment in found)


def _refuse(text: TextTable, message: str, remedy: str) -> None:
    raise DataError(
        (*text.problems, Problem(message, "error", remedy=remedy)), text.problems.source
    )


def _place(text: TextTable, upper: list[str], name: str) -> int:
    if name.strip().upper() not in upper:
        _refuse(
            text,
            f"dates names the column {name}, but the header holds {', '.join(text.header[:20])}.",
            "Correct the name.",
        )
    return upper.index(name.strip().upper())


def _moment(text: TextTable, at: int, places: list[int], dates: Dates) -> datetime | None:
    """When a record happened; None where it cannot be told, which is said."""
    cells = [text.cells[at][place] for place in places]
    row, label = text.rows[at], text.header[places[0]]
    if any(cell in MISSING for cell in cells):
        empty = text.header[places[cells.index(next(c for c in cells if c in MISSING))]]
        text.problems.error(
            f"{empty} is missing.", "Every record needs a date and, where there are clock times, "
            "one of these too.", row=row, column=empty,
        )  # fmt: skip
        return None
    if len(cells) > 1:  # a spreadsheet's date is one at midnight
        cells[0] = _MIDNIGHT.sub("", cells[0])
    joined = " ".join(cells)
    found = _parsed(joined, dates.format)
    if found is not None and found.year in _YEARS:
        return found
    if found is not None:
        text.problems.error(
            f"'{joined}' lies in the year {found.year}.",
            f"Correct it; dates are read from {_YEARS[0]} to {_YEARS[-1]}.", row=row, column=label,
        )  # fmt: skip
        return None
    remedy = "Write 2026-05-28 14:30, or say how it is written: format='%d.%m.%Y %H:%M'."
    if _EITHER.fullmatch(joined):
        remedy = (
            "Day and month could be either: say which comes first, as format='%d/%m/%Y' or "
            "'%m/%d/%Y' (with %H:%M where there is a time of day)."
        )
    elif _SERIAL.fullmatch(joined):
        remedy = (
            "It looks like a spreadsheet's number of days: format the column as a date there, and "
            "export again."
        )
    if dates.format is not None:
        remedy = f"It was said to be written as {dates.format}."
    text.problems.error(
        f"'{joined}' is not a date that can be read.", remedy, row=row, column=label
    )
    return None


def _parsed(text: str, form: str | None) -> datetime | None:
    """The moment that is written, in ISO 8601 or by the format; None where it is none."""
    try:
        if _ISO.fullmatch(text):
            return datetime.fromisoformat(_padded(text))
        return None if form is None else datetime.strptime(text, form)
    except ValueError:
        return None


def _padded(text: str) -> str:
    """ISO with an hour of two digits: spreadsheets write 8:30."""
    return re.sub(r"(?<=[ T])(\d):", r"0\1:", text.strip())


def _comparable(text: TextTable, moments: list[datetime], dates: Dates) -> list[datetime]:
    """Moments that can be subtracted: all without an offset, or all in UTC."""
    offset = [moment.tzinfo is not None for moment in moments]
    if any(offset) and not all(offset):
        at = offset.index(not offset[0])
        _refuse(
            text,
            f"Some times have an offset from UTC and others have none (row {text.rows[at]} is the "
            "first of the other kind).",
            "Give all an offset, or none.",
        )
    if any(offset):
        if dates.zone is not None:
            _refuse(text, f"The times have offsets from UTC, and zone says {dates.zone} as well.",
                    "Leave zone out.")  # fmt: skip
        return [moment.astimezone(UTC) for moment in moments]
    if dates.zone is None:
        return moments
    zone = ZoneInfo(dates.zone)
    placed = [_in_zone(text, at, moment, zone) for at, moment in enumerate(moments)]
    text.problems.raise_if_errors()
    return placed


def _in_zone(text: TextTable, at: int, moment: datetime, zone: ZoneInfo) -> datetime:
    local = moment.replace(tzinfo=zone)
    back = local.astimezone(UTC).astimezone(zone)
    if back.replace(tzinfo=None) != moment:
        text.problems.error(
            f"{moment:%Y-%m-%d %H:%M} was on no clock in {zone.key}: they were put forward.",
            "Correct the time.", row=text.rows[at],
        )  # fmt: skip
    elif local.utcoffset() != local.replace(fold=1).utcoffset():
        text.problems.error(
            f"{moment:%Y-%m-%d %H:%M} was on the clocks in {zone.key} twice: they were put back.",
            "Give all times with their offset from UTC, as 2026-10-25T02:30+01:00.",
            row=text.rows[at],
        )  # fmt: skip
    return local.astimezone(UTC)


def _subjects(text: TextTable, columns: Mapping[str, str], upper: list[str]) -> tuple[str, ...]:
    name = columns.get("ID", "ID").strip().upper()
    if name not in upper:
        # Said in full by what reads the header; here everything is one subject.
        return ("",) * len(text.rows)
    return text.column(upper.index(name))


def _zeros(
    text: TextTable,
    moments: list[datetime],
    dates: Dates,
    columns: Mapping[str, str],
    upper: list[str],
) -> dict[str, datetime]:
    """Time 0 of each subject."""
    subjects = _subjects(text, columns, upper)
    first: dict[str, datetime] = {}
    event = columns.get("EVID", "EVID").strip().upper()
    doses = set(range(len(moments)))
    if dates.zero == "dose" and event in upper:
        cells = text.column(upper.index(event))
        doses = {at for at, cell in enumerate(cells) if cell.partition(".")[0] in ("1", "4")}
    for at, (subject, moment) in enumerate(zip(subjects, moments, strict=True)):
        if at in doses:
            first.setdefault(subject, moment)
    for subject in dict.fromkeys(subjects):
        if subject not in first:
            text.problems.error(
                "The subject has no dose, from which its times were to be counted.",
                "Count them from the first record, as zero='record'.", id=subject or None,
            )  # fmt: skip
    text.problems.raise_if_errors()
    return first

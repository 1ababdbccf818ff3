"""Parsed columns with what is missing or unreadable in them, for the checks to look at."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
import pandas as pd

from popk.dataset.columns import COLUMNS, Located
from popk.dataset.problems import Problem, Problems, Severity
from popk.dataset.source import MISSING, TextTable
from popk.units import Units

__all__ = ["BoolArray", "Column", "FloatArray", "Records", "parse_records"]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_POINTED = re.compile(r"[+-]?(\d+\.\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_INTEGER_ID = re.compile(r"(0|[1-9]\d*)(\.0*)?", re.ASCII)
_INFINITE = re.compile(r"[+-]?inf(inity)?", re.ASCII | re.IGNORECASE)
_MONTH = "(jan|feb|m[aä]r|apr|ma[iy]|jun|jul|aug|sep|o[ck]t|nov|de[cz])[a-z]*"
# What cells look like that hold no number, in the order in which they are looked for.
_LOOKS = MappingProxyType(
    {
        "point": _POINTED,
        "date": re.compile(
            r"\d{1,4}([-/.]\d{1,2}){2}.*|\d{1,2}:\d\d(:\d\d)?.*"
            rf"|\d{{1,2}}[-. /]+{_MONTH}\.?([-. /]+\d{{2,4}})?|{_MONTH}\.?[-. /]+\d{{1,4}}",
            re.IGNORECASE,
        ),
        "thousands": re.compile(
            r"[+-]?\d{1,3}(?:(?:,\d{3})+\.\d*|(?:,\d{3}){2,}|(?:\.\d{3})+,\d*|(?:\.\d{3}){2,}"
            r"|(?:[ '’_\u00a0\u202f]\d{3})+(?:[.,]\d*)?)"
        ),
        "comma": re.compile(r"[+-]?\d*,\d+"),
        "above": re.compile(r">.*|(ALQ|AQL|ULOQ)", re.IGNORECASE),
        "limit": re.compile(r"<.*|(BLQ|BLOQ|BQL|LLOQ|LOQ)", re.IGNORECASE),
        "spreadsheet": re.compile(r"#(DIV/0!|VALUE!|REF!|NAME\?|NUM!|NULL!)"),
    }
)


@dataclass(frozen=True, eq=False, slots=True)
class Column:
    """One column: its cells as text and as numbers (NaN where `missing` or `bad`)."""

    name: str
    label: str
    text: tuple[str, ...]
    values: FloatArray
    missing: BoolArray
    bad: BoolArray
    given: bool = True

    @property
    def usable(self) -> BoolArray:
        """Where the cell holds a number."""
        return ~(self.missing | self.bad)

    def filled(self, default: float) -> FloatArray:
        """The numbers, with a default where the cell holds none."""
        return np.where(self.usable, self.values, default)


@dataclass(frozen=True, eq=False, slots=True)
class Records:
    """All columns of a table with its subjects, and the means to report on single records.

    `ids` is empty text where the ID is missing. `block` numbers the runs of consecutive
    records of one subject from 0; records without an ID belong to the run before them. `places`
    are the positions of each subject's records.
    """

    ids: tuple[str, ...]
    rows: tuple[int, ...]
    block: npt.NDArray[np.int64]
    places: Mapping[str, npt.NDArray[np.int64]]
    columns: Mapping[str, Column]
    units: Units
    problems: Problems

    def __getitem__(self, name: str) -> Column:
        return self.columns[name]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def covariates(self) -> tuple[str, ...]:
        """Names of the covariates, as declared in the units."""
        return tuple(name for name, _ in self.units.covariates)

    @property
    def gives_dose(self) -> BoolArray:
        """Records that give a dose: EVID 1 or 4."""
        return np.isin(self["EVID"].values, (1, 4))

    @property
    def no_dose(self) -> BoolArray:
        """Records with a readable EVID that give no dose."""
        return np.asarray(self["EVID"].usable & ~self.gives_dose)

    @property
    def missing_dv(self) -> FloatArray:
        """MDV, derived from EVID where it is not given: 1 unless EVID is 0."""
        derived = np.where(self["EVID"].values == 0, 0.0, 1.0)
        given = np.where(self["MDV"].missing, derived, self["MDV"].values)
        return np.where(derived == 1, 1.0, given)

    @property
    def is_observation(self) -> BoolArray:
        """Records whose DV is to be explained: EVID 0 and MDV 0."""
        return np.asarray((self["EVID"].values == 0) & (self.missing_dv == 0))

    @property
    def is_censored(self) -> BoolArray:
        """Observations below the limit of quantification."""
        return np.asarray(self.is_observation & (self["CENS"].values == 1))

    @property
    def is_above(self) -> BoolArray:
        """Observations above the upper limit of quantification."""
        return np.asarray(self.is_observation & (self["CENS"].values == -1))

    def subjects(self) -> Mapping[str, npt.NDArray[np.int64]]:
        """Positions of each subject's records, subjects in order of appearance."""
        return self.places

    def flag(
        self,
        where: BoolArray,
        column: str,
        finding: str,
        *,
        remedy: str,
        severity: Severity = "error",
    ) -> None:
        """Report every record of `where`; ``{value}`` in the finding is the cell's text."""
        for at in np.flatnonzero(where).tolist():
            self.report(at, column, finding, remedy=remedy, severity=severity)

    def report(
        self,
        at: int,
        column: str,
        finding: str,
        *,
        remedy: str,
        severity: Severity = "error",
    ) -> None:
        """Report one record; ``{value}`` in the finding is the cell's text."""
        cells = self[column]
        alias = "" if cells.label.upper() == column.upper() else f" (the table's {cells.label})"
        said = finding.replace("{value}", cells.text[at] or "missing")
        self.problems.add(
            Problem(
                f"{column}{alias} {said}",
                severity,
                self.rows[at],
                self.ids[at] or None,
                column,
                remedy,
            )
        )

    def reject(self, where: BoolArray, column: str, finding: str, *, remedy: str) -> None:
        """Report these cells as errors and take them as unreadable in every later check."""
        self.flag(where, column, finding, remedy=remedy)
        self[column].bad[where] = True
        self[column].values[where] = np.nan


def parse_records(table: TextTable, located: Located, units: Units) -> Records:
    """Turn text into numbers column by column; unreadable cells are reported, never guessed."""
    ids = _subject_ids(table, located)
    names = [*(name for name in COLUMNS if name != "ID"), *(name for name, _ in units.covariates)]
    columns = {name: _column(name, table, located) for name in names}
    columns["ID"] = _id_column(ids, table, located)
    records = Records(ids, table.rows, _blocks(ids), _places(ids), columns, units, table.problems)
    for name in names:
        _report_unreadable(records, records[name], table.decimal)
    return records


def _subject_ids(table: TextTable, located: Located) -> tuple[str, ...]:
    """IDs as text; 1 and 1.0 are the same subject when every ID is a whole number."""
    if "ID" not in located.positions:
        return ("",) * len(table.rows)
    texts = ["" if text in MISSING else text for text in table.column(located.positions["ID"])]
    # Leading zeros are part of an identifier, so 007 is not a whole number here.
    if all(_INTEGER_ID.fullmatch(text) for text in set(texts) if text):
        texts = [text.partition(".")[0] for text in texts]
    return tuple(texts)


def _id_column(ids: Sequence[str], table: TextTable, located: Located) -> Column:
    given = "ID" in located.positions
    blank = np.array([not text for text in ids], dtype=bool)
    values = np.full(len(ids), np.nan)
    missing, bad = (blank, ~blank & False) if given else (blank & False, blank)
    return Column("ID", located.labels.get("ID", "ID"), tuple(ids), values, missing, bad, given)


def _blocks(ids: Sequence[str]) -> npt.NDArray[np.int64]:
    block = np.zeros(len(ids), dtype=np.int64)
    last, number = None, -1
    for at, subject in enumerate(ids):
        if subject and subject != last:
            last, number = subject, number + 1
        block[at] = max(number, 0)
    return block


def _places(ids: Sequence[str]) -> dict[str, npt.NDArray[np.int64]]:
    codes, subjects = pd.factorize(np.array(ids, dtype=object))
    order = np.argsort(codes, kind="stable").astype(np.int64)
    ends = np.cumsum(np.bincount(codes, minlength=len(subjects)))
    parts = np.split(order, ends[:-1])
    return {subject: part for subject, part in zip(subjects, parts, strict=True) if subject}


def _column(name: str, table: TextTable, located: Located) -> Column:
    size = len(table.rows)
    if name not in located.positions:
        # An absent required column has been reported; marking its cells as bad keeps every
        # other check from reporting it again.
        absent_is_error = name not in COLUMNS or COLUMNS[name].required
        bad = np.full(size, absent_is_error)
        return Column(name, name, ("",) * size, np.full(size, np.nan), ~bad, bad, given=False)
    text = table.column(located.positions[name])
    # Most columns hold few distinct cells: each is read once.
    numbers = {cell: _number(cell, table.decimal) for cell in set(text)}
    values = np.fromiter(map(numbers.__getitem__, text), np.float64, size)
    missing = np.zeros(size, dtype=bool)
    for at in np.flatnonzero(np.isnan(values)).tolist():
        missing[at] = text[at] in MISSING
    bad = ~missing & np.isnan(values)
    return Column(name, located.labels[name], text, values, missing, bad)


def _number(text: str, decimal: str) -> float:
    """The number a cell holds, infinite ones included; NaN when it holds none."""
    if decimal == ",":
        # A point may stand for thousands, or for another habit: it is not guessed.
        text = "" if _POINTED.fullmatch(text) else text.replace(",", ".", 1)
    if _NUMBER.fullmatch(text) or _INFINITE.fullmatch(text):
        return float(text)
    return float("nan")


def _report_unreadable(records: Records, column: Column, decimal: str) -> None:
    """Name every cell that is no number, with the remedy its look suggests."""
    if not column.given:
        return
    infinite = column.usable & ~np.isfinite(column.values)
    if not (column.bad.any() or infinite.any()):
        return
    name = column.name
    remedies = {
        "point": "The decimal mark was said to be a comma: write it throughout.",
        "date": f"Give the elapsed time in {records.units.time} as a number, not a date or a "
        "time of day; or name the columns of dates, as Dates('DATE', 'CLOCK') (--date, --clock)."
        if name == "TIME"
        else "A spreadsheet makes dates of numbers such as 1.5 or 3-4: correct the cell there, as "
        "text, and export the table again.",
        "thousands": "Write numbers without separators of thousands: "
        f"{'1234,5' if decimal == ',' else '1234.5'}.",
        "comma": "Write decimal points, not decimal commas; or say so, as "
        "Layout(separator=';', decimal=','). If the comma separates thousands, leave it out.",
        "above": "Mark a value above the upper limit of quantification with CENS -1 and write the "
        "limit into ULOQ.",
        "limit": "Mark a value below the limit of quantification with CENS 1 and write the "
        "limit into LLOQ.",
        "spreadsheet": "A formula of the spreadsheet failed: correct it there, and export again.",
    }
    other = "Write a number; a missing value is an empty cell, '.' or NA."
    if name in records.covariates:
        other += " Code categories as numbers."
    left = column.bad.copy()
    for look, pattern in _LOOKS.items():
        here = np.zeros_like(left)
        for at in np.flatnonzero(left).tolist():
            here[at] = pattern.fullmatch(column.text[at]) is not None
        records.flag(here, name, "is '{value}', which is not a number.", remedy=remedies[look])
        left &= ~here
    records.flag(left, name, "is '{value}', which is not a number.", remedy=other)
    records.reject(infinite, name, "is {value}, which is not finite.", remedy=other)

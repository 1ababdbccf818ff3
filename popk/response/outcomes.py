"""The table of outcomes: read and checked, every problem of it at once."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from popk.dataset import Layout
from popk.dataset.source import MISSING, TextTable, read_text
from popk.errors import SettingError
from popk.response.kinds import Counts, Ordinal, Outcome, TimeToEvent
from popk.units import UnitError, seconds_in

__all__ = ["Outcomes", "read_outcomes"]

type Floats = NDArray[np.float64]

_YEAR = 31_557_600.0  # s
_TIMES = ("s", "min", "h", "d", "wk", "mo", "a")


@dataclass(frozen=True, eq=False)
class Outcomes:
    """Outcomes of patients, row by row, times in years.

    Parameters
    ----------
    outcome
        What they are.
    subjects
        ID of each row with an outcome.
    columns
        ``value`` (row); ``at_risk`` in years (1 where rows are not by time); of a time to an event
        ``event`` and ``entry``.
    adjust
        Values (row) of each covariate that is adjusted for, in its own unit.
    missing
        ID of each row without an outcome; not used.
    levels
        Of an ordinal outcome, the values of its levels; ``value`` has their positions.
    fingerprint
        SHA-256 of all of it.
    """

    outcome: Outcome
    subjects: tuple[str, ...]
    columns: Mapping[str, Floats]
    adjust: Mapping[str, Floats]
    missing: tuple[str, ...]
    levels: tuple[float, ...]
    fingerprint: str

    def __len__(self) -> int:
        return len(self.subjects)

    @property
    def about_missing(self) -> str:
        """What becomes of rows without an outcome, in words; empty where there are none."""
        if not self.missing:
            return ""
        n, people = len(self.missing), len(set(self.missing))
        return (
            f"{n} row{'s' * (n > 1)} of {people} patient{'s' * (people > 1)} without an outcome "
            "left out, nothing put in their place: right where, given exposure, the covariates "
            "adjusted for and the patient's other outcomes, being missing does not hang on the "
            "value that was missed."
        )


def read_outcomes(
    source: str | os.PathLike[str] | Any,
    outcome: Outcome,
    *,
    time: str | None = None,
    adjust: Sequence[str] = (),
    columns: Mapping[str, str] | None = None,
    layout: Layout | None = None,
) -> Outcomes:
    """Read a table of outcomes: one row for each patient and interval, scan or visit.

    Parameters
    ----------
    source
        File (as `popk.read_dataset` reads them) or data frame with the columns ID and, of counts,
        COUNT with START and END or AT_RISK (nothing of these with ``per="row"``); of presence,
        PRESENT (0 or 1); of an ordinal outcome, LEVEL; of a time to an event, TIME, EVENT (1, or 0
        where the follow-up ended without) and, if given, ENTRY. An empty cell or ``.`` in the
        outcome's column means that it was not seen (a scan missed).
    outcome
        What it is: `Counts`, `Presence`, `Ordinal` or `TimeToEvent`.
    time
        Unit of the times: ``"d"``, ``"wk"``, ``"mo"``, ``"a"`` …
    adjust
        Columns of covariates to adjust for: numbers, none missing.
    columns
        The table's name of a column, by popk's: ``{"COUNT": "RELAPSES"}``.
    layout
        How a file is written.

    Raises
    ------
    DataError
        With everything that is wrong in the table.
    SettingError, UnitError
        When the outcome is none, or the unit of time is missing or unknown.
    """
    if not isinstance(outcome, Outcome):
        raise SettingError(f"The outcome is {outcome!r}; give one such as popk.response.Counts().")
    table = read_text(source, layout)
    problems = table.problems
    needed = [outcome.value, *adjust]
    has_event = isinstance(outcome, TimeToEvent)
    needed += ["EVENT"] if has_event else []
    names = dict(columns or {})
    found = _located(table, ("ID", *needed), ("START", "END", "AT_RISK", "ENTRY"), names)
    problems.raise_if_errors()
    by_time = has_event or (isinstance(outcome, Counts) and outcome.per == "year")
    scale = _years(time) if by_time else 1.0
    ids = table.column(found["ID"])
    for row, identifier in zip(table.rows, ids, strict=True):
        if identifier in MISSING:
            problems.error("The ID is missing.", "Give every row one.", row=row, column="ID")
    numbers = {
        name: _numbers(table, found[name], name, ids, may_lack=name == outcome.value)
        for name in found
        if name != "ID"
    }
    seen = ~np.isnan(numbers[outcome.value])
    _check(table, ids, outcome.value, numbers[outcome.value], outcome.fault)
    values = {"value": numbers[outcome.value] * (scale if has_event else 1.0)}
    values["at_risk"] = np.ones(len(ids))
    if by_time and not has_event:
        values["at_risk"] = scale * _at_risk(table, ids, numbers)
    if has_event:
        _check(
            table, ids, "EVENT", numbers["EVENT"], lambda v: "" if v in (0, 1) else "it is 0 or 1"
        )
        values["event"] = numbers["EVENT"]
        values["entry"] = scale * numbers.get("ENTRY", np.zeros(len(ids)))
        _check_first(table, ids, values)
    if not problems.errors and not seen.any():
        problems.error("No row has an outcome.", "Check the column's name.", column=outcome.value)
    problems.raise_if_errors()
    return _made(outcome, ids, seen, values, {name: numbers[name] for name in adjust})


def _made(
    outcome: Outcome,
    ids: Sequence[str],
    seen: NDArray[np.bool_],
    values: Mapping[str, Floats],
    adjust: Mapping[str, Floats],
) -> Outcomes:
    """Outcomes of the rows that have one."""
    kept = {name: column[seen] for name, column in values.items()}
    levels: tuple[float, ...] = ()
    if isinstance(outcome, Ordinal):
        there, place = np.unique(kept["value"], return_inverse=True)
        if len(there) < 2:
            raise SettingError(
                f"Every LEVEL is {there[0]:g}: an ordinal outcome needs two levels or more."
            )
        kept["value"], levels = place.astype(float), tuple(there.tolist())
    subjects = tuple(name for name, own in zip(ids, seen, strict=True) if own)
    missing = tuple(name for name, own in zip(ids, seen, strict=True) if not own)
    used = {name: column[seen] for name, column in adjust.items()}
    digest = hashlib.sha256(repr((outcome, subjects, missing, levels)).encode())
    for name, column in sorted({**kept, **used}.items()):
        digest.update(name.encode() + np.asarray(column + 0.0, dtype="<f8").tobytes())
    return Outcomes(outcome, subjects, kept, used, missing, levels, digest.hexdigest())


def _years(time: str | None) -> float:
    """Years in the unit of time."""
    if time is None:
        raise UnitError(
            f"The unit of the times is not given; say it, as time='d' ({', '.join(_TIMES)})."
        )
    try:
        return seconds_in(time) / _YEAR
    except (KeyError, UnitError):
        raise UnitError(
            f"The unit of the times is {time!r}; known are {', '.join(_TIMES)}."
        ) from None


def _located(
    table: TextTable, needed: Sequence[str], others: Sequence[str], names: Mapping[str, str]
) -> dict[str, int]:
    """Position of each column."""
    unknown = [name for name in names if name not in (*needed, *others)]
    for name in unknown:
        table.problems.error(
            f"columns names {name}, which is no column here.",
            f"These are {', '.join((*needed, *others))}.",
        )
    header, found = [name.upper() for name in table.header], {}
    for name in (*needed, *others):
        wanted = names.get(name, name).upper()
        if header.count(wanted) == 1:
            found[name] = header.index(wanted)
        elif header.count(wanted) > 1:
            table.problems.error(
                f"The header holds the column {names.get(name, name)} more than once.",
                "Keep one of them.",
                column=name,
            )
        elif name in needed:
            table.problems.error(
                f"There is no column {names.get(name, name)}; the table has "
                f"{', '.join(table.header)}.",
                f"Add it, or say its name, as columns={{'{name}': '...'}}.",
                column=name,
            )
    return found


def _numbers(
    table: TextTable, position: int, name: str, ids: Sequence[str], *, may_lack: bool
) -> Floats:
    """A column as numbers, NaN where a cell is empty."""
    found = np.full(len(ids), np.nan)
    for k, (cell, row) in enumerate(zip(table.column(position), table.rows, strict=True)):
        if cell in MISSING:
            if not may_lack:
                table.problems.error(
                    f"{name} is missing.", "Give it a number, or leave the row or the column out.",
                    row=row, id=ids[k], column=name,
                )  # fmt: skip
            continue
        text = cell.replace(",", ".") if table.decimal == "," else cell
        try:
            found[k] = float(text)
        except ValueError:
            found[k] = np.inf
        if not np.isfinite(found[k]):
            table.problems.error(
                f"{name} is {cell!r}, which is no number.", "Correct the cell, or leave it empty.",
                row=row, id=ids[k], column=name,
            )  # fmt: skip
            found[k] = np.nan
    return found


def _check(table: TextTable, ids: Sequence[str], name: str, values: Floats, fault: Any) -> None:
    """Refuse each value with a fault."""
    for k, value in enumerate(values.tolist()):
        if not np.isnan(value) and (wrong := fault(value)):
            table.problems.error(
                f"{name} is {value:g}, but {wrong}.", "Correct the cell.",
                row=table.rows[k], id=ids[k], column=name,
            )  # fmt: skip


def _at_risk(table: TextTable, ids: Sequence[str], numbers: Mapping[str, Floats]) -> Floats:
    """Time at risk of each row, in the table's unit."""
    if "AT_RISK" in numbers:
        found, column = numbers["AT_RISK"], "AT_RISK"
    elif "START" in numbers and "END" in numbers:
        found, column = numbers["END"] - numbers["START"], "END"
    else:
        table.problems.error(
            "The time at risk is not given: there is neither AT_RISK nor START and END.",
            "Add it, or take Counts(per='row') for counts that are not by time.",
        )
        return np.ones(len(ids))
    for k, value in enumerate(found.tolist()):
        if not (np.isnan(value) or value > 0):
            table.problems.error(
                f"The time at risk is {value:g}, but it must be above zero.",
                "Correct it, or leave the row out.",
                row=table.rows[k], id=ids[k], column=column,
            )  # fmt: skip
    return np.asarray(found)


def _check_first(table: TextTable, ids: Sequence[str], values: Mapping[str, Floats]) -> None:
    """One row a patient, entered before the end."""
    for k, identifier in enumerate(ids):
        if identifier in ids[:k]:
            table.problems.error(
                "The patient has a second row, but a first event comes once.",
                "Keep one row a patient; for repeated events take Counts.",
                row=table.rows[k], id=identifier, column="ID",
            )  # fmt: skip
        if not 0 <= values["entry"][k] < values["value"][k] and not np.isnan(values["value"][k]):
            table.problems.error(
                "ENTRY does not lie between 0 and TIME.", "Correct it.",
                row=table.rows[k], id=identifier, column="ENTRY",
            )  # fmt: skip

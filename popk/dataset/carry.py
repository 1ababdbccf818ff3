"""Time-varying covariates: how a value known at some records holds between them.

The four rules are those of the field. ``"nonmem"`` is PREDPP's (NONMEM Users Guide, part VI): the
covariate of the record at the end of an interval governs the whole interval.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from popk.dataset.records import BoolArray, FloatArray, Records
from popk.errors import SettingError

__all__ = ["CARRY", "carry_choices", "carry_covariates", "check_carry"]

type Places = npt.NDArray[np.int64]

CARRY: Mapping[str, str] = MappingProxyType(
    {
        "nonmem": "the record at the end of an interval governs it",
        "locf": "the last value holds until the next one",
        "nocb": "the next known value governs backwards",
        "linear": "interpolated between records with known values",
    }
)


def carry_choices() -> str:
    """The four rules with their meaning, as part of a sentence."""
    listed = [f'"{name}" ({meaning})' for name, meaning in CARRY.items()]
    return f"{', '.join(listed[:-1])} or {listed[-1]}"


def check_carry(carry: object) -> None:
    """Refuse anything but None and the four rules.

    Raises
    ------
    SettingError
        With the rules and their meaning.
    """
    if carry is not None and (not isinstance(carry, str) or carry not in CARRY):
        raise SettingError(
            f"carry is {carry!r}; it says how a covariate that changes within a subject holds "
            f"between records: {carry_choices()}; None if no covariate changes."
        )


def carry_covariates(records: Records, carry: str | None) -> dict[str, FloatArray]:
    """Each covariate with a value at every record; blank cells are filled as the rule says.

    Blank cells that no rule fills, and a change without a rule, are reported as errors to
    ``records.problems``; a value taken against the direction of the rule as a warning.
    """
    if carry is None or carry == "nonmem":
        for name in records.covariates:
            _refuse_blank(records, name, carry)
            if carry is None:
                _refuse_change(records, name)
        return {name: records[name].values for name in records.covariates}
    if records["ID"].bad.any() or records["ID"].missing.any():
        return {}  # reported elsewhere; without the subjects nothing can be carried
    if carry == "linear" and not records["TIME"].usable.all():
        return {}
    return {name: _filled(records, name, carry) for name in records.covariates}


def _refuse_blank(records: Records, name: str, carry: str | None) -> None:
    unit = records.units.covariate(name)
    records.flag(
        records[name].missing,
        name,
        "is missing.",
        remedy=f"Every record needs {name} ({unit}) with carry {carry!r}; carry 'locf', 'nocb' or "
        "'linear' takes the value from the subject's other records; missing says what stands in "
        "where nothing is known of a subject.",
    )


def _refuse_change(records: Records, name: str) -> None:
    column, subject = records[name], records["ID"]
    known = np.flatnonzero(column.usable & subject.usable)
    same = np.diff(records.block[known]) == 0
    changes = np.nan_to_num(np.diff(column.values[known])) != 0
    for k in np.flatnonzero(same & changes).tolist():
        before, at = known[k], known[k + 1]
        records.report(
            int(at),
            name,
            f"changes from {column.text[before]} (row {records.rows[before]}) to {{value}} "
            "within the subject, and nothing says how it holds between records.",
            remedy=f"Say it with carry: {carry_choices()}. Or give one value per subject.",
        )


def _filled(records: Records, name: str, carry: str) -> FloatArray:
    column = records[name]
    blank, known = column.missing, column.usable
    subject = records.block
    _refuse_unknown(records, name)
    if not blank.any():
        return column.values
    before, after = _neighbours(known, subject)
    if carry == "linear":
        segment = subject + np.cumsum(_starts_again(records))
        source = _interpolated(records, name, (before, after, segment))
        bent = blank & np.isnan(source)
        source = np.where(bent, _taken(column.values, before, after), source)
    else:
        first, second = (before, after) if carry == "locf" else (after, before)
        source = _taken(column.values, first, second)
        bent = blank & (first < 0)
    bent &= np.isfinite(source)
    side = {"locf": "before the subject's first", "nocb": "after the subject's last"}
    where = side.get(carry, "where TIME starts again without a")
    records.flag(
        bent,
        name,
        f"is missing {where} known value; the nearest known value is used there.",
        remedy="Give the value if it was measured.",
        severity="warning",
    )
    return np.where(blank, source, column.values)


def _refuse_unknown(records: Records, name: str) -> None:
    """A subject that nothing is known of."""
    column = records[name]
    for subject, places in records.subjects().items():
        if column.missing[places].all():
            records.problems.error(
                f"{name} is missing in all records of the subject: there is no value to carry.",
                f"Give {name} ({records.units.covariate(name)}), leave the subject out, or say "
                f'with missing what stands in its place: {{"{name}": "median"}}.',
                row=records.rows[int(places[0])],
                id=subject,
                column=name,
            )


def _neighbours(known: BoolArray, subject: Places) -> tuple[Places, Places]:
    """Position of the last known value up to each record and of the next from it on; -1 if none."""
    size = len(known)
    place = np.arange(size)
    starts = np.searchsorted(subject, subject, side="left")
    ends = np.searchsorted(subject, subject, side="right") - 1
    before = np.maximum.accumulate(np.where(known, place, -1))
    after = np.minimum.accumulate(np.where(known, place, size)[::-1])[::-1]
    return np.where(before >= starts, before, -1), np.where(after <= ends, after, -1)


def _taken(values: FloatArray, first: Places, second: Places) -> FloatArray:
    """The values at `first`, at `second` where that is -1, NaN where both are."""
    chosen = np.where(first >= 0, first, second)
    return np.where(chosen >= 0, values[chosen], np.nan)


def _starts_again(records: Records) -> BoolArray:
    """Records whose TIME lies before that of the subject's previous record (EVID 3 or 4)."""
    time, subject = records["TIME"].values, records.block
    again = np.zeros(len(time), dtype=bool)
    again[1:] = (np.diff(time) < 0) & (np.diff(subject) == 0)
    return again


def _interpolated(
    records: Records, name: str, neighbours: tuple[Places, Places, Places]
) -> FloatArray:
    """Values on the line between the known ones, constant beyond; NaN in a segment without any."""
    before, after, segment = neighbours
    values, time = records[name].values, records["TIME"].values
    before = np.where((before >= 0) & (segment[before] == segment), before, -1)
    after = np.where((after >= 0) & (segment[after] == segment), after, -1)
    span = time[after] - time[before]
    between = (before >= 0) & (after >= 0) & (span > 0)
    share = np.zeros(len(values))
    np.divide(time - time[before], span, out=share, where=between)
    line = values[before] + share * (values[after] - values[before])
    return np.where(between, line, _taken(values, before, after))

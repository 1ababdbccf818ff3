"""The distinct sets of covariates and occasion within each subject, and when each governs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from popk.dataset.records import BoolArray, FloatArray

__all__ = ["ParameterRows", "rows_of"]

type Ints = npt.NDArray[np.int64]

_FEWEST, _MOST = 4, 64  # pieces of an interval over which a covariate changes
_LARGEST_CHANGE = 0.02  # of a covariate's value within one piece


@dataclass(frozen=True, eq=False)
class ParameterRows:
    """Which individual parameters hold when: one row per distinct set of values in a subject.

    Rows are numbered from 0 within each subject, in the order in which they are first used; a
    combination of covariate values and occasion that comes back is the same row again. Row 0 holds
    from the beginning, until the first switch.

    Attributes
    ----------
    first
        (n_subjects + 1): the rows of subject i are ``first[i]`` to ``first[i + 1] - 1``.
    subject
        (n_rows): position of the row's subject in `Dataset.subjects`.
    occasion
        (n_rows): OCC of the row; 1 where the data have no OCC.
    covariates
        (n_rows): one column per covariate, in the covariate's unit; ``.attrs["units"]`` names it.
    record_row
        (n_records): row, within its subject, of each record's own values.
    switch_record
        (n_switches): position of the record before which a switch stands; ascending.
    switch_time
        (n_switches): time from which the new row holds.
    switch_row
        (n_switches): the new row, within its subject.
    """

    first: Ints
    subject: Ints
    occasion: Ints
    covariates: pd.DataFrame
    record_row: Ints
    switch_record: Ints
    switch_time: FloatArray
    switch_row: Ints

    @property
    def n_rows(self) -> int:
        """Number of rows of all subjects together."""
        return len(self.subject)


class _Uses(NamedTuple):
    """Values in the order in which they are used; several may belong to one record.

    ``record`` (n) is the record that a value stands before or belongs to, ``values`` (n, n_columns)
    the covariates and the occasion, ``time`` (n) from when they hold, ``governs`` (n) whether they
    hold for the body (rather than for the record's dose alone), ``own`` (n) whether they are the
    record's own.
    """

    record: Ints
    values: FloatArray
    time: FloatArray
    governs: BoolArray
    own: BoolArray


class _Found(NamedTuple):
    """The rows' values, column by column, their subjects, and which records use them when."""

    columns: list[npt.NDArray[Any]]
    subject: Ints
    record_row: Ints
    switches: tuple[Ints, FloatArray, Ints]


def rows_of(
    columns: Mapping[str, npt.NDArray[Any]],
    covariates: Mapping[str, FloatArray],
    *,
    starts: Ints,
    carry: str | None,
    units: Mapping[str, str],
) -> ParameterRows:
    """Parameter rows of records; see `popk.dataset.Dataset.parameter_rows`.

    Parameters
    ----------
    columns
        TIME and EVID, and OCC if occasions count, (n_records) each.
    covariates
        The covariates, (n_records) each; NaN in all records of a subject where it is not known.
    starts
        Position of each subject's first record, (n_subjects).
    carry
        One of `popk.dataset.carry.CARRY`, or None if no covariate changes.
    units
        Unit of each covariate.
    """
    size = len(columns["TIME"])
    occasion = columns.get("OCC", np.ones(size, dtype=np.int64))
    # NaN throughout a subject: one value that is not known.
    blank = {name: np.isnan(column[starts]) for name, column in covariates.items()}
    stacked = [*map(np.nan_to_num, covariates.values()), occasion]
    changed = np.zeros(size, dtype=bool)
    for column in stacked:
        changed[1:] |= column[1:] != column[:-1]
    changed[starts] = False
    subject = np.zeros(size, dtype=np.int64)
    subject[starts[1:]] = 1
    subject = np.cumsum(subject)
    if changed.any():
        values = np.column_stack([column.astype(np.float64) for column in stacked])
        found = _varying(_uses(columns, values, changed, carry), subject)
    else:
        found = _constant(stacked, starts, subject)
    frame = pd.DataFrame(dict(zip(covariates, found.columns, strict=False)))
    frame = frame.reindex(pd.RangeIndex(len(found.subject)))
    for name, absent in blank.items():
        frame.loc[absent[found.subject], name] = np.nan
    frame.attrs["units"] = dict(units)
    return ParameterRows(
        np.searchsorted(found.subject, np.arange(len(starts) + 1)).astype(np.int64),
        found.subject,
        found.columns[-1].astype(np.int64),
        frame,
        found.record_row,
        *found.switches,
    )


def _constant(stacked: list[npt.NDArray[Any]], starts: Ints, subject: Ints) -> _Found:
    """One row per subject."""
    none = np.zeros(0, dtype=np.int64)
    return _Found(
        [column[starts] for column in stacked],
        np.arange(len(starts), dtype=np.int64),
        np.zeros(len(subject), dtype=np.int64),
        (none, np.zeros(0), none),
    )


def _uses(
    columns: Mapping[str, npt.NDArray[Any]],
    values: FloatArray,
    changed: BoolArray,
    carry: str | None,
) -> _Uses:
    """The values in the order in which the rule has them govern."""
    time = columns["TIME"].astype(np.float64)
    before = np.concatenate([time[:1], time[:-1]])
    if carry == "linear":
        return _pieces(values, (time, before), changed, np.isin(columns["EVID"], (0, 2)))
    # Where TIME starts again, the old row has nothing left to govern: it may end at once.
    since = np.maximum(time, before) if carry == "locf" else before
    always = np.ones(len(time), dtype=bool)
    return _Uses(np.arange(len(time), dtype=np.int64), values, since, always, always)


def _pieces(
    values: FloatArray, times: tuple[FloatArray, FloatArray], changed: BoolArray, reads: BoolArray
) -> _Uses:
    """Each interval's values at the middle of its pieces, then the record's own.

    The own values of a record govern from its time on if outputs are read there (`reads`): with
    those of the last piece, a volume would be half a piece late, a first-order error.
    """
    time, before = times
    covariates = values[:, :-1]
    old = np.vstack([covariates[:1], covariates[:-1]])
    moves = changed & (time > before) & (covariates != old).any(axis=1)
    # Where nothing moves over time, the record's own values govern the interval that it ends.
    pieces = np.where(moves, _n_pieces(covariates, old), 1)
    at = np.repeat(np.arange(len(time)), pieces)
    place = np.arange(len(at)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    middle = ((place + 0.5) / pieces[at])[:, None]
    between = values[at]
    inside = old[at] + middle * (covariates[at] - old[at])
    between[:, :-1] = np.where(moves[at][:, None], inside, covariates[at])
    start = before[at] + place / pieces[at] * (time[at] - before[at])
    ends = np.flatnonzero(moves)
    uses = _Uses(
        np.concatenate([at, ends]).astype(np.int64),
        np.vstack([between, values[ends]]),
        np.concatenate([start, time[ends]]),
        np.concatenate([np.ones(len(at), dtype=bool), reads[ends]]),
        np.concatenate([~moves[at], np.ones(len(ends), dtype=bool)]),
    )
    order = np.argsort(uses.record, kind="stable")
    return _Uses._make(column[order] for column in uses)


def _n_pieces(new: FloatArray, old: FloatArray) -> Ints:
    """Pieces of each interval, so that none changes a covariate by more than its share."""
    smallest = np.where(new * old > 0, np.minimum(np.abs(new), np.abs(old)), 0.0)
    share = np.full(new.shape, np.inf)
    np.divide(np.abs(new - old), smallest, out=share, where=smallest > 0)
    share[new == old] = 0.0
    # Rounding must not add a piece where the change is a whole number of shares.
    needed = np.ceil(share.max(axis=1, initial=0.0) / _LARGEST_CHANGE - 1e-9)
    return np.clip(needed, _FEWEST, _MOST).astype(np.int64)


def _varying(uses: _Uses, subject: Ints) -> _Found:
    """Number the distinct values of each subject by their first use, and find the switches."""
    who = subject[uses.record]
    values = uses.values + 0.0  # one zero
    new = np.ones(len(who), dtype=bool)
    new[1:] = (who[1:] != who[:-1]) | (values[1:] != values[:-1]).any(axis=1)
    run = np.cumsum(new) - 1
    heads = np.flatnonzero(new)
    keys = [*values[heads].T, who[heads]]
    order = np.lexsort(keys)  # stable: of equals, the first used stands first
    distinct = np.ones(len(order), dtype=bool)
    distinct[1:] = np.any([key[order][1:] != key[order][:-1] for key in keys], axis=0)
    first_use = heads[order[distinct]]
    rank = np.argsort(np.argsort(first_use))
    row = np.empty(len(order), dtype=np.int64)
    row[order] = rank[np.cumsum(distinct) - 1]
    source = np.sort(first_use)
    local = row[run] - np.searchsorted(who[source], who)
    record_row = np.zeros(len(subject), dtype=np.int64)
    record_row[uses.record[uses.own]] = local[uses.own]
    governing = np.flatnonzero(uses.governs)
    held, holder = local[governing], who[governing]
    switch = np.zeros(len(governing), dtype=bool)
    switch[1:] = (held[1:] != held[:-1]) & (holder[1:] == holder[:-1])
    at = governing[switch]
    return _Found(
        list(values[source].T),
        who[source],
        record_row,
        (uses.record[at], uses.time[at], local[at]),
    )

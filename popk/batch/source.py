"""A table of any number of patients, read patient by patient: never more than a chunk is held."""

from __future__ import annotations

import csv
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from popk.dataset import Problems
from popk.dataset.columns import locate
from popk.dataset.source import MISSING, check_delimiter, read_text
from popk.units import Units

__all__ = ["Chunk", "Overview", "Records", "Source"]

# 1 and 1.0 are one subject; leading zeros are part of an ID.
_WHOLE = re.compile(r"(?:0|[1-9]\d*)\.0*", re.ASCII)
_MOST_SCATTERED = 1000
_ROWS_AT_ONCE = 20_000
_MAGIC = b"PAR1"


@dataclass(frozen=True)
class Records:
    """The records of one patient as text.

    ``rows`` are their places in the source; ``faults`` (row, sentence) what keeps them from being
    read at all.
    """

    id: str
    rows: tuple[int, ...]
    cells: tuple[tuple[str, ...], ...]
    faults: tuple[tuple[int, str], ...] = ()

    @property
    def last_row(self) -> int:
        """The last row that is the patient's."""
        return max((*self.rows, *(row for row, _ in self.faults)))

    @property
    def first_row(self) -> int:
        """The first row that is the patient's."""
        return min((*self.rows, *(row for row, _ in self.faults)))


@dataclass(frozen=True)
class Chunk:
    """Some patients that stand one after the other in the source, counted from 0."""

    number: int
    header: tuple[str, ...]
    patients: tuple[Records, ...]

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the records and their places."""
        content = [(p.id, p.rows, p.cells, p.faults) for p in self.patients]
        text = json.dumps([self.header, content], ensure_ascii=False)
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True)
class Overview:
    """What one reading of the whole source tells.

    ``scattered`` says of each ID whose records do not stand together where they stand; ``sizes``
    and ``digests`` are those of each chunk.
    """

    rows: int
    scattered: Mapping[str, str]
    sizes: tuple[int, ...]
    digests: tuple[str, ...]

    @property
    def patients(self) -> int:
        """How many runs of records of one patient there are."""
        return sum(self.sizes)


@dataclass(frozen=True)
class Source:
    """A CSV or Parquet file with NONMEM column names, the records of each patient together.

    Parameters
    ----------
    path
        The file; Parquet is known by its content.
    units, columns
        As in `popk.read_dataset`.
    """

    path: Path
    units: Units
    columns: Mapping[str, str]

    @cached_property
    def is_parquet(self) -> bool:
        """Whether it is a Parquet file."""
        with self.path.open("rb") as file:
            return file.read(len(_MAGIC)) == _MAGIC

    @property
    def row_note(self) -> str:
        """How rows are counted."""
        if self.is_parquet:
            return "Rows are counted from 1, without the header."
        return "Rows are lines of the file: the header is row 1."

    @cached_property
    def header(self) -> tuple[str, ...]:
        """Names of the columns.

        Raises
        ------
        DataError
            When the file cannot be read as a table.
        """
        if self.is_parquet:
            return tuple(_parquet(self.path, self._problems()).schema_arrow.names)
        return next(self._lines())[1]

    @cached_property
    def id_column(self) -> int:
        """Place of ID in the header.

        Raises
        ------
        DataError
            When the header lacks a column.
        """
        problems = self._problems()
        located = locate(self.header, self.units, problems, columns=self.columns)
        problems.raise_if_errors()
        return located.positions["ID"]

    def chunks(self, size: int) -> Iterator[Chunk]:
        """The patients in order, ``size`` at a time."""
        held: list[Records] = []
        number = 0
        for patient in self._patients():
            held.append(patient)
            if len(held) == size:
                yield Chunk(number, self.header, tuple(held))
                held, number = [], number + 1
        if held:
            yield Chunk(number, self.header, tuple(held))

    def overview(self, size: int) -> Overview:
        """Read all of it once, in chunks of ``size`` patients.

        Eight bytes are kept of each patient.

        Raises
        ------
        DataError
            When it cannot be read, holds no records, or is not sorted by patient at all.
        """
        seen, again = _Seen(), set[str]()
        sizes, digests, rows = [], [], 0
        for chunk in self.chunks(size):
            sizes.append(len(chunk.patients))
            digests.append(chunk.digest)
            rows += sum(len(one.rows) + len(one.faults) for one in chunk.patients)
            again |= seen.repeated([one.id for one in chunk.patients if one.id])
            if len(again) > _MOST_SCATTERED:
                self._refuse(
                    f"The records of more than {_MOST_SCATTERED} subjects do not stand together "
                    f"(the first: ID {min(again)}).",
                    "Sort the table by ID (and TIME), then try again.",
                )
        if not rows:
            self._refuse("The file holds a header but no records.", "Export it with its records.")
        scattered = self._places(again) if again else {}
        return Overview(rows, scattered, tuple(sizes), tuple(digests))

    def _places(self, ids: set[str]) -> dict[str, str]:
        """Where the records of these IDs stand, of those that really stand apart."""
        found: dict[str, list[str]] = {}
        for patient in self._patients():
            if patient.id in ids:
                ends = f"{patient.first_row}\N{EN DASH}{patient.last_row}"
                alone = patient.first_row == patient.last_row
                found.setdefault(patient.id, []).append(ends.partition("–")[0] if alone else ends)
        return {name: " and ".join(rows) for name, rows in found.items() if len(rows) > 1}

    def _patients(self) -> Iterator[Records]:
        name = None
        rows: list[int] = []
        cells: list[tuple[str, ...]] = []
        faults: list[tuple[int, str]] = []
        for row, record, malformed in self._records():
            own, fault = self._id(record), malformed
            # A record without an ID belongs to those before it: they may lack it.
            if name is not None and own not in (name, ""):
                yield Records(name, tuple(rows), tuple(cells), tuple(faults))
                name, rows, cells, faults = own, [], [], []
            name = name or own
            if not own:
                fault = fault or (
                    "ID is missing. Every record needs the ID of its subject; this one may belong "
                    "to the subject before it."
                )
            if fault:
                faults.append((row, fault))
            else:
                own_cells = list(record)
                own_cells[self.id_column] = own
                rows.append(row)
                cells.append(tuple(own_cells))
        if name is not None:
            yield Records(name, tuple(rows), tuple(cells), tuple(faults))

    def _id(self, record: tuple[str, ...]) -> str:
        text = record[self.id_column] if len(record) > self.id_column else ""
        if text in MISSING:
            return ""
        return text.partition(".")[0] if _WHOLE.fullmatch(text) else text

    def _records(self) -> Iterator[tuple[int, tuple[str, ...], str]]:
        """Row, cells, and what is wrong with them as a record of the table."""
        if self.is_parquet:
            yield from self._batches()
            return
        lines = self._lines()
        width = len(next(lines)[1])
        for row, cells in lines:
            fault = ""
            # Blank cells too many may be those that a decimal comma moved.
            if len(cells) != width:
                fault = (
                    f"The row has {len(cells)} cells where the header has {width} columns. Check "
                    "for a decimal comma, which splits a number into two cells, and for missing or "
                    "additional commas."
                )
            yield row, cells, fault

    def _lines(self) -> Iterator[tuple[int, tuple[str, ...]]]:
        """Line number and stripped cells of the header, then of each record."""
        before, first = 0, True
        try:
            with self.path.open(encoding="utf-8-sig", newline="") as file:
                reader = csv.reader(file, strict=True, skipinitialspace=True)
                for record in reader:
                    row, before = before + 1, reader.line_num
                    cells = tuple(cell.strip() for cell in record)
                    if not any(cells):
                        continue
                    if first:
                        first = False
                        problems = self._problems()
                        check_delimiter(",".join(cells), problems)
                    yield row, cells
        except UnicodeDecodeError:
            self._refuse(
                f"The file is not UTF-8 text after row {before}.", "Save it as 'CSV UTF-8'."
            )
        except csv.Error as fault:
            self._refuse(
                f"The file is not valid CSV after row {before}: {fault}.",
                "Look for a quotation mark that is not closed.",
            )
        if first:
            self._refuse("The file is empty.", "Export the table again, with its header.")

    def _batches(self) -> Iterator[tuple[int, tuple[str, ...], str]]:
        import pyarrow as pa

        done = 0
        with _parquet(self.path, self._problems()) as file:
            for batch in file.iter_batches(batch_size=_ROWS_AT_ONCE, use_threads=False):
                if not batch.num_rows:
                    continue
                text = read_text(pa.Table.from_batches([batch]))
                for row, cells in zip(text.rows, text.cells, strict=True):
                    yield done + row, cells, ""
                done += batch.num_rows

    def _problems(self) -> Problems:
        return Problems(self.path.name, row_note=self.row_note)

    def _refuse(self, message: str, remedy: str) -> None:
        problems = self._problems()
        problems.error(message, remedy)
        problems.raise_if_errors()


class _Seen:
    """Which IDs there were: eight bytes of each, in sorted arrays that double in length."""

    def __init__(self) -> None:
        self._sorted: list[NDArray[np.uint64]] = []

    def repeated(self, ids: list[str]) -> set[str]:
        """Those of ``ids`` that were there before, or more than once among them; all are kept."""
        keys = np.array([_key(one) for one in ids], dtype=np.uint64)
        known = np.zeros(len(keys), dtype=bool)
        for held in self._sorted:
            at = np.minimum(np.searchsorted(held, keys), len(held) - 1)
            known |= held[at] == keys
        _, first = np.unique(keys, return_index=True)
        twice = np.ones(len(keys), dtype=bool)
        twice[first] = False
        new = np.sort(keys[~known & ~twice])
        while self._sorted and len(self._sorted[-1]) <= 2 * len(new):
            new = np.sort(np.concatenate([new, self._sorted.pop()]))
        if len(new):
            self._sorted.append(new)
        return {one for one, is_known in zip(ids, known | twice, strict=True) if is_known}


def _key(text: str) -> int:
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def _parquet(path: Path, problems: Problems) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(path)
    except (pa.ArrowInvalid, OSError) as fault:
        problems.error(
            f"The file cannot be read as Parquet: {fault}.", "Write it again, or give a CSV file."
        )
        problems.raise_if_errors()
        raise

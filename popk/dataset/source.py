"""Tables as text: a CSV file or a data frame becomes a header and rows of stripped cells."""

from __future__ import annotations

import csv
import io
import numbers
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import narwhals as nw
import pandas as pd
from narwhals.exceptions import DuplicateError

from popk.dataset.problems import Problems

__all__ = ["MISSING", "TextTable", "check_delimiter", "read_text"]

MISSING = frozenset({"", ".", "NA", "NaN", "nan"})

_FILE_NOTE = "Rows are lines of the file: the header is row 1."
_FRAME_NOTE = "Rows are counted from 1, without the header."


@dataclass(frozen=True, slots=True)
class TextTable:
    """A header and its rows as stripped text; `rows[i]` is the row number of `cells[i]`."""

    header: tuple[str, ...]
    cells: tuple[tuple[str, ...], ...]
    rows: tuple[int, ...]
    problems: Problems

    def column(self, position: int) -> tuple[str, ...]:
        """One column's cells."""
        return tuple(record[position] for record in self.cells)


def read_text(source: object) -> TextTable:
    """Read a CSV file or any eager data frame that narwhals knows.

    Raises
    ------
    DataError
        When nothing tabular can be read; otherwise the table carries the problems found.
    TypeError
        When `source` is neither a path nor a data frame.
    """
    if isinstance(source, str | os.PathLike):
        return _from_file(Path(source))
    return _from_frame(source)


def _from_file(path: Path) -> TextTable:
    problems = Problems(path.name or str(path), row_note=_FILE_NOTE)
    text = _decoded(path, problems)
    lines = text.splitlines()
    if not any(line.strip(" ,;\t") for line in lines):
        problems.error("The file is empty.", "Export the table again, with its header.")
        problems.raise_if_errors()
    check_delimiter(next(line for line in lines if line.strip()), problems)
    header, cells, rows = _parsed(text, problems)
    if not cells and not problems.errors:
        problems.error(
            "The file holds a header but no records.", "Export the table with its records."
        )
    problems.raise_if_errors()
    return TextTable(header, cells, rows, problems)


def _decoded(path: Path, problems: Problems) -> str:
    text = ""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        problems.error(
            f"There is no file {path}.", "Check the spelling and the folder it is looked up from."
        )
    except IsADirectoryError:
        problems.error(f"{path} is a folder.", "Name one CSV file in it.")
    except UnicodeDecodeError as error:
        problems.error(
            f"The file is not UTF-8 text (byte {error.start + 1} cannot be read as such).",
            "Save it as 'CSV UTF-8'; spreadsheets (.xlsx) and other binary files need "
            "exporting to CSV first.",
        )
    except OSError as error:
        problems.error(f"The file cannot be opened: {error.strerror}.", "Check its permissions.")
    if "\x00" in text:
        problems.error("The file is not text.", "Export it to CSV first.")
    problems.raise_if_errors()
    return text


def check_delimiter(header: str, problems: Problems) -> None:
    """A table separated by anything but commas gets one sentence instead of a hundred."""
    if "," in header:
        return
    for mark, word in (
        (";", "semicolons"),
        ("\t", "tabs"),
        ("|", "vertical bars"),
        (" ", "blanks"),
    ):
        if len(header.strip().split(mark)) > 1:
            problems.error(
                f"The columns are separated by {word} (delimiter {mark!r}); popk reads comma as "
                "the delimiter and a point as the decimal mark.",
                "Save the table as comma-separated CSV with decimal points.",
            )
            problems.raise_if_errors()


def _parsed(
    text: str, problems: Problems
) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...], tuple[int, ...]]:
    """Header, cells and line numbers; blank lines are passed over."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, skipinitialspace=True)
    header: tuple[str, ...] = ()
    cells: list[tuple[str, ...]] = []
    rows: list[int] = []
    before = 0
    try:
        for record in reader:
            # A quoted cell may run over several lines; a record is named by its first.
            row, before = before + 1, reader.line_num
            stripped = tuple(cell.strip() for cell in record)
            if not any(stripped):
                continue
            if not header:
                header = stripped
            elif _fits(stripped, header, row, problems):
                cells.append(stripped[: len(header)])
                rows.append(row)
    except csv.Error as error:
        problems.error(
            f"The file is not valid CSV: {error}.",
            "Look for a quotation mark that is not closed.",
            row=before + 1,
        )
    return header, tuple(cells), tuple(rows)


def _fits(record: Sequence[str], header: Sequence[str], row: int, problems: Problems) -> bool:
    if len(record) >= len(header) and not any(record[len(header) :]):
        return True
    problems.error(
        f"The row has {len(record)} cells where the header has {len(header)} columns.",
        "Check for a decimal comma, which splits a number into two cells, and for missing or "
        "additional commas.",
        row=row,
    )
    return False


def _from_frame(source: object) -> TextTable:
    problems = Problems("The data frame", row_note=_FRAME_NOTE)
    try:
        frame: Any = nw.from_native(source, eager_only=True, pass_through=True)
    except DuplicateError:
        names = [str(name) for name in getattr(source, "columns", ())]
        twice = sorted({name for name in names if names.count(name) > 1})
        problems.error(
            f"The data frame has duplicate columns: {', '.join(twice)}.",
            "Keep one of each, or rename the others.",
        )
        problems.raise_if_errors()
    if not isinstance(frame, nw.DataFrame):
        raise TypeError(
            f"read_dataset was given {type(source).__name__}; it reads the path of a CSV file or "
            "a data frame held in memory (pandas, polars, pyarrow; collect a lazy one first)."
        )
    columns = [[_cell_text(value) for value in frame[name].to_list()] for name in frame.columns]
    cells = tuple(zip(*columns, strict=True))
    if not cells:
        problems.error("The data frame holds no records.", "Check how it was filtered.")
    problems.raise_if_errors()
    header = tuple(str(name) for name in frame.columns)
    return TextTable(header, cells, tuple(range(1, len(cells) + 1)), problems)


def _cell_text(value: Any) -> str:
    """A frame's cell as it would stand in a CSV file; numbers keep every digit."""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, bool):
        return str(int(value))
    if value is None or (pd.api.types.is_scalar(value) and pd.isna(value)):
        return ""
    if isinstance(value, numbers.Integral):
        return str(int(value))
    if isinstance(value, numbers.Real):
        return repr(float(value))
    return str(value)

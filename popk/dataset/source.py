"""Tables as text: a file or a data frame becomes a header and rows of stripped cells."""

from __future__ import annotations

import codecs
import csv
import io
import numbers
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from operator import itemgetter
from pathlib import Path
from types import MappingProxyType
from typing import Any

import narwhals as nw
import pandas as pd
from narwhals.exceptions import DuplicateError

from popk.dataset.layout import Layout
from popk.dataset.problems import Problems

__all__ = ["MISSING", "TextTable", "cell_text", "check_delimiter", "read_text"]

MISSING = frozenset({"", ".", "NA", "NaN", "nan"})

_NAMED = MappingProxyType({",": "comma", ";": "semicolon", "\t": "tab", "|": "vertical bar"})
_OPTION = MappingProxyType({";": "';'", "\t": "tab", "|": "'|'"})

_FILE_NOTE = "Rows are lines of the file: the header is row 1."
_FRAME_NOTE = "Rows are counted from 1, without the header."


@dataclass(frozen=True, slots=True)
class TextTable:
    """A header and its rows as stripped text; `rows[i]` is the row number of `cells[i]`.

    ``decimal`` is the decimal mark of its numbers; ``kind`` what it was read from; ``notes`` say
    what was done to it.
    """

    header: tuple[str, ...]
    cells: tuple[tuple[str, ...], ...]
    rows: tuple[int, ...]
    problems: Problems
    decimal: str = "."
    kind: str = "frame"
    notes: tuple[str, ...] = ()

    def column(self, position: int) -> tuple[str, ...]:
        """One column's cells."""
        return tuple(map(itemgetter(position), self.cells))


def read_text(source: object, layout: Layout | None = None) -> TextTable:
    """Read a file (CSV, TSV, Parquet, Excel, SAS transport) or any eager frame narwhals knows.

    Raises
    ------
    DataError
        When nothing tabular can be read; otherwise the table carries the problems found.
    TypeError
        When `source` is neither a path nor a data frame.
    """
    layout = Layout() if layout is None else layout
    if isinstance(source, str | os.PathLike):
        return _from_file(Path(source), layout)
    return _from_frame(source, Problems("The data frame", row_note=_FRAME_NOTE))


def _from_file(path: Path, layout: Layout) -> TextTable:
    from popk.dataset.files import excel, kind_of, parquet, transport

    problems = Problems(path.name or str(path), row_note=_FILE_NOTE)
    content = _content(path, problems)
    kind = kind_of(content)
    if kind == "old Excel":
        problems.error("The file is an old Excel file (.xls).", "Save it as .xlsx, or as CSV.")
        problems.raise_if_errors()
    _check_layout(layout, kind, problems)
    if kind == "Excel":
        return excel(content, layout.sheet, problems)
    if kind in ("Parquet", "SAS transport"):
        problems.row_note = _FRAME_NOTE
        frame = parquet(content, problems) if kind == "Parquet" else transport(path, problems)
        note = f"Read from {path.name} ({kind})."
        return replace(_from_frame(frame, problems), kind=kind, notes=(note,))
    return _from_text(path, _decoded(content, layout.encoding, problems), layout, problems)


def _check_layout(layout: Layout, kind: str, problems: Problems) -> None:
    """Refuse what is said of a file of another kind: it would have no effect."""
    of_text = [layout.separator, layout.encoding, layout.decimal if layout.decimal != "." else None]
    wrong = [name for name, value in zip(("separator", "encoding", "decimal"), of_text, strict=True)
             if value is not None and kind != "text"]  # fmt: skip
    wrong += ["sheet"] if layout.sheet is not None and kind != "Excel" else []
    for name in wrong:
        what = "an Excel file" if name == "sheet" else "a text file"
        found = "text" if kind == "text" else kind
        problems.error(f"{name} was given, which {what} has; this one is {found}.", "Leave it out.")
    problems.raise_if_errors()


def _from_text(path: Path, text: str, layout: Layout, problems: Problems) -> TextTable:
    lines = text.splitlines()
    if not any(line.strip(" ,;\t") for line in lines):
        problems.error("The file is empty.", "Export the table again, with its header.")
        problems.raise_if_errors()
    separator = layout.separator
    if separator is None and path.suffix.lower() in {".tsv", ".tab"}:
        separator = "\t"
    first = next(line for line in lines if line.strip())
    if separator is None:
        check_delimiter(first, problems)
    elif separator not in first:
        problems.error(
            f"The header holds no {_NAMED[separator]}, which was said to separate the columns.",
            "Correct the separator, or leave it out for a file with commas.",
        )
        problems.raise_if_errors()
    header, cells, rows = _parsed(text, problems, separator or ",")
    notes = []
    if separator is not None:
        notes.append(f"Columns are separated by {_NAMED[separator]}s, as was said.")
    if layout.decimal == ",":
        notes.append("The decimal mark is a comma, as was said.")
    if layout.encoding is not None:
        notes.append(f"The encoding is {layout.encoding}, as was said.")
    if not cells and not problems.errors:
        problems.error(
            "The file holds a header but no records.", "Export the table with its records."
        )
    problems.raise_if_errors()
    return TextTable(header, cells, rows, problems, layout.decimal, "text", tuple(notes))


def _content(path: Path, problems: Problems) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        problems.error(
            f"There is no file {path}.", "Check the spelling and the folder it is looked up from."
        )
    except IsADirectoryError:
        problems.error(f"{path} is a folder.", "Name one CSV file in it.")
    except OSError as error:
        problems.error(f"The file cannot be opened: {error.strerror}.", "Check its permissions.")
    except ValueError:
        problems.error("The path holds a character that no path has.", "Correct the path.")
    problems.raise_if_errors()
    return b""  # pragma: no cover - raised before


def _decoded(content: bytes, encoding: str | None, problems: Problems) -> str:
    text = ""
    if encoding is None:
        # A byte-order mark says what it is; UTF-16 without one is not guessed.
        marked = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        encoding = "utf-16" if marked else "utf-8-sig"
    try:
        text = content.decode(encoding).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        named = "UTF-8" if encoding == "utf-8-sig" else encoding
        problems.error(
            f"The file is not {named} text (byte {error.start + 1} cannot be read as such).",
            "Save it as 'CSV UTF-8', or say its encoding, as Layout(encoding='cp1252') "
            "(--encoding cp1252); binary files other than Excel, Parquet and SAS transport need "
            "exporting to CSV first.",
        )
    except UnicodeError:
        problems.error(f"The file is not {encoding} text.", "Correct the encoding.")
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
                "the delimiter and a point as the decimal mark unless it is told otherwise.",
                "Save the table as comma-separated CSV with decimal points."
                if mark == " "
                else f"Say so, as Layout(separator={mark!r}) (--separator {_OPTION[mark]}), with "
                "decimal=',' (--decimal ,) where numbers have decimal commas; or save it as "
                "comma-separated CSV with decimal points.",
            )
            problems.raise_if_errors()


def _parsed(
    text: str, problems: Problems, separator: str
) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...], tuple[int, ...]]:
    """Header, cells and line numbers; blank lines are passed over."""
    reader = csv.reader(
        io.StringIO(text, newline=""), strict=True, delimiter=separator,
        # A blank cell between tabs is a cell.
        skipinitialspace=separator != "\t",
    )  # fmt: skip
    header: tuple[str, ...] = ()
    cells: list[tuple[str, ...]] = []
    rows: list[int] = []
    before = 0
    try:
        for record in reader:
            # A quoted cell may run over several lines; a record is named by its first.
            row, before = before + 1, reader.line_num
            stripped = tuple(map(str.strip, record))
            if not any(stripped):
                continue
            if not header:
                header = stripped
            else:
                cells.append(stripped)
                rows.append(row)
    except csv.Error as error:
        problems.error(
            f"The file is not valid CSV: {error}.",
            "Look for a quotation mark that is not closed.",
            row=before + 1,
        )
    cells = _as_wide_as(header, cells, rows, problems)
    return header, tuple(cells), tuple(rows)


def _as_wide_as(
    header: Sequence[str], cells: list[tuple[str, ...]], rows: Sequence[int], problems: Problems
) -> list[tuple[str, ...]]:
    """The rows without what stands to the right of the header; those that do not fit are reported.

    Blank cells there are passed over where all rows have them, as a spreadsheet writes them. In
    some rows alone they are what a decimal comma moved.
    """
    width = len(header)
    same = len({len(record) for record in cells}) == 1
    if same and len(cells[0]) > width and not any(any(record[width:]) for record in cells):
        return [record[:width] for record in cells]
    for record, row in zip(cells, rows, strict=True):
        if len(record) != width:
            problems.error(
                f"The row has {len(record)} cells where the header has {width} columns.",
                "Check for a decimal comma, which splits a number into two cells, and for missing "
                "or additional commas.",
                row=row,
            )
    return cells


def _from_frame(source: object, problems: Problems) -> TextTable:
    try:
        frame: Any = nw.from_native(source, eager_only=True, pass_through=True)
    except DuplicateError:
        labels = "columns" if isinstance(source, pd.DataFrame) else "column_names"
        names = [str(name) for name in getattr(source, labels, ())]
        twice = sorted({name for name in names if names.count(name) > 1})
        problems.error(
            f"The data frame has duplicate columns: {', '.join(twice)}.",
            "Keep one of each, or rename the others.",
        )
        problems.raise_if_errors()
    if not isinstance(frame, nw.DataFrame):
        raise TypeError(
            f"read_dataset was given {type(source).__name__}; it reads the path of a file or "
            "a data frame held in memory (pandas, polars, pyarrow; collect a lazy one first)."
        )
    columns = [[cell_text(value) for value in frame[name].to_list()] for name in frame.columns]
    cells = tuple(zip(*columns, strict=True))
    if not cells:
        problems.error("The data frame holds no records.", "Check how it was filtered.")
    problems.raise_if_errors()
    header = tuple(str(name) for name in frame.columns)
    return TextTable(header, cells, tuple(range(1, len(cells) + 1)), problems)


def cell_text(value: Any) -> str:
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

"""Tables that are not text: Parquet, Excel, SAS transport; each by a library."""

from __future__ import annotations

import io
from importlib import import_module
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

from popk.dataset.problems import Problems
from popk.dataset.source import TextTable, cell_text

__all__ = ["excel", "kind_of", "parquet", "transport"]

_MAGIC = (
    (b"PAR1", "Parquet"),
    (b"PK\x03\x04", "Excel"),
    (b"HEADER RECORD*******", "SAS transport"),
    (b"\xd0\xcf\x11\xe0", "old Excel"),
)


def kind_of(content: bytes) -> str:
    """What a file is, by how it begins: "Parquet", "Excel", "SAS transport" or "text"."""
    return next((kind for magic, kind in _MAGIC if content.startswith(magic)), "text")


def parquet(content: bytes, problems: Problems) -> Any:
    """The table of a Parquet file."""
    import pyarrow.parquet as pq
    from pyarrow import ArrowException

    try:
        return pq.read_table(io.BytesIO(content))
    except (ArrowException, OSError) as fault:
        problems.error(
            f"The file begins as Parquet, but cannot be read: {fault}.", "Write it anew."
        )
    problems.raise_if_errors()
    return None  # pragma: no cover - raised before


def transport(path: Path, problems: Problems) -> Any:
    """The table of a SAS transport file (XPORT, version 5 or 8)."""
    reader = _library("pyreadstat", "sas", "SAS transport files", problems)
    try:
        frame, _ = reader.read_xport(str(path))
    except (reader.ReadstatError, UnicodeDecodeError) as fault:
        problems.error(
            f"The file begins as a SAS transport file, but cannot be read: {fault}.",
            "Write it anew, in UTF-8 or ASCII.",
        )
        problems.raise_if_errors()
    return frame


def excel(content: bytes, sheet: str | None, problems: Problems) -> TextTable:
    """The cells of one sheet as text; its first row that is not blank is the header."""
    library = _library("openpyxl", "excel", "Excel files", problems)
    problems.row_note = "Rows are those of the sheet."
    try:
        book = library.load_workbook(io.BytesIO(content), read_only=True, data_only=True)
    except (BadZipFile, KeyError, OSError, ValueError):
        problems.error(
            "The file is not text, and it begins as an archive, but is no Excel file.",
            "Give an .xlsx file, or export to CSV.",
        )
        problems.raise_if_errors()
    names = book.sheetnames
    if sheet is not None and sheet not in names:
        problems.error(f"There is no sheet {sheet}; the file has {', '.join(names)}.")
    elif sheet is None and len(names) > 1:
        problems.error(
            f"The file has {len(names)} sheets: {', '.join(names)}.",
            "Say which one, as Layout(sheet=...) (--sheet NAME).",
        )
    problems.raise_if_errors()
    chosen = sheet if sheet is not None else names[0]
    header: tuple[str, ...] = ()
    cells: list[tuple[str, ...]] = []
    rows: list[int] = []
    for number, values in enumerate(book[chosen].iter_rows(values_only=True), start=1):
        texts = tuple(cell_text(value) for value in values)
        if not any(texts):
            continue
        if not header:
            while texts and not texts[-1]:
                texts = texts[:-1]
            header = texts
        elif any(texts[len(header) :]):
            problems.error("The row holds cells to the right of the header.", row=number)
        else:
            # Rows may be shorter than the header where their last cells are blank.
            cells.append((texts + ("",) * len(header))[: len(header)])
            rows.append(number)
    book.close()
    if not cells:
        problems.error(f"The sheet {chosen} holds no records.", "Name another sheet.")
    problems.raise_if_errors()
    note = f"Read from {problems.source} (Excel, sheet {chosen})."
    return TextTable(header, tuple(cells), tuple(rows), problems, ".", "Excel", (note,))


def _library(name: str, extra: str, what: str, problems: Problems) -> Any:
    try:
        return import_module(name)
    except ImportError:
        problems.error(
            f"{what} are read by {name}, which is not installed.",
            f'Install it, as pip install "popk[{extra}]", or export the table to CSV.',
        )
    problems.raise_if_errors()
    return None  # pragma: no cover - raised before

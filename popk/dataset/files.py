"""Tables that are not text: Parquet, Excel, SAS transport; each by a library."""

from __future__ import annotations

import io
import warnings
from importlib import import_module
from pathlib import Path
from typing import Any
from zipfile import ZipFile

from popk.dataset.problems import DataError, Problems
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

    try:
        table = pq.read_table(io.BytesIO(content))
        table.validate(full=True)
        return table
    except Exception as fault:  # noqa: BLE001 - a damaged file fails anywhere in the library
        problems.error(
            f"The file begins as Parquet, but cannot be read: {_said(fault)}.", "Write it anew."
        )
    problems.raise_if_errors()
    return None  # pragma: no cover - raised before


def transport(path: Path, problems: Problems) -> Any:
    """The table of a SAS transport file (XPORT, version 5 or 8)."""
    reader = _library("pyreadstat", "sas", "SAS transport files", problems)
    try:
        frame, _ = reader.read_xport(str(path))
    except Exception as fault:  # noqa: BLE001 - as above
        problems.error(
            f"The file begins as a SAS transport file, but cannot be read: {_said(fault)}.",
            "Write it anew, in UTF-8 or ASCII.",
        )
        problems.raise_if_errors()
    return frame


def excel(content: bytes, sheet: str | None, problems: Problems) -> TextTable:
    """The cells of one sheet as text; its first row that is not blank is the header."""
    library = _library("openpyxl", "excel", "Excel files", problems)
    problems.row_note = "Rows are those of the sheet."
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of styles and the like
            chosen, sheet_rows = _sheet(library, content, sheet, problems)
    except DataError:
        raise
    except Exception:  # noqa: BLE001 - as above
        problems.error(
            "The file is not text, and it begins as an archive, but is no Excel file that can be "
            "read.",
            "Give an .xlsx file, or export to CSV.",
        )
        problems.raise_if_errors()
    header: tuple[str, ...] = ()
    cells: list[tuple[str, ...]] = []
    rows: list[int] = []
    for number, texts in sheet_rows:
        if not any(texts):
            continue
        if not header:
            header = texts[: max(at for at, text in enumerate(texts, start=1) if text)]
        elif any(texts[len(header) :]):
            problems.error("The row holds cells to the right of the header.", row=number)
        else:
            # Rows may be shorter than the header where their last cells are blank.
            cells.append((texts + ("",) * len(header))[: len(header)])
            rows.append(number)
    if not cells:
        problems.error(f"The sheet {chosen} holds no records.", "Name another sheet.")
    problems.raise_if_errors()
    note = f"Read from {problems.source} (Excel, sheet {chosen})."
    return TextTable(header, tuple(cells), tuple(rows), problems, ".", "Excel", (note,))


def _sheet(
    library: Any, content: bytes, sheet: str | None, problems: Problems
) -> tuple[str, list[tuple[int, tuple[str, ...]]]]:
    """The sheet that is read, and its rows, numbered from 1, as text."""
    book = library.load_workbook(io.BytesIO(content), read_only=True, data_only=True)
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
    book[chosen].reset_dimensions()  # what the file says of its size may be wrong, and huge
    rows = [
        (number, tuple(map(cell_text, values)))
        for number, values in enumerate(book[chosen].iter_rows(values_only=True), start=1)
    ]
    if not problems.errors:
        _refuse_formulas(library, content, chosen, rows, problems)
    book.close()
    return chosen, rows


def _refuse_formulas(
    library: Any, content: bytes, sheet: str, rows: list[tuple[int, tuple[str, ...]]],
    problems: Problems,
) -> None:  # fmt: skip
    """Refuse formulas whose results the file does not hold: they would pass for blank cells."""
    with ZipFile(io.BytesIO(content)) as archive:
        parts = [name for name in archive.namelist() if name.startswith("xl/worksheets/")]
        if not any(b"<f" in archive.read(name) for name in parts):
            return
    book = library.load_workbook(io.BytesIO(content), read_only=True)
    book[sheet].reset_dimensions()
    written = book[sheet].iter_rows(values_only=True)
    for (number, texts), values in zip(rows, written, strict=False):
        for at, (text, value) in enumerate(zip(texts, values, strict=False), start=1):
            if not text and isinstance(value, str) and value.startswith("="):
                problems.error(
                    f"The cell in column {library.utils.get_column_letter(at)} holds a formula "
                    "without its result.",
                    "Open the file in a spreadsheet, which computes it, and save it again.",
                    row=number,
                )
    book.close()
    problems.raise_if_errors()


def _said(fault: Exception) -> str:
    """What a library said, in one line."""
    return " ".join(str(fault).split()).rstrip(".")[:200] or type(fault).__name__


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

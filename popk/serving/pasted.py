"""An event table that was pasted, as entries of the page."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Mapping
from typing import Any

from popk.serving.faults import Fault, FormError, quoted
from popk.serving.needs import Needs
from popk.serving.rows import MOST_DOSES, MOST_SAMPLES

__all__ = ["read_pasted"]

_MOST = MOST_DOSES + MOST_SAMPLES
_MISSING = frozenset({"", ".", "NA", "NaN", "nan"})
_IDLE = {"SS": ("0",), "CMT": ("0", "1")}
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)
_WHOLE = re.compile(r"([+-]?\d+)\.0*", re.ASCII)


def read_pasted(text: str, needs: Needs, *, subject: str = "") -> dict[str, Any]:
    """The fields of the form that a table with a header fills: patient, covariates, rows.

    What the cells hold is checked with the form; here it is certain only that there are rows of one
    patient with events that the page knows.

    Parameters
    ----------
    text
        Rows with NONMEM's column names, separated by commas, semicolons or tabs (as a spreadsheet
        copies them). TIME is a number, or a date with a time of day (``2026-05-04 08:30``; or DATE
        and the time of day in TIME).
    needs
        What the model needs.
    subject
        Which ID to read, where there are several.

    Returns
    -------
    ``patient``, ``clock``, ``covariates``, ``doses`` and ``samples``, as `read_form` takes them.

    Raises
    ------
    FormError
        With a sentence for each fault, naming row and column.
    """
    rows = _rows(text)
    header = list(rows[0][1])
    missing = [name for name in ("TIME", "EVID", "AMT", "DV") if name not in header]
    if missing:
        raise _refusal(
            f"the header has no column {', '.join(missing)}; it needs TIME, EVID, AMT and DV, "
            f"separated by commas, semicolons or tabs. It holds {quoted(', '.join(header))}."
        )
    known = [one.name for one in needs.covariates]
    absent = [one.name for one in needs.covariates if one.name not in header and not one.optional]
    if absent:
        raise _refusal(f"the header has no column {', '.join(absent)}, which the model needs.")
    mine = _of_one(rows, subject)
    form: dict[str, Any] = {"patient": mine[0][1].get("ID", ""), "covariates": {}, "doses": [],
                            "samples": []}  # fmt: skip
    faults: list[Fault] = []
    for row, cells in mine:
        _take(form, cells, row, needs, faults)
    for name in known:
        given = list(dict.fromkeys(c for _, cells in mine if (c := cells.get(name, ""))))
        if len(given) > 1:
            faults.append(
                _fault(f"the column {name} changes ({given[0]} to {given[1]}), and this page has "
                       "one value of each covariate; give the present one in all rows.")
            )  # fmt: skip
        form["covariates"][name] = given[0] if given else ""
    if faults:
        raise FormError(faults)
    whens = [row["when"] for row in (*form["doses"], *form["samples"])]
    return {**form, "clock": "dates" if any("-" in when[1:] and ":" in when for when in whens)
            else "time"}  # fmt: skip


def _rows(text: str) -> list[tuple[int, dict[str, str]]]:
    """Cells by column of each row with its line number, the first that of line 2."""
    lines = [line for line in text.replace("\ufeff", "").splitlines() if line.strip()]
    if len(lines) < 2:
        raise _refusal("there is no table; paste a header and at least one row.")
    if len(lines) - 1 > _MOST:
        raise _refusal(
            f"it has {len(lines) - 1} rows; one patient has at most {MOST_DOSES} rows of doses and "
            f"{MOST_SAMPLES} of samples here. Use ADDL and II for doses that repeat; for tables of "
            "many patients there is popk batch."
        )
    mark = max("\t;,", key=lines[0].count)
    try:
        parsed = list(csv.reader(io.StringIO("\n".join(lines)), delimiter=mark, strict=True))
    except csv.Error:
        raise _refusal("a quotation mark is not closed; take it out.") from None
    if len(parsed) < 2:  # a cell in quotation marks may hold all lines
        raise _refusal("there is no table; paste a header and at least one row.")
    header = [name.strip().upper() for name in parsed[0]]
    if twice := [name for name in header if name and header.count(name) > 1]:
        raise _refusal(f"the header holds the column {quoted(twice[0])} twice; keep one of them.")
    found = []
    for row, cells in enumerate(parsed[1:], 2):
        if len(cells) != len(header):
            raise _refusal(
                f"row {row} has {len(cells)} cells where the header has {len(header)} columns; "
                "look for a decimal comma, or a comma too many."
            )
        plain = (cell.strip() for cell in cells)
        texts = ["" if cell in _MISSING else cell for cell in plain]
        found.append((row, dict(zip(header, texts, strict=True))))
    return found


def _of_one(
    rows: list[tuple[int, dict[str, str]]], subject: str
) -> list[tuple[int, dict[str, str]]]:
    """The rows of one patient."""
    ids = list(dict.fromkeys(cells.get("ID", "") for _, cells in rows))
    wanted = subject.strip()
    if len(ids) == 1 and (not wanted or wanted == ids[0]):
        return rows
    if wanted in ids:
        return [(row, cells) for row, cells in rows if cells.get("ID", "") == wanted]
    listed = ", ".join(ids[:8]) + (f" and {len(ids) - 8} more" if len(ids) > 8 else "")
    raise _refusal(
        f"it holds the patients {quoted(listed)}; write in the field above which one to read."
        if not wanted
        else f"there is no patient {quoted(wanted)}; it holds {quoted(listed)}."
    )


def _take(
    form: dict[str, Any], cells: Mapping[str, str], row: int, needs: Needs, faults: list[Fault]
) -> None:
    """Put a row where it belongs."""
    output = str(needs.output) if needs.output else "1"
    told = {**_IDLE, "DVID": ("0", output)}
    for name in ("DVID",) if any(code.name == "DVID" for code in needs.codes) else ():
        told.pop(name)
    for name, idle in told.items():
        if _code(cells, name) not in ("", *idle):
            faults.append(
                _fault(f"row {row}, column {name}: {quoted(cells[name])} is not entered on this "
                       "page; list the doses one by one, or as ADDL and II.")
            )  # fmt: skip
    event = _code(cells, "EVID")
    when = cells["TIME"]
    if cells.get("DATE"):
        when = f"{cells['DATE']} {when or '00:00'}"
    codes = {code.name: cells.get(code.name, "") for code in needs.codes}
    if event == "1":
        hours = _hours(cells, row, needs, faults)
        occasion = {name: value for name, value in codes.items() if name == "OCC"}
        more = cells.get("ADDL", "")
        form["doses"].append(
            {"when": when, "amount": cells["AMT"], "hours": hours, "more": more,
             "every": cells.get("II", ""), **occasion}
        )  # fmt: skip
    elif event == "0" and _code(cells, "MDV") in ("", "0"):
        below = _code(cells, "CENS") or _code(cells, "BLQ") or "0"
        if below not in ("0", "1"):
            faults.append(
                _fault(f"row {row}, column CENS: {quoted(below)} is not entered on this page; 1 "
                       "marks a concentration below the limit, 0 a measured one.")
            )  # fmt: skip
        limit = cells.get("LLOQ", "") or (cells["DV"] if below == "1" else "")
        value = "" if below == "1" else cells["DV"]
        form["samples"].append(
            {"when": when, "value": value, "below": below == "1", "limit": limit, **codes}
        )
    elif event == "0" and _code(cells, "MDV") != "1":
        faults.append(
            _fault(f"row {row}, column MDV: {quoted(cells['MDV'])} is not known; 1 marks a record "
                   "that is no observation, 0 one that is.")
        )  # fmt: skip
    elif event not in ("0", "2"):
        faults.append(
            _fault(f"row {row}, column EVID: {quoted(event)} is not entered on this page; 1 is a "
                   "dose, 0 a sample.")
        )  # fmt: skip


def _hours(cells: Mapping[str, str], row: int, needs: Needs, faults: list[Fault]) -> str:
    """The length of an infusion from its rate; empty for a bolus."""
    rate = cells.get("RATE", "")
    if rate in ("", "0"):
        return ""
    amount, given = _number(cells["AMT"]), _number(rate)
    if 0 < given < math.inf and math.isfinite(amount):
        return f"{amount / given / needs.units.time_in('h'):.10g}"
    if given == 0:
        return ""
    faults.append(
        _fault(f"row {row}, column RATE: {quoted(rate)} is not entered on this page; give the rate "
               "of the infusion above zero, or 0.")
    )  # fmt: skip
    return ""


def _number(text: str) -> float:
    """The number of a cell; NaN where it holds none."""
    return float(text) if _NUMBER.fullmatch(text) else math.nan


def _code(cells: Mapping[str, str], name: str) -> str:
    """A code of a column, empty where there is none; a spreadsheet may write 1.0 for 1."""
    text = cells.get(name, "")
    whole = _WHOLE.fullmatch(text)
    return whole[1] if whole else text


def _fault(message: str) -> Fault:
    return Fault("paste", f"Pasted table: {message}")


def _refusal(message: str) -> FormError:
    return FormError([_fault(message)])

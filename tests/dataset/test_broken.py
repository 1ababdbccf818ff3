"""Mistakes that tables hold, beyond those of the collection: each noticed, at its place.

What is refused, what is warned of, and how a file of 10^6 rows is read.
"""

from __future__ import annotations

import datetime as dt
import time

import numpy as np
import pandas as pd
import pytest

from popk.dataset import DataError, Dates, Layout, read_dataset
from popk.errors import SettingError

UNITS = {"time": "h", "amount": "mg", "concentration": "mg/L", "WT": "kg"}


def errors(read, content, **options):
    with pytest.raises(DataError) as caught:
        read(content, **options)
    return [p for p in caught.value.problems if p.severity == "error"]


def with_column(base, name, values):
    """The base table with one more column; `values` by row, 1 elsewhere."""
    header, *lines = base.splitlines()
    lines = [f"{line},{values.get(row, 1)}" for row, line in enumerate(lines, start=2)]
    return "\n".join([f"{header},{name}", *lines]) + "\n"


# What no number is, with what to do about it


@pytest.mark.parametrize(
    ("cell", "remedy"),
    [
        ('"1,234.5"', "separators of thousands"),
        ("1 234", "separators of thousands"),
        ("1'234", "separators of thousands"),
        ("1.234.567", "separators of thousands"),
        ('"1.234,5"', "separators of thousands"),
        ('"1,234"', "If the comma separates thousands, leave it out"),
        ("N/A", "an empty cell, '.' or NA"),
        ("#N/A", "an empty cell, '.' or NA"),
        ("null", "an empty cell, '.' or NA"),
        ("-", "an empty cell, '.' or NA"),
        ("1-Feb", "A spreadsheet makes dates of numbers"),
        ("Jan-05", "A spreadsheet makes dates of numbers"),
        ("02.05.2026", "A spreadsheet makes dates of numbers"),
        ("#DIV/0!", "A formula of the spreadsheet failed"),
        (">12", "CENS -1"),
        ("BLQ", "CENS 1"),
        ("5 mg", "Write a number"),
    ],
)
def test_a_cell_that_is_no_number_says_what_it_looks_like(read, change, cell, remedy):
    (error,) = errors(read, change((3, "DV", "@")).replace("@", cell))
    assert (error.row, error.id, error.column) == (3, "1", "DV")
    assert remedy in error.remedy


def test_thousands_are_written_as_the_decimals_are(read, base):
    text = base.replace(".", "\0").replace(",", ";").replace("\0;", ".;").replace("\0", ",")
    (error,) = errors(read, text.replace("9,1", "1.234,5"), layout=Layout(";", ","))
    assert error.remedy.endswith("1234,5.")


def test_a_decimal_comma_before_a_blank_last_cell_does_not_move_the_row(read):
    """It was read as DV 1 with LLOQ 5: cells beyond the header were passed over where blank."""
    text = "ID,TIME,EVID,AMT,DV,LLOQ\n1,0,1,100,.,\n1,1,0,.,1,5,\n2,0,1,100,.,\n2,1,0,.,9,\n"
    units = {k: v for k, v in UNITS.items() if k != "WT"}
    (error,) = errors(read, text, units=units)
    assert error.row == 3
    assert "7 cells where the header has 6" in error.message
    same = text.replace("1,5,\n", "1.5,\n").replace(",\n", ",,\n")
    assert read(same, units=units).table["DV"].values[1] == 1.5


@pytest.mark.parametrize(
    ("code", "unit", "refused"),
    [(-99, "a", True), (-999, "g/L", True), (-99, "1", True), (-9, "1", False)],
)
def test_codes_of_missing_covariates_are_not_numbers(read, base, code, unit, refused):
    text = with_column(base, "X", dict.fromkeys(range(2, 7), code))
    units = UNITS | {"X": unit}
    if not refused:
        assert read(text, units=units).table["X"].values[0] == code
        return
    found = errors(read, text, units=units)
    assert [one.row for one in found] == [2, 3, 4, 5, 6]
    assert "popk reads no such codes" in found[0].message


def test_negative_covariates_may_be_negative(read, base):
    text = with_column(base, "X", dict.fromkeys(range(2, 7), -99) | dict.fromkeys(range(7, 12), -3))
    assert read(text, units=UNITS | {"X": "1"}).table["X"].values[0] == -99


# What is possible, and odd


@pytest.mark.parametrize(
    ("cells", "row", "column", "said"),
    [
        ([(2, "ADDL", 0)], 2, "II", "neither ADDL nor SS"),
        ([(6, "DV", 3)], 6, "DV", "MDV 1; it is left out"),
        ([(3, "CMT", 7)], 3, "CMT", "is 7 here, and 2 for all other observations"),
        ([(2, "CMT", 7)], 2, "CMT", "is 7 here, and 1 for all other doses"),
        ([(4, "DV", 3100)], 4, "DV", "330 times as high as any other observation"),
        ([(r, "WT", 410) for r in range(2, 7)], 2, "WT", "outside 0.3 to 350 kg"),
        ([(r, "WT", 61000) for r in range(2, 7)], 2, "WT", "outside 0.3 to 350 kg"),
    ],
)
def test_oddities_are_warned_of(read, change, cells, row, column, said):
    (warning,) = read(change(*cells)).warnings
    assert (warning.severity, warning.row, warning.id, warning.column) == (
        "warning", row, "1", column,
    )  # fmt: skip
    assert said in warning.message


def test_weights_in_pounds_are_asked_about_and_converted_if_that_is_said(read, base, change):
    pounds = [(row, "WT", round((60 + (row + 3) // 5) / 0.45359237, 1)) for row in range(2, 22)]
    heavy = [(row, column, value + 40) for row, column, value in pounds]
    (warning,) = read(change(*heavy)).warnings
    assert "as if it were in lb" in warning.message
    assert "--given WT=lb" in warning.remedy
    found = read(change(*pounds), given={"WT": "lb"})
    np.testing.assert_allclose(found.table["WT"], read(base).table["WT"], rtol=1e-3)


@pytest.mark.parametrize(
    ("unit", "value", "warned"),
    [
        ("a", 45, False),
        ("a", 300, True),
        ("mo", 300, False),
        ("d", 20_000, False),
        ("kg", 9, False),
    ],
)
def test_ages_are_judged_in_their_unit(read, base, unit, value, warned):
    text = with_column(base, "AGE", dict.fromkeys(range(2, 22), value))
    found = read(text, units=UNITS | {"AGE": unit}).warnings
    assert bool(found) == warned
    assert all("outside 0 to 122 a" in one.message for one in found)


@pytest.mark.parametrize(
    ("unit", "interval", "other"),
    [("h", 12, ""), ("h", 28, "d"), ("h", 0.5, "d"), ("d", 12, "h"), ("d", 28, ""), ("d", 672, "h"),
     ("wk", 4, ""), ("d", 14, "")],
)  # fmt: skip
def test_dosing_intervals_of_another_unit_are_warned_of(read, change, unit, interval, other):
    cells = [(5 * k - 3, "II", interval) for k in (1, 2, 3, 4)]
    found = read(change(*cells), units=UNITS | {"time": unit}).warnings
    assert [one.column for one in found] == (["TIME"] if other else [])
    assert all(f"as if times were in {other}" in one.message for one in found)


def doses_at(*times, subject=1):
    rows = [f"{subject},{t},1,100,.,70" for t in times]
    return "\n".join([*rows, f"{subject},{times[-1] + 1},0,.,5,70"]) + "\n"


def test_intervals_between_records_of_doses_count_likewise(read):
    header = "ID,TIME,EVID,AMT,DV,WT\n"
    days = header + doses_at(0, 28, 56) + doses_at(0, 28, 56, subject=2)
    assert read(days, units=UNITS | {"time": "d"}).warnings == ()
    (warning,) = read(days).warnings
    assert "28 h (median of 4), as if times were in d" in warning.message
    # Two doses say too little.
    assert read(header + doses_at(0, 28) + doses_at(0, 28, subject=2)).warnings == ()


def test_a_spreadsheets_days_are_not_hours(read, change):
    shifted = [(row, "TIME", 45_323 + hours / 24) for row, hours in
               zip(range(2, 22), [0, 1, 6, 11.5, 24] * 4, strict=True)]  # fmt: skip
    (warning,) = read(change(*shifted)).warnings
    assert "a spreadsheet's dates, in days" in warning.message
    cells = [*shifted, *((5 * k - 3, "ADDL", 0) for k in (1, 2, 3, 4)),
             *((5 * k - 3, "II", 0) for k in (1, 2, 3, 4))]  # fmt: skip
    assert read(change(*cells), units=UNITS | {"time": "d"}).warnings == ()


def test_one_subject_in_days_among_hours_is_warned_of(read, change):
    hours = [0, 1, 6, 11.5, 24]
    cells = [(2 + k, "TIME", h / 24) for k, h in enumerate(hours)] + [(2, "II", 0.5)]
    (warning,) = read(change(*cells)).warnings
    assert (warning.id, warning.column) == ("1", "TIME")
    assert "24 times as long or longer in every other subject" in warning.message


def test_one_who_left_early_is_not(read, base):
    lines = base.splitlines()
    assert read("\n".join([*lines[:3], *lines[6:]])).warnings == ()


def test_a_dose_that_addl_gives_already_is_warned_of(read, base):
    dose = "1,12,1,301,0,0,0,0,1,.,1,0,0.5,61"
    lines = base.splitlines()
    (warning,) = read("\n".join([*lines[:5], dose, *lines[5:]])).warnings
    assert (warning.row, warning.id, warning.column) == (6, "1", "TIME")
    assert "when ADDL of row 2 gives a dose already" in warning.message
    other = dose.replace("1,12,", "1,13,")
    assert read("\n".join([*lines[:5], other, *lines[5:]])).warnings == ()
    reset = dose.replace("1,12,1,", "1,12,4,")
    assert read("\n".join([*lines[:5], reset, *lines[5:]])).warnings == ()


def test_records_that_nonmem_is_told_to_ignore_are_named(read, base):
    header, *lines = base.splitlines()
    marked = [f"{'C' if k in (1, 2) else '.'},{line}" for k, line in enumerate(lines)]
    (warning,) = read("\n".join([f"C,{header}", *marked])).warnings
    assert (warning.row, warning.column) == (3, "C")
    assert "marks 2 records as left out" in warning.message


def test_rows_out_of_order_are_refused_and_never_sorted(read, base):
    lines = base.splitlines()
    lines[3], lines[4] = lines[4], lines[3]
    (error,) = errors(read, "\n".join(lines))
    assert (error.row, error.column) == (5, "TIME")
    assert "Sort each subject's records" in error.remedy


def test_everything_is_said_at_once(read, change):
    text = change((2, "RATE", -3), (3, "DV", "1 234"), (4, "TIME", 0.5), (7, "II", 0),
                  (8, "DV", -1), (12, "SS", 1), (12, "II", 0), (12, "ADDL", 0), (18, "WT", "")
                  )  # fmt: skip
    found = errors(read, text)
    assert {(p.row, p.id, p.column) for p in found} == {
        (2, "1", "RATE"), (3, "1", "DV"), (4, "1", "TIME"), (7, "2", "ADDL"), (8, "2", "DV"),
        (12, "3", "SS"), (18, "4", "WT"),
    }  # fmt: skip


# Files and their settings


@pytest.mark.parametrize("encoding", ["hex", "rot13", "base64", "undefined", "a\0b", ""])
def test_codecs_that_are_none_of_text_are_refused(encoding):
    with pytest.raises(SettingError, match="does not know"):
        Layout(encoding=encoding)


@pytest.mark.parametrize("form", ["%d.%d.%Y", "%H:%M", "%d.%m.", "%Q", "", "%", "\ud800"])
def test_a_format_that_reads_no_date_is_refused(form):
    with pytest.raises(SettingError, match="year, month and day"):
        Dates("DATE", format=form)


@pytest.mark.parametrize("form", ["%d.%m.%y", "%m/%d/%Y %H:%M", "%d%b%Y:%H:%M:%S", "%Y-%jT%H:%M%z"])
def test_other_formats_are_taken(form):
    assert Dates("DATE", format=form).format == form


@pytest.mark.parametrize("zone", ["Europe", "../etc/passwd", "a\0b", "", "/etc/localtime"])
def test_a_zone_that_is_none_is_refused(zone):
    with pytest.raises(SettingError, match="no time zone"):
        Dates("DATE", zone=zone)


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("0001-01-01 00:00+02:00", "lies in the year 1"),
        ("9999-12-31 23:59-02:00", "lies in the year 9999"),
        ("0206-05-28", "lies in the year 206"),
        ("45323.5", "is not a date that can be read"),
    ],
)
def test_dates_that_cannot_be_right_are_refused(read, base, cell, said):
    text = with_column(base, "DATE", dict.fromkeys(range(2, 22), "2026-05-28")).replace(
        "2026-05-28", cell, 1
    )
    (error,) = errors(read, text, dates=Dates("DATE"))
    assert (error.row, error.column) == (2, "DATE")
    assert said in error.message


def test_a_path_with_a_character_that_no_path_has():
    with pytest.raises(DataError, match="The path holds a character"):
        read_dataset("a\0b.csv", units=UNITS)


def test_a_formula_without_its_result_is_no_blank_cell(base, tmp_path):
    library = pytest.importorskip("openpyxl")
    book = library.Workbook()
    for line in base.splitlines():
        book.active.append([None if cell == "." else cell for cell in line.split(",")])
    book.active["E2"] = "=100*2"
    path = tmp_path / "table.xlsx"
    book.save(path)
    with pytest.raises(DataError, match="row 2: The cell in column E holds a formula without"):
        read_dataset(path, units=UNITS)


def test_a_sheet_that_claims_to_be_huge_is_read_at_once(base, tmp_path):
    library = pytest.importorskip("openpyxl")
    book = library.Workbook()
    for line in base.splitlines():
        book.active.append([None if cell == "." else cell for cell in line.split(",")])
    book.active["A1048576"] = None
    path = tmp_path / "table.xlsx"
    book.save(path)
    assert read_dataset(path, units=UNITS).n_subjects == 4


def test_arrow_tables_with_a_name_twice_are_refused():
    arrow = pytest.importorskip("pyarrow")
    frame = arrow.table([[1], [2]], names=["ID", "ID"])
    with pytest.raises(DataError, match="duplicate columns: ID"):
        read_dataset(frame, units=UNITS)


def test_booleans_and_dates_of_frames_are_no_numbers(base):
    rows = [line.split(",") for line in base.splitlines()]
    frame = pd.DataFrame(rows[1:], columns=rows[0])
    with pytest.raises(DataError, match="row 2, ID 1, column DV"):
        read_dataset(
            frame.assign(DV=[dt.date(2026, 5, 28) if k == 1 else cell
                             for k, cell in enumerate(frame["DV"])]),
            units=UNITS,
        )  # fmt: skip


@pytest.mark.slow
def test_a_million_rows_are_read_in_seconds(tmp_path):
    """Two doses and eight samples of each subject, in 8 s of CPU where this was written."""
    n, rng = 100_000, np.random.default_rng(1)
    hours = np.tile([0, 1, 2, 4, 8, 12, 13, 16, 20, 24.0], (n, 1))
    hours[:, 1:] += rng.uniform(0, 0.5, (n, 9)).round(4)
    dose = np.tile(np.isin(np.arange(10), (0, 5)), n)
    frame = pd.DataFrame(
        {
            "ID": np.repeat(np.arange(1, n + 1), 10), "TIME": hours.ravel(),
            "EVID": dose.astype(int), "AMT": np.where(dose, 100, np.nan),
            "RATE": 0, "ADDL": 0, "II": 0, "CMT": 1, "MDV": dose.astype(int),
            "DV": np.where(dose, np.nan, rng.lognormal(1, 0.5, 10 * n).round(3)),
            "CENS": 0, "LLOQ": 0.01, "WT": np.repeat(rng.normal(75, 8, n).round(1), 10),
        }
    )  # fmt: skip
    path = tmp_path / "table.csv"
    frame.to_csv(path, index=False, na_rep=".")
    began = time.process_time()
    found = read_dataset(path, units=UNITS)
    took = time.process_time() - began
    assert found.n_subjects == n
    assert found.n_observations == 8 * n
    np.testing.assert_array_equal(found.table["TIME"], frame["TIME"])
    assert took < 25  # other machines, and those at work, take longer

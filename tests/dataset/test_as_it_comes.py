"""Tables as they come: other separators, spreadsheets, SAS transport, dates, other units."""

import datetime as dt

import numpy as np
import pandas as pd
import pytest

from popk.dataset import DataError, Dates, Layout, read_dataset
from popk.dataset.dataset import Dataset
from popk.errors import SettingError
from popk.units import UnitError

UNITS = {"time": "h", "amount": "mg", "concentration": "mg/L", "WT": "kg"}


def refused(call):
    """The text that refuses a table."""
    with pytest.raises(DataError) as caught:
        call()
    return str(caught.value)


def frame(base):
    """The base table as a data frame of numbers."""
    rows = [line.split(",") for line in base.splitlines()]
    return pd.DataFrame(rows[1:], columns=rows[0]).replace(".", np.nan).astype(float)


# Text


@pytest.mark.parametrize(
    ("separator", "decimal"), [(";", ","), (";", "."), ("tab", ","), ("\t", "."), ("|", ".")]
)
def test_what_is_said_of_a_text_file_is_followed_and_recorded(read, base, separator, decimal):
    mark = "\t" if separator == "tab" else separator
    text = base.replace(".", "\0").replace(",", mark).replace("\0", decimal)
    # A cell that holds the decimal mark alone is a missing one in a table with points.
    text = text.replace(f"{mark},{mark}", f"{mark}.{mark}")
    found = read(text, layout=Layout(separator, decimal))
    assert found == read(base)
    assert "as was said" in found.provenance[0]


def test_a_tsv_is_read_by_its_name(base, tmp_path):
    path = tmp_path / "table.tsv"
    path.write_text(base.replace(",", "\t"))
    assert read_dataset(path, units=UNITS).n_subjects == 4


def test_other_separators_and_decimals_are_asked_for_not_guessed(read, base):
    assert "Layout(separator=';')" in refused(lambda: read(base.replace(",", ";")))
    assert "--separator tab" in refused(lambda: read(base.replace(",", "\t")))
    mixed = base.replace(",", ";").replace("9.1", "9,1")
    said = refused(lambda: read(mixed, layout=Layout(";", ",")))
    assert "The decimal mark was said to be a comma" in said
    assert "row 4, ID 1, column DV" in said  # 3.1
    assert "holds no semicolon" in refused(lambda: read(base, layout=Layout(";")))
    assert "Layout(separator=';', decimal=',')" in refused(lambda: read(mixed, layout=Layout(";")))


@pytest.mark.parametrize("encoding", ["cp1252", "utf-16-le", "latin-1"])
def test_an_encoding_that_is_named_is_used(read, base, encoding):
    text = base.replace("WT\n", "Größe\n")
    found = read(text.encode(encoding), columns={"WT": "Größe"}, layout=Layout(encoding=encoding))
    assert found == read(base)


def test_utf_16_is_known_by_its_mark_and_other_encodings_are_asked_for(read, base):
    assert read(base.encode("utf-16")) == read(base)
    said = refused(lambda: read(base.replace("WT\n", "Größe\n").encode("cp1252")))
    assert "--encoding cp1252" in said


@pytest.mark.parametrize(
    "wrong",
    [
        {"separator": "x"}, {"decimal": ","}, {"decimal": ";"}, {"encoding": "klingon"},
        {"names": "sdtm"},
    ],
)  # fmt: skip
def test_a_layout_that_makes_no_sense_is_refused(wrong):
    with pytest.raises(SettingError):
        Layout(**wrong)


# Other files


def test_parquet_is_known_by_its_content(read, base, tmp_path):
    path = tmp_path / "table.data"
    frame(base).to_parquet(path)
    found = read_dataset(path, units=UNITS)
    assert found == read(base)
    assert found.provenance == ("Read from table.data (Parquet).",)
    said = refused(lambda: read_dataset(path, units=UNITS, layout=Layout(";")))
    assert "separator was given, which a text file has" in said


@pytest.fixture
def book(base, tmp_path):
    """book(sheet, ...): an Excel file with the base table in each of these sheets."""
    library = pytest.importorskip("openpyxl")

    def made(*sheets, head=()):
        workbook = library.Workbook()
        workbook.remove(workbook.active)
        for name in sheets:
            sheet = workbook.create_sheet(name)
            for values in head:
                sheet.append(values)
            for line in base.splitlines():
                cells = line.split(",")
                sheet.append([None if c == "." else _cell(c) for c in cells])
        path = tmp_path / "table.xlsx"
        workbook.save(path)
        return path

    return made


def _cell(text):
    try:
        return float(text)
    except ValueError:
        return text


def test_excel_is_read_with_its_rows_and_the_sheet_is_asked_for(book, read, base):
    found = read_dataset(book("PK", head=[()]), units=UNITS)
    assert found == read(base)
    assert found.table["record"].values[0] == 3  # a blank row, then the header
    assert found.provenance == ("Read from table.xlsx (Excel, sheet PK).",)
    several = book("PK", "notes")
    assert "2 sheets: PK, notes" in refused(lambda: read_dataset(several, units=UNITS))
    assert "no sheet pk" in refused(
        lambda: read_dataset(several, units=UNITS, layout=Layout(sheet="pk"))
    )
    assert read_dataset(several, units=UNITS, layout=Layout(sheet="PK")) == read(base)


def test_a_library_that_is_not_there_is_named(book, monkeypatch):
    path = book("PK")

    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr("popk.dataset.files.import_module", missing)
    assert 'pip install "popk[excel]"' in refused(lambda: read_dataset(path, units=UNITS))


def adppk(base):
    """The base table under ADPPK's names."""
    table = frame(base).rename(
        columns={"ID": "USUBJID", "TIME": "AFRLT", "DV": "AVAL", "LLOQ": "ALLOQ", "WT": "WTBL"}
    )
    table["USUBJID"] = [f"S-{value:.0f}" for value in table["USUBJID"]]
    table["BLQFL"] = ["Y" if value == 1 else "" for value in table.pop("CENS")]
    table["AVALU"] = ["mg/L" if event == 0 else "mg" for event in table["EVID"]]
    table["DVID"] = ["CONC" if event == 0 else "DOSE" for event in table["EVID"]]
    table["NFRLT"] = table["AFRLT"]
    return table


@pytest.fixture
def transport(tmp_path):
    """transport(frame): a SAS transport file of it."""
    library = pytest.importorskip("pyreadstat")

    def written(table):
        path = tmp_path / "adppk.xpt"
        library.write_xport(table, str(path), table_name="ADPPK", file_format_version=5)
        return path

    return written


def test_a_sas_transport_file_is_read_by_the_names_of_adppk(transport, read, base):
    found = read_dataset(transport(adppk(base)), units=UNITS)
    same = read(base)
    for name in ("TIME", "DV", "AMT", "CENS", "LLOQ", "WT"):
        assert np.allclose(found.table[name], same.table[name], equal_nan=True), name
    assert found.subjects == ("S-1", "S-2", "S-3", "S-4")
    said = " ".join(found.provenance)
    assert "SAS transport" in said
    for part in ("USUBJID as ID", "AFRLT as TIME", "AVAL as DV", "BLQFL as CENS", "WTBL as WT"):
        assert part in said
    assert Dataset.from_xarray(found.to_xarray()).provenance == found.provenance


def test_adppk_says_its_units_and_nominal_times_are_warned_of(base):
    layout = Layout(names="adppk")
    other = {**UNITS, "concentration": "ug/L"}
    said = refused(lambda: read_dataset(adppk(base), units=other, layout=layout))
    assert "The column AVALU says that concentration is in mg/L" in said
    assert "--given concentration=mg/L" in said
    found = read_dataset(adppk(base), units=other, layout=layout, given={"concentration": "mg/L"})
    assert found.table["DV"].values[1] == pytest.approx(9100)
    nominal = read_dataset(adppk(base).drop(columns="AFRLT"), units=UNITS, layout=layout)
    assert any("nominal time NFRLT" in str(warning) for warning in nominal.warnings)
    assert "The required column ID" in refused(lambda: read_dataset(adppk(base), units=UNITS))


# Units


def test_units_are_converted_where_that_is_asked_for_and_never_otherwise(base):
    table = frame(base)
    table["RATE"] = [160.0 if event == 1 else 0.0 for event in table["EVID"]]
    as_read = read_dataset(table, units=UNITS)
    other = table.assign(
        TIME=table["TIME"] * 60, II=table["II"] * 60, AMT=table["AMT"] * 1000,
        RATE=table["RATE"] * 1000 / 60, WT=table["WT"] / 0.45359237,
        DV=table["DV"] / 0.148, LLOQ=table["LLOQ"] / 0.148,
    )  # fmt: skip
    given = {"time": "min", "amount": "ug", "concentration": "nmol/L", "WT": "lb"}
    found = read_dataset(other, units=UNITS, given=given, molar_mass=148_000)
    for name in ("TIME", "II", "AMT", "RATE", "DV", "LLOQ", "WT"):
        assert np.allclose(found.table[name], as_read.table[name], equal_nan=True), name
    assert found.provenance == (
        "Converted as asked: time from min to h, times 1/60.",
        "Converted as asked: amount from ug to mg, times 1/1000.",
        "Converted as asked: concentration from nmol/L to mg/L, times 0.148 (molar mass 148000 "
        "g/mol).",
        "Converted as asked: WT from lb to kg, times 0.45359237.",
    )
    assert found.units == as_read.units


def test_numbers_are_converted_exactly_and_codes_and_logarithms_as_such(base):
    table = frame(base).assign(RATE=[-2.0 if e == 1 else 0.0 for e in frame(base)["EVID"]])
    table.loc[1, "DV"] = 9.0
    found = read_dataset(table, units={**UNITS, "amount": "g"}, given={"amount": "mg"})
    assert found.table["RATE"].values[0] == -2
    found = read_dataset(table, units=UNITS, given={"concentration": "ug/L"})
    assert found.table["DV"].values[1] == 0.009
    logs = table.assign(DV=np.log(table["DV"]))
    found = read_dataset(logs, units=UNITS, given={"concentration": "ug/L"}, log_dv=True)
    assert found.table["DV"].values[1] == pytest.approx(0.009)
    assert found.table["LLOQ"].values[1] == 0.0005


def test_the_same_scale_is_said_and_changes_nothing(read, base):
    found = read(base, given={"concentration": "ug/mL"})
    assert found == read(base)
    assert found.provenance == (
        "Converted as asked: concentration in ug/mL, which is the same as mg/L.",
    )


@pytest.mark.parametrize(
    ("given", "molar_mass", "said"),
    [
        ({"concentration": "nmol/L"}, None, "give molar_mass, in g/mol"),
        ({"concentration": "nmol/L"}, -1.0, "-1.0 is none"),
        ({"concentration": "ug/L"}, 148_000.0, "Leave it out"),
        ({"WT": "cm"}, None, "another kind of quantity"),
        ({"AGE": "a"}, None, "which units does not name"),
        ({"time": "fortnight"}, None, "does not know"),
        ({"amount": "U"}, None, "another kind of quantity"),
    ],
)
def test_a_conversion_that_makes_no_sense_is_refused(read, base, given, molar_mass, said):
    with pytest.raises(UnitError, match=said):
        read(base, given=given, molar_mass=molar_mass)


def test_several_outputs_are_not_converted_together(base):
    table = frame(base).assign(DVID=[1 if k % 5 != 2 else 2 for k in range(20)])
    said = refused(lambda: read_dataset(table, units=UNITS, given={"concentration": "ug/L"}))
    assert "DVID names several outputs" in said


# Dates


def dated(base, write, *, start=dt.datetime(2026, 3, 28, 12, 0), name="DATE"):
    """The base table with each subject's times as dates from a day of its own on."""
    table = frame(base)
    moments = [
        start + dt.timedelta(days=float(subject) * 10, hours=float(hours))
        for subject, hours in zip(table["ID"], table.pop("TIME"), strict=True)
    ]
    return table.assign(**{name: [write(moment) for moment in moments]})


@pytest.mark.parametrize(
    ("write", "dates"),
    [
        (lambda m: m.isoformat(), Dates("DATE")),
        (lambda m: f"{m:%Y-%m-%d} {m.hour}:{m:%M}", Dates("date")),
        (lambda m: f"{m:%d.%m.%Y %H:%M}", Dates("DATE", format="%d.%m.%Y %H:%M")),
        (lambda m: f"{m.isoformat()}+02:00", Dates("DATE")),
        (lambda m: f"{m.isoformat()}Z", Dates("DATE", zero="dose")),
        (pd.Timestamp, Dates("DATE")),
    ],
)
def test_dates_become_times_since_each_subjects_first_record(read, base, write, dates):
    found = read_dataset(dated(base, write), units=UNITS, dates=dates)
    assert found == read(base)
    assert "TIME in h since each subject's first" in found.provenance[0]


def test_date_and_clock_may_stand_apart_and_a_column_time_beside_them(read, base):
    table = dated(base, lambda m: f"{m:%Y-%m-%d}").assign(
        TIME=dated(base, lambda m: f"{m:%H:%M}")["DATE"]
    )
    assert read_dataset(table, units=UNITS, dates=Dates("DATE", "TIME")) == read(base)
    nominal = dated(base, lambda m: m.isoformat()).assign(TIME=0)
    found = read_dataset(nominal, units=UNITS, dates=Dates("DATE"))
    assert found == read(base)
    assert "The table's own column TIME was not read." in found.provenance


def test_summer_time_is_allowed_for_where_the_zone_is_said(base):
    # In Berlin clocks went from 2:00 to 3:00 on 29 March 2026; subject 1's records span it.
    day = dt.datetime(2026, 3, 18, 18, 0)
    table = dated(base, lambda m: m.isoformat(), start=day)
    plain = read_dataset(table, units=UNITS, dates=Dates("DATE"))
    aware = read_dataset(table, units=UNITS, dates=Dates("DATE", zone="Europe/Berlin"))
    assert plain.table["TIME"].values[:5].tolist() == [0, 1, 6, 11.5, 24]
    assert aware.table["TIME"].values[:5].tolist() == [0, 1, 6, 10.5, 23]
    assert "an hour off" in " ".join(plain.provenance)
    assert "Europe/Berlin" in " ".join(aware.provenance)


@pytest.mark.parametrize(
    ("hour", "said"),
    [("2026-03-29 02:30", "was on no clock"), ("2026-10-25 02:30", "twice")],
)
def test_an_hour_that_was_never_or_twice_is_refused(base, hour, said):
    table = dated(base, lambda m: m.isoformat())
    table.loc[0, "DATE"] = hour
    text = refused(
        lambda: read_dataset(table, units=UNITS, dates=Dates("DATE", zone="Europe/Berlin"))
    )
    assert said in text
    assert "row 1" in text


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("03/04/2026", "Day and month could be either"),
        ("", "DATE is missing"),
        ("2026-05", "is not a date that can be read"),
        ("2026-02-30", "is not a date that can be read"),
        ("2026-04-07 12:00+02:00", "Some times have an offset from UTC"),
    ],
)
def test_a_date_that_cannot_be_read_is_named_with_its_row(base, cell, said):
    table = dated(base, lambda m: m.isoformat())
    table.loc[1, "DATE"] = cell
    text = refused(lambda: read_dataset(table, units=UNITS, dates=Dates("DATE")))
    assert said in text
    assert "row 2" in text


def test_dates_alone_count_whole_days_and_settings_are_checked(base):
    table = dated(base, lambda m: f"{m:%Y-%m-%d}").drop(columns=["II", "ADDL"])
    days = {**UNITS, "time": "d"}
    found = read_dataset(table, units=days, dates=Dates("DATE"))
    assert set(found.table["TIME"].values) <= {0.0, 1.0}
    assert "whole days" in " ".join(found.provenance)
    with pytest.raises(SettingError, match="no time zone"):
        Dates("DATE", zone="Mars/Olympus")
    with pytest.raises(SettingError, match="record or dose"):
        Dates("DATE", zero="birth")
    assert "names the column WHEN" in refused(
        lambda: read_dataset(table, units=days, dates=Dates("WHEN"))
    )
    assert "Dates('DATE', 'CLOCK')" in refused(
        lambda: read_dataset(table.rename(columns={"DATE": "TIME"}), units=days)
    )

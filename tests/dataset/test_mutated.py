"""Damaged tables: refused in a sentence, or read as somebody else reads them; never another way."""

from __future__ import annotations

import codecs
import io
import re
import time

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from popk_strategies import UNITS, bytes_mutated, event_tables, mutated, table

from popk.dataset import DataError, Layout, read_dataset
from popk.dataset.source import cell_text
from popk.errors import PopkError

MISSING = ("", ".", "NA", "NaN", "nan")
LONGEST = 10.0  # seconds of CPU for one file
WIDEST = 64  # columns
DOSED = ("AMT", "RATE", "ADDL", "II", "SS")
OPTIONAL = ("OCC", "DVID", "ASSAY")


def read_by_pandas(content, mark=",", decimal="."):
    """The cells of a text table as pandas reads them, stripped, without blank rows."""
    marked = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    text = content.decode("utf-16" if marked else "utf-8-sig").removeprefix("\ufeff")
    frame = pd.read_csv(
        io.StringIO(text, newline=""), sep=mark, header=None, names=range(WIDEST), dtype=str,
        na_filter=False, index_col=False, skipinitialspace=mark != "\t",
    )  # fmt: skip
    cells = frame.fillna("").map(str.strip)
    cells = cells[(cells != "").any(axis=1)].reset_index(drop=True)
    cells.columns = cells.iloc[0].str.upper()
    return cells.iloc[1:].reset_index(drop=True).map(lambda c: c.replace(decimal, ".") or c)


def expected(cells):
    """What the documented rules make of the cells, column by column."""
    size = len(cells)
    nothing = np.full(size, np.nan)

    def number(name):
        if name not in cells:
            return nothing
        return np.array([np.nan if c in MISSING else float(c) for c in cells[name]])

    def filled(name, value=0.0):
        return np.where(np.isnan(number(name)), value, number(name))

    whole = all(re.fullmatch(r"(0|[1-9][0-9]*)(\.0*)?", one) for one in cells["ID"])
    evid = number("EVID")
    mdv = np.where(evid == 0, filled("MDV"), 1.0)
    observed, dose = (evid == 0) & (mdv == 0), np.isin(evid, (1, 4))
    code = np.where(observed, filled("CENS" if "CENS" in cells else "BLQ"), 0.0)
    dv = np.where(observed, number("DV"), np.nan)
    lower = number("LLOQ") if "LLOQ" in cells else np.where(code == 1, dv, np.nan)
    upper = number("ULOQ") if "ULOQ" in cells else np.where(code == -1, dv, np.nan)
    found = {
        "ID": np.array([one.partition(".")[0] if whole else one for one in cells["ID"]]),
        "TIME": number("TIME"),
        "EVID": evid,
        "MDV": mdv,
        "CMT": filled("CMT"),
        "CENS": code,
        "DV": np.where(code == 1, lower, np.where(code == -1, upper, dv)),
        "LLOQ": lower,
        **{name: np.where(dose, filled(name), 0.0) for name in DOSED},
        **{name: number(name) for name in ("WT", "ADA")},
        **{name: filled(name, -1.0 if name == "ASSAY" else 0.0) for name in OPTIONAL
           if name in cells},
    }  # fmt: skip
    if "ULOQ" in cells or (code == -1).any():
        found["ULOQ"] = upper
    return found


def assert_same(dataset, wanted):
    """The data set holds what was expected, bit by bit."""
    assert {str(name) for name in dataset.table.data_vars} == set(wanted)
    for name, values in wanted.items():
        np.testing.assert_array_equal(dataset.table[name].values, values, err_msg=name)


def outcome(path, content, **settings):
    """The data set of a file, or None where it is refused in sentences that name its places."""
    path.write_bytes(content)
    began = time.process_time()
    try:
        found = read_dataset(path, units=UNITS, **settings)
    except DataError as fault:
        found = None
        errors = [one for one in fault.problems if one.severity == "error"]
        assert errors
        assert all(one.message and "\n" not in str(one.row) for one in errors)
        lines = 1 + content.count(b"\n") + content.count(b"\r")
        known = [one.row for one in errors if one.row is not None and path.suffix == ".csv"]
        assert all(1 <= row <= lines for row in known), errors
    except PopkError:
        found = None
    assert time.process_time() - began < LONGEST
    return found


def check_mutations(folder, n, seed):
    """Counts of files that were read and refused."""
    rng = np.random.default_rng(seed)
    read = 0
    forms = ((",", "."), (",", "."), (";", ","), ("\t", "."))
    for k in range(n):
        mark, decimal = forms[k % len(forms)]
        layout = None if mark == "," else Layout(mark, decimal)
        content = mutated(rng, table(mark=mark, decimal=decimal).encode(), mark.encode())
        found = outcome(folder / "table.csv", content, layout=layout)
        if found is not None:
            read += 1
            assert_same(found, expected(read_by_pandas(content, mark, decimal)))
    return read, n - read


def test_the_other_reader_agrees_on_what_is_whole(tmp_path):
    for mark, decimal in ((",", "."), (";", ","), ("\t", ".")):
        content = table(mark=mark, decimal=decimal).encode()
        found = outcome(tmp_path / "table.csv", content, layout=Layout(mark, decimal))
        assert_same(found, expected(read_by_pandas(content, mark, decimal)))
        assert found.warnings == ()


def test_150_damaged_tables(tmp_path):
    read, refused = check_mutations(tmp_path, 150, seed=1)
    assert min(read, refused) > 25


@pytest.mark.slow
def test_5000_damaged_tables(tmp_path):
    read, refused = check_mutations(tmp_path, 5000, seed=2)
    assert min(read, refused) > 500


def as_parquet(frame, path):
    frame.to_parquet(path)


def as_excel(frame, path):
    pytest.importorskip("openpyxl")
    with path.open("wb") as file:
        frame.to_excel(file, index=False, engine="openpyxl")


def as_transport(frame, path):
    pytest.importorskip("pyreadstat").write_xport(frame, str(path), file_format_version=5)


def check_binary(folder, write, n, seed):
    """Files with damaged bytes: no other error than a sentence may come out."""
    text = table().replace(",.,", ",,").replace(",.,", ",,")
    frame = pd.read_csv(io.StringIO(text))
    path = folder / "table.bin"
    write(frame, path)
    whole, rng = path.read_bytes(), np.random.default_rng(seed)
    assert outcome(path, whole, layout=Layout(names="nonmem")) is not None
    refused = 0
    for _ in range(n):
        content = whole
        for _ in range(int(rng.integers(1, 6))):
            content = bytes_mutated(rng, content)
        refused += outcome(path, content, layout=Layout(names="nonmem")) is None
    assert refused > n / 3


@pytest.mark.parametrize("write", [as_parquet, as_excel, as_transport])
def test_damaged_files_of_other_kinds(tmp_path, write):
    check_binary(tmp_path, write, 25, seed=3)


@pytest.mark.slow
@pytest.mark.parametrize("write", [as_parquet, as_excel, as_transport])
def test_many_damaged_files_of_other_kinds(tmp_path, write):
    check_binary(tmp_path, write, 700, seed=4)


@given(frame=event_tables())
@settings(max_examples=40, derandomize=True)
def test_any_event_table_is_read_as_it_stands(frame):
    found = read_dataset(frame, units=UNITS)
    cells = frame.map(cell_text)
    assert_same(found, expected(cells))
    assert read_dataset(found.to_frame(), units=UNITS) == found

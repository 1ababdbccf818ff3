from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from popk.dataset import DataError, read_dataset
from popk.units import UnitError

UNITS = {"time": "h", "amount": "mg", "concentration": "mg/L", "WT": "kg"}


def refused(read, content, **options) -> str:
    with pytest.raises(DataError) as caught:
        read(content, **options)
    assert any(problem.severity == "error" for problem in caught.value.problems)
    return str(caught.value)


def test_a_clean_table_gives_its_values_in_order(read, base):
    dataset = read(base)
    assert dataset.subjects == ("1", "2", "3", "4")
    assert dataset.warnings == ()
    assert dataset.n_observations == 12
    table = dataset.table.isel(record=slice(0, 5))
    np.testing.assert_array_equal(table["TIME"], [0, 1, 6, 11.5, 24])
    np.testing.assert_array_equal(table["AMT"], [301, 0, 0, 0, 0])
    np.testing.assert_array_equal(table["DV"], [np.nan, 9.1, 3.1, 0.5, np.nan])
    np.testing.assert_array_equal(table["MDV"], [1, 0, 0, 0, 1])
    np.testing.assert_array_equal(table["CENS"], [0, 0, 0, 1, 0])
    np.testing.assert_array_equal(table["record"], [2, 3, 4, 5, 6])


def test_variables_carry_units_and_types(read, base):
    table = read(base).table
    units = {name: table[name].attrs["units"] for name in table.data_vars}
    assert units["TIME"] == units["II"] == "h"
    assert (units["AMT"], units["RATE"], units["DV"], units["LLOQ"]) == (
        "mg", "mg/h", "mg/L", "mg/L",
    )  # fmt: skip
    assert units["WT"] == "kg"
    assert units["EVID"] == "1"
    integers = {name for name in table.data_vars if table[name].dtype == np.int64}
    assert integers == {"EVID", "ADDL", "SS", "CMT", "MDV", "CENS"}
    assert all(table[name].attrs["long_name"] for name in table.data_vars)


def test_absent_optional_columns_take_their_defaults(read, without):
    dataset = read(without("MDV", "CMT", "RATE", "ADDL", "II", "SS", "CENS", "LLOQ")
                   .replace(",24,0,.,.,", ",24,2,.,.,"))  # fmt: skip
    first = {name: dataset.table[name].values[:2].tolist() for name in dataset.table.data_vars}
    assert first["MDV"] == [1, 0]
    assert first["CMT"] == [0, 0]  # the default is not compartment 1
    assert not {"OCC", "DVID"} & set(first)
    assert first["RATE"] == first["ADDL"] == first["II"] == first["SS"] == first["CENS"] == [0, 0]
    assert np.isnan(first["LLOQ"]).all()


@pytest.mark.parametrize("cell", ["", ".", "NA", " "])
def test_missing_cells(read, change, cell):
    dataset = read(change((3, "RATE", cell), (3, "CMT", cell), (3, "MDV", cell)))
    assert dataset.table["CMT"].values[1] == 0
    assert dataset.is_observation[1]


@pytest.mark.parametrize(
    "rewrite",
    [
        lambda text: text.replace("\n", "\r\n"),
        lambda text: "\ufeff" + text,
        lambda text: text.replace("ID,TIME", " id , Time"),
        lambda text: text.replace("\n", "\n\n"),
        lambda text: text.replace("\n1,", '\n"1.0",').replace("\n2,", "\n2.,"),
        lambda text: text.replace("CENS", "BLQ"),
        lambda text: text.replace("301", "3.01e2"),
        lambda text: "\n".join(f"{n},{line}" for n, line in enumerate(text.splitlines())),
    ],
    ids=["crlf", "bom", "header-case", "blank-lines", "float-ids", "BLQ", "exponent", "index"],
)
def test_formatting_does_not_change_the_data(read, base, rewrite):
    assert read(rewrite(base)) == read(base)


def test_row_numbers_are_lines_of_the_file(read, base):
    spaced = base.replace("\n2,0,1,", "\n\n\n2,0,1,", 1)
    assert read(spaced).table["record"].values[5] == 9
    quoted = base.replace("ID,", '"a\nnote",ID,', 1).replace("\n1,", '\n"x\ny",1,').replace(
        "\n2,", "\n,2,").replace("\n3,", "\n,3,").replace("\n4,", "\n,4,")  # fmt: skip
    dataset = read(quoted)
    assert dataset.table["record"].values[:3].tolist() == [3, 5, 7]
    assert dataset.table["record"].values[5] == 13


def test_columns_renames_and_unused_are_listed(read, base):
    text = base.replace("DV,MDV", "CONC,MDV").replace("WT", "WGT")
    dataset = read(text, columns={"DV": "conc", "wt": "WGT"})
    assert dataset == read(base)
    assert read(base, units={k: v for k, v in UNITS.items() if k != "WT"}).unused_columns == ("WT",)
    assert "(the table's CONC)" in refused(
        read, text.replace("9.1", "x"), columns={"DV": "CONC", "WT": "WGT"}
    )


def test_a_rename_wins_over_the_same_name(read, base):
    text = base.replace("LLOQ,WT", "LLOQ,DOSE").replace("RATE", "WT", 1)
    dataset = read(text, columns={"WT": "DOSE"})
    assert dataset.table["WT"].values[0] == 61
    assert dataset.unused_columns == ("WT",)


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"WT": "WGT"}, ["WGT", "header holds", "WT"]),
        ({"FOO": "DV"}, ["FOO", "neither"]),
        ({"LLOQ": "DV"}, ["DV as DV and as LLOQ"]),
        ({"WT": "DV"}, ["DV as DV and as WT"]),
    ],
)
def test_wrong_renames_are_sentences(read, base, columns, words):
    message = refused(read, base, columns=columns)
    assert all(word in message for word in words)
    assert message.startswith("table.csv cannot be used: 1 error.")


def test_log_dv_is_stored_as_concentration(read, change):
    logs = change(
        *((row, "DV", repr(float(np.log(value)))) for row, value in ((3, 9.1), (4, 0.8))),
        (5, "DV", repr(float(np.log(0.5)))),
    )
    dataset = read(logs, log_dv=True)
    np.testing.assert_allclose(dataset.table["DV"].values[1:4], [9.1, 0.8, 0.5])
    assert dataset.table.attrs["log_dv"] == 1
    assert "finite" in refused(read, change((3, "DV", "800")), log_dv=True)


def test_frames_are_read_like_files(read, base, tmp_path):
    path = tmp_path / "frame.csv"
    path.write_text(base)
    frame = pd.read_csv(path, na_values=["."])
    assert read_dataset(frame, units=UNITS) == read(base)


def test_frames_of_other_libraries_are_read(read, base, tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    path = tmp_path / "frame.csv"
    path.write_text(base)
    frame = pyarrow.Table.from_pandas(pd.read_csv(path, na_values=["."]))
    assert read_dataset(frame, units=UNITS) == read(base)


def test_frame_rows_count_from_one(base, tmp_path):
    path = tmp_path / "frame.csv"
    path.write_text(base)
    frame = pd.read_csv(path, na_values=["."])
    frame.loc[1, "DV"] = -2.0
    with pytest.raises(DataError, match=r"row 2, ID 1, column DV: DV is -2.0"):
        read_dataset(frame, units=UNITS)


def test_frames_with_awkward_cells():
    frame = pd.DataFrame(
        {
            "ID": pd.array([1, 1, 2, 2], dtype="Int64"),
            "TIME": [0, 1.5, 0, 2],
            "EVID": [1, 0, 1, 0],
            "AMT": pd.array([100, None, 100, None], dtype="Int64"),
            "DV": [None, np.float32(2.5), None, 3.5],
            "MDV": [True, False, True, False],
            "WT": [70, 70, 80, 80],
        }
    )
    dataset = read_dataset(frame, units=UNITS)
    assert dataset.subjects == ("1", "2")
    np.testing.assert_array_equal(dataset.table["DV"], [np.nan, 2.5, np.nan, 3.5])
    dated = frame.assign(TIME=pd.to_datetime("2024-01-01"))
    with pytest.raises(DataError, match="not a date"):
        read_dataset(dated, units=UNITS)


def test_frames_that_are_no_tables():
    with pytest.raises(TypeError, match="was given int"):
        read_dataset(3, units=UNITS)
    twice = pd.DataFrame([[1, 2]], columns=["ID", "ID"])
    with pytest.raises(DataError, match="duplicate columns: ID"):
        read_dataset(twice, units=UNITS)
    with pytest.raises(DataError, match="no records"):
        read_dataset(pd.DataFrame({"ID": []}), units=UNITS)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", ["empty"]),
        ("\n \n", ["empty"]),
        ("ID,TIME,EVID,AMT,DV,WT\n", ["header but no records"]),
        ("ID;TIME;EVID\n1;0,5;1\n", ["semicolons", "delimiter", "decimal"]),
        ("ID\tTIME\n1\t0\n", ["tabs", "comma"]),
        ("ID TIME\n1 0\n", ["blanks"]),
        ("ID,TIME,EVID,AMT,DV,WT\n1,0,1,\xfc,.,70\n".encode("latin-1"), ["UTF-8"]),
        (b"PK\x03\x04\x00\x00", ["not text"]),
        ('ID,TIME,EVID,AMT,DV,WT\n1,0,1,"100,.,70\n', ["quotation", "row 2"]),
        ("ID,TIME,EVID,AMT,DV,WT\n1,0,5,1,100,.,70\n", ["row 2", "7 cells", "6 columns"]),
        ("ID,TIME,EVID,AMT,DV,WT\n1,0,1\n", ["row 2", "3 cells", "6 columns"]),
    ],
)
def test_files_that_are_no_tables_get_a_sentence(read, content, words):
    message = refused(read, content)
    assert all(word in message for word in words)
    assert message.startswith("table.csv cannot be used: 1 error.")


def test_files_that_are_not_there(tmp_path):
    with pytest.raises(DataError, match="no file"):
        read_dataset(tmp_path / "none.csv", units=UNITS)
    with pytest.raises(DataError, match="folder"):
        read_dataset(tmp_path, units=UNITS)


@pytest.mark.parametrize("column", ["ID", "TIME", "EVID", "AMT", "DV"])
def test_missing_required_columns_are_the_only_error(read, without, column):
    with pytest.raises(DataError) as caught:
        read(without(column))
    (error,) = [p for p in caught.value.problems if p.severity == "error"]
    assert error.column == column
    assert "missing" in error.message


def test_all_header_problems_come_at_once(read, without):
    message = refused(read, without("TIME", "DV", "WT"))
    assert all(f"column {name}: " in message for name in ("TIME", "DV", "WT"))


def test_duplicate_columns_are_refused_in_any_case(read, base):
    assert "duplicate" in refused(read, base.replace("LLOQ,WT", "time,WT"))


def test_covariates_are_those_declared(read, base):
    for name in ("DV", "OCC", "dvid"):
        with pytest.raises(UnitError, match=f"{name.upper()} is a data column"):
            read(base, units=UNITS | {name: "1"})
    assert "AGE is declared" in refused(read, base, units=UNITS | {"AGE": "a"})
    assert "differing in case" in refused(read, base, units=UNITS | {"wt": "kg"})


def test_everything_wrong_is_listed_at_once(read, change):
    message = refused(
        read, change((3, "DV", "abc"), (7, "AMT", -5), (8, "EVID", 9), (13, "WT", ""))
    )
    for place in ("row 3, ID 1, column DV", "row 7, ID 2, column AMT", "row 8, ID 2, column EVID",
                  "row 13, ID 3, column WT"):  # fmt: skip
        assert place in message
    assert "4 errors" in message

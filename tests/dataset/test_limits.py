"""Limits of quantification on both sides, and assays."""

from __future__ import annotations

import numpy as np
import pytest

from popk.dataset import DataError, Dataset, read_dataset

UNITS = {"time": "h", "amount": "mg", "concentration": "mg/L"}
HEADER = "ID,TIME,EVID,AMT,DV,CENS"


def text(*rows, more=""):
    lines = [f"{HEADER}{more}", *(",".join(map(str, row)) for row in rows)]
    return "\n".join(lines) + "\n"


@pytest.fixture
def read(tmp_path):
    def from_text(content, **options):
        path = tmp_path / "table.csv"
        path.write_text(content)
        return read_dataset(path, units=UNITS, **options)

    return from_text


def problems(read, content):
    with pytest.raises(DataError) as caught:
        read(content)
    return [p for p in caught.value.problems if p.severity == "error"]


DOSE = ("1", 0, 1, 300, ".", 0)
BOTH = [(*DOSE, ".", "."), (1, 1, 0, ".", 20, -1, 1, 12), (1, 2, 0, ".", 5, 0, 2, 12),
        (1, 9, 0, ".", 0, 1, 2, ".")]  # fmt: skip


def test_limits_of_each_record(read):
    data = read(text(*BOTH, more=",LLOQ,ULOQ"))
    assert data.table["CENS"].values.tolist() == [0, -1, 0, 1]
    np.testing.assert_array_equal(data.table["DV"], [np.nan, 12.0, 5.0, 2.0])
    np.testing.assert_array_equal(data.table["ULOQ"], [np.nan, 12.0, 12.0, np.nan])
    np.testing.assert_array_equal(data.table["LLOQ"], [np.nan, 1.0, 2.0, 2.0])
    assert data.table["ULOQ"].attrs["units"] == "mg/L"
    assert "1 BLQ (33 %)" in repr(data)
    assert "1 above the ULOQ" in repr(data)
    assert "measured 5 mg/L" in repr(data)
    assert read_dataset(data.to_frame(), units=UNITS) == data
    assert Dataset.from_xarray(data.to_xarray()) == data


def test_without_columns_dv_is_the_limit(read):
    data = read(text(DOSE, (1, 1, 0, ".", 12, -1), (1, 2, 0, ".", 5, 0), (1, 9, 0, ".", 2, 1)))
    np.testing.assert_array_equal(data.table["DV"], [np.nan, 12.0, 5.0, 2.0])
    np.testing.assert_array_equal(data.table["ULOQ"], [np.nan, 12.0, np.nan, np.nan])
    logs = read(text(DOSE, (1, 1, 0, ".", np.log(12), -1), (1, 2, 0, ".", 0.5, 0)), log_dv=True)
    np.testing.assert_allclose(logs.table["ULOQ"].values[1], 12.0)


def test_data_without_upper_limits_have_no_such_column(read):
    data = read(text(DOSE, (1, 1, 0, ".", 12, 0), (1, 9, 0, ".", 2, 1)))
    assert "ULOQ" not in data.table
    assert "ASSAY" not in data.table


@pytest.mark.parametrize(
    ("row", "column", "said"),
    [
        ((1, 1, 0, ".", 20, -1, 1, "."), "ULOQ", "missing on a record with CENS -1"),
        ((1, 1, 0, ".", 20, 0, 1, -3), "ULOQ", "the upper limit of quantification must be pos"),
        ((1, 1, 0, ".", 5, 0, 2, 2), "ULOQ", "not above the LLOQ of its record"),
        ((1, 1, 0, ".", 5, 2, 2, 9), "CENS", "it must be 0, 1 or -1"),
        ((1, 1, 0, ".", ">12", 0, 2, 9), "DV", "not a number"),
    ],
)
def test_errors(read, row, column, said):
    (problem,) = problems(read, text((*DOSE, ".", "."), row, *BOTH[2:], more=",LLOQ,ULOQ"))
    assert (problem.row, problem.column) == (3, column)
    assert said in problem.message
    if column == "DV":
        assert "CENS -1" in problem.remedy


def test_a_limit_that_is_nowhere_is_an_error(read):
    (problem,) = problems(read, text(DOSE, (1, 1, 0, ".", ".", -1), (1, 2, 0, ".", 5, 0)))
    assert "CENS -1, and the table has no ULOQ column" in problem.message


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ((1, 1, 0, ".", 9, -1, 1, 12), "below the ULOQ of its record, though CENS is -1; it "
         "is used as above the ULOQ"),
        ((1, 1, 0, ".", 13, 0, 1, 12), "above the ULOQ of its record, though CENS is not -1"),
    ],
)  # fmt: skip
def test_warnings(read, row, said):
    found = [p for p in read(text(BOTH[0], row, BOTH[2], more=",LLOQ,ULOQ")).warnings if p.row == 3]
    assert len(found) == 1
    assert said in found[0].message


def test_cens_on_a_dose_is_ignored_with_a_warning(read):
    dose = (1, 0, 1, 300, ".", -1)
    (warning,) = (p for p in read(text(dose, (1, 2, 0, ".", 5, 0))).warnings if p.row == 2)
    assert "CENS is -1 on a record that is no observation" in warning.message


def test_assays(read):
    rows = [(*DOSE, "."), (1, 1, 0, ".", 9, 0, 0), (1, 2, 0, ".", 5, 0, 1)]
    data = read(text(*rows, more=",LAB"), columns={"ASSAY": "LAB"})
    assert data.table["ASSAY"].values.tolist() == [-1, 0, 1]
    assert "assays: 0, 1" in repr(data)
    assert data.covariates == ()
    assert "ASSAY" not in read(text(*rows, more=",LAB")).table


@pytest.mark.parametrize(
    ("cell", "said"),
    [(".", "missing on an observation"), (-2, "a whole number from 0 on"), (0.5, "a whole number")],
)
def test_an_observation_without_an_assay(read, cell, said):
    rows = [(*DOSE, "."), (1, 1, 0, ".", 9, 0, 0), (1, 2, 0, ".", 5, 0, cell)]
    (problem,) = problems(read, text(*rows, more=",ASSAY"))
    assert (problem.row, problem.column) == (4, "ASSAY")
    assert said in problem.message

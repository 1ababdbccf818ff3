"""Covariates that change within a subject: blank cells, and what each rule makes of them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from popk.dataset import DataError, read_dataset
from popk.errors import SettingError

UNITS = {"time": "h", "amount": "mg", "concentration": "mg/L", "WT": "kg"}


def read(weights, *, times=None, restart=None, carry=None, subject="1"):
    """One subject dosed at its first record (again, after a reset, at record `restart`)."""
    size = len(weights)
    evid = np.zeros(size, dtype=int)
    evid[0] = 1
    if restart is not None:
        evid[restart] = 4
    frame = pd.DataFrame(
        {
            "ID": subject,
            "TIME": np.arange(size) * 10.0 if times is None else times,
            "EVID": evid,
            "AMT": np.where(evid > 0, 100.0, 0.0),
            "DV": np.where(evid > 0, np.nan, 5.0),
            "WT": weights,
        }
    )
    other = frame.assign(ID="2", WT=50.0)
    return read_dataset(pd.concat([frame, other]), units=UNITS, carry=carry)


def weights(dataset):
    return dataset.table["WT"].values[: dataset.starts[1]].tolist()


nan = np.nan


@pytest.mark.parametrize(
    ("carry", "expected"),
    [
        ("locf", [60, 60, 60, 66, 66]),
        ("nocb", [60, 66, 66, 66, 69]),
        ("linear", [60, 62, 64, 66, 69]),
    ],
)
def test_blanks_are_filled_as_the_rule_says(carry, expected):
    blank = [60, nan, nan, 66, 69]
    if carry == "locf":
        blank[4] = nan
    dataset = read(blank, carry=carry)
    assert weights(dataset) == pytest.approx(expected, abs=1e-12)
    assert dataset.warnings == ()
    assert read(expected, carry=carry) == dataset


@pytest.mark.parametrize(
    ("carry", "expected", "rows"),
    [
        ("locf", [60, 60, 60, 66, 66], [1, 2]),
        ("nocb", [60, 60, 60, 66, 66], [5]),
        ("linear", [60, 60, 60, 66, 66], []),
    ],
)
def test_blanks_beyond_the_known_values_take_the_nearest(carry, expected, rows):
    dataset = read([nan, nan, 60, 66, nan], carry=carry)
    assert weights(dataset) == expected
    assert [(w.row, w.id, w.column) for w in dataset.warnings] == [(r, "1", "WT") for r in rows]
    assert all("nearest known value" in warning.message for warning in dataset.warnings)


def test_blanks_do_not_take_another_subjects_value():
    assert weights(read([60, nan, nan], carry="nocb")) == [60, 60, 60]
    turned = read([nan, 60.0], carry="locf", subject="0")
    assert turned.table["WT"].values.tolist() == [60, 60, 50, 50]


@pytest.mark.parametrize("carry", [None, "nonmem"])
def test_blanks_are_errors_where_no_rule_fills_them(carry):
    with pytest.raises(DataError) as caught:
        read([60, nan, 60], carry=carry)
    (error,) = caught.value.problems
    assert (error.row, error.id, error.column) == (2, "1", "WT")
    assert f"carry {carry!r}" in error.remedy


@pytest.mark.parametrize("carry", ["locf", "nocb", "linear"])
def test_a_subject_of_whom_nothing_is_known_is_an_error(carry):
    with pytest.raises(DataError) as caught:
        read([nan, nan, nan], carry=carry)
    (error,) = caught.value.problems
    assert (error.row, error.id, error.column) == (1, "1", "WT")
    assert "no value to carry" in error.message


def test_lines_follow_the_times_and_do_not_cross_a_reset():
    values = [60, nan, 70, nan, nan, 90]
    dataset = read(values, times=[0, 2, 10, 0, 4, 8], restart=3, carry="linear")
    assert weights(dataset) == pytest.approx([60, 62, 70, 90, 90, 90])
    assert dataset.warnings == ()
    values[5] = nan
    dataset = read(values, times=[0, 2, 10, 0, 4, 8], restart=3, carry="linear")
    assert weights(dataset)[3:] == [70, 70, 70]
    assert [warning.row for warning in dataset.warnings] == [4, 5, 6]


def test_records_at_one_time_have_no_line_between_them():
    dataset = read([60, 62, nan, 70], times=[0, 5, 5, 5], carry="linear")
    assert weights(dataset) == [60, 62, 62, 70]


def test_a_covariate_that_does_not_change_needs_no_rule():
    dataset = read([60, 60, 60])
    assert (dataset.carry, dataset.varying) == (None, ())


@pytest.mark.parametrize("carry", ["LOCF", "", 1, ["locf"]])
def test_unknown_rules_are_refused_with_the_known_ones(carry):
    with pytest.raises(SettingError, match=r'"nonmem" \(the record at the end') as caught:
        read([60, 60], carry=carry)
    assert repr(carry) in str(caught.value)

"""Covariates that are missing in a subject: refused, or imputed and said so."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pandas as pd
import pytest

from popk.dataset import DataError, Dataset, read_dataset
from popk.errors import SettingError

UNITS = {"time": "d", "amount": "mg", "concentration": "mg/L", "WT": "kg", "ALB": "g/L"}
MISSING = {"ALB": "median", "WT": 72.0}


def frame(albumin=(40.0, None, 44.0, 41.0), weight=(60.0, 70.0, None, 90.0)):
    """Four subjects with a dose and two observations each."""
    rows = [
        {"ID": k + 1, "TIME": t, "EVID": int(t == 0), "AMT": 300 if t == 0 else None,
         "DV": None if t == 0 else 30.0 - t, "WT": w, "ALB": a}
        for k, (a, w) in enumerate(zip(albumin, weight, strict=True))
        for t in (0, 7, 14)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def read(table=None, missing=MISSING, **settings):
    table = frame() if table is None else table
    return read_dataset(table, units=UNITS, missing=missing, **settings)


def by_subject(dataset, name):
    return dataset.covariate_table()[name].tolist()


@pytest.mark.parametrize("blank", [".", "NA", ""])
def test_without_a_rule_it_is_refused_with_row_and_id(blank):
    table = frame().astype(object).where(frame().notna(), blank)
    with pytest.raises(DataError) as refusal:
        read(table, missing={"WT": 72.0})
    found = refusal.value.problems
    assert {(p.row, p.id, p.column) for p in found if p.severity == "error"} == {
        (4, "2", "ALB"), (5, "2", "ALB"), (6, "2", "ALB"),
    }  # fmt: skip
    assert "missing says what stands in where nothing is known of a subject" in str(refusal.value)
    with pytest.raises(DataError, match=r'say with missing what stands in its place: {"ALB": "med'):
        read(table, missing=None, carry="locf")


def test_the_median_of_the_others_or_a_constant_stands_in():
    data = read()
    assert by_subject(data, "ALB") == [40.0, 41.0, 44.0, 41.0]
    assert by_subject(data, "WT") == [60.0, 70.0, 72.0, 90.0]
    assert (data.table["ALB"].values[3:6] == 41.0).all()
    assert [(v.id, v.column, v.value, v.rule) for v in data.imputed] == [
        ("2", "ALB", 41.0, "median"),
        ("3", "WT", 72.0, "constant"),
    ]


def test_each_use_is_a_warning_with_row_id_column_and_value():
    found = {(p.row, p.id, p.column): p.message for p in read().warnings}
    assert found == {
        (4, "2", "ALB"): "ALB is missing in all 3 records of the subject; 41 g/L, the median of "
        "the 3 subjects whose first value is known, stands in its place.",
        (7, "3", "WT"): "WT is missing in all 3 records of the subject; 72 kg, the constant given "
        "with missing, stands in its place.",
    }


@pytest.mark.parametrize(
    ("albumin", "value", "words"),
    [
        ((1, None, 3, 3), 3.0, "the most frequent value (2 of the 3 subjects whose first value is"),
        ((3, None, 1, None), 1.0, "the lowest of the 2 most frequent values (1 of the 2 subjects"),
    ],
)
def test_the_most_frequent_category_stands_in(albumin, value, words):
    data = read(frame(albumin=albumin), missing={"ALB": "mode", "WT": 72.0})
    assert by_subject(data, "ALB")[1] == value
    assert ("2", "ALB", value, "mode") in [(v.id, v.column, v.value, v.rule) for v in data.imputed]
    assert words in next(p.message for p in data.warnings if p.column == "ALB")


def test_nobody_has_a_most_frequent_category():
    with pytest.raises(DataError, match="missing in every record of every subject: there is no mo"):
        read(frame(albumin=[None] * 4), missing={"ALB": "mode", "WT": 72.0})


def test_the_median_is_of_the_first_known_value_of_each_subject():
    table = frame()
    table.loc[table["ID"] == 1, "ALB"] = [np.nan, 30.0, 99.0]
    data = read(table, carry="locf")
    assert by_subject(data, "ALB") == [30.0, 41.0, 44.0, 41.0]


def test_a_subject_of_whom_something_is_known_is_left_to_the_carry_rule():
    table = frame()
    table.loc[1, "WT"] = np.nan
    with pytest.raises(DataError) as refusal:
        read(table)
    assert {(p.row, p.id) for p in refusal.value.problems if p.severity == "error"} == {(2, "1")}
    assert by_subject(read(table, carry="locf"), "WT") == [60.0, 70.0, 72.0, 90.0]


def test_a_rule_that_is_not_needed_changes_nothing():
    whole = frame(albumin=(40.0,) * 4, weight=(70.0,) * 4)
    assert read(whole) == read(whole, missing=None)
    assert read(whole).imputed == ()
    assert not read(whole).warnings


def test_the_fingerprint_tells_imputed_from_measured():
    data = read()
    same = read(frame(albumin=(40.0, 41.0, 44.0, 41.0), weight=(60.0, 70.0, 72.0, 90.0)))
    for name in ("ALB", "WT"):
        np.testing.assert_array_equal(data.table[name].values, same.table[name].values)
    assert data != same
    changed = {
        s for s, own in data.subject_fingerprints.items() if own != same.subject_fingerprints[s]
    }
    assert changed == {"2", "3"}
    assert data.select("1") == same.select("1")
    assert data.select(["2"]) != same.select(["2"])
    assert [v.column for v in data.select(["2"]).imputed] == ["ALB"]


def test_what_was_imputed_is_stored():
    data = read()
    for again in (Dataset.from_xarray(data.to_xarray()), pickle.loads(pickle.dumps(data))):
        assert again == data
        assert again.imputed == data.imputed
        assert again.warnings == data.warnings
    plain = read(frame((40.0,) * 4, (70.0,) * 4), missing=None)
    assert "imputed" not in plain.to_xarray().attrs


def test_no_median_where_nobody_was_measured():
    with pytest.raises(DataError, match=r"ALB is missing in every record of every subject: there"):
        read(frame(albumin=(None,) * 4))
    data = read(frame(albumin=(None,) * 4), missing={"ALB": 40, "WT": 70})
    assert by_subject(data, "ALB") == [40.0] * 4


@pytest.mark.parametrize(
    ("missing", "sentence"),
    [
        (
            {"AGE": 40.0},
            "missing names AGE, which is not a covariate declared in units; these are WT, ALB.",
        ),
        (
            {"ALB": "mean"},
            "missing says 'mean' for ALB; expected \"median\" (of the subjects whose value is "
            'known), "mode" (the most frequent of them, for categories), "model" (a model with the '
            "latent covariate estimates it) or a number in its unit.",
        ),
        (
            {"ALB": math.nan},
            'missing says nan for ALB; expected "median" (of the subjects whose value is '
            'known), "mode" (the most frequent of them, for categories), "model" (a model with the '
            "latent covariate estimates it) or a number in its unit.",
        ),
        ({"WT": 0}, "missing says 0 for WT (kg); it must be positive."),
        ("median", 'missing is \'median\'; give a mapping such as {"WT": "median", "ALB": 40.0}.'),
    ],
)
def test_refusals(missing, sentence):
    with pytest.raises(SettingError) as refusal:
        read(missing=missing)
    assert str(refusal.value) == sentence


def test_what_is_left_to_the_model_stays_missing_and_is_said():
    data = read(missing={"ALB": "model", "WT": 72.0})
    assert np.isnan(data.covariate_table()["ALB"]).tolist() == [False, True, False, False]
    assert [(v.id, v.column, v.value, v.rule) for v in data.imputed] == [
        ("2", "ALB", None, "model"),
        ("3", "WT", 72.0, "constant"),
    ]
    (said,) = (p for p in data.warnings if p.column == "ALB")
    assert (said.row, said.id) == (4, "2")
    assert (
        said.message == "ALB is missing in all 3 records of the subject; it is left to the model."
    )
    assert data.varying == ()
    assert data.parameter_rows().n_rows == 4
    assert np.isnan(data.parameter_rows().covariates["ALB"]).tolist() == [False, True, False, False]
    assert "median 41, 40 to 44 g/L; left to the model in 1 subject" in repr(data)
    for again in (Dataset.from_xarray(data.to_xarray()), pickle.loads(pickle.dumps(data))):
        assert again == data
        assert again.imputed == data.imputed
    assert data != read()


def test_nobody_may_be_measured_where_a_model_knows():
    data = read(frame(albumin=(None,) * 4), missing={"ALB": "model", "WT": 70})
    assert np.isnan(data.table["ALB"].values).all()
    assert "not known of any subject" in repr(data)


@pytest.mark.parametrize("carry", ["locf", "nocb", "linear", "nonmem"])
def test_what_is_left_to_the_model_does_not_change_under_a_carry_rule(carry):
    table = frame(weight=(60.0, 70.0, 80.0, 90.0))
    table.loc[table["ID"] == 1, "ALB"] = [40.0, 30.0, 35.0]
    data = read(table, missing={"ALB": "model"}, carry=carry)
    rows = data.parameter_rows()
    assert data.varying == ("ALB",)
    assert (rows.subject == 1).sum() == 1
    assert np.isnan(rows.covariates["ALB"][rows.subject == 1]).all()


def test_an_accidental_gap_is_refused():
    data = read(missing={"ALB": "model", "WT": 72.0})
    with pytest.raises(DataError, match="The covariate ALB has no finite value in row 4, ID 2"):
        Dataset(data.table, data.units, data.covariates)

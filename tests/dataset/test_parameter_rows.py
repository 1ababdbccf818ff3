"""Parameter rows: which values hold when, under each rule."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from popk.dataset import read_dataset
from popk.errors import SettingError

UNITS = {"time": "h", "amount": "mg", "concentration": "mg/L", "WT": "kg", "AGE": "a"}


def read(*subjects, carry=None, **columns):
    """Subjects of (TIME, EVID, WT) records; further columns over all records."""
    rows = [(k, *record) for k, subject in enumerate(subjects, start=1) for record in subject]
    frame = pd.DataFrame(rows, columns=["ID", "TIME", "EVID", "WT"])
    dose = frame["EVID"].isin([1, 4])
    frame = frame.assign(AMT=100.0 * dose, DV=np.where(frame["EVID"] == 0, 5.0, np.nan), AGE=40.0)
    return read_dataset(frame.assign(**columns), units=UNITS, carry=carry)


def switches(rows):
    found = (rows.switch_record, rows.switch_time, rows.switch_row)
    return list(zip(*(part.tolist() for part in found), strict=True))


STEPS = [(0, 1, 60), (10, 0, 70), (20, 0, 70), (30, 1, 60), (40, 0, 80)]
OTHER = [(5, 1, 50), (6, 0, 50)]


def test_without_change_a_subject_is_one_row():
    data = read(OTHER, [(0, 1, 60), (3, 0, 60)])
    for carry in (None, "nonmem", "linear"):
        again = read_dataset(data.to_frame(), units=UNITS, carry=carry)
        rows = again.parameter_rows()
        assert rows.first.tolist() == [0, 1, 2]
        assert rows.subject.tolist() == [0, 1]
        assert rows.occasion.tolist() == [1, 1]
        assert rows.covariates.to_dict("list") == {"WT": [50, 60], "AGE": [40, 40]}
        assert rows.covariates.attrs["units"] == {"WT": "kg", "AGE": "a"}
        assert rows.record_row.tolist() == [0, 0, 0, 0]
        assert switches(rows) == []


@pytest.mark.parametrize(
    ("carry", "times"),
    [("nonmem", (0, 20, 30)), ("nocb", (0, 20, 30)), ("locf", (10, 30, 40))],
)
def test_a_step_holds_from_the_record_that_the_rule_names(carry, times):
    rows = read(OTHER, STEPS, OTHER, carry=carry).parameter_rows()
    assert rows.first.tolist() == [0, 1, 4, 5]
    assert rows.subject.tolist() == [0, 1, 1, 1, 2]
    assert rows.covariates["WT"].tolist() == [50, 60, 70, 80, 50]
    assert rows.record_row.tolist() == [0, 0, 0, 1, 1, 0, 2, 0, 0]
    # The row of 60 kg is used again; switches stand before the record that brings the change.
    assert switches(rows) == [(3, times[0], 1), (5, times[1], 0), (6, times[2], 2)]


@pytest.mark.parametrize(
    ("carry", "time"), [(None, 10), ("nonmem", 10), ("locf", 20), ("linear", 10)]
)
def test_occasions_follow_the_rule_of_the_covariates(carry, time):
    steps = [(t, evid, 60) for t, evid, _ in STEPS]
    data = read(steps, carry=carry, OCC=[1, 1, 7, 7, 1])
    rows = data.parameter_rows()
    assert rows.occasion.tolist() == [1, 7]
    assert rows.record_row.tolist() == [0, 0, 1, 1, 0]
    assert switches(rows)[0] == (2, time, 1)
    assert len(switches(rows)) == 2
    without = data.parameter_rows(occasions=False)
    assert (without.n_rows, without.occasion.tolist()) == (1, [1])


def test_only_the_covariates_that_matter_make_rows():
    data = read(STEPS, carry="linear")
    rows = data.parameter_rows(covariates=["AGE"])
    assert rows.n_rows == 1
    assert list(rows.covariates) == ["AGE"]
    none = data.parameter_rows(covariates=[])
    assert (none.n_rows, none.covariates.shape) == (1, (1, 0))
    with pytest.raises(SettingError, match="no covariate BMI; they have WT, AGE"):
        data.parameter_rows(covariates=["BMI"])


def test_combinations_are_told_apart():
    data = read(STEPS, carry="nonmem", AGE=[1, 1, 2, 1, 2], OCC=[1, 1, 1, 2, 2])
    rows = data.parameter_rows()
    found = list(zip(*rows.covariates.to_dict("list").values(), rows.occasion, strict=True))
    assert found == [(60, 1, 1), (70, 1, 1), (70, 2, 1), (60, 1, 2), (80, 2, 2)]
    assert rows.record_row.tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("end", "pieces"),
    [(60.5, 4), (64.7, 4), (64.9, 5), (72, 10), (120, 50), (40, 25), (1e6, 64)],
)
def test_an_interval_is_cut_by_the_size_of_the_change(end, pieces):
    rows = read([(0, 1, 60), (12, 0, end)], carry="linear").parameter_rows()
    assert rows.n_rows == pieces + 2
    middle = 60 + (end - 60) * (np.arange(pieces) + 0.5) / pieces
    np.testing.assert_allclose(rows.covariates["WT"], [60, *middle, end], rtol=1e-14)
    np.testing.assert_allclose(rows.switch_time, [*np.arange(pieces) * 12 / pieces, 12])
    assert rows.switch_record.tolist() == [1] * (pieces + 1)
    assert rows.switch_row.tolist() == list(range(1, pieces + 2))
    assert rows.record_row.tolist() == [0, pieces + 1]
    if pieces < 64:
        steps = np.abs(np.diff(rows.covariates["WT"]))[1:-1]
        assert steps.max() / min(60, end) <= 0.02 + 1e-12 or pieces == 4


def test_a_dose_between_pieces_has_its_own_row_but_no_switch():
    data = read([(0, 1, 60), (10, 1, 61), (20, 0, 61), (30, 0, 60)], carry="linear")
    rows = data.parameter_rows()
    own = rows.record_row
    assert rows.covariates["WT"].to_numpy()[own].tolist() == [60, 61, 61, 60]
    times = [0, 2.5, 5, 7.5, 10, 20, 22.5, 25, 27.5, 30]
    records = [1, 1, 1, 1, 2, 3, 3, 3, 3, 3]
    assert (rows.switch_time.tolist(), rows.switch_record.tolist()) == (times, records)
    # At 10 the switch stands after the dose, for the interval without change.
    assert rows.switch_row[4] == own[1] == own[2]
    assert rows.switch_row[-1] == 0
    # The way back passes the same midpoints.
    assert rows.switch_row[5:9].tolist() == rows.switch_row[3::-1].tolist()
    assert rows.n_rows == 6


def test_a_jump_at_one_time_and_a_change_of_sign():
    data = read([(0, 1, 60), (0, 0, 70), (5, 0, 70)], carry="linear", AGE=[40, 40, 40])
    assert switches(data.parameter_rows()) == [(1, 0, 1)]
    data = read(OTHER, carry="linear", AGE=[0.0, 1.0])
    assert data.parameter_rows().n_rows == 66


def test_where_time_starts_again_no_switch_goes_back_before_the_reset():
    steps = [(0, 1, 60), (50, 0, 60), (0, 4, 70), (5, 0, 70)]
    for carry in ("nonmem", "nocb", "locf", "linear"):
        assert switches(read(steps, carry=carry).parameter_rows()) == [(2, 50, 1)]


def test_rows_are_exact_against_a_plain_walk_through_the_records():
    rng = np.random.default_rng(5)
    subjects = [
        [(t, int(t == 0), float(w)) for t, w in enumerate(rng.integers(50, 53, size=n))]
        for n in rng.integers(2, 9, size=40)
    ]
    occasions = np.concatenate([np.sort(rng.integers(1, 4, size=len(s))) for s in subjects])
    rows = read(*subjects, carry="locf", OCC=occasions).parameter_rows()
    at = 0
    expected = []
    for subject, steps in enumerate(subjects):
        seen = []
        for _, _, weight in steps:
            key = (weight, int(occasions[at]))
            if key not in seen:
                seen.append(key)
            assert rows.record_row[at] == seen.index(key)
            at += 1
        expected += [(subject, *key) for key in seen]
        assert rows.first[subject + 1] == len(expected)
    weights = rows.covariates["WT"]
    assert list(zip(rows.subject, weights, rows.occasion, strict=True)) == expected

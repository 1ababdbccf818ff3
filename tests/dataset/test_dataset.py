from __future__ import annotations

import copy
import dataclasses
import io
import pickle

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from popk.dataset import DataError, Dataset, read_dataset
from popk.dataset.carry import CARRY
from popk.errors import SettingError

UNITS = {"time": "h", "amount": "mg", "concentration": "mg/L", "WT": "kg"}


@pytest.fixture
def dataset(read, change):
    # One warning, so that warnings are stored too.
    return read(change((2, "DV", 5)))


def test_arrays_are_read_only(dataset):
    for name in dataset.table.data_vars:
        values = dataset.table[name].values
        with pytest.raises(ValueError, match="read-only"):
            values[0] = values[1]
    with pytest.raises(ValueError, match="read-only"):
        dataset.is_observation[0] = True
    with pytest.raises(dataclasses.FrozenInstanceError):
        dataset.units = None


def test_copies_stay_equal_and_read_only(dataset):
    for again in (pickle.loads(pickle.dumps(dataset)), copy.deepcopy(dataset)):
        assert again == dataset
        assert hash(again) == hash(dataset)
        assert not again.table["DV"].values.flags.writeable


@pytest.mark.parametrize(
    "cell",
    [
        (3, "DV", 9.2),
        (3, "TIME", 1.1),
        (2, "AMT", 1),
        (2, "CMT", 2),
        (6, "MDV", 0),
        (3, "LLOQ", 0.4),
    ],
)
def test_every_value_is_part_of_the_fingerprint(read, base, change, cell):
    cells = [cell, (6, "DV", 1)] if cell[1] == "MDV" else [cell]
    one, other = read(base), read(change(*cells))
    assert one != other
    assert one.fingerprint != other.fingerprint
    changed = [
        s for s in one.subjects if one.subject_fingerprints[s] != other.subject_fingerprints[s]
    ]
    assert changed == ["1"]


def test_fingerprints_of_stored_results_stay_valid(read, base):
    """Those that results refer to: they must not change while the table means the same."""
    dataset = read(base)
    known = "620fbc8be96826b9ecbbab9634ac384f6d1ac661694cf42e3c80af17d5ccb236"
    assert dataset.fingerprint == known
    known = "c3d15ae5ac705240d8c09d53058b04c8529975585bb52476661faa30d473e524"
    assert dataset.subject_fingerprints["2"] == known


def test_carry_occasions_and_outputs_are_part_of_the_fingerprint(read, base):
    def more(name, value):
        header, *lines = base.splitlines()
        return "\n".join([f"{header},{name}", *(f"{line},{value}" for line in lines)])

    kinds = [read(base), *(read(base, carry=rule) for rule in CARRY)]
    kinds += [read(more(name, value)) for name in ("OCC", "DVID") for value in (1, 2)]
    assert len({kind.fingerprint for kind in kinds}) == len(set(kinds)) == 9
    assert len({kind.subject_fingerprints["1"] for kind in kinds}) == 9
    for kind in kinds:
        again = Dataset.from_xarray(kind.to_xarray())
        assert (again, again.carry) == (kind, kind.carry)
        assert pickle.loads(pickle.dumps(kind)).carry == kind.carry
        assert kind.select(["1"]).carry == kind.carry
        assert read_dataset(kind.to_frame(), units=UNITS, carry=kind.carry) == kind


def test_carry_survives_netcdf(read, change, tmp_path):
    dataset = read(change((4, "WT", 99)), carry="locf")
    path = tmp_path / "data.nc"
    dataset.to_xarray().to_netcdf(path, engine="h5netcdf")
    again = Dataset.from_xarray(xr.load_dataset(path, engine="h5netcdf"))
    assert again == dataset
    assert again.carry == "locf"


def test_units_and_names_are_part_of_the_fingerprint(read, base):
    prints = {
        read(base, units=UNITS | change).fingerprint
        for change in ({}, {"time": "d"}, {"WT": "1"}, {"concentration": "ug/mL"})
    }
    prints.add(
        read(base.replace("WT", "MASS"), units=_without_weight() | {"MASS": "kg"}).fingerprint
    )
    prints.add(read(base, units=_without_weight()).fingerprint)
    assert len(prints) == 6


def test_the_order_of_covariates_is_not_part_of_the_fingerprint(read, base):
    text = base.replace("SS,CMT", "AGE,CMT")
    one = read(text, units=UNITS | {"AGE": "a"})
    other = read(text, units=_without_weight() | {"AGE": "a", "WT": "kg"})
    assert one.covariates == ("WT", "AGE")
    assert other.covariates == ("AGE", "WT")
    assert one == other


def _without_weight():
    return {name: unit for name, unit in UNITS.items() if name != "WT"}


def test_select_keeps_order_and_refuses_unknown_ids(dataset):
    chosen = dataset.select(["3", 1])
    assert chosen.subjects == ("1", "3")
    assert chosen.subject_fingerprints["3"] == dataset.subject_fingerprints["3"]
    assert chosen.warnings == dataset.warnings
    assert dataset.select("3").warnings == ()
    assert chosen.table["record"].values[5] == 12
    with pytest.raises(DataError, match="no subject 9, 8; the data set holds 1, 2, 3, 4"):
        dataset.select(["1", "9", "8"])
    with pytest.raises(DataError, match="No ID was given"):
        dataset.select([])


def test_covariate_table_has_one_row_per_subject(dataset):
    table = dataset.covariate_table()
    expected = pd.DataFrame({"WT": [61.0, 62, 63, 64]}, index=pd.Index(list("1234"), name="ID"))
    pd.testing.assert_frame_equal(table, expected)
    assert table.attrs["units"] == {"WT": "kg"}


def test_covariate_table_follows_the_order_of_appearance(read, base):
    header, *lines = base.splitlines()
    turned = "\n".join([header, *lines[15:], *lines[:15]])
    assert read(turned).covariate_table()["WT"].tolist() == [64, 61, 62, 63]
    assert read(turned).subjects == ("4", "1", "2", "3")


def test_covariate_table_has_the_first_value_of_a_covariate_that_changes(read, change):
    dataset = read(change((3, "WT", 99), (9, "WT", 98)), carry="nonmem")
    assert dataset.covariate_table()["WT"].tolist() == [61, 62, 63, 64]
    assert dataset.varying == ("WT",)
    assert "WT: changes within subjects (nonmem), 61 to 99 kg" in repr(dataset)


def test_tables_made_elsewhere_must_hold_together(dataset):
    table = dataset.table
    turned = table.isel(record=[0, 5, 1])
    with pytest.raises(DataError, match="ID 1 do not stand together"):
        Dataset(turned, dataset.units, ("WT",))
    weights = table["WT"].values.copy()
    weights[7] = 70
    changing = table.assign(WT=("record", weights))
    with pytest.raises(DataError, match=r"WT changes .* in row 9, ID 2\. Set carry: \"nonmem\""):
        Dataset(changing, dataset.units, ("WT",))
    assert Dataset(changing, dataset.units, ("WT",), carry="nocb").varying == ("WT",)
    weights[7] = np.nan
    blank = table.assign(WT=("record", weights))
    for carry in (None, "linear"):
        with pytest.raises(DataError, match="WT has no finite value in row 9, ID 2"):
            Dataset(blank, dataset.units, ("WT",), carry=carry)
    with pytest.raises(SettingError, match="carry is 'LOCF'"):
        Dataset(table, dataset.units, ("WT",), carry="LOCF")


def test_frames_read_back(dataset):
    frame = dataset.to_frame()
    assert read_dataset(frame, units=dataset.units) == dataset
    frame.loc[:, "TIME"] = -1
    assert dataset.table["TIME"].values[0] == 0


def test_netcdf_round_trip(dataset, tmp_path):
    path = tmp_path / "data.nc"
    dataset.to_xarray().to_netcdf(path, engine="h5netcdf")
    again = Dataset.from_xarray(xr.load_dataset(path, engine="h5netcdf"))
    assert again == dataset
    assert again.warnings == dataset.warnings
    assert again.units == dataset.units
    assert again.covariates == ("WT",)
    for name in dataset.table.data_vars:
        assert again.table[name].dtype.kind == dataset.table[name].dtype.kind
        assert again.table[name].attrs == dataset.table[name].attrs
    xr.testing.assert_identical(again.table, dataset.table)


def test_changed_or_foreign_tables_are_refused(dataset):
    stored = dataset.to_xarray()
    stored["DV"].values[1] = 99
    with pytest.raises(DataError, match="fingerprint differs"):
        Dataset.from_xarray(stored)
    with pytest.raises(DataError, match="not written by"):
        Dataset.from_xarray(xr.Dataset())
    with pytest.raises(DataError, match="no variable DV"):
        Dataset(dataset.table.drop_vars("DV"), dataset.units, dataset.covariates)


def test_the_summary_counts_with_units(read, base, change):
    text = repr(read(base))
    assert "subjects: 4" in text
    assert "doses: 8 in 4 records (ADDL), 301 to 304 mg" in text
    assert "observations: 12, measured 3.1 to 9.4 mg/L, 4 BLQ (33 %)" in text
    assert "time: 0 to 24 h" in text
    assert "WT: median 62.5, 61 to 64 kg" in text
    censored = change(*((row, "CENS", 1) for row in (3, 4)), *((row, "DV", 0.5) for row in (3, 4)))
    assert "every observation BLQ in ID 1" in repr(read(censored))


def test_each_subject_has_a_row_with_units_in_the_names(read, base):
    table = read(base).subject_table()
    assert table.index.tolist() == ["1", "2", "3", "4"]
    assert table.loc["2"].to_dict() == {
        "doses": 2, "samples": 3, "BLQ": 1, "first (h)": 0, "last (h)": 24, "WT (kg)": 62,
    }  # fmt: skip


def test_the_terminal_shows_the_same_lines(read, base):
    console = Console(width=60, record=True, file=io.StringIO())
    console.print(read(base, given={"concentration": "ug/mL"}))
    shown = " ".join(console.export_text().split())
    assert "subjects 4" in shown
    assert "time since the last dose" in shown
    assert "read Converted as asked: concentration in ug/mL" in shown


def test_the_html_summary_is_escaped(read, base):
    html = read(base.replace("LLOQ,WT", "LLOQ,<b>"), units=_without_weight())._repr_html_()
    assert "&lt;b&gt;" in html
    assert "<b>" not in html


_value = st.floats(0.01, 1e4, allow_nan=False, width=64)


@given(
    subjects=st.lists(
        st.tuples(
            st.lists(st.tuples(st.floats(0, 1e3), _value, st.booleans()), min_size=1, max_size=4),
            st.floats(1, 300),
        ),
        min_size=1,
        max_size=4,
    ),
    dose=_value,
)
def test_any_valid_table_round_trips(subjects, dose):
    rows = []
    for number, (samples, weight) in enumerate(subjects):
        rows.append((f"S{number}", 0.0, 1, dose, np.nan, 0, np.nan, weight))
        for time, value, censored in sorted(samples):
            limit = value if censored else np.nan
            rows.append((f"S{number}", time, 0, np.nan, value, int(censored), limit, weight))
    names = ["ID", "TIME", "EVID", "AMT", "DV", "CENS", "LLOQ", "WT"]
    dataset = read_dataset(pd.DataFrame(rows, columns=names), units=UNITS)
    assert dataset.table["TIME"].values.tolist() == [row[1] for row in rows]
    assert read_dataset(dataset.to_frame(), units=UNITS) == dataset
    assert Dataset.from_xarray(dataset.to_xarray()) == dataset

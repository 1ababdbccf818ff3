"""Damaged tables, read patient by patient: what `read_dataset` reads of them, or a sentence."""

import numpy as np
import pytest
from popk_strategies import UNITS, mutated, table

from popk.batch.source import Source
from popk.dataset import DataError, read_dataset
from popk.dataset.source import read_text
from popk.units import Units


def patients_in(path):
    """Records of all patients, and what is wrong with some; None where the file is refused."""
    source, said, found = Source(path, Units.parse(UNITS), {}), "", None
    try:
        assert source.id_column >= 0
        source.overview(2)
        found = [patient for chunk in source.chunks(2) for patient in chunk.patients]
    except DataError as fault:
        said = str(fault).strip()
    assert (found is None) == bool(said)
    return found


def check(folder, n, seed):
    rng, both = np.random.default_rng(seed), 0
    for _ in range(n):
        path = folder / "table.csv"
        path.write_bytes(mutated(rng, table().encode()))
        found = patients_in(path)
        try:
            read_dataset(path, units=UNITS)
        except DataError:
            continue
        both += 1
        text = read_text(path)
        assert found is not None
        assert not any(patient.faults for patient in found)
        assert [row for patient in found for row in patient.rows] == list(text.rows)
        at = [name.upper() for name in text.header].index("ID")
        for mine, theirs in zip((c for p in found for c in p.cells), text.cells, strict=True):
            assert mine[:at] + mine[at + 1 :] == theirs[:at] + theirs[at + 1 :]
    return both


def test_100_damaged_tables(tmp_path):
    assert check(tmp_path, 100, seed=1) > 10


@pytest.mark.slow
def test_2000_damaged_tables(tmp_path):
    assert check(tmp_path, 2000, seed=2) > 200


def test_a_decimal_comma_before_a_blank_last_cell_does_not_move_the_row(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("ID,TIME,EVID,AMT,DV,WT,ADA,NOTE\n1,0,1,300,.,70,0,\n1,7,0,.,1,5,70,0,\n")
    (patient,) = patients_in(path)
    assert patient.rows == (2,)
    assert patient.faults[0][0] == 3
    assert "9 cells where the header has 8" in patient.faults[0][1]

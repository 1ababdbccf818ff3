"""A table is read patient by patient, whatever stands in it."""

import tracemalloc

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from popk.batch.source import Source
from popk.dataset import DataError
from popk.units import Units

UNITS = Units.parse({"time": "d", "amount": "mg", "concentration": "mg/L"})
HEADER = "ID,TIME,EVID,AMT,DV\n"


def source(path, text, **columns):
    path.write_text(text, encoding="utf-8")
    return Source(path, UNITS, columns)


def test_patients_come_in_order_a_chunk_at_a_time(tmp_path):
    text = HEADER + "A,0,1,300,.\nA,1,0,.,5\n\n1.0,0,1,300,.\n1,1,0,.,5\n007,0,1,300,.\n"
    chunks = list(source(tmp_path / "t.csv", text).chunks(2))
    assert [[one.id for one in chunk.patients] for chunk in chunks] == [["A", "1"], ["007"]]
    assert [one.rows for chunk in chunks for one in chunk.patients] == [(2, 3), (5, 6), (7,)]
    assert chunks[0].patients[1].cells[0] == ("1", "0", "1", "300", ".")
    assert [chunk.number for chunk in chunks] == [0, 1]


def test_parquet_says_the_same_as_csv(tmp_path, table, fits):
    units = Units.parse(fits.UNITS)
    frame = pd.read_csv(table)
    path = tmp_path / "patients.of.june"  # known by its content
    pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), path, row_group_size=5)
    parquet = [p for c in Source(path, units, {}).chunks(4) for p in c.patients]
    csv = [p for c in Source(table, units, {}).chunks(4) for p in c.patients]
    assert [p.id for p in parquet] == [p.id for p in csv]
    assert parquet[0].rows == (1, 2, 3, 4, 5)
    assert csv[0].rows == (2, 3, 4, 5, 6)
    for one, other in zip(parquet, csv, strict=True):
        numbers = [
            [float(cell) if cell else -1.0 for row in records.cells for cell in row[1:]]
            for records in (one, other)
        ]
        assert numbers[0] == numbers[1]


def test_records_that_do_not_stand_together_are_named(tmp_path):
    text = HEADER + "".join(f"{name},0,1,300,.\n" for name in "AABCAADB")
    found = source(tmp_path / "t.csv", text).overview(2)
    assert found.scattered == {"A": "2–3 and 6–7", "B": "4 and 9"}
    assert (found.rows, found.sizes) == (8, (2, 2, 2))


def test_a_table_that_is_not_sorted_by_patient_is_refused(tmp_path):
    names = [f"P{k}" for k in range(1100)]
    text = HEADER + "".join(f"{name},{time},1,300,.\n" for time in (0, 1) for name in names)
    with pytest.raises(DataError, match="Sort the table by ID"):
        source(tmp_path / "t.csv", text).overview(50)


def test_what_belongs_to_nobody_belongs_to_the_patient_before(tmp_path):
    text = HEADER + "A,0,1,300,.\n,1,0,.,5\nB,0,1,300,.\nB,1,0,3,5,7\n"
    (chunk,) = source(tmp_path / "t.csv", text).chunks(5)
    (first, second) = chunk.patients
    assert first.faults[0][0] == 3
    assert "ID is missing" in first.faults[0][1]
    assert second.faults[0][0] == 5
    assert "6 cells where the header has 5 columns" in second.faults[0][1]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "empty"),
        (HEADER, "no records"),
        ("ID;TIME;EVID;AMT;DV\n1;0;1;300;.\n", "separated by semicolons"),
        ("ID,TIME,EVID,AMT\n1,0,1,300\n", "required column DV"),
        (HEADER + '"A,0,1,300,.\n', "quotation mark"),
        ("PAR1 is no Parquet", "cannot be read as Parquet"),
    ],
)
def test_a_table_that_cannot_be_read_at_all_is_refused(tmp_path, text, said):
    with pytest.raises(DataError, match=said):
        source(tmp_path / "t.csv", text).overview(5)


def test_text_in_another_encoding_is_refused(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes((HEADER + "Müller,0,1,300,.\n").encode("latin-1"))
    with pytest.raises(DataError, match="not UTF-8"):
        Source(path, UNITS, {}).overview(5)


def test_what_is_held_does_not_grow_with_the_table(tmp_path):
    """Eight bytes a patient and a digest a chunk: far below the table itself."""
    peaks = []
    for n in (2_000, 10_000):
        text = HEADER + "".join(f"P{k},0,1,300,.\nP{k},1,0,.,5\n" for k in range(n))
        one = source(tmp_path / "t.csv", text)
        del text
        tracemalloc.start()
        assert one.overview(100).patients == n
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] - peaks[0] < 40 * 8_000

"""Some subjects of a table, read as if the others were there."""

import pytest

from popk.dataset import DataError, Problems, read_dataset
from popk.dataset.reader import read_part
from popk.dataset.source import TextTable, read_text

UNITS = {"time": "d", "amount": "mg", "concentration": "mg/L", "WT": "kg"}
TEXT = (
    "ID,TIME,EVID,AMT,DV,WT\nA,0,1,300,.,70\nA,28,0,.,12,70\n"
    "B,0,1,300,.,60\nC,0,0,.,9,80\nD,0,1,300,.,70\nD,900,0,.,4,.\n"
)


@pytest.fixture
def part(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text(TEXT, encoding="utf-8")

    def made(*subjects):
        whole = read_text(path)
        pairs = zip(whole.rows, whole.cells, strict=True)
        kept = [(row, cells) for row, cells in pairs if cells[0] in subjects]
        rows, cells = zip(*kept, strict=True)
        return read_part(TextTable(whole.header, cells, rows, Problems("table.csv")), units=UNITS)

    return made


def test_a_subject_alone_is_read_as_among_others(part, tmp_path):
    path = tmp_path / "three.csv"
    path.write_text("".join(TEXT.splitlines(keepends=True)[:5]), encoding="utf-8")
    whole = read_dataset(path, units=UNITS)
    for subject in ("A", "B", "C"):
        alone = part(subject)
        assert alone.subject_fingerprints[subject] == whole.subject_fingerprints[subject]
        said = {str(one) for one in alone.warnings}
        assert said <= {str(one) for one in whole.warnings}
        assert said == {str(one) for one in part("A", "B", "C").warnings if one.id == subject}


def test_what_is_wrong_in_a_subject_is_said_with_its_row_in_the_table(part):
    with pytest.raises(DataError) as refused:
        part("D")
    (problem,) = refused.value.problems
    assert (problem.row, problem.id, problem.column) == (7, "D", "WT")

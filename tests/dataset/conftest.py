from __future__ import annotations

import pytest

from popk.dataset import read_dataset

UNITS = {"time": "h", "amount": "mg", "concentration": "mg/L", "WT": "kg"}

# Four subjects with two doses' worth of plausible numbers; a predose sample below the limit.
_HEADER = "ID,TIME,EVID,AMT,RATE,ADDL,II,SS,CMT,DV,MDV,CENS,LLOQ,WT"
_SUBJECT = """\
{id},0,1,{dose},0,1,12,0,1,.,1,0,0.5,{weight}
{id},1,0,.,0,0,0,0,2,{high},0,0,0.5,{weight}
{id},6,0,.,0,0,0,0,2,{low},0,0,0.5,{weight}
{id},11.5,0,.,0,0,0,0,2,0.5,0,1,0.5,{weight}
{id},24,0,.,0,0,0,0,2,.,1,0,0.5,{weight}"""


def _base() -> str:
    subjects = [
        _SUBJECT.format(id=i, dose=300 + i, high=9 + i / 10, low=3 + i / 10, weight=60 + i)
        for i in (1, 2, 3, 4)
    ]
    return "\n".join([_HEADER, *subjects]) + "\n"


@pytest.fixture
def base():
    """A valid table as CSV text; subject i's records are rows 5 i - 3 to 5 i + 1."""
    return _base()


@pytest.fixture
def change(base):
    """change((row, column, value), …): the base table with some cells replaced."""

    def changed(*cells, text=base):
        table = [line.split(",") for line in text.splitlines()]
        for row, column, value in cells:
            table[row - 1][table[0].index(column)] = str(value)
        return "\n".join(",".join(line) for line in table) + "\n"

    return changed


@pytest.fixture
def without(base):
    """without(column, …): the base table lacking some columns."""

    def dropped(*columns, text=base):
        table = [line.split(",") for line in text.splitlines()]
        keep = [at for at, name in enumerate(table[0]) if name not in columns]
        return "\n".join(",".join(line[at] for at in keep) for line in table) + "\n"

    return dropped


@pytest.fixture
def read(tmp_path):
    """read(text or bytes, …): what read_dataset makes of a file with that content."""

    def from_file(content, units=UNITS, **options):
        path = tmp_path / "table.csv"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return read_dataset(path, units=units, **options)

    return from_file

"""Broken data and damaged results are refused."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from popk.dataset import DataError, read_dataset
from popk.digests import digest_of_tree
from popk.errors import PopkError
from popk.individual import Trough
from popk.individual import individualise as advise_without_checks
from popk.qualification.check import Check, Measure
from popk.qualification.known import UNITS, known_fit, one_compartment, records_of
from popk.storage import StorageError, load, save

__all__ = ["CHECKS"]

POSITIONS = 50
# By what is wrong: the line of the file and the column at fault, and the cells that are put in.
BROKEN: dict[str, tuple[int, str, dict[tuple[int, str], str]]] = {
    "a time that goes back": (4, "TIME", {(4, "TIME"): "5"}),
    "a time that is no number": (3, "TIME", {(3, "TIME"): "soon"}),
    "an unknown kind of event": (3, "EVID", {(3, "EVID"): "5"}),
    "a dose without an amount": (2, "AMT", {(2, "AMT"): ""}),
    "a negative dose": (2, "AMT", {(2, "AMT"): "-300"}),
    "an amount on an observation": (3, "AMT", {(3, "AMT"): "100"}),
    "a RATE that means nothing": (2, "RATE", {(2, "RATE"): "-3"}),
    "ADDL without II": (2, "ADDL", {(2, "ADDL"): "3"}),
    "SS without II": (2, "SS", {(2, "SS"): "1"}),
    "an observation without a value": (3, "DV", {(3, "DV"): ""}),
    "a negative concentration": (3, "DV", {(3, "DV"): "-1"}),
    "a value written as below a limit": (3, "DV", {(3, "DV"): "<0.5"}),
    "below a limit that is not given": (3, "LLOQ", {(3, "CENS"): "1", (3, "LLOQ"): ""}),
    "a weight that is no number": (3, "WT", {(3, "WT"): "heavy"}),
    "no ID": (3, "ID", {(3, "ID"): ""}),
}
COLUMNS = ["ID", "TIME", "EVID", "AMT", "RATE", "ADDL", "II", "SS", "DV", "CENS", "LLOQ", "WT"]
RIGHT = (
    "7 0 1 300 0 0 0 0 . 0 1 70",
    "7 14 0 . 0 0 0 0 31 0 1 70",
    "7 28 0 . 0 0 0 0 22 0 1 70",
    "7 28 1 300 0 0 0 0 . 0 1 70",
)


def _broken() -> list[Measure]:
    right = pd.DataFrame([line.split() for line in RIGHT], columns=COLUMNS).replace(".", "")
    accepted = elsewhere = 0
    with tempfile.TemporaryDirectory(prefix="popk-qualify-") as name:
        path = Path(name) / "table.csv"
        right.to_csv(path, index=False)
        read_dataset(path, units=UNITS)  # it can be read as it is
        for row, column, cells in BROKEN.values():
            wrong = right.copy()
            for (line, cell), value in cells.items():
                wrong.loc[line - 2, cell] = value
            wrong.to_csv(path, index=False)
            try:
                read_dataset(path, units=UNITS)
                accepted += 1
            except DataError as refusal:
                places = {(one.row, one.column) for one in refusal.problems}
                elsewhere += (row, column) not in places
    return [
        Measure(f"broken tables of {len(BROKEN)} accepted", accepted, 0.0),
        Measure("… refused without naming the row and the column", elsewhere, 0.0),
    ]


def _units() -> list[Measure]:
    """A target in another unit than the concentrations."""
    people = records_of({"A": ((28.0, 20.0),)})
    fit = known_fit(one_compartment(), people, draws=100, seed=1)
    accepted = 0
    for unit in ("ug/L", "ng/mL", "mmol/L", "mg/dL"):
        try:
            advise_without_checks(fit, people, target=Trough(10.0, unit), weeks=(4,))
            accepted += 1
        except PopkError:
            pass
    return [Measure("targets of 4 in another unit accepted", accepted, 0.0)]


def _damaged() -> list[Measure]:
    """A stored result cut short or with a flipped bit, at positions all over it."""
    people = records_of({"A": ((28.0, 20.0),), "B": ((28.0, 31.0),)})
    fit = known_fit(one_compartment(), people, draws=100, seed=1)
    accepted = 0
    with tempfile.TemporaryDirectory(prefix="popk-qualify-") as name:
        path = save(fit, Path(name) / "fit.nc")
        same = digest_of_tree(load(path)) == digest_of_tree(fit)
        whole = path.read_bytes()
        places = np.linspace(0, len(whole) - 1, POSITIONS).astype(int).tolist()
        for at in places:
            for harm in (_cut, _flipped):
                path.write_bytes(harm(whole, at))
                accepted += _is_accepted(lambda: load(path))
        path.write_bytes(whole)
        path.with_name(f"{path.name}.sha256").unlink()
        accepted += _is_accepted(lambda: load(path))
    return [
        Measure(f"damaged results of {2 * POSITIONS + 1} accepted", accepted, 0.0),
        Measure("the result as it was read back the same (1) or not (0)", float(same), 1.0,
                at_least=True),
    ]  # fmt: skip


def _cut(whole: bytes, at: int) -> bytes:
    return whole[:at]


def _flipped(whole: bytes, at: int) -> bytes:
    return whole[:at] + bytes([whole[at] ^ (1 << at % 8)]) + whole[at + 1 :]


def _is_accepted(read: Callable[[], object]) -> bool:
    try:
        read()
    except StorageError:
        return False
    return True


CHECKS = (
    Check(
        "broken data",
        "integrity",
        ("R-13",),
        f"A table that can be read, with one of {len(BROKEN)} faults put into it.",
        "Nothing is tolerated: one that is accepted is a wrong number.",
        _broken,
    ),
    Check(
        "a target in another unit",
        "integrity",
        ("R-14",),
        "Four units that are not those of the model's concentrations.",
        "Nothing is tolerated: one that is accepted is a wrong number.",
        _units,
    ),
    Check(
        "damaged results",
        "integrity",
        ("R-15",),
        f"A stored result cut short at {POSITIONS} positions, with one bit flipped at "
        f"{POSITIONS}, and without its checksum.",
        "Nothing is tolerated: one that is accepted is a wrong number.",
        _damaged,
    ),
)

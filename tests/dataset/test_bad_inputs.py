"""Every table of a collection of broken ones is refused, warned of or read as it should be."""

import csv
import re

import pytest
from popk.models.theophylline import model

from popk.dataset import DataError, read_dataset
from popk.design import check_fit
from popk.errors import PopkError

UNITS = {"time": "h", "amount": "mg", "concentration": "mg/L", "WT": "kg"}
PLACE = re.compile(r"ID=(\w+)(?: row=(\d+))?")


def read(path):
    """What is said of a file, and the data set if it could be used."""
    try:
        found = read_dataset(path, units=UNITS)
    except DataError as fault:
        return None, "error", fault.to_text()
    text = "\n".join(warning.to_text() for warning in found.warnings)
    return found, "warn" if found.warnings else "accept", text


def with_a_model(path, found, verdict, text):
    """The same, once the model of these data says which compartments there are."""
    if found is not None and "CMT" in text:
        try:
            check_fit(model, found)
        except PopkError as fault:
            return None, "error", str(fault)
    return found, verdict, text


def wrong_with(folder, row, base):
    """A sentence where a file is not treated as the manifest says; empty where it is."""
    path = folder / row["file"]
    found, verdict, text = with_a_model(path, *read(path))
    wanted, mentions = row["expect"], row["message_should_mention"]
    if wanted == "accept_identical":
        same = found is not None and found.fingerprint == base.fingerprint
        return "" if same else f"not read as the base table: {text}"
    if wanted == "accept":
        return "" if found is not None else f"refused: {text}"
    # What should be warned of may be refused; it must not pass without a word.
    if verdict == "accept" or (wanted == "error" and verdict != "error"):
        return f"{verdict} instead of {wanted}: {text}"
    if mentions and not re.search(mentions, text, re.IGNORECASE):
        return f"the message does not name {mentions}: {text}"
    place = PLACE.fullmatch(row["offending"])
    if place and place[2] and f"row {place[2]}" not in text:
        return f"the message does not name row {place[2]}: {text}"
    return ""


def test_all_56_files_are_treated_as_the_manifest_says(reference_data):
    folder = reference_data / "bad_inputs"
    if not folder.is_dir():
        pytest.fail("POPK_REFERENCE_DATA has no folder bad_inputs.")
    with (folder / "manifest.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    base = read_dataset(folder / "base.csv", units=UNITS)
    wrong = {row["file"]: said for row in rows if (said := wrong_with(folder, row, base))}
    assert len(rows) == 56
    assert not wrong, "\n\n".join(f"{name}: {said}" for name, said in wrong.items())

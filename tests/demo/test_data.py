"""The data that come with popk: there, whole, and readable."""

import hashlib
from importlib.resources import files

import numpy as np
import pytest
from popk.models import natalizumab, nimotuzumab

from popk.dataset import read_dataset
from popk.graph import check_fit

DATA = files("popk.demo") / "data"
NATALIZUMAB = {"time": "d", "amount": "mg", "concentration": "mg/L", "WT": "kg"}
NIMOTUZUMAB = {"time": "h", "amount": "mg", "concentration": "mg/L"}
SHA256 = {
    "natalizumab/cohort.csv": "aa197c9092a33c6c7ff41fb8c43e0e7cd6658968006b55f2e05efb31531de51f",
    "natalizumab/new_patients.csv": (
        "a50c0e5ee8e07c5e5bb885eaff811b146ce644043c374ee0a44cd05acf080734"
    ),
    "nimotuzumab/data.csv": "2148d0467c5771103ece6adc53edc7331aa30c9ffd7aa7a3bb6d1b6de0664a6c",
}


@pytest.mark.parametrize("file", SHA256)
def test_a_file_is_the_one_that_the_figures_rest_on(file):
    assert hashlib.sha256((DATA / file).read_bytes()).hexdigest() == SHA256[file]


@pytest.mark.parametrize(
    ("folder", "file", "words"),
    [
        ("natalizumab", "SOURCE.md", ("Synthetic", "10.1002/psp4.70014")),
        ("nimotuzumab", "LICENSE.md", ("GPL", "Rodriguez-Vera")),
    ],
)
def test_their_origin_stands_beside_them(folder, file, words):
    text = (DATA / folder / file).read_text(encoding="utf-8")
    for word in words:
        assert word in text


@pytest.mark.parametrize(
    ("file", "subjects", "observations", "below"),
    [("cohort.csv", 80, 392, 17), ("new_patients.csv", 200, 400, None)],
)
def test_natalizumab_is_what_its_source_says(file, subjects, observations, below):
    data = read_dataset(DATA / "natalizumab" / file, units=NATALIZUMAB)
    assert (data.n_subjects, data.n_observations) == (subjects, observations)
    if below is not None:
        assert int(data.table["CENS"].values[data.is_observation].sum()) == below
    check_fit(natalizumab.model, data)


def test_nimotuzumab_is_what_its_source_says():
    data = read_dataset(DATA / "nimotuzumab" / "data.csv", units=NIMOTUZUMAB, log_dv=True)
    assert (data.n_subjects, data.n_observations) == (12, 321)
    seen = data.table["DV"].values[data.is_observation]
    assert 1.0 < np.median(seen) < 200.0  # mg/L: the logarithms were taken back
    check_fit(nimotuzumab.model, data)

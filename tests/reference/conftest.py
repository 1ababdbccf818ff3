"""Events and equations that several reference tests need."""

from __future__ import annotations

from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from popk.structure import Events
from popk.structure.events import DOSE, OBSERVE


class Record:
    """Makers of records: (kind, time, amount, rate, interval, compartment, repeats, steady)."""

    @staticmethod
    def dose(time, amount, *, into=2, rate=0.0, interval=0.0, more=0, steady=0):
        """A dose, and ``more`` of it; ``into`` is CMT, counted from 1."""
        return (DOSE, time, amount, rate, interval, into - 1, more + 1, steady)

    @staticmethod
    def observe(*times):
        """Observations of the first output."""
        return [(OBSERVE, time, 0.0, 0.0, 0.0, 0, 0, 0) for time in times]


@pytest.fixture(scope="session")
def record():
    """Makers of records."""
    return Record


@pytest.fixture(scope="session")
def events_by_hand():
    """A function from subjects, each a list of records, to `Events`, one parameter row each."""

    def make(*subjects):
        records = [r for subject in subjects for r in subject]
        kind, time, amount, rate, interval, compartment, repeats, steady = map(
            np.array, zip(*records, strict=True)
        )
        observed = kind == OBSERVE
        output = np.where(observed, np.cumsum(observed) - 1, -1)
        zero = np.zeros(len(records), dtype=np.int64)
        return Events(
            np.cumsum([0, *map(len, subjects)]),
            np.arange(len(subjects) + 1),
            np.stack([time, amount, rate, interval], axis=1).astype(np.float64),
            np.stack([kind, compartment, repeats, steady, zero, output, zero], axis=1),
        )

    return make


@pytest.fixture(scope="session")
def tightly():
    """A function from a structure to the same structure with a tight ODE tolerance."""

    def tightened(structure):
        if hasattr(structure, "pk"):
            return replace(structure, pk=tightened(structure.pk))
        return replace(structure, tolerance=1e-10)

    return tightened


@pytest.fixture(scope="session")
def small_tables() -> Path:
    """The folder of the tables that are part of the repository."""
    return Path(__file__).with_name("data")


@pytest.fixture(scope="session")
def shipped_tables() -> Path:
    """The folder of the tables that come with popk."""
    return Path(str(files("popk.qualification") / "data"))

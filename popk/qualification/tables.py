"""The tables that come with popk's checks; their origin stands beside them in data/SOURCE.md."""

from __future__ import annotations

from importlib.resources import as_file, files

import pandas as pd

from popk.storage import checksum

__all__ = ["TABLES", "hash_of_table", "table"]

TABLES = (
    "linear_reference.csv",
    "nmtests_dosing.csv",
    "oracle_stress.csv",
    "theophylline.csv",
    "theophylline_posterior.csv",
    "wang2007.csv",
)


def table(name: str) -> pd.DataFrame:
    """One of `TABLES`."""
    with as_file(files("popk.qualification") / "data" / name) as path:
        return pd.read_csv(path)


def hash_of_table(name: str) -> str:
    """SHA-256 of one of `TABLES`, as installed."""
    with as_file(files("popk.qualification") / "data" / name) as path:
        return checksum(path)

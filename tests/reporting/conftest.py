"""Synthetic results for these tests."""

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def trees():
    """The module tests/reporting/trees.py."""
    path = Path(__file__).resolve().parents[1] / "reporting" / "trees.py"
    spec = spec_from_file_location("popk_trees", path)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module

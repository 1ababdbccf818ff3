"""A small fit, and the same integrated over a grid."""

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def grids():
    """The module grids.py beside this file."""
    path = Path(__file__).with_name("grids.py")
    spec = spec_from_file_location("popk_grids", path)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def grid_fit(fits, grids):
    return grids.fit_of(fits)


@pytest.fixture(scope="session")
def on_grid(fits, grids, grid_fit):
    return grids.on_grid(fits, grid_fit)

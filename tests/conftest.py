"""Fixtures and settings shared by all tests."""

import os
import sys
from importlib.util import LazyLoader, module_from_spec, spec_from_file_location
from pathlib import Path

import pytest
from hypothesis import settings

# Importing PyMC or compiling inside a test takes seconds and says nothing about the test.
settings.register_profile("popk", deadline=None, print_blob=True)
settings.load_profile("popk")

# Tests import the module beside this file by a name of its own, and it is loaded when one does.
_spec = spec_from_file_location("popk_strategies", Path(__file__).with_name("strategies.py"))
_spec.loader = LazyLoader(_spec.loader)
sys.modules[_spec.name] = module_from_spec(_spec)
_spec.loader.exec_module(sys.modules[_spec.name])


@pytest.fixture(scope="session")
def fits():
    """The module tests/fits.py: a small model, data for it, and fits made without sampling."""
    path = Path(__file__).with_name("fits.py")
    spec = spec_from_file_location("popk_fits", path)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def finished_run(fits, tmp_path_factory) -> Path:
    """The folder of a small run that was finished: seconds; copy it before anything is changed."""
    from popk.inference import Marginal, Run, sample

    folder = tmp_path_factory.mktemp("runs") / "finished"
    cohort = [(20.0, 22.0), (14.0, 19.0), (27.0, 25.0), (9.0, 13.0)]
    records = [one for k, own in enumerate(cohort) for one in fits.history(f"S{k}", own)]
    method = Marginal(draws=300, chains=2, round_size=100, cores=1)
    model, data = fits.one_compartment(cv=0.3), fits.dataset(*records)
    sample(model, data, method, seed=5, run=Run(folder, seconds=0), progress=False)
    return folder


@pytest.fixture(scope="session")
def reference_data() -> Path:
    """The folder of public reference data sets, named by the variable POPK_REFERENCE_DATA."""
    folder = os.environ.get("POPK_REFERENCE_DATA")
    if not folder:
        pytest.skip("not run: POPK_REFERENCE_DATA is not set")
    path = Path(folder)
    if not path.is_dir():
        pytest.fail(f"POPK_REFERENCE_DATA names {folder}, which is not a folder.")
    return path


@pytest.fixture(scope="module")
def browser():
    """An installed browser; of one file, as two that are driven at once are in each other's way."""
    from popk.reporting.printing import find_browser

    sync = pytest.importorskip("playwright.sync_api", reason="not run: Playwright is missing")
    program = find_browser()
    if program is None:
        pytest.skip("not run: there is no Chromium, Chrome or Edge")
    with sync.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield started
        started.close()

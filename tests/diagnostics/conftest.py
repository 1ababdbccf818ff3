"""Fixtures of the tests of residuals and predictive checks."""

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture(scope="session")
def known():
    """The module known.py beside this file: a model known exactly, and data of it."""
    path = Path(__file__).with_name("known.py")
    spec = spec_from_file_location("popk_known", path)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def cohort(fits, known):
    """Data of 150 patients from the model, about a sixth of them BLQ."""
    concentrations = known.draws(150, np.random.default_rng(11))
    return fits.after_boluses(known.TIMES, concentrations, lloq=2.0)


@pytest.fixture(scope="session")
def cohort_fit(fits, known, cohort):
    """A fit of the model that the cohort is from."""
    return fits.fit_of(known.model(fits.UNITS), cohort)


@pytest.fixture(scope="session")
def few_fit(fits, known):
    """A fit of five patients, parameters uncertain, two observations BLQ."""
    concentrations = known.draws(5, np.random.default_rng(3))
    concentrations[:, 3] = [3.1, 2.7, 1.0, 4.2, 3.3]
    data = fits.after_boluses(known.TIMES, concentrations, lloq=2.0)
    return fits.fit_of(fits.one_compartment(cv=0.2), data)

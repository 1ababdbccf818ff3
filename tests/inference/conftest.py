"""Fixtures of the tests of the methods."""

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def cohorts():
    """The module cohorts.py beside this file: small cohorts whose posterior is known."""
    path = Path(__file__).with_name("cohorts.py")
    spec = spec_from_file_location("popk_cohorts", path)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def small(cohorts):
    """Data for `TWO_UNKNOWN`, and its posterior and evidence on a grid."""
    data, log_dv = cohorts.two_unknown()
    return data, cohorts.on_grid(log_dv)


@pytest.fixture(scope="session")
def exchangeable(cohorts):
    """Data for `FLIP_FLOP`."""
    return cohorts.flip_flop()


@pytest.fixture(scope="session")
def assert_posterior():
    """A check of draws of CL and omega_CL against a grid, within errors that they state."""
    import numpy as np
    from arviz_stats import mcse

    def check(fit, grid, *, factor=4.5):
        values, weight, _ = grid
        for name, value in values.items():
            draws = fit["posterior"][name]
            for power in (1, 2):
                own = draws**power
                exact = float(weight @ value**power)
                error = float(mcse(own))
                assert abs(float(own.mean()) - exact) < factor * error, (name, power)
                assert error < 0.1 * float(own.std())
            assert np.isfinite(draws).all()

    return check

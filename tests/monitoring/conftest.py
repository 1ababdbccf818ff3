"""A fit made without sampling, whose patients the checks are tried on."""

import numpy as np
import pytest

from popk.individual import Trough
from popk.monitoring import individualise


@pytest.fixture(scope="package")
def fit(fits):
    """Twenty subjects of 50 to 90 kg, 300 mg every 28 days."""
    records = []
    for k, weight in enumerate(np.linspace(50, 90, 20).round(1)):
        records += fits.history(f"C{k}", (25.0, 22.0, 24.0), weight=float(weight), doses=6)
    return fits.fit_of(fits.one_compartment(covariates=True), fits.dataset(*records))


@pytest.fixture(scope="package")
def advise(fit):
    """Advice on a data set."""

    def made(data, **options):
        options = {"target": Trough(10.0, "mg/L"), "samples": 300, "draws": 100} | options
        return individualise(fit, data, **options)

    return made

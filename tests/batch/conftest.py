"""A small fit, and tables of patients as files."""

import pandas as pd
import pytest

from popk.individual import Trough


@pytest.fixture(scope="session")
def fit(fits):
    data = fits.dataset(*fits.history("C1", weight=60.0), *fits.history("C2", weight=80.0))
    return fits.fit_of(fits.one_compartment(covariates=True, cv=0.1), data, draws=60)


@pytest.fixture(scope="session")
def options():
    return {"target": Trough(10.0, "mg/L"), "weeks": (4, 6, 8), "samples": 100, "cores": 1,
            "checks": False}  # fmt: skip


@pytest.fixture(scope="session")
def records(fits):
    """Records of nine patients; one has no sample yet, one is a subject of the fit."""

    def made(*extra):
        found = [
            one
            for k in range(7)
            for one in fits.history(f"N{k}", (12.0 + k, 13.0 + k), weight=60.0 + 2 * k, doses=3)
        ]
        found += [fits.dose("E", 0.0), *fits.history("C1", weight=60.0)]
        return pd.DataFrame([*found, *extra], columns=fits.COLUMNS)

    return made


@pytest.fixture(scope="session")
def table(records, tmp_path_factory):
    path = tmp_path_factory.mktemp("table") / "patients.csv"
    records().to_csv(path, index=False)
    return path

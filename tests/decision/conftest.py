"""A fit made without sampling, two patients, and the advice that the questions start from."""

import numpy as np
import pytest

from popk.individual import Trough, individualise

WEEKS = (4, 5, 6, 7, 8)


@pytest.fixture(scope="session")
def ten():
    return Trough(10.0, "mg/L")


@pytest.fixture(scope="session")
def fit(fits):
    cohort = fits.dataset(*fits.history("C1", weight=60.0), *fits.history("C2", weight=80.0))
    return fits.fit_of(fits.one_compartment(covariates=True), cohort)


@pytest.fixture(scope="session")
def advice(fits, fit, ten):
    patients = fits.dataset(
        *fits.history("low", (12.0, 13.0), weight=55.0),
        *fits.history("high", (22.0, 25.0), weight=80.0),
    )
    return individualise(fit, patients, target=ten, weeks=WEEKS, samples=400, draws=100)


@pytest.fixture(scope="session")
def draws(fits, advice):
    """CL, V (n, 1) of a patient, and its concentrations by the bolus equations."""

    def of(subject):
        own = advice["posterior"]["parameters"].sel(subject=subject).values
        cl, v = own[:, :1], own[:, 1:]

        def at(days, *, more=(), amount=300.0):
            doses = [0.0, 28.0, 56.0, 84.0, *(84.0 + day for day in more)]
            return fits.bolus(84.0 + days, cl, v, doses=doses, amount=amount)

        return cl, v, at

    return of


@pytest.fixture(scope="session")
def draws_of(fits):
    """CL, V and concentrations of a patient dosed four times, and each draw's residual error."""

    def of(fit, advice, subject):
        own = advice["posterior"].to_dataset().sel(subject=subject)
        parameters = own["parameters"].transpose("sample", "parameter").values
        cl, v = parameters[:, :1], parameters[:, 1:]
        sigma = fit["posterior"]["sigma_prop"].values.ravel()[own["draw"].values]

        def at(days):
            return fits.bolus(84.0 + days, cl, v, doses=28.0 * np.arange(4))

        return (cl, v, at), sigma

    return of

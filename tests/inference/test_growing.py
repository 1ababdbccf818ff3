"""Sampling where a covariate changes within a subject."""

import numpy as np
import pytest

from popk.individual import Trough, individualise
from popk.inference import NUTS, sample
from popk.prediction import predict

CL, V, BETA = 0.25, 5.0, 0.75


@pytest.fixture(scope="module")
def data(fits):
    """Eight children who grow, at different speeds."""
    rng = np.random.default_rng(3)
    records = []
    for k in range(8):
        weights = tuple(np.round(np.linspace(5, 5 + 5 * (k + 1), 8), 1))
        own = fits.growing(f"S{k}", weights)
        cl = CL * np.exp(0.3 * rng.standard_normal())
        exact = iter(
            fits.walk(own, lambda w, c=cl: c * (w / 70) ** BETA, lambda _: V, carry="locf")
        )
        for record in own:
            noise = 1 + 0.1 * rng.standard_normal()
            records.append(
                fits.observe(f"S{k}", record[1], next(exact) * noise, weight=record[-1])
                if record[2] == 0
                else record
            )
    return fits.dataset(*records, carry="locf")


@pytest.fixture(scope="module")
def fit(fits, data):
    method = NUTS(draws=150, tune=150, chains=2, pilot=60, cores=1)
    return sample(
        fits.one_compartment(covariates=True, cv=0.3), data, method, seed=4, progress=False
    )


def test_the_posterior_holds_the_truth(fit):
    posterior = fit["posterior"].to_dataset()
    for name, truth in (("CL", CL), ("V", V), ("beta_CL_WT", BETA)):
        draws = posterior[name].values
        assert abs(draws.mean() - truth) < 4 * draws.std(), name
    assert posterior["beta_CL_WT"].values.std() < 0.15  # far less than the prior's 0.22
    assert float(fit["convergence"]["rhat"].max()) < 1.2
    assert int(fit["sample_stats"]["diverging"].sum()) < 10


def test_parameters_are_those_of_the_first_record_and_predictions_follow_the_rows(fit, fits, data):
    posterior = fit["posterior"].to_dataset()
    assert set(posterior.data_vars) >= {"eta", "parameters"}
    assert "row_parameters" not in posterior
    assert posterior["parameters"].attrs["long_name"].endswith("at the first record")
    eta = posterior["eta"].sel(subject="S2", effect="CL").values
    cl, beta = posterior["CL"].values, posterior["beta_CL_WT"].values
    first = posterior["parameters"].sel(subject="S2", parameter="CL").values
    np.testing.assert_allclose(first, cl * (5 / 70) ** beta * np.exp(eta), rtol=1e-9)
    v = posterior["parameters"].sel(subject="S2", parameter="V").values
    records = fits.growing("S2", tuple(np.round(np.linspace(5, 20, 8), 1)))
    expected = fits.walk(
        records, lambda w: cl * (w / 70) ** beta * np.exp(eta), lambda _: v, carry="locf"
    )
    found = predict(fit, data, seed=1)["predictions"].to_dataset()
    own = found["IPRED"].isel(observation=found["ID"].values == "S2")
    np.testing.assert_allclose(own.transpose("chain", "draw", "observation"), expected, rtol=1e-9)
    stored = fit["posterior_predictive"]["IPRED"]
    again = found["IPRED"].sel(draw=stored["draw"].values)
    np.testing.assert_allclose(stored.values, again.values, rtol=1e-9)


def test_the_cohort_gets_its_intervals(fit):
    advice = individualise(fit, target=Trough(5.0, "mg/L"), samples=100)
    decision = advice["decision"].to_dataset()
    assert decision["reliable"].values.all()
    assert decision["WT"].values.tolist() == [10.0, 15.0, 20.0, 25.0, 30.0, 35.0, 40.0, 45.0]
    assert (decision["trough_low"].values > 0).all()
    assert np.all(np.diff(decision["trough_median"].values, axis=1) < 0)

"""Residuals against plain loops over the draws."""

import numpy as np
import pytest
from scipy import linalg

from popk.dataset import read_dataset
from popk.diagnostics import residuals
from popk.diagnostics.replicates import Seen, replicated
from popk.errors import SettingError
from popk.model import PopModel
from popk.statistics import (
    IIV,
    Additive,
    Fixed,
    LogNormal,
    LogNormalError,
    Proportional,
    StudentTError,
)
from popk.structure import DirectEffect, Emax, OneCompartment


@pytest.fixture(scope="module")
def found(few_fit):
    return residuals(few_fit, replicates=300, seed=5)


def test_individual_residuals_are_averaged_over_the_draws(found, few_fit, fits):
    posterior = few_fit["posterior"]
    theta = posterior["parameters"].values.reshape(-1, 5, 2)
    sigma = posterior["sigma_prop"].values.ravel()
    for k in range(found.sizes["observation"]):
        who = list(posterior["subject"].values).index(found["ID"].values[k])
        dv, sums = float(found["DV"][k]), np.zeros(3)
        for s in range(len(sigma)):
            cl, v = theta[s, who]
            ipred = float(fits.bolus(found["TIME"].values[k], cl, v))
            weighted = (dv - ipred) / (sigma[s] * ipred)
            sums += [ipred, weighted, np.log(dv / ipred) / sigma[s]]
        ipred, weighted, logarithmic = sums / len(sigma)
        assert float(found["IPRED"][k]) == pytest.approx(ipred)
        if found["CENS"].values[k] == 0:
            assert float(found["IWRES"][k]) == pytest.approx(weighted)
            assert float(found["IWRES_LOG"][k]) == pytest.approx(logarithmic)


def test_population_residuals_are_those_of_the_replicates(found, few_fit):
    seen = Seen.of(few_fit)
    reps = replicated(few_fit, seen, 300, np.random.default_rng(5))
    dv = found["DV"].values
    np.testing.assert_allclose(found["PRED"], reps.mean(axis=0))
    np.testing.assert_allclose(found["PRED_SD"], reps.std(axis=0, ddof=1))
    for subject in range(5):
        rows = np.flatnonzero((seen.subject == subject) & (seen.status == 0))
        mean, sd = reps[:, rows].mean(axis=0), reps[:, rows].std(axis=0, ddof=1)
        np.testing.assert_allclose(found["PRES"].values[rows], (dv[rows] - mean) / sd)
        root = linalg.sqrtm(np.corrcoef(reps[:, rows], rowvar=False))
        expected = np.linalg.solve(root, (dv[rows] - mean) / sd)
        np.testing.assert_allclose(found["PWRES"].values[rows], expected, rtol=1e-6)


def test_what_is_below_the_limit_is_marked_and_has_no_residual(found):
    below = found["CENS"].values == 1
    assert below.sum() == 2
    np.testing.assert_array_equal(found["DV"].values[below], [2.0, 2.0])
    for name in ("IWRES", "IWRES_LOG", "PRES", "PWRES"):
        np.testing.assert_array_equal(np.isnan(found[name].values), below)
    for name in ("PRED", "IPRED"):
        assert np.isfinite(found[name].values).all()


def test_residuals_of_data_from_the_model_have_variance_one(fits, known):
    concentrations = known.draws(150, np.random.default_rng(11))
    data = fits.after_boluses(known.TIMES, concentrations, lloq=1e-9)
    table = residuals(fits.fit_of(known.model(fits.UNITS), data), seed=1)
    pwres = table["PWRES"].values.reshape(-1, 4)
    assert abs(pwres.mean()) < 0.12
    assert pwres.std() == pytest.approx(1.0, abs=0.12)
    assert np.abs(np.corrcoef(pwres.T)[np.triu_indices(4, 1)]).max() < 0.25
    assert table["PRES"].values.reshape(-1, 4).std() == pytest.approx(1.0, abs=0.15)


def test_units_and_labels(found):
    for name in ("DV", "PRED", "PRED_SD", "IPRED"):
        assert found[name].attrs["units"] == "mg/L"
    for name in ("IWRES", "IWRES_LOG", "PRES", "PWRES"):
        assert found[name].attrs["units"] == "1"
    assert all(found[name].attrs["long_name"] for name in found.data_vars)
    assert found["TIME"].attrs["units"] == "d"
    assert set(found.coords) >= {"ID", "TIME", "TAD", "TROUGH", "ROW", "CENS"}


@pytest.mark.parametrize(
    ("error", "weigh"),
    [
        (LogNormalError(Fixed(0.2)), lambda dv, f: np.log(dv / f) / 0.2),
        (StudentTError(Additive(Fixed(1.5)), Fixed(4.0)), lambda dv, f: (dv - f) / 1.5),
    ],
    ids=["log-normal", "Student t"],
)
def test_each_error_standardises_in_its_own_way(fits, error, weigh):
    model = PopModel(
        OneCompartment(),
        typical={"CL": LogNormal(0.2, cv=0.1), "V": LogNormal(5.0, cv=0.1)},
        iiv=IIV({"CL": Fixed(0.3)}),
        error=error,
        units=fits.UNITS,
    )
    fit = fits.fit_of(model, fits.dataset(*fits.history("A"), *fits.history("B")), draws=40)
    table = residuals(fit, replicates=100, seed=1)
    theta = fit["posterior"]["parameters"].sel(subject="B").values.reshape(-1, 2)
    doses = [28.0 * k for k in range(3)]
    rows = np.flatnonzero(table["ID"].values == "B")
    ipred = fits.bolus(table["TIME"].values[rows], theta[:, :1], theta[:, 1:], doses=doses)
    expected = weigh(table["DV"].values[rows], ipred).mean(axis=0)
    np.testing.assert_allclose(table["IWRES"].values[rows], expected, rtol=1e-8)


def test_several_outputs_each_have_their_own_error_and_unit(fits):
    model = PopModel(
        DirectEffect(OneCompartment(), Emax(), unit="%"),
        typical={
            "CL": Fixed(0.2), "V": Fixed(5.0), "EMAX": Fixed(80.0), "EC50": Fixed(25.0),
        },
        error={"concentration": Proportional(Fixed(0.2)), "effect": Additive(Fixed(2.0))},
        units=fits.UNITS,
    )  # fmt: skip
    frame = fits.dataset(
        fits.dose("A", 0.0), fits.observe("A", 5.0, 40.0), fits.observe("A", 6.0, 30.0)
    ).to_frame()
    frame["DVID"] = [1, 1, 2]
    fit = fits.fit_of(model, read_dataset(frame, units=fits.UNITS), draws=2)
    table = residuals(fit, replicates=100, seed=1)
    at = fits.bolus([5.0, 6.0], 0.2, 5.0)
    expected = [(40.0 - at[0]) / (0.2 * at[0]), (30.0 - 80.0 * at[1] / (25.0 + at[1])) / 2.0]
    np.testing.assert_allclose(table["IWRES"], expected, rtol=1e-8)
    assert table["OUTPUT"].values.tolist() == ["concentration", "effect"]
    assert '"effect": "%"' in table["DV"].attrs["units"]


def test_refusals(few_fit):
    with pytest.raises(SettingError, match="replicates"):
        residuals(few_fit, replicates=1.5, seed=1)

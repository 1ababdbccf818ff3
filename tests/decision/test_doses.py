import numpy as np
import pandas as pd
import pytest
from popk.models import natalizumab

from popk.dataset import read_dataset
from popk.decision import (
    AUC24,
    Peak,
    TimeAbove,
    decision_frame,
    dose_for_auc,
    dose_for_trough,
    target_attainment,
)
from popk.errors import SettingError
from popk.individual import Trough
from popk.regimen import Regimen
from popk.statistics import Uniform
from popk.units import UnitError


def table(result):
    """Both tables of a dose."""
    own = result["decision"].to_dataset()
    return own.merge(result["dose"].to_dataset()) if "dose" in result.children else own


def quantiles(values):
    return np.quantile(values.ravel(), [0.05, 0.5, 0.95], method="inverted_cdf")


def needed(own, at=0):
    ends = ("needed_low", "needed_median", "needed_high")
    return [own[name].isel(interval_number=at).item() for name in ends]


def test_the_dose_for_an_auc_is_clearance_times_area(fit, advice, draws):
    target = AUC24(at_least=20, unit="mg.d/L")
    result = dose_for_auc(fit, advice, target=target, intervals=(14, 28))
    found = table(result)
    assert len(decision_frame(result)) == 2 * 24
    assert len(decision_frame(result, "dose")) == 2 * 2
    for subject in ("low", "high"):
        cl, _, _ = draws(subject)
        own = found.sel(subject=subject)
        for k, days in enumerate((14, 28)):
            np.testing.assert_allclose(needed(own, k), quantiles(cl * 20 * days), rtol=1e-6)
        held = (cl * 20 * 28 <= own["dose"].values[1::2]).mean(axis=0)
        np.testing.assert_allclose(own["probability"].values[1::2], held)
        assert own["advised"].values[1] == own["dose"].values[1::2][held >= 0.9].min()


def test_the_dose_for_a_trough_solves_the_equations(fit, advice, draws, ten):
    steady = table(dose_for_trough(fit, advice, target=ten, steady=True))
    coming = table(dose_for_trough(fit, advice, target=ten))
    cl, v, at = draws("low")
    left = np.exp(-cl / v * 28)
    own = steady.sel(subject="low")
    np.testing.assert_allclose(needed(own), quantiles(10 * v * (1 - left) / left), rtol=1e-5)
    before = at(np.array([56.0]))
    own = coming.sel(subject="low")
    expected = np.maximum((10 - before) * v / left, 0)
    np.testing.assert_allclose(needed(own), quantiles(expected), rtol=1e-5)
    exact = np.quantile(expected, 0.9, method="inverted_cdf")
    np.testing.assert_allclose(own["exact"].item(), exact, rtol=1e-5)


def test_targets_must_be_reached_together(fit, advice, draws, ten):
    also = (Peak(90, "mg/L"), TimeAbove(12, "mg/L", 0.5))
    found = table(dose_for_trough(fit, advice, target=ten, also=also, doses=(150, 300, 450)))
    cl, v, at = draws("low")
    own = found.sel(subject="low")
    for k, dose in enumerate((150, 300, 450)):
        peak = at(np.array([28.0])) + dose / v
        trough = peak * np.exp(-cl / v * 28)
        above = np.log(peak / 12) / (cl / v) / 28
        held = np.stack([trough >= 10, peak <= 90, above >= 0.5])
        np.testing.assert_allclose(own["reached"].values[k], held.mean(axis=(1, 2)))
        np.testing.assert_allclose(own["probability"].values[k], held.all(axis=0).mean())
    assert found["target_unit"].values.tolist() == ["mg/L", "mg/L", "1"]


def test_a_nonlinear_dose_lies_between_the_doses_that_span_it(fits, ten):
    model = natalizumab.model
    frame = pd.DataFrame(
        {"ID": "A", "TIME": [0.0, 28.0, 28.0], "EVID": [1, 0, 1], "AMT": [300.0, np.nan, 300.0],
         "RATE": [7200.0, np.nan, 7200.0], "DV": [np.nan, 11.0, np.nan], "WT": 70.0}
    )  # fmt: skip
    data = read_dataset(frame, units=model.units.to_dict())
    fit = fits.fit_of(model, data, draws=30)
    found = table(dose_for_trough(fit, data, target=ten, doses=np.arange(50, 1300, 50)))
    own = found.isel(subject=0)
    held = own["probability"].values
    assert (np.diff(held) >= 0).all()
    exact = own["exact"].item()
    k = int(np.argmax(held >= 0.9))
    assert own["dose"].values[k - 1] < exact <= own["dose"].values[k] == own["advised"].item()


def test_a_distribution_as_target_has_probabilities_and_no_exact_dose(fit, advice):
    found = table(dose_for_trough(fit, advice, target=Trough(Uniform(2, 10), "mg/L")))
    assert np.isnan(found["exact"]).all()
    assert ((found["probability"] > 0) & (found["probability"] < 1)).any()


def test_attainment_by_regimen_for_patients_and_the_population(fit, advice, draws, ten):
    regimens = {"q4w": Regimen(amount=300, interval=28, repeats=30),
                "q6w": Regimen(amount=300, interval=42, repeats=30)}  # fmt: skip
    found = target_attainment(fit, regimens, target=ten, patients=advice)
    cl, v, _ = draws("low")
    for name, days in (("q4w", 28), ("q6w", 42)):
        left = np.exp(-cl / v * days)
        held = (300 / v * left / (1 - left) >= 10).mean()
        assert table(found)["probability"].sel(subject="low", regimen=name).item() == held
    everybody = target_attainment(fit, regimens, target=ten)
    own = table(everybody).sel(subject="population")
    assert "new people" in everybody.attrs["rests_on"]
    rng = np.random.default_rng(1)
    population = fit["posterior"].to_dataset()
    draw = rng.integers(200, size=20000)
    weight = rng.choice([60, 80], size=20000)
    value = {name: population[name].values.ravel()[draw] for name in
             ("CL", "V", "beta_CL_WT", "omega_CL", "omega_V")}  # fmt: skip
    z = rng.standard_normal((2, 20000))
    cl = value["CL"] * (weight / 70) ** value["beta_CL_WT"] * np.exp(value["omega_CL"] * z[0])
    v = value["V"] * np.exp(value["omega_V"] * z[1])
    left = np.exp(-cl / v * 28)
    expected = (300 / v * left / (1 - left) >= 10).mean()
    q4w = own.sel(regimen="q4w")
    assert abs(q4w["probability"].item() - expected) < 4 * q4w["error"].item() + 0.01
    assert q4w["probability_low"] <= q4w["probability"] <= q4w["probability_high"]


def test_what_makes_no_sense_is_refused(fit, advice, ten):
    with pytest.raises(UnitError, match=r"mg\.d/L"):
        dose_for_auc(fit, advice, target=AUC24(at_least=400, unit="mg.h/L"))
    with pytest.raises(SettingError, match="no start"):
        dose_for_trough(fit, advice, target=ten, steady=True, start=28)
    with pytest.raises(SettingError, match="doses is"):
        dose_for_trough(fit, advice, target=ten, doses=(0, 300))
    for fault in (lambda: AUC24(unit="mg.h/L"), lambda: Peak(-1, "mg/L"),
                  lambda: TimeAbove(1, "mg/L", 1.5),
                  lambda: AUC24(at_least=600, at_most=400, unit="mg.h/L")):  # fmt: skip
        with pytest.raises(SettingError):
            fault()
    with pytest.raises(SettingError, match="at least one"):
        target_attainment(fit, [], target=ten)

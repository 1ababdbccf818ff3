"""What covariates cost, against superposition and a large sample of people by hand."""

from dataclasses import replace

import numpy as np
import pytest

from popk.cohort import covariate_consequences
from popk.dataset import read_dataset
from popk.decision import decision_frame
from popk.errors import SettingError
from popk.individual import Trough
from popk.population import PopulationDraws
from popk.regimen import Regimen
from popk.reporting import show
from popk.statistics import Fixed, Fold, Power

TARGET = Trough(10.0, "mg/L")
MONTHLY = Regimen(amount=300.0, interval=28.0, repeats=10)
WEIGHTS = (55.0, 70.0, 95.0)


@pytest.fixture(scope="module")
def cohort(fits):
    each = [fits.history(name, weight=w) for name, w in zip("ABC", WEIGHTS, strict=True)]
    return fits.dataset(*[record for records in each for record in records])


@pytest.fixture(scope="module")
def fit(fits, cohort):
    return fits.fit_of(fits.one_compartment(covariates=True), cohort)


@pytest.fixture(scope="module")
def found(fit):
    return covariate_consequences(
        fit, target=TARGET, probability=0.8, steps={"WT": 10.0}, regimen=MONTHLY, draws=50
    )


def quantiles(values):
    """5, 50 and 95 %, each one of the draws."""
    return np.quantile(values, [0.05, 0.5, 0.95], method="inverted_cdf")


def longest_by_hand(fits, values, weight, z):
    """The longest interval in weeks that four fifths of many people hold, steady state."""
    weeks = np.arange(1.0, 14.0, 0.02)
    cl = values["CL"] * (weight / 70) ** values["beta_CL_WT"]
    cl, v = cl * np.exp(values["omega_CL"] * z[0]), values["V"] * np.exp(values["omega_V"] * z[1])
    left = np.exp(-np.outer(7.0 * weeks, cl / v))
    trough = 300.0 / v * left / (1 - left)
    held = (trough >= 10.0).mean(axis=1) >= 0.8
    return weeks[held].max()


def test_troughs_and_intervals_are_those_of_superposition(fits, fit, found):
    table = found["decision"].to_dataset().isel(effect=0)
    values = PopulationDraws.of(fit, 50).values
    doses = 28.0 * np.arange(10)
    at = [
        fits.bolus(280.0, values["CL"] * (w / 70) ** values["beta_CL_WT"], values["V"], doses=doses)
        for w in (70.0, 80.0)
    ]
    np.testing.assert_allclose(table["trough_median"], quantiles(at[0])[1], rtol=1e-6)
    change = quantiles(at[1] - at[0])
    given = [float(table[f"trough_change_{end}"]) for end in ("low", "median", "high")]
    np.testing.assert_allclose(given, change, rtol=1e-6)

    z = np.random.default_rng(3).standard_normal((2, 20_000))
    draws = [{name: v[k] for name, v in values.items()} for k in range(50)]
    longest = np.array([[longest_by_hand(fits, d, w, z) for w in (70.0, 80.0)] for d in draws])
    assert float(table["interval_median"]) == pytest.approx(np.median(longest[:, 0]), abs=0.12)
    apart = np.median(longest[:, 1] - longest[:, 0])
    assert apart < -0.2
    assert float(table["interval_change_median"]) == pytest.approx(apart, abs=0.06)


def test_the_answer_says_what_it_compares_and_rests_on(found):
    words = str(found["decision"]["words"].values[0])
    assert words.startswith("10 kg more of WT (70 to 80): trough -")
    assert "mg/L" in words
    assert "weeks from" in words
    assert "50 draws" in found.attrs["rests_on"]
    assert "reference WT 70 kg" in found.attrs["rests_on"]
    frame = decision_frame(found)
    assert frame.attrs["units"]["interval_change_low"] == "wk"
    assert frame.attrs["units"]["trough_change_low"] == "mg/L"
    shown = str(show(found))
    assert "10 kg more of WT" in shown


def test_levels_are_compared_with_their_reference_others_held(fits, cohort):
    units = {**fits.UNITS, "ADA": "1"}
    frame = cohort.table.to_dataframe()[fits.COLUMNS].assign(ADA=0.0)
    frame.loc[frame["ID"] == "C", "ADA"] = 1.0
    model = replace(
        fits.one_compartment(),
        covariates=(
            Power("CL", "WT", reference=70, exponent=Fixed(0.75)),
            Fold("CL", "ADA", Fixed(2.0)),
        ),
        units=units,
    )
    fit = fits.fit_of(model, read_dataset(frame, units=units))
    told = covariate_consequences(fit, target=TARGET, regimen=MONTHLY, draws=20, people=16)
    table = told["decision"].to_dataset()
    assert table["covariate"].values.tolist() == ["WT", "ADA"]
    assert (float(table["start"][1]), float(table["end"][1])) == (0.0, 1.0)
    assert str(table["words"].values[1]).startswith("ADA 1 instead of 0: trough -")
    values, doses = PopulationDraws.of(fit, 20).values, 28.0 * np.arange(10)
    at = [fits.bolus(280.0, f * values["CL"], values["V"], doses=doses) for f in (1.0, 2.0)]
    np.testing.assert_allclose(table["trough_change_median"][1], quantiles(at[1] - at[0])[1])


def test_an_interval_beyond_those_looked_at_is_not_known(fit):
    low = covariate_consequences(
        fit, target=Trough(1e-6, "mg/L"), regimen=MONTHLY, draws=10, people=16
    )
    table = low["decision"].to_dataset()
    assert np.isnan(table["interval_median"]).all()
    assert "beyond the intervals looked at" in str(table["words"].values[0])
    assert np.isfinite(table["trough_change_median"]).all()


def test_the_same_seed_gives_the_same_answer(fit, found):
    again = covariate_consequences(
        fit, target=TARGET, probability=0.8, steps={"WT": 10.0}, regimen=MONTHLY, draws=50
    )
    assert again["decision"].to_dataset().identical(found["decision"].to_dataset())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"steps": {"AGE": 10}}, "steps names AGE, which is no covariate of the model; it has WT"),
        ({"steps": {"WT": 0.0}}, "The step of WT is 0.0; give a number that is not zero"),
        ({"draws": 0}, "draws is 0; give a whole number of 1 or more"),
        ({"probability": 1.5}, "The probability is 1.5"),
    ],
)
def test_settings_that_make_no_sense_are_refused(fit, options, said):
    with pytest.raises(SettingError, match=said):
        covariate_consequences(fit, **{"target": TARGET, **options})


def test_a_model_without_covariates_is_refused(fits, cohort):
    with pytest.raises(SettingError, match="has no covariate effects"):
        covariate_consequences(fits.fit_of(fits.one_compartment(), cohort), target=TARGET)

from dataclasses import replace

import numpy as np
import pytest

from popk.dataset import read_dataset
from popk.decision import Visits, decision_frame, interval_for_trough, slipped_visit, time_until
from popk.errors import SettingError
from popk.individual import Trough, individualise
from popk.individual.advice import STATEMENT
from popk.population import FitError
from popk.statistics import IOV, Fixed, LogNormal, Normal, Uniform
from popk.units import UnitError

WEEKS = np.array([4.0, 5.0, 6.0, 7.0, 8.0])


def table(result):
    return result["decision"].to_dataset()


def test_the_same_question_has_the_answer_of_individualise(fit, advice, ten):
    found = table(interval_for_trough(fit, advice, target=ten))
    np.testing.assert_allclose(found["probability"], advice["decision"]["probability"])
    np.testing.assert_allclose(found["trough_median"], advice["decision"]["trough_median"],
                               rtol=0.01)  # fmt: skip
    np.testing.assert_array_equal(found["advised"], advice["decision"]["longest"])
    assert found["acceptable"].values.tolist() == (found["probability"].values >= 0.9).tolist()


def test_days_under_the_target_are_those_of_the_exponential(fit, advice, ten, draws):
    found = table(interval_for_trough(fit, advice, target=ten))
    for subject in ("low", "high"):
        cl, v, at = draws(subject)
        above = np.maximum(np.log(at(1e-9) / 10.0) / (cl / v), 0.0)
        expected = np.maximum(7 * WEEKS - above, 0.0).mean(axis=0)
        np.testing.assert_allclose(found["under"].sel(subject=subject), expected, atol=1e-4)


def test_a_target_that_is_a_distribution_is_integrated_over(fit, advice):
    found = table(interval_for_trough(fit, advice, target=Trough(Uniform(2, 10), "mg/L")))
    levels = 2 + 8 * (np.arange(16) + 0.5) / 16
    each = [table(interval_for_trough(fit, advice, target=Trough(x, "mg/L"))) for x in levels]
    for name, tolerance in (("probability", 0.02), ("under", 0.1)):
        mean = np.mean([one[name].values for one in each], axis=0)
        np.testing.assert_allclose(found[name], mean, atol=tolerance)


def test_assay_noise_widens_the_interval_by_the_residual_error(fit, advice, ten):
    found = table(interval_for_trough(fit, advice, target=ten, noise=True))
    true = (found["trough_high"] / found["trough_low"]).values
    assert (found["measured_high"] / found["measured_low"] > true).all()
    # Proportional error of 20 % beside the spread of the truth, on the logarithmic scale.
    width = np.log(found["measured_high"] / found["measured_low"]).values / 3.29
    np.testing.assert_allclose(width, np.hypot(np.log(true) / 3.29, 0.2), rtol=0.15)


def test_dates_and_what_an_answer_rests_on(fit, advice, ten):
    visits = Visits(weekdays=("Mon",), shortest=4, longest=6, step=1)
    dates = {"low": "2026-05-04", "high": "2026-05-06"}
    found = interval_for_trough(fit, advice, target=ten, visits=visits, last_dose=dates)
    frame = decision_frame(found)
    own = frame[frame["subject"] == "low"]
    assert own["date"].tolist() == ["2026-06-01", "2026-06-08"]
    assert frame["date"].map(lambda day: np.datetime64(day).item().weekday()).unique() == [0]
    attrs = found.attrs
    assert attrs["statement"] == STATEMENT
    assert attrs["fit_model_hash"] == fit.attrs["model_hash"]
    assert "400 draws" in attrs["rests_on"]
    assert frame.attrs["units"]["under"] == "d"
    assert all(isinstance(value, str | int | float) for value in attrs.values())
    assert all("P(trough >= 10 mg/L)" in words or "No feasible" in words
               for words in table(found)["words"].values)  # fmt: skip


def test_what_cannot_be_answered_is_said(fits, fit, advice, ten):
    with pytest.raises(UnitError, match="mg/L"):
        interval_for_trough(fit, advice, target=Trough(10, "g/L"))
    with pytest.raises(SettingError, match="last dose of ID low is not given"):
        interval_for_trough(fit, advice, target=ten, visits=Visits(calendar=["2026-06-01"]))
    other = fits.fit_of(fits.one_compartment(), fits.dataset(*fits.history("C1")))
    with pytest.raises(SettingError, match="another fit"):
        interval_for_trough(other, advice, target=ten)
    with pytest.raises(FitError):
        interval_for_trough(advice, advice, target=ten)
    with pytest.raises(SettingError, match="a distribution"):
        individualise(fit, ["C1"], target=Trough(Uniform(2, 10), "mg/L"))
    with pytest.raises(SettingError, match="below zero"):
        Trough(Normal(5, 1), "mg/L")
    assert Trough(Fixed(5.0), "mg/L").concentration == 5.0
    single = fits.dataset(fits.dose("one", 0.0), fits.observe("one", 20.0, 20.0))
    found = table(interval_for_trough(fit, single, target=ten, visits=Visits((4,), step=1)))
    assert np.isnan(found["advised"].values).all()
    assert "single dose" in found["words"].values[0]


def test_an_unreliable_patient_has_no_advice(fit, advice, ten):
    doubted = advice.copy(deep=True)
    doubted["decision"]["reliable"][:] = 0
    doubted["decision"]["note"][:] = "doubted"
    found = table(interval_for_trough(fit, doubted, target=ten))
    assert np.isnan(found["advised"]).all()
    assert all(words.startswith("No interval: ") for words in found["words"].values)


@pytest.mark.parametrize("changes", ["weight", "occasions"])
def test_parameters_that_change_are_followed_through_the_history(fits, ten, changes):
    """The draws are those of the advice; the rows before the last count for what is left."""
    model = fits.one_compartment(covariates=changes == "weight")
    data = fits.dataset(*fits.growing("A", [60, 62, 64, 66, 68, 70]), carry="locf")
    if changes == "occasions":
        model = replace(model, iov=IOV({"CL": LogNormal(0.2, cv=0.05)}))
        frame = data.to_frame()
        frame["OCC"] = np.repeat([1, 2, 3], 2)
        data = read_dataset(frame, units=fits.UNITS, carry="locf")
    fit = fits.fit_of(model, data)
    advice = individualise(fit, data, target=ten, weeks=WEEKS, samples=200)
    found = table(interval_for_trough(fit, advice, target=ten))
    np.testing.assert_allclose(found["probability"], advice["decision"]["probability"])


def test_a_slip_is_the_longer_interval(fit, advice, ten, draws):
    found = table(slipped_visit(fit, advice, target=ten, days=10))
    assert found["planned"].values.tolist() == [4, 4]
    _, _, at = draws("low")
    expected = (at(28.0 + np.arange(11)) >= 10).mean(axis=0)
    own = found.sel(subject="low")
    np.testing.assert_allclose(own["probability"], expected)
    held = np.logical_and.accumulate(expected >= 0.9).sum()
    assert own["holds_until"].item() == held - 1
    assert f"90 % or more {held - 1} day" in own["words"].item()
    with pytest.raises(SettingError, match="days is 0"):
        slipped_visit(fit, advice, target=ten, days=0)


def test_time_until_is_the_logarithm_of_the_ratio_over_k(fit, advice, draws):
    result = time_until(fit, advice, concentration=2.0, unit="mg/L", days=(40, 60))
    found, reached = table(result), result["day"]["probability"]
    assert decision_frame(result)["subject"].tolist() == ["low", "high"]
    for subject in ("low", "high"):
        cl, v, at = draws(subject)
        days = (np.log(at(1e-9) / 2.0) / (cl / v)).ravel()
        expected = np.quantile(days, [0.05, 0.5, 0.95], method="inverted_cdf")
        own = found.sel(subject=subject)
        got = [own[name].item() for name in ("low", "median", "high")]
        np.testing.assert_allclose(got, expected, rtol=1e-6)
        by = [(days <= day).mean() for day in (40, 60)]
        np.testing.assert_allclose(reached.sel(subject=subject), by)
    late = table(time_until(fit, advice, concentration=2.0, unit="mg/L", weeks=2))
    assert np.isinf(late["median"]).all()
    assert "not within" in late["words"].values[0]

"""Advice as a whole, from fits made without sampling."""

import json

import numpy as np
import pytest

from popk.dataset import DataError, read_dataset
from popk.errors import SettingError
from popk.individual import Trough, decide, individualise
from popk.individual.advice import STATEMENT
from popk.model import ModelError, PopModel
from popk.plots import plot_intervals, plot_patient
from popk.population import FitError
from popk.regimen import Regimen
from popk.reporting import interval_frame, interval_table
from popk.statistics import LogNormal
from popk.storage import load, save
from popk.structure import DirectEffect, Emax
from popk.units import UnitError

TARGET = Trough(10.0, "mg/L")
TWENTY = Trough(20.0, "mg/L")
WEEKS = (4, 6, 8)


@pytest.fixture(scope="module")
def cohort(fits):
    return fits.dataset(*fits.history("C1", weight=60.0), *fits.history("C2", weight=80.0))


@pytest.fixture(scope="module")
def fit(fits, cohort):
    return fits.fit_of(fits.one_compartment(covariates=True), cohort)


@pytest.fixture(scope="module")
def patients(fits):
    return fits.dataset(
        *fits.history("N1", (12.0, 13.0), weight=55.0),
        *fits.history("C2", (40.0, 45.0), weight=80.0),
        *fits.history("N3", (20.0,), weight=70.0),
        fits.observe("N3", 170.0, 1.0, cens=1, weight=70.0),
    )


def advise(fit, patients, **options):
    options = {"target": TARGET, "weeks": WEEKS, "samples": 300, "draws": 100} | options
    return individualise(fit, patients, **options)


@pytest.fixture(scope="module")
def advice(fit, patients):
    return advise(fit, patients)


def test_shapes_coordinates_and_units(advice):
    decision = advice["decision"].to_dataset()
    grid = ("probability", "probability_sustained", "trough_low", "trough_median", "trough_high",
            "trough_sustained_low", "trough_sustained_median", "trough_sustained_high")  # fmt: skip
    for name in grid:
        assert decision[name].dims == ("subject", "week")
        unit = "1" if name.startswith("prob") else "mg/L"
        assert decision[name].attrs["units"] == unit
    assert decision["subject"].values.tolist() == ["N1", "C2", "N3"]
    assert decision["week"].values.tolist() == [4.0, 6.0, 8.0]
    for name in ("longest", "longest_sustained", "usual_interval", "week"):
        assert decision[name].attrs["units"] == "wk"
    units = {"last_dose": "mg", "last_dose_time": "d", "WT": "kg"}
    assert {name: decision[name].attrs["units"] for name in units} == units
    assert decision["n_observations"].values.tolist() == [2, 2, 2]
    assert decision["n_blq"].values.tolist() == [0, 0, 1]
    assert decision["last_dose"].values.tolist() == [300.0] * 3
    assert decision["last_dose_time"].values.tolist() == [84.0] * 3
    assert decision["usual_interval"].values.tolist() == [4.0] * 3
    assert decision["WT"].values.tolist() == [55.0, 80.0, 70.0]
    assert decision["note"].values.tolist() == [""] * 3
    assert decision["reliable"].values.tolist() == [1, 1, 1]
    posterior = advice["posterior"].to_dataset()
    assert posterior["parameters"].dims == ("subject", "sample", "parameter")
    assert posterior.sizes == {"subject": 3, "sample": 300, "parameter": 2, "week": 3}
    assert json.loads(posterior["parameters"].attrs["units"]) == {"CL": "L/d", "V": "L"}
    assert advice["curve"]["median"].attrs["units"] == "mg/L"
    assert advice["curve"]["time"].attrs["units"] == "d"


def test_attributes_say_what_it_rests_on(advice, fit):
    attrs = advice.attrs
    assert attrs["kind"] == "popk advice"
    assert (attrs["target"], attrs["target_units"], attrs["probability"]) == (10.0, "mg/L", 0.9)
    assert attrs["fit_model_hash"] == fit.attrs["model_hash"]
    assert attrs["fit_data_hash"] == fit.attrs["data_hash"]
    assert attrs["time_per_week"] == 7.0
    assert attrs["statement"] == STATEMENT
    assert "Research software" in STATEMENT
    assert all(isinstance(value, str | int | float) for value in attrs.values())


@pytest.mark.parametrize("converged", [True, False])
def test_whether_the_fit_converged_is_carried(fits, cohort, converged):
    fit = fits.fit_of(fits.one_compartment(), cohort, converged=converged)
    assert advise(fit, ["C1"]).attrs["fit_converged"] == int(converged)


def test_the_numbers_are_those_of_the_samples(advice):
    decision, posterior = advice["decision"].to_dataset(), advice["posterior"].to_dataset()
    troughs = posterior["troughs"]
    np.testing.assert_allclose(decision["probability"], (troughs >= 10.0).mean("sample"))
    low, middle, high = troughs.quantile([0.05, 0.5, 0.95], dim="sample").values
    np.testing.assert_allclose(decision["trough_low"], low)
    np.testing.assert_allclose(decision["trough_median"], middle)
    np.testing.assert_allclose(decision["trough_high"], high)
    # The patient with the high troughs may wait longer than the one with the low ones.
    longest = decision["longest"].fillna(0)
    assert longest.sel(subject="C2") > longest.sel(subject="N1")


def test_troughs_follow_from_the_parameters(advice, fits):
    """Intervals count from the last dose, by the bolus equations."""
    parameters = advice["posterior"]["parameters"].sel(subject="N1").values
    doses = 28.0 * np.arange(4)
    times = 84.0 + 7.0 * np.array(WEEKS)
    expected = fits.bolus(times, parameters[:, :1], parameters[:, 1:], doses=doses)
    found = advice["posterior"]["troughs"].sel(subject="N1").transpose("sample", "week")
    np.testing.assert_allclose(found.values, expected, rtol=1e-9)


def test_patients_of_the_cohort_are_taken_from_the_fit_and_not_counted_twice(fit, cohort):
    everybody = advise(fit, None, samples=200)
    assert everybody["decision"]["source"].values.tolist() == ["cohort", "cohort"]
    own = fit["posterior"]["parameters"].stack(all=("chain", "draw"))
    found = everybody["posterior"]["parameters"].sel(subject="C2").transpose("sample", "parameter")
    theirs = own.sel(subject="C2").transpose("all", "parameter").values
    np.testing.assert_array_equal(found.values, theirs)
    same = read_dataset(cohort.to_frame(), units=cohort.units.to_dict())
    again = advise(fit, same, samples=200)
    assert again["decision"]["source"].values.tolist() == ["cohort", "cohort"]
    assert again["posterior"].to_dataset().equals(everybody["posterior"].to_dataset())
    one = advise(fit, ["C2"])
    assert one["decision"]["subject"].values.tolist() == ["C2"]


def test_patients_of_both_kinds_have_as_many_samples(fit, fits):
    """Also where the fit has fewer draws than samples are asked for."""
    data = fits.dataset(*fits.history("C1", weight=60.0), *fits.history("N1", (12.0, 13.0)))
    found = advise(fit, data, samples=450)
    assert found["decision"]["source"].values.tolist() == ["cohort", "new"]
    assert np.isfinite(found["posterior"]["parameters"].values).all()
    assert found["posterior"].sizes["sample"] == 450
    assert found["decision"]["ess"].values[0] == 200


def test_an_id_of_the_cohort_with_other_records_is_a_new_patient(advice):
    decision = advice["decision"].to_dataset()
    assert decision["source"].values.tolist() == ["new", "new", "new"]
    assert np.isfinite(decision["khat"].values).all()


def test_a_patients_result_depends_on_no_other_patient(fit, patients, advice):
    alone = advise(fit, patients.select(["N3"]))
    for group in ("decision", "posterior"):
        together = advice[group].to_dataset().sel(subject=["N3"])
        assert alone[group].to_dataset().equals(together)
    own = alone["curve"].to_dataset()
    padded = advice["curve"].to_dataset().sel(subject=["N3"])
    assert own.equals(padded.isel(point=slice(own.sizes["point"])))


def test_the_order_of_patients_does_not_matter(fit, fits, advice):
    reverse = fits.dataset(
        *fits.history("N3", (20.0,), weight=70.0),
        fits.observe("N3", 170.0, 1.0, cens=1, weight=70.0),
        *fits.history("N1", (12.0, 13.0), weight=55.0),
    )
    found = advise(fit, reverse)["posterior"].to_dataset()
    assert found.equals(advice["posterior"].to_dataset().sel(subject=["N3", "N1"]))


def test_the_seed_decides(fit, patients, advice):
    again, other = advise(fit, patients, seed=1), advise(fit, patients, seed=2)
    assert again["posterior"].to_dataset().equals(advice["posterior"].to_dataset())
    assert not other["posterior"].to_dataset().equals(advice["posterior"].to_dataset())


def test_deciding_again_is_the_same_as_asking_anew(fit, patients, advice):
    decided = decide(advice, target=TWENTY, probability=0.7)
    asked = advise(fit, patients, target=TWENTY, probability=0.7)
    assert decided["decision"].to_dataset().identical(asked["decision"].to_dataset())
    assert decided["curve"].to_dataset().identical(asked["curve"].to_dataset())
    ignored = ("seconds",)
    assert {k: v for k, v in decided.attrs.items() if k not in ignored} == {
        k: v for k, v in asked.attrs.items() if k not in ignored
    }
    assert advice.attrs["target"] == 10.0
    assert not advice["decision"]["probability"].equals(decided["decision"]["probability"])


def test_a_patient_without_observations_gets_the_population(fit, fits):
    (weight,) = fits.dataset(*fits.history("X", weight=90.0)).covariate_table()["WT"]
    covariates = fits.dataset(*fits.history("X", weight=weight)).covariate_table()
    regimen = Regimen(amount=300.0, interval=28.0, repeats=3)
    data = regimen.dataset(covariates, [], units=fits.dataset(*fits.history("X")).units)
    found = advise(fit, data, samples=1000)
    assert found["decision"]["n_observations"].values.tolist() == [0]
    clearance = found["posterior"]["parameters"].sel(parameter="CL").values
    assert np.median(clearance) == pytest.approx(0.2 * (90 / 70) ** 0.75, rel=0.05)


@pytest.fixture(scope="module")
def mixed(fit, fits):
    """A patient whom nothing explains, between two others."""
    data = fits.dataset(
        *fits.history("N1", (12.0, 13.0), weight=55.0),
        *fits.history("odd", (20.0, 1e200)),
        *fits.history("N3", (20.0,), doses=6),
    )
    return advise(fit, data)


def test_a_patient_nothing_explains_does_not_stop_the_others(mixed, advice, tmp_path):
    decision = mixed["decision"].to_dataset()
    odd = decision.sel(subject="odd")
    for name in ("probability", "probability_sustained", "trough_median", "longest"):
        assert np.isnan(odd[name].values).all()
    assert int(odd["reliable"]) == 0
    assert "Check the doses, times and units." in str(odd["note"].values)
    assert decision["reliable"].values.tolist() == [1, 0, 1]
    same = mixed["posterior"].to_dataset().sel(subject="N1")
    assert same.equals(advice["posterior"].to_dataset().sel(subject="N1"))
    table = interval_table(mixed)
    row = next(row for row in table.rows if row[0].text == "odd")
    assert [cell.text for cell in row[-8:]][2:] == ["–", "–", "–", "none", "none", "no"]
    assert "ID odd: No parameter values give the observations a likelihood" in table.note
    assert "ID odd" not in interval_table(mixed, most=1).note
    assert interval_frame(mixed)["note"].tolist()[0::2] == ["", ""]
    decided = decide(mixed, target=Trough(0.001, "mg/L"))["decision"].to_dataset()
    assert np.isnan(decided["longest"].sel(subject="odd"))
    assert load(save(mixed, tmp_path / "advice.nc")).identical(mixed)


@pytest.mark.parametrize("subject", ["N1", "odd", "N3"])
def test_curves_of_different_lengths_are_drawn(mixed, subject):
    curve = mixed["curve"].to_dataset().sel(subject=subject)
    used = np.isfinite(curve["time"].values)
    assert np.isfinite(curve["median"].values[used]).all() == (subject != "odd")
    assert np.isnan(curve["median"].values[~used]).all()
    plot_patient(mixed, subject=subject).canvas.draw()
    plot_intervals(mixed).canvas.draw()


@pytest.mark.parametrize("probability", [0.0, 1.0, 90, -0.1, np.nan])
def test_a_probability_that_is_none_is_refused(fit, advice, probability):
    with pytest.raises(SettingError, match=r"give one between 0 and 1, as 0\.9"):
        advise(fit, None, probability=probability)
    with pytest.raises(SettingError, match=r"give one between 0 and 1, as 0\.9"):
        decide(advice, target=TARGET, probability=probability)


def test_a_target_in_another_unit_is_refused(fit, advice):
    with pytest.raises(UnitError, match="The target is in ng/mL"):
        advise(fit, None, target=Trough(10.0, "ng/mL"))
    with pytest.raises(UnitError, match="The target is in ng/mL"):
        decide(advice, target=Trough(10.0, "ng/mL"))


def test_candidates_are_checked_before_anything_is_computed(fit):
    with pytest.raises(SettingError, match="each must be above zero"):
        advise(fit, None, weeks=(0, 4))
    with pytest.raises(SettingError, match="No candidate interval"):
        advise(fit, None, weeks=())


@pytest.mark.parametrize("name", ["draws", "samples"])
@pytest.mark.parametrize("value", [0, -5, 2.5])
def test_numbers_of_draws_that_make_no_sense_are_refused(fit, patients, name, value):
    with pytest.raises(SettingError, match=f"{name}={value}"):
        advise(fit, patients, **{name: value})


@pytest.mark.parametrize("seed", [-1, 1.5, "one"])
def test_a_seed_that_is_none_is_refused(fit, patients, seed):
    with pytest.raises(SettingError, match="give a whole number of zero or more"):
        advise(fit, patients, seed=seed)


def test_patients_in_other_units_are_refused(fit, patients):
    frame = patients.to_frame()
    other = read_dataset(frame, units={**patients.units.to_dict(), "time": "h"})
    with pytest.raises(ModelError, match="time is in d on one side and in h on the other"):
        advise(fit, other)


def test_an_unknown_id_is_refused(fit):
    with pytest.raises(DataError, match="There is no subject C9"):
        advise(fit, ["C9"])


def test_a_patient_without_a_dose_is_named(fit, fits):
    data = fits.dataset(
        *fits.history("N1"), fits.dose("N2", 0.0), fits.dose("N2", 10.0, evid=3),
        fits.observe("N2", 20.0, 1.0, cens=1),
    )  # fmt: skip
    with pytest.raises(DataError, match=r"ID N2.*no dose after the last reset \(EVID 3\)"):
        advise(fit, data)


def test_what_is_not_a_fit_is_refused(advice):
    with pytest.raises(FitError, match="'popk advice'"):
        individualise(advice, target=TARGET)


def test_progress_counts_the_patients(fit, patients):
    seen = []
    advise(fit, patients, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_a_patient_who_grows(fits):
    """Troughs go on from the last weight; the cohort's own are those of the fit."""
    records = fits.growing("A", (40.0, 45.0, 50.0, 60.0, 70.0))
    data = fits.dataset(*records, *fits.history("B"), carry="locf")
    fit = fits.fit_of(fits.one_compartment(covariates=True), data)
    other = fits.dataset(*fits.growing("A", (41.0, 45.0, 50.0, 60.0, 70.0)), carry="locf")
    for people, source in ((None, "cohort"), (other, "new")):
        found = advise(fit, people, samples=200)
        decision = found["decision"].to_dataset().sel(subject="A")
        assert decision["source"] == source
        assert decision["WT"] == 70.0
        own = found["posterior"].to_dataset().sel(subject="A")
        troughs = own["troughs"].transpose("sample", "week").values
        cl, v = own["parameters"].transpose("parameter", "sample").values
        # After the last dose the weight is the last one: from week to week a plain decay.
        ratio = np.exp(-cl / v * 14.0)
        np.testing.assert_allclose(troughs[:, 1] / troughs[:, 0], ratio, rtol=1e-9)
        if source == "cohort":
            stored = fit["posterior"].to_dataset().stack(all=("chain", "draw"))
            growth = (70 / 40) ** stored["beta_CL_WT"].values
            first = stored["parameters"].sel(subject="A").transpose("parameter", "all").values
            np.testing.assert_allclose(cl, first[0] * growth, rtol=1e-9)
            np.testing.assert_allclose(v, first[1], rtol=1e-9)


def test_a_last_dose_that_cannot_be_repeated_is_refused(fit, fits):
    frame = fits.dataset(*fits.history("X")).to_frame()
    frame.loc[frame.index[-1], ["AMT", "RATE", "SS"]] = [0.0, 10.0, 1]
    with pytest.raises(DataError, match=r"ID X.*last dose, at TIME 84, has AMT 0"):
        advise(fit, read_dataset(frame, units=fits.UNITS))


def test_patients_whose_data_observe_something_else_are_refused(fits, cohort):
    model = fits.one_compartment()
    model = PopModel(
        DirectEffect(model.structure, response=Emax()),
        typical={**dict(model.typical), "EMAX": LogNormal(1, cv=0.3), "EC50": LogNormal(9, cv=0.3)},
        error=model.error,
        units=fits.UNITS,
    )
    fit = fits.fit_of(model, cohort)
    frame = cohort.to_frame().assign(DVID=2)
    with pytest.raises(ModelError, match=r"data observe effect, but the fit's observe concentr"):
        advise(fit, read_dataset(frame, units=fits.UNITS))

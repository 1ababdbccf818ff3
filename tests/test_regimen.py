"""Regimens: the table they make, and what is refused."""

import numpy as np
import pandas as pd
import pytest

from popk.dataset import Dataset
from popk.errors import SettingError
from popk.regimen import Regimen
from popk.structure import FirstOrder, OneCompartment, concentrations, events_of
from popk.structure.events import OBSERVE
from popk.units import UnitError, Units

UNITS = Units.parse({"time": "d", "amount": "mg", "concentration": "mg/L", "WT": "kg"})
PLAIN = Units("d", "mg", "mg/L")


def test_every_subject_gets_every_dose_and_time():
    regimen = Regimen(amount=300.0, interval=28.0, repeats=3, duration=0.5, start=7.0)
    data = regimen.dataset(["A", 7], [10, 35.0], units=PLAIN)
    assert isinstance(data, Dataset)
    assert data.subjects == ("A", "7")
    assert data.n_observations == 0
    frame = data.to_frame()
    for subject in data.subjects:
        own = frame[frame["ID"] == subject]
        doses = own[own["EVID"] == 1]
        assert doses["TIME"].tolist() == [7.0, 35.0, 63.0]
        assert doses["AMT"].tolist() == [300.0] * 3
        assert doses["RATE"].tolist() == [600.0] * 3
        assert own[own["EVID"] == 0]["TIME"].tolist() == [10.0, 35.0]
        assert own["TIME"].is_monotonic_increasing
        # At the time of a dose the prediction stands first: a trough.
        assert own[own["TIME"] == 35.0]["EVID"].tolist() == [0, 1]
    assert frame["MDV"].eq(1).all()


def test_units_may_be_a_mapping_as_for_a_file():
    regimen = Regimen(amount=300.0, interval=28.0)
    found = regimen.dataset(["A"], [10.0], units=PLAIN.to_dict())
    assert found == regimen.dataset(["A"], [10.0], units=PLAIN)
    with pytest.raises(UnitError, match="concentration"):
        regimen.dataset(["A"], [10.0], units={"time": "d", "amount": "mg"})


def test_it_can_be_solved_and_predictions_at_a_dose_are_troughs(fits):
    data = Regimen(amount=300.0, interval=28.0, repeats=3).dataset(["A"], [56.0, 30.0], units=PLAIN)
    events = events_of(data, OneCompartment(), everywhere=True)
    found = concentrations(OneCompartment(), np.array([[0.2, 5.0]]), events)
    expected = fits.bolus([30.0, 56.0], 0.2, 5.0, doses=(0.0, 28.0, 56.0))
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_covariates_come_from_a_frame():
    subjects = pd.DataFrame({"WT": [60.0, 80.0]}, index=["A", "B"])
    data = Regimen(amount=1.0, interval=1.0).dataset(subjects, [1.0], units=UNITS)
    assert data.covariates == ("WT",)
    pd.testing.assert_frame_equal(
        data.covariate_table(), subjects.rename_axis("ID"), check_index_type=False
    )
    assert data.units == UNITS


def test_the_table_of_another_data_set_goes_in(fits):
    own = fits.dataset(*fits.history("A", weight=61.0), *fits.history("B", weight=81.0))
    data = Regimen(amount=1.0, interval=1.0).dataset(own.covariate_table(), [1.0], units=own.units)
    assert data.subjects == own.subjects
    pd.testing.assert_frame_equal(data.covariate_table(), own.covariate_table())


def test_it_survives_storage():
    data = Regimen(amount=1.0, interval=1.0).dataset(["A"], [1.0], units=PLAIN)
    assert Dataset.from_xarray(data.to_xarray()) == data


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ({"amount": 0.0}, r"The regimen's amount is 0\.0; give a number above zero"),
        ({"amount": np.nan}, "amount is nan"),
        ({"interval": -1.0}, "interval is -1.0"),
        ({"interval": np.inf}, "interval is inf"),
        ({"duration": -0.1}, "duration is -0.1; give zero or more"),
        ({"start": np.nan}, "start is nan"),
        ({"repeats": 0}, "repeats 0 times"),
        ({"repeats": 1.5}, "repeats 1.5 times"),
        ({"repeats": np.nan}, "repeats nan times"),
        ({"compartment": 0}, "compartment is 0"),
        ({"compartment": 1.5}, "compartment is 1.5"),
    ],
)
def test_numbers_that_make_no_sense_are_refused(setting, sentence):
    with pytest.raises(SettingError, match=sentence):
        Regimen(**({"amount": 1.0, "interval": 1.0} | setting))


@pytest.mark.parametrize("times", [[np.nan], [1.0, np.inf]])
def test_times_that_are_not_numbers_are_refused(times):
    with pytest.raises(SettingError, match="times of prediction"):
        Regimen(amount=1.0, interval=1.0).dataset(["A"], times, units=PLAIN)


def test_no_subject_and_the_same_twice_are_refused():
    regimen = Regimen(amount=1.0, interval=1.0)
    with pytest.raises(SettingError, match="no subject"):
        regimen.dataset([], [1.0], units=PLAIN)
    with pytest.raises(SettingError, match="names A twice"):
        regimen.dataset(["A", "B", "A"], [1.0], units=PLAIN)


def test_a_covariate_missing_for_somebody_is_refused():
    frame = pd.DataFrame({"WT": [60.0, np.nan]}, index=["A", "B"])
    with pytest.raises(SettingError, match="WT of subject B is missing"):
        Regimen(amount=1.0, interval=1.0).dataset(frame, [1.0], units=UNITS)


def test_a_covariate_without_a_unit_is_refused():
    frame = pd.DataFrame({"WT": [60.0]}, index=["A"])
    with pytest.raises(SettingError, match="WT has no unit"):
        Regimen(amount=1.0, interval=1.0).dataset(frame, [1.0], units=PLAIN)


def test_predictions_are_of_the_first_output_and_doses_go_where_asked():
    regimen = Regimen(amount=1.0, interval=1.0, compartment=2)
    data = regimen.dataset(["A"], [1.0], units=PLAIN, carry="locf")
    assert data.table["CMT"].values.tolist() == [2, 0]
    assert data.carry == "locf"
    events = events_of(data, OneCompartment(absorption=FirstOrder()), everywhere=True)
    assert events.what[events.kind == OBSERVE].tolist() == [0]

"""Time after dose, and which samples are troughs."""

import numpy as np
import pytest

from popk.dataset.dosing_times import dosing_times


@pytest.mark.parametrize(
    ("sample", "since", "trough"),
    [
        (10.0, 10.0, False),
        (25.0, 25.0, False),
        (25.3, 25.3, True),
        (27.9, 27.9, True),
        (28.0, 0.0, False),  # a dose implied by ADDL comes before a record at its time
        (29.0, 1.0, False),
        (80.0, 24.0, False),  # after the last dose the interval before counts
        (83.0, 27.0, True),
    ],
)
def test_doses_implied_by_addl_count(fits, sample, since, trough):
    data = fits.dataset(fits.dose("A", 0.0, addl=2, ii=28.0), fits.observe("A", sample, 5.0))
    found = dosing_times(data)
    np.testing.assert_allclose(found.since, [since])
    assert found.trough.tolist() == [trough]


def test_at_the_time_of_a_dose_the_order_of_the_records_decides(fits):
    data = fits.dataset(
        fits.dose("A", 0.0),
        fits.observe("A", 28.0, 5.0),
        fits.dose("A", 28.0),
        fits.observe("A", 28.0, 50.0),
    )
    found = dosing_times(data)
    np.testing.assert_allclose(found.since, [28.0, 0.0])
    assert found.trough.tolist() == [True, False]


def test_before_any_dose_there_is_no_time_after_dose(fits):
    data = fits.dataset(
        fits.dose("A", 0.0), fits.observe("B", 1.0, 5.0), fits.dose("B", 2.0),
        fits.observe("B", 9.0, 5.0),
    )  # fmt: skip
    found = dosing_times(data)
    np.testing.assert_allclose(found.since, [np.nan, 7.0])
    assert not found.trough.any()


def test_after_a_reset_earlier_doses_do_not_count(fits):
    data = fits.dataset(
        fits.dose("A", 0.0, addl=9, ii=7.0),
        fits.observe("A", 6.9, 5.0),
        fits.dose("A", 10.0, evid=3),
        fits.observe("A", 15.0, 5.0),
        fits.dose("A", 20.0, evid=4),
        fits.observe("A", 22.5, 5.0),
    )
    np.testing.assert_allclose(dosing_times(data).since, [6.9, np.nan, 2.5])


def test_the_interval_is_the_one_that_the_sample_is_in(fits):
    data = fits.dataset(
        fits.dose("A", 0.0), fits.observe("A", 3.0, 5.0), fits.dose("A", 28.0),
        fits.observe("A", 40.0, 5.0), fits.dose("A", 70.0), fits.observe("A", 75.0, 5.0),
        fits.dose("B", 0.0), fits.observe("B", 3.0, 5.0),
    )  # fmt: skip
    np.testing.assert_allclose(dosing_times(data).interval, [28.0, 42.0, 42.0, np.nan])

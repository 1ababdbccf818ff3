"""Forecasts against the equations solved by hand, and against doses written out."""

import numpy as np
import pytest
from popk.models import natalizumab

from popk.dataset import read_dataset
from popk.individual.forecast import SUSTAINED_DOSES, curve_times_of, forecast, present_of
from popk.model import PopModel
from popk.statistics import LogNormal
from popk.structure import Dosing, FirstOrder, OneCompartment, concentrations, events_of

INTERVALS = np.array([28.0, 42.0, 56.0])
THETA = np.array([[0.2, 5.0], [0.3, 4.0], [0.1, 7.0]])
CL, V = THETA[:, :1], THETA[:, 1:]
DURATION = 0.5
RATE = 300.0 / DURATION
POINTS = 40


def only(fits, *records):
    """The present state of the one patient of these records."""
    model = fits.one_compartment()
    (found,) = present_of(model, fits.dataset(*records, fits.observe("A", 1000.0, 1.0, cens=1)))
    return found


def forecast_of(fits, present, theta=THETA, intervals=INTERVALS):
    return forecast(fits.one_compartment(), theta[:, None], present, intervals, POINTS)


@pytest.mark.parametrize("infused", [False, True], ids=["bolus", "infusion"])
def test_the_next_trough_and_the_curve_are_the_equations(fits, infused):
    times = (0.0, 28.0, 56.0)
    present = only(fits, *(fits.dose("A", t, rate=RATE if infused else 0.0) for t in times))
    found = forecast_of(fits, present)
    solve = fits.infusion if infused else fits.bolus
    more = {"duration": DURATION} if infused else {}
    expected = solve(56.0 + INTERVALS, CL, V, doses=times, **more)
    np.testing.assert_allclose(found.troughs, expected, rtol=1e-9)
    expected = solve(found.curve_times, CL, V, doses=times, **more)
    np.testing.assert_allclose(found.curve, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("interval", INTERVALS)
def test_sustained_is_eight_more_doses(fits, interval):
    present = only(fits, fits.dose("A", 0.0), fits.dose("A", 28.0))
    found = forecast_of(fits, present, intervals=np.array([interval]))
    assert SUSTAINED_DOSES == 8
    doses = [0.0, *(28.0 + interval * np.arange(9))]
    expected = fits.bolus(28.0 + 9 * interval, CL, V, doses=doses)
    np.testing.assert_allclose(found.sustained, expected, rtol=1e-9)


def test_sustained_is_the_steady_state_when_elimination_is_linear(fits):
    """Half-lives up to 17 days; one of 48 days is 3 % away from it after nine doses."""
    found = forecast_of(fits, only(fits, fits.dose("A", 0.0)))
    left = np.exp(-CL / V * INTERVALS)
    steady = 300.0 / V * left / (1 - left)
    np.testing.assert_allclose(found.sustained[:2], steady[:2], rtol=0.01)
    np.testing.assert_allclose(found.sustained[2], steady[2], rtol=0.03)


@pytest.mark.parametrize("rate", [0.0, RATE], ids=["bolus", "infusion"])
def test_a_run_of_doses_is_the_same_as_its_doses(fits, rate):
    run = only(fits, fits.dose("A", 0.0, rate=rate, addl=3, ii=28.0))
    each = only(fits, *(fits.dose("A", 28.0 * k, rate=rate) for k in range(4)))
    assert (run.time, run.amount, run.usual_interval) == (84.0, 300.0, 28.0)
    assert (each.time, each.amount, each.usual_interval) == (84.0, 300.0, 28.0)
    one, other = forecast_of(fits, run), forecast_of(fits, each)
    for name in ("troughs", "sustained", "curve", "curve_times"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=1e-9)


def test_a_run_of_doses_in_the_nonlinear_model_is_the_same_as_its_doses(fits):
    model = natalizumab.model
    theta = np.array([[0.164, 3.48, 0.40, 3.48, 2.86, 0.875]])
    run = fits.dose("A", 0.0, rate=RATE, addl=2, ii=28.0)
    each = [fits.dose("A", 28.0 * k, rate=RATE) for k in range(3)]
    found = []
    for records in ([run], each):
        (present,) = present_of(model, fits.dataset(*records, fits.observe("A", 400.0, 1.0)))
        found.append(forecast(model, theta[:, None], present, INTERVALS, POINTS))
    np.testing.assert_allclose(found[0].troughs, found[1].troughs, rtol=1e-6)
    observed = [fits.observe("A", 56.0 + w, 1.0) for w in INTERVALS]
    events = events_of(fits.dataset(*each, *observed), model.structure)
    expected = concentrations(model.structure, theta, events)
    np.testing.assert_allclose(found[0].troughs[0], expected, rtol=2e-5)
    later = [fits.dose("A", 56.0 + 42.0 * k, rate=RATE) for k in range(1, 9)]
    last = fits.observe("A", 56.0 + 42.0 * 9, 1.0)
    expected = concentrations(
        model.structure, theta, events_of(fits.dataset(*each, *later, last), model.structure)
    )
    np.testing.assert_allclose(found[0].sustained[0, 1], expected[0], rtol=2e-5)


def test_observations_after_the_last_dose_do_not_move_the_present(fits):
    records = fits.history("A")
    before, after = only(fits, *records), only(fits, *records, fits.observe("A", 95.0, 30.0))
    assert before.time == after.time == 84.0
    assert (before.n_observations, after.n_observations) == (3, 4)
    np.testing.assert_array_equal(
        forecast_of(fits, before).troughs, forecast_of(fits, after).troughs
    )


def test_the_last_dose_is_the_last_in_time_with_its_own_amount(fits):
    present = only(
        fits,
        fits.dose("A", 0.0, 200.0, rate=400.0, addl=1, ii=70.0),
        fits.dose("A", 30.0, 600.0, rate=600.0),
    )
    assert (present.time, present.amount, present.rate) == (70.0, 200.0, 400.0)
    assert present.usual_interval == 35.0


def test_one_dose_has_no_usual_interval(fits):
    assert np.isnan(only(fits, fits.dose("A", 0.0)).usual_interval)


def test_counts_are_the_patients_own(fits):
    data = fits.dataset(
        *fits.history("A"), *fits.history("B"), fits.observe("B", 190.0, 1.0, cens=1)
    )
    a, b = present_of(fits.one_compartment(), data)
    assert (a.n_observations, a.n_blq, a.covariates) == (2, 0, {"WT": 70.0})
    assert (b.n_observations, b.n_blq) == (3, 1)


def test_a_reset_wipes_out_what_was_before_and_the_doses_to_come(fits):
    """EVID 4 starts time again; of a run cut off by it, nothing is left."""
    present = only(
        fits,
        fits.dose("A", 0.0, addl=9, ii=28.0),
        fits.dose("A", 0.0, 150.0, evid=4),
        fits.dose("A", 20.0, 150.0),
    )
    assert (present.time, present.amount, present.usual_interval) == (20.0, 150.0, 20.0)
    found = forecast_of(fits, present)
    expected = fits.bolus(20.0 + INTERVALS, CL, V, doses=(0.0, 20.0), amount=150.0)
    np.testing.assert_allclose(found.troughs, expected, rtol=1e-9)
    assert found.curve_times[[0, -1]].tolist() == [0.0, 20.0 + INTERVALS[-1]]


@pytest.mark.parametrize("rate", [0.0, RATE], ids=["bolus", "infusion"])
def test_the_curve_sees_every_peak_and_every_trough(fits, rate):
    present = only(fits, fits.dose("A", 0.0, rate=rate, addl=11, ii=28.0))
    found = forecast_of(fits, present)
    assert np.all(np.diff(found.curve_times) > 0)
    doses = 28.0 * np.arange(12)
    for k, at in enumerate(doses):
        near = np.flatnonzero(np.abs(found.curve_times - at) < 1.0)
        peaks = found.curve[:, near].max(axis=1)
        if rate:
            expected = fits.infusion(at + DURATION, CL, V, doses=doses, duration=DURATION)
            trough = fits.infusion(at, CL, V, doses=doses, duration=DURATION)
        else:
            trough = fits.bolus(at, CL, V, doses=doses)
            expected = trough + 300.0 / V
        np.testing.assert_allclose(peaks, expected[:, 0], rtol=1e-4)
        if k:
            lowest = found.curve[:, near].min(axis=1)
            np.testing.assert_allclose(lowest, trough[:, 0], rtol=1e-4)


def test_the_curve_ends_with_the_longest_interval(fits):
    times = curve_times_of(only(fits, *fits.history("A")), INTERVALS, POINTS)
    assert (times[0], times[-1]) == (0.0, 84.0 + 56.0)
    assert set(84.0 + INTERVALS) <= set(times.tolist())
    assert len(times) >= POINTS


def test_what_the_solver_gives_up_on_is_missing_not_high(fits):
    """Parameters that overflowed: the solver's answer is infinite, which is above any target."""
    model = natalizumab.model
    data = read_dataset(
        fits.dataset(fits.dose("A", 0.0), fits.observe("A", 28.0, 10.0)).to_frame(),
        units=fits.UNITS,
    )
    (present,) = present_of(model, data)
    theta = np.array(
        [[0.164, 3.48, 0.40, 3.48, 2.86, 0.875], [np.inf, 3.48, 0.40, 3.48, 2.86, 0.875]]
    )
    found = forecast(model, theta[:, None], present, INTERVALS, POINTS)
    assert np.isfinite(found.troughs[0]).all()
    assert np.isnan(found.troughs[1]).all()
    assert not np.isinf(found.curve).any()


@pytest.mark.parametrize("carry", ["locf", "nonmem"])
@pytest.mark.parametrize("reset", [False, True])
def test_covariates_stay_as_they_are_at_the_last_record(fits, carry, reset):
    """Past changes count where they fall; with a reset only those after it."""
    model = fits.one_compartment(covariates=True)
    records = fits.growing("A", (4.0, 5.0, 5.5, 7.0, 9.0, 8.0))
    if reset:  # time starts again
        records += [fits.dose("A", 0.0, 200.0, evid=4, weight=8.0)]
        records += [fits.observe("A", 20.0, 15.0, weight=10.0)]
    (present,) = present_of(model, fits.dataset(*records, carry=carry))
    weights = np.array([4.0, 5.0, 5.5, 7.0, 9.0, 8.0, 10.0] if reset else
                       [4.0, 5.0, 5.5, 7.0, 9.0, 8.0])  # fmt: skip
    assert present.row == len(weights) - 1
    assert present.covariates == {"WT": weights[-1]}
    cl = 0.2 * (weights / 70) ** 0.75
    theta = np.stack([cl, np.full(len(weights), 5.0)], axis=-1)[None]
    found = forecast(model, theta, present, INTERVALS, POINTS)

    def at(time, more=()):
        own = records[6:] if reset else records
        later = [fits.dose("A", t, present.amount, weight=weights[-1]) for t in more]
        later.append(fits.observe("A", time, 1.0, weight=weights[-1]))
        return fits.walk(
            [*own, *later], lambda w: 0.2 * (w / 70) ** 0.75, lambda _: 5.0, carry=carry
        )[-1]

    for k, interval in enumerate(INTERVALS):
        assert found.troughs[0, k] == pytest.approx(at(present.time + interval), rel=1e-9)
        more = present.time + interval * np.arange(1, 9)
        last = present.time + 9 * interval
        assert found.sustained[0, k] == pytest.approx(at(last, more), rel=1e-9)


def test_a_steady_state_dose_knows_its_interval_and_is_not_repeated_as_one(fits):
    data = fits.dataset(fits.dose("A", 0.0, ii=28.0), fits.observe("A", 5.0, 20.0))
    frame = data.to_frame().assign(SS=[1, 0])
    (present,) = present_of(fits.one_compartment(), read_dataset(frame, units=fits.UNITS))
    assert (present.time, present.amount, present.usual_interval) == (0.0, 300.0, 28.0)
    found = forecast_of(fits, present, intervals=np.array([28.0]))
    left = np.exp(-CL / V * 28.0)
    steady = 300.0 / V * left / (1 - left)
    np.testing.assert_allclose(found.troughs, steady, rtol=1e-9)
    np.testing.assert_allclose(found.sustained, steady, rtol=1e-9)


def test_absorption_and_parameters_of_doses_go_on_in_the_forecast(fits):
    """Bateman's equation, of doses with a bioavailability and a lag."""
    base = fits.one_compartment()
    structure = OneCompartment(
        absorption=FirstOrder(), dosing=Dosing(bioavailability=(1,), lag=(1,))
    )
    values = {"CL": 0.2, "V": 5.0, "KA": 0.3, "F1": 0.7, "ALAG1": 0.5}
    model = PopModel(
        structure, typical={name: LogNormal(v, cv=0.3) for name, v in values.items()},
        error=base.error, units=fits.UNITS,
    )  # fmt: skip
    data = fits.dataset(*(fits.dose("A", t) for t in (0.0, 28.0)), fits.observe("A", 30.0, 20.0))
    (present,) = present_of(model, data)
    found = forecast(model, np.array([[[*values.values()]]]), present, INTERVALS, POINTS)

    def level(time, doses):
        since = np.maximum(time - np.array(doses) - 0.5, 0.0)
        ka, k = 0.3, 0.2 / 5.0
        return np.sum(
            0.7 * 300.0 / 5.0 * ka / (ka - k) * (np.exp(-k * since) - np.exp(-ka * since))
        )

    for k, interval in enumerate(INTERVALS):
        doses = [0.0, 28.0, *(28.0 + interval * np.arange(1, 9))]
        assert found.troughs[0, k] == pytest.approx(level(28.0 + interval, doses[:2]), rel=1e-9)
        assert found.sustained[0, k] == pytest.approx(level(28.0 + 9 * interval, doses), rel=1e-9)

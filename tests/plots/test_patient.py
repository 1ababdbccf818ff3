import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure

from popk.dataset import read_dataset
from popk.plots import PlotError, plot_concentration, plot_patient
from popk.plots.patient import dose_times


def line(ax, label):
    (found,) = [line for line in ax.lines if line.get_label() == label]
    return found


def test_two_panels_with_units(trees):
    left, right = plot_patient(trees.advice_tree(), subject="P02").axes
    assert left.get_xlabel() == "Time (d)"
    assert left.get_ylabel() == "Concentration (mg/L)"
    assert right.get_xlabel() == "Interval after the last dose (weeks)"
    assert right.get_ylabel() == "P(trough ≥ 10 mg/L)"


def test_the_curve_and_the_records_are_the_patients_own(trees):
    advice = trees.advice_tree()
    (ax,) = plot_concentration(advice, subject="P02").axes
    np.testing.assert_allclose(
        line(ax, "median").get_ydata(), advice["curve"]["median"].sel(subject="P02").values
    )
    own = trees.cohort().select("P02")
    np.testing.assert_allclose(
        line(ax, "observed").get_ydata(), own.table["DV"].values[own.is_observation]
    )
    assert line(ax, "dose").get_xdata().tolist() == [0, 28, 56, 84, 112, 140]
    assert line(ax, "target 10").get_ydata() == [10, 10]


def test_blq_observations_are_drawn_at_their_limit(trees):
    (ax,) = plot_concentration(trees.advice_tree(), subject="P06").axes
    assert line(ax, "BLQ (at LLOQ)").get_ydata().tolist() == [1.0, 1.0, 1.0]


def test_a_patient_without_a_sample_is_drawn_down_to_half_the_target(trees):
    advice = trees.advice_tree()
    data = advice["data"].to_dataset()
    kept = (data["ID"] != "P02") | (data["EVID"] != 0)
    advice["data"] = xr.DataTree(data.isel(record=kept.values))
    (ax,) = plot_concentration(advice, subject="P02").axes
    assert ax.get_ylim()[0] == 5.0
    assert not line(ax, "observed").get_ydata().size


def test_doses_that_addl_stands_for_are_counted(trees):
    frame = trees.cohort(1).to_frame().iloc[[0, 3]]
    frame.loc[frame.index[0], ["ADDL", "II"]] = [2, 14.0]
    data = read_dataset(frame, units=trees.UNITS)
    assert dose_times(data.table).tolist() == [0.0, 14.0, 28.0]


def test_it_draws_into_axes_that_are_given(trees):
    ax = Figure().subplots()
    assert plot_concentration(trees.advice_tree(), subject="P01", ax=ax) is ax.figure
    assert ax.lines


def test_an_unknown_subject_is_named(trees):
    with pytest.raises(PlotError, match="no subject X9 in the advice; it holds P01, P02"):
        plot_patient(trees.advice_tree(), subject="X9")


def test_an_id_is_text_not_mathematics(trees):
    subject = "$\\frac{$ a rather long one"
    data = trees.cohort(first_id=subject)
    figure = plot_patient(trees.advice_tree(data), subject=subject)
    figure.canvas.draw()
    assert figure.axes[0].get_title(loc="left") == f"ID {subject[:15]}…"


def test_advice_from_a_fit_not_converged_is_marked_in_both_panels(trees):
    for ax in plot_patient(trees.advice_tree(converged=False), subject="P01").axes:
        assert any("not converged" in text.get_text() for text in ax.texts)

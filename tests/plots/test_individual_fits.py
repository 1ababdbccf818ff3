import numpy as np
import pytest

from popk.plots import PlotError, plot_individual_fits


def line(ax, label):
    (found,) = [line for line in ax.lines if line.get_label() == label]
    return found


def test_one_panel_for_each_subject_with_its_own_observations(trees):
    fit = trees.fit_tree()
    figure = plot_individual_fits(fit)
    assert [ax.get_title(loc="left") for ax in figure.axes] == [f"ID P0{k}" for k in range(1, 7)]
    own = fit["observed_data"]["ID"].values == "P02"
    drawn = line(figure.axes[1], "DV")
    np.testing.assert_allclose(drawn.get_ydata(), fit["observed_data"]["DV"].values[own])
    predicted = np.median(fit["posterior_predictive"]["IPRED"].values, axis=(0, 1))
    np.testing.assert_allclose(line(figure.axes[1], "median IPRED").get_ydata(), predicted[own])


def test_units_are_on_the_shared_labels(trees):
    figure = plot_individual_fits(trees.fit_tree())
    assert figure.get_supxlabel() == "Time (d)"
    assert figure.get_supylabel() == "Concentration (mg/L)"


def test_blq_observations_are_open_triangles(trees):
    figure = plot_individual_fits(trees.fit_tree(), subjects=["P06"])
    assert line(figure.axes[0], "BLQ, at LLOQ").get_ydata().tolist() == [1.0, 1.0, 1.0]
    assert line(figure.axes[0], "DV").get_ydata().size == 0


def test_only_the_first_panels_without_a_choice(trees):
    assert len(plot_individual_fits(trees.fit_tree(), most=3).axes) == 3


def test_an_unknown_subject_is_named(trees):
    with pytest.raises(PlotError, match="no observations of subject X9"):
        plot_individual_fits(trees.fit_tree(), subjects=["X9"])


def test_a_fit_not_converged_is_marked(trees):
    assert "not converged" in plot_individual_fits(trees.fit_tree(converged=False)).get_suptitle()
    assert not plot_individual_fits(trees.fit_tree()).get_suptitle()

"""The figure of the data themselves."""

import pytest

from popk.plots import PlotError, plot_dataset


@pytest.fixture
def data(fits):
    below = fits.observe("B", 112.0, 1.0, cens=1)
    return fits.dataset(*fits.history("A"), *fits.history("B"), below)


def test_each_patient_has_a_panel_with_units_and_what_was_given(data):
    figure = plot_dataset(data, target=10)
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["ID A", "ID B"]
    assert figure.get_supxlabel() == "Time (d)"
    assert figure.get_supylabel() == "Concentration (mg/L)"
    (legend,) = figure.legends
    said = {text.get_text() for text in legend.get_texts()}
    assert said == {"dose", "observed", "BLQ, at LLOQ", "target"}
    doses = figure.axes[0].collections[0].get_segments()
    assert [segment[0][0] for segment in doses] == [0.0, 28.0, 56.0, 84.0]


def test_a_logarithmic_scale_and_a_choice_of_patients(data):
    figure = plot_dataset(data, subjects=["B"], log=True)
    (ax,) = figure.axes
    assert ax.get_yscale() == "log"
    assert len(plot_dataset(data, most=1).axes) == 1


def test_a_patient_who_is_not_there_is_refused(data):
    with pytest.raises(PlotError, match="no records of subject C"):
        plot_dataset(data, subjects=["C"])

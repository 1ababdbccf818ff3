"""Figures to look around in."""

import re
import sys

import numpy as np
import pytest

from popk.individual import Trough, individualise
from popk.plots import PlotError, explore_dataset, explore_patient


@pytest.fixture
def data(fits):
    below = fits.observe("B", 112.0, 1.0, cens=1, weight=82.0)
    return fits.dataset(*fits.history("A"), *fits.history("B", weight=82.0), below)


@pytest.fixture(scope="module")
def advice(fits):
    fit = fits.fit_of(fits.one_compartment(), fits.dataset(*fits.history("C")), converged=False)
    patients = fits.dataset(*fits.history("A"), *fits.history("B", (9.0, 1.0)))
    return individualise(fit, patients, target=Trough(10, "mg/L"), weeks=(4, 5))


def test_each_patient_is_a_line_whose_points_say_what_they_are(data):
    figure = explore_dataset(data, target=10)
    first, second = figure.data
    assert (first.name, second.name) == ("ID A", "ID B")
    np.testing.assert_array_equal(second.x, [56, 84, 112])
    assert list(second.marker.symbol) == ["circle", "circle", "triangle-down-open"]
    assert first.text[1] == ("ID A<br>22 mg/L<br>at 84 d, 28 d after the last dose<br>WT 70 kg")
    assert "below the LLOQ" in second.text[2]
    assert "WT 82 kg" in second.text[0]
    assert figure.layout.xaxis.title.text == "Time (d)"
    assert figure.layout.yaxis.title.text == "Concentration (mg/L)"
    assert figure.layout.annotations[0].text == "target 10 mg/L"


def test_time_after_the_dose_and_a_logarithmic_scale(data):
    figure = explore_dataset(data, x="after dose", log=True)
    np.testing.assert_array_equal(figure.data[1].x, [28, 28, 28])
    assert figure.layout.xaxis.title.text == "Time after the last dose (d)"
    assert figure.layout.yaxis.type == "log"
    with pytest.raises(PlotError, match="'after dose'"):
        explore_dataset(data, x="week")


def test_a_patients_curve_says_the_advice_and_that_it_is_not_final(advice):
    figure = explore_patient(advice, subject="A")
    own = advice["decision"].to_dataset().sel(subject="A")
    said = figure.layout.title.text
    assert said.startswith("ID A: longest interval at 0.9: ")
    assert f"{float(own['longest']):g} weeks" in said
    assert "not converged: not a final result" in said
    median = next(trace for trace in figure.data if trace.name == "median")
    curve = advice["curve"].to_dataset().sel(subject="A")
    np.testing.assert_allclose(median.y, curve["median"].values[np.isfinite(curve["time"].values)])
    assert re.search(r"90 % interval [\d.]+ to [\d.]+ mg/L", median.text[5])
    seen = next(trace for trace in figure.data if trace.name == "observed")
    assert list(seen.y) == [20.0, 22.0]
    assert "no candidate interval" in explore_patient(advice, subject="B").layout.title.text
    with pytest.raises(PlotError, match="Z"):
        explore_patient(advice, subject="Z")


def test_the_page_is_complete_by_itself(data, tmp_path):
    place = tmp_path / "data.html"
    explore_dataset(data).write_html(place)
    assert not re.search(r"<(script|link)[^>]+(src|href)=", place.read_text(encoding="utf-8"))


def test_without_plotly_it_says_what_to_install(data, monkeypatch):
    monkeypatch.setitem(sys.modules, "plotly.graph_objects", None)
    with pytest.raises(PlotError, match=r"popk\[explore\]"):
        explore_dataset(data)

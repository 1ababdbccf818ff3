import numpy as np
import pytest

from popk.decision import Plan, Utility, preference_curve, transition_plan
from popk.individual import Trough
from popk.plots import PlotError, plot_plan, plot_preferences

TEN = Trough(10.0, "mg/L")


@pytest.fixture(scope="module")
def fit(fits):
    data = fits.dataset(*fits.history("A"), *fits.history("B", (30.0, 27.0)))
    return fits.fit_of(fits.one_compartment(), data)


def test_a_plan_shows_both_ways_and_who_is_sent_back(fit):
    result = transition_plan(fit, plan=Plan((4, 5, 6), stop_below=TEN), target=TEN)
    figure = plot_plan(result)
    first = figure.axes[0]
    lines = {line.get_label(): line.get_ydata() for line in first.lines}
    own = result["decision"].to_dataset().sel(subject="A")
    for label, sampling in (("no samples", "none"), ("a sample at each visit", "each visit")):
        np.testing.assert_allclose(lines[label], own["probability"].sel(sampling=sampling))
    bars = [bar.get_height() for bar in first.patches]
    seen = own.sel(sampling="each visit")
    np.testing.assert_allclose(bars, (seen["stops"] + seen["gone_back"]).values)
    assert first.get_ylabel() == "P(trough ≥ 10 mg/L)"
    assert "does not prescribe" in figure.get_suptitle()
    assert len(plot_plan(result, subjects=["B"]).axes) == 1


def test_preferences_show_the_best_interval_and_its_probability(fit):
    result = preference_curve(fit, utility=Utility(infusion=1.0), target=TEN)
    best, held = plot_preferences(result, subject="B").axes
    own = result["decision"].to_dataset().sel(subject="B")
    np.testing.assert_allclose(best.lines[0].get_ydata(), own["best"])
    np.testing.assert_allclose(held.lines[0].get_ydata(), own["probability"])
    assert "infusion" in best.get_xlabel()


def test_other_results_and_unknown_patients_are_refused(fit):
    plan = transition_plan(fit, plan=Plan((4, 5)), target=TEN)
    curve = preference_curve(fit, utility=Utility(infusion=1.0), target=TEN)
    with pytest.raises(PlotError, match="preference_curve"):
        plot_preferences(plan)
    with pytest.raises(PlotError, match="transition_plan"):
        plot_plan(curve)
    with pytest.raises(PlotError, match="no subject X"):
        plot_plan(plan, subjects=["X"])
    with pytest.raises(PlotError, match="no subject X"):
        plot_preferences(curve, subject="X")

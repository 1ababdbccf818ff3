import numpy as np
import pytest

from popk.plots import plot_probability_curve


def title(figure):
    return figure.axes[0].get_title(loc="left")


def test_both_curves_are_the_patients_own(trees):
    advice = trees.advice_tree()
    (ax,) = plot_probability_curve(advice, subject="P02").axes
    lines = {line.get_label(): line for line in ax.lines}
    own = advice["decision"].to_dataset().sel(subject="P02")
    np.testing.assert_allclose(lines["next one"].get_ydata(), own["probability"].values)
    kept = lines["interval kept up"]
    np.testing.assert_allclose(kept.get_ydata(), own["probability_sustained"].values)
    assert kept.get_linestyle() == "--"
    assert any(np.all(np.asarray(line.get_ydata()) == 0.9) for line in ax.lines)


def test_the_advised_interval_is_ringed_and_named(trees):
    advice = trees.advice_tree()
    figure = plot_probability_curve(advice, subject="P02")
    assert title(figure) == "longest at 0.9: 6 weeks"
    ring = figure.axes[0].lines[-1]
    own = advice["decision"].to_dataset().sel(subject="P02", week=6)
    assert ring.get_xdata() == [6]
    np.testing.assert_allclose(ring.get_ydata(), [float(own["probability"])])


def test_no_candidate_is_said(trees):
    advice = trees.advice_tree()
    assert title(plot_probability_curve(advice, subject="P05")) == "no candidate reaches 0.9"


def test_an_unreliable_computation_advises_nothing(trees):
    figure = plot_probability_curve(trees.advice_tree(), subject="P06")
    assert title(figure) == "computation not reliable"


@pytest.mark.parametrize("target", [3.0, 12.5])
def test_the_axis_names_the_target_with_its_unit(trees, target):
    advice = trees.advice_tree(target=target)
    (ax,) = plot_probability_curve(advice, subject="P01").axes
    assert ax.get_ylabel() == f"P(trough ≥ {target:g} mg/L)"

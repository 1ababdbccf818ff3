"""What all figures share: named arguments, figures that show and change, labelled axes."""

import inspect

import numpy as np
import pytest
from matplotlib.figure import Figure

from popk import diagnose, plots

FUNCTIONS = {name: getattr(plots, name) for name in plots.__all__ if name.startswith("plot_")}
# What is drawn, by the name of the first argument.
FIRST = {
    "advice", "comparison", "dataset", "fit", "identifiability", "npde", "residuals", "result",
    "table",
}  # fmt: skip
FURTHER = {
    "ax", "covariate", "log", "most", "parameter", "subject", "subjects", "target", "usable",
    "which",
}  # fmt: skip
ONE_PANEL = {
    "plot_concentration", "plot_contraction", "plot_criticism", "plot_elpd_differences",
    "plot_influence", "plot_interval_shifts", "plot_khat", "plot_learnt",
    "plot_observed_vs_predicted", "plot_power_scaling", "plot_preferences",
    "plot_probability_curve",
}  # fmt: skip


@pytest.fixture(scope="module")
def drawn(trees):
    """Figures of a fit, its checks and an advice."""
    fit, advice = trees.fit_tree(), trees.advice_tree()
    checks = diagnose(fit, seed=1)
    own = {name: child.to_dataset() for name, child in checks.children.items()}
    return {
        "plot_concentration": plots.plot_concentration(advice),
        "plot_contraction": plots.plot_contraction(own["contraction"]),
        "plot_criticism": plots.plot_criticism(own["criticism"]),
        "plot_goodness_of_fit": plots.plot_goodness_of_fit(own["residuals"]),
        "plot_intervals": plots.plot_intervals(advice),
        "plot_learnt": plots.plot_learnt(own["identifiability"]),
        "plot_npde": plots.plot_npde(own["npde"]),
        "plot_observations": plots.plot_observations(own["residuals"]),
        "plot_observed_vs_predicted": plots.plot_observed_vs_predicted(fit),
        "plot_patient": plots.plot_patient(advice),
        "plot_probability_curve": plots.plot_probability_curve(advice),
        "plot_residuals": plots.plot_residuals(own["residuals"]),
        "plot_vpc": plots.plot_vpc(own["vpc"]),
    }


@pytest.mark.parametrize("name", FUNCTIONS)
def test_one_result_then_named_arguments_with_the_same_names_everywhere(name):
    first, *others = inspect.signature(FUNCTIONS[name]).parameters.values()
    assert first.name in FIRST
    assert first.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
    for one in others:
        assert one.name in FURTHER
        assert one.kind is inspect.Parameter.KEYWORD_ONLY
        assert one.name == "parameter" or one.default is not inspect.Parameter.empty
    assert inspect.signature(FUNCTIONS[name]).return_annotation == "Figure"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_figures_of_one_panel_can_be_drawn_into_axes_of_a_user(name):
    assert ("ax" in inspect.signature(FUNCTIONS[name]).parameters) == (name in ONE_PANEL)


def test_every_axis_that_has_numbers_has_a_label(drawn):
    for name, figure in drawn.items():
        for ax in figure.axes:
            if ax.get_xticks().size:
                assert ax.get_xlabel() or not ax.get_subplotspec().is_last_row(), name
            words = [tick.get_text() for tick in ax.get_yticklabels()]
            if ax.get_yticks().size and not any(word[:1].isalpha() for word in words):
                assert ax.get_ylabel() or not ax.get_subplotspec().is_first_col(), name


def test_labels_of_times_and_concentrations_carry_units(drawn):
    found = []
    for figure in drawn.values():
        for ax in figure.axes:
            found += [ax.get_xlabel(), ax.get_ylabel()]
    dimensional = [
        text for text in found if text.startswith(("Time", "Concentration", "Median tr"))
    ]
    assert len(dimensional) > 5
    assert all(text.endswith(")") for text in dimensional), dimensional
    small = [text for text in found if text[:1] != text[:1].upper()]
    assert not small


@pytest.mark.parametrize("name", ["plot_criticism", "plot_learnt", "plot_probability_curve"])
def test_what_is_drawn_into_given_axes_stays_in_their_figure(trees, name):
    figure = Figure(figsize=(6, 3), layout="constrained")
    left, right = figure.subplots(1, 2)
    checks = diagnose(trees.fit_tree(), seed=1, only=["criticism", "identifiability"])
    given = {
        "plot_criticism": checks["criticism"].to_dataset() if "criticism" in checks else None,
        "plot_learnt": checks["identifiability"].to_dataset(),
        "plot_probability_curve": trees.advice_tree(),
    }[name]
    returned = FUNCTIONS[name](given, ax=right)
    assert returned is figure
    assert right.has_data()
    assert not left.has_data()
    figure.draw_without_rendering()


def test_without_a_subject_the_first_is_drawn_and_numbers_serve_as_ids(trees):
    advice = trees.advice_tree()
    first = str(advice["decision"]["subject"].values[0])
    assert plots.plot_concentration(advice).axes[0].get_title(loc="left") == f"ID {first}"
    with pytest.raises(plots.PlotError, match="no subject 999 in the advice; it holds"):
        plots.plot_patient(advice, subject=999)


def test_a_figure_shows_itself_without_pyplot_and_can_be_changed(drawn):
    figure = drawn["plot_vpc"]
    before = figure._repr_png_()
    assert before.startswith(b"\x89PNG")
    assert len(before) < 150_000
    figure.axes[0].set_title("changed")
    assert figure._repr_png_() != before
    assert figure._repr_png_() == figure._repr_png_()


def test_the_palette_is_told_apart_by_its_lightness_or_hue():
    from matplotlib.colors import to_rgb

    from popk.plots.style import BLUE, GREEN, GREY, INK, ORANGE, RED

    # Red and green cones alike (deuteranopia, Viénot et al. 1999), in linear RGB.
    seen = np.array(
        [[0.29275, 0.70725, -0.02234], [0.29275, 0.70725, -0.02234], [-0.02234, 0.02234, 1]]
    )
    colours = [np.array(to_rgb(c)) ** 2.2 @ seen.T for c in (BLUE, ORANGE, GREEN, RED, INK, GREY)]
    for k, one in enumerate(colours):
        for other in colours[k + 1 :]:
            assert np.abs(one - other).max() > 0.05

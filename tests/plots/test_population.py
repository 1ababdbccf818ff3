import numpy as np

from popk.plots import plot_population


def test_a_panel_for_each_population_parameter_with_its_unit(trees):
    figure = plot_population(trees.fit_tree())
    labels = [ax.get_xlabel() for ax in figure.axes]
    assert labels == ["CL (L/d)", "V (L)", "beta_CL_WT", "omega_CL", "sigma_prop"]


def test_the_axis_covers_the_whole_posterior(trees):
    fit = trees.fit_tree()
    fit["posterior"]["CL"].values[0, 0] = 5.0
    low, high = plot_population(fit).axes[0].get_xlim()
    assert low < float(fit["posterior"]["CL"].min())
    assert high > 5.0


def test_prior_and_posterior_are_both_drawn(trees):
    ax = plot_population(trees.fit_tree()).axes[0]
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert sorted(labels) == ["posterior", "prior"]
    filled, outline = ax.patches
    spread = [np.ptp(p.get_xy()[p.get_xy()[:, 1] > 0][:, 0]) for p in (filled, outline)]
    assert spread[0] < spread[1]


def test_a_fixed_parameter_is_a_line_without_a_histogram(trees):
    fit = trees.fit_tree()
    for group in ("posterior", "prior"):
        fit[group]["beta_CL_WT"].values[...] = 0.75
    ax = plot_population(fit).axes[2]
    assert not ax.patches
    (line,) = ax.lines
    assert set(line.get_xdata()) == {0.75}

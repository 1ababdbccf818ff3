"""Drawings of the checks: what is where, on which scale, and what is refused."""

import numpy as np
import pytest
import xarray as xr

from popk.diagnostics import diagnose
from popk.plots import (
    PlotError,
    Points,
    plot_elpd_differences,
    plot_goodness_of_fit,
    plot_khat,
    plot_learnt,
    plot_npde,
    plot_observations,
    plot_pointwise,
    plot_residuals,
)


@pytest.fixture(scope="module")
def checks(trees):
    return diagnose(trees.fit_tree(), seed=1)


@pytest.fixture
def comparison():
    """As `popk.compare` gives it: three models, four patients."""
    elpd = np.array([[-5.0, -6.0, -7.0, -4.0], [-6.0, -6.5, -6.0, -4.5], [-9.0, -9.0, -7.0, -5.0]])
    apart = elpd - elpd[0]
    names = ["best", "second", "third"]
    table = xr.Dataset(
        {
            "elpd_diff": ("model", apart.sum(axis=1)),
            "se_diff": ("model", 2.0 * apart.std(axis=1)),
        },
        coords={"model": names},
    )
    khat = np.array([[0.1, 0.2, 0.9, np.nan], [0.3, 0.2, 0.4, 0.1], [0.0, 0.1, 0.2, 0.5]])
    subjects = ["A", "B", "C", "D"]
    pointwise = xr.Dataset(
        {"elpd_i": (("model", "subject"), elpd), "khat": (("model", "subject"), khat)},
        coords={"model": names, "subject": subjects, "ID": ("subject", subjects)},
    )
    tree = xr.DataTree.from_dict({"comparison": table, "pointwise": pointwise})
    tree.attrs = {"kind": "popk comparison", "unit": "patient"}
    return tree


def points(ax):
    return [line for line in ax.lines if isinstance(line, Points)]


def test_several_outputs_have_a_row_each_in_their_units(checks):
    table = checks["residuals"].to_dataset()
    outputs = np.where(np.arange(table.sizes["observation"]) % 2, "drug", "effect")
    table = table.assign_coords(OUTPUT=("observation", outputs))
    table["DV"].attrs["units"] = '{"effect": "%", "drug": "mg/L"}'
    axes = plot_goodness_of_fit(table).axes
    labels = [ax.get_xlabel() for ax in axes]
    assert labels == [
        "effect PRED (%)",
        "effect IPRED (%)",
        "drug PRED (mg/L)",
        "drug IPRED (mg/L)",
    ]
    assert [axes[k].get_ylabel() for k in (0, 2)] == ["effect DV (%)", "drug DV (mg/L)"]
    for k, name in enumerate(("effect", "drug")):
        drawn = np.concatenate([line.get_ydata() for line in points(axes[2 * k])])
        own = table["DV"].values[outputs == name]
        np.testing.assert_allclose(np.sort(drawn), np.sort(own[own > 0]))
    over_time = plot_observations(table).axes
    assert [ax.get_ylabel() for ax in over_time] == ["effect DV (%)", "drug DV (mg/L)"]


def test_observations_stand_over_predictions_blq_apart(checks):
    table = checks["residuals"].to_dataset()
    figure = plot_goodness_of_fit(table)
    for ax, name in zip(figure.axes, ("PRED", "IPRED"), strict=True):
        quantified, below = points(ax)
        known = table["CENS"].values == 0
        np.testing.assert_array_equal(quantified.get_xdata(), table[name].values[known])
        np.testing.assert_array_equal(quantified.get_ydata(), table["DV"].values[known])
        assert len(below.names.words) == 3
        assert all("(BLQ, LLOQ)" in words for words in below.names.words)
        assert quantified.get_marker() != below.get_marker()
        assert ax.get_xlabel() == f"{name} (mg/L)"


def test_words_give_patient_time_units_and_figures(checks):
    table = checks["residuals"].to_dataset()
    (quantified, _) = points(plot_observations(table).axes[0])
    assert quantified.names.subjects[:4] == ["P01", "P01", "P01", "P02"]
    words = quantified.names.words[1]
    assert words.startswith("ID P01, 112 d, 28 d after dose\nDV ")
    assert f"PRED {float(table['PRED'][1]):.3g}, IPRED " in words
    assert "mg/L" in words


def test_residuals_and_npde_have_their_panels(checks):
    figure = plot_residuals(checks["residuals"].to_dataset())
    labels = [(ax.get_ylabel(), ax.get_xlabel()) for ax in figure.axes]
    assert labels == [
        ("IWRES", "IPRED (mg/L)"), ("IWRES", "Time after dose (d)"), ("PWRES", "PRED (mg/L)"),
        ("PWRES", "Time (d)"),
    ]  # fmt: skip
    npde = checks["npde"].to_dataset()
    *_, quantiles, histogram = plot_npde(npde).axes
    np.testing.assert_array_equal(points(quantiles)[0].get_ydata(), np.sort(npde["NPDE"].values))
    heights = [patch.get_height() * patch.get_width() for patch in histogram.patches]
    assert sum(heights) == pytest.approx(1.0)


def test_what_the_data_say_least_of_stands_first_and_is_hatched(checks):
    table = checks["identifiability"].to_dataset()
    table["sd_ratio"].values[:] = [0.2, 0.9, 0.5, 0.1, 0.75][: table.sizes["estimated"]]
    ax = plot_learnt(table).axes[0]
    order = np.argsort(-table["sd_ratio"].values)
    shown = [text.get_text() for text in ax.get_yticklabels()]
    assert shown == table["estimated"].values[order].tolist()
    hatched = [patch for patch in ax.patches if patch.get_hatch()]
    assert [patch.get_width() for patch in hatched] == [0.9, 0.75]


def test_differences_have_two_standard_errors(comparison):
    ax = plot_elpd_differences(comparison).axes[0]
    assert [text.get_text() for text in ax.get_yticklabels()] == ["best", "second", "third"]
    table = comparison["comparison"].to_dataset()
    (bars,) = (c for c in ax.collections if len(c.get_segments()) == 2)
    ends = [segment[:, 0] for segment in bars.get_segments()]
    centre, error = table["elpd_diff"].values[1:], table["se_diff"].values[1:]
    np.testing.assert_allclose(ends, np.stack([centre - 2 * error, centre + 2 * error], axis=1))


def test_single_differences_are_in_order_with_their_patients(comparison):
    first, second = plot_pointwise(comparison).axes
    (drawn,) = points(first)
    np.testing.assert_allclose(drawn.get_ydata(), [-1.0, -0.5, -0.5, 1.0])
    assert drawn.names.subjects == ["A", "B", "D", "C"]
    assert drawn.names.words[0] == "ID A\nsecond less best: -1.00"
    assert {text.get_text() for text in second.texts} == {"A", "B", "C", "D"}


def test_khat_is_drawn_where_it_is_known(comparison):
    ax = plot_khat(comparison).axes[0]
    drawn = points(ax)
    assert [len(one.names.words) for one in drawn] == [3, 4, 4]
    assert len({one.get_marker() for one in drawn}) == 3
    assert drawn[0].names.words[2] == "ID C\nbest, k-hat: 0.90"


def test_something_else_is_refused(checks, comparison):
    npde = checks["npde"].to_dataset().assign_attrs(kind="popk vpc")
    for draw in (plot_goodness_of_fit, plot_observations, plot_residuals, plot_npde):
        with pytest.raises(PlotError, match=r"not the result of popk\.residuals, popk\.npde or"):
            draw(npde)
    with pytest.raises(PlotError, match="not the group identifiability"):
        plot_learnt(npde)
    comparison.attrs["kind"] = "popk loo"
    for draw in (plot_elpd_differences, plot_pointwise, plot_khat):
        with pytest.raises(PlotError, match=r"not the result of popk\.compare"):
            draw(comparison)


def test_a_fit_that_has_not_converged_is_marked(checks):
    for draw, name in ((plot_goodness_of_fit, "residuals"), (plot_npde, "npde")):
        table = checks[name].to_dataset().assign_attrs(converged=0)
        assert "not converged" in draw(table).get_suptitle()

import numpy as np
import pytest

from popk.plots import plot_observed_vs_predicted


def points(ax, label):
    (found,) = [c for c in ax.collections if c.get_label() == label]
    return np.asarray(found.get_offsets())


def test_axes_carry_the_unit_of_the_tree(trees):
    fit = trees.fit_tree()
    fit.attrs["units"] = fit.attrs["units"].replace("mg/L", "ug/mL")
    (ax,) = plot_observed_vs_predicted(fit).axes
    assert ax.get_ylabel() == "DV (ug/mL)"
    assert ax.get_xlabel().endswith("(ug/mL)")
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")


def test_points_are_medians_against_observations(trees):
    fit = trees.fit_tree()
    (ax,) = plot_observed_vs_predicted(fit).axes
    observed, drawn = fit["observed_data"], points(ax, "quantified")
    quantified = observed["cens"].values == 0
    predicted = np.median(fit["posterior_predictive"]["IPRED"].values, axis=(0, 1))
    np.testing.assert_allclose(drawn[:, 0], predicted[quantified])
    np.testing.assert_allclose(drawn[:, 1], observed["DV"].values[quantified])


def test_blq_observations_are_apart_and_at_their_limit(trees):
    (ax,) = plot_observed_vs_predicted(trees.fit_tree()).axes
    blq = points(ax, "BLQ, drawn at the LLOQ")
    assert blq.shape == (3, 2)
    assert (blq[:, 1] == trees.LLOQ).all()


def test_a_quantified_zero_is_counted_not_dropped_in_silence(trees):
    fit = trees.fit_tree()
    fit["observed_data"]["DV"].values[0] = 0.0
    (ax,) = plot_observed_vs_predicted(fit).axes
    texts = [text.get_text() for text in ax.get_legend().get_texts()]
    assert "1 not shown (0 on a log axis)" in texts
    assert len(points(ax, "quantified")) == 14


def test_whiskers_only_while_they_can_be_told_apart(trees):
    few = plot_observed_vs_predicted(trees.fit_tree()).axes[0]
    many = plot_observed_vs_predicted(trees.fit_tree(trees.cohort(150))).axes[0]
    assert len(few.collections) == len(many.collections) + 1


@pytest.mark.parametrize("converged", [True, False])
def test_a_fit_not_converged_is_marked(trees, converged):
    (ax,) = plot_observed_vs_predicted(trees.fit_tree(converged=converged)).axes
    marked = any("not converged" in text.get_text() for text in ax.texts)
    assert marked is not converged

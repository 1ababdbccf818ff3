import numpy as np

from popk.plots import plot_intervals


def test_bars_count_every_patient_once(trees):
    advice = trees.advice_tree()
    left = plot_intervals(advice).axes[0]
    names = [text.get_text() for text in left.get_xticklabels()]
    counts = dict(zip(names, [bar.get_height() for bar in left.patches], strict=True))
    assert counts == {
        "none": 2, "4": 1, "5": 0, "6": 1, "7": 0, "8": 1, "not\nreliable": 1
    }  # fmt: skip
    assert "weeks" in left.get_xlabel()
    assert "P(trough ≥ 10 mg/L) ≥ 0.9" in left.get_xlabel()


def test_every_patients_median_trough_is_drawn_with_its_unit(trees):
    advice = trees.advice_tree()
    right = plot_intervals(advice).axes[1]
    clouds = [np.asarray(c.get_offsets())[:, 1] for c in right.collections[::2]]
    np.testing.assert_allclose(clouds, advice["decision"]["trough_median"].values.T)
    assert right.get_ylabel() == "Median trough, each patient (mg/L)"


def test_one_patient_and_one_candidate_are_enough(trees):
    advice = trees.advice_tree(trees.cohort(1))
    few = advice.isel(week=[0])
    few.attrs = advice.attrs
    assert plot_intervals(few).axes[1].collections


def test_advice_from_a_fit_not_converged_is_marked(trees):
    assert "not converged" in plot_intervals(trees.advice_tree(converged=False)).get_suptitle()

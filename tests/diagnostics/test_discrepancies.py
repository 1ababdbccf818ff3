"""Discrepancies against plain loops, and uniform where nothing is wrong."""

import numpy as np
import pytest
from scipy import stats

from popk.diagnostics.discrepancies import (
    bin_means,
    correlations,
    equal_bins,
    magnitude,
    matched,
    neighbours,
    split_share,
    strongest_correlation,
    tails,
    trend,
)

VALUES = np.random.default_rng(5).standard_normal((3, 40))


def test_the_best_cut_is_found_as_by_trying_all():
    for row, share in zip(VALUES, split_share(VALUES), strict=True):
        ordered = np.sort(row)
        within = [
            ((ordered[:k] - ordered[:k].mean()) ** 2).sum()
            + ((ordered[k:] - ordered[k:].mean()) ** 2).sum()
            for k in range(1, 40)
        ]
        assert share == pytest.approx(1 - min(within) / (40 * row.var()))


def test_two_separate_groups_are_all_between():
    apart = np.array([[0.0, 0.0, 1.0, 1.0], [1.0, 2.0, 3.0, 4.0]])
    np.testing.assert_allclose(split_share(apart), [1.0, 0.8])


def test_means_in_bins_are_chi_squared():
    place = np.arange(40) % 4
    for centred, df in ((False, 4), (True, 3)):
        found = trend(VALUES, place, 4, centred=centred)
        for row, p in zip(VALUES, found, strict=True):
            means = np.array([row[place == k].mean() for k in range(4)])
            middle = row.mean() if centred else 0.0
            assert p == pytest.approx(stats.chi2.sf(10 * ((means - middle) ** 2).sum(), df))


def test_bins_of_each_draw_hold_as_many():
    place = equal_bins(VALUES, 5)
    _, count = bin_means(VALUES, place, 5)
    assert (count == 8).all()
    top = VALUES[0][place[0] == 4]
    assert top.min() > VALUES[0][place[0] == 3].max()


@pytest.mark.parametrize("name", ["trend", "size", "neighbours", "tails"])
def test_p_values_are_uniform_where_nothing_is_wrong(name):
    z = np.random.default_rng(6).standard_normal((2000, 120))
    before = np.flatnonzero(np.arange(119) % 6 < 5)
    found = {
        "trend": lambda: trend(z, np.arange(120) % 6, 6),
        "size": lambda: trend(magnitude(z), np.arange(120) // 20, 6, centred=True),
        "neighbours": lambda: neighbours(z, before, before + 1),
        "tails": lambda: tails(z),
    }[name]()
    share = (found < 0.05).mean()
    assert 0.03 < share < 0.07


def test_a_p_value_counts_the_value_itself():
    reference = np.arange(9.0)
    np.testing.assert_allclose(matched(np.array([8.0, 20.0, -1.0]), reference), [0.2, 0.1, 1.0])


def test_correlations_are_pearsons():
    x = np.random.default_rng(7).standard_normal((40, 2))
    values = np.stack([VALUES, VALUES[::-1]], axis=-1)
    found = correlations(values, x)
    assert found[1, 0, 1] == pytest.approx(np.corrcoef(VALUES[1], x[:, 1])[0, 1])
    assert strongest_correlation(values, x)[2] == pytest.approx(np.abs(found[2]).max())
    only = np.array([[True, False], [False, False]])
    assert strongest_correlation(values, x, only)[2] == pytest.approx(abs(found[2, 0, 0]))

import numpy as np
import pytest
from arviz_stats.ecdf_utils import get_pointwise_confidence_band, simulate_confidence_bands
from scipy.special import ndtr

from popk.calibration.bands import POINTS, uniformity
from popk.calibration.reliability import reliability


def apart(values):
    return [np.array([value]) for value in values]


def clusters(rng, n, each, *, share=0.7):
    """Uniform numbers, those of a cluster correlated."""
    common, own = rng.standard_normal((n, 1)), rng.standard_normal((n, each))
    return list(ndtr(np.sqrt(share) * common + np.sqrt(1 - share) * own))


def test_the_band_is_that_of_arviz():
    n = 100
    rng = np.random.default_rng(1)
    found = uniformity(apart(rng.random(n)))
    probability = simulate_confidence_bands(n, 1, POINTS, 0.95, 1000, rng)
    low, high = get_pointwise_confidence_band(probability, n, POINTS)
    assert np.abs(found.low + POINTS - low).max() <= 0.02 + 1e-9
    assert np.abs(found.high + POINTS - high).max() <= 0.02 + 1e-9


@pytest.mark.parametrize("n", [50, 200])
def test_the_whole_ecdf_of_independent_numbers_is_inside_in_19_of_20(n):
    rng = np.random.default_rng(2)
    found = [uniformity(apart(rng.random(n))) for _ in range(300)]
    inside = np.array([one.inside for one in found])
    assert 0.92 < inside.mean() < 0.985
    p = np.array([one.p_value for one in found])
    assert np.array_equal(inside, p > 0.05) or np.mean(inside != (p > 0.05)) < 0.02
    assert 0.4 < p.mean() < 0.6


def test_clusters_are_not_mistaken_for_independent_numbers():
    rng = np.random.default_rng(3)
    sets = [clusters(rng, 100, 10) for _ in range(120)]
    assert np.mean([uniformity(one).inside for one in sets]) > 0.88
    pooled = [uniformity(apart(np.concatenate(one))).inside for one in sets[:40]]
    assert np.mean(pooled) < 0.7


@pytest.mark.parametrize("each", [1, 5])
@pytest.mark.parametrize(
    ("values", "shift", "spread"),
    [
        (lambda u: 0.5 + np.sign(u - 0.5) * np.abs(u - 0.5) ** 0.5 / np.sqrt(2), 0, 1),
        (lambda u: 0.5 + (u - 0.5) * 0.6, 0, -1),
        (lambda u: u**0.5, 1, None),
        (lambda u: u**2, -1, None),
    ],
)
def test_what_is_wrong_has_its_sign(each, values, shift, spread):
    u = np.random.default_rng(4).random((200, each))
    found = uniformity(list(values(u)))
    assert not found.inside
    assert found.p_value < 0.01
    assert np.sign(found.shift) == shift if shift else abs(found.shift) < 3
    if spread is not None:
        assert np.sign(found.spread) == spread


def test_nothing_is_known_of_no_numbers():
    assert np.isnan(uniformity([]).p_value)
    assert not uniformity([]).inside


def events(rng, n, each, truth):
    said = rng.random((n, each))
    return list(said), list((rng.random((n, each)) < truth(said)).astype(float))


def test_events_that_happen_as_often_as_said_are_inside_their_bands():
    rng = np.random.default_rng(5)
    found = [reliability(*events(rng, 100, 10, lambda p: p)) for _ in range(60)]
    assert np.mean([one["inside"].values.all() for one in found]) > 0.85
    table = found[0]
    assert table["n"].sum() == 1000
    assert np.allclose(table["low"].values, np.arange(10) / 10)
    assert np.all(np.diff(table["said"].values) > 0)


def test_too_sure_probabilities_are_flagged():
    rng = np.random.default_rng(6)
    found = reliability(*events(rng, 100, 10, lambda p: 0.5 + 0.6 * (p - 0.5)))
    assert not found["inside"].values.all()
    assert found.attrs["p_value"] < 0.01


def test_events_that_go_together_count_as_fewer():
    rng = np.random.default_rng(7)
    together = [np.full(10, float(rng.random() < 0.75)) for _ in range(60)]
    found = reliability([np.full(10, 0.75)] * 60, together)
    assert found["n"].item() == 600
    assert 30 < found["n_effective"].item() < 120
    assert found["inside"].item()


def test_bins_with_few_events_are_joined():
    said = np.array([0.02, 0.05, 0.08, 0.95, 0.96, 0.97, 0.98, 0.99, 0.991])
    found = reliability([said], [np.ones(9)])
    assert found["n"].values.tolist() == [9]
    assert found["low"].values[0] == 0
    assert found["high"].values[-1] == 1

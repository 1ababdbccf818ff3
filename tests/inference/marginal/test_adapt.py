"""Weights that proposals learn from."""

import numpy as np
import pytest

from popk.inference.marginal.adapt import _weights


def ess(weight):
    return 1 / (weight**2).sum()


def test_one_lucky_point_is_not_all_that_is_learnt_from():
    log_weight = np.random.default_rng(1).normal(0, 0.5, 400)
    log_weight[7] = 30.0
    weight, effective = _weights(log_weight, 5)
    assert effective == pytest.approx(1.0, abs=1e-6)
    assert weight.sum() == pytest.approx(1.0)
    assert weight[7] == weight.max() < 0.02
    assert ess(weight) > 200


def test_poor_weights_are_tempered_until_enough_are_effective():
    log_weight = np.random.default_rng(2).normal(0, 8.0, 400)
    weight, effective = _weights(log_weight, 10)
    assert effective < 8
    assert ess(weight) >= 40
    # The order stays that of the weights given.
    np.testing.assert_array_equal(np.argsort(weight)[:300], np.argsort(log_weight)[:300])


def test_good_weights_stay_as_they_are_but_for_the_highest():
    log_weight = np.random.default_rng(3).normal(0, 0.4, 400)
    weight, effective = _weights(log_weight, 5)
    low = np.argsort(log_weight)[:390]
    ratio = weight[low] / np.exp(log_weight[low])
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-12)
    assert ess(weight) == pytest.approx(effective, rel=0.05)

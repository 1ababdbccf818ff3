"""Correlation matrices from partial correlations; blocks, levels and what they are called."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from popk.errors import SettingError
from popk.statistics import IIV, IOV, NUMPY, Correlated, Fixed, HalfNormal

NAMES = ("CL", "V1", "V2", "KA")


def matrix(block, values, prefix=""):
    """The correlation matrix that a block's factor is the root of."""
    size = len(block.effects)
    factor = np.zeros((size, size))
    for i, row in enumerate(block.factor(values, prefix, NUMPY)):
        factor[i, : i + 1] = row
    return factor @ factor.T


def test_any_partial_correlations_make_a_correlation_matrix():
    block, rng = Correlated(NAMES), np.random.default_rng(1)
    for _ in range(20):
        values = {name: rng.uniform(-1, 1) for name, _, _ in block.priors()}
        found = matrix(block, values)
        np.testing.assert_allclose(np.diag(found), 1.0)
        assert np.linalg.eigvalsh(found).min() > -1e-12
        # Those with the first effect are the correlations themselves.
        np.testing.assert_allclose(found[1:, 0], [values[f"corr_CL_{x}"] for x in NAMES[1:]])


def test_partial_correlations_are_what_is_left_given_the_others():
    block = Correlated(NAMES[:3])
    values = {"corr_CL_V1": 0.6, "corr_CL_V2": -0.3, "pcorr_V1_V2": 0.5}
    r = matrix(block, values)
    left = (r[2, 1] - r[2, 0] * r[1, 0]) / np.sqrt((1 - r[2, 0] ** 2) * (1 - r[1, 0] ** 2))
    assert left == pytest.approx(0.5)


@pytest.mark.parametrize("eta", [1.0, 3.0])
def test_drawn_matrices_have_the_lkj_density(eta):
    """Every correlation of an LKJ(eta) matrix of d rows is Beta(eta + d/2 - 1) on (-1, 1)."""
    block, rng, size = Correlated(NAMES, eta=eta), np.random.default_rng(2), 4000
    values = {name: prior.draw(rng, size) for name, prior, _ in block.priors()}
    rows = block.factor(values, "", NUMPY)
    factor = np.zeros((size, 4, 4))
    for i, row in enumerate(rows):
        for j, entry in enumerate(row):
            factor[:, i, j] = entry
    found = factor @ np.swapaxes(factor, 1, 2)
    marginal = stats.beta(eta + 1, eta + 1, loc=-1, scale=2)
    for i, j in itertools.combinations(range(4), 2):
        assert stats.kstest(found[:, i, j], marginal.cdf).pvalue > 1e-3
    # The density is det^(eta - 1): the determinant's mean, by integration with LKJ's own draws.
    log_determinant = np.linalg.slogdet(found)[1]
    alphas = [eta + 0.5 * (2 - j) for i in range(4) for j in range(i)]
    exact = sum(stats.beta(a, a).expect(lambda x: np.log1p(-((2 * x - 1) ** 2))) for a in alphas)
    assert log_determinant.mean() == pytest.approx(exact, abs=5 * log_determinant.std() / 60)


def test_known_correlations():
    fixed = (0.4, -0.2, 0.3)
    block = Correlated(NAMES[:3], fixed=fixed)
    values = {name: prior.value for name, prior, _ in block.priors()}
    assert all(isinstance(prior, Fixed) for _, prior, _ in block.priors())
    found = matrix(block, values)
    np.testing.assert_allclose(found[np.tril_indices(3, -1)], fixed)
    assert block.pairs == (("V1", "CL"), ("V2", "CL"), ("V2", "V1"))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"effects": ("CL",)}, "effects CL; expected two or more"),
        ({"effects": "CL"}, "effects CL; expected two or more"),
        ({"effects": ("CL", "CL")}, "expected two or more, each once"),
        ({"effects": ("CL", "V"), "eta": 0.0}, "eta=0.0; expected above zero"),
        ({"effects": ("CL", "V"), "fixed": (0.1, 0.2)}, "2 fixed correlations; expected 1: V with"),
        ({"effects": ("CL", "V"), "fixed": (1.2,)}, "not positive definite"),
        ({"effects": ("CL", "V"), "fixed": (0.5,), "eta": 1.0}, "eta=1, a prior, and fixed=.*one"),
        ({"effects": ("A", "B", "C"), "fixed": (0.9, 0.9, -0.9)}, "B with A.*positive definite"),
    ],
)
def test_refusals(arguments, sentence):
    with pytest.raises(SettingError, match=sentence):
        Correlated(**arguments)


def test_a_block_may_be_in_another_order_than_the_effects():
    omegas = {name: HalfNormal(0.3) for name in ("V2", "CL", "V1")}
    iiv = IIV(omegas, correlations=[Correlated(("CL", "V2"))])
    factor = np.array(iiv.factor({"corr_CL_V2": 0.5}, NUMPY), dtype=float)
    expected = [[1.0, 0.5, 0.0], [0.5, 1.0, 0.0], [0.0, 0.0, 1.0]]
    np.testing.assert_allclose(factor @ factor.T, expected)


def test_names_of_the_two_levels_differ():
    omegas = {"CL": HalfNormal(0.3), "V1": HalfNormal(0.2)}
    block = [Correlated(("CL", "V1"))]
    iiv, iov = IIV(omegas, correlations=block), IOV(omegas, correlations=block)
    assert (iiv.omega_name("CL"), iov.omega_name("CL")) == ("omega_CL", "omega_iov_CL")
    assert iov.correlations[0].priors(iov.level)[0][0] == "corr_iov_CL_V1"
    assert "between subjects" in iiv.between
    assert repr(iov) == (
        "IOV({'CL': HalfNormal(0.3), 'V1': HalfNormal(0.2)}, "
        "correlations=[Correlated(('CL', 'V1'), eta=2)])"
    )
    assert iiv.acts_on("CL") == ("CL",)
    assert IIV(omegas, shared={"Q": "CL"}).acts_on("CL") == ("CL", "Q")

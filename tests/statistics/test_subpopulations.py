"""Sub-populations as values: what they are made of, and what is refused."""

import numpy as np
import pytest

from popk.errors import SettingError
from popk.statistics import (
    NUMPY,
    Beta,
    Dirichlet,
    Fixed,
    LogNormal,
    Normal,
    Subpopulations,
    Uniform,
    class_probabilities,
    drawn_labels,
)

FOLD = LogNormal(2.0, cv=0.3)
SLOW = LogNormal(0.5, cv=0.2)
TWO = Subpopulations(
    ("normal", "fast"), shares={"fast": Beta(0.3, 10)}, folds={"CL": {"fast": FOLD}}
)
MEANS = {"normal": 0.5, "fast": 0.3, "slow": 0.2}
FOLDS = {"CL": {"fast": FOLD, "slow": SLOW}, "V": {"slow": Fixed(1.5)}}


def three(shares):
    return Subpopulations(("normal", "fast", "slow"), shares=shares, folds=FOLDS)


def test_two_classes_have_one_share_and_the_reference_the_rest():
    assert [(p.name, p.prior) for p in TWO.parameters] == [
        ("fold_CL_fast", FOLD),
        ("share_fast", Beta(0.3, 10)),
    ]
    values = {"share_fast": np.array([0.25, 0.6])}
    np.testing.assert_allclose(np.exp(TWO.log_shares(values, NUMPY)), [[0.75, 0.4], [0.25, 0.6]])
    (rest,) = TWO.derived
    assert (rest.name, repr(rest.prior)) == ("share_normal", "1 - share_fast")
    np.testing.assert_allclose(rest.value(values, NUMPY), [0.75, 0.4])


def test_stick_breaking_is_the_dirichlet():
    """Means, variances and a covariance of the shares: those of Dirichlet(5, 3, 2)."""
    given = three(Dirichlet(MEANS, n=10))
    rng = np.random.default_rng(1)
    drawn = {p.name: p.prior.draw(rng, 200_000) for p in given.share_parameters}
    assert list(drawn) == ["share_fast", "share_slow_of_rest"]
    shares = np.exp(given.log_shares(drawn, NUMPY))
    mean = np.array([0.5, 0.3, 0.2])
    np.testing.assert_allclose(shares.sum(axis=0), 1.0)
    np.testing.assert_allclose(shares.mean(axis=1), mean, atol=0.002)
    expected = (np.diag(mean) - np.outer(mean, mean)) / 11
    np.testing.assert_allclose(np.cov(shares), expected, atol=0.0004)
    values = {part.name: part.value(drawn, NUMPY) for part in given.derived}
    np.testing.assert_allclose(values["share_slow"], shares[2])
    np.testing.assert_allclose(values["share_normal"], shares[0])


def test_fixed_shares_of_three_classes_are_the_shares_themselves():
    given = three({"fast": Fixed(0.3), "slow": Fixed(0.2)})
    values = {p.name: np.array(p.prior.median) for p in given.share_parameters}
    np.testing.assert_allclose(np.exp(given.log_shares(values, NUMPY)), [0.5, 0.3, 0.2])


def test_a_class_has_its_own_factors_and_the_reference_none():
    given = three(Dirichlet(MEANS, n=10))
    coefficients = {"fold_CL_fast": 2.0, "fold_CL_slow": 0.5, "fold_V_slow": 1.5}
    indicators = given.indicators(np.array([0, 1, 2]))
    factors = {"CL": 1.0, "V": 1.0}
    for effect in given.effects:
        log = effect.log_factor(indicators, coefficients, NUMPY)
        factors[effect.parameter] = factors[effect.parameter] * np.exp(log)
    np.testing.assert_allclose(factors["CL"], [1.0, 2.0, 0.5])
    np.testing.assert_allclose(factors["V"], [1.0, 1.0, 1.5])


def test_probabilities_are_those_of_bayes_formula():
    shares, likelihood = np.array([0.5, 0.3, 0.2]), np.array([[0.1, 0.4, 0.0], [0.0, 0.0, 0.0]])
    with np.errstate(divide="ignore"):
        found = class_probabilities(np.log(shares), np.log(likelihood))
    np.testing.assert_allclose(found[0], np.array([0.05, 0.12, 0.0]) / 0.17)
    np.testing.assert_allclose(found[1], shares)  # nothing was said


def test_labels_come_as_often_as_their_probability_says():
    probability = np.array([[0.5, 0.3, 0.2], [0.0, 1.0, 0.0]])
    drawn = drawn_labels(probability, np.random.default_rng(2), (50_000, 2))
    np.testing.assert_allclose(np.bincount(drawn[:, 0]) / 50_000, probability[0], atol=0.01)
    assert set(drawn[:, 1]) == {1}


def test_a_factor_about_one_leaves_the_order_to_the_typical_values():
    about = Subpopulations(
        ("a", "b"), shares={"b": Beta(0.5, 2)}, folds={"CL": {"b": LogNormal(1.0, cv=0.5)}}
    )
    assert (
        "only the priors of the typical values say which class is a and which b" in about.notes[0]
    )
    ordered = Subpopulations(
        ("a", "b"), shares={"b": Beta(0.5, 2)}, folds={"CL": {"b": Uniform(1, 5)}}
    )
    assert ordered.notes == TWO.notes == ()


def parts(classes=("normal", "fast"), shares=None, folds=None):
    return {
        "classes": classes,
        "shares": {"fast": Beta(0.3, 10)} if shares is None else shares,
        "folds": {"CL": {"fast": FOLD}} if folds is None else folds,
    }


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (parts(("normal",)), "was given the classes normal; expected two or more"),
        (parts("normal"), "was given the classes normal; expected two or more"),
        (parts(("normal", "fast", "fast")), "was given the class fast twice"),
        (parts(("normal", "very fast")), "class 'very fast'; a class's name is made of letters"),
        (parts(folds={"CL": {"slow": FOLD}}), "fold of CL for slow; its classes are normal"),
        (parts(folds={"CL": {"normal": FOLD}}), "for normal, the reference, whose factor is 1"),
        (parts(folds={}), "has no fold for fast, which would be the same as normal"),
        (parts(folds={"CL": {"fast": Normal(1, 1)}}), "expected a prior of a factor above zero"),
        (parts(folds={"CL": {"fast": 2.0}}), "fold of CL for fast: 2.0; expected a prior"),
        (parts(folds={"CL": FOLD}), "was given folds of CL=LogNormal.*; expected a mapping"),
        (parts(shares={}), "shares of none; expected those of fast"),
        (parts(shares={"normal": Beta(0.3, 10)}), "share of normal, the reference, which is what"),
        (parts(shares={"fast": LogNormal(0.3, cv=1)}), "expected a prior between 0 and 1"),
        (parts(shares={"fast": Fixed(0.0)}), r"Fixed\(0\) for the share of fast; expected a prior"),
        (parts(shares={"fast": 0.3}), "0.3 for the share of fast; expected a prior"),
        (parts(shares=Dirichlet({"normal": 0.5, "slow": 0.5}, 2)), "Dirichlet shares of normal"),
        (parts(("a", "b", "c"), {"b": Beta(0.3, 2), "c": Beta(0.3, 2)},
               {"CL": {"b": FOLD, "c": SLOW}}), "one of 3 classes; shares sum to 1, so give"),
        (parts(("a", "b", "c"), {"b": Fixed(0.6), "c": Fixed(0.4)},
               {"CL": {"b": FOLD, "c": SLOW}}), "sum to 1; they leave nothing for a"),
        (parts(("a", "b", "c"), Dirichlet({"a": 0.4, "b": 0.3, "c": 0.3}, 9),
               {"CL": {"b": FOLD, "c": FOLD}}), "the same folds and shares for b and c: nothing"),
        (parts(("a", "b", "c"), Dirichlet({"a": 0.4, "b": 0.4, "c": 0.2}, 9),
               {"CL": {"b": Fixed(2), "c": Fixed(2)}}), "the same folds for b and c: nothing"),
    ],
)  # fmt: skip
def test_refusals(given, sentence):
    classes = given.pop("classes")
    with pytest.raises(SettingError, match=sentence):
        Subpopulations(classes, **given)


@pytest.mark.parametrize(
    ("means", "n", "sentence"),
    [
        ({"a": 0.5, "b": 0.6}, 5, "means that sum to 1.1"),
        ({"a": 1.0, "b": 0.0}, 5, "0.0 for b; expected a number above zero"),
        ({"a": 0.5, "b": 0.5}, -1, "-1 for n; expected a number above zero"),
    ],
)
def test_means_that_are_no_shares(means, n, sentence):
    with pytest.raises(SettingError, match=sentence):
        Dirichlet(means, n)


def test_classes_whose_priors_differ_are_told_apart():
    alike = {"CL": {"b": FOLD, "c": FOLD}}
    given = Subpopulations(
        ("a", "b", "c"), shares=Dirichlet({"a": 0.4, "b": 0.4, "c": 0.2}, 9), folds=alike
    )
    assert len(given.share_parameters) == 2

"""Policies: what they decide from a patient's history."""

import numpy as np
import pytest

from popk.errors import SettingError
from popk.trials import (
    DecisionTree,
    FixedInterval,
    History,
    ModelInformed,
    Policy,
    Rule,
    WeightBands,
)


def history(planned=(4, 4), troughs=(20.0, 20.0), *, below=None, weight=70.0, probability=()):
    planned = np.array(planned, dtype=float)
    return History(
        times=np.concatenate([[0.0], np.cumsum(planned)]),
        planned=planned,
        troughs=np.array(troughs, dtype=float),
        below=np.zeros(len(troughs), dtype=bool) if below is None else np.array(below),
        decided=0,
        covariates={"WT": weight},
        target=10.0,
        weeks=np.arange(4.0, 4.0 + len(probability)),
        probability=np.array(probability),
    )


@pytest.mark.parametrize(("weight", "weeks"), [(50, 7), (60, 7), (60.1, 6), (80, 6), (81, 5)])
def test_weight_bands_include_their_upper_end(weight, weeks):
    assert WeightBands({80: 6, 60: 7}, above=5).interval(history(weight=weight)) == weeks


@pytest.mark.parametrize(
    ("planned", "troughs", "weeks"),
    [
        ((4, 4), (16, 16), 5),  # two troughs, mean at 1.5 times the target
        ((4, 4), (16, 13.9), 4),  # not quite
        ((4,), (30,), 4),  # one trough is too few
        ((4, 4, 5), (30, 30, 30), 5),  # the only one since the interval changed
        ((4, 4, 5, 5), (30, 30, 16, 15), 6),
        ((4, 4, 5, 5), (30, 30, 16, 9.9), 4),  # the last is below
        ((4, 4), (30, 9), 4),  # cannot be shorter
        ((8, 8), (30, 30), 8),  # nor longer
        ((4, 4, 4), (30, np.nan, 30), 5),  # one was not measured
        ((5, 5), (np.nan, np.nan), 5),
    ],
)
def test_the_tree_goes_a_step_at_a_time(planned, troughs, weeks):
    assert DecisionTree(target=10).interval(history(planned, troughs)) == weeks


def test_the_tree_takes_blq_as_below_even_where_the_limit_is_above_the_target():
    tree = DecisionTree(target=1)
    assert tree.interval(history((5, 5), (30, 2), below=(False, True))) == 4
    assert tree.interval(history((5, 5), (30, 2))) == 6


@pytest.mark.parametrize(
    ("policy", "weeks"),
    [
        (ModelInformed(probability=0.9), 6),
        (ModelInformed(probability=0.95), 5),
        (ModelInformed(probability=0.995), 4),  # none holds it: the shortest
        (ModelInformed(probability=0.8, step=1), 5),
        (ModelInformed(probability=0.3), 7),
    ],
)
def test_model_informed_takes_the_longest_that_holds(policy, weeks):
    assert policy.interval(history(probability=(0.99, 0.97, 0.9, 0.5, 0.2))) == weeks


def test_a_longer_interval_is_not_taken_over_a_shorter_one_that_fails():
    assert ModelInformed(probability=0.9).interval(history(probability=(0.95, 0.8, 0.95))) == 4


def test_a_rule_is_a_policy():
    rule = Rule("as before", lambda known: known.planned[-1], candidates=(5, 4))
    assert isinstance(rule, Policy)
    assert rule.candidates == (4.0, 5.0)
    assert rule.interval(history((4, 7))) == 7


@pytest.mark.parametrize("policy", [FixedInterval(4), DecisionTree(target=5), ModelInformed()])
def test_policies_are_values(policy):
    assert policy == type(policy)(**{f: getattr(policy, f) for f in policy.__dataclass_fields__})
    assert hash(policy) == hash(policy)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: FixedInterval(0), "interval of 0 weeks"),
        (lambda: FixedInterval("four"), "give weeks, as 4"),
        (lambda: WeightBands({}, above=5), "no band"),
        (lambda: DecisionTree(target=-1), "target=-1"),
        (lambda: ModelInformed(probability=90), "between 0 and 1"),
        (lambda: ModelInformed(weeks=()), "No candidate interval"),
        (lambda: ModelInformed(step=0), "step=0"),
    ],
)
def test_what_makes_no_sense_is_refused(make, said):
    with pytest.raises(SettingError, match=said):
        make()


def test_weight_bands_say_what_they_miss():
    with pytest.raises(SettingError, match="reads BSA, which the virtual patients do not have"):
        WeightBands({1.8: 6}, above=5, covariate="BSA").interval(history())

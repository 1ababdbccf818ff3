"""From probabilities to an interval."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from popk.errors import PopkError, SettingError
from popk.individual import Trough
from popk.individual.decision import candidate_weeks, longest_interval
from popk.units import UnitError, Units

WEEKS = np.array([4.0, 5.0, 6.0, 7.0, 8.0])


@pytest.mark.parametrize(
    ("probability", "expected"),
    [
        ([0.99, 0.95, 0.9, 0.6, 0.1], 6.0),
        ([1.0, 1.0, 1.0, 1.0, 0.9], 8.0),
        ([0.89, 0.8, 0.7, 0.6, 0.5], np.nan),
        ([0.95, 0.85, 0.95, 0.95, 0.5], 4.0),  # a longer one may not skip over a failing one
        ([0.5, 0.95, 0.95, 0.95, 0.95], np.nan),
        ([np.nan] * 5, np.nan),
    ],
    ids=["some", "all", "none", "a dip", "the first fails", "no result"],
)
def test_the_longest_holds_like_every_shorter_one(probability, expected):
    np.testing.assert_equal(longest_interval(WEEKS, np.array(probability), 0.9), expected)


def test_many_patients_at_once():
    table = np.array([[0.99, 0.95, 0.9, 0.6, 0.1], [0.1] * 5])
    np.testing.assert_equal(longest_interval(WEEKS, table, 0.9), [6.0, np.nan])


PROBABILITIES = st.lists(st.floats(0, 1), min_size=5, max_size=5).map(np.array)


@given(PROBABILITIES, st.floats(0.01, 0.99), st.floats(0.01, 0.99))
def test_asking_for_more_never_lengthens_the_interval(probability, one, other):
    low, high = sorted((one, other))
    longer = np.nan_to_num(longest_interval(WEEKS, probability, low))
    assert np.nan_to_num(longest_interval(WEEKS, probability, high)) <= longer


@given(PROBABILITIES, st.integers(0, 4), st.floats(0, 1), st.floats(0.01, 0.99))
def test_a_better_probability_never_shortens_it(probability, at, gain, asked):
    better = probability.copy()
    better[at] = max(better[at], gain)
    before = np.nan_to_num(longest_interval(WEEKS, probability, asked))
    assert np.nan_to_num(longest_interval(WEEKS, better, asked)) >= before


@given(PROBABILITIES, st.floats(0.01, 0.99))
def test_the_interval_and_all_before_it_hold(probability, asked):
    longest = longest_interval(WEEKS, probability, asked)
    held = probability[np.nan_to_num(longest) >= WEEKS]
    assert np.all(held >= asked)
    if len(held) < len(WEEKS):
        assert probability[len(held)] < asked


def test_candidates_are_put_in_order_once():
    np.testing.assert_equal(candidate_weeks([6, 4, 4.5, 6]), [4.0, 4.5, 6.0])


@pytest.mark.parametrize(
    ("weeks", "sentence"),
    [
        ([], "No candidate interval was given"),
        ([4, 0], "each must be above zero"),
        ([-4], "each must be above zero"),
        ([4, np.nan], "each must be above zero"),
        ([np.inf], "each must be above zero"),
    ],
)
def test_candidates_that_make_no_sense_are_refused(weeks, sentence):
    with pytest.raises(SettingError, match=sentence):
        candidate_weeks(weeks)


@pytest.mark.parametrize("value", [0.0, -1.0, np.nan, np.inf])
def test_a_target_is_above_zero(value):
    with pytest.raises(SettingError, match="give a concentration above zero"):
        Trough(value, "mg/L")


UNITS = Units("d", "mg", "mg/L")


@pytest.mark.parametrize("unit", ["mg/L", "ug/mL", "µg/mL"])
def test_the_same_scale_is_accepted(unit):
    Trough(10.0, unit).check_units(UNITS)


@pytest.mark.parametrize("unit", ["ng/mL", "mmol/L", "mg/dL"])
def test_another_scale_is_refused_naming_both(unit):
    with pytest.raises(UnitError, match=f"The target is in {unit}, .*concentrations are in mg/L"):
        Trough(10.0, unit).check_units(UNITS)


def test_a_unit_unknown_is_refused():
    with pytest.raises(UnitError, match="which popk does not know"):
        Trough(10.0, "mg per litre").check_units(UNITS)


def test_every_refusal_is_of_the_one_kind_that_the_command_line_shows():
    assert issubclass(SettingError, PopkError)
    assert issubclass(UnitError, PopkError)

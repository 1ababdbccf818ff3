"""Criticism of models fitted to simulated data: it fires by name, and is silent where it should be.

Each of four wrong models is flagged by the check that its fault belongs to, each of five right ones
by none.
"""

import json

import pytest

from popk.diagnostics import criticise
from popk.inference import Marginal, sample

pytestmark = pytest.mark.slow

SEED = 1
RIGHT = (
    "one compartment, some below the limit",
    "three samples each",
    "two compartments",
    "by mouth, combined error",
    "saturable elimination",
)
WRONG = (
    "one compartment for two",
    "linear for saturable elimination",
    "additive for proportional error",
    "two clearances",
)


def criticism_of(case, capsys, name):
    fit = sample(case.model, case.data, Marginal(), seed=SEED, progress=False)
    found = criticise(fit, seed=SEED)
    with capsys.disabled():
        print(f"\n{name}: {found.attrs['verdict']}")  # noqa: T201
    return found


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_model_is_not_flagged(name, criticised, capsys):
    found = criticism_of(criticised.RIGHT[name](SEED), capsys, name)
    assert json.loads(found.attrs["flags"]) == []


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_model_is_flagged_by_name(name, criticised, capsys):
    case = criticised.WRONG[name](SEED)
    found = criticism_of(case, capsys, name)
    assert set(case.flags) <= set(json.loads(found.attrs["flags"]))


def test_all_cases_are_here(criticised):
    assert set(RIGHT) == set(criticised.RIGHT)
    assert set(WRONG) == set(criticised.WRONG)

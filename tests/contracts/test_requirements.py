"""Requirements are covered: by tests that exist, and by checks that come with popk."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from popk.qualification import KINDS, REQUIREMENTS, checks_of

ROOT = Path(__file__).resolve().parents[2]
CHECKS = checks_of()
each = pytest.mark.parametrize("requirement", REQUIREMENTS, ids=lambda one: one.id)


@cache
def names_in(file):
    """Names of the test functions and classes of a file."""
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    return {
        node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)
    }


def test_ids_are_in_order_and_each_stands_once():
    ids = [one.id for one in REQUIREMENTS]
    assert ids == [f"R-{k:02d}" for k in range(1, len(ids) + 1)]
    assert len({check.name for check in CHECKS}) == len(CHECKS)


@each
def test_its_tests_exist(requirement):
    assert requirement.tests
    for test in requirement.tests:
        file, _, name = test.partition("::")
        assert (ROOT / file).is_file(), f"{requirement.id} names {file}, which does not exist"
        names = names_in(file)
        assert any(one.startswith("test_") for one in names)
        assert not name or name in names, f"{requirement.id}: {file} has no test {name}"


@each
def test_a_check_covers_it_or_it_is_said_why_none(requirement):
    own = [check for check in CHECKS if requirement.id in check.requirements]
    assert bool(own) != bool(requirement.why_no_check)
    assert requirement.sentence.endswith(".")
    assert requirement.risk.endswith(".")


@pytest.mark.parametrize("check", CHECKS, ids=lambda one: one.name)
def test_a_check_says_what_it_is_for_what_it_compares_with_and_why_its_limits(check):
    assert check.kind in KINDS
    assert check.requirements
    assert set(check.requirements) <= {one.id for one in REQUIREMENTS}
    assert len(check.against.split()) > 4
    assert len(check.tolerance.split()) > 5
    # A table that is named comes with popk.
    for name in re.findall(r"[\w.]+\.csv", check.against):
        assert (ROOT / "popk" / "qualification" / "data" / name).is_file()

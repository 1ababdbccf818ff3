from __future__ import annotations

import pickle

import pytest

from popk.dataset import DataError, Problem, Problems


def test_a_problem_says_where_what_and_what_to_do():
    problem = Problem("DV is -1.", "error", 7, "P1", "DV", "Correct it.")
    assert problem.to_text() == "error: row 7, ID P1, column DV: DV is -1. Correct it."
    assert Problem("Nothing there.", "warning").to_text() == "warning: Nothing there."


def test_warnings_alone_do_not_raise():
    problems = Problems("a.csv")
    problems.warn("Odd.", row=3)
    problems.raise_if_errors()
    assert problems.to_text().startswith("a.csv can be used: 1 warning.")
    assert (len(problems.errors), len(problems.warnings)) == (0, 1)


def test_the_error_lists_everything_errors_first():
    problems = Problems("a.csv", row_note="Rows are lines.")
    problems.warn("Odd.", "Look.", row=2)
    problems.error("Bad.", "Mend.", row=9, column="DV")
    problems.extend([Problem("Worse.", "error")])
    with pytest.raises(DataError) as caught:
        problems.raise_if_errors()
    lines = str(caught.value).splitlines()
    assert lines == [
        "a.csv cannot be used: 2 errors and 1 warning.",
        "Rows are lines.",
        "  error: Worse.",
        "  error: row 9, column DV: Bad. Mend.",
        "  warning: row 2: Odd. Look.",
    ]
    assert len(caught.value.problems) == 3


def test_long_runs_of_one_problem_are_counted():
    problems = Problems("a.csv")
    for row in range(2, 24):
        problems.error(f"DV is {-row}.", "Correct it.", row=row, column="DV")
    problems.error("TIME is missing.", "Add it.", row=3, column="TIME")
    lines = problems.to_text().splitlines()
    assert sum("column DV: " in line for line in lines) == 5
    assert "  … and 17 more rows with the same problem in column DV" in lines
    assert "  error: row 3, column TIME: TIME is missing. Add it." in lines


def test_the_error_survives_pickling():
    error = DataError((Problem("Bad.", "error", 2),), "a.csv", "Rows are lines.")
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == str(error)
    assert again.problems == error.problems

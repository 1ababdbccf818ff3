"""The keys that a study file may hold, and what each takes."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType
from typing import Any

from popk.study.problems import Problems, nearest

__all__ = [
    "ADVICE",
    "CHECKS",
    "COMPARISON",
    "DATA",
    "DATES",
    "LAYOUT",
    "MODEL",
    "REPORT",
    "TOP",
    "Key",
    "check_keys",
    "shown",
    "weeks",
]

_METHODS = ("marginal", "nuts", "numpyro", "smc", "laplace", "pathfinder", "vi", "map")
LAYOUT = ("separator", "decimal", "encoding", "sheet", "names")
_RANGE = re.compile(r"\s*(\d{1,4})\s*:\s*(\d{1,4})\s*", re.ASCII)
_MOST_WEEKS = 1000  # candidates


@dataclass(frozen=True)
class Key:
    """What a key takes: a test, the words for it, and whether it must be there."""

    accepts: Callable[[Any], bool]
    expected: str
    required: bool = False


def is_number(value: Any) -> bool:
    """Whether it is a number that a float can hold, which true and false are not."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return isinstance(value, float) or abs(value) < 1e300


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip()) and "\0" not in value


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool)


def _is_whole(value: Any) -> bool:
    return is_number(value) and isinstance(value, int) and value >= 0


def _is_above_zero(value: Any) -> bool:
    return is_number(value) and 0 < value < float("inf")


def _is_probability(value: Any) -> bool:
    return is_number(value) and 0 < value < 1


def _texts(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(one, str) for one in value.values())


def _rules(value: Any) -> bool:
    return isinstance(value, dict) and all(_is_text(v) or is_number(v) for v in value.values())


def _targets(value: Any) -> bool:
    several = value if isinstance(value, list) else [value]
    return bool(several) and all(map(_is_above_zero, several)) and len(set(several)) == len(several)


def _names(value: Any) -> bool:
    several = value if isinstance(value, list) else [value]
    return bool(several) and all(map(_is_text, several)) and len(set(several)) == len(several)


def _questions(value: Any) -> bool:
    return _names(value) and set(value if isinstance(value, list) else [value]) <= {
        "patient",
        "observation",
        "future",
    }


def weeks(value: Any) -> list[float] | None:
    """Candidate intervals in weeks, of ``"4:8"`` or ``[4, 5, 6]``; None where it is neither."""
    if isinstance(value, str) and (ends := _RANGE.fullmatch(value)):
        value = list(range(int(ends[1]), int(ends[2]) + 1))
    if not isinstance(value, list) or not value or not all(map(_is_above_zero, value)):
        return None
    if len(value) > _MOST_WEEKS:
        return None
    return list(value) if all(a < b for a, b in pairwise(value)) else None


_TEXT = Key(_is_text, "a text")
_FLAG = Key(_is_flag, "true or false")
_WHOLE = Key(_is_whole, "a whole number, 0 or more")

TOP: Mapping[str, Key] = MappingProxyType(
    {
        "title": _TEXT,
        "question": _TEXT,
        "seed": Key(_is_whole, "a whole number, 0 or more, such as 20261123", required=True),
        "out": Key(_is_text, "a folder, seen from the study file"),
        "data": Key(lambda value: isinstance(value, dict), "a table [data]", required=True),
        "models": Key(
            lambda value: (
                isinstance(value, dict)
                and bool(value)
                and all(isinstance(one, dict) for one in value.values())
            ),
            "one table [models.NAME] for each model, NAME being yours",
            required=True,
        ),
        "checks": Key(lambda value: isinstance(value, dict), "a table [checks]"),
        "comparison": Key(lambda value: isinstance(value, dict), "a table [comparison]"),
        "advice": Key(lambda value: isinstance(value, dict), "a table [advice]"),
        "report": Key(lambda value: isinstance(value, dict), "a table [report]"),
    }
)

DATA: Mapping[str, Key] = MappingProxyType(
    {
        "path": Key(_is_text, "a file, seen from the study file", required=True),
        "units": Key(_texts, 'units by name: {time = "d", amount = "mg", WT = "kg"}'),
        "columns": Key(_texts, "popk's name = the file's: {DV = \"CONC\"}"),
        "carry": Key(
            lambda value: value in ("nonmem", "locf", "nocb", "linear"),
            "nonmem, locf, nocb or linear",
        ),
        "missing": Key(_rules, 'a rule by covariate: {ALB = "median", WT = 70}'),
        "log_dv": _FLAG,
        "given": Key(_texts, 'units of the file by name, to be converted: {WT = "lb"}'),
        "molar_mass": Key(_is_above_zero, "a number in g/mol"),
        **dict.fromkeys(LAYOUT, _TEXT),
        "dates": Key(_texts, 'columns and their form: {date = "DATE", clock = "CLOCK"}'),
    }
)

DATES: Mapping[str, Key] = MappingProxyType(
    {
        "date": Key(_is_text, "the name of a column", required=True),
        **dict.fromkeys(("clock", "format", "zone", "zero"), _TEXT),
    }
)

MODEL: Mapping[str, Key] = MappingProxyType(
    {
        "model": Key(_is_text, "a model of popk, a .json file or a .py file", required=True),
        "method": Key(lambda value: value in _METHODS, f"one of {', '.join(_METHODS)}"),
    }
)

CHECKS: Mapping[str, Key] = MappingProxyType(
    {"diagnose": _FLAG, "robustness": _FLAG, "loo_pit": _FLAG, "forecasts": _FLAG}
)

COMPARISON: Mapping[str, Key] = MappingProxyType(
    {
        "by": Key(_questions, "patient, observation or future, or several of these in a list"),
        "refit": _FLAG,
        "draws": Key(lambda value: _is_whole(value) and value > 0, "a whole number above 0"),
    }
)

ADVICE: Mapping[str, Key] = MappingProxyType(
    {
        "patients": Key(
            lambda value: _is_text(value) or isinstance(value, dict),
            'a file, the word "cohort" for the patients of the fit, or a table as [data]',
        ),
        "target": Key(_targets, "a trough above zero, or several in a list", required=True),
        "probability": Key(_is_probability, "a number between 0 and 1, as 0.9"),
        "weeks": Key(
            lambda value: weeks(value) is not None, '"4:8" or [4, 5, 6], rising, at most 1000'
        ),
        "models": Key(_names, "names of models of this file"),
    }
)

REPORT: Mapping[str, Key] = MappingProxyType({"files": _FLAG, "pdf": _FLAG})


def shown(value: Any, most: int = 80) -> str:
    """A value of the file as a sentence repeats it, shortened."""
    try:
        text = repr(value)
    except ValueError:  # Python does not write whole numbers of thousands of digits
        return "a number of thousands of digits"
    return text if len(text) <= most else f"{text[:most]}…"


def check_keys(
    given: Mapping[str, Any],
    known: Mapping[str, Key],
    problems: Problems,
    *,
    table: tuple[str, ...] = (),
    more: tuple[str, ...] = (),
) -> dict[str, Any]:
    """The keys whose values can be used; all else is added to `problems`.

    Parameters
    ----------
    given
        A table of the file.
    known
        What it may hold.
    problems
        Where to say what is wrong.
    table
        The table's name, part by part.
    more
        Further keys that are looked at elsewhere.
    """
    usable = {}
    for name, value in given.items():
        if name in more:
            usable[name] = value
        elif name not in known:
            problems.add((*table, name), f"unknown key. {nearest(name, (*known, *more))}")
        elif not known[name].accepts(value):
            problems.add((*table, name), f"is {shown(value)}; expected {known[name].expected}.")
        else:
            usable[name] = value
    for name, key in known.items():
        if key.required and name not in given:
            problems.add((*table, name), f"is missing; give {key.expected}.")
    return usable

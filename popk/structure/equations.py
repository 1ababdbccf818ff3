"""Equations as values: what they compute, written down step by step.

The steps are plain tuples of text and numbers, which can be compared, hashed, stored and evaluated.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from popk.errors import SettingError
from popk.structure.functions import exp, log, power, sqrt, where_positive

__all__ = ["ALLOWED", "OPERATIONS", "Equations", "Step"]

type Step = tuple[str | float, ...]

OPERATIONS: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {
        "+": lambda x, y: x + y,
        "-": lambda x, y: x - y,
        "*": lambda x, y: x * y,
        "/": lambda x, y: x / y,
        "neg": lambda x: -x,
        "exp": exp,
        "log": log,
        "sqrt": sqrt,
        "power": power,
        "where_positive": where_positive,
    }
)
_ARGUMENTS = MappingProxyType({"+": 2, "-": 2, "*": 2, "/": 2, "power": 2, "where_positive": 3})
_LEAVES = MappingProxyType({"t": 0, "a": 1, "p": 1, "number": 1})
ALLOWED = (
    "Equations may use + - * / **, and exp, log, sqrt, power, where_positive and larger of "
    "popk.structure.functions."
)


@dataclass(frozen=True, slots=True)
class Equations:
    """Equations for one subject, as steps.

    Parameters
    ----------
    steps
        Each ``("t",)``, ``("a", compartment)``, ``("p", parameter)``, ``("number", x)``, or an
        operation and the places of the earlier steps it works on: ``("*", 0, 3)``, ``("exp", 4)``.
        No two are alike, and they stand in the order in which the results first need them.
    results
        Places of the steps that are the results.

    Raises
    ------
    SettingError
        When a step is not one of these.
    """

    steps: tuple[Step, ...]
    results: tuple[int, ...]

    def __post_init__(self) -> None:
        steps = tuple(_checked(k, step) for k, step in enumerate(self.steps))
        results = tuple(int(place) for place in self.results)
        if any(not 0 <= place < len(steps) for place in results):
            raise SettingError(f"Equations have {len(steps)} steps, but results {results}.")
        object.__setattr__(self, "steps", steps)
        object.__setattr__(self, "results", results)

    def __call__(self, t: Any, a: Any, p: Any) -> tuple[Any, ...]:
        """The results, for values of any kind that has the arithmetic."""
        found: list[Any] = []
        for kind, *arguments in self.steps:
            if kind == "t":
                value = t
            elif kind == "a":
                value = getattr(a, str(arguments[0]))
            elif kind == "p":
                value = getattr(p, str(arguments[0]))
            elif kind == "number":
                value = arguments[0]
            else:
                value = OPERATIONS[str(kind)](*(found[int(place)] for place in arguments))
            found.append(value)
        return tuple(found[place] for place in self.results)

    @property
    def uses_time(self) -> bool:
        """Whether the time itself occurs in them."""
        return ("t",) in self.steps

    def names(self, kind: str) -> frozenset[str]:
        """Names that occur: of compartments (kind ``"a"``) or of parameters (kind ``"p"``)."""
        return frozenset(str(step[1]) for step in self.steps if step[0] == kind)

    def lines(self, left: Sequence[str]) -> list[str]:
        """The equations as text, given their left-hand sides; shared parts stand first, as _1."""
        uses = [0] * len(self.steps)
        for kind, *arguments in self.steps:
            if kind in OPERATIONS:
                for place in arguments:
                    uses[int(place)] += 1
        for place in self.results:
            uses[place] += 1
        lines: list[str] = []
        texts: list[str] = []
        for (kind, *arguments), count in zip(self.steps, uses, strict=True):
            text = _written(str(kind), arguments, texts)
            if kind in OPERATIONS and count > 1:
                lines.append(f"_{len(lines) + 1} = {_bare(text)}")
                text = f"_{len(lines)}"
            texts.append(text)
        return lines + [
            f"{name} = {_bare(texts[place])}"
            for name, place in zip(left, self.results, strict=True)
        ]


def _checked(place: int, step: Sequence[Any]) -> Step:
    """A step as a tuple of text and numbers."""
    kind, *arguments = step
    wanted = _LEAVES.get(kind, _ARGUMENTS.get(kind, 1))
    if (kind not in _LEAVES and kind not in OPERATIONS) or len(arguments) != wanted:
        raise SettingError(f"Step {place} of the equations is {tuple(step)!r}. {ALLOWED}")
    if kind in OPERATIONS:
        places = tuple(int(argument) for argument in arguments)
        if any(not 0 <= earlier < place for earlier in places):
            raise SettingError(
                f"Step {place} of the equations uses {places}, which are not before."
            )
        return (kind, *places)
    return (kind, float(arguments[0])) if kind == "number" else (kind, *map(str, arguments))


def _written(kind: str, arguments: Sequence[Any], texts: Sequence[str]) -> str:
    if kind == "t":
        return "t"
    if kind == "number":
        return f"{arguments[0]!r}".removesuffix(".0")
    if kind in ("a", "p"):
        return str(arguments[0])
    parts = [texts[int(place)] for place in arguments]
    if kind in ("+", "-", "*", "/"):
        return f"({parts[0]} {kind} {parts[1]})"
    return f"(-{parts[0]})" if kind == "neg" else f"{kind}({', '.join(map(_bare, parts))})"


def _bare(text: str) -> str:
    """The text without parentheses around the whole of it."""
    if not text.startswith("("):
        return text
    depth = 0
    for k, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if depth == 0:
            return text[1:-1] if k == len(text) - 1 else text
    return text

"""From what a function computes, step by step, to equations that a person would write.

Parts that occur several times get a name, and those forms of `popk.structure.smooth` that stand for
something simpler are written as that: a Hill function, the positive part, the larger of two.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

from popk.model.notation import (
    Choice,
    Expression,
    Number,
    Product,
    Symbol,
    add,
    call,
    divide,
    multiply,
    negative,
    power,
    subtract,
)
from popk.structure import Equations
from popk.structure.equations import OPERATIONS
from popk.structure.functions import larger
from popk.structure.smooth import hill, positive
from popk.structure.symbolic import trace

__all__ = ["Definition", "derived", "hill_of"]

# A part that occurs again is named when it has as many names and numbers as this.
_LONG = 5
_FORMS: tuple[tuple[str, Callable[..., Any], tuple[str, ...]], ...] = (
    ("hill", hill, ("X", "N")),
    ("larger", larger, ("X", "Y")),
    ("positive", positive, ("X",)),
)


class Definition(NamedTuple):
    """A name and what it stands for."""

    name: Symbol
    value: Expression


class _Node(NamedTuple):
    kind: str
    needs: tuple[int, ...] = ()
    what: str | float = ""


def derived(
    equations: Equations,
    results: Sequence[Symbol | None],
    *,
    leaves: Mapping[str, Callable[[str], Symbol]],
    taken: Sequence[str] = (),
) -> tuple[tuple[Definition, ...], tuple[Expression, ...]]:
    """Definitions in an order in which they can be computed, and the results without a name.

    Parameters
    ----------
    equations
        What is computed.
    results
        For each result a name, by which the others may refer to it, or None.
    leaves
        Symbols of the time (kind ``"t"``), of amounts (``"a"``) and of parameters (``"p"``).
    taken
        Names that a part must not have.
    """
    nodes = _nodes(equations)
    named: dict[int, Symbol] = {}
    for place, name in zip(equations.results, results, strict=True):
        if name is not None and nodes[place].needs and place not in named:
            named[place] = name
    free = _names((*taken, *(name.name for name in results if name is not None)))
    for place in _repeated(nodes, equations.results, named):
        named[place] = Symbol(next(free), "part")
    build = _Builder(nodes, named, leaves)
    found = [Definition(named[place], build.of(place, root=True)) for place in sorted(named)]
    defined = {definition.name for definition in found}
    for place, name in zip(equations.results, results, strict=True):
        if name is not None and name not in defined:
            found.append(Definition(name, build.of(place)))
    rest = (place for place, name in zip(equations.results, results, strict=True) if name is None)
    return tuple(found), tuple(build.of(place) for place in rest)


def hill_of(x: Expression, exponent: Expression) -> Expression:
    """``x**n / (1 + x**n)``, of a quotient with its denominator below the line."""
    over: Expression = x
    under: Expression = _ONE
    if isinstance(x, Product) and not x.minus and x.below:
        over, under = (multiply(Product(part), _ONE) for part in (x.above, x.below))
    raised = power(over, exponent)
    return divide(raised, add(_ONE if under == _ONE else power(under, exponent), raised))


_ONE = Number(1.0)


class _Builder:
    """Expressions of steps, other steps by their names."""

    def __init__(
        self,
        nodes: Sequence[_Node],
        named: Mapping[int, Symbol],
        leaves: Mapping[str, Callable[[str], Symbol]],
    ) -> None:
        self._nodes, self._named, self._leaves = nodes, named, leaves

    def of(self, place: int, *, root: bool = False) -> Expression:
        if not root and place in self._named:
            return self._named[place]
        node = self._nodes[place]
        if node.kind == "number":
            return Number(float(node.what))
        if node.kind in self._leaves:
            return self._leaves[node.kind](str(node.what))
        return _WRITTEN[node.kind](*map(self.of, node.needs))


_WRITTEN: Mapping[str, Callable[..., Expression]] = {
    "+": add,
    "-": subtract,
    "*": multiply,
    "/": divide,
    "neg": negative,
    "exp": lambda x: call("exp", x),
    "log": lambda x: call("log", x),
    "sqrt": lambda x: call("sqrt", x),
    "power": power,
    "where_positive": lambda condition, yes, no: Choice(condition, 0.0, yes, no),
    "hill": hill_of,
    "larger": lambda x, y: call("max", x, y),
    "positive": lambda x: call("max", x, Number(0.0)),
}


def _nodes(equations: Equations) -> list[_Node]:
    """The steps, with known forms in place of what they are made of."""
    found = []
    for place, (kind, *arguments) in enumerate(equations.steps):
        if kind not in OPERATIONS:
            found.append(_Node(str(kind), what=arguments[0] if arguments else ""))
            continue
        node = _Node(str(kind), tuple(int(argument) for argument in arguments))
        for form, function, names in _FORMS:
            template = _template(function, names)
            bound: dict[str, int] = {}
            if _matches(template, template.results[0], equations, place, bound):
                node = _Node(form, tuple(bound[name] for name in names))
                break
        found.append(node)
    return found


@cache
def _template(function: Callable[..., Any], names: tuple[str, ...]) -> Equations:
    """What a function does with values that are called by these names."""
    return trace(
        lambda t, a, p: (function(*(getattr(p, name) for name in names)),),
        place=f"The form {function.__name__}",
        compartments=(),
        parameters=names,
        results=("x",),
    )


def _matches(
    template: Equations, at: int, equations: Equations, place: int, bound: dict[str, int]
) -> bool:
    """Whether a step is the template's, with the same step for each of its names."""
    kind, *arguments = template.steps[at]
    if kind == "p":
        return bound.setdefault(str(arguments[0]), place) == place
    other, *others = equations.steps[place]
    if kind != other:
        return False
    if kind not in OPERATIONS:
        return arguments == others
    pairs = zip(arguments, others, strict=True)
    return all(_matches(template, int(a), equations, int(b), bound) for a, b in pairs)


def _repeated(
    nodes: Sequence[_Node], results: Sequence[int], named: Mapping[int, Symbol]
) -> Iterator[int]:
    """Long steps that several others use."""
    used: set[int] = set()
    waiting = list(results)
    while waiting:
        place = waiting.pop()
        if place not in used:
            used.add(place)
            waiting.extend(nodes[place].needs)
    uses = [0] * len(nodes)
    for place in used:
        for need in nodes[place].needs:
            uses[need] += 1
    for place in results:
        uses[place] += place not in named
    lengths: list[int] = []
    for place, node in enumerate(nodes):
        length = sum(lengths[need] for need in node.needs) if node.needs else 1
        again = place in used and uses[place] > 1 and length >= _LONG and place not in named
        if again:
            yield place
        lengths.append(1 if again or place in named else length)


def _names(taken: Sequence[str]) -> Iterator[str]:
    k = 0
    while True:
        k += 1
        if f"x{k}" not in taken:
            yield f"x{k}"

"""What the code computes: every variable as an expression of thetas, etas, epsilons and columns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from popk.nonmem.statements import Assignment, Condition, Other, Statement

__all__ = ["Code", "evaluate", "names_in", "symbol"]


def symbol(name: str) -> Any:
    """The symbol of a name, as the reader of statements makes it."""
    import sympy

    return sympy.Symbol(name, real=True)


def names_in(expression: Any) -> set[str]:
    """Names of the symbols of an expression."""
    return {found.name for found in expression.free_symbols}


@dataclass(frozen=True)
class Code:
    """What a code record computes.

    ``values`` are the variables at its end, those that were there before included; ``others``
    statements that are no assignments and are reached; ``skipped`` those that NONMEM runs only
    outside of estimation (ICALL).
    """

    values: Mapping[str, Any]
    others: tuple[Other, ...]
    skipped: tuple[Statement, ...]


def evaluate(statements: Iterable[Statement], before: Mapping[str, Any]) -> Code:
    """Run the statements one after the other on expressions.

    A variable that a branch does not set keeps its value; it is 0 where it has none, as in NM-TRAN.

    Parameters
    ----------
    statements
        Of one record.
    before
        Variables that are known before, as expressions.
    """
    import sympy

    values = {**before, "ICALL": sympy.Integer(2)}
    others: list[Other] = []
    skipped: list[Statement] = []
    _run(statements, values, others, skipped)
    del values["ICALL"]
    return Code(values, tuple(others), tuple(skipped))


def _run(
    statements: Iterable[Statement],
    values: dict[str, Any],
    others: list[Other],
    skipped: list[Statement],
) -> None:
    for statement in statements:
        match statement:
            case Assignment():
                values[statement.symbol] = _known(statement.value, values)
            case Condition():
                _decide(statement, values, others, skipped)
            case Other():
                others.append(statement)


def _decide(
    statement: Condition,
    values: dict[str, Any],
    others: list[Other],
    skipped: list[Statement],
) -> None:
    """Run all branches that can be reached, and merge what they set."""
    import sympy

    reached: list[tuple[Any, dict[str, Any]]] = []
    for branch in statement.branches:
        condition = sympy.true
        if branch.condition is not None:
            condition = _known(branch.condition, values)
        if condition == sympy.false:
            skipped.extend(branch.statements)
            continue
        own = dict(values)
        _run(branch.statements, own, others, skipped)
        reached.append((condition, own))
        if condition == sympy.true:
            break
    else:
        reached.append((sympy.true, values))
    changed = {
        name for _, own in reached for name, value in own.items() if values.get(name) != value
    }
    for name in sorted(changed):
        pairs = [(own.get(name, sympy.Integer(0)), condition) for condition, own in reached]
        values[name] = sympy.Piecewise(*pairs)


def _known(expression: Any, values: Mapping[str, Any]) -> Any:
    """The expression with variables replaced by what they are."""
    replaced = {s: values[s.name] for s in expression.free_symbols if s.name in values}
    return expression.xreplace(replaced) if replaced else expression


def flat(statements: Iterable[Statement]) -> Iterator[Assignment | Other]:
    """All assignments and other statements, those of branches included."""
    for statement in statements:
        if isinstance(statement, Condition):
            for branch in statement.branches:
                yield from flat(branch.statements)
        else:
            yield statement


def idle(statements: Iterable[Statement], needed: set[str]) -> list[Statement]:
    """The statements on which none of the needed variables rests.

    Parameters
    ----------
    statements
        Of one record, in order.
    needed
        Names of variables; those on which they rest are added.
    """
    found: list[Statement] = []
    for statement in reversed(list(statements)):
        own = list(flat([statement]))
        assigned = {part.symbol for part in own if isinstance(part, Assignment)}
        if not assigned & needed:
            found.append(statement)
            continue
        needed |= {name for part in own if isinstance(part, Assignment) for name in
                   names_in(part.value)}  # fmt: skip
        needed |= _tested(statement)
    return found[::-1]


def _tested(statement: Statement) -> set[str]:
    """Names that the conditions of a statement read."""
    if not isinstance(statement, Condition):
        return set()
    found: set[str] = set()
    for branch in statement.branches:
        if branch.condition is not None:
            found |= names_in(branch.condition)
        for inner in branch.statements:
            found |= _tested(inner)
    return found

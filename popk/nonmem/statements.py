"""The code of $PK, $DES, $ERROR and $PRED, statement by statement, from pharmpy's parse tree."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from popk.nonmem.ratio import power_of

__all__ = ["Assignment", "Branch", "Condition", "Other", "Statement", "statements_of"]


@dataclass(frozen=True)
class _Line:
    """Where a statement stands and what it says."""

    record: str
    line: int
    text: str

    @property
    def where(self) -> str:
        """How sentences call it."""
        return f"${self.record}, line {self.line}"


@dataclass(frozen=True)
class Assignment(_Line):
    """``symbol = value``; the value is an expression of SymPy."""

    symbol: str = ""
    value: Any = None


@dataclass(frozen=True)
class Branch:
    """The statements that run under a condition (None: otherwise)."""

    condition: Any
    statements: tuple[Statement, ...]


@dataclass(frozen=True)
class Condition(_Line):
    """IF, with its branches."""

    branches: tuple[Branch, ...] = field(default=())


@dataclass(frozen=True)
class Other(_Line):
    """What is neither: CALL, EXIT, DO WHILE, RETURN, verbatim code."""


type Statement = Assignment | Condition | Other


def statements_of(
    root: Any, record: str, line: int, replaced: Mapping[str, str]
) -> Iterator[Statement]:
    """The statements of a code record.

    Parameters
    ----------
    root
        pharmpy's parse tree of the record.
    record
        Its name.
    line
        The line of the control stream in which it begins.
    replaced
        Names that $ABBR REPLACE stands for, in capitals.
    """
    yield from _walk(root, record, line, _reader(replaced))


def _walk(tree: Any, record: str, line: int, read: Any) -> Iterator[Statement]:
    for child in tree.children:
        rule = child.rule
        if rule == "statement":
            yield from _statement(child, record, line, read)
        elif rule in ("verbatim", "pseudo"):
            yield Other(record, line, str(child).strip())
        line += str(child).count("\n")


def _statement(tree: Any, record: str, line: int, read: Any) -> Iterator[Statement]:
    for child in tree.children:
        text = str(child).strip()
        match child.rule:
            case "assignment":
                yield _assignment(child, record, line, read)
            case "logical_if":
                yield _logical(child, record, line, read)
            case "block_if":
                yield Condition(record, line, text, tuple(_branches(child, record, line, read)))
            case "while" | "exit" | "call" | "return":
                yield Other(record, line, text)
        line += str(child).count("\n")


def _assignment(tree: Any, record: str, line: int, read: Any) -> Assignment:
    symbol = read.visit(tree.subtree("assignable"))
    value = read.visit(tree.subtree("real_expr"))
    return Assignment(record, line, str(tree).strip(), str(symbol), value)


def _logical(tree: Any, record: str, line: int, read: Any) -> Condition:
    text = str(tree).strip()
    condition = read.visit(tree.subtree("bool_expr"))
    inner: list[Statement] = []
    for child in tree.children:
        if child.rule == "assignment":
            inner.append(_assignment(child, record, line, read))
        elif child.rule in ("exit", "call"):
            inner.append(Other(record, line, str(child).strip()))
    return Condition(record, line, text, (Branch(condition, tuple(inner)),))


def _branches(tree: Any, record: str, line: int, read: Any) -> Iterator[Branch]:
    for child in tree.children:
        if child.rule in ("block_if_start", "block_if_elseif", "block_if_else"):
            otherwise = child.rule == "block_if_else"
            condition = None if otherwise else read.visit(child.subtree("bool_expr"))
            yield Branch(condition, tuple(_walk(child, record, line, read)))
        line += str(child).count("\n")


def _reader(replaced: Mapping[str, str]) -> Any:
    """The reader of pharmpy for expressions; names in capitals, and NONMEM's guarded functions."""
    import sympy
    from pharmpy.model.external.nonmem.records.code_record import ExpressionInterpreter

    class Reader(ExpressionInterpreter):  # type: ignore[misc, unused-ignore]
        def symbol(self, node: Any) -> Any:
            name = str(self.visit_subtrees(node)[0]).upper().replace(" ", "")
            name = replaced.get(name, name)
            return sympy.Symbol(name, real=True)

        def assignable(self, node: Any) -> Any:
            name = str(self.visit_subtrees(node)[0]).upper().replace(" ", "")
            return sympy.Symbol(replaced.get(name, name), real=True)

        # The guards of these functions act where the logarithm or the root is undefined.
        def pexp(self, _: Any) -> Any:
            return sympy.exp

        def plog(self, _: Any) -> Any:
            return sympy.log

        def psqrt(self, _: Any) -> Any:
            return sympy.sqrt

        def pow_op(self, _: Any) -> Any:
            return power_of

        def log10(self, _: Any) -> Any:
            return lambda x: sympy.log(x) / sympy.log(10)

        def plog10(self, _: Any) -> Any:
            return lambda x: sympy.log(x) / sympy.log(10)

    return Reader()

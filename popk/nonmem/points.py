"""Numbers at which expressions are compared: what holds at several random ones holds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from popk.nonmem.evaluation import names_in
from popk.nonmem.ratio import written_out

__all__ = ["Points", "compiled", "constant", "same"]

type Floats = NDArray[np.float64]
type Point = dict[str, float]

_CLOSE = 1e-9


def compiled(expression: Any) -> Callable[[Mapping[str, float]], float]:
    """A function from values by name to the number that the expression is there."""
    import sympy
    from scipy.stats import norm

    # A branch that divides by zero is no number; elsewhere the expression is one.
    undefined = sympy.Symbol("undefined")
    expression = written_out(expression).xreplace({sympy.zoo: undefined, sympy.nan: undefined})
    symbols = sorted(expression.free_symbols, key=lambda found: str(found.name))
    # SciPy has the normal distribution function that NONMEM calls PHI.
    modules = [{"PHI": norm.cdf}, "numpy"]
    function = sympy.lambdify(symbols, expression, modules=modules)

    def at(values: Mapping[str, float]) -> float:
        given = [np.nan if s is undefined else np.float64(values[s.name]) for s in symbols]
        with np.errstate(all="ignore"):
            return float(np.real(function(*given)))

    return at


def same(one: float, other: float, scale: float = 0.0) -> bool:
    """Whether two numbers agree to rounding."""
    if not (np.isfinite(one) and np.isfinite(other)):
        return False
    return abs(one - other) <= _CLOSE * max(abs(one), abs(other), scale, 1e-12)


@dataclass(frozen=True)
class Points:
    """Random values of thetas, etas and columns around those of a control stream.

    Parameters
    ----------
    thetas
        Values by name, ``THETA(1)``.
    levels
        Of columns that conditions compare with numbers: those numbers and others.
    """

    thetas: Mapping[str, float]
    levels: Mapping[str, tuple[float, ...]]

    def draw(
        self, names: Iterable[str], rng: np.random.Generator, *, move: str = "thetas etas columns"
    ) -> Point:
        """One point; what `move` does not name stays at the thetas given, etas of 0, columns of 1.

        Parameters
        ----------
        names
            Of the symbols.
        rng
            Random numbers.
        move
            Words: thetas, etas, columns.
        """
        found: Point = {}
        for name in names:
            if name.startswith("THETA("):
                value = self.thetas[name]
                found[name] = value * rng.uniform(0.8, 1.25) if "thetas" in move else value
            elif name.startswith(("ETA(", "EPS(")):
                found[name] = rng.uniform(-0.4, 0.4) if "etas" in move else 0.0
            elif name in self.levels:
                choice = self.levels[name]
                found[name] = float(rng.choice(choice)) if "columns" in move else choice[0]
            else:
                # Ages, weights, laboratory values: over more than two orders of magnitude.
                found[name] = 0.5 * 300.0 ** rng.uniform() if "columns" in move else 1.0
        return found


def constant(
    expression: Any, points: Points, move: str, *, fixed: Sequence[str] = (), draws: int = 12
) -> bool:
    """Whether an expression keeps its value while some of its symbols move, where it has one.

    Parameters
    ----------
    expression
        Of SymPy.
    points
        Where.
    move
        As for `Points.draw`.
    fixed
        Names that stay where they were put.
    draws
        How many points around each of four.
    """
    rng = np.random.default_rng(20)
    names = sorted(names_in(expression))
    value = compiled(expression)
    known = False
    for _ in range(4):
        start = points.draw(names, rng)
        found = []
        for _ in range(draws):
            other = points.draw(names, rng, move=move)
            moving = (n for n in names if _moves(n, move) and n not in fixed)
            found.append(value({**start, **{name: other[name] for name in moving}}))
        finite = [number for number in found if np.isfinite(number)]
        known |= len(finite) > 1
        if any(not same(finite[0], number) for number in finite[1:]):
            return False
    return known


def _moves(name: str, move: str) -> bool:
    kind = "thetas" if name.startswith("THETA(") else "columns"
    return ("etas" if name.startswith(("ETA(", "EPS(")) else kind) in move


def levels_in(expressions: Iterable[Any]) -> dict[str, tuple[float, ...]]:
    """Numbers that conditions compare a column with, and one on either side, by column."""
    import sympy
    from sympy.core.relational import Relational

    found: dict[str, set[float]] = {}
    for expression in expressions:
        for relation in sympy.sympify(expression).atoms(Relational):
            left, right = relation.lhs, relation.rhs
            if right.is_Symbol and left.is_number:
                left, right = right, left
            if left.is_Symbol and right.is_number:
                found.setdefault(left.name, set()).add(float(right))
    return {
        name: tuple(sorted({x + d for x in numbers for d in (0.0, 1.0, -1.0)}))
        for name, numbers in found.items()
    }

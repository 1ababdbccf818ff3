"""What $ERROR makes of the amounts: the prediction in Y, and what marks those below the limit."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from popk.nonmem.evaluation import names_in, symbol
from popk.nonmem.individual import OTHER_LEVEL, levels_of
from popk.nonmem.points import levels_in
from popk.nonmem.refusal import NonmemError

__all__ = ["Flagged", "Observation", "observation_of", "without_epsilons"]


@dataclass(frozen=True)
class Flagged:
    """Which column marks observations below the limit.

    ``levels`` are those that mark them, or, unless ``below``, those of all other observations.
    """

    column: str
    levels: tuple[float, ...]
    below: bool


@dataclass(frozen=True)
class Observation:
    """What $ERROR makes of the amounts.

    Parameters
    ----------
    y
        Y of a quantified observation, of the source, epsilons, thetas, etas and columns.
    source
        Name of what it reads: ``F``, or the amount in a compartment.
    divisor
        Source over the individual prediction.
    logarithmic
        Whether DV holds logarithms.
    guard
        A number that is added to the prediction before its logarithm is taken; 0 if none.
    small
        Conditions under which the code treats small predictions in another way.
    censored
        Y of an observation below the limit of quantification, where F_FLAG says so.
    flagged
        How a column tells the two apart; None where there is no F_FLAG.
    """

    y: Any
    source: str
    divisor: Any
    logarithmic: bool
    guard: float
    small: tuple[str, ...]
    censored: Any
    flagged: Flagged | None

    @property
    def positive(self) -> Any:
        """The source as a symbol that is known to be positive."""
        import sympy

        return sympy.Symbol("source", positive=True)


def observation_of(values: Mapping[str, Any], where: str) -> Observation:
    """What Y reads, and how it is scaled.

    Raises
    ------
    NonmemError
        When Y is not there, or is no prediction with epsilons.
    """
    import sympy

    if "Y" not in values:
        raise NonmemError([f"{where} does not define Y. Give the code of one observation."])
    y, censored, flagged = _quantified(values, where)
    sources = sorted(name for name in names_in(y) if name == "F" or re.fullmatch(r"A\(\d+\)", name))
    if len(sources) != 1:
        read = ", ".join(sources) or "no prediction"
        raise NonmemError(
            [f"Y in {where} reads {read}; popk imports one observed output: F, or the amount in "
             "one compartment. Write a model of several outputs in popk."]
        )  # fmt: skip
    source = sympy.Symbol("source", positive=True)
    y, guards = _decided(y.xreplace({symbol(sources[0]): source}), source)
    if censored is not None:
        censored, _ = _decided(censored.xreplace({symbol(sources[0]): source}), source)
    mean = without_epsilons(y)
    for logarithmic in (False, True):
        prediction = sympy.simplify(sympy.exp(mean)) if logarithmic else mean
        slope = sympy.simplify(sympy.diff(prediction, source))
        if source in slope.free_symbols or slope == 0:
            continue
        guard = sympy.simplify(prediction - slope * source)
        if not guard.is_number:
            continue
        return Observation(
            y, sources[0], 1 / slope, logarithmic, float(guard), guards, censored, flagged
        )  # fmt: skip
    raise NonmemError(
        [f"Y without its epsilons is {mean} in {where}; expected the prediction, F over a scale, "
         "or its logarithm. Other transformations of DV are not imported."]
    )  # fmt: skip


_SMALL = 0.01  # below it, a condition on the prediction guards against zero


def _decided(expression: Any, source: Any) -> tuple[Any, tuple[str, ...]]:
    """The expression for positive predictions, and the conditions that single out small ones."""
    import sympy
    from sympy.core.relational import Relational

    decided: dict[Any, Any] = {}
    small: list[str] = []
    for relation in expression.atoms(Relational):
        if source not in relation.free_symbols:
            continue
        # Numbers stand on the right.
        left, right = relation.canonical.args
        if right == 0 and not isinstance(relation, sympy.Eq | sympy.Ne):
            # The sign of a prediction: scales are positive.
            positive = {s: sympy.Symbol(s.name, positive=True) for s in left.free_symbols}
            found = relation.xreplace(positive)
            if found in (sympy.true, sympy.false):
                decided[relation] = found
        elif right == 0 and left.is_Mul:
            decided[relation] = sympy.false if isinstance(relation, sympy.Eq) else sympy.true
        elif left == source and right.is_number and 0 < float(right) <= _SMALL:
            decided[relation] = relation.xreplace({source: sympy.Integer(1)})
            small.append(str(relation).replace("source", "F"))
    return expression.xreplace(decided), tuple(sorted(small))


def without_epsilons(expression: Any) -> Any:
    """The expression with all epsilons 0."""
    import sympy

    zero = sympy.Integer(0)
    return expression.xreplace(
        {s: zero for s in expression.free_symbols if s.name.startswith("EPS(")}
    )


def _quantified(values: Mapping[str, Any], where: str) -> tuple[Any, Any, Flagged | None]:
    """Y where F_FLAG is 0, Y where it is 1 (None if it never is), and which column decides."""
    import sympy

    y = values["Y"]
    flag = sympy.sympify(values.get("F_FLAG", sympy.Integer(0)))
    if flag == 0:
        return y, None, None
    refused = NonmemError(
        [f"F_FLAG in {where} is {flag}; popk recognises an F_FLAG of 1 for observations below the "
         "limit of quantification, which a column with levels marks, and 0 for others."]
    )  # fmt: skip
    columns = sorted(names_in(flag))
    levels = levels_of(flag, columns[0]) if len(columns) == 1 else []
    if not levels:
        raise refused
    x = symbol(columns[0])
    tried = [*levels_in([flag, y])[columns[0]], OTHER_LEVEL]
    points = {level: flag.xreplace({x: _exact(level)}) for level in tried}
    if set(points.values()) - {0, 1}:
        raise refused
    # Y may be set for the levels that are named alone.
    seen = {level: y.xreplace({x: _exact(level)}) for level in points}
    quantified = [
        level for level, code in points.items() if code == 0 and _has_epsilon(seen[level])
    ]
    below = [level for level, code in points.items() if code == 1]
    if not quantified or not below or len({seen[level] for level in (*quantified, *below)}) != 2:
        raise refused
    named = OTHER_LEVEL not in below
    marked = tuple(below if named else (k for k, code in points.items() if code == 0))
    return seen[quantified[0]], seen[below[0]], Flagged(columns[0], marked, named)


def _has_epsilon(expression: Any) -> bool:
    return any(name.startswith("EPS(") for name in names_in(expression))


def _exact(value: float) -> Any:
    import sympy

    return sympy.Integer(int(value)) if float(value).is_integer() else sympy.Float(value)

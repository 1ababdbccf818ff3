"""One parameter of the structure taken apart: typical value, covariates, random effects, scale."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from popk.nonmem.evaluation import names_in, symbol
from popk.nonmem.points import Points, compiled, constant, same
from popk.nonmem.ratio import ratio_of, written_out
from popk.nonmem.refusal import NonmemError
from popk.statistics import LinearScale, LogitScale, LogScale, Scale

__all__ = ["Effect", "Taken", "columns_in", "etas_in", "levels_of", "take_apart", "thetas_in"]

# A level that no column has: that of ELSE.
OTHER_LEVEL = -98765.4321


@dataclass(frozen=True)
class Effect:
    """What a random effect adds on a parameter's scale: a coefficient, an expression of thetas.

    ``column`` and ``level`` say on which occasion, where it acts on one only.
    """

    eta: int
    coefficient: Any
    column: str | None = None
    level: float | None = None


@dataclass(frozen=True)
class Taken:
    """A parameter taken apart; `typical` and `factors` are expressions, without etas."""

    name: str
    expression: Any
    typical: Any
    factors: tuple[Any, ...]
    scale: Scale
    effects: tuple[Effect, ...] = field(default=())


def thetas_in(expression: Any) -> set[int]:
    """Numbers of the thetas in an expression."""
    return _numbers(expression, "THETA")


def etas_in(expression: Any) -> set[int]:
    """Numbers of the etas in an expression."""
    return _numbers(expression, "ETA")


def _numbers(expression: Any, kind: str) -> set[int]:
    found = (re.fullmatch(rf"{kind}\((\d+)\)", name) for name in names_in(expression))
    return {int(matched[1]) for matched in found if matched}


def columns_in(expression: Any) -> set[str]:
    """Names of everything in an expression that is neither a theta nor a random effect."""
    kinds = ("THETA(", "ETA(", "EPS(")
    return {name for name in names_in(expression) if not name.startswith(kinds)}


def take_apart(name: str, expression: Any, points: Points, where: str) -> Taken:
    """A parameter taken apart.

    Parameters
    ----------
    name
        popk's name of it.
    expression
        What the control stream computes, of thetas, etas and columns.
    points
        Where expressions are compared.
    where
        For sentences.

    Raises
    ------
    NonmemError
        When its random effects act on no scale that popk has.
    """
    etas = sorted(etas_in(expression))
    expected = expression.xreplace({symbol(f"ETA({k})"): _zero() for k in etas})
    scale: Scale = LogScale()
    effects: tuple[Effect, ...] = ()
    if etas:
        found = _scale(expression, etas, points)
        if found is None:
            raise NonmemError(
                [f"the random effects on {name} ({written_out(expression)}, {where}) are none that "
                 "popk has: it has exponential, additive and logit ones with coefficients that do "
                 "not depend on covariates. Change how they act (EXP(ETA) for 1+ETA), or write the "
                 "model in popk."]
            )  # fmt: skip
        scale, effects = found
    typical, factors = _factors(expected, scale)
    return Taken(name, expression, typical, factors, scale, effects)


def _zero() -> Any:
    import sympy

    return sympy.Integer(0)


def _scale(
    expression: Any, etas: list[int], points: Points
) -> tuple[Scale, tuple[Effect, ...]] | None:
    import sympy

    slopes = {k: sympy.diff(expression, symbol(f"ETA({k})")) for k in etas}
    scales: list[tuple[Scale, Any]] = [(LogScale(), expression), (LinearScale(), sympy.Integer(1))]
    limits = _limits(expression, etas, points)
    if limits is not None:
        low, high = limits
        span = (expression - low) * (high - expression) / (high - low)
        scales.append((LogitScale(low, high), span))
    for scale, divisor in scales:
        found = [_effect(k, slope / divisor, points) for k, slope in slopes.items()]
        if all(effect is not None for effect in found):
            return scale, tuple(effect for effect in found if effect is not None)
    return None


def _effect(eta: int, slope: Any, points: Points) -> Effect | None:
    """The effect that a slope on a scale stands for; None if it is not constant."""
    if not constant(slope, points, "etas"):
        return None
    names = {symbol(name): _zero() for name in names_in(slope) if name.startswith("ETA(")}
    at_zero = slope.xreplace(names)
    columns = sorted(columns_in(at_zero))
    moving = [column for column in columns if _depends(at_zero, column, columns, points)]
    start = _where_defined(at_zero, points)
    if not moving and constant(at_zero, points, "columns"):
        return Effect(eta, _plain(at_zero, start, points))
    if len(moving) != 1 or moving[0] not in points.levels:
        return None
    column = moving[0]
    value = compiled(at_zero)
    active = [
        x for x in points.levels[column] if not same(value({**start, column: x}), 0.0, scale=1.0)
    ]
    if len(active) != 1:
        return None
    here = at_zero.xreplace({symbol(column): _number(active[0])})
    return Effect(eta, _plain(here, start, points), column, active[0])


def _where_defined(expression: Any, points: Points) -> dict[str, float]:
    """A point with the thetas as given, and columns at which the expression has a value."""
    value, names = compiled(expression), names_in(expression)
    found = points.draw(names, np.random.default_rng(1), move="")
    rng = np.random.default_rng(6)
    for _ in range(40):
        if np.isfinite(value(found)):
            break
        found = points.draw(names, rng, move="columns")
    return found


def _depends(expression: Any, column: str, columns: list[str], points: Points) -> bool:
    """Whether an expression depends on a column; all levels of those with levels are tried."""
    if column not in points.levels:
        others = [other for other in columns if other != column]
        return not constant(expression, points, "columns", fixed=others)
    value, rng = compiled(expression), np.random.default_rng(4)
    for _ in range(4):
        point = points.draw(names_in(expression), rng)
        found = [value({**point, column: level}) for level in points.levels[column]]
        finite = [x for x in found if np.isfinite(x)]
        if any(not same(x, finite[0], scale=1.0) for x in finite[1:]):
            return True
    return False


def _number(value: float) -> Any:
    import sympy

    return sympy.Integer(int(value)) if float(value).is_integer() else sympy.Float(value)


def _plain(expression: Any, start: Mapping[str, float], points: Points) -> Any:
    """A coefficient without columns; a number where it does not depend on thetas."""
    import sympy

    others = {symbol(c): sympy.Float(start[c]) for c in columns_in(expression)}
    found = sympy.simplify(expression.xreplace(others))
    if constant(found, points, "thetas"):
        value = compiled(found)(points.draw(names_in(found), np.random.default_rng(2), move=""))
        return sympy.Integer(round(value)) if same(value, round(value)) else sympy.Float(value)
    return found


def _limits(expression: Any, etas: list[int], points: Points) -> tuple[float, float] | None:
    """Between which numbers the etas move it, if finite and the same everywhere."""
    value = compiled(expression)
    names = names_in(expression)
    ends = []
    for far in (-300.0, 300.0):
        rng = np.random.default_rng(3)
        found = [
            value({**points.draw(names, rng), **{f"ETA({k})": far for k in etas}}) for _ in range(4)
        ]
        if not all(np.isfinite(x) and same(x, found[0], scale=1e-3) for x in found):
            return None
        ends.append(round(found[0], 12))
    low, high = sorted(ends)
    return (low, high) if low < high else None


def _factors(expected: Any, scale: Scale) -> tuple[Any, tuple[Any, ...]]:
    """The typical value, and the factors that depend on columns; their product is `expected`.

    Where thetas occur on both sides, or covariates inside a logit, the factor is everything and the
    typical value is 1 (between two limits: their middle).
    """
    import sympy

    parts: list[Any] = []
    derived: set[int] = set()
    for part in _split(expected):
        levelled = _levelled(part)
        if levelled is None:
            parts.append(part)
        else:
            parts += levelled
            derived |= thetas_in(levelled[0])
    typical = sympy.Mul(*(part for part in parts if not columns_in(part)))
    factors, number = _with_references([part for part in parts if columns_in(part)], typical)
    typical, factors = typical / number, _merged(factors)
    shared = thetas_in(typical) & {k for factor in factors for k in thetas_in(factor)}
    if isinstance(scale, LogitScale) and factors:
        middle = sympy.Float((scale.low + scale.high) / 2)
        return middle, (expected / middle,)
    if shared - derived:
        return sympy.Integer(1), (expected,)
    return typical, tuple(factors)


def _merged(factors: list[Any]) -> list[Any]:
    """Factors that share a theta, or their columns, as one, with one coefficient for each theta."""
    found: list[Any] = []
    for factor in factors:
        own = factor
        for other in [o for o in found if _together(o, own)]:
            found.remove(other)
            own = other * own
        found.append(own)
    return found


def _together(one: Any, other: Any) -> bool:
    return bool(thetas_in(one) & thetas_in(other)) or columns_in(one) == columns_in(other)


def levels_of(expression: Any, column: str) -> list[float]:
    """Levels that conditions compare a column with; none if it is used in another way."""
    import sympy
    from sympy.core.relational import Relational

    found: set[float] = set()
    for relation in expression.atoms(Relational):
        sides = (relation.lhs, relation.rhs)
        number = next((side for side in sides if side.is_number), None)
        equality = isinstance(relation, sympy.Eq | sympy.Ne)
        if not equality or symbol(column) not in sides or number is None:
            return []
        found.add(float(number))
    outside = expression.replace(lambda e: isinstance(e, Relational), lambda _: sympy.true)
    return [] if column in names_in(outside) else sorted(found)


def _levelled(part: Any) -> list[Any] | None:
    """A value for each level of a column as that of one level and a factor for the others."""
    import sympy

    columns = sorted(columns_in(part))
    if not part.has(sympy.Piecewise) or len(columns) != 1:
        return None
    levels = levels_of(part, columns[0])
    x = symbol(columns[0])
    values = {level: part.xreplace({x: _number(level)}) for level in levels}
    other = part.xreplace({x: sympy.Float(OTHER_LEVEL)})
    reference = other if other != 0 else next(iter(values.values()), sympy.Integer(0))
    if not levels or not thetas_in(reference) or columns_in(reference):
        return None
    if any(value == 1 for value in values.values()):
        return None  # a factor already
    ratios = [
        (sympy.simplify(value / reference), sympy.Eq(x, _number(level)))
        for level, value in values.items()
    ]
    last = sympy.Integer(0) if other == 0 else sympy.Integer(1)
    return [reference, sympy.Piecewise(*ratios, (last, True))]


def _split(expression: Any) -> Iterable[Any]:
    """Factors of a product; of the exponential of a sum, the exponentials of its terms."""
    import sympy

    if expression.is_Mul:
        for part in expression.args:
            yield from _split(part)
    elif isinstance(expression, sympy.exp) and expression.args[0].is_Add:
        for term in expression.args[0].args:
            yield from _split(sympy.exp(term))
    elif isinstance(expression, sympy.exp):
        yield _without_log(expression)
    elif expression.is_Pow and expression.exp.is_number and (
        expression.base.is_Mul or isinstance(expression.base, sympy.exp)
    ):  # fmt: skip
        for part in _split(expression.base):
            yield part**expression.exp
    else:
        yield expression


def _without_log(expression: Any) -> Any:
    """exp(b log x) as x**b."""
    import sympy

    logs = [part for part in sympy.Mul.make_args(expression.args[0]) if part.func is sympy.log]
    if len(logs) != 1:
        return expression
    return logs[0].args[0] ** (expression.args[0] / logs[0])


def _with_references(factors: list[Any], typical: Any) -> tuple[list[Any], Any]:
    """Factors with a number of the typical value taken as the reference of a power, if it is one.

    SymPy turns (WT/70)**1 into a number times WT. The number that was taken comes second.
    """
    import sympy

    number = typical.as_coeff_Mul()[0] if typical != 0 else sympy.Integer(1)
    powers = [f for f in factors if f.as_base_exp()[0].is_Symbol and f.as_base_exp()[1].is_number]
    if number == 1 or len(powers) != 1 or number < 0:
        return factors, sympy.Integer(1)
    base, exponent = powers[0].as_base_exp()
    reference = float(number) ** (-1 / float(exponent))
    nice = float(f"{reference:.6g}")
    if not same(reference, nice):
        return factors, sympy.Integer(1)
    whole = ratio_of(base, nice) ** exponent
    return [whole if factor is powers[0] else factor for factor in factors], number

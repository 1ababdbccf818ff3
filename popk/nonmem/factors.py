"""Factors that depend on covariates, as popk's covariate effects."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from popk.nonmem.evaluation import names_in, symbol
from popk.nonmem.individual import OTHER_LEVEL, columns_in, levels_of, thetas_in
from popk.nonmem.points import Points, compiled, constant, same
from popk.nonmem.priors import Estimates
from popk.nonmem.ratio import ratio_parts, written_out
from popk.nonmem.refusal import NonmemError
from popk.statistics import (
    CovariateEffect,
    CustomEffect,
    Exponential,
    Fixed,
    Fold,
    Folds,
    LinearEffect,
    Power,
)
from popk.structure.functions import exp, log, power, where_positive

__all__ = ["effect_of"]


def effect_of(name: str, factor: Any, estimates: Estimates, points: Points) -> CovariateEffect:
    """The covariate effect on a parameter that a factor is.

    Parameters
    ----------
    name
        The parameter.
    factor
        An expression of thetas and columns.
    estimates, points
        For priors, and to compare expressions.

    Raises
    ------
    NonmemError
        When it is a function that popk has no equations for.
    """
    columns = sorted(columns_in(factor))
    if len(columns) == 1:
        for known in (_power, _exponential, _fold, _folds, _linear):
            effect = known(name, columns[0], factor, (estimates, points))
            if effect is not None:
                return effect
    return _custom(name, columns, factor, estimates)


type _Setting = tuple[Estimates, Points]


def _power(name: str, column: str, factor: Any, setting: _Setting) -> CovariateEffect | None:
    base, exponent = factor.as_base_exp()
    if columns_in(exponent) or thetas_in(base):
        return None
    reference: float
    if (parts := ratio_parts(base)) is not None and parts[0].is_Symbol:
        reference = parts[1]
    else:
        number, rest = base.as_coeff_Mul()
        if not (rest.is_Symbol and number > 0):
            return None
        reference = float(1 / number)
    estimates, _ = setting
    return Power(name, column, reference, estimates.real(exponent))


def _exponential(name: str, column: str, factor: Any, setting: _Setting) -> CovariateEffect | None:
    import sympy

    if not isinstance(factor, sympy.exp) or factor.has(sympy.Piecewise):
        return None
    estimates, points = setting
    found = _straight(factor.args[0], column, points)
    if found is None:
        return None
    slope, start = found
    reference = sympy.simplify(-start / slope)
    if not constant(reference, points, "thetas"):
        return None
    return Exponential(name, column, estimates.real(slope), estimates.value(reference))


def _linear(name: str, column: str, factor: Any, setting: _Setting) -> CovariateEffect | None:
    import sympy

    if factor.has(sympy.Piecewise):
        return None
    estimates, points = setting
    found = _straight(factor, column, points)
    if found is None:
        return None
    slope, start = found
    reference = sympy.simplify((1 - start) / slope)
    if not constant(reference, points, "thetas"):
        return None
    return LinearEffect(name, column, estimates.real(slope), estimates.value(reference))


def _straight(expression: Any, column: str, points: Points) -> tuple[Any, Any] | None:
    """Slope and value at 0 of an expression that is a straight line in a column."""
    import sympy

    x = symbol(column)
    plain = written_out(expression)
    slope = sympy.simplify(sympy.diff(plain, x))
    if column in names_in(slope) or slope == 0:
        return None
    return slope, plain.xreplace({x: sympy.Integer(0)})


def _fold(name: str, column: str, factor: Any, setting: _Setting) -> CovariateEffect | None:
    """Theta ** column."""
    base, exponent = factor.as_base_exp()
    estimates, _ = setting
    if exponent != symbol(column) or columns_in(base) or not thetas_in(base):
        return None
    if estimates.value(base) <= 0:
        return None
    return Fold(name, column, estimates.positive(base))


def _folds(name: str, column: str, factor: Any, setting: _Setting) -> CovariateEffect | None:
    """A factor for each level that conditions name; one level has the factor 1."""
    import sympy

    estimates, _ = setting
    levels = levels_of(factor, column)
    if not levels:
        return None
    x = symbol(column)
    # The value of all other levels: that of one which no condition names.
    otherwise = factor.xreplace({x: sympy.Float(OTHER_LEVEL)})
    values = {level: factor.xreplace({x: _exact(level)}) for level in levels}
    if columns_in(otherwise) or any(columns_in(value) for value in values.values()):
        return None
    reference = next((level for level, value in values.items() if value == 1), None)
    if reference is None:
        if otherwise != 1 or (other := _other_level(levels)) is None:
            return None
        reference = other
    elif otherwise not in (0, 1) and (other := _other_level(levels)) is not None:
        values[other] = otherwise
    factors = {}
    for level, value in values.items():
        if level == reference:
            continue
        if not estimates.value(value) > 0:
            return None
        factors[level] = estimates.positive(value)
    if not factors:
        return None
    return Folds(name, column, factors=factors, reference=reference)


def _exact(level: float) -> Any:
    import sympy

    return sympy.Integer(int(level)) if level.is_integer() else sympy.Float(level)


def _other_level(levels: list[float]) -> float | None:
    """The level that conditions leave to ELSE, by how columns are coded: from 0 or from 1."""
    if 0.0 not in levels and 1.0 in levels:
        return 0.0
    if levels == [0.0]:
        return 1.0
    return 1.0 if min(levels) == 2.0 else None


def _custom(name: str, columns: list[str], factor: Any, estimates: Estimates) -> CovariateEffect:
    plain = written_out(factor)
    numbers = sorted(thetas_in(plain))
    given = {f"theta_{k}": estimates.coefficient(k) for k in numbers}
    fixed = {} if given else {"one": Fixed(1.0)}

    def computed(x: Any, b: Any) -> Any:
        known: dict[str, Any] = {column: getattr(x, column) for column in columns}
        known |= {f"THETA({k})": getattr(b, f"theta_{k}") for k in numbers}
        found = _converted(plain, known)
        return found if given else found * b.one

    return CustomEffect(name, columns, coefficients=given or fixed, factor=computed)


def _converted(expression: Any, known: Mapping[str, Any]) -> Any:
    """An expression of SymPy in the functions of popk's equations."""
    import sympy

    def down(part: Any) -> Any:
        return _converted(part, known)

    if expression.is_Symbol:
        return known[expression.name]
    if expression.is_number:
        return float(expression)
    if expression.is_Add or expression.is_Mul:
        first, *rest = map(down, expression.args)
        for other in rest:
            first = first + other if expression.is_Add else first * other
        return first
    if expression.is_Pow:
        return power(down(expression.base), down(expression.exp))
    if isinstance(expression, sympy.exp):
        return exp(down(expression.args[0]))
    if expression.func is sympy.log:
        return log(down(expression.args[0]))
    if expression.func is sympy.Abs:
        inner = down(expression.args[0])
        return where_positive(inner, inner, -inner)
    if isinstance(expression, sympy.Piecewise):
        found: Any = 0.0
        for value, condition in reversed(expression.args):
            found = _chosen(condition, down(value), found, down)
        return found
    raise NonmemError(
        [f"the function {expression.func.__name__} in {expression} is none that popk's equations "
         "have (+ - * / **, exp, log, sqrt, conditions). Write it with those."]
    )  # fmt: skip


def _chosen(condition: Any, yes: Any, no: Any, down: Callable[[Any], Any]) -> Any:
    """``yes`` where a condition holds; equality means to within a half, as of codes."""
    import sympy

    if condition in (sympy.true, sympy.false):
        return yes if condition == sympy.true else no
    if isinstance(condition, sympy.Not):
        return _chosen(condition.args[0], no, yes, down)
    if isinstance(condition, sympy.And):
        for part in condition.args:
            yes = _chosen(part, yes, no, down)
        return yes
    if isinstance(condition, sympy.Or):
        for part in condition.args:
            no = _chosen(part, yes, no, down)
        return no
    difference = down(condition.lhs) - down(condition.rhs)
    if isinstance(condition, sympy.Ne | sympy.GreaterThan | sympy.LessThan):
        yes, no = no, yes  # of the condition's contrary
    if isinstance(condition, sympy.Eq | sympy.Ne):
        return where_positive(0.25 - difference * difference, yes, no)
    above = isinstance(condition, sympy.StrictGreaterThan | sympy.LessThan)
    return where_positive(difference if above else -difference, yes, no)


def differs(effect: CovariateEffect, factor: Any, estimates: Estimates, points: Points) -> bool:
    """Whether an effect at the estimates is another function than the factor it stands for."""
    from popk.statistics import NUMPY

    rng = np.random.default_rng(5)
    value = compiled(factor)
    coefficients = {c.name: c.prior.median for c in effect.coefficients}  # type: ignore[union-attr]
    for _ in range(8):
        point = points.draw(columns_in(factor), rng)
        wanted = value({**estimates.values, **point})
        covariates = {name: np.array([x]) for name, x in point.items()}
        if any(effect.fault(name, x) for name, x in point.items()) or not wanted > 0:
            continue
        with np.errstate(all="ignore"):
            found = float(np.exp(effect.log_factor(covariates, coefficients, NUMPY))[0])
        if not same(found, wanted):
            return True
    return False

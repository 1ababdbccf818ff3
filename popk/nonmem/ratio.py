"""A column over its reference, which SymPy would otherwise turn into a number times the column."""

from __future__ import annotations

from functools import cache
from typing import Any

__all__ = ["power_of", "ratio_of", "ratio_parts", "written_out"]


@cache
def _function() -> Any:
    import sympy

    class Ratio(sympy.Function):  # type: ignore[misc, unused-ignore]
        """x over a reference."""

        nargs = 2

    return Ratio


def ratio_of(x: Any, reference: float) -> Any:
    """The quotient of x and its reference, kept as it is."""
    import sympy

    whole = float(reference).is_integer()
    return _function()(x, sympy.Integer(int(reference)) if whole else sympy.Float(reference))


def ratio_parts(expression: Any) -> tuple[Any, float] | None:
    """What is over which reference; None where the expression is none."""
    if expression.func is not _function():
        return None
    x, reference = expression.args
    return x, float(reference)


def power_of(base: Any, exponent: Any) -> Any:
    """A power of base, with the reference of a column kept."""
    import sympy

    number, rest = base.as_coeff_Mul()
    if exponent.is_number and not exponent.is_Integer and rest.is_Symbol and 0 < number != 1:
        return sympy.Pow(_function()(rest, 1 / number), exponent)
    return sympy.Pow(base, exponent)


def written_out(expression: Any) -> Any:
    """The expression with ratios as quotients."""
    return expression.replace(_function(), lambda x, reference: x / reference)

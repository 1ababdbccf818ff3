"""Functions for equations: they work on numbers, arrays, vectors of lanes and dual numbers."""

from __future__ import annotations

from numbers import Real
from typing import Any

import numpy as np

__all__ = ["exp", "larger", "log", "power", "sqrt", "where_positive"]


def exp(x: Any) -> Any:
    """The exponential of x."""
    return x.exp() if hasattr(x, "exp") else _namespace(x).exp(x)


def log(x: Any) -> Any:
    """The natural logarithm of x > 0."""
    return x.log() if hasattr(x, "log") else _namespace(x).log(x)


def sqrt(x: Any) -> Any:
    """The square root of x >= 0."""
    return x.sqrt() if hasattr(x, "sqrt") else _namespace(x).sqrt(x)


def power(x: Any, exponent: Any) -> Any:
    """``x ** exponent``, which has a value for every x.

    A whole exponent makes products of x by itself, whatever the sign of x: ``power(-3, 2)`` is 9,
    ``power(x, -1)`` is 1/x and ``power(x, 0)`` is 1. Of any other exponent the power is that of
    x > 0, and 0 at x <= 0, where there is none.
    """
    whole = whole_number(exponent)
    if whole is not None:
        return repeated_product(x, whole)
    if hasattr(x, "power"):
        return x.power(exponent)
    if hasattr(exponent, "raised_from"):
        return exponent.raised_from(x)
    xp = _namespace(x, exponent)
    # Numbers may be complex, see `where_positive`.
    above, below = x.real > 0.0, x.real < 0.0
    raised = xp.where(above, x, xp.where(below, -x, 1.0)) ** exponent
    is_whole = exponent == xp.floor(exponent.real)
    sign = xp.where(exponent.real % 2.0 == 1.0, -1.0, 1.0)
    at_zero = xp.where(exponent.real > 0.0, 0.0, xp.where(exponent.real < 0.0, np.inf, 1.0))
    products = xp.where(is_whole, xp.where(below, sign * raised, at_zero), 0.0)
    return xp.where(above, raised, products)


def whole_number(exponent: Any) -> int | None:
    """The integer that a plain number is; None for anything else."""
    if isinstance(exponent, Real) and float(exponent).is_integer():
        return int(float(exponent))
    return None


def repeated_product(x: Any, factors: int) -> Any:
    """Product of so many x; its inverse for a negative number, and 1, of the kind of x, for 0."""
    if factors == 0:
        return where_positive(x, 1.0, 1.0)
    if factors < 0:
        return 1.0 / repeated_product(x, -factors)
    if factors == 1:
        return x
    half = repeated_product(x, factors // 2)
    square = half * half
    return square * x if factors % 2 else square


def where_positive(condition: Any, yes: Any, no: Any) -> Any:
    """``yes`` where the condition is above zero, ``no`` elsewhere."""
    for x in (condition, yes, no):
        if hasattr(x, "where_positive"):
            return x.where_positive(condition, yes, no)
    # Complex numbers come from derivatives by complex steps.
    return _namespace(condition, yes, no).where(condition.real > 0.0, yes, no)


def larger(x: Any, y: Any) -> Any:
    """The larger of the two."""
    return where_positive(x - y, x, y)


def _namespace(*values: Any) -> Any:
    """The array library that the values belong to."""
    for value in values:
        if hasattr(value, "__array_namespace__") and not isinstance(value, np.generic):
            return value.__array_namespace__()
    return np

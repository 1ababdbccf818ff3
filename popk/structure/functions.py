"""Functions for equations: they work on numbers, arrays, vectors of lanes and dual numbers."""

from __future__ import annotations

from typing import Any

import numpy as np


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
    """``x ** exponent`` for x > 0, and 0 at x <= 0."""
    if hasattr(x, "power"):
        return x.power(exponent)
    if hasattr(exponent, "raised_from"):
        return exponent.raised_from(x)
    xp = _namespace(x, exponent)
    return xp.where(x > 0.0, xp.where(x > 0.0, x, 1.0) ** exponent, 0.0)


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

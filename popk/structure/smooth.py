"""Smooth forms of what would otherwise need a branch on a value."""

from __future__ import annotations

from typing import Any

from popk.structure.functions import exp, log, sqrt, where_positive

__all__ = ["hill", "positive"]


def positive(x: Any) -> Any:
    """The positive part of x, smooth, and above zero everywhere.

    x is a ratio to its own scale (1 is large): within 1e-11 of zero the corner is rounded, and the
    value never falls below 1e-15, so that its logarithm exists.
    """
    return (x + sqrt(x * x + 1e-24)) / 2.0 + 1e-15


def hill(x: Any, exponent: Any) -> Any:
    """``x**exponent / (1 + x**exponent)`` for a ratio x, and 0 for x <= 0 (exponent > 0).

    Neither overflows for large x nor divides by zero for small x; finite, as are its derivatives.
    """
    u = exponent * log(positive(x))
    small = exp(where_positive(u, -u, u))
    return where_positive(u, 1.0, small) / (1.0 + small)

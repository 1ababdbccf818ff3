"""Equations with saturable elimination, written for one subject.

Each takes the amounts in the compartments and the parameters in the structure's order, and returns
da/dt without the infusions. Elimination acts on the central concentration c:
CL c + VMAX c / (KM + c).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def one_compartment(a: Sequence[Any], theta: Sequence[Any]) -> tuple[Any, ...]:
    """Parameters CL, V, VMAX, KM."""
    cl, v, vmax, km = theta
    c = a[0] / v
    return (-(cl + vmax / (km + c)) * c,)


def two_compartment(a: Sequence[Any], theta: Sequence[Any]) -> tuple[Any, ...]:
    """Parameters CL, V1, Q, V2, VMAX, KM."""
    cl, v1, q, v2, vmax, km = theta
    c = a[0] / v1
    exchange = q * (c - a[1] / v2)
    return (-(cl + vmax / (km + c)) * c - exchange, exchange)

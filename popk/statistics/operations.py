"""The few functions that the statistical model needs, for NumPy arrays or for PyTensor graphs.

Written once against these, the model is the same in the sampler, in simulation and in individual
posteriors.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from scipy.special import expit, gammaln, log_ndtr, stdtr


@dataclass(frozen=True, slots=True)
class Operations:
    """Elementwise functions.

    ``log_normal_cdf`` takes z, ``log_t_cdf`` z and the degrees of freedom; their derivatives are
    finite wherever the value is.
    """

    exp: Callable[[Any], Any]
    log: Callable[[Any], Any]
    sqrt: Callable[[Any], Any]
    where: Callable[[Any, Any, Any], Any]
    log_normal_cdf: Callable[[Any], Any]
    logistic: Callable[[Any], Any]
    softplus: Callable[[Any], Any]
    """log(1 + exp(x))"""
    expm1: Callable[[Any], Any]
    log1p: Callable[[Any], Any]
    log_gamma: Callable[[Any], Any]
    log_t_cdf: Callable[[Any, Any], Any]
    equal: Callable[[Any, Any], Any]
    positions: Callable[[Any], Any]
    """0, 1, 2 … along a vector."""
    all_zero: Callable[[Any], bool]
    """Whether every element is known to be zero; of a symbol it is not."""


def _log_t_cdf(z: Any, freedom: Any) -> Any:
    tail = stdtr(freedom, -np.abs(z))
    return np.where(np.less(z, 0), np.log(tail), np.log1p(-tail))


def _where(condition: Any, chosen: Any, other: Any) -> Any:
    # Mostly nothing is to be replaced, and copying large arrays is what takes the time.
    if np.shape(condition) == np.shape(chosen) and np.all(condition):
        return chosen
    return np.where(condition, chosen, other)


NUMPY = Operations(
    exp=np.exp,
    log=np.log,
    sqrt=np.sqrt,
    where=_where,
    log_normal_cdf=log_ndtr,
    logistic=expit,
    softplus=lambda x: np.logaddexp(0.0, x),
    expm1=np.expm1,
    log1p=np.log1p,
    log_gamma=gammaln,
    log_t_cdf=_log_t_cdf,
    equal=np.equal,
    positions=lambda vector: np.arange(np.shape(vector)[0]),
    all_zero=lambda vector: not np.any(vector),
)


@cache
def pytensor_operations() -> Operations:
    """The same for symbolic variables (imported late: PyTensor takes seconds)."""
    pt = _tensor()
    return Operations(
        exp=pt.exp,
        log=pt.log,
        sqrt=pt.sqrt,
        where=pt.where,
        log_normal_cdf=_symbolic_log_normal_cdf,
        logistic=pt.sigmoid,
        softplus=pt.softplus,
        expm1=pt.expm1,
        log1p=pt.log1p,
        log_gamma=pt.gammaln,
        log_t_cdf=_symbolic_log_t_cdf,
        equal=pt.eq,
        positions=lambda vector: pt.arange(pt.shape(vector)[0]),
        all_zero=lambda vector: False,
    )


def _tensor() -> Any:
    import pytensor.tensor as pt

    return pt  # without the type hints that it has here and there


def _constant() -> Any:
    """A function that hides a variable from derivatives."""
    from pytensor import gradient

    return getattr(gradient, "disconnected_grad")  # noqa: B009 - it has no type hints


def _symbolic_log_normal_cdf(z: Any) -> Any:
    """Both branches are evaluated everywhere, so each is given only what it can bear."""
    pt = _tensor()
    root = math.sqrt(2.0)
    low = pt.where(z < -1.0, z, -1.0)
    high = pt.where(z < -1.0, -1.0, z)
    tail = pt.log(0.5 * pt.erfcx(-low / root)) - 0.5 * low * low
    return pt.where(z < -1.0, tail, pt.log1p(-0.5 * pt.erfc(high / root)))


def _symbolic_log_t_cdf(z: Any, freedom: Any) -> Any:
    """By the incomplete beta function, whose derivative by its argument is singular at z = 0.

    So its argument is held constant, away from zero, and the slope (density over probability) is
    written out; it is that of the value.
    """
    pt, constant = _tensor(), _constant()
    held = constant(pt.where(pt.abs(z) < 1e-5, 1e-5, z))
    tail = 0.5 * pt.betainc(0.5 * freedom, 0.5, freedom / (freedom + held * held))
    value = pt.where(held < 0, pt.log(tail), pt.log1p(-tail))
    half = 0.5 * (freedom + 1.0)
    log_density = (
        pt.gammaln(half)
        - pt.gammaln(0.5 * freedom)
        - 0.5 * pt.log(math.pi * freedom)
        - half * pt.log1p(held * held / freedom)
    )
    return value + (z - held) * constant(pt.exp(log_density - value))

"""The sums over points and components that mixtures of t distributions are made of, compiled."""

from __future__ import annotations

import math
from typing import Any

from numba import njit

__all__ = ["expectation", "log_parts"]


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def log_parts(
    x: Any, mean: Any, inverse: Any, constant: Any, freedom: float, found: Any
) -> None:  # fmt: skip
    """Log of weight times density (S, K) at points (S, d), into ``found``.

    Parameters
    ----------
    x
        Points (S, d).
    mean, inverse
        Of the components: means (K, d) and the inverses (K, d, d) of the scales' Cholesky factors.
    constant
        Log of the weight and of the density at the mean (K).
    freedom
        Degrees of freedom.
    """
    size, d = x.shape
    for s in range(size):
        for k in range(len(mean)):
            distance = _distance(x, s, mean, inverse, k)
            found[s, k] = constant[k] - 0.5 * (freedom + d) * math.log1p(distance / freedom)


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _distance(x: Any, s: int, mean: Any, inverse: Any, k: int) -> float:
    total = 0.0
    for i in range(x.shape[1]):
        value = 0.0
        for j in range(i + 1):
            value += inverse[k, i, j] * (x[s, j] - mean[k, j])
        total += value * value
    return total


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def expectation(  # noqa: PLR0913, PLR0917
    x: Any, weight: Any, mean: Any, inverse: Any, constant: Any, freedom: float, total: Any,
    scaled: Any, first: Any, second: Any,
) -> None:  # fmt: skip
    """A step of expectation maximisation, up to the division.

    Adds, over weighted points, each component's share to ``total`` (K); and with the weight that
    its distance leaves a point, to ``scaled`` (K), ``first`` (K, d) and ``second`` (K, d, d), the
    moments about the component's present mean.
    """
    size, d = x.shape
    components = len(mean)
    log_part, pull = [0.0] * components, [0.0] * components
    for s in range(size):
        if weight[s] == 0.0:
            continue
        highest = -math.inf
        for k in range(components):
            distance = _distance(x, s, mean, inverse, k)
            log_part[k] = constant[k] - 0.5 * (freedom + d) * math.log1p(distance / freedom)
            pull[k] = (freedom + d) / (freedom + distance)
            highest = max(highest, log_part[k])
        whole = 0.0
        for k in range(components):
            log_part[k] = math.exp(log_part[k] - highest)
            whole += log_part[k]
        for k in range(components):
            share = weight[s] * log_part[k] / whole
            total[k] += share
            own = share * pull[k]
            scaled[k] += own
            for i in range(d):
                away = own * (x[s, i] - mean[k, i])
                first[k, i] += away
                for j in range(i + 1):
                    second[k, i, j] += away * (x[s, j] - mean[k, j])

"""Polynomials of several inputs at many points, compiled."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

__all__ = ["evaluated", "evaluated_with_slopes"]

_BLOCK = 64  # points whose products stay in the nearest cache


@njit(cache=True, nogil=True, error_model="numpy")
def evaluated(x: Any, without: Any, last: Any, coefficients: Any) -> Any:
    """Values (S, n_outputs) of polynomials at inputs x (D, S).

    Term t is term ``without[t]``, which stands before it, times input ``last[t]``; the first is 1.
    ``coefficients`` is (n_terms, n_outputs).
    """
    size, n_terms, n_outputs = x.shape[1], len(last), coefficients.shape[1]
    found = np.empty((size, n_outputs))
    product = np.empty((n_terms, _BLOCK))
    total = np.empty((n_outputs, _BLOCK))
    for start in range(0, size, _BLOCK):
        n = min(_BLOCK, size - start)
        product[0, :] = 1.0
        for o in range(n_outputs):
            total[o, :] = coefficients[0, o]
        for t in range(1, n_terms):
            before, own, given = product[without[t]], product[t], x[last[t]]
            for s in range(n):
                own[s] = before[s] * given[start + s]
            for o in range(n_outputs):
                factor, sums = coefficients[t, o], total[o]
                for s in range(n):
                    sums[s] += factor * own[s]
        for o in range(n_outputs):
            for s in range(n):
                found[start + s, o] = total[o, s]
    return found


@njit(cache=True, nogil=True, error_model="numpy")
def evaluated_with_slopes(
    x: Any, without: Any, last: Any, coefficients: Any, by: Any, of: Any, factors: Any
) -> Any:
    """As `evaluated`, and derivatives (S, n_outputs, D).

    Part p of the derivative by input ``by[p]`` is term ``of[p]`` with ``factors`` (n_parts,
    n_outputs).
    """
    size, n_terms, n_outputs = x.shape[1], len(last), coefficients.shape[1]
    found = np.empty((size, n_outputs))
    slopes = np.empty((size, n_outputs, len(x)))
    product = np.empty((n_terms, _BLOCK))
    total = np.empty((n_outputs, _BLOCK))
    slope = np.empty((len(x), n_outputs, _BLOCK))
    for start in range(0, size, _BLOCK):
        n = min(_BLOCK, size - start)
        product[0, :] = 1.0
        slope[:] = 0.0
        for o in range(n_outputs):
            total[o, :] = coefficients[0, o]
        for t in range(1, n_terms):
            before, own, given = product[without[t]], product[t], x[last[t]]
            for s in range(n):
                own[s] = before[s] * given[start + s]
            for o in range(n_outputs):
                factor, sums = coefficients[t, o], total[o]
                for s in range(n):
                    sums[s] += factor * own[s]
        for part in range(len(by)):
            own = product[of[part]]
            for o in range(n_outputs):
                factor, sums = factors[part, o], slope[by[part], o]
                for s in range(n):
                    sums[s] += factor * own[s]
        for o in range(n_outputs):
            for s in range(n):
                found[start + s, o] = total[o, s]
                for k in range(len(x)):
                    slopes[start + s, o, k] = slope[k, o, s]
    return found, slopes

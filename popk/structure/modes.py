r"""States of linear kinetics: what a dosing history is to one or two exponential modes.

With bolus and infused doses, a linear structure depends on the dosing history only through

.. math:: f(\lambda) = \int e^{-\lambda s} \, d\mu(s),

where :math:`\mu` holds the amount given a time :math:`s` ago. A *state* holds, for one mode of rate
:math:`\lambda`, the numbers :math:`f, -f'`; for two modes of rates
:math:`\lambda_1 \ge \lambda_2`, the divided differences of :math:`f` with each rate up to twice,
:math:`f_1, f_2, f_{12}, f_{11}, f_{22}, f_{112}, f_{122}, f_{1122}`, made positive by
:math:`(-1)^{order}`. They stay finite and distinct where the rates meet.

The history shifted by a time, an infusion and a run of equal doses are products of such functions.
Leibniz' rule for divided differences,

.. math:: (fg)[x_0..x_n] = \sum_k f[x_0..x_k] \, g[x_k..x_n],

multiplies their states, and because the functions are completely monotone every term is positive:
nothing cancels, however extreme the rates.

An infusion is :math:`(1 - e^{-\lambda T})/(\lambda T)`, a run of :math:`n` doses
:math:`(1 - e^{-n\lambda\tau})/(1 - e^{-\lambda\tau})`. Leibniz' rule solves for the states of these
quotients where the exponent is large enough; where it is not, a power series and repeated doubling
of the run take over.

Source: divided differences and Leibniz' rule, de Boor, Divided differences, Surveys in
Approximation Theory 1 (2005), 46-69.
"""

from __future__ import annotations

import math
from typing import Any

from popk.structure.jit import bind, njit

# (f1, f2, f12, f11, f22, f112, f122, f1122) for two modes, (f, -f') for one.
type State = tuple[float, ...]

# Below this exponent, closed forms of (1 - exp(-x))/x and its relatives cancel: series are used.
SMALL = 1.0
# A geometric series is taken as a quotient only if its terms decay by this exponent in all.
DECAYED = 0.25


# Compiled functions of states for one number of modes, bound below.
decay: Any = None
multiply: Any = None
add: Any = None


@njit
def exponential_differences(x: float) -> tuple[float, float, float, float, float]:
    """Divided differences of ``exp(-x)`` at 0 and ``x >= 0``, each node up to twice.

    Returns ``e[x], e[0,x], e[0,x,x], e[0,0,x], e[0,0,x,x]``, made positive.
    """
    last = math.exp(-x)
    if x >= SMALL:
        first = (1.0 - last) / x
        upper = (first - last) / x
        lower = (1.0 - first) / x
        return last, first, upper, lower, (lower - upper) / x
    # exp(-y) times the series in y^2 of sinh(y)/y and (y cosh(y) - sinh(y))/(2 y^3), y = x/2.
    middle, z = math.sqrt(last), 0.25 * x * x
    first = 1 / 362880 + z * (1 / 39916800 + z * (1 / 6227020800 + z * (1 / 1307674368000)))
    first = middle * (1.0 + z * (1 / 6 + z * (1 / 120 + z * (1 / 5040 + z * first))))
    both = 1 / 7983360 + z * (1 / 1037836800 + z * (1 / 186810624000))
    both = middle * (1 / 6 + z * (1 / 60 + z * (1 / 1680 + z * (1 / 90720 + z * both))))
    return last, first, 0.5 * (first - x * both), 0.5 * (first + x * both), both


def _repeat_by_doubling(rates: State, interval: float, count: int) -> State:
    """State of ``count`` unit doses ``interval`` apart, at the time of the last: sums only."""
    once = decay(rates, 0.0)
    step = decay(rates, interval)
    total: State = once
    length = 1
    bit = 1
    while 2 * bit <= count:
        bit *= 2
    while bit > 1:
        bit //= 2
        total = add(total, 1.0, multiply(total, decay(rates, interval * length)))
        length *= 2
        if count & bit:
            total = add(once, 1.0, multiply(total, step))
            length += 1
    return total


# --- One mode: states (f, -f') ---------------------------------------------------------------


@njit
def decay_one(rates: State, elapsed: float) -> State:
    """State of a unit dose, ``elapsed`` after it."""
    value = math.exp(-rates[0] * elapsed)
    return value, elapsed * value


@njit
def multiply_one(a: State, b: State) -> State:
    """State of a product of functions of the rate."""
    return a[0] * b[0], a[0] * b[1] + a[1] * b[0]


@njit
def add_one(a: State, amount: float, b: State) -> State:
    """State of ``a + amount * b``."""
    return a[0] + amount * b[0], a[1] + amount * b[1]


@njit
def infuse_one(rates: State, duration: float) -> State:
    """State of a unit dose at the end of its infusion over ``duration``."""
    _, first, upper, _, _ = exponential_differences(rates[0] * duration)
    return first, duration * upper


_double_one = bind(_repeat_by_doubling, decay=decay_one, multiply=multiply_one, add=add_one)


@njit
def repeat_one(rates: State, interval: float, count: int) -> State:
    """State of ``count >= 2`` unit doses ``interval`` apart, at the time of the last."""
    if count < 4 or rates[0] * interval * count < DECAYED:
        return _double_one(rates, interval, count)
    _, slope = decay_one(rates, interval)
    end_value, end_slope = decay_one(rates, interval * count)
    loss = -math.expm1(-rates[0] * interval)
    total = (1.0 - end_value) / loss
    return total, (total * slope - end_slope) / loss


# --- Two modes: states (f1, f2, f12, f11, f22, f112, f122, f1122) ----------------------------


@njit
def decay_two(rates: State, elapsed: float) -> State:
    """State of a unit dose, ``elapsed`` after it."""
    slow = math.exp(-rates[1] * elapsed)
    ratio, first, upper, lower, both = exponential_differences(rates[2] * elapsed)
    fast, once = slow * ratio, slow * elapsed
    twice = once * elapsed
    return (
        fast, slow, once * first, elapsed * fast, once,
        twice * upper, twice * lower, twice * elapsed * both,
    )  # fmt: skip


@njit
def multiply_two(a: State, b: State) -> State:
    """State of a product of functions of the rate, by Leibniz' rule."""
    return (
        a[0] * b[0],
        a[1] * b[1],
        a[0] * b[2] + a[2] * b[1],
        a[0] * b[3] + a[3] * b[0],
        a[1] * b[4] + a[4] * b[1],
        a[0] * b[5] + a[3] * b[2] + a[5] * b[1],
        a[0] * b[6] + a[2] * b[4] + a[6] * b[1],
        a[0] * b[7] + a[3] * b[6] + a[5] * b[4] + a[7] * b[1],
    )


@njit
def add_two(a: State, amount: float, b: State) -> State:
    """State of ``a + amount * b``."""
    return (
        a[0] + amount * b[0], a[1] + amount * b[1], a[2] + amount * b[2], a[3] + amount * b[3],
        a[4] + amount * b[4], a[5] + amount * b[5], a[6] + amount * b[6], a[7] + amount * b[7],
    )  # fmt: skip


@njit
def infuse_two(rates: State, duration: float) -> State:
    """State of a unit dose at the end of its infusion over ``duration``.

    A fast mode that decays little is expanded in its exponent; otherwise each difference follows
    from the one without a node at the fast rate, times the rate = that one - the decay's.
    """
    fast = rates[0] * duration
    if fast < SMALL:
        return _infuse_by_series(fast, rates[1] * duration, duration)
    e1, _, e12, e11, _, e112, e122, e1122 = decay_two(rates, duration)
    _, f2, upper, _, _ = exponential_differences(rates[1] * duration)
    f22 = duration * upper
    f1 = (1.0 - e1) / fast
    f12 = (duration * f2 - e12) / fast
    f11 = (duration * f1 - e11) / fast
    f112 = (duration * f12 - e112) / fast
    f122 = (duration * f22 - e122) / fast
    return f1, f2, f12, f11, f22, f112, f122, (duration * f122 - e1122) / fast


@njit
def _infuse_by_series(fast: float, slow: float, duration: float) -> State:
    """`infuse_two` for a small exponent ``fast >= slow`` of the fast mode.

    The divided differences of a power are the complete homogeneous polynomials of the nodes.
    """
    h1 = h2 = h12 = h11 = h22 = h112 = h122 = h1122 = 1.0
    f1 = f2 = f12 = f11 = f22 = f112 = f122 = f1122 = 0.0
    factor = 1.0
    for n in range(1, 30):
        c1 = factor / n
        c2 = c1 / (n + 1)
        c3 = c2 / (n + 2)
        c4 = c3 / (n + 3)
        f1, f2 = f1 + c1 * h1, f2 + c1 * h2
        f12, f11, f22 = f12 + c2 * h12, f11 + c2 * h11, f22 + c2 * h22
        f112, f122, f1122 = f112 + c3 * h112, f122 + c3 * h122, f1122 + c4 * h1122
        if abs(c1) * h11 < 1e-18:
            break
        factor = -factor / n
        h1, h2 = h1 * fast, h2 * slow
        h12, h11, h22 = h2 + fast * h12, h1 + fast * h11, h2 + slow * h22
        h112, h122 = h12 + fast * h112, h12 + slow * h122
        h1122 = h122 + fast * h1122
    once, twice = duration, duration * duration
    return (
        f1, f2, once * f12, once * f11, once * f22,
        twice * f112, twice * f122, twice * once * f1122,
    )  # fmt: skip


_double_two = bind(_repeat_by_doubling, decay=decay_two, multiply=multiply_two, add=add_two)


@njit
def repeat_two(rates: State, interval: float, count: int) -> State:
    """State of ``count >= 2`` unit doses ``interval`` apart, at the time of the last.

    The quotient of two states, solved from Leibniz' rule with a node at the fast rate last.
    """
    if count < 4 or rates[1] * interval * count < DECAYED:
        return _double_two(rates, interval, count)
    _, _, e12, e11, e22, e112, e122, e1122 = decay_two(rates, interval)
    n1, n2, n12, n11, n22, n112, n122, n1122 = decay_two(rates, interval * count)
    loss2 = -math.expm1(-rates[1] * interval)
    loss1 = loss2 + rates[2] * e12
    g1, g2 = (1.0 - n1) / loss1, (1.0 - n2) / loss2
    g11 = (g1 * e11 - n11) / loss1
    g22 = (g2 * e22 - n22) / loss2
    g12 = (g2 * e12 - n12) / loss1
    g112 = (g2 * e112 + g12 * e11 - n112) / loss1
    g122 = (g2 * e122 + g22 * e12 - n122) / loss1
    g1122 = (g2 * e1122 + g22 * e112 + g122 * e11 - n1122) / loss1
    return g1, g2, g12, g11, g22, g112, g122, g1122

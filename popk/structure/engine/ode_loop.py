"""What the driver does with lanes that an ODE solver advances, each by steps of its own."""

from __future__ import annotations

from typing import Any

import numpy as np

from popk.structure.engine.derivatives import fold
from popk.structure.engine.doses import MANYFOLD
from popk.structure.engine.equations import ABSOLUTE_TOLERANCE
from popk.structure.engine.lanes import (
    BUDGET,
    EVENT,
    FLOW,
    LAST,
    N_INTEGERS,
    N_REALS,
    NOW,
    ROWS,
    SCAN,
    STALE,
    STATUS,
    STEP,
    STEPS,
    TARGET,
    TASK,
    TURNS,
    slope_at,
)
from popk.structure.engine.plan import (
    DO_ACCEPT,
    DO_ACCEPT_MAPS,
    DO_ACCEPT_SENSITIVITIES,
    DO_ATTEMPT,
    DO_ATTEMPT_MAPS,
    DO_ATTEMPT_SENSITIVITIES,
    DO_REFRESH,
    DO_REFRESH_MAPS,
    DO_REFRESH_SENSITIVITIES,
    DO_RESOLVE,
    call,
)
from popk.structure.engine.schedule import (
    BOLUS,
    COMPARTMENT,
    COUNT,
    DURATION,
    KIND,
    N_CODES,
    RATE,
    SIZE,
    TIME,
)
from popk.structure.engine.vector import W

# Newton's iterations for a steady state; the change, relative to the largest amount, at which they
# end, and the one that is too large to be one.
MOST_TURNS, SETTLED, UNSETTLED = 60, 1e-10, 1e-4

# Of the driver, bound by `popk.structure.engine.compiled`.
empty: Any


def jumps(lanes: Any) -> None:
    """Only closed forms jump."""


def resolution(lanes: Any, w: int, low: int, high: int) -> None:
    """The absolute tolerance: a small part of the largest amount given at once."""
    plan, b, largest = lanes.plan, lanes.b, 1e-290
    for e in range(low, high):
        kind, size = lanes.codes[e * N_CODES + KIND], lanes.numbers[e * lanes.width + SIZE]
        if kind == BOLUS:
            largest = max(largest, size)
        elif kind == RATE and size > 0.0:
            largest = max(largest, size * lanes.numbers[e * lanes.width + DURATION])
    for i in range(plan.n):
        b[plan.floor + i * W + w] = ABSOLUTE_TOLERANCE * largest
    if lanes.parts[DO_RESOLVE] != 0:
        for v in range(W):
            b[plan.accepted + v] = 1.0 if v == w else 0.0
        call(lanes.parts, DO_RESOLVE, b)


def refreshed(lanes: Any, w: int, compartment: int, size: float, duration: float) -> None:
    """A rate changes: the step that fits the new one, and the rate of change of the amount."""
    plan, b = lanes.plan, lanes.b
    if size > 0.0:
        here = max(b[plan.a + compartment * W + w], 1e6 * b[plan.floor + compartment * W + w])
        step = lanes.reals[w * N_REALS + STEP]
        if size * min(step, duration) > MANYFOLD * here:
            lanes.reals[w * N_REALS + STEP] = here / size
    # The derivative by the parameters does not depend on a known rate.
    b[plan.k + compartment * W + w] += size


def first_step(lanes: Any, w: int, remaining: float) -> float:
    """A tenth of the shortest time in which an amount changes by itself (starting guess)."""
    plan, b = lanes.plan, lanes.b
    fastest = 0.0
    for i in range(plan.n):
        here = abs(b[plan.a + i * W + w]) + b[plan.floor + i * W + w] * 1e6
        fastest = max(fastest, abs(b[plan.k + i * W + w]) / here)
    return 0.1 / fastest if fastest > 0.0 else remaining


def advance(lanes: Any) -> None:
    """One attempted step of every waiting lane."""
    plan, b, integers, reals = lanes.plan, lanes.b, lanes.integers, lanes.reals
    stale = False
    for w in range(W):
        stale = stale or integers[w * N_INTEGERS + STALE] > 0
        integers[w * N_INTEGERS + STALE] = 0
    if stale:
        refresh(lanes)
    for w in range(W):
        b[plan.h + w] = 0.0
        if integers[w * N_INTEGERS + STATUS] == FLOW:
            place = w * N_REALS
            remaining = reals[place + TARGET] - reals[place + NOW]
            if reals[place + STEP] <= 0.0:
                reals[place + STEP] = first_step(lanes, w, remaining)
            step = reals[place + STEP]
            b[plan.h + w] = remaining if remaining < 1.1 * step else step
    call(lanes.parts, DO_ATTEMPT, b)
    accepted = 0
    for w in range(W):
        b[plan.accepted + w] = 0.0
        if integers[w * N_INTEGERS + STATUS] == FLOW:
            accepted += judge(lanes, w)
    if accepted > 0:
        if lanes.derivatives:
            call(lanes.parts, DO_ATTEMPT_SENSITIVITIES, b)
            call(lanes.parts, DO_ACCEPT_SENSITIVITIES, b)
            if lanes.maps:
                call(lanes.parts, DO_ATTEMPT_MAPS, b)
                call(lanes.parts, DO_ACCEPT_MAPS, b)
        call(lanes.parts, DO_ACCEPT, b)
        for w in range(W):
            b[plan.t + w] = reals[w * N_REALS + NOW]


def refresh(lanes: Any) -> None:
    """Rates of change at the start of the step, for all lanes."""
    call(lanes.parts, DO_REFRESH, lanes.b)
    if lanes.derivatives:
        call(lanes.parts, DO_REFRESH_SENSITIVITIES, lanes.b)
        if lanes.maps:
            call(lanes.parts, DO_REFRESH_MAPS, lanes.b)


def judge(lanes: Any, w: int) -> int:
    """Accept lane w's step (returns 1) or not (0), and choose the next."""
    plan, b, place, at = lanes.plan, lanes.b, w * N_INTEGERS, w * N_REALS
    integers, reals = lanes.integers, lanes.reals
    integers[place + STEPS] += 1
    h, error, now = b[plan.h + w], b[plan.error + w], reals[at + NOW]
    if not np.isfinite(error):
        error = 1e10
    factor = 5.0 if error < 1e-4 else min(5.0, max(0.2, 0.9 * error ** (-1.0 / plan.order)))
    if integers[place + STEPS] > integers[place + BUDGET]:
        give_up(lanes, w)
        return 0
    if error <= 1.0:
        b[plan.accepted + w] = 1.0
        # A step cut short by an event says nothing about the next.
        step = reals[at + STEP]
        reals[at + STEP] = h * factor if h >= step else max(step, h * factor)
        if h == reals[at + TARGET] - now:
            reals[at + NOW] = reals[at + TARGET]
            integers[place + STATUS] = SCAN
        else:
            reals[at + NOW] = now + h
        return 1
    reals[at + STEP] = h * factor
    if reals[at + STEP] < 1e-14 * max(1.0, abs(now)):
        give_up(lanes, w)
    return 0


def give_up(lanes: Any, w: int) -> None:
    """Leave a task that no reasonable number of steps solves; it is reported."""
    place = w * N_INTEGERS
    lanes.failed[lanes.integers[place + TASK]] = 1
    lanes.integers[place + EVENT] = lanes.integers[place + LAST]
    lanes.integers[place + STATUS] = SCAN


def begin_turn(lanes: Any, w: int, e: int) -> None:
    """Start a period whose start the end shall equal: the first guess is an empty body."""
    plan, b, place = lanes.plan, lanes.b, w * N_INTEGERS
    n = plan.n
    if lanes.integers[place + TURNS] == 0:
        adds = lanes.codes[e * N_CODES + COMPARTMENT] == 2  # SS 2 adds to what there is
        if adds:
            fold(lanes, w)
        for i in range(n):
            lanes.start[w * n + i] = 0.0
            lanes.kept[w * n + i] = b[plan.a + i * W + w] if adds else 0.0
            lanes.kept[(W + w) * n + i] = b[plan.r + i * W + w] if adds else 0.0
        first = slope_at(lanes, w, 0, 0, 0)
        after_amounts = slope_at(lanes, W, 0, 0, 0)
        for k in range(first, first + lanes.integers[place + ROWS] * n * plan.m_all):
            lanes.kept_old[k] = lanes.old[k] if adds else 0.0
            lanes.kept_old[after_amounts + k] = lanes.rates[k] if adds else 0.0
    empty(lanes, w)
    for i in range(n):
        b[plan.a + i * W + w] = lanes.start[w * n + i]
        for j in range(n):
            lanes.through[(w * n + i) * n + j] = 1.0 if i == j else 0.0
    now = lanes.numbers[e * lanes.width + TIME]
    lanes.reals[w * N_REALS + NOW] = b[plan.t + w] = now
    lanes.reals[w * N_REALS + STEP] = 0.0
    lanes.integers[place + STALE] = max(lanes.integers[place + STALE], 1)


def end_turn(lanes: Any, w: int, e: int) -> None:
    """Newton's step for the start of a period, or, once it is found, the steady state.

    The state after a period is a function g of that at its start, with derivative G (``through``).
    """
    plan, b, place = lanes.plan, lanes.b, w * N_INTEGERS
    n, left, change = plan.n, 4 * plan.n, 2 * plan.n  # in scratch
    fold(lanes, w)
    for i in range(n):
        lanes.scratch[change + i] = b[plan.a + i * W + w] - lanes.start[w * n + i]
        for j in range(n):
            own = 1.0 if i == j else 0.0
            lanes.scratch[left + i * n + j] = own - lanes.through[(w * n + i) * n + j]
    solve_linear(lanes.scratch, n, change)
    most = 0.0
    for i in range(n):
        lanes.start[w * n + i] += lanes.scratch[change + i]
        most = max(most, abs(lanes.scratch[change + i]) / comparable(lanes, w, i))
    lanes.integers[place + TURNS] += 1
    if not most <= SETTLED and lanes.integers[place + TURNS] < MOST_TURNS:
        lanes.integers[place + EVENT] = e - lanes.codes[e * N_CODES + COUNT]
    elif not most <= UNSETTLED:
        give_up(lanes, w)
    else:
        settle(lanes, w)


def comparable(lanes: Any, w: int, i: int) -> float:
    """The largest amount in the compartments that have the resolution of compartment i."""
    plan, b = lanes.plan, lanes.b
    largest = floor = b[plan.floor + i * W + w]
    for j in range(plan.n):
        if b[plan.floor + j * W + w] == floor:
            largest = max(largest, abs(b[plan.a + j * W + w]))
    return float(largest)


def settle(lanes: Any, w: int) -> None:
    """The steady state and its derivatives.

    A fixed point depends on a parameter by (1 - G)^-1 times the derivative of g at a start that is
    held.
    """
    plan, b, place = lanes.plan, lanes.b, w * N_INTEGERS
    n, column = plan.n, 2 * plan.n  # in scratch
    lanes.integers[place + TURNS] = 0
    for r in range(lanes.integers[place + ROWS]):
        for k in range(plan.m_all):
            for i in range(n):
                lanes.scratch[column + i] = lanes.old[slope_at(lanes, w, r, i, k)]
            solve_linear(lanes.scratch, n, column)
            for i in range(n):
                where = slope_at(lanes, w, r, i, k)
                lanes.old[where] = lanes.scratch[column + i] + lanes.kept_old[where]
                lanes.rates[where] = lanes.kept_old[slope_at(lanes, W, 0, 0, 0) + where]
    for i in range(n):
        b[plan.a + i * W + w] = lanes.start[w * n + i] + lanes.kept[w * n + i]
        b[plan.r + i * W + w] = lanes.kept[(W + w) * n + i]
    lanes.reals[w * N_REALS + STEP] = 0.0
    lanes.integers[place + STALE] = max(lanes.integers[place + STALE], 1)


def solve_linear(scratch: Any, n: int, right: int) -> None:
    """Solve a small linear system by elimination with pivoting.

    The matrix stands in ``scratch`` at row 4 and is kept; the right side at ``right`` becomes the
    solution; rows from 4 + n on are overwritten.
    """
    left = (4 + n) * n
    for i in range(n * n):
        scratch[left + i] = scratch[4 * n + i]
    for i in range(n):
        pivot = i
        for r in range(i + 1, n):
            if abs(scratch[left + r * n + i]) > abs(scratch[left + pivot * n + i]):
                pivot = r
        for c in range(n):
            kept = scratch[left + i * n + c]
            scratch[left + i * n + c] = scratch[left + pivot * n + c]
            scratch[left + pivot * n + c] = kept
        kept = scratch[right + i]
        scratch[right + i] = scratch[right + pivot]
        scratch[right + pivot] = kept
        for r in range(i + 1, n):
            factor = scratch[left + r * n + i] / scratch[left + i * n + i]
            for c in range(i, n):
                scratch[left + r * n + c] -= factor * scratch[left + i * n + c]
            scratch[right + r] -= factor * scratch[right + i]
    for i in range(n - 1, -1, -1):
        for c in range(i + 1, n):
            scratch[right + i] -= scratch[left + i * n + c] * scratch[right + c]
        scratch[right + i] /= scratch[left + i * n + i]

"""Boluses, and starts and ends of infusions, where more than an addition is to be done."""

from __future__ import annotations

from typing import Any

from popk.structure.engine.atoms import column_at
from popk.structure.engine.derivatives import fold, move_time
from popk.structure.engine.lanes import (
    BLOCK,
    N_INTEGERS,
    N_REALS,
    N_TASK,
    NOW,
    ROWS_OF_TASK,
    STALE,
    STEP,
    slope_at,
)
from popk.structure.engine.plan import DO_FIELD, call
from popk.structure.engine.schedule import (
    BY_F,
    COMPARTMENT,
    DURATION,
    N_CODES,
    PLACE,
    SIZE,
    TIME_LAG,
)
from popk.structure.engine.vector import W

# A dose that raises an amount by this factor within a step starts with a short step: the error
# estimate of a long one would not see saturation set in on the way.
MANYFOLD = 5.0

refreshed: Any  # bound by `popk.structure.engine.compiled`


def is_refused(lanes: Any, task: int) -> bool:
    """Whether a bioavailability above 1 leaves less than nothing for its complement."""
    block, rows = lanes.tasks[task * N_TASK + BLOCK], lanes.tasks[task * N_TASK + ROWS_OF_TASK]
    m_all = lanes.plan.m_all
    for c in range(lanes.plan.n):
        if lanes.columns[c] < -1:
            column = column_at(lanes.columns, c)
            for row in range(block, block + rows):
                if lanes.theta[row * m_all + column] > 1.0:
                    return True
    return False


def give_dose(lanes: Any, w: int, e: int) -> None:
    """A bolus."""
    plan, b, place = lanes.plan, lanes.b, w * N_INTEGERS
    c, size = lanes.codes[e * N_CODES + COMPARTMENT], lanes.numbers[e * lanes.width + SIZE]
    amount = plan.a + c * W + w
    lanes.integers[place + STALE] = max(lanes.integers[place + STALE], 1)
    if plan.exact == 0 and size > MANYFOLD * b[amount]:
        lanes.reals[w * N_REALS + STEP] = 0.0
    if plan.dynamic == 1 and lanes.maps:
        fold(lanes, w)
        row, column = lanes.codes[e * N_CODES + PLACE], column_at(lanes.columns, c)
        if column >= 0:
            lanes.old[slope_at(lanes, w, row, c, column)] += lanes.numbers[e * lanes.width + BY_F]
        if lanes.numbers[e * lanes.width + TIME_LAG] != 0.0:
            b[plan.t + w] = lanes.reals[w * N_REALS + NOW]
            call(lanes.parts, DO_FIELD, b)
            for i in range(plan.n):
                lanes.scratch[i] = b[plan.field + i * W + w]
            b[amount] += size
            call(lanes.parts, DO_FIELD, b)
            for i in range(plan.n):
                lanes.scratch[i] -= b[plan.field + i * W + w]
            move_time(lanes, w, e)
            return
    b[amount] += size


def change_rate(lanes: Any, w: int, e: int) -> None:
    """The start or the end of an infusion."""
    plan, b, place = lanes.plan, lanes.b, w * N_INTEGERS
    c, size = lanes.codes[e * N_CODES + COMPARTMENT], lanes.numbers[e * lanes.width + SIZE]
    refreshed(lanes, w, c, size, lanes.numbers[e * lanes.width + DURATION])
    if plan.dynamic == 1 and lanes.maps:
        fold(lanes, w)
        row = lanes.codes[e * N_CODES + PLACE]
        for k in range(3):
            column = column_at(lanes.columns, (0 if k == 0 else k + 1) * plan.n + c)
            if column >= 0:
                change = lanes.numbers[e * lanes.width + BY_F + k]
                lanes.rates[slope_at(lanes, w, row, c, column)] += change
        for i in range(plan.n):
            lanes.scratch[i] = -size if i == c else 0.0
        move_time(lanes, w, e)
        lanes.integers[place + STALE] = max(lanes.integers[place + STALE], 1)
    rate = b[plan.r + c * W + w] + size
    # What is left when the last infusion ends is rounding.
    b[plan.r + c * W + w] = 0.0 if abs(rate) < 1e-12 * abs(size) else rate

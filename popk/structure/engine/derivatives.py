"""Derivatives across segments: by several parameter rows, and by parameters of doses.

Since the segment's start the amounts are a function of those at its start, of the rates that run
all through it, and of the parameters in force; PHI, PSI and S are its derivatives. ``old`` holds
the derivatives of the amounts at the start by all rows, ``rates`` those of the running rates. An
atom whose time t depends on a parameter x jumps the derivatives by (f(before) - f(after)) dt/dx, f
being the rates of change (the saltation of the flow).
"""

from __future__ import annotations

from typing import Any

from popk.structure.engine.atoms import column_at
from popk.structure.engine.jit import njit
from popk.structure.engine.lanes import (
    ACTIVE,
    N_INTEGERS,
    N_TASK,
    ROWS,
    ROWS_OF_TASK,
    SLOPE,
    TASK,
    slope_at,
)
from popk.structure.engine.schedule import COMPARTMENT, N_CODES, PLACE, TIME_LAG
from popk.structure.engine.vector import W


@njit
def fold(lanes: Any, w: int) -> None:
    """Bring the derivatives by all rows to the present, and start a new segment there."""
    plan, b, column = lanes.plan, lanes.b, 3 * lanes.plan.n
    for r in range(lanes.integers[w * N_INTEGERS + ROWS]):
        for k in range(plan.m_all):
            for i in range(plan.n):
                total = 0.0
                for j in range(plan.n):
                    where = slope_at(lanes, w, r, j, k)
                    total += b[plan.phi + (i * plan.n + j) * W + w] * lanes.old[where]
                    total += b[plan.psi + (i * plan.n + j) * W + w] * lanes.rates[where]
                lanes.scratch[column + i] = total
            for i in range(plan.n):
                lanes.old[slope_at(lanes, w, r, i, k)] = lanes.scratch[column + i]
    active = lanes.integers[w * N_INTEGERS + ACTIVE]
    for i in range(plan.n):
        for k in range(plan.m):
            place = plan.s + (i * plan.m + k) * W + w
            lanes.old[slope_at(lanes, w, active, i, k)] += b[place]
            b[place] = 0.0
    if lanes.loops:
        through(lanes, w)
    for i in range(plan.n):
        for j in range(plan.n):
            b[plan.phi + (i * plan.n + j) * W + w] = 1.0 if i == j else 0.0
            b[plan.psi + (i * plan.n + j) * W + w] = 0.0


@njit
def through(lanes: Any, w: int) -> None:
    """The derivative over a period, with the segment that ends."""
    plan, column = lanes.plan, 3 * lanes.plan.n
    start = w * plan.n * plan.n
    for j in range(plan.n):
        for i in range(plan.n):
            total = 0.0
            for k in range(plan.n):
                by_amount = lanes.b[plan.phi + (i * plan.n + k) * W + w]
                total += by_amount * lanes.through[start + k * plan.n + j]
            lanes.scratch[column + i] = total
        for i in range(plan.n):
            lanes.through[start + i * plan.n + j] = lanes.scratch[column + i]


@njit
def move_time(lanes: Any, w: int, e: int) -> None:
    """Derivatives of an atom whose time depends on parameters.

    The first row of ``scratch`` holds the rates of change before the atom less those after it.
    """
    plan = lanes.plan
    row, c = lanes.codes[e * N_CODES + PLACE], lanes.codes[e * N_CODES + COMPARTMENT]
    for k in range(4):  # lag, F, D, R
        slope = lanes.numbers[e * lanes.width + TIME_LAG + k]
        column = column_at(lanes.columns, (1 if k == 0 else (0 if k == 1 else k)) * plan.n + c)
        if slope != 0.0 and column >= 0:
            for i in range(plan.n):
                lanes.old[slope_at(lanes, w, row, i, column)] += lanes.scratch[i] * slope


@njit
def write_slopes(lanes: Any, w: int, what: int, slot: int) -> None:
    """Write the gradient of what lane w observes by all parameter rows of its subject."""
    plan, b, place = lanes.plan, lanes.b, w * N_INTEGERS
    by_start, by_rate = 0, plan.n  # in scratch
    for j in range(plan.n):
        start = rate = 0.0
        for i in range(plan.n):
            slope = b[plan.out_a + (what * plan.n + i) * W + w]
            start += slope * b[plan.phi + (i * plan.n + j) * W + w]
            rate += slope * b[plan.psi + (i * plan.n + j) * W + w]
        lanes.scratch[by_start + j], lanes.scratch[by_rate + j] = start, rate
    task = lanes.integers[place + TASK]
    n_rows = lanes.tasks[task * N_TASK + ROWS_OF_TASK]
    where = lanes.tasks[task * N_TASK + SLOPE] + slot * n_rows
    for r in range(n_rows):
        for k in range(plan.m_all):
            total = 0.0
            for j in range(plan.n):
                at = slope_at(lanes, w, r, j, k)
                total += lanes.scratch[by_start + j] * lanes.old[at]
                total += lanes.scratch[by_rate + j] * lanes.rates[at]
            if r == lanes.integers[place + ACTIVE] and k < plan.m:
                total += b[plan.out_p + (what * plan.m + k) * W + w]
                for i in range(plan.n):
                    slope = b[plan.out_a + (what * plan.n + i) * W + w]
                    total += slope * b[plan.s + (i * plan.m + k) * W + w]
            lanes.gradient[(where + r) * plan.m_all + k] = total

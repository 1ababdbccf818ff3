"""What the driver does with lanes of linear structures; see `popk.structure.engine.exact`."""

from __future__ import annotations

from typing import Any

import numpy as np

from popk.structure.engine.atoms import column_at
from popk.structure.engine.derivatives import fold
from popk.structure.engine.lanes import (
    EVENT,
    FLOW,
    HOW,
    JUMPING,
    N_INTEGERS,
    N_REALS,
    NOW,
    SCAN,
    STALE,
    STATUS,
    TARGET,
    slope_at,
)
from popk.structure.engine.plan import (
    DO_BOLUSES_ONLY,
    DO_DOUBLE,
    DO_FLOW,
    DO_FLOW_INFUSING,
    DO_GRADIENT,
    DO_GRADIENT_INFUSING,
    DO_INFUSION_ONLY,
    DO_JUMP,
    DO_JUMP_BOLUSES,
    DO_JUMP_INFUSION,
    DO_JUMP_INFUSIONS,
    DO_JUMP_SUM,
    DO_MAPS,
    DO_SETUP,
    call,
)
from popk.structure.engine.schedule import (
    BY_F,
    COMPARTMENT,
    COUNT,
    DURATION,
    ENDLESS,
    INTERVAL,
    KIND,
    N_CODES,
    PLACE,
    SINCE,
    SIZE,
    TIME_F,
    TIME_LAG,
    WEIGH,
)
from popk.structure.engine.vector import W

# A run over which its slowest rate decays less than this is summed by doubling: the quotient of
# the geometric series would cancel.
DECAYED = 0.5
# How a jump is computed (HOW).
BOLUSES, ONE_INFUSION, INFUSIONS, GENERAL, SUMMED = range(1, 6)


def resolution(lanes: Any, w: int, low: int, high: int) -> None:
    """A closed form resolves every amount: FLOOR stays at 0."""


def refreshed(lanes: Any, w: int, compartment: int, size: float, duration: float) -> None:
    """Nothing is kept between exact steps."""


def begin_turn(lanes: Any, w: int, e: int) -> None:
    """Steady states are jumps."""


def end_turn(lanes: Any, w: int, e: int) -> None:
    """Steady states are jumps."""


def up_to_date(lanes: Any) -> None:
    """The spectra of lanes whose parameters changed."""
    stale = False
    for w in range(W):
        stale = stale or lanes.integers[w * N_INTEGERS + STALE] == 2
        lanes.integers[w * N_INTEGERS + STALE] = 0
    if stale:
        call(lanes.parts, DO_SETUP, lanes.b)


def advance(lanes: Any) -> None:
    """Advance every waiting lane to its target."""
    plan, b, integers, reals = lanes.plan, lanes.b, lanes.integers, lanes.reals
    up_to_date(lanes)
    for w in range(W):
        flows = integers[w * N_INTEGERS + STATUS] == FLOW
        apart = reals[w * N_REALS + TARGET] - reals[w * N_REALS + NOW]
        b[plan.h + w] = apart if flows else 0.0
    infusing = False
    for i in range(plan.n * W):
        infusing = infusing or b[plan.r + i] != 0.0
    if lanes.maps and lanes.derivatives:
        call(lanes.parts, DO_MAPS, b)
    elif lanes.derivatives:
        call(lanes.parts, DO_GRADIENT_INFUSING if infusing else DO_GRADIENT, b)
    else:
        call(lanes.parts, DO_FLOW_INFUSING if infusing else DO_FLOW, b)
    for w in range(W):
        if integers[w * N_INTEGERS + STATUS] == FLOW:
            now = reals[w * N_REALS + TARGET]
            reals[w * N_REALS + NOW] = b[plan.t + w] = now
            integers[w * N_INTEGERS + STATUS] = SCAN


def way_of(lanes: Any, w: int) -> int:
    """How the jump in the buffer is computed: the least that will do."""
    plan, b = lanes.plan, lanes.b
    doses, duration = b[plan.doses + w], b[plan.lasting + w]
    slowest = b[plan.rates + (plan.n_rates - 1) * W + w]
    if plan.ka >= 0:
        slowest = min(slowest, b[plan.p + plan.ka * W + w])
    if b[plan.ago + w] > 0.0 or not (np.isfinite(doses) and np.isfinite(duration)):
        return GENERAL
    if doses > 1.0 and slowest * b[plan.every + w] * doses < DECAYED:
        return SUMMED
    if duration == 0.0:
        return BOLUSES if doses > 1.0 else GENERAL
    return ONE_INFUSION if doses == 1.0 else INFUSIONS


def prepare_jump(lanes: Any, w: int) -> int:
    """Put the jump that lane w waits for (or none) into the buffer; returns its number of doses."""
    plan, b, place = lanes.plan, lanes.b, w * N_INTEGERS
    for i in range(plan.n):
        b[plan.to_jump + i * W + w] = 0.0
    b[plan.every + w], b[plan.doses + w] = 1.0, 2.0
    b[plan.lasting + w], b[plan.ago + w] = 1.0, 0.0
    lanes.integers[place + HOW] = 0
    if lanes.integers[place + STATUS] != JUMPING:
        return 0
    e = lanes.integers[place + EVENT]
    count = lanes.codes[e * N_CODES + COUNT]
    atom = e * lanes.width
    size = lanes.numbers[atom + SIZE]
    # Of nothing, what a unit would leave is the derivative by F.
    b[plan.to_jump + lanes.codes[e * N_CODES + COMPARTMENT] * W + w] = size if size else 1.0
    b[plan.every + w] = lanes.numbers[atom + INTERVAL] if count != 1 else 1.0
    b[plan.doses + w] = np.inf if count == ENDLESS else float(count)
    b[plan.lasting + w], b[plan.ago + w] = (
        lanes.numbers[atom + DURATION],
        lanes.numbers[atom + SINCE],
    )
    lanes.integers[place + HOW] = way_of(lanes, w)
    return int(count)


def jumps(lanes: Any) -> None:
    """Runs of doses and steady states of every waiting lane."""
    integers = lanes.integers
    up_to_date(lanes)
    most, ways = 0, 0
    for w in range(W):
        most = max(most, prepare_jump(lanes, w))
        ways |= 1 << integers[w * N_INTEGERS + HOW]
    for way in range(1, 6):
        if ways & (1 << way):
            find_jump(lanes, way, most)
            for w in range(W):
                if integers[w * N_INTEGERS + HOW] == way:
                    take_jump(lanes, w)


def find_jump(lanes: Any, way: int, most: int) -> None:
    """What the jumps in the buffer leave; the largest number of doses is only for sums."""
    b = lanes.b
    if way == BOLUSES:
        call(lanes.parts, DO_JUMP_BOLUSES if lanes.derivatives else DO_BOLUSES_ONLY, b)
    elif way == ONE_INFUSION:
        call(lanes.parts, DO_JUMP_INFUSION if lanes.derivatives else DO_INFUSION_ONLY, b)
    elif way == INFUSIONS:
        call(lanes.parts, DO_JUMP_INFUSIONS, b)
    elif way == GENERAL:
        call(lanes.parts, DO_JUMP, b)
    else:
        summed(lanes, most)


def summed(lanes: Any, most: int) -> None:
    """Runs over which little decays, by doubling: digits of their number from the first."""
    plan, b = lanes.plan, lanes.b
    for i in range(plan.sum_size * W):
        b[plan.sum + i] = 0.0
    for w in range(W):
        b[plan.length + w] = 0.0
    highest = 1
    while 2 * highest <= most:
        highest *= 2
    while highest > 0:
        for w in range(W):
            doses = b[plan.doses + w]
            digit = (int(doses) // highest) % 2 if np.isfinite(doses) else 0
            b[plan.bit + w] = 1.0 if digit else -1.0
        call(lanes.parts, DO_DOUBLE, b)
        for w in range(W):
            one = 1.0 if b[plan.bit + w] > 0.0 else 0.0
            b[plan.length + w] = 2.0 * b[plan.length + w] + one
        highest //= 2
    call(lanes.parts, DO_JUMP_SUM, b)


def take_jump(lanes: Any, w: int) -> None:
    """Add what a jump has left to the amounts of lane w, and its derivatives."""
    plan, b, place = lanes.plan, lanes.b, w * N_INTEGERS
    e = lanes.integers[place + EVENT]
    weigh = lanes.codes[e * N_CODES + KIND] == WEIGH
    adds = not weigh and lanes.numbers[e * lanes.width + SIZE] != 0.0
    lanes.integers[place + EVENT] += 1
    lanes.integers[place + STATUS] = SCAN
    if adds:
        for i in range(plan.n):
            b[plan.a + i * W + w] += b[plan.delta + i * W + w]
    if not lanes.derivatives:
        return
    if plan.dynamic == 1 and lanes.maps:
        take_dose_slopes(lanes, w, e, weigh)
    if adds:
        for i in range(plan.n * plan.m):
            b[plan.s + i * W + w] += b[plan.delta_s + i * W + w]


def take_dose_slopes(lanes: Any, w: int, e: int, weigh: bool) -> None:
    """The derivatives of a jump by F, D, R and lag."""
    plan, b, atom = lanes.plan, lanes.b, e * lanes.width
    row, c = lanes.codes[e * N_CODES + PLACE], lanes.codes[e * N_CODES + COMPARTMENT]
    size = lanes.numbers[atom + SIZE]
    moved, jumped = (1.0, size) if size else (0.0, 1.0)  # nothing has no time, see `prepare_jump`
    fold(lanes, w)
    for k in range(4):  # F, D, R, lag
        column = column_at(lanes.columns, (1 if k == 3 else (0 if k == 0 else k + 1)) * plan.n + c)
        if column < 0:
            continue
        for i in range(plan.n):
            delta = b[plan.delta + i * W + w]
            if weigh:
                change = moved * lanes.numbers[atom + TIME_F + k] * delta if k < 3 else 0.0
            elif k == 3:
                change = -moved * b[plan.field + i * W + w] * lanes.numbers[atom + TIME_LAG]
            else:
                change = delta / jumped * lanes.numbers[atom + BY_F + k]
            lanes.old[slope_at(lanes, w, row, i, column)] += change

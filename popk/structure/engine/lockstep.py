"""The loop that takes W subjects through a script; see `popk.structure.engine.scripts`."""

from __future__ import annotations

from typing import Any

from popk.structure.engine.exact_loop import SUMMED
from popk.structure.engine.lanes import (
    BLOCK,
    HOW,
    N_INTEGERS,
    N_TASK,
    RESULT,
    SLOPE,
    SLOPE_AT,
    STALE,
    VALUE_AT,
)
from popk.structure.engine.plan import (
    DO_FLOW,
    DO_FLOW_INFUSING,
    DO_GRADIENT,
    DO_GRADIENT_INFUSING,
    DO_READ,
    DO_READ_WITH_GRADIENT,
    DO_SETUP,
    DO_TAKE,
    call,
)
from popk.structure.engine.scripts import (
    ABOUT,
    DOSE,
    INFUSE,
    LEAP,
    LOOK,
    MOST_OUTPUTS,
    N_OPERATION,
    OPERATION,
    OUTPUT_BITS,
    PASS,
    WHERE,
)
from popk.structure.engine.vector import W, add_vector, copy_vector

# Bound by `popk.structure.engine.compiled`.
way_of: Any
find_jump: Any


def march(lanes: Any, script: Any, rounds: Any, n_rounds: int) -> None:
    """Take groups of tasks through their scripts.

    Parameters
    ----------
    lanes
        The lanes; none carries PHI and PSI.
    script
        What `popk.structure.engine.scripts.scripts` returns, as pointers.
    rounds
        Group and tasks (-1 for none) of each round, (n_rounds, 1 + W).
    """
    starts, operations, vectors = script
    plan, b = lanes.plan, lanes.b
    for r in range(n_rounds):
        place = r * (W + 1)
        for w in range(W):
            enter(lanes, w, rounds[place + 1 + w])
        call(lanes.parts, DO_SETUP, b)
        group = rounds[place]
        for k in range(starts[group], starts[group + 1]):
            operation = k * N_OPERATION
            kind, about = operations[operation + OPERATION], operations[operation + ABOUT]
            where = operations[operation + WHERE]
            if kind == PASS:
                copy_vector(b, plan.h, vectors, where)
                add_vector(b, plan.t, vectors, where)
                elapse(lanes, about)
            elif kind == LOOK:
                look(lanes, about, where)
            elif kind == DOSE:
                add_vector(b, plan.a + about * W, vectors, where)
            elif kind == INFUSE:
                copy_vector(b, plan.r + about * W, vectors, where)
            elif kind == LEAP:
                leap(lanes, about, vectors, where)
            else:
                clear(lanes, about, vectors, where)


def enter(lanes: Any, w: int, task: int) -> None:
    """Take up a task in lane w; parameters of a lane without are 1, as good as any."""
    plan, place = lanes.plan, w * N_INTEGERS
    lanes.integers[place + STALE] = 0
    lanes.integers[place + VALUE_AT] = -1
    if task < 0:
        for i in range(plan.m):
            lanes.b[plan.p + i * W + w] = 1.0
        return
    lanes.integers[place + VALUE_AT] = lanes.tasks[task * N_TASK + RESULT]
    lanes.integers[place + SLOPE_AT] = lanes.tasks[task * N_TASK + SLOPE]
    block = lanes.tasks[task * N_TASK + BLOCK] * plan.m_all
    for i in range(plan.m):
        lanes.b[plan.p + i * W + w] = lanes.theta[block + i]


def elapse(lanes: Any, infusing: int) -> None:
    """Advance every lane by its time."""
    if lanes.with_gradient:
        call(lanes.parts, DO_GRADIENT_INFUSING if infusing else DO_GRADIENT, lanes.b)
    else:
        call(lanes.parts, DO_FLOW_INFUSING if infusing else DO_FLOW, lanes.b)


def look(lanes: Any, some: int, what: int) -> None:
    """Write the next output of some lanes, and its gradient."""
    plan, b = lanes.plan, lanes.b
    call(lanes.parts, DO_READ_WITH_GRADIENT if lanes.with_gradient else DO_READ, b)
    for w in range(W):
        place, output = w * N_INTEGERS, (what >> (OUTPUT_BITS * w)) & MOST_OUTPUTS
        # A lane without a task may go through the script of another draw.
        if not (some >> w) & 1 or lanes.integers[place + VALUE_AT] < 0:
            continue
        lanes.value[lanes.integers[place + VALUE_AT]] = b[plan.out + output * W + w]
        lanes.integers[place + VALUE_AT] += 1
        if lanes.with_gradient:
            to = lanes.integers[place + SLOPE_AT] * plan.m
            for k in range(plan.m):
                lanes.gradient[to + k] = b[plan.out_g + (output * plan.m + k) * W + w]
            lanes.integers[place + SLOPE_AT] += 1


def leap(lanes: Any, some: int, vectors: Any, where: int) -> None:
    """Runs of doses, or steady states, of some lanes."""
    plan, b, integers = lanes.plan, lanes.b, lanes.integers
    for i in range(plan.n + 4):
        copy_vector(b, plan.to_jump + i * W, vectors, where + i * W)
    most, ways, first_way = 0.0, 0, 0
    for w in range(W):
        integers[w * N_INTEGERS + HOW] = 0
        if (some >> w) & 1:
            way = way_of(lanes, w)
            integers[w * N_INTEGERS + HOW] = way
            ways |= 1 << way
            first_way = way
            most = max(most, b[plan.doses + w]) if way == SUMMED else most
    for way in range(1, SUMMED + 1):
        if not ways & (1 << way):
            continue
        if ways != 1 << first_way:
            for i in range(plan.n * W):
                mine = integers[(i % W) * N_INTEGERS + HOW] == way
                b[plan.to_jump + i] = vectors[where + i] if mine else 0.0
        find_jump(lanes, way, int(most))
        call(lanes.parts, DO_TAKE, b)


def clear(lanes: Any, some: int, vectors: Any, where: int) -> None:
    """Empty some lanes, and set their time."""
    plan, b = lanes.plan, lanes.b
    for w in range(W):
        if (some >> w) & 1:
            b[plan.t + w] = vectors[where + w]
            for i in range(plan.n):
                b[plan.a + i * W + w] = 0.0
            for i in range(plan.n * plan.m):
                b[plan.s + i * W + w] = 0.0

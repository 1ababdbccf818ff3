"""The loop that takes subjects through their atoms, W side by side.

Every lane holds one task (a subject under one set of parameters) and works off its atoms; what
needs the equations waits until all lanes have come to such a point, and is then done for all of
them by vector instructions: advancing in time, jumps, and reading the outputs. A lane that has
finished takes the next task.

Derivatives. S is dA/dtheta of the parameter row in force since the last switch. Where a subject has
several rows, properties of doses that are parameters, or a steady state to be solved for, the
solver also carries PHI and PSI, the derivatives of A by the amounts and by the running rates at the
start of the segment; `popk.structure.engine.derivatives.fold` then brings the derivatives by all
rows up to that start to the present, and starts a new segment.

The loop is compiled once for all structures of a kind. What differs between them comes as data:
sizes and places in ``plan``, and the addresses of their traced parts.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import carray, types  # type: ignore[attr-defined]

from popk.structure.engine.derivatives import fold, write_slopes
from popk.structure.engine.jit import njit
from popk.structure.engine.lanes import (
    ACTIVE,
    BLOCK,
    BUDGET,
    EVENT,
    FLOW,
    IDLE,
    JUMPING,
    LAST,
    N_INTEGERS,
    N_REALS,
    N_TASK,
    NOW,
    READING,
    RESULT,
    ROWS,
    ROWS_OF_TASK,
    SCAN,
    SLOPE,
    STALE,
    STATUS,
    STEP,
    STEPS,
    SUBJECT,
    TARGET,
    TASK,
    TURNS,
    Lanes,
    pointer,
    slope_at,
)
from popk.structure.engine.plan import (
    DO_READ,
    DO_READ_WITH_GRADIENT,
    N_PLAN,
    call,
    plan_of,
)
from popk.structure.engine.schedule import (
    BEGIN,
    BOLUS,
    COMPARTMENT,
    END,
    JUMP,
    KIND,
    N_CODES,
    N_NUMBERS,
    OUTPUT,
    PLACE,
    RATE,
    SIZE,
    TIME,
    WEIGH,
    WHAT,
    build,
)
from popk.structure.engine.vector import W
from popk.structure.events import INTERVAL, OBSERVE, RESET, ROW
from popk.structure.events import WHAT as LAST_CODE

# What records have: columns of numbers and of codes.
N_RECORD_NUMBERS, N_RECORD_CODES = INTERVAL + 1, LAST_CODE + 1
M_ALL = 2  # where a description holds the number of parameters
# Steps after which an ODE solver gives a task up.
STEPS_PER_ATOM, STEPS_PER_TASK = 100, 1000

# What `popk.structure.engine.exact_loop` and `popk.structure.engine.ode_loop` do differently;
# bound, with the compiled functions of this module, by `popk.structure.engine.compiled`.
advance: Any
jumps: Any
resolution: Any
is_refused: Any
give_dose: Any
change_rate: Any
begin_turn: Any
end_turn: Any


_INT, _REALS, _INTS = types.int64, types.CPointer(types.float64), types.CPointer(types.int64)  # type: ignore[no-untyped-call]
# The loop as a C function: see `entry`.
ENTRY = types.void(
    _INTS, _INT, _REALS, _INT, _INTS, _INT, _INTS, _INT, _REALS, _INT, _INT, _INTS, _INTS,
    _REALS, _INT, _REALS, _INT, _INT, _INTS,
)  # fmt: skip


def call_entry(
    description: Any, theta: Any, tasks: Any, first: Any, numbers: Any, codes: Any, traits: Any,
    rounds: Any, starts: Any, operations: Any, vectors: Any, value: Any, gradient: Any,
    with_gradient: bool, failed: Any,
) -> None:  # fmt: skip
    """`solve_tasks` through its C function; without a script."""
    entry(
        pointer(description), len(description), pointer(theta), len(theta), pointer(tasks),
        len(tasks), pointer(first), len(first), pointer(numbers), len(numbers), numbers.shape[1],
        pointer(codes), pointer(traits), pointer(value), len(value), pointer(gradient),
        len(gradient), int(with_gradient), pointer(failed),
    )  # fmt: skip


def entry(
    description: Any, n_description: int, theta: Any, n_rows: int, tasks: Any, n_tasks: int,
    first: Any, n_first: int, numbers: Any, n_numbers: int, width: int, codes: Any, traits: Any,
    value: Any, n_outputs: int, gradient: Any, n_slopes: int, with_gradient: int, failed: Any,
) -> None:  # fmt: skip
    """`solve_tasks` from pointers and sizes."""
    known = carray(description, (n_description,))
    parameters = known[M_ALL]
    solve_tasks(
        known, carray(theta, (n_rows, parameters)), carray(tasks, (n_tasks, N_TASK)),
        carray(first, (n_first,)), carray(numbers, (n_numbers, width)),
        carray(codes, (n_numbers, codes_width(width))), carray(traits, (4,)),
        carray(value, (n_outputs,)), carray(gradient, (n_slopes, parameters)), with_gradient == 1,
        carray(failed, (n_tasks,)),
    )  # fmt: skip


@njit
def codes_width(width: int) -> int:
    """Columns of the codes that go with numbers of so many: of records, or of atoms."""
    return N_RECORD_CODES if width == N_RECORD_NUMBERS else N_CODES


def solve_tasks(
    description: Any, theta: Any, tasks: Any, first: Any, numbers: Any, codes: Any, traits: Any,
    value: Any, gradient: Any, with_gradient: bool, failed: Any,
) -> None:  # fmt: skip
    """Solve the tasks one by one and write their outputs and their gradient.

    Parameters
    ----------
    description
        The structure's, see `popk.structure.engine.compiled`.
    theta
        Parameters, (n_rows, n_parameters).
    tasks, first, numbers, codes, traits
        See `popk.structure.engine.prepare.Schedule`.
    value, gradient
        To be filled: (n_outputs), (n_slopes, n_parameters). Outputs of a task that fails are left
        as they are.
    with_gradient
        Whether the gradient is wanted.
    failed
        (n_tasks), set to 1 where the solver gave up.
    """
    has_rows, has_loops, capacity, most_rows = traits[0], traits[1], traits[2], traits[3]
    plan = plan_of(description)
    end = N_PLAN + 4 * plan.n
    columns, parts = description[N_PLAN:end], description[end:]
    dynamic = plan.dynamic == 1
    maps = (with_gradient and (has_rows == 1 or dynamic)) or has_loops == 1
    n_old, n_rows = (W, most_rows) if maps else (1, 1)
    n_loop = W if has_loops == 1 else 1
    size = n_rows * plan.n * plan.m_all
    b = np.zeros(plan.size_of_buffer)
    b[plan.p : plan.p + plan.m * W] = 1.0
    integers, reals = np.zeros(W * N_INTEGERS, np.int64), np.zeros(W * N_REALS)
    old, rates, kept_old = (
        np.zeros(n_old * size),
        np.zeros(n_old * size),
        np.zeros(2 * n_loop * size),
    )
    start, kept = np.zeros(n_loop * plan.n), np.zeros(2 * n_loop * plan.n)
    through, scratch = np.zeros(n_loop * plan.n**2), np.zeros((4 + 2 * plan.n) * plan.n)
    room = W * capacity if dynamic else 1
    atoms = (
        np.empty((room, N_NUMBERS)), np.empty((room, N_CODES), np.int64), np.empty((room, 3)),
        np.empty((room, 2), np.int64),
    )  # fmt: skip
    lanes = Lanes(
        plan, maps, with_gradient or has_loops == 1, with_gradient, has_loops == 1,
        N_NUMBERS if dynamic else numbers.shape[1], n_rows, pointer(columns), pointer(parts),
        pointer(b),
        pointer(integers), pointer(reals), pointer(atoms[0]) if dynamic else pointer(numbers),
        pointer(atoms[1]) if dynamic else pointer(codes), pointer(theta), pointer(tasks),
        pointer(value), pointer(gradient), pointer(failed), pointer(old), pointer(rates),
        pointer(start), pointer(through), pointer(kept), pointer(kept_old), pointer(scratch),
    )  # fmt: skip
    run(lanes, (first, numbers, codes, theta), atoms, capacity, len(tasks))
    # The arrays behind the pointers must live until here.
    b[0] = integers[0] + reals[0] + old[0] + rates[0] + kept_old[0] + start[0] + kept[0]
    b[0] += through[0] + scratch[0] + atoms[0][0, 0] + columns[0] + parts[0]


def run(lanes: Any, records: Any, atoms: Any, capacity: int, n_tasks: int) -> None:
    """The loop."""
    b, integers = lanes.b, lanes.integers
    next_task = 0
    for w in range(W):
        integers[w * N_INTEGERS + TASK] = -1
    while True:
        reading = flowing = active = 0
        for w in range(W):
            while integers[w * N_INTEGERS + STATUS] == SCAN:
                if integers[w * N_INTEGERS + EVENT] < integers[w * N_INTEGERS + LAST]:
                    scan(lanes, w)
                    continue
                if next_task == n_tasks:
                    integers[w * N_INTEGERS + STATUS] = IDLE
                    break
                begin_task(lanes, w, next_task, records, atoms, capacity)
                next_task += 1
            status = integers[w * N_INTEGERS + STATUS]
            reading += status == READING
            flowing += status == FLOW
            active += status != IDLE
        if active == 0:
            return
        # What costs least goes first, so that the dear waits until all lanes have come to it.
        if reading > 0:
            call(lanes.parts, DO_READ_WITH_GRADIENT if lanes.with_gradient else DO_READ, b)
            for w in range(W):
                if integers[w * N_INTEGERS + STATUS] == READING:
                    write_outputs(lanes, w)
        elif flowing > 0:
            advance(lanes)
        else:
            jumps(lanes)


def scan(lanes: Any, w: int) -> None:
    """Do the next atom of lane w, or find out what it has to wait for."""
    place = w * N_INTEGERS
    e = lanes.integers[place + EVENT]
    kind = lanes.codes[e * N_CODES + KIND]
    time = lanes.numbers[e * lanes.width + TIME]
    if time > lanes.reals[w * N_REALS + NOW] and kind != BEGIN and kind != RESET:
        lanes.reals[w * N_REALS + TARGET] = time
        lanes.integers[place + STATUS] = FLOW
    elif kind == OBSERVE:
        lanes.integers[place + STATUS] = READING
    elif kind == JUMP or kind == WEIGH:  # noqa: SIM109, the faster
        lanes.integers[place + STATUS] = JUMPING
    else:
        lanes.integers[place + EVENT] += 1
        if kind == BOLUS and not (lanes.plan.dynamic == 1 or lanes.plan.exact == 0):
            where = lanes.plan.a + lanes.codes[e * N_CODES + COMPARTMENT] * W + w
            lanes.b[where] += lanes.numbers[e * lanes.width + SIZE]
        else:
            apply_atom(lanes, w, e, kind)


def begin_task(lanes: Any, w: int, task: int, records: Any, atoms: Any, capacity: int) -> None:
    """Take up a task in lane w."""
    plan, place = lanes.plan, w * N_INTEGERS
    integers, reals = lanes.integers, lanes.reals
    first, numbers, codes, theta = records
    subject, block = lanes.tasks[task * N_TASK + SUBJECT], lanes.tasks[task * N_TASK + BLOCK]
    low, high = first[subject], first[subject + 1]
    if plan.dynamic == 1:
        base = w * capacity
        part = (
            atoms[0][base : base + capacity], atoms[1][base : base + capacity],
            atoms[2][base : base + capacity], atoms[3][base : base + capacity],
        )  # fmt: skip
        made = build(
            part, numbers, codes, low, high, theta, block, lanes.columns, plan.n, plan.exact == 1
        )
        low, high = base, base + made
        if is_refused(lanes, task):
            lanes.failed[task] = 1
            high = low
    integers[place + TASK], integers[place + EVENT], integers[place + LAST] = task, low, high
    integers[place + ACTIVE], integers[place + STEPS], integers[place + TURNS] = 0, 0, 0
    integers[place + BUDGET] = STEPS_PER_TASK + STEPS_PER_ATOM * (high - low)
    integers[place + ROWS] = min(lanes.tasks[task * N_TASK + ROWS_OF_TASK], lanes.n_rows)
    integers[place + STALE] = 2
    for i in range(plan.m):
        lanes.b[plan.p + i * W + w] = lanes.theta[block * plan.m_all + i]
    empty(lanes, w)
    now = lanes.numbers[low * lanes.width + TIME] if low < high else 0.0
    reals[w * N_REALS + NOW], reals[w * N_REALS + STEP] = now, 0.0
    lanes.b[plan.t + w] = now
    resolution(lanes, w, low, high)


def empty(lanes: Any, w: int) -> None:
    """Reset lane w: nothing in the body, nothing running."""
    plan, b = lanes.plan, lanes.b
    for i in range(plan.n):
        b[plan.a + i * W + w] = 0.0
        b[plan.r + i * W + w] = 0.0
    for i in range(plan.n * plan.m):
        b[plan.s + i * W + w] = 0.0
    if lanes.maps:
        for i in range(plan.n):
            for j in range(plan.n):
                b[plan.phi + (i * plan.n + j) * W + w] = 1.0 if i == j else 0.0
                b[plan.psi + (i * plan.n + j) * W + w] = 0.0
        for k in range(lanes.integers[w * N_INTEGERS + ROWS] * plan.n * plan.m_all):
            where = slope_at(lanes, w, 0, 0, 0) + k
            lanes.old[where] = lanes.rates[where] = 0.0


def apply_atom(lanes: Any, w: int, e: int, kind: int) -> None:
    """Do what an atom says, where no equations are needed."""
    plan, place = lanes.plan, w * N_INTEGERS
    if kind == BOLUS:
        give_dose(lanes, w, e)
    elif kind == RATE:
        change_rate(lanes, w, e)
    elif kind == RESET:
        empty(lanes, w)
        now = lanes.numbers[e * lanes.width + TIME]
        lanes.reals[w * N_REALS + NOW] = lanes.b[plan.t + w] = now
        lanes.integers[place + STALE] = max(lanes.integers[place + STALE], 1)
    elif kind == ROW:
        if lanes.maps:
            fold(lanes, w)
        lanes.integers[place + ACTIVE] = lanes.codes[e * N_CODES + PLACE]
        block = lanes.tasks[lanes.integers[place + TASK] * N_TASK + BLOCK]
        row = block + lanes.codes[e * N_CODES + PLACE]
        for i in range(plan.m):
            lanes.b[plan.p + i * W + w] = lanes.theta[row * plan.m_all + i]
        lanes.integers[place + STALE] = 2
    elif kind == BEGIN:
        begin_turn(lanes, w, e)
    elif kind == END:
        end_turn(lanes, w, e)


def write_outputs(lanes: Any, w: int) -> None:
    """Write what lane w observes, and its gradient."""
    plan, b, place = lanes.plan, lanes.b, w * N_INTEGERS
    e = lanes.integers[place + EVENT]
    lanes.integers[place + EVENT] = e + 1
    lanes.integers[place + STATUS] = SCAN
    task, what = lanes.integers[place + TASK], lanes.codes[e * N_CODES + WHAT]
    slot = lanes.codes[e * N_CODES + OUTPUT]
    lanes.value[lanes.tasks[task * N_TASK + RESULT] + slot] = b[plan.out + what * W + w]
    if not lanes.with_gradient:
        return
    if lanes.maps:
        write_slopes(lanes, w, what, slot)
        return
    where = (lanes.tasks[task * N_TASK + SLOPE] + slot) * plan.m_all
    for k in range(plan.m):
        lanes.gradient[where + k] = b[plan.out_g + (what * plan.m + k) * W + w]

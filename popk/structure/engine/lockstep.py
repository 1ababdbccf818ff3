"""The loop that takes W subjects through a script; see `popk.structure.engine.scripts`.

Nothing here looks at one lane alone but at the start of a script and where runs of doses are found.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import carray, types  # type: ignore[attr-defined]
from numpy.typing import NDArray

from popk.structure.engine.exact_loop import (
    BOLUSES,
    GENERAL,
    INFUSIONS,
    ONE_INFUSION,
    SUMMED,
)
from popk.structure.engine.jit import njit
from popk.structure.engine.lanes import BLOCK, N_TASK, RESULT, SLOPE, pointer
from popk.structure.engine.plan import (
    ADVANCE,
    ADVANCE_ABSORBED,
    DECAY,
    DO_SOURCES,
    DOUBLE,
    EXACT_PARTS,
    INFUSING,
    N_PARTS_OF_LOOK,
    N_PARTS_OF_SOURCE,
    N_PLAN,
    ONE_INFUSION_OF,
    PROJECT,
    PROJECT_CENTRAL,
    RESPOND,
    RUN_OF_ANY,
    RUN_OF_BOLUSES,
    RUN_OF_INFUSIONS,
    SET_UP,
    SUMMED_RUN,
    Plan,
    plan_of,
)
from popk.structure.engine.scripts import (
    ABOUT,
    ADD,
    DOSE,
    FIND_DECAY,
    FIND_INFUSION,
    FIND_RUN,
    LOOK,
    N_OPERATION,
    OPERATION,
    PASS,
    SEE,
    SLOT,
    START,
    WHERE,
)
from popk.structure.engine.tables import (
    add_product,
    add_vector,
    address_of,
    call_on_tables,
    clear_vector,
    copy_vector,
    doubles_at,
    integers_at,
    store_integer,
)
from popk.structure.engine.vector import W

# Bound by `popk.structure.engine.compiled`.
way_of: Any
one_by_one: Any
together: Any

type Integers = NDArray[np.int64]

EVERY_LANE = 2**W - 1
# A cache line, which a vector should not straddle.
ALIGNMENT = 64


_REALS, _INTS = types.CPointer(types.float64), types.CPointer(types.int64)  # type: ignore[no-untyped-call]
# The loop as a C function: see `entry`.
ENTRY = types.void(_INTS, types.int64, _INTS, _REALS, _REALS, _REALS, types.int64)


def packed(tasks: Integers, rounds: Integers, script: tuple[Any, ...]) -> Integers:
    """What `march` takes beside parameters and results, by address: to be called at little cost.

    The arrays must live as long as the result is used.
    """
    arrays = (tasks, rounds, *script)
    assert all(array.flags.c_contiguous for array in arrays)
    return np.array([len(rounds), *(array.ctypes.data for array in arrays)], dtype=np.int64)


def shared(record: Integers, parts: int) -> list[Integers]:
    """A record in parts, with some of the rounds each."""
    found, first = [], 0
    for part in np.array_split(np.arange(record[0]), parts):
        mine = record.copy()
        mine[0], mine[2] = len(part), record[2] + 8 * (W + 1) * first
        found.append(mine)
        first += len(part)
    return found


def call_entry(
    description: Any, record: Any, theta: Any, value: Any, gradient: Any, with_gradient: bool
) -> None:
    """`march` through its C function; the record is from `packed`."""
    entry(
        pointer(description), len(description), pointer(record), pointer(theta), pointer(value),
        pointer(gradient), int(with_gradient),
    )  # fmt: skip


def call_either(
    description: Any, theta: Any, tasks: Any, first: Any, numbers: Any, codes: Any, traits: Any,
    rounds: Any, starts: Any, operations: Any, vectors: Any, value: Any, gradient: Any,
    with_gradient: bool, failed: Any,
) -> None:  # fmt: skip
    """`march` where there are scripts, else `popk.structure.engine.driver.solve_tasks`."""
    if len(rounds) == 0:
        one_by_one(
            description, theta, tasks, first, numbers, codes, traits, rounds, starts, operations,
            vectors, value, gradient, with_gradient, failed,
        )  # fmt: skip
        return
    record = np.array(
        [
            len(rounds), address_of(pointer(tasks), 0), address_of(pointer(rounds), 0),
            address_of(pointer(starts), 0), address_of(pointer(operations), 0),
            address_of(pointer(vectors), 0),
        ]
    )  # fmt: skip
    together(description, record, theta, value, gradient, with_gradient)


def entry(
    description: Any, n_description: int, record: Any, theta: Any, value: Any, gradient: Any,
    with_gradient: int,
) -> None:  # fmt: skip
    """`march` from a record."""
    script = (integers_at(record[3]), integers_at(record[4]), doubles_at(record[5]))
    march(
        carray(description, (n_description,)), theta, integers_at(record[1]),
        integers_at(record[2]), record[0], script, value, gradient, with_gradient == 1,
    )  # fmt: skip


class Group(NamedTuple):
    """What W subjects are solved with: see `popk.structure.engine.lanes.Lanes`."""

    plan: Plan
    parts: Any
    b: Any
    with_gradient: bool


def march(
    description: Any, theta: Any, tasks: Any, rounds: Any, n_rounds: int, script: Any, value: Any,
    gradient: Any, with_gradient: bool,
) -> None:  # fmt: skip
    """Take groups of tasks through their scripts, all as pointers.

    Parameters
    ----------
    description
        The structure's, see `popk.structure.engine.compiled`.
    theta, tasks
        See `popk.structure.engine.driver.solve_tasks`.
    rounds, n_rounds
        Group and tasks (-1 for none) of each round, (n_rounds, 1 + W).
    script
        What `popk.structure.engine.scripts.scripts` returns.
    value, gradient, with_gradient
        Results, and whether the gradient is wanted.
    """
    # After what solves one by one.
    own = description[N_PLAN + 4 * description[0] + len(EXACT_PARTS) :]
    plan = plan_of(own)
    memory, parts = np.zeros(plan.size_of_buffer + ALIGNMENT // 8), own[N_PLAN:]
    start = -address_of(pointer(memory), 0) % ALIGNMENT // 8
    b = memory[start:]
    group = Group(plan, pointer(parts), pointer(b), with_gradient)
    starts, operations, vectors = script
    for r in range(n_rounds):
        place = r * (W + 1)
        for w in range(W):
            enter(group, w, rounds[place + 1 + w], theta, tasks, value, gradient)
        call_on_tables(group.parts, SET_UP, group.b, 0, 0)
        script_of = rounds[place]
        follow(group, operations, vectors, starts[script_of], starts[script_of + 1])
    # The arrays behind the pointers must live until here.
    memory[0] = memory[1] + parts[0]


def enter(group: Any, w: int, task: int, theta: Any, tasks: Any, value: Any, gradient: Any) -> None:
    """Take up a task in lane w.

    A lane without goes through the script with parameters of 1, as good as any, and writes to the
    spare place.
    """
    plan, b = group.plan, group.b
    if task < 0:
        for i in range(plan.m):
            b[plan.p + i * W + w] = 1.0
        spare = address_of(b, plan.spare)
        for place in (plan.to, plan.slopes_to):
            store_integer(b, place + w, spare)
        for place in (plan.by, plan.slopes_by):
            store_integer(b, place + w, 0)
        return
    block = tasks[task * N_TASK + BLOCK] * plan.m
    for i in range(plan.m):
        b[plan.p + i * W + w] = theta[block + i]
    store_integer(b, plan.to + w, address_of(value, tasks[task * N_TASK + RESULT]))
    slopes = tasks[task * N_TASK + SLOPE] * plan.m
    store_integer(b, plan.slopes_to + w, address_of(gradient, slopes))
    store_integer(b, plan.by + w, 8)
    store_integer(b, plan.slopes_by + w, 8 * plan.m)


def follow(group: Any, operations: Any, vectors: Any, low: int, high: int) -> None:
    """Follow a script."""
    plan, parts, b = group.plan, group.parts, group.b
    size, less = plan.table * W, 0 if group.with_gradient else 1
    looks = DO_SOURCES + plan.n * N_PARTS_OF_SOURCE
    for k in range(low, high):
        operation = k * N_OPERATION
        kind, about = operations[operation + OPERATION], operations[operation + ABOUT]
        which, where = operations[operation + SLOT], operations[operation + WHERE]
        response, slot = plan.responses + about * size, plan.slots + which * size
        source = DO_SOURCES + about * N_PARTS_OF_SOURCE
        if kind == PASS:
            part = ADVANCE_ABSORBED if is_depot(plan, about) else ADVANCE
            call_on_tables(parts, part + less, b, response, slot)
        elif kind == SEE:
            call_on_tables(parts, source + RESPOND + less, b, response, 0)
        elif kind == LOOK:
            copy_vector(b, plan.t, vectors, where)
            copy_vector(b, plan.chosen, vectors, where + W)
            part = looks + (about * (1 + plan.n) + 1 + which) * N_PARTS_OF_LOOK
            call_on_tables(parts, part + less, b, plan.responses + which * size, 0)
        elif kind == DOSE:
            dose(group, about, vectors, where)
        elif kind == ADD:
            low_entry, high_entry = entries(group, about)
            for i in range(low_entry, high_entry):
                add_product(b, response + i * W, vectors, where, b, slot + i * W)
        elif kind == FIND_RUN:
            find_run(group, about, slot, vectors, where)
        elif kind == FIND_DECAY or kind == FIND_INFUSION:  # noqa: SIM109, the faster
            copy_vector(b, plan.h, vectors, where)
            part = INFUSING if kind == FIND_INFUSION else DECAY + less
            call_on_tables(parts, part, b, slot, 0)
        else:
            begin(group, kind, about, which, vectors, where)


@njit
def is_depot(plan: Any, compartment: int) -> bool:
    """Whether a compartment is the depot."""
    return plan.ka >= 0 and compartment == 0


@njit
def entries(group: Any, compartment: int) -> tuple[int, int]:
    """Which entries the table of doses into a compartment has."""
    plan = group.plan
    at_depot = is_depot(plan, compartment)
    return (plan.n_disposition, plan.table) if at_depot else (0, plan.n_disposition)


@njit
def dose(group: Any, compartment: int, vectors: Any, where: int) -> None:
    """Boluses: 1 at every rate that their table knows, and no differences."""
    plan = group.plan
    low, _ = entries(group, compartment)
    high = low + (1 if low > 0 else plan.n_rates)
    response = plan.responses + compartment * plan.table * W
    for i in range(low, high):
        add_vector(group.b, response + i * W, vectors, where)


def begin(group: Any, kind: int, about: int, alone: int, vectors: Any, where: int) -> None:
    """Start with nothing in the body: a script, or some lanes again."""
    plan, b = group.plan, group.b
    if kind == START:
        part = DO_SOURCES + about * N_PARTS_OF_SOURCE + (PROJECT_CENTRAL if alone else PROJECT)
        call_on_tables(group.parts, part, b, 0, 0)
        response = plan.responses + about * plan.table * W
        for i in range(response, response + plan.table * W):
            b[i] = 0.0
    else:
        for i in range(plan.n * plan.table):
            clear_vector(b, plan.responses + i * W, vectors, where)


def find_run(group: Any, some: int, slot: int, vectors: Any, where: int) -> None:
    """A table of runs of doses, or steady states, of some lanes, each in the way that it needs."""
    plan, b = group.plan, group.b
    for i, place in enumerate((plan.every, plan.doses, plan.lasting, plan.ago)):
        copy_vector(b, place, vectors, where + i * W)
    ways, most = 0, 0.0  # a bit for each way and lane
    for w in range(W):
        if (some >> w) & 1:
            way = way_of(group, w)
            ways |= 1 << (way * W + w)
            most = max(most, b[plan.doses + w]) if way == SUMMED else most
    for way in range(BOLUSES, SUMMED + 1):
        lanes = (ways >> (way * W)) & EVERY_LANE
        if lanes == 0:
            continue
        for w in range(W):
            b[plan.chosen + w] = (lanes >> w) & 1
        if way == SUMMED:
            sum_run(group, int(most))
        part = SUMMED_RUN
        if way == BOLUSES:
            part = RUN_OF_BOLUSES
        elif way == ONE_INFUSION:
            part = ONE_INFUSION_OF
        elif way == INFUSIONS:
            part = RUN_OF_INFUSIONS
        elif way == GENERAL:
            part = RUN_OF_ANY
        call_on_tables(group.parts, part, b, slot, 0)


def sum_run(group: Any, most: int) -> None:
    """Runs over which little decays, by doubling: digits of their number from the first."""
    plan, b = group.plan, group.b
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
        call_on_tables(group.parts, DOUBLE, b, 0, 0)
        for w in range(W):
            one = 1.0 if b[plan.bit + w] > 0.0 else 0.0
            b[plan.length + w] = 2.0 * b[plan.length + w] + one
        highest //= 2

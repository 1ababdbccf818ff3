"""From atoms to scripts: what W subjects go through together, one operation at a time.

Where all times are known beforehand, nothing has to be found out subject by subject while the
parameters change: subjects with the same pattern of events are put side by side, and their atoms
become operations on vectors. In each round of a script every lane empties, takes doses, jumps over
a run of doses, advances and reads, in this order and as far as its atoms go; an operation that no
lane needs is left out.

Operations are on tables (`popk.structure.engine.superposition`). One has a KIND, a number that it
is ABOUT, a SLOT, and the place of its vectors (WHERE):

- START: a dosed compartment, before all else; its SLOT is 1 where it is the only one, and all that
  is read follows from the central amount, so that amounts need not be found apart, else 0.
- FIND_DECAY, FIND_INFUSION, FIND_RUN: put a table into a slot, unless it is in one: of the decay
  and of an infusion over a time, of runs of doses (a bit for each lane; vectors of the interval,
  the number of doses, their duration and the time since the last ended).
- PASS: a compartment whose doses decay as in the slot.
- DOSE: a compartment; what is added.
- ADD: a compartment to which so many times the slot is added: rates of infusions, sizes of doses.
- EMPTY: above 0 in the lanes that do.
- SEE: a compartment whose doses add to the amounts.
- LOOK: the output; the times, and above 0 the lanes that read; from the amounts (SLOT -1) or from
  the table of doses into the compartment in SLOT.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from popk.structure.base import Structure
from popk.structure.engine.jit import njit, specialise
from popk.structure.engine.schedule import (
    BOLUS,
    COMPARTMENT,
    COUNT,
    DURATION,
    ENDLESS,
    INTERVAL,
    JUMP,
    KIND,
    RATE,
    SINCE,
    SIZE,
    TIME,
    WHAT,
)
from popk.structure.engine.superposition import N_SLOTS, of_central_alone
from popk.structure.engine.vector import W
from popk.structure.events import OBSERVE, RESET

(
    START, FIND_DECAY, FIND_INFUSION, FIND_RUN, PASS, DOSE, ADD, EMPTY, SEE, LOOK,
) = range(10)  # fmt: skip
OPERATION, ABOUT, SLOT, WHERE = range(4)
N_OPERATION = 4
# Steps that differ by no more than this, times the time, are the same but for the rounding of times
# (two units in the last place); how far that leads astray is made good by the next step.
SAME_STEP = 4.5e-16

type Integers = NDArray[np.int64]
type Floats = NDArray[np.float64]


def scripts(
    first: Integers, numbers: Floats, codes: Integers, members: Integers, structure: Structure
) -> tuple[Integers, Integers, Floats]:
    """Scripts of groups of subjects.

    Parameters
    ----------
    first, numbers, codes
        Atoms of each subject (`popk.structure.engine.schedule`).
    members
        Subjects of each group, (n_groups, W); -1 for none.
    structure
        The structure, which has a closed form.

    Returns
    -------
    Where the operations of each group begin (n_groups + 1), the operations (n, 4), and the vectors
    they point to, one after the other.
    """
    if not len(members):
        return np.zeros(1, np.int64), np.zeros((0, N_OPERATION), np.int64), np.zeros(0)
    found: tuple[Integers, Integers, Floats] = _compiled()(
        first, numbers, codes, members, len(structure.compartments), of_central_alone(structure)
    )
    return found


def side_by_side(first: Integers, codes: Integers) -> Integers:
    """Subjects in groups of W, those with the same pattern of events together, (n_groups, W)."""
    n = len(first) - 1
    many = np.diff(first)
    subject = np.repeat(np.arange(n), many)
    place = np.arange(len(codes)) - first[:-1][subject] + 1.0
    # Two different weighted sums tell patterns apart well enough.
    weight = codes[:, KIND] + 1.0
    key = [np.bincount(subject, weight * f(place), minlength=n) for f in (np.sqrt, np.log1p)]
    members = np.full(-(-n // W) * W, -1)
    members[:n] = np.lexsort((np.arange(n), key[1], key[0], many))
    return members.reshape(-1, W)


@cache
def _compiled() -> Callable[..., Any]:
    return specialise(_scripts, "scripts_of_groups")


def _scripts(
    first: Any, numbers: Any, codes: Any, members: Any, n_compartments: int, central_alone: Any
) -> tuple[Any, Any, Any]:
    starts = np.zeros(len(members) + 1, np.int64)
    operations, vectors = np.empty((64, N_OPERATION), np.int64), np.empty(64 * W)
    n, size = 0, 0
    # Of each lane: its next atom and the one after its last; its time, and the time that its tables
    # have come to; by compartment the doses of this round, running rates, sizes of runs and, at the
    # first, tolerances; the output it reads. Of each compartment whether it is dosed.
    at, now = np.zeros((2, W), np.int64), np.zeros((2, W))
    amounts, dosed = np.zeros((4, n_compartments, W)), np.zeros(n_compartments, np.bool_)
    what = np.zeros(W, np.int64)
    # Kind of the table in each slot, what it is about, and the place of the vectors that it was
    # made from; the last row counts those that were ever filled.
    slots = np.zeros((N_SLOTS + 1, 3), np.int64)
    atoms = (numbers, codes)
    most = W * (n_compartments + 3) + 4 * n_compartments + 16  # operations, vectors of a round
    for g in range(len(members)):
        amounts[:] = 0.0
        slots[:] = -1
        slots[N_SLOTS, 0] = 0
        for w in range(W):
            subject = members[g, w]
            at[0, w] = first[subject] if subject >= 0 else 0
            at[1, w] = first[subject + 1] if subject >= 0 else 0
        source = survey(at, atoms, dosed, central_alone)
        fresh = True
        while np.any(at[0] < at[1]):
            if n + most > len(operations):
                more = np.empty((2 * n + most, N_OPERATION), np.int64)
                more[:n] = operations[:n]
                operations = more
            if size + most * W > len(vectors):
                longer = np.empty(2 * size + most * W)
                longer[:size] = vectors[:size]
                vectors = longer
            book = (operations, vectors, slots, dosed)
            lanes = (at, now, amounts, what)
            if fresh:
                for c in range(n_compartments):
                    if dosed[c]:
                        n = write(book, n, START, c, 1 if source >= 0 else 0, 0)
            done, reached = at[0].sum(), now[0].sum()
            n, size = given(book, n, size, lanes, atoms, fresh)
            n, size = leaps(book, n, size, lanes, atoms)
            n, size = passes(book, n, size, lanes, atoms)
            n, size = looks(book, n, size, lanes, atoms, source)
            fresh = False
            if at[0].sum() == done and now[0].sum() == reached:
                # Without this the loop would never end.
                raise ValueError("an atom has a kind that no round of a script takes")
        starts[g + 1] = n
    return starts, operations[:n].copy(), vectors[:size].copy()


@njit
def survey(at: Any, atoms: Any, dosed: Any, central_alone: Any) -> int:
    """Find out which compartments are dosed; the one of which alone is read (as LOOK), or -1."""
    alone, codes = True, atoms[1]
    dosed[:] = False
    for w in range(W):
        for e in range(at[0, w], at[1, w]):
            kind = codes[e, KIND]
            if kind == OBSERVE:
                alone &= central_alone[codes[e, WHAT]]
            elif kind != RESET:
                dosed[codes[e, COMPARTMENT]] = True
    source, many = -1, 0
    for c in range(len(dosed)):
        if dosed[c]:
            source = c
            many += 1
    return source if alone and many == 1 else -1


@njit
def write(book: Any, n: int, kind: int, about: int, slot: int, where: int) -> int:
    """Append an operation; returns how many there are."""
    operations = book[0]
    operations[n, OPERATION], operations[n, ABOUT] = kind, about
    operations[n, SLOT], operations[n, WHERE] = slot, where
    return n + 1


@njit
def put(book: Any, size: int, values: Any) -> int:
    """Append a vector; returns how many numbers there are."""
    for w in range(W):
        book[1][size + w] = values[w]
    return size + W


@njit
def any_of(values: Any) -> bool:
    """Whether any is not 0."""
    found = False
    for w in range(W):
        found |= values[w] != 0.0
    return found


@njit
def find(
    book: Any, n: int, size: int, kind: int, about: int, many: int, tolerance: Any
) -> tuple[int, int, int]:
    """The slot of a table that follows from the last ``many`` vectors, which are at ``size``.

    Where none holds it, it goes into the one that was filled first. ``tolerance``: how far numbers
    of each lane may be apart that are not 0. Returns slot, operations and numbers, to which the
    vectors count only if they are needed.
    """
    vectors, slots = book[1], book[2]
    for k in range(N_SLOTS):
        if slots[k, 0] != kind or slots[k, 1] != about:
            continue
        same = True
        for i in range(many * W):
            x, y = vectors[slots[k, 2] + i], vectors[size + i]
            same &= x == y or (x * y > 0.0 and abs(x - y) <= tolerance[i % W])
        if same:
            return k, n, size
    slot = slots[N_SLOTS, 0] % N_SLOTS
    slots[N_SLOTS, 0] += 1
    slots[slot, 0], slots[slot, 1], slots[slot, 2] = kind, about, size
    return slot, write(book, n, kind, about, slot, size), size + many * W


@njit
def given(book: Any, n: int, size: int, lanes: Any, atoms: Any, fresh: bool) -> tuple[int, int]:
    """Resets, boluses and changes of rates that are due; every lane starts with a reset."""
    amounts = lanes[2]
    emptied = False
    for w in range(W):
        empties = due(lanes, atoms, w, fresh)
        book[1][size + w] = 1.0 if empties else 0.0
        emptied |= empties
    if emptied and not fresh:
        n = write(book, n, EMPTY, 0, 0, size)
        size += W
    for c in range(amounts.shape[1]):
        if any_of(amounts[0, c]):
            n = write(book, n, DOSE, c, 0, size)
            size = put(book, size, amounts[0, c])
        for w in range(W):
            amounts[0, c, w] = 0.0
    return n, size


@njit
def due(lanes: Any, atoms: Any, w: int, fresh: bool) -> bool:
    """Take the resets, boluses and changes of rates of lane w at its time; whether it is reset."""
    at, now, amounts, _ = lanes
    numbers, codes = atoms
    e = at[0, w]
    emptied: bool = e < at[1, w] and (fresh or codes[e, KIND] == RESET)
    if emptied:
        now[:, w] = numbers[e, TIME]
        for c in range(amounts.shape[1]):
            amounts[1, c, w] = 0.0
        if codes[e, KIND] == RESET:
            e += 1
    while e < at[1, w] and numbers[e, TIME] <= now[0, w]:
        kind, c, amount = codes[e, KIND], codes[e, COMPARTMENT], numbers[e, SIZE]
        if kind == BOLUS:
            amounts[0, c, w] += amount
        elif kind == RATE:
            rate = amounts[1, c, w] + amount
            # What is left when the last infusion ends is rounding.
            amounts[1, c, w] = 0.0 if abs(rate) < 1e-12 * abs(amount) else rate
        else:
            break
        e += 1
    at[0, w] = e
    return emptied


@njit
def leaps(book: Any, n: int, size: int, lanes: Any, atoms: Any) -> tuple[int, int]:
    """One run of doses, or steady state, of every lane that comes to one."""
    at, now, amounts, _ = lanes
    numbers, codes = atoms
    vectors = book[1]
    leapt, plain = 0, True
    for w in range(W):
        for c in range(amounts.shape[1]):
            amounts[2, c, w] = 0.0
        # Interval, doses, duration and time since; harmless in lanes without a run.
        every, doses, lasting, ago = 1.0, 2.0, 1.0, 0.0
        e = at[0, w]
        if e < at[1, w] and codes[e, KIND] == JUMP and numbers[e, TIME] <= now[0, w]:
            leapt |= 1 << w
            amounts[2, codes[e, COMPARTMENT], w] = numbers[e, SIZE]
            count = codes[e, COUNT]
            every = numbers[e, INTERVAL] if count != 1 else 1.0
            doses = np.inf if count == ENDLESS else float(count)
            lasting, ago = numbers[e, DURATION], numbers[e, SINCE]
            plain &= count == 1 and ago == 0.0 and 0.0 < lasting < np.inf
            at[0, w] = e + 1
        for i, number in enumerate((every, doses, lasting, ago)):
            vectors[size + i * W + w] = number
    if not leapt:
        return n, size
    if plain:  # one infusion each
        for w in range(W):
            vectors[size + w] = vectors[size + 2 * W + w]
        slot, n, size = find(book, n, size, FIND_INFUSION, 0, 1, amounts[3, 0])
    else:
        slot, n, size = find(book, n, size, FIND_RUN, leapt, 4, amounts[3, 0])
    for c in range(amounts.shape[1]):
        if any_of(amounts[2, c]):
            n = write(book, n, ADD, c, slot, size)
            size = put(book, size, amounts[2, c])
    return n, size


@njit
def passes(book: Any, n: int, size: int, lanes: Any, atoms: Any) -> tuple[int, int]:
    """Advance every lane to its next atom."""
    at, now, amounts, _ = lanes
    (_, vectors, slots, dosed), tolerance = book, amounts[3, 0]
    infusing, some = False, False
    for c in range(amounts.shape[1]):
        infusing |= any_of(amounts[1, c])
    for w in range(W):
        e, start = at[0, w], now[0, w] if infusing else now[1, w]
        # Nothing has to be known of a body that is emptied next.
        onwards = e < at[1, w] and atoms[1][e, KIND] != RESET and atoms[0][e, TIME] > now[0, w]
        vectors[size + w] = max(atoms[0][e, TIME] - start, 0.0) if onwards else 0.0
        if onwards:
            now[0, w] = atoms[0][e, TIME]
            some = True
        tolerance[w] = 0.0 if infusing else SAME_STEP * abs(now[0, w])
    if not some:
        return n, size
    elapsed = size
    slot, n, size = find(book, n, size, FIND_DECAY, 0, 1, tolerance)
    for w in range(W):
        now[1, w] += vectors[slots[slot, 2] + w]
        tolerance[w] = 0.0
    for c in range(amounts.shape[1]):
        if dosed[c]:
            n = write(book, n, PASS, c, slot, 0)
    if infusing:
        if elapsed < size:  # the vector was needed
            for w in range(W):
                vectors[size + w] = vectors[elapsed + w]
        slot, n, size = find(book, n, size, FIND_INFUSION, 0, 1, tolerance)
    for c in range(amounts.shape[1]):
        if any_of(amounts[1, c]):
            n = write(book, n, ADD, c, slot, size)
            size = put(book, size, amounts[1, c])
    return n, size


@njit
def looks(book: Any, n: int, size: int, lanes: Any, atoms: Any, source: int) -> tuple[int, int]:
    """One observation of every lane that comes to one, output by output."""
    at, now, _, what = lanes
    for w in range(W):
        what[w] = -1
        e = at[0, w]
        if e < at[1, w] and atoms[1][e, KIND] == OBSERVE and atoms[0][e, TIME] <= now[0, w]:
            what[w] = atoms[1][e, WHAT]
            at[0, w] = e + 1
    for w in range(W):
        output = what[w]
        if output < 0:
            continue
        for c in range(len(book[3])):
            if book[3][c] and source < 0:
                n = write(book, n, SEE, c, 0, 0)
        n = write(book, n, LOOK, output, source, size)
        size = put(book, size, now[0])
        for v in range(W):
            book[1][size + v] = 1.0 if what[v] == output else 0.0
            what[v] = -1 if what[v] == output else what[v]
        size += W
    return n, size

"""From atoms to scripts: what W subjects go through together, one operation at a time.

Where all times are known beforehand, nothing has to be found out subject by subject while the
parameters change: subjects with the same pattern of events are put side by side, and their atoms
become operations on vectors. In each round of a script every lane empties, takes doses, changes
rates, jumps over a run of doses, advances and reads, in this order and as far as its atoms go; an
operation that no lane needs is left out.

An operation is a KIND, a number that depends on it (ABOUT) and the place of its vector (WHERE):

- EMPTY: a bit for each lane; the times.
- DOSE, INFUSE: the compartment; what is added to its amount, its rate from now on.
- LEAP: a bit for each lane; vectors of the dose by compartment, of the interval, the number of
  doses, their duration and the time since the last ended.
- PASS: whether an infusion runs; the time to advance.
- LOOK: a bit for each lane; no vector, but 7 bits for each lane that say which output.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
from popk.structure.engine.vector import W
from popk.structure.events import OBSERVE, RESET

EMPTY, DOSE, INFUSE, LEAP, PASS, LOOK = range(6)
OPERATION, ABOUT, WHERE = range(3)
N_OPERATION = 3
# Bits that say which output a lane reads.
OUTPUT_BITS = 7
MOST_OUTPUTS = 2**OUTPUT_BITS - 1

type Integers = NDArray[np.int64]
type Floats = NDArray[np.float64]


def scripts(
    first: Integers, numbers: Floats, codes: Integers, members: Integers, n_compartments: int
) -> tuple[Integers, Integers, Floats]:
    """Scripts of groups of subjects.

    Parameters
    ----------
    first, numbers, codes
        Atoms of each subject (`popk.structure.engine.schedule`).
    members
        Subjects of each group, (n_groups, W); -1 for none.
    n_compartments
        Number of compartments.

    Returns
    -------
    Where the operations of each group begin (n_groups + 1), the operations (n, 3), and the vectors
    they point to, one after the other.
    """
    found: tuple[Integers, Integers, Floats] = _compiled()(
        first, numbers, codes, members, n_compartments
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
    first: Any, numbers: Any, codes: Any, members: Any, n_compartments: int
) -> tuple[Any, Any, Any]:
    starts = np.zeros(len(members) + 1, np.int64)
    operations, vectors = np.empty((64, N_OPERATION), np.int64), np.empty(64 * W)
    n, size = 0, 0
    # Of each lane: its next atom and the one after its last; its time; doses of this round and
    # running rates, which of them changed.
    at, now = np.zeros((2, W), np.int64), np.zeros(W)
    amounts, changed = np.zeros((2, n_compartments, W)), np.zeros((2, n_compartments), np.bool_)
    atoms = (numbers, codes)
    most = 3 * n_compartments + 8  # operations and vectors of a round, at most
    for g in range(len(members)):
        amounts[:] = 0.0
        for w in range(W):
            subject = members[g, w]
            at[0, w] = first[subject] if subject >= 0 else 0
            at[1, w] = first[subject + 1] if subject >= 0 else 0
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
            book = (operations, vectors)
            changed[:] = False
            lanes = (at, now, amounts, changed)
            n, size = given(book, n, size, lanes, atoms, fresh)
            n, size = leaps(book, n, size, lanes, atoms)
            n, size = passes(book, n, size, lanes, atoms)
            n = looks(book, n, lanes, atoms)
            fresh = False
        starts[g + 1] = n
    return starts, operations[:n].copy(), vectors[:size].copy()


@njit
def write(book: Any, n: int, kind: int, about: int, where: int) -> int:
    """Append an operation; returns how many there are."""
    operations = book[0]
    operations[n, OPERATION], operations[n, ABOUT], operations[n, WHERE] = kind, about, where
    return n + 1


@njit
def put(book: Any, size: int, values: Any) -> int:
    """Append a vector; returns how many numbers there are."""
    for w in range(W):
        book[1][size + w] = values[w]
    return size + W


@njit
def given(book: Any, n: int, size: int, lanes: Any, atoms: Any, fresh: bool) -> tuple[int, int]:
    """Resets, boluses and changes of rates that are due; every lane starts with a reset."""
    _, now, amounts, changed = lanes
    emptied = 0
    for w in range(W):
        if due(lanes, atoms, w, fresh):
            emptied |= 1 << w
    if emptied:
        n = write(book, n, EMPTY, emptied, size)
        size = put(book, size, now)
    for c in range(amounts.shape[1]):
        for what, kind in ((0, DOSE), (1, INFUSE)):
            if changed[what, c]:
                n = write(book, n, kind, c, size)
                size = put(book, size, amounts[what, c])
        for w in range(W):
            amounts[0, c, w] = 0.0
    return n, size


@njit
def due(lanes: Any, atoms: Any, w: int, fresh: bool) -> bool:
    """Take the resets, boluses and changes of rates of lane w at its time; whether it is reset."""
    at, now, amounts, changed = lanes
    numbers, codes = atoms
    e = at[0, w]
    emptied: bool = e < at[1, w] and (fresh or codes[e, KIND] == RESET)
    if emptied:
        now[w] = numbers[e, TIME]
        for c in range(amounts.shape[1]):
            amounts[1, c, w] = 0.0
            changed[1, c] = True
        if codes[e, KIND] == RESET:
            e += 1
    while e < at[1, w] and numbers[e, TIME] <= now[w]:
        kind, c, amount = codes[e, KIND], codes[e, COMPARTMENT], numbers[e, SIZE]
        if kind == BOLUS:
            amounts[0, c, w] += amount
            changed[0, c] = True
        elif kind == RATE:
            rate = amounts[1, c, w] + amount
            # What is left when the last infusion ends is rounding.
            amounts[1, c, w] = 0.0 if abs(rate) < 1e-12 * abs(amount) else rate
            changed[1, c] = True
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
    leapt, n_compartments = 0, amounts.shape[1]
    regimen = size + n_compartments * W
    for w in range(W):
        for c in range(n_compartments):
            book[1][size + c * W + w] = 0.0
        # Interval, doses, duration and time since; harmless in lanes without a run.
        every, doses, lasting, ago = 1.0, 2.0, 1.0, 0.0
        e = at[0, w]
        if e < at[1, w] and codes[e, KIND] == JUMP and numbers[e, TIME] <= now[w]:
            leapt |= 1 << w
            book[1][size + codes[e, COMPARTMENT] * W + w] = numbers[e, SIZE]
            count = codes[e, COUNT]
            every = numbers[e, INTERVAL] if count != 1 else 1.0
            doses = np.inf if count == ENDLESS else float(count)
            lasting, ago = numbers[e, DURATION], numbers[e, SINCE]
            at[0, w] = e + 1
        book[1][regimen + w], book[1][regimen + W + w] = every, doses
        book[1][regimen + 2 * W + w], book[1][regimen + 3 * W + w] = lasting, ago
    if not leapt:
        return n, size
    return write(book, n, LEAP, leapt, size), regimen + 4 * W


@njit
def passes(book: Any, n: int, size: int, lanes: Any, atoms: Any) -> tuple[int, int]:
    """Advance every lane to its next atom."""
    at, now, amounts, _ = lanes
    some = False
    for w in range(W):
        e = at[0, w]
        # Nothing has to be known of a body that is emptied next.
        onwards = e < at[1, w] and atoms[1][e, KIND] != RESET and atoms[0][e, TIME] > now[w]
        book[1][size + w] = atoms[0][e, TIME] - now[w] if onwards else 0.0
        if onwards:
            now[w] = atoms[0][e, TIME]
            some = True
    if not some:
        return n, size
    infusing = 0
    for c in range(amounts.shape[1]):
        for w in range(W):
            infusing |= amounts[1, c, w] != 0.0
    return write(book, n, PASS, infusing, size), size + W


@njit
def looks(book: Any, n: int, lanes: Any, atoms: Any) -> int:
    """One observation of every lane that comes to one."""
    at, now, _, _ = lanes
    looked, what = 0, 0
    for w in range(W):
        e = at[0, w]
        if e < at[1, w] and atoms[1][e, KIND] == OBSERVE and atoms[0][e, TIME] <= now[w]:
            looked |= 1 << w
            what |= atoms[1][e, WHAT] << (OUTPUT_BITS * w)
            at[0, w] = e + 1
    return write(book, n, LOOK, looked, what) if looked else n

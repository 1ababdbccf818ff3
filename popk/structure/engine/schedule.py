"""From records to atoms: what happens to one subject, one thing at a time, in order.

A dose record becomes boluses and starts and ends of infusions; runs of doses that nothing
interrupts become one jump where the structure has a closed form.

Order: at one time, ends of infusions come first, then doses implied by ADDL or moved by a lag,
then records as they stand. A reset (and a dose that sets steady state) ends all infusions and
cancels every dose still to come from earlier records, as in NONMEM.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from popk.structure.engine.atoms import (
    BEGIN,
    BOLUS,
    BY_F,
    COMPARTMENT,
    COUNT,
    DURATION,
    END,
    ENDLESS,
    INTERVAL,
    JUMP,
    KIND,
    LAG_,
    N_CODES,
    N_NUMBERS,
    OUTPUT,
    PLACE,
    R_AMOUNT,
    R_COMPARTMENT,
    R_INTERVAL,
    R_KIND,
    R_OUTPUT,
    R_PLACE,
    R_RATE,
    R_REPEATS,
    R_STEADY,
    R_TIME,
    R_WHAT,
    RATE,
    SINCE,
    SIZE,
    TIME,
    TIME_F,
    TIME_LAG,
    WEIGH,
    WHAT,
    derive,
    dose_atoms,
    properties,
    put,
    snapped,
)
from popk.structure.engine.jit import njit
from popk.structure.engine.ordering import sort
from popk.structure.engine.trains import MOST_OVERLAPPING, steady_atoms
from popk.structure.events import DOSE, OBSERVE, RESET, SAME_TIME

# Atoms are read by their columns, wherever a schedule is.
__all__ = [
    "BEGIN",
    "BOLUS",
    "BY_F",
    "COMPARTMENT",
    "COUNT",
    "DURATION",
    "END",
    "ENDLESS",
    "INTERVAL",
    "JUMP",
    "KIND",
    "MOST_OVERLAPPING",
    "N_CODES",
    "N_NUMBERS",
    "OUTPUT",
    "PLACE",
    "RATE",
    "R_AMOUNT",
    "R_INTERVAL",
    "R_KIND",
    "R_OUTPUT",
    "R_RATE",
    "R_REPEATS",
    "R_STEADY",
    "SINCE",
    "SIZE",
    "TIME",
    "TIME_F",
    "TIME_LAG",
    "WEIGH",
    "WHAT",
    "build",
]

# A run this long becomes a jump; a shorter one is cheaper dose by dose.
FEWEST_BOLUSES = 3


@njit
def run_length(
    start: float, interval: float, duration: float, remaining: int, barrier: float
) -> int:
    """How many doses of a run are over by the time of the next record that is not a dose."""
    room = barrier - duration - start + SAME_TIME * max(1.0, abs(barrier))
    if room < 0.0:
        return 0
    if interval <= 0.0 or not np.isfinite(room):
        return remaining if np.isfinite(room) else 0
    return min(remaining, int(min(np.floor(room / interval), 1e9)) + 1)


@njit
def build(
    atoms: Any, number: Any, code: Any, low: int, high: int, theta: Any, block: int, columns: Any,
    n_compartments: int, exact: bool,
) -> int:  # fmt: skip
    """Write the atoms of one subject, in order; returns how many there are.

    Parameters
    ----------
    atoms
        Numbers (capacity, 5 or 12) and codes (capacity, 6), to be filled; keys (capacity, 3) and
        orders (capacity, 2), to work with.
    number, code, low, high
        The records, and which of them are the subject's.
    theta, block
        Parameters, and the subject's first row in them; read only where ``columns`` say so.
    columns
        See `popk.structure.engine.compiled.dose_columns`, (4 * n_compartments).
    exact
        Whether the structure has a closed form: then runs and steady states become jumps.
    """
    n, start = 0, low
    for k in range(low + 1, high + 1):
        # Time may start again at a reset; nothing crosses that border.
        if k == high or number[k, R_TIME] < number[k - 1, R_TIME]:
            rest = (atoms[0][n:], atoms[1][n:], atoms[2][n:], atoms[3][n:])
            n += build_part(
                rest, number, code, start, k, theta, block, columns, n_compartments, exact
            )
            start = k
    while n > 0 and atoms[1][n - 1, KIND] != OBSERVE:
        n -= 1
    return n


@njit
def build_part(
    atoms: Any, number: Any, code: Any, low: int, high: int, theta: Any, block: int, columns: Any,
    n_compartments: int, exact: bool,
) -> int:  # fmt: skip
    """`build` for records whose times do not decrease."""
    n = 0
    stop = np.inf  # where doses of a record are cut off
    cut = low
    for k in range(low, high):
        time, kind, row = number[k, R_TIME], code[k, R_KIND], code[k, R_PLACE]
        if kind != DOSE:
            n = put(atoms, n, time, 1.0, kind, time, 0.0, 0, row)
            if kind == OBSERVE:
                atoms[1][n - 1, OUTPUT], atoms[1][n - 1, WHAT] = code[k, R_OUTPUT], code[k, R_WHAT]
            continue
        compartment = code[k, R_COMPARTMENT]
        size, duration, lag, by_size, by_duration = properties(
            number[k, R_AMOUNT],
            number[k, R_RATE],
            theta[block + row],
            compartment,
            columns,
            n_compartments,
        )
        moves = 1.0 if columns[LAG_ * n_compartments + compartment] >= 0 else 0.0
        dose = (size, duration, by_size, by_duration, compartment, row, moves)
        records = (number, low, high)
        if cut <= k:
            cut, stop = cancelled(number, code, k + 1, high)
        end, interval, steady = stop, number[k, R_INTERVAL], code[k, R_STEADY]
        if steady > 0:
            n = steady_atoms(atoms, n, k, lag, exact, end, dose, records, code)
            if interval <= 0.0:
                continue
        changes = by_duration[0] != 0.0 or by_duration[1] != 0.0 or by_duration[2] != 0.0
        fixed = not (duration > 0.0 and atoms[0].shape[1] > BY_F and changes)
        j, repeats, ahead = 0, code[k, R_REPEATS], k + 1
        while j < repeats:
            start = time + lag + j * interval
            own = j == 0 and lag == 0.0
            start = start if own else snapped(start, number, low, high)
            if start > end:
                break
            count = 0
            if exact and fixed:
                while ahead < high and (
                    (code[ahead, R_KIND] == DOSE and code[ahead, R_STEADY] != 1)
                    or (number[ahead, R_TIME] < start)
                ):
                    ahead += 1
                if ahead == high:  # nothing is observed after it
                    break
                barrier = number[ahead, R_TIME]
                count = run_length(start, interval, duration, repeats - j, barrier)
            if count >= FEWEST_BOLUSES or (count >= 1 and duration > 0.0):
                last = snapped(start + (count - 1) * interval + duration, number, low, high)
                n = put(
                    atoms, n, last, -1.0 if duration > 0.0 else 0.0, JUMP, last, size,
                    compartment, row,
                )  # fmt: skip
                atoms[0][n - 1, INTERVAL], atoms[0][n - 1, DURATION] = interval, duration
                atoms[1][n - 1, COUNT] = count
                derive(atoms, n, by_size, 1.0, moves, (0.0, 0.0, 0.0))
                j += count
                continue
            n = dose_atoms(atoms, n, start, 1.0 if own else 0.0, end, dose, records)
            j += 1
    sort(atoms, n)
    return n


@njit
def cancelled(number: Any, code: Any, low: int, high: int) -> tuple[int, float]:
    """The next record that cancels doses still to come, and its time."""
    for k in range(low, high):
        if code[k, R_KIND] == RESET or (code[k, R_KIND] == DOSE and code[k, R_STEADY] == 1):
            return k, number[k, R_TIME]
    return high, np.inf

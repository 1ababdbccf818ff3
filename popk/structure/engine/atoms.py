"""Atoms: the things that happen to one subject, one at a time; how a dose becomes some.

Lag, bioavailability, duration and rate may be parameters: then times depend on them, and an atom
carries the derivatives of its time and size.
"""

from __future__ import annotations

from typing import Any

from popk.structure.engine.jit import njit
from popk.structure.events import SAME_TIME

# Kinds of atoms beyond OBSERVE, RESET and ROW.
BOLUS, RATE, JUMP, BEGIN, END, WEIGH = 4, 5, 6, 7, 8, 9

# Columns of an atom's numbers: TIME; SIZE (amount, or change of the rate); of a jump INTERVAL,
# DURATION (0: boluses; infinite: without end) and SINCE, the time since its last dose ended; of a
# start of an infusion DURATION; the derivatives of SIZE by F, D and R and of TIME by lag, F, D and
# R of the dose.
TIME, SIZE, INTERVAL, DURATION, SINCE = range(5)
BY_F, BY_D, BY_R, TIME_LAG, TIME_F, TIME_D, TIME_R = range(5, 12)
# Columns of its codes. COUNT: doses of a jump (ENDLESS for steady state); for END, how many atoms
# back its BEGIN is. PLACE: parameter row. OUTPUT: where an observation is written, WHAT it is.
KIND, COMPARTMENT, COUNT, PLACE, OUTPUT, WHAT = range(6)
ENDLESS = -1
N_NUMBERS, N_CODES = 12, 6

# Columns of records (`popk.structure.events.Events`).
R_TIME, R_AMOUNT, R_RATE, R_INTERVAL = range(4)
R_KIND, R_COMPARTMENT, R_REPEATS, R_STEADY, R_PLACE, R_OUTPUT, R_WHAT = range(7)

# Rows of `columns`: theta's column of each compartment's F, lag, D and R, or -1.
F_, LAG_, D_, R_ = range(4)


@njit
def properties(
    amount: float, rate: float, theta: Any, compartment: int, columns: Any, n_compartments: int
) -> Any:
    """Size, duration, lag of a dose, and derivatives of size (F, D, R) and duration (F, D, R)."""
    f, lag = 1.0, 0.0
    if columns[F_ * n_compartments + compartment] >= 0:
        f = theta[columns[F_ * n_compartments + compartment]]
    if columns[LAG_ * n_compartments + compartment] >= 0:
        lag = theta[columns[LAG_ * n_compartments + compartment]]
    if rate == 0.0:
        return f * amount, 0.0, lag, (amount, 0.0, 0.0), (0.0, 0.0, 0.0)
    if rate > 0.0:
        return rate, f * amount / rate, lag, (0.0, 0.0, 0.0), (amount / rate, 0.0, 0.0)
    if rate == -1.0:
        r = theta[columns[R_ * n_compartments + compartment]]
        duration = f * amount / r
        return r, duration, lag, (0.0, 0.0, 1.0), (amount / r, 0.0, -duration / r)
    d = theta[columns[D_ * n_compartments + compartment]]
    return f * amount / d, d, lag, (amount / d, -f * amount / d / d, 0.0), (0.0, 1.0, 0.0)


@njit
def put(
    atoms: Any, n: int, key: float, place: float, kind: int, time: float, size: float,
    compartment: int, row: int,
) -> int:  # fmt: skip
    """Append an atom; returns how many there are."""
    numbers, codes, keys, _ = atoms
    for c in range(numbers.shape[1]):
        numbers[n, c] = 0.0
    numbers[n, TIME], numbers[n, SIZE] = time, size
    codes[n, KIND], codes[n, COMPARTMENT], codes[n, COUNT] = kind, compartment, 1
    codes[n, PLACE], codes[n, OUTPUT], codes[n, WHAT] = row, -1, 0
    keys[n, 0], keys[n, 1], keys[n, 2] = key, place, n
    return n + 1


@njit
def derive(atoms: Any, n: int, by_size: Any, factor: float, lag: float, by_time: Any) -> None:
    """Set the derivatives of the last atom, if atoms have them: of its size, and of its time."""
    numbers = atoms[0]
    if numbers.shape[1] > BY_F:
        for c in range(3):
            numbers[n - 1, BY_F + c] = by_size[c] * factor
            numbers[n - 1, TIME_F + c] = by_time[c]
        numbers[n - 1, TIME_LAG] = lag


@njit
def snapped(time: float, number: Any, low: int, high: int) -> float:
    """The time of the first record at this time, which rounding may have moved, or the time."""
    tolerance = SAME_TIME * max(1.0, abs(time))
    a, b = low, high
    while a < b:
        middle = (a + b) // 2
        if number[middle, R_TIME] < time - tolerance:
            a = middle + 1
        else:
            b = middle
    if a < high and number[a, R_TIME] <= time + tolerance:
        found: float = number[a, R_TIME]
        return found
    return time


@njit
def dose_atoms(
    atoms: Any, n: int, start: float, place: float, stop: float, dose: Any, records: Any
) -> int:
    """One dose: a bolus, or the start and end of an infusion."""
    size, duration, by_size, by_duration, compartment, row, moves = dose
    number, low, high = records
    none = (0.0, 0.0, 0.0)
    if duration == 0.0:
        n = put(atoms, n, start, place, BOLUS, start, size, compartment, row)
        derive(atoms, n, by_size, 1.0, moves, none)
        return n
    n = put(atoms, n, start, place, RATE, start, size, compartment, row)
    atoms[0][n - 1, DURATION] = duration
    derive(atoms, n, by_size, 1.0, moves, none)
    end = snapped(start + duration, number, low, high)
    if end <= stop:
        n = put(atoms, n, end, -1.0, RATE, end, -size, compartment, row)
        derive(atoms, n, by_size, -1.0, moves, by_duration)
    return n

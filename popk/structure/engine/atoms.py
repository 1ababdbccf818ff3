"""Atoms: the things that happen to one subject, one at a time; how a dose becomes some.

Lag, bioavailability, duration and rate may be parameters: then times depend on them, and an atom
carries the derivatives of its time and size.
"""

from __future__ import annotations

from typing import Any

from popk.structure import events
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

# Columns of records.
R_TIME, R_AMOUNT, R_RATE, R_INTERVAL = events.TIME, events.AMOUNT, events.RATE, events.INTERVAL
R_KIND, R_COMPARTMENT, R_REPEATS = events.KIND, events.COMPARTMENT, events.REPEATS
R_STEADY, R_PLACE, R_OUTPUT, R_WHAT = events.STEADY, events.PLACE, events.OUTPUT, events.WHAT

# Rows of `columns`: theta's column of each compartment's F, lag, D and R, or -1; of an F that is 1
# minus that of another compartment -2 minus its column.
F_, LAG_, D_, R_ = range(4)


@njit
def column_at(columns: Any, place: int) -> int:
    """Theta's column that a property of doses follows from, or -1."""
    column: int = columns[place]
    return column if column >= -1 else -2 - column


@njit
def properties(
    amount: float, rate: float, theta: Any, compartment: int, columns: Any, n_compartments: int
) -> Any:
    """Size, duration, lag of a dose, and derivatives of size (F, D, R) and duration (F, D, R).

    Those by F are by the parameter that F follows from.
    """
    f, by_f, lag = 1.0, 1.0, 0.0
    column = column_at(columns, F_ * n_compartments + compartment)
    if column >= 0:
        f = theta[column]
    if columns[F_ * n_compartments + compartment] < -1:
        f, by_f = 1.0 - f, -1.0
    if columns[LAG_ * n_compartments + compartment] >= 0:
        lag = theta[columns[LAG_ * n_compartments + compartment]]
    given = by_f * amount
    # Of nothing, a bolus: an infusion that takes no time has no end to come to. Without an amount
    # it is one without end, whatever F is.
    if rate == 0.0 or (f == 0.0 and amount > 0.0 and rate != -2.0):
        return f * amount, 0.0, lag, (given, 0.0, 0.0), (0.0, 0.0, 0.0)
    if rate > 0.0:
        return rate, f * amount / rate, lag, (0.0, 0.0, 0.0), (given / rate, 0.0, 0.0)
    if rate == -1.0:
        r = theta[columns[R_ * n_compartments + compartment]]
        duration = f * amount / r
        return r, duration, lag, (0.0, 0.0, 1.0), (given / r, 0.0, -duration / r)
    d = theta[columns[D_ * n_compartments + compartment]]
    return f * amount / d, d, lag, (given / d, -f * amount / d / d, 0.0), (0.0, 1.0, 0.0)


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

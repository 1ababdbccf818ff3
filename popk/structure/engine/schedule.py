"""From records to atoms: what happens to one subject, one thing at a time, in order.

A dose record becomes boluses and starts and ends of infusions; runs of doses that nothing
interrupts become one jump where the structure has a closed form. Lag, bioavailability, duration and
rate may be parameters: then times depend on them, and an atom carries the derivatives of its time
and size.

Order: at one time, ends of infusions come first, then doses implied by ADDL or moved by a lag,
then records as they stand. A reset (and a dose that sets steady state) ends all infusions and
cancels every dose still to come from earlier records, as in NONMEM.

Steady state (SS) is that of an endless train of doses, the next of which comes at the record's
time plus the lag; where lag or duration exceed the interval, doses of the train are still to come
or still running, and are.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from popk.structure.engine.jit import njit
from popk.structure.events import DOSE, OBSERVE, RESET, SAME_TIME

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

# A run this long becomes a jump; a shorter one is cheaper dose by dose.
FEWEST_BOLUSES = 3
# Steady states with lags and modelled durations of more intervals than this are cut off: such
# values are proposals that no data support, but they must not exhaust the memory.
MOST_OVERLAPPING = 64
# The steady state of a constant infusion is found over a period of this length.
ANY_PERIOD = 10.0


@njit
def overlapping(amount: float, rate: float, interval: float) -> int:
    """How many infusions of the data's own rate overlap."""
    return int(min(amount / rate / interval, 1e6)) + 1 if rate > 0.0 else 0


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


@njit
def steady_atoms(  # noqa: PLR0915
    atoms: Any, n: int, k: int, lag: float, exact: bool, stop: float, dose: Any, records: Any,
    code: Any,
) -> int:  # fmt: skip
    """Steady state at record k, a dose: what the train before left, and what of it still runs."""
    size, duration, by_size, by_duration, compartment, row, moves = dose
    time, interval = records[0][k, R_TIME], records[0][k, R_INTERVAL]
    amount, rate, steady = records[0][k, R_AMOUNT], records[0][k, R_RATE], code[k, R_STEADY]
    number, low, high = records
    none = (0.0, 0.0, 0.0)
    if steady == 1:
        n = put(atoms, n, time, 1.0, RESET, time, 0.0, 0, row)
    elif not exact:  # what it adds to is what there is at this time
        n = put(atoms, n, time, 1.0, BOLUS, time, 0.0, compartment, row)
    if interval <= 0.0:  # a constant infusion
        if exact:
            n = put(atoms, n, time, 1.0, JUMP, time, size, compartment, row)
            atoms[0][n - 1, DURATION] = np.inf
            derive(atoms, n, by_size, 1.0, 0.0, none)
            return n
        start = n
        n = put(atoms, n, time, 1.0, BEGIN, time - ANY_PERIOD, 0.0, steady, row)
        n = put(atoms, n, time, 1.0, RATE, time - ANY_PERIOD, size, compartment, row)
        atoms[0][n - 1, DURATION] = ANY_PERIOD
        derive(atoms, n, by_size, 1.0, 0.0, none)
        n = put(atoms, n, time, 1.0, END, time, 0.0, steady, row)
        atoms[1][n - 1, COUNT] = n - 1 - start
        return n
    early = int(min(np.floor(lag / interval * (1.0 + 1e-12)), float(MOST_OVERLAPPING)))
    ended = int(min(np.ceil((duration + lag) / interval * (1.0 - 1e-12)), 1e9))
    own = overlapping(amount, rate, interval)
    ended = max(min(ended, early + own + MOST_OVERLAPPING), early + 1)
    if exact:
        n = put(atoms, n, time, 1.0, JUMP, time, size, compartment, row)
        atoms[0][n - 1, INTERVAL], atoms[0][n - 1, DURATION] = interval, duration
        since = max(ended * interval - duration - lag, 0.0)
        atoms[0][n - 1, SINCE], atoms[1][n - 1, COUNT] = since, ENDLESS
        derive(atoms, n, by_size, 1.0, moves, none)
        if duration > 0.0 and atoms[0].shape[1] > BY_F:
            n = put(atoms, n, time, 1.0, WEIGH, time, size, compartment, row)
            atoms[0][n - 1, INTERVAL], atoms[0][n - 1, SINCE] = interval, since
            atoms[1][n - 1, COUNT] = ENDLESS
            derive(atoms, n, none, 0.0, 0.0, by_duration)
    else:
        n = period_atoms(atoms, n, time, interval, lag - early * interval, steady, dose)
    for j in range(early + 1, ended):  # started, not ended
        elapsed = j * interval - lag
        if elapsed < 0.0:  # beyond what is kept of a long lag
            continue
        if exact:
            n = put(atoms, n, time, 1.0, JUMP, time, size, compartment, row)
            atoms[0][n - 1, DURATION] = elapsed
            derive(atoms, n, by_size, 1.0, moves, none)
        n = put(atoms, n, time, 1.0, RATE, time, size, compartment, row)
        atoms[0][n - 1, DURATION] = duration - elapsed
        derive(atoms, n, by_size, 1.0, moves if exact else 0.0, none)
        end = snapped(time + duration - elapsed, number, low, high)
        if end <= stop:
            n = put(atoms, n, end, 1.0 if end == time else -1.0, RATE, end, -size, compartment, row)
            derive(atoms, n, by_size, -1.0, moves, by_duration)
    for j in range(early, 0, -1):  # still to come
        start = time + lag - j * interval
        n = dose_atoms(atoms, n, start, 1.0 if start <= time else 0.0, stop, dose, records)
    return n


@njit
def period_atoms(
    atoms: Any, n: int, time: float, interval: float, phase: float, steady: int, dose: Any
) -> int:
    """One period of the train that ends at ``time``, between BEGIN and END."""
    size, duration, by_size, by_duration, compartment, row, moves = dose
    none = (0.0, 0.0, 0.0)
    start, first = time - interval, n
    phase = min(max(phase, 0.0), interval)
    n = put(atoms, n, time, 1.0, BEGIN, start, 0.0, steady, row)
    if duration == 0.0:
        n = put(atoms, n, time, 1.0, BOLUS, start + phase, size, compartment, row)
        derive(atoms, n, by_size, 1.0, moves, none)
    else:
        overlapping = np.floor(duration / interval * (1.0 + 1e-12))
        rest = max(duration - overlapping * interval, 0.0)
        wraps = phase + rest > interval
        always = overlapping + (1.0 if wraps else 0.0)
        n = put(atoms, n, time, 1.0, RATE, start, always * size, compartment, row)
        atoms[0][n - 1, DURATION] = interval
        derive(atoms, n, by_size, always, 0.0, none)
        for turn in range(2):
            if (turn == 0) == wraps:  # the end
                end = start + phase + rest - (interval if wraps else 0.0)
                n = put(atoms, n, time, 1.0, RATE, end, -size, compartment, row)
                derive(atoms, n, by_size, -1.0, moves, by_duration)
            else:
                n = put(atoms, n, time, 1.0, RATE, start + phase, size, compartment, row)
                atoms[0][n - 1, DURATION] = min(duration, interval)
                derive(atoms, n, by_size, 1.0, moves, none)
    n = put(atoms, n, time, 1.0, END, time, 0.0, steady, row)
    atoms[1][n - 1, COUNT] = n - 1 - first
    return n


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
        Theta's columns of F, lag, D and R by compartment, (4 * n_compartments); -1 for none.
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


@njit
def sort(atoms: Any, n: int) -> None:
    """Bring the atoms into order: by key, by place at one time, then as they were made."""
    numbers, codes, keys, orders = atoms
    ordered = True
    for k in range(n):
        orders[k, 0] = k
        ordered = ordered and (k == 0 or not after(keys, k - 1, k))
    if ordered:
        return
    width, source = 1, 0
    while width < n:
        merge(keys, orders, n, width, source)
        width, source = 2 * width, 1 - source
    # Along the cycles of the permutation.
    for start in range(n):
        k = start
        while orders[k, source] != start and orders[k, source] >= 0:
            origin = orders[k, source]
            swap(numbers, codes, k, origin)
            orders[k, source] = -1
            k = origin
        orders[k, source] = -1


@njit
def merge(keys: Any, orders: Any, n: int, width: int, source: int) -> None:
    """One pass of a merge sort, from one column of ``orders`` to the other."""
    target = 1 - source
    for left in range(0, n, 2 * width):
        middle, right = min(left + width, n), min(left + 2 * width, n)
        a, b = left, middle
        for k in range(left, right):
            if a < middle and (b >= right or not after(keys, orders[a, source], orders[b, source])):
                orders[k, target] = orders[a, source]
                a += 1
            else:
                orders[k, target] = orders[b, source]
                b += 1


@njit
def swap(numbers: Any, codes: Any, a: int, b: int) -> None:
    """Exchange two atoms."""
    for c in range(numbers.shape[1]):
        numbers[a, c], numbers[b, c] = numbers[b, c], numbers[a, c]
    for c in range(codes.shape[1]):
        codes[a, c], codes[b, c] = codes[b, c], codes[a, c]


@njit
def after(keys: Any, a: int, b: int) -> bool:
    """Whether atom a comes after atom b."""
    for c in range(3):
        if keys[a, c] != keys[b, c]:
            return bool(keys[a, c] > keys[b, c])
    return False

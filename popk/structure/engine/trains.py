"""Steady states (SS): what an endless train of doses has left at the time of its record.

The next dose of the train comes at the record's time plus the lag; where lag or duration exceed the
interval, doses of the train are still to come or still running, and are. A closed form makes one
jump of the train; an ODE solver is given one period of it, whose end is to equal its start.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from popk.structure.engine.atoms import (
    BEGIN,
    BOLUS,
    BY_F,
    COUNT,
    DURATION,
    END,
    ENDLESS,
    INTERVAL,
    JUMP,
    R_AMOUNT,
    R_INTERVAL,
    R_RATE,
    R_STEADY,
    R_TIME,
    RATE,
    SINCE,
    WEIGH,
    derive,
    dose_atoms,
    put,
    snapped,
)
from popk.structure.engine.jit import njit
from popk.structure.events import RESET

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

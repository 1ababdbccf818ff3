"""From events to what the compiled solver reads: atoms, or records where atoms follow theta."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from popk.structure.base import Structure
from popk.structure.engine.compiled import is_dynamic
from popk.structure.engine.jit import specialise
from popk.structure.engine.lockstep import packed
from popk.structure.engine.schedule import (
    MOST_OVERLAPPING,
    N_CODES,
    R_AMOUNT,
    R_INTERVAL,
    R_KIND,
    R_OUTPUT,
    R_RATE,
    R_REPEATS,
    R_STEADY,
    build,
)
from popk.structure.engine.scripts import scripts, side_by_side
from popk.structure.engine.vector import W
from popk.structure.events import DOSE, OBSERVE, ROW, Events

STATIC_NUMBERS = 5  # without the derivatives by the parameters of doses
# What `popk.structure.op.Prediction` takes after theta, in this order: fields of `Schedule`.
INPUTS = (
    "subject_of", "output_of", "row_of", "tasks", "first", "numbers", "codes", "traits", "rounds",
    "starts", "operations", "vectors",
)  # fmt: skip

type Integers = NDArray[np.int64]
type Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Schedule:
    """What the solver reads.

    Parameters
    ----------
    first, numbers, codes
        Atoms of each subject (`popk.structure.engine.schedule`), or its records.
    traits
        Whether a subject has several parameter rows; whether a steady state is to be solved for;
        room for atoms of one subject; most parameter rows of a subject.
    tasks
        One for each subject: subject, first row of theta, first output, first row of the gradient,
        number of parameter rows.
    subject_of
        Subject of each output, (n_outputs).
    output_of, row_of
        Output and row of theta of each row of the gradient, (n_slopes).
    rounds
        Where subjects can be solved side by side (`popk.structure.engine.scripts`): group and tasks
        of each group, -1 for none, (n_groups, 9); else empty.
    starts, operations, vectors
        The groups' scripts.
    """

    first: Integers
    numbers: Floats
    codes: Integers
    traits: Integers
    tasks: Integers
    subject_of: Integers
    output_of: Integers
    row_of: Integers
    rounds: Integers
    starts: Integers
    operations: Integers
    vectors: Floats

    @property
    def n_outputs(self) -> int:
        """Number of outputs."""
        return len(self.subject_of)

    @property
    def n_slopes(self) -> int:
        """Number of rows of the gradient."""
        return len(self.output_of)

    @property
    def arrays(self) -> tuple[Any, ...]:
        """What the compiled solver takes after the tasks."""
        return self.first, self.numbers, self.codes, self.traits

    @cached_property
    def record(self) -> Integers:
        """What the compiled solver takes in lockstep."""
        return packed(self.tasks, self.rounds, self.script)

    @property
    def script(self) -> tuple[Any, ...]:
        """What it takes then, after the rounds."""
        return self.starts, self.operations, self.vectors


def prepare(structure: Structure, events: Events) -> Schedule:
    """Make a cohort's events ready for a structure."""
    events = without_idle_switches(events)
    code = events.code.copy()
    observed = code[:, R_KIND] == OBSERVE
    count = np.concatenate([[0], np.cumsum(observed)])[events.first]
    subject = np.repeat(np.arange(events.n_subjects), np.diff(events.first))
    code[:, R_OUTPUT] = np.where(observed, code[:, R_OUTPUT] - count[:-1][subject], -1)
    n_rows = np.diff(events.rows)
    slopes = np.concatenate([[0], np.cumsum(np.diff(count) * n_rows)])
    tasks = np.stack(
        [np.arange(events.n_subjects), events.rows[:-1], count[:-1], slopes[:-1], n_rows], axis=1
    )
    exact = structure.closed_form is not None
    capacity = _capacity(events.first, events.number, code)
    steady = (code[:, R_KIND] == DOSE) & (code[:, R_STEADY] > 0)
    most = int(capacity.max(initial=1))
    first, numbers, codes = events.first, events.number, code
    if not is_dynamic(structure):
        first, numbers, codes = _compiled()(
            events.first, events.number, code, capacity, exact, len(structure.compartments)
        )
    traits = np.array(
        [
            int(n_rows.max(initial=1) > 1),
            int(not exact and bool(steady.any())),
            most,
            int(n_rows.max(initial=1)),
        ]
    )
    first = np.ascontiguousarray(first, dtype=np.int64)
    numbers, codes = np.ascontiguousarray(numbers), np.ascontiguousarray(codes, dtype=np.int64)
    together = exact and not is_dynamic(structure) and not traits[0]
    members = side_by_side(first, codes) if together else np.zeros((0, W), np.int64)
    starts, operations, vectors = scripts(first, numbers, codes, members, structure)
    many = n_rows[subject[observed]]
    output_of = np.repeat(np.arange(len(many)), many)
    place = np.arange(len(output_of)) - np.repeat(np.cumsum(many) - many, many)
    row_of = events.rows[:-1][subject[observed]][output_of] + place
    return Schedule(
        first, numbers, codes, traits, np.ascontiguousarray(tasks),
        np.ascontiguousarray(subject[observed]), output_of, np.ascontiguousarray(row_of),
        np.column_stack([np.arange(len(members)), members]), starts, operations, vectors,
    )  # fmt: skip


def without_idle_switches(events: Events) -> Events:
    """The events without a ROW of subjects that have a single row: it changes nothing.

    In lockstep, where no parameters change, nothing would ever take such an event.
    """
    switches = events.kind == ROW
    if not switches.any():
        return events
    single = np.repeat(np.diff(events.rows) == 1, np.diff(events.first))
    kept = ~(switches & single)
    first = np.concatenate([[0], np.cumsum(kept)])[events.first]
    return Events(first, events.rows, events.number[kept], events.code[kept])


def scripts_alone(structure: Structure, schedule: Schedule) -> tuple[Any, ...]:
    """Scripts in which every lane holds the same subject, for each subject one."""
    members = np.repeat(np.arange(len(schedule.first) - 1), W).reshape(-1, W)
    return scripts(schedule.first, schedule.numbers, schedule.codes, members, structure)


def _capacity(first: Integers, number: Floats, code: Integers) -> Integers:
    """How many atoms a subject's records can make, at most, (n_subjects)."""
    rate, interval = number[:, R_RATE], number[:, R_INTERVAL]
    dose = code[:, R_KIND] == DOSE
    trains = dose & (code[:, R_STEADY] > 0)
    lasting = np.zeros(len(number))
    np.divide(number[:, R_AMOUNT], rate * interval, out=lasting, where=(rate > 0) & (interval > 0))
    room = 1 + dose * 2 * code[:, R_REPEATS]
    room += trains * (12 + 6 * (np.minimum(lasting, 1e6).astype(np.int64) + 1 + MOST_OVERLAPPING))
    total = np.concatenate([[0], np.cumsum(room)])
    return np.asarray(np.diff(total[first]), dtype=np.int64)


@cache
def _compiled() -> Callable[..., Any]:
    return specialise(_atoms, "atoms_of_subjects", build=build)


def _atoms(
    first: Integers, number: Floats, code: Integers, capacity: Integers, exact: bool,
    n_compartments: int,
) -> tuple[Integers, Floats, Integers]:  # fmt: skip
    """Atoms of all subjects, where none depends on parameters."""
    n_subjects = len(first) - 1
    room = 1
    for size in capacity:
        room = max(room, size)
    scratch = (
        np.empty((room, STATIC_NUMBERS)), np.empty((room, N_CODES), np.int64), np.empty((room, 3)),
        np.empty((room, 2), np.int64),
    )  # fmt: skip
    columns = np.full(4 * n_compartments, -1)
    theta = np.zeros((1, 1))
    starts = np.zeros(n_subjects + 1, np.int64)
    numbers = np.empty((len(number) + 16, STATIC_NUMBERS))
    codes = np.empty((len(number) + 16, N_CODES), np.int64)
    for i in range(n_subjects):
        n = build(
            scratch, number, code, first[i], first[i + 1], theta, 0, columns, n_compartments, exact
        )
        low = starts[i]
        starts[i + 1] = low + n
        if low + n > len(numbers):
            size = 2 * (low + n)
            more, more_codes = np.empty((size, STATIC_NUMBERS)), np.empty((size, N_CODES), np.int64)
            more[:low], more_codes[:low] = numbers[:low], codes[:low]
            numbers, codes = more, more_codes
        numbers[low : low + n], codes[low : low + n] = scratch[0][:n], scratch[1][:n]
    total = starts[n_subjects]
    return starts, numbers[:total].copy(), codes[:total].copy()


def arrays_of(schedule: Schedule) -> dict[str, Any]:
    """The arrays that `popk.structure.op.prediction` takes, by the names in `INPUTS`."""
    return {name: getattr(schedule, name) for name in INPUTS}

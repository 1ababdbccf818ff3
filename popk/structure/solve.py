"""Concentrations of a cohort, or of many parameter vectors of one subject."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from os import cpu_count
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from popk.errors import SettingError
from popk.structure.base import Floats, Structure
from popk.structure.engine.compiled import compiled, lockstep_loop, loop_of
from popk.structure.engine.lanes import ROWS_OF_TASK
from popk.structure.engine.lockstep import packed, shared
from popk.structure.engine.prepare import prepare, scripts_alone
from popk.structure.engine.vector import W
from popk.structure.events import Events

type Integers = NDArray[np.int64]

# Fewer tasks than this are not worth a second thread.
FEWEST_TASKS = 512
# In lockstep, where one takes some 10 ns, fewer outputs than this for each thread.
FEWEST_OUTPUTS = 16384
# Of fewer subjects, the draws of one go side by side rather than the subjects.
FEW_SUBJECTS = 64
_KEPT_DRAWS = 20_000  # of an ensemble whose tasks are kept: a megabyte


class Solution(NamedTuple):
    """Outputs (n_outputs) and their gradient (n_slopes, n_parameters).

    Outputs are in the units of the data; the gradient is in theirs for one unit of each parameter.
    Where every subject has one parameter row, row k of the gradient is that of output k. Otherwise
    an output has as many consecutive rows as its subject has parameter rows.

    Outputs of a subject whose equations could not be solved (by an ODE solver) are infinite, with a
    gradient of zero. An ODE solver resolves amounts to 1e-10 of the subject's largest dose, and
    compartments that hold no drug or a deviation to 1e-10 of where they would settle beside it;
    what was given and is less than that reads as that, with a gradient of zero. A quotient of two
    such amounts means nothing.
    """

    value: Floats
    gradient: Floats


class Solver:
    """A structure made ready to be solved for one cohort, again and again.

    Parameters
    ----------
    structure
        The equations.
    events
        The subjects' events, as `events_of` gives them.
    threads
        Most threads to use; all processors if None. Results do not depend on it.
    """

    def __init__(self, structure: Structure, events: Events, *, threads: int | None = None) -> None:
        self.structure = structure
        self.schedule = prepare(structure, events)
        self._shape = (int(self.schedule.tasks[:, ROWS_OF_TASK].sum()), len(structure.parameters))
        self._n_outputs = self.schedule.n_outputs
        self._threads = threads or cpu_count() or 1
        self._compiled = compiled(structure)
        self._loop = loop_of(exact=structure.closed_form is not None)
        self._may_fail = structure.closed_form is None and not structure.is_stiff
        self._alone: tuple[Any, ...] | None = None

    def run(self, theta: Floats, *, with_gradient: bool = True) -> Solution:
        """Solve the cohort.

        Parameters
        ----------
        theta
            Individual parameters, (n_rows, n_parameters), in the structure's order and units.
        with_gradient
            Whether to compute the gradient; it is empty otherwise.

        Returns
        -------
        Values (n_outputs) and gradient (n_slopes, n_parameters).

        Raises
        ------
        SettingError
            When theta has another shape.
        """
        schedule = self.schedule
        self._check_shape(theta.shape)
        if len(schedule.rounds):
            return self._side_by_side(theta, schedule.record, with_gradient=with_gradient)
        return self._one_by_one(theta, schedule.tasks, with_gradient=with_gradient)

    def ensemble(self, theta: Floats, *, with_gradient: bool = False) -> Solution:
        """Solve the cohort for many draws of everybody's parameters.

        Parameters
        ----------
        theta
            Parameters, (n_draws, n_rows, n_parameters).
        with_gradient
            Whether to compute the gradient; it is empty otherwise.

        Returns
        -------
        Values (n_draws, n_outputs) and gradient (n_draws, n_slopes, n_parameters).

        Raises
        ------
        SettingError
            When theta has another shape.
        """
        self._check_shape(theta.shape[1:] if theta.ndim == 3 else theta.shape)
        draws, n_rows, m = theta.shape
        schedule = self.schedule
        one = schedule.tasks
        repeat = _kept_copies if draws <= _KEPT_DRAWS else _copies
        sizes = (n_rows, schedule.n_outputs, schedule.n_slopes)
        tasks = repeat(draws, *sizes, one.tobytes(), len(one))
        together = theta.reshape(-1, m)
        if len(schedule.rounds):
            rounds, script = self._rounds(draws)
            record = packed(tasks, rounds, script)
            found = self._side_by_side(together, record, draws, with_gradient=with_gradient)
        else:
            found = self._one_by_one(together, tasks, draws, with_gradient=with_gradient)
        slopes = schedule.n_slopes if with_gradient else 0
        return Solution(
            found.value.reshape(draws, schedule.n_outputs),
            found.gradient.reshape(draws, slopes, m),
        )

    def _check_shape(self, given: tuple[int, ...]) -> None:
        # The compiled loop would read beyond the array.
        if given != self._shape:
            check_theta(given, self._shape[0], self.structure)

    def _rounds(self, draws: int) -> tuple[Integers, tuple[Any, ...]]:
        """Which tasks of an ensemble go side by side, and their scripts."""
        schedule = self.schedule
        n = len(schedule.tasks)
        if draws == 1:
            return schedule.rounds, schedule.script
        if n >= FEW_SUBJECTS or draws < W:  # the cohort again and again
            rounds = np.repeat(schedule.rounds[None], draws, axis=0)
            rounds[..., 1:] += np.where(rounds[..., 1:] < 0, 0, n * np.arange(draws)[:, None, None])
            return rounds.reshape(-1, W + 1), schedule.script
        if self._alone is None:
            self._alone = scripts_alone(self.structure, schedule)
        return (_kept_turns if draws <= _KEPT_DRAWS else _turns)(draws, n), self._alone

    def _side_by_side(
        self, theta: Floats, record: Integers, copies: int = 1, *, with_gradient: bool
    ) -> Solution:
        """Solve what a record of `popk.structure.engine.lockstep` says, in lockstep."""
        theta = np.ascontiguousarray(theta, dtype=np.float64)
        n = copies * self._n_outputs  # every output has one row of the gradient
        value, gradient = np.empty(n), np.empty((n if with_gradient else 0, self._shape[1]))
        description, march = self._compiled.description, lockstep_loop()
        threads = min(self._threads, n // FEWEST_OUTPUTS)
        if threads <= 1:
            march(description, record, theta, value, gradient, with_gradient)
        else:
            with ThreadPoolExecutor(threads) as pool:
                list(
                    pool.map(
                        lambda part: march(
                            description, part, theta, value, gradient, with_gradient
                        ),
                        shared(record, threads),
                    )
                )
        return Solution(value, gradient)

    def _one_by_one(
        self, theta: Floats, tasks: Integers, copies: int = 1, *, with_gradient: bool
    ) -> Solution:
        schedule = self.schedule
        theta = np.ascontiguousarray(theta, dtype=np.float64)
        value = np.full(copies * schedule.n_outputs, np.inf)
        slopes = copies * schedule.n_slopes if with_gradient else 0
        gradient = np.zeros((slopes, self._shape[1]))
        threads = min(self._threads, max(1, len(tasks) // FEWEST_TASKS))

        def part(some: Integers) -> None:
            failed = np.zeros(len(some), np.int64)

            def attempt(description: Integers) -> None:
                self._loop(
                    description, theta, some, *schedule.arrays, schedule.rounds[:0],
                    *schedule.script, value, gradient, with_gradient, failed,
                )  # fmt: skip

            attempt(self._compiled.description)
            if self._may_fail and failed.any():
                # What is too stiff for explicit steps.
                some, failed = np.ascontiguousarray(some[failed > 0]), failed[failed > 0]
                attempt(compiled(self.structure, implicit=True).description)

        if threads == 1:
            part(tasks)
        else:
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(part, map(np.ascontiguousarray, np.array_split(tasks, threads))))
        return Solution(value, gradient)


def _copies(
    draws: int, n_rows: int, n_outputs: int, n_slopes: int, once: bytes, n: int
) -> Integers:
    """A cohort's n tasks, given as bytes, for each draw."""
    one = np.frombuffer(once, dtype=np.int64).reshape(n, -1)
    tasks = np.tile(one, (draws, 1))
    turn = np.repeat(np.arange(draws), n)
    for column, size in enumerate((n_rows, n_outputs, n_slopes), start=1):
        tasks[:, column] += turn * size
    return tasks


def _turns(draws: int, n: int) -> Integers:
    """Rounds of the tasks of n subjects, draws of one subject side by side."""
    turns = -(-draws // W)
    draw = np.arange(turns * W).reshape(turns, W)
    tasks = np.where(draw < draws, draw * n, -1)
    rounds = np.zeros((n, turns, W + 1), np.int64)
    subject = np.arange(n)[:, None, None]
    rounds[..., :1] = subject
    rounds[..., 1:] = np.where(tasks < 0, -1, tasks + subject)
    return rounds.reshape(-1, W + 1)


# Integrals over one patient's random effects ask for the same numbers of draws again and again.
_kept_copies, _kept_turns = (lru_cache(maxsize=32)(make) for make in (_copies, _turns))


def check_theta(given: tuple[int, ...], n_rows: int, structure: Structure) -> None:
    """Refuse parameters of another shape than (n_rows, n_parameters).

    Raises
    ------
    SettingError
        With both shapes.
    """
    names = structure.names
    if given != (n_rows, len(names)):
        raise SettingError(
            f"theta has the shape {given}; expected {(n_rows, len(names))}: a row for each of the "
            f"cohort's {n_rows} parameter rows (one per subject, unless its parameters change), "
            f"and a column for each of {', '.join(names)}."
        )


def concentrations(structure: Structure, theta: Floats, events: Events) -> Floats:
    """Outputs of a cohort.

    Parameters
    ----------
    structure
        The equations.
    theta
        Individual parameters, (n_rows, n_parameters), in the structure's order and units.
    events
        The subjects' events, as `events_of` gives them.

    Returns
    -------
    Outputs (n_outputs), in the units of the data and the order of `events`; see `Solution`.

    Raises
    ------
    SettingError
        When theta has another shape.
    """
    return Solver(structure, events).run(theta, with_gradient=False).value


def concentrations_with_gradient(
    structure: Structure, theta: Floats, events: Events
) -> tuple[Floats, Floats]:
    """Outputs of a cohort, as `concentrations` gives them, and their gradient.

    Returns
    -------
    Outputs (n_outputs) and gradient (n_slopes, n_parameters); see `Solution`.

    Raises
    ------
    SettingError
        When theta has another shape.
    """
    found = Solver(structure, events).run(theta)
    return found.value, found.gradient

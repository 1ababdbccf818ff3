"""Concentrations of a cohort, or of many parameter vectors of one subject."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from os import cpu_count
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from popk.structure.base import Floats, Structure
from popk.structure.engine.compiled import compiled, loop_of
from popk.structure.engine.prepare import prepare
from popk.structure.events import Events

type Integers = NDArray[np.int64]

# Fewer tasks than this are not worth a second thread.
FEWEST_TASKS = 512


class Solution(NamedTuple):
    """Outputs (n_outputs) and their gradient (n_slopes, n_parameters).

    Where every subject has one parameter row, row k of the gradient is that of output k. Otherwise
    an output has as many consecutive rows as its subject has parameter rows.
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
        self._threads = threads
        self._compiled = compiled(structure)
        self._loop = loop_of(exact=structure.closed_form is not None)

    def run(self, theta: Floats, *, with_gradient: bool = True) -> Solution:
        """Solve the cohort.

        Parameters
        ----------
        theta
            Individual parameters, (n_rows, n_parameters), in the structure's order and units.
        with_gradient
            Whether to compute the gradient; it is empty otherwise.
        """
        return self._solve(theta, self.schedule.tasks, with_gradient=with_gradient)

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
        """
        draws, n_rows, m = theta.shape
        schedule = self.schedule
        tasks = np.tile(schedule.tasks, (draws, 1))
        turn = np.repeat(np.arange(draws), len(schedule.tasks))
        tasks[:, 1] += turn * n_rows
        tasks[:, 2] += turn * schedule.n_outputs
        tasks[:, 3] += turn * schedule.n_slopes
        found = self._solve(theta.reshape(-1, m), tasks, copies=draws, with_gradient=with_gradient)
        slopes = schedule.n_slopes if with_gradient else 0
        return Solution(
            found.value.reshape(draws, schedule.n_outputs),
            found.gradient.reshape(draws, slopes, m),
        )

    def _solve(
        self, theta: Floats, tasks: Integers, *, copies: int = 1, with_gradient: bool
    ) -> Solution:
        schedule = self.schedule
        theta = np.ascontiguousarray(theta, dtype=np.float64)
        value = np.full(copies * schedule.n_outputs, np.inf)
        slopes = copies * schedule.n_slopes if with_gradient else 0
        gradient = np.zeros((slopes, len(self.structure.parameters)))
        threads = min(self._threads or cpu_count() or 1, max(1, len(tasks) // FEWEST_TASKS))
        arrays = schedule.arrays

        def attempt(some: Integers, description: Integers) -> Integers:
            failed = np.zeros(len(some), np.int64)
            self._loop(description, theta, some, *arrays, value, gradient, with_gradient, failed)
            return failed

        def part(some: Integers) -> None:
            failed = attempt(some, self._compiled.description) > 0
            if np.any(failed) and not self.structure.is_stiff:
                # What is too stiff for explicit steps.
                implicit = compiled(self.structure, implicit=True)
                attempt(np.ascontiguousarray(some[failed]), implicit.description)

        if threads == 1:
            part(tasks)
        else:
            chunks = [np.ascontiguousarray(c) for c in np.array_split(tasks, threads)]
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(part, chunks))
        return Solution(value, gradient)


def concentrations(structure: Structure, theta: Floats, events: Events) -> Floats:
    """Outputs of a cohort, (n_outputs), in the units of the data; see `Solver`."""
    return Solver(structure, events).run(theta, with_gradient=False).value


def concentrations_with_gradient(
    structure: Structure, theta: Floats, events: Events
) -> tuple[Floats, Floats]:
    """Outputs of a cohort and their gradient; see `Solution`."""
    found = Solver(structure, events).run(theta)
    return found.value, found.gradient

"""Dosing histories written by hand, and a slow simulator that follows them event by event.

Both come with popk (`popk.qualification`), which checks an installation with them; here are what
only tests need: a structure's own equations, and what is asserted.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np

from popk.qualification.follower import ByEquations, Mammillary, Simulator
from popk.qualification.histories import (
    Record,
    dose,
    events,
    in_order,
    observe,
    reset,
    switch,
    with_rows,
)
from popk.structure import OneCompartment, Solver, TwoCompartment

__all__ = [
    "VALUES", "ByScipy", "Mammillary", "OneByODE", "Record", "Simulator", "TwoByODE",
    "assert_follows", "by_row", "dose", "events", "in_order", "observe", "reset", "switch",
    "values", "with_rows",
]  # fmt: skip


def by_row(gradient, n_rows):
    """The gradient of one subject, (n_outputs, n_rows, n_parameters)."""
    return gradient.reshape(-1, n_rows, gradient.shape[-1])


class ByScipy(ByEquations):
    """A structure's own equations, by DOP853 or Radau."""

    def __init__(self, structure, **how):
        self.structure = structure
        self.names = [parameter.name for parameter in structure.kinetics]
        super().__init__(
            len(structure.compartments),
            lambda *given: self._equations(structure.rates, *given),
            lambda *given: self._equations(structure.read, *given),
            **how,
        )

    def _equations(self, function, time, state, p):
        amounts = SimpleNamespace(**dict(zip(self.structure.compartments, state.T, strict=True)))
        named = SimpleNamespace(**dict(zip(self.names, p.T, strict=False)))
        return function(time, amounts, named)


def assert_follows(structure, kinetics, theta, records, *, rtol=1e-9, slope=1e-7):
    """Value and gradient against the simulator, and the value without the gradient the same.

    ``slope``: relative to the element, or to a thousandth of what moves the value by itself.
    """
    theta = np.atleast_2d(np.asarray(theta, dtype=float))
    expected, expected_slopes = Simulator(kinetics, structure.names, theta).follow(records)
    solver = Solver(structure, events(records))
    value, gradient = solver.run(theta)
    scale = np.abs(expected) + 1e-9 * np.abs(expected).max(initial=0.0) + 1e-300
    np.testing.assert_array_less(np.abs(value - expected) / scale, rtol)
    slopes = by_row(gradient, len(theta))
    moving = scale[:, None, None] / np.abs(theta)
    wrong = np.abs(slopes - expected_slopes) / (np.abs(expected_slopes) + 1e-3 * moving)
    worst = np.unravel_index(np.argmax(wrong), wrong.shape)
    assert np.max(wrong) < slope, (
        f"output {worst[0]}, row {worst[1]}, {structure.names[worst[2]]}: "
        f"{slopes[worst]} instead of {expected_slopes[worst]}"
    )
    alone = solver.run(theta, with_gradient=False)
    assert alone.gradient.shape == (0, theta.shape[1])
    np.testing.assert_allclose(alone.value, value, rtol=1e-12, atol=1e-300)


@dataclass(frozen=True)
class OneByODE(OneCompartment):
    """`OneCompartment` without its closed form, solved to as many digits as can be had."""

    closed_form = None
    tolerance: float = field(default=1e-10, kw_only=True)


@dataclass(frozen=True)
class TwoByODE(TwoCompartment):
    """Likewise of `TwoCompartment`."""

    closed_form = None
    tolerance: float = field(default=1e-10, kw_only=True)


# Parameters by name: typical values of the kinetics, and of properties of doses.
VALUES = {
    "CL": 1.1, "V": 14.0, "V1": 12.0, "Q": 0.8, "V2": 9.0, "Q2": 0.8, "Q3": 0.3, "V3": 6.0,
    "KA": 0.7, "F1": 0.8, "F2": 0.6, "ALAG1": 1.3, "ALAG2": 0.45, "D1": 2.2, "D2": 3.1,
    "R1": 30.0, "R2": 45.0,
}  # fmt: skip


def values(structure, n_rows=1):
    """Parameters (n_rows, n_parameters), every row different."""
    one = np.array([VALUES[name] for name in structure.names])
    return one * np.linspace(1.0, 1.3, n_rows)[:, None] ** np.where(np.arange(len(one)) % 2, 1, -1)

"""Dosing histories written by hand, and a slow simulator that follows them event by event."""

from __future__ import annotations

import bisect
from dataclasses import dataclass, field
from functools import partial
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
from scipy.integrate import solve_ivp
from scipy.linalg import expm

from popk.structure import Events, OneCompartment, Solver, TwoCompartment
from popk.structure.events import DOSE, OBSERVE, RESET, ROW

STEP = 1e-80  # of complex steps
CENTRAL_STEP = 1e-5  # of central differences, relative
RUN_IN = 1600.0  # a train of doses as long as this stands for an endless one


class Record(NamedTuple):
    """One event of `popk.structure.Events`; ``row`` None is the row in force."""

    time: float
    kind: int
    amount: float = 0.0
    rate: float = 0.0
    interval: float = 0.0
    into: int = 0
    times: int = 0
    steady: int = 0
    row: int | None = None
    what: int = 0


def observe(*times, what=0):
    return [Record(float(time), OBSERVE, what=what) for time in times]


def dose(time, amount=100.0, *, over=0.0, rate=None, every=0.0, times=1, into=0, ss=0, row=None):
    """A dose at once, over a time, or with RATE as in the data."""
    given = rate if rate is not None else (amount / over if over else 0.0)
    return Record(float(time), DOSE, amount, float(given), every, into, times, ss, row)


def reset(time):
    return Record(float(time), RESET)


def switch(time, row):
    """From now on the parameters are those of another row."""
    return Record(float(time), ROW, row=row)


def in_order(*records):
    """By time; records at the same time stay as they stand."""
    return sorted(records, key=lambda record: record.time)


def with_rows(records):
    """The records with the row in force where they do not say another."""
    active, found = 0, []
    for record in records:
        if record.kind == ROW:
            active = record.row
        found.append(record if record.row is not None else record._replace(row=active))
    return found


def events(*subjects):
    """`Events` of subjects, each a list of records."""
    whole = [with_rows(records) for records in subjects]
    rows = [record for records in whole for record in records]
    number = np.array([(r.time, r.amount, r.rate, r.interval) for r in rows])
    code = np.array([(r.kind, r.into, r.times, r.steady, r.row, -1, r.what) for r in rows])
    observed = code[:, 0] == OBSERVE
    code[observed, 5] = np.arange(observed.sum())
    n_rows = [max(record.row for record in records) + 1 for records in whole]
    first = np.cumsum([0, *map(len, whole)])
    return Events(first, np.cumsum([0, *n_rows]), number, code)


def by_row(gradient, n_rows):
    """The gradient of one subject, (n_outputs, n_rows, n_parameters)."""
    return gradient.reshape(-1, n_rows, gradient.shape[-1])


class Mammillary:
    """Linear kinetics by matrix exponentials; ``p`` is (batch, parameters), CL first."""

    def __init__(self, n, *, depot=False):
        self.n, self.depot = n, int(depot)
        self.size = n + self.depot
        self.known = {}

    def matrix(self, p):
        d, n = self.depot, self.n
        found = np.zeros((len(p), self.size, self.size), dtype=complex)
        found[:, d, d] -= p[:, 0] / p[:, 1]
        for k in range(1, n):
            q, v = p[:, 2 * k], p[:, 2 * k + 1]
            found[:, d, d] -= q / p[:, 1]
            found[:, d + k, d] += q / p[:, 1]
            found[:, d, d + k] += q / v
            found[:, d + k, d + k] -= q / v
        if d:
            found[:, 0, 0] -= p[:, 2 * n]
            found[:, 1, 0] += p[:, 2 * n]
        return found

    def advance(self, now, elapsed, state, inflow, p):
        key = (elapsed.tobytes(), p.tobytes(), inflow.tobytes())
        if key not in self.known:
            generator = np.zeros((len(p), self.size + 1, self.size + 1), dtype=complex)
            generator[:, :-1, :-1], generator[:, :-1, -1] = self.matrix(p), inflow
            self.known[key] = expm(generator * elapsed[:, None, None])
        whole = np.concatenate([state, np.ones((len(p), 1))], axis=1)
        return np.einsum("bij,bj->bi", self.known[key], whole)[:, :-1]

    def forever(self, inflow, p):
        """The steady state of an infusion without end."""
        return np.linalg.solve(self.matrix(p), -inflow[:, :, None])[:, :, 0]

    def read(self, time, state, p):
        d = self.depot
        outputs = [state[:, d] / p[:, 1]]
        outputs += [state[:, d + k] / p[:, 2 * k + 1] for k in range(1, self.n)]
        return [*outputs, *([state[:, 0]] if d else [])]


class ByScipy:
    """A structure's own equations, by DOP853 or Radau."""

    def __init__(self, structure, *, method="DOP853", rtol=1e-12, atol=1e-13):
        self.structure, self.size = structure, len(structure.compartments)
        self.solve = partial(solve_ivp, method=method, rtol=rtol, atol=atol)
        self.names = [parameter.name for parameter in structure.kinetics]

    def _equations(self, function, time, state, p):
        amounts = SimpleNamespace(**dict(zip(self.structure.compartments, state.T, strict=True)))
        named = SimpleNamespace(**dict(zip(self.names, p.T, strict=False)))
        return function(time, amounts, named)

    def advance(self, now, elapsed, state, inflow, p):
        # Over a unit of time, as the elapsed time is complex where an event depends on parameters.
        if not any(np.any(x.imag) for x in (elapsed, state, inflow, p)):  # Radau takes reals only
            now, elapsed, state, inflow, p = (x.real for x in (now, elapsed, state, inflow, p))

        def slope(unit, flat):
            a = flat.reshape(state.shape)
            rates = self._equations(self.structure.rates, now + unit * elapsed, a, p)
            rates = np.stack([rate + np.zeros(len(p)) for rate in rates], axis=1)
            return ((rates + inflow) * elapsed[:, None]).ravel()

        found = self.solve(slope, (0.0, 1.0), state.ravel())
        assert found.success, found.message
        return found.y[:, -1].reshape(state.shape).astype(complex)

    def read(self, time, state, p):
        return self._equations(self.structure.read, time, state, p)


class Pending(NamedTuple):
    """Something to happen: a bolus, or a change of a rate."""

    time: object  # of every column, complex
    what: str
    size: object
    into: int
    place: tuple

    @property
    def key(self):
        return (float(self.time[0].real), self.place)


class Simulator:
    """Every dose of a history by itself, from event to event; complex steps give the gradient.

    Parameters
    ----------
    kinetics
        `Mammillary` or `ByScipy`.
    names
        Names of the columns of theta; ``F1``, ``ALAG1``, ``D1``, ``R1`` are properties of doses.
    theta
        Parameters (n_rows, n_parameters).
    central
        Take central differences in place of complex steps, for equations that are not analytic.
    """

    def __init__(self, kinetics, names, theta, *, central=False):
        self.kinetics, self.names = kinetics, list(names)
        theta = np.atleast_2d(np.asarray(theta, dtype=float))
        self.shape, size = theta.shape, theta.size
        self.steps = CENTRAL_STEP * theta.ravel() if central else None
        self.columns = 1 + size * (2 if central else 1)
        flat = np.tile(theta.ravel().astype(complex), (self.columns, 1))
        if central:
            flat[1:] += np.concatenate([np.diag(self.steps), -np.diag(self.steps)])
        else:
            flat[1:] += 1j * STEP * np.eye(size)
        self.theta = flat.reshape(self.columns, *theta.shape)

    def follow(self, records):
        """Outputs (n_outputs), and gradient (n_outputs, n_rows, n_parameters)."""
        self.clear(0.0)
        self.active, self.now, found = 0, np.zeros(self.columns, dtype=complex), []
        for place, record in enumerate(with_rows(records)):
            if record.time >= self.now[0].real:  # at a reset, time may start again
                self.work_off(record.time)
            if record.kind == OBSERVE:
                p = self.theta[:, self.active]
                found.append(self.kinetics.read(self.now, self.state, p)[record.what])
            elif record.kind == RESET:
                self.clear(record.time)
            elif record.kind == ROW:
                self.active = record.row
            else:
                self.plan(record, place)
        values = np.array(found).reshape(-1, self.columns)
        if self.steps is None:
            slopes = values[:, 1:].imag / STEP
        else:
            up, down = np.split(values[:, 1:].real, 2, axis=1)
            slopes = (up - down) / (2 * self.steps)
        return values[:, 0].real, slopes.reshape(-1, *self.shape)

    def clear(self, time):
        self.state = np.zeros((self.columns, self.kinetics.size), dtype=complex)
        self.inflow = np.zeros((self.columns, self.kinetics.size), dtype=complex)
        self.pending = []
        self.now = np.full(self.columns, time, dtype=complex)

    def value(self, letter, record, default):
        name = f"{letter}{record.into + 1}"
        if name not in self.names:
            return np.full(self.columns, default, dtype=complex)
        return self.theta[:, record.row, self.names.index(name)]

    def properties(self, record):
        """Amount or rate, duration (None: at once) and lag."""
        f, lag = self.value("F", record, 1.0), self.value("ALAG", record, 0.0)
        if record.rate == 0.0:
            return f * record.amount, None, lag
        if record.rate == -2.0:
            duration = self.value("D", record, np.nan)
            return f * record.amount / duration, duration, lag
        rate = np.full(self.columns, record.rate, dtype=complex)
        rate = self.value("R", record, np.nan) if record.rate == -1.0 else rate
        return rate, f * record.amount / rate, lag

    def parts(self, start, record, place):
        """One dose from ``start`` on."""
        size, duration, _ = self.properties(record)
        if duration is None:
            return [Pending(start, "bolus", size, record.into, place)]
        ending = (0, *place[1:])  # ends of infusions come first
        return [Pending(start, "rate", size, record.into, place),
                Pending(start + duration, "rate", -size, record.into, ending)]  # fmt: skip

    def plan(self, record, place):
        size, _, lag = self.properties(record)
        if record.steady == 1:
            self.clear(record.time)
        if record.steady and record.interval <= 0.0:
            inflow = np.zeros_like(self.inflow)
            inflow[:, record.into] = size
            self.state = self.state + self.kinetics.forever(inflow, self.theta[:, self.active])
            return
        if record.steady:
            self.add_train(record, place, lag)
        for number in range(record.times):
            start = record.time + lag + number * record.interval
            own = number == 0 and lag[0] == 0.0
            for part in self.parts(start, record, (2 if own else 1, place, number)):
                if own and part.place[0] == 2:
                    self.happen(part)
                else:
                    self.add(part)

    def add_train(self, record, place, lag):
        """The doses of an endless train before the record's own."""
        here = self.state, self.inflow, self.pending
        doses = int(RUN_IN / record.interval)
        self.clear(record.time - doses * record.interval)
        self.pending = sorted(
            (
                part
                for back in range(doses, 0, -1)
                for part in self.parts(
                    record.time + lag - back * record.interval, record, (1, place, -back)
                )
            ),
            key=lambda pending: pending.key,
        )
        self.work_off(record.time)
        self.state, self.inflow = self.state + here[0], self.inflow + here[1]
        for part in here[2]:
            self.add(part)

    def add(self, part):
        bisect.insort(self.pending, part, key=lambda pending: pending.key)

    def work_off(self, until):
        """Everything that happens by ``until``."""
        limit = until + 1e-9 * max(1.0, abs(until))
        due = bisect.bisect_right(self.pending, limit, key=lambda pending: pending.key[0])
        for part in self.pending[:due]:
            self.pass_time(part.time)
            self.happen(part)
        del self.pending[:due]
        self.pass_time(np.full(self.columns, until, dtype=complex))

    def happen(self, part):
        target = self.state if part.what == "bolus" else self.inflow
        target[:, part.into] += part.size

    def pass_time(self, until):
        elapsed = until - self.now
        if np.any(elapsed != 0.0):
            elapsed = np.where(abs(elapsed.real) < 1e-9, 1j * elapsed.imag, elapsed)
            self.state = self.kinetics.advance(
                self.now, elapsed, self.state, self.inflow, self.theta[:, self.active]
            )
        self.now = until


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

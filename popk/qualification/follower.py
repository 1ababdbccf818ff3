"""A slow simulator that follows a history dose by dose, by matrix exponentials or SciPy's solvers.

It shares nothing with popk's engine: no sums over runs of doses, no closed forms of steady states
(a long train of doses stands for an endless one), and derivatives by complex steps.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import solve_ivp
from scipy.linalg import expm

from popk.qualification.histories import Record, with_rows
from popk.structure.events import OBSERVE, RESET, ROW

__all__ = ["ByEquations", "Kinetics", "Mammillary", "Simulator"]

# Real or complex: of complex steps.
type Numbers = NDArray[Any]
type Equations = Callable[[Numbers, Numbers, Numbers], Sequence[Any]]

STEP = 1e-80  # of complex steps
CENTRAL_STEP = 1e-5  # of central differences, relative
RUN_IN = 1600.0  # a train of doses as long as this stands for an endless one
SAME = 1e-9  # times this close are the same


class Kinetics(Protocol):
    """What the simulator asks of the equations; ``p`` is (batch, parameters)."""

    @property
    def size(self) -> int:
        """Number of compartments."""

    def advance(
        self, now: Numbers, elapsed: Numbers, state: Numbers, inflow: Numbers, p: Numbers
    ) -> Numbers:
        """The state (batch, size) a while later, under constant inflow."""

    def read(self, time: Numbers, state: Numbers, p: Numbers) -> Sequence[Numbers]:
        """What can be observed."""


class Mammillary:
    """Linear kinetics by matrix exponentials; ``p`` is (batch, parameters), CL first.

    Parameters
    ----------
    n
        Compartments besides the depot.
    depot
        Whether there is one.
    """

    def __init__(self, n: int, *, depot: bool = False) -> None:
        self.n, self.depot = n, int(depot)
        self.size = n + self.depot
        self.known: dict[tuple[bytes, ...], Numbers] = {}

    def matrix(self, p: Numbers) -> Numbers:
        """Rate constants (batch, size, size)."""
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

    def advance(
        self, now: Numbers, elapsed: Numbers, state: Numbers, inflow: Numbers, p: Numbers
    ) -> Numbers:
        """The state a while later, under constant inflow."""
        key = (elapsed.tobytes(), p.tobytes(), inflow.tobytes())
        if key not in self.known:
            generator = np.zeros((len(p), self.size + 1, self.size + 1), dtype=complex)
            generator[:, :-1, :-1], generator[:, :-1, -1] = self.matrix(p), inflow
            self.known[key] = expm(generator * elapsed[:, None, None])
        whole = np.concatenate([state, np.ones((len(p), 1))], axis=1)
        return np.asarray(np.einsum("bij,bj->bi", self.known[key], whole)[:, :-1])

    def forever(self, inflow: Numbers, p: Numbers) -> Numbers:
        """The steady state of an infusion without end."""
        return np.asarray(np.linalg.solve(self.matrix(p), -inflow[:, :, None])[:, :, 0])

    def read(self, time: Numbers, state: Numbers, p: Numbers) -> list[Numbers]:
        """Concentrations of all compartments, then the amount in the depot."""
        d = self.depot
        outputs = [state[:, d] / p[:, 1]]
        outputs += [state[:, d + k] / p[:, 2 * k + 1] for k in range(1, self.n)]
        return [*outputs, *([state[:, 0]] if d else [])]


class ByEquations:
    """Equations written for arrays, by DOP853 or Radau.

    Parameters
    ----------
    size
        Number of compartments.
    rates, read
        Rates, and outputs, of time (batch), amounts (batch, size) and parameters (batch, n).
    method, rtol, atol
        As SciPy's `solve_ivp` takes them.
    """

    def __init__(
        self,
        size: int,
        rates: Equations,
        read: Equations,
        *,
        method: str = "DOP853",
        rtol: float = 1e-12,
        atol: float = 1e-13,
    ) -> None:
        self.size, self._rates, self._read = size, rates, read
        self.solve = partial(solve_ivp, method=method, rtol=rtol, atol=atol)

    def advance(
        self, now: Numbers, elapsed: Numbers, state: Numbers, inflow: Numbers, p: Numbers
    ) -> Numbers:
        """The state a while later, under constant inflow."""
        # Over a unit of time, as the elapsed time is complex where an event depends on parameters.
        if not any(np.any(x.imag) for x in (elapsed, state, inflow, p)):  # Radau takes reals only
            now, elapsed, state, inflow, p = (x.real for x in (now, elapsed, state, inflow, p))

        def slope(unit: float, flat: Numbers) -> Numbers:
            a = flat.reshape(state.shape)
            rates = self._rates(now + unit * elapsed, a, p)
            stacked = np.stack([rate + np.zeros(len(p)) for rate in rates], axis=1)
            return np.asarray(((stacked + inflow) * elapsed[:, None]).ravel())

        found = self.solve(slope, (0.0, 1.0), state.ravel())
        if not found.success:
            raise ArithmeticError(f"SciPy did not solve the equations: {found.message}")
        return np.asarray(found.y[:, -1].reshape(state.shape).astype(complex))

    def forever(self, inflow: Numbers, p: Numbers) -> Numbers:
        """Not known of equations in general."""
        raise NotImplementedError("an infusion without end is followed for linear kinetics only")

    def read(self, time: Numbers, state: Numbers, p: Numbers) -> Sequence[Numbers]:
        """What can be observed."""
        return self._read(time, state, p)


class Pending(NamedTuple):
    """Something to happen: a bolus, or a change of a rate."""

    time: Numbers  # of every column, complex
    what: str
    size: Numbers
    into: int
    place: tuple[int, ...]

    @property
    def key(self) -> tuple[float, tuple[int, ...]]:
        """What comes first."""
        return (float(self.time[0].real), self.place)


class Simulator:
    """Every dose of a history by itself, from event to event; complex steps give the gradient.

    Parameters
    ----------
    kinetics
        `Mammillary` or `ByEquations`.
    names
        Names of the columns of theta; ``F1``, ``ALAG1``, ``D1``, ``R1`` are properties of doses.
    theta
        Parameters (n_rows, n_parameters).
    central
        Take central differences in place of complex steps, for equations that are not analytic.
    """

    def __init__(
        self, kinetics: Any, names: Sequence[str], theta: Any, *, central: bool = False
    ) -> None:
        self.kinetics, self.names = kinetics, list(names)
        theta = np.atleast_2d(np.asarray(theta, dtype=float))
        self.shape, size = theta.shape, theta.size
        self.steps = CENTRAL_STEP * theta.ravel() if central else None
        self.columns = 1 + size * (2 if central else 1)
        flat = np.tile(theta.ravel().astype(complex), (self.columns, 1))
        if self.steps is not None:
            flat[1:] += np.concatenate([np.diag(self.steps), -np.diag(self.steps)])
        else:
            flat[1:] += 1j * STEP * np.eye(size)
        self.theta = flat.reshape(self.columns, *theta.shape)
        self.active = 0

    def follow(self, records: Sequence[Record]) -> tuple[Numbers, Numbers]:
        """Outputs (n_outputs), and gradient (n_outputs, n_rows, n_parameters)."""
        self.clear(0.0)
        self.active, self.now = 0, np.zeros(self.columns, dtype=complex)
        found = []
        for place, record in enumerate(with_rows(records)):
            if record.time >= self.now[0].real:  # at a reset, time may start again
                self.work_off(record.time)
            if record.kind == OBSERVE:
                p = self.theta[:, self.active]
                found.append(self.kinetics.read(self.now, self.state, p)[record.what])
            elif record.kind == RESET:
                self.clear(record.time)
            elif record.kind == ROW:
                self.active = record.row or 0
            else:
                self.plan(record, place)
        values = np.array(found).reshape(-1, self.columns)
        if self.steps is None:
            slopes = values[:, 1:].imag / STEP
        else:
            up, down = np.split(values[:, 1:].real, 2, axis=1)
            slopes = (up - down) / (2 * self.steps)
        return values[:, 0].real, slopes.reshape(-1, *self.shape)

    def clear(self, time: float) -> None:
        """Empty everything."""
        self.state = np.zeros((self.columns, self.kinetics.size), dtype=complex)
        self.inflow = np.zeros((self.columns, self.kinetics.size), dtype=complex)
        self.pending: list[Pending] = []
        self.now = np.full(self.columns, time, dtype=complex)

    def value(self, letter: str, record: Record, default: float) -> Numbers:
        """A property of a dose in every column."""
        name = f"{letter}{record.into + 1}"
        if name not in self.names:
            return np.full(self.columns, default, dtype=complex)
        return self.theta[:, record.row, self.names.index(name)]

    def properties(self, record: Record) -> tuple[Numbers, Numbers | None, Numbers]:
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

    def parts(self, start: Numbers, record: Record, place: tuple[int, ...]) -> list[Pending]:
        """One dose from ``start`` on."""
        size, duration, _ = self.properties(record)
        if duration is None:
            return [Pending(start, "bolus", size, record.into, place)]
        ending = (0, *place[1:])  # ends of infusions come first
        return [Pending(start, "rate", size, record.into, place),
                Pending(start + duration, "rate", -size, record.into, ending)]  # fmt: skip

    def plan(self, record: Record, place: int) -> None:
        """Everything that a record brings."""
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

    def add_train(self, record: Record, place: int, lag: Numbers) -> None:
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

    def add(self, part: Pending) -> None:
        """Keep what is to happen, in its order."""
        bisect.insort(self.pending, part, key=lambda pending: pending.key)

    def work_off(self, until: float) -> None:
        """Everything that happens by ``until``."""
        limit = until + SAME * max(1.0, abs(until))
        due = bisect.bisect_right(self.pending, limit, key=lambda pending: pending.key[0])
        for part in self.pending[:due]:
            self.pass_time(part.time)
            self.happen(part)
        del self.pending[:due]
        self.pass_time(np.full(self.columns, until, dtype=complex))

    def happen(self, part: Pending) -> None:
        """Take in a bolus, or change a rate."""
        target = self.state if part.what == "bolus" else self.inflow
        target[:, part.into] += part.size

    def pass_time(self, until: Numbers) -> None:
        """Go on to a time."""
        elapsed = until - self.now
        if np.any(elapsed != 0.0):
            elapsed = np.where(abs(elapsed.real) < SAME, 1j * elapsed.imag, elapsed)
            self.state = self.kinetics.advance(
                self.now, elapsed, self.state, self.inflow, self.theta[:, self.active]
            )
        self.now = until

r"""Closed-form linear one- and two-compartment kernels, with exact gradients.

Concentrations and derivatives are sums over the states of `popk.structure.modes`. For one
compartment, with :math:`\lambda = CL/V`,

.. math::

    C = f / V, \quad \partial C/\partial CL = f' / V^2, \quad
    \partial C/\partial V = -(f + \lambda f') / V^2 .

For two, let :math:`k_{10}, k_{12}, k_{21}` be :math:`CL/V_1, Q/V_1, Q/V_2` and
:math:`p(s) = (s+\lambda_1)(s+\lambda_2)`. In the Laplace domain the responses of the central
concentration to a unit dose into the central and into the peripheral compartment are

.. math:: G_{11} = \frac{s+k_{21}}{V_1 p(s)}, \qquad G_{12} = \frac{k_{21}}{V_1 p(s)} .

:math:`G` is the inverse of a matrix that is linear in the parameters
(:math:`\mathrm{diag}(sV_1 + CL, sV_2)` plus :math:`Q` between the compartments), hence

.. math::

    \partial G_{11}/\partial (CL, V_1, Q, V_2) &= -\frac{1}{V_1^2 p^2}
        \bigl((s+k_{21})^2,\; s(s+k_{21})^2,\; s^2,\; s k_{21}^2\bigr), \\
    \partial G_{12}/\partial (CL, V_1, Q, V_2) &= -\frac{1}{V_1 p^2} \bigl(
        \tfrac{k_{21}(s+k_{21})}{V_1},\; \tfrac{s k_{21}(s+k_{21})}{V_1},\;
        -\tfrac{s(s+k_{10})}{V_2},\; \tfrac{s k_{21}(s+k_{10}+k_{12})}{V_2}\bigr) .

The inverse transform of :math:`1/\prod_i (s+\lambda_i)` is the element
:math:`f_{i \ldots}` of the state, a factor :math:`s` turns :math:`f_{112\ldots}` into
:math:`f_{11\ldots} - \lambda_2 f_{112\ldots}`, and
:math:`(s+k_{21})/p = w_1/(s+\lambda_1) + w_2/(s+\lambda_2)` with shares
:math:`w_1 + w_2 = 1, w_i \ge 0`. Only these bounded shares are quotients by the gap between the
rates. Terms cancel where the derivative itself changes sign or vanishes (as the one by the central
volume does while a long infusion keeps a steady state): there it is exact to the rounding of the
concentration.

**Cost.** One exponential for each mode from a record to the next; one more for each mode where
doses of a run were completed in between, and a few more if there were several; an infusion whose
duration differs from the one before costs one more. Infusions in progress are evaluated where
observed.

Source: superposition and macro-constants, Gibaldi and Perrier, Pharmacokinetics (2nd ed., 1982),
chapters 1 and 2.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from popk.structure.events import DOSE, OBSERVE, RESET, SAME_TIME
from popk.structure.jit import bind, njit
from popk.structure.modes import (
    State,
    add_one,
    add_two,
    decay_one,
    decay_two,
    infuse_one,
    infuse_two,
    multiply_one,
    multiply_two,
    repeat_one,
    repeat_two,
)

type Floats = NDArray[np.float64]
type Integers = NDArray[np.int64]
# The infusion met last: its duration, its state at its end, and the decay over its duration.
type Infusion = tuple[float, State, State]

# Columns of the table of active runs.
START, AMOUNT, DURATION, INTERVAL, REPEATS, TAKEN, COMPARTMENT = range(7)
N_COLUMNS = 7


class Records(NamedTuple):
    """Columns of `popk.structure.events.Events` that the kernels read, runs not expanded."""

    time: Floats
    kind: Integers
    amount: Floats
    duration: Floats
    interval: Floats
    repeats: Integers
    compartment: Integers
    output: Integers


# Compiled functions of states and of the structure, bound by `_follower`.
decay: Any = None
multiply: Any = None
add: Any = None
infuse: Any = None
repeat: Any = None
read: Any = None
fold: Any = None
in_progress: Any = None


@njit
def _read_one(
    theta: Floats, rates: State, central: State, peripheral: State, gradient: Floats, place: int
) -> float:
    """Concentration; fills its ``gradient`` (CL, V) at ``place``, unless that is negative."""
    volume: float = theta[1]
    if place >= 0:
        gradient[place, 0] = -central[1] / volume / volume
        gradient[place, 1] = -(central[0] - rates[0] * central[1]) / volume / volume
    return central[0] / volume


@njit
def _rates_two(theta: Floats) -> State:
    """Rates ``lambda1 >= lambda2``, their gap, and the shares of a bolus in the two modes."""
    k10, k12, k21 = theta[0] / theta[1], theta[2] / theta[1], theta[2] / theta[3]
    offset = k10 + k12 - k21
    gap = math.sqrt(offset * offset + 4.0 * k12 * k21)
    fast = 0.5 * (k10 + k12 + k21 + gap)
    if gap == 0.0:
        return fast, k10 * k21 / fast, gap, 0.5, 0.5
    # The smaller share without the difference of gap and offset.
    larger = 0.5 * (gap + abs(offset)) / gap
    smaller = k12 * k21 / (gap * gap * larger)
    first, second = (larger, smaller) if offset >= 0.0 else (smaller, larger)
    return fast, k10 * k21 / fast, gap, first, second


@njit
def _read_two(
    theta: Floats, rates: State, central: State, peripheral: State, gradient: Floats, place: int
) -> float:
    """Concentration; fills its ``gradient`` (CL, V1, Q, V2) at ``place``, unless that is negative.

    ``central`` and ``peripheral`` are the states of the doses into these compartments.
    """
    v1: float = theta[1]
    v2: float = theta[3]
    l1, l2, gap, w1, w2 = rates
    k21: float = theta[2] / v2
    f1, f2, f12, f11, f22, f112, _, f1122 = central
    _, _, p12, p11, _, p112, p122, p1122 = peripheral
    if place >= 0:
        # Inverse transforms of s/p^2 and of s/p over one more factor of p.
        sp = f112 - l2 * f1122
        p1, p2 = p11 - l2 * p112, p12 - l2 * p122
        # k10 - lambda2 without the difference.
        excess = theta[0] / v1 * w1 * gap / l1 if l1 > 0.0 else 0.0
        gradient[place, 0] = -(
            w1 * w1 * f11 + 2.0 * w1 * w2 * f12 + w2 * w2 * f22 + k21 * (w1 * p112 + w2 * p122)
        ) / v1 / v1  # fmt: skip
        gradient[place, 1] = -(
            w1 * w1 * (f1 - l1 * f11) + 2.0 * w1 * w2 * (f1 - l2 * f12)
            + w2 * w2 * (f2 - l2 * f22) + k21 * (w1 * p1 + w2 * p2)
        ) / v1 / v1  # fmt: skip
        gradient[place, 2] = (
            (p1 + excess * (p112 - l2 * p1122)) / v2 - (f11 - l2 * f112 - l2 * sp) / v1
        ) / v1
        gradient[place, 3] = -k21 * (k21 * sp / v1 + (w2 * p1 + w1 * p2) / v2) / v1
    return (w1 * f1 + w2 * f2 + k21 * p12) / v1


@njit
def _doses_until(elapsed: float, interval: float, repeats: float, tolerance: float) -> float:
    """How many doses of a run have come when ``elapsed`` has passed since the first."""
    if elapsed < -tolerance:
        return 0.0
    if interval <= 0.0 or elapsed + tolerance >= interval * (repeats - 1.0):
        return repeats
    return math.floor((elapsed + tolerance) / interval) + 1.0


def _fold(
    rates: State, runs: Floats, n_runs: int, known: Infusion, now: float,
    time: float,
) -> tuple[State, State, State, int, Infusion]:  # fmt: skip
    """Take in the doses of active runs that were completed from ``now`` to ``time``.

    Returns the decay over that time, the states of the completed doses into the two compartments,
    the number of runs that have doses to come (the others are dropped) and the infusion met last.
    """
    step, has_step = known[1], False  # any state, until there is a step
    central = add(step, -1.0, step)  # nothing
    peripheral = central
    tolerance = SAME_TIME * max(1.0, abs(time))
    a = 0
    while a < n_runs:
        start, duration, interval = runs[a, START], runs[a, DURATION], runs[a, INTERVAL]
        elapsed = time - start - duration
        done = _doses_until(elapsed, interval, runs[a, REPEATS], tolerance)
        count = done - runs[a, TAKEN]
        if count > 0.0:
            since = elapsed - (done - 1.0) * interval
            part = decay(rates, max(since, 0.0))
            if duration > 0.0:
                if duration != known[0]:
                    whole = infuse(rates, duration)
                    known = duration, whole, decay(rates, duration)
                # An infusion since the record before: its decay is known, save exponentials.
                if not has_step and since >= 0.0 and start + (done - 1.0) * interval == now:
                    step, has_step = multiply(part, known[2]), True
                part = multiply(part, known[1])
            if count > 1.0:
                part = multiply(part, repeat(rates, interval, int(count)))
            if runs[a, COMPARTMENT] == 0.0:
                central = add(central, runs[a, AMOUNT], part)
            else:
                peripheral = add(peripheral, runs[a, AMOUNT], part)
            runs[a, TAKEN] = done
        if done == runs[a, REPEATS]:
            n_runs -= 1
            for column in range(N_COLUMNS):
                runs[a, column] = runs[n_runs, column]
        else:
            a += 1
    if not has_step:
        step = decay(rates, time - now)
    return step, central, peripheral, n_runs, known


def _in_progress(rates: State, runs: Floats, n_runs: int, time: float, compartment: int) -> State:
    """State of the infusions into ``compartment`` that run at ``time``."""
    unit = decay(rates, 0.0)
    total: State = add(unit, -1.0, unit)
    for a in range(n_runs):
        duration = runs[a, DURATION]
        if duration == 0.0 or runs[a, COMPARTMENT] != compartment:
            continue
        dose = runs[a, TAKEN]
        while dose < runs[a, REPEATS]:
            elapsed = time - runs[a, START] - dose * runs[a, INTERVAL]
            if elapsed <= 0.0:
                break
            given = runs[a, AMOUNT] * (elapsed / duration)
            total = add(total, given, infuse(rates, elapsed))
            dose += 1.0
    return total


def _follow(
    theta: Floats, rates: State, records: Records, bounds: tuple[int, int],
    results: tuple[Floats, Floats], with_gradient: bool,
) -> None:  # fmt: skip
    """Go through the records of one subject and write its concentrations."""
    time, kind, amount, duration, interval, repeats, compartment, output = records
    low, high = bounds
    concentration, gradient = results
    unit = decay(rates, 0.0)
    nothing = add(unit, -1.0, unit)
    central, peripheral, has_peripheral = nothing, nothing, False
    known = (-1.0, unit, unit)
    runs, n_runs = np.empty((high - low, N_COLUMNS)), 0
    now = time[low] if low < high else 0.0
    for k in range(low, high):
        if n_runs > 0 or time[k] > now:
            more, more_peripheral = nothing, nothing
            if n_runs > 0:
                step, more, more_peripheral, n_runs, known = fold(
                    rates, runs, n_runs, known, now, time[k]
                )
            else:
                step = decay(rates, time[k] - now)
            now = time[k]
            central = add(more, 1.0, multiply(central, step))
            if has_peripheral:
                peripheral = multiply(peripheral, step)
                peripheral = add(more_peripheral, 1.0, peripheral)
        if kind[k] == RESET:
            central, peripheral, has_peripheral, n_runs = nothing, nothing, False, 0
        elif kind[k] == DOSE:
            taken = 1 if duration[k] == 0.0 else 0
            bolus, into_central = taken * amount[k], compartment[k] == 0
            central = add(central, bolus if into_central else 0.0, unit)
            peripheral = add(peripheral, 0.0 if into_central else bolus, unit)
            has_peripheral = has_peripheral or not into_central
            if repeats[k] > taken:
                runs[n_runs, START], runs[n_runs, AMOUNT] = now, amount[k]
                runs[n_runs, DURATION], runs[n_runs, INTERVAL] = duration[k], interval[k]
                runs[n_runs, REPEATS], runs[n_runs, TAKEN] = repeats[k], taken
                runs[n_runs, COMPARTMENT] = compartment[k]
                n_runs += 1
        elif kind[k] == OBSERVE:
            total, total_peripheral = central, peripheral
            if n_runs > 0:
                part = in_progress(rates, runs, n_runs, now, 0)
                total = add(total, 1.0, part)
                if has_peripheral:
                    part = in_progress(rates, runs, n_runs, now, 1)
                    total_peripheral = add(total_peripheral, 1.0, part)
            place = output[k]
            concentration[place] = read(
                theta, rates, total, total_peripheral, gradient, place if with_gradient else -1
            )


def _follower(**functions: Any) -> Callable[..., None]:
    """Compile `_follow` for the functions of one structure."""
    parts = {"fold": bind(_fold, **functions), "in_progress": bind(_in_progress, **functions)}
    return bind(_follow, **functions, **parts)


_follow_one = _follower(
    decay=decay_one, multiply=multiply_one, add=add_one, infuse=infuse_one, repeat=repeat_one,
    read=_read_one,
)  # fmt: skip
_follow_two = _follower(
    decay=decay_two, multiply=multiply_two, add=add_two, infuse=infuse_two, repeat=repeat_two,
    read=_read_two,
)  # fmt: skip


@njit
def one_compartment(
    theta: Floats, time: Floats, kind: Integers, amount: Floats, duration: Floats,
    interval: Floats, repeats: Integers, compartment: Integers, output: Integers,
    low: int, high: int, concentration: Floats, gradient: Floats, with_gradient: bool,
) -> None:  # fmt: skip
    """Concentrations of one subject under one-compartment kinetics, from all its doses.

    Parameters
    ----------
    theta
        CL (volume/time) and V (volume), positive.
    time, kind, amount, duration, interval, repeats, compartment, output
        Columns of `popk.structure.events.Events`, runs of doses not expanded; times do not
        decrease from ``low`` to ``high``. A dose of a run after its first comes before a record at
        its time, an infusion contributes nothing at its start, and times that differ by less than
        ``SAME_TIME`` are the same.
    low, high
        The subject's records are ``low`` to ``high - 1``.
    concentration
        (n_outputs): filled at ``output`` of each record that observes, amount/volume.
    gradient
        (n_outputs, 2): the derivatives by CL and V, filled likewise if ``with_gradient``; not
        touched otherwise.
    with_gradient
        Whether the derivatives are wanted.
    """
    records = Records(time, kind, amount, duration, interval, repeats, compartment, output)
    rates = (theta[0] / theta[1],)
    _follow_one(theta, rates, records, (low, high), (concentration, gradient), with_gradient)


@njit
def two_compartment(
    theta: Floats, time: Floats, kind: Integers, amount: Floats, duration: Floats,
    interval: Floats, repeats: Integers, compartment: Integers, output: Integers,
    low: int, high: int, concentration: Floats, gradient: Floats, with_gradient: bool,
) -> None:  # fmt: skip
    """Concentrations of one subject under two-compartment kinetics, in the central compartment.

    Parameters
    ----------
    theta
        CL (volume/time), V1 (volume), Q (volume/time), V2 (volume), positive.
    time, kind, amount, duration, interval, repeats, compartment, output
        As for `one_compartment`; doses go into compartment 0, central, or 1, peripheral.
    low, high
        The subject's records are ``low`` to ``high - 1``.
    concentration
        (n_outputs): filled at ``output`` of each record that observes, amount/volume.
    gradient
        (n_outputs, 4): the derivatives by CL, V1, Q and V2, likewise.
    with_gradient
        Whether the derivatives are wanted.
    """
    records = Records(time, kind, amount, duration, interval, repeats, compartment, output)
    rates = _rates_two(theta)
    _follow_two(theta, rates, records, (low, high), (concentration, gradient), with_gradient)

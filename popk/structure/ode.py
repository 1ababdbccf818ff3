"""The one ODE solver: adaptive Runge-Kutta 5(4) with exact forward sensitivities, in lanes.

Dormand & Prince's pair (J. Comput. Appl. Math. 6:19, 1980) advances the amounts ``a`` of one
subject from event to event. The sensitivities S = da/dtheta are advanced by the derivative of the
very same steps (internal differentiation: stage i of S uses the Jacobian at stage i of a), so the
gradient is that of the number returned, not of a second approximation. Step sizes are chosen from
the amounts alone and held constant in the derivative; a rejected step costs no sensitivities.

W subjects (or samples of one) are advanced side by side, each with its own time and step, by vector
instructions (see `popk.structure.vector`); a lane that has finished takes the next row. Everything
lives in one flat buffer b: entry i of a quantity at place q is b[q + i * W + w] for lane w.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any

import numpy as np

from popk.structure.events import DOSE, OBSERVE, RATE, RESET
from popk.structure.jit import bind, njit, specialise
from popk.structure.vector import Dual, Memory, W, traced

RELATIVE_TOLERANCE = 1e-5  # of each amount, per step; the concentrations come out better
ABSOLUTE_TOLERANCE = 1e-10  # of the largest amount given
# A dose that raises an amount by this factor within a step starts with a short step: the error
# estimate of a long one would not see saturation set in on the way.
MANYFOLD = 5.0
MAX_STEPS = 50_000  # per row; beyond it the concentration is reported as infinite

# Dormand-Prince 5(4): stage weights (the last row gives the new value) and error weights.
STAGES = (
    (),
    (1 / 5,),
    (3 / 40, 9 / 40),
    (44 / 45, -56 / 15, 32 / 9),
    (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
    (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
)
ERRORS = (71 / 57600, 0.0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40)

type Equations = Callable[[Sequence[Any], Sequence[Any]], Sequence[Any]]

# Bound by `integrator`: sizes, places in the buffer, and the traced parts of a step.
N: int  # compartments
M: int  # parameters
P: int  # parameters
A: int  # amounts at the start of the step
R: int  # rates of the running infusions
K: int  # da/dt at stages 1 to 7
S: int  # sensitivities at the start of the step
H: int  # step
FLOOR: int  # absolute tolerance
ERROR: int  # error estimate, in units of the tolerance
ACCEPTED: int  # above zero where the step counts
SIZE: int
refresh: Any
refresh_sensitivities: Any
attempt: Any
attempt_sensitivities: Any
accept: Any
accept_sensitivities: Any


def integrate_rows(  # noqa: PLR0912, PLR0915
    theta: Any,
    subject: Any,
    offset: Any,
    first: Any,
    time: Any,
    kind: Any,
    amount: Any,
    duration: Any,
    interval: Any,
    repeats: Any,
    compartment: Any,
    output: Any,
    concentration: Any,
    gradient: Any,
    with_gradient: bool,
) -> None:
    """Concentrations and gradients of rows of parameters; events must be expanded.

    See `popk.structure.base.Structure.kernel`. The central compartment is the first and its volume
    is the second parameter.
    """
    b = np.zeros(SIZE)
    b[P : P + M * W] = 1.0
    b[FLOOR : FLOOR + W] = 1.0
    t, step, target = np.zeros(W), np.zeros(W), np.zeros(W)
    event, last, row = np.zeros(W, np.int64), np.zeros(W, np.int64), np.full(W, -1)
    n_steps = np.zeros(W, np.int64)
    n_rows, next_row, n_active = len(theta), 0, 0
    stale = False  # the derivatives K, KS at the start of the step are out of date
    starting = True

    while True:
        # 1. Bring every lane to its next stretch of time without events.
        for w in range(W):
            if row[w] < 0 and not starting:
                continue
            while True:
                if row[w] < 0 or event[w] == last[w]:
                    n_active -= row[w] >= 0
                    row[w] = -1
                    b[H + w] = 0.0
                    if next_row == n_rows:
                        break
                    r = next_row
                    next_row += 1
                    n_active += 1
                    row[w] = r
                    event[w], last[w] = first[subject[r]], first[subject[r] + 1]
                    for i in range(M):
                        b[P + i * W + w] = theta[r, i]
                    empty(b, w)
                    b[FLOOR + w] = ABSOLUTE_TOLERANCE * largest_dose(
                        kind, amount, duration, event[w], last[w]
                    )
                    t[w] = time[event[w]] if event[w] < last[w] else 0.0
                    step[w] = 0.0
                    n_steps[w] = 0
                    stale = True
                    continue
                e = event[w]
                if time[e] > t[w]:
                    target[w] = time[e]
                    break
                event[w] += 1
                if kind[e] == OBSERVE:
                    observe(
                        b, w, offset[row[w]] + output[e], concentration, gradient, with_gradient
                    )
                elif kind[e] == DOSE:
                    if amount[e] > MANYFOLD * b[A + compartment[e] * W + w]:
                        step[w] = 0.0
                    b[A + compartment[e] * W + w] += amount[e]
                    stale = True
                elif kind[e] == RATE:
                    if amount[e] > 0.0:
                        here = max(b[A + compartment[e] * W + w], 1e6 * b[FLOOR + w])
                        if amount[e] * min(step[w], duration[e]) > MANYFOLD * here:
                            step[w] = here / amount[e]
                    # The derivative by the parameters does not depend on a known rate.
                    b[R + compartment[e] * W + w] += amount[e]
                    b[K + compartment[e] * W + w] += amount[e]
                elif kind[e] == RESET:
                    empty(b, w)
                    stale = True
        starting = False
        if n_active == 0:
            return
        if stale:
            refresh(b)
            if with_gradient:
                refresh_sensitivities(b)
            stale = False

        # 2. One attempted step of every lane.
        for w in range(W):
            if row[w] < 0:
                continue
            remaining = target[w] - t[w]
            if step[w] <= 0.0:
                step[w] = first_step(b, w, remaining)
            b[H + w] = remaining if remaining < 1.1 * step[w] else step[w]
        attempt(b)
        n_accepted = 0
        for w in range(W):
            b[ACCEPTED + w] = 0.0
            if row[w] < 0:
                continue
            n_steps[w] += 1
            h, error = b[H + w], b[ERROR + w]
            if not np.isfinite(error):
                error = 1e10
            factor = 5.0 if error < 1e-4 else min(5.0, max(0.2, 0.9 * error**-0.2))
            if error <= 1.0:
                b[ACCEPTED + w] = 1.0
                n_accepted += 1
                # A step cut short by an event says nothing about the next.
                step[w] = h * factor if h >= step[w] else max(step[w], h * factor)
                t[w] = target[w] if h == target[w] - t[w] else t[w] + h
                continue
            step[w] = h * factor
            if n_steps[w] > MAX_STEPS or step[w] < 1e-14 * max(1.0, abs(t[w])):
                for e in range(event[w], last[w]):
                    if kind[e] == OBSERVE:
                        give_up(offset[row[w]] + output[e], concentration, gradient, with_gradient)
                event[w] = last[w]
                t[w] = target[w]
        if n_accepted == 0:
            continue
        if with_gradient:
            attempt_sensitivities(b)
            accept_sensitivities(b)
        accept(b)


@njit
def largest_dose(kind: Any, amount: Any, duration: Any, low: int, high: int) -> float:
    """The largest amount given at once, or the largest rate: the scale of the tolerance."""
    largest = 1e-300
    for e in range(low, high):
        if kind[e] == DOSE:
            largest = max(largest, amount[e])
        elif kind[e] == RATE:
            largest = max(largest, duration[e] * amount[e])
    return largest


def empty(b: Any, w: int) -> None:
    """Reset lane w: nothing in the body, nothing running."""
    for i in range(N):
        b[A + i * W + w] = 0.0
        b[R + i * W + w] = 0.0
    for i in range(N * M):
        b[S + i * W + w] = 0.0


def observe(
    b: Any, w: int, where: int, concentration: Any, gradient: Any, with_gradient: bool
) -> None:
    """Write the central concentration of lane w and its gradient.

    What is left below the solver's resolution is reported as that resolution: an amount that was
    given is never zero or negative, and its noise has no slope.
    """
    volume, given = b[P + W + w], b[A + w]
    is_noise = given != 0.0 and given < b[FLOOR + w]
    c = (b[FLOOR + w] if is_noise else given) / volume
    concentration[where] = c
    if with_gradient:
        for m in range(M):
            gradient[where, m] = 0.0 if is_noise else b[S + m * W + w] / volume
        gradient[where, 1] -= c / volume


def give_up(where: int, concentration: Any, gradient: Any, with_gradient: bool) -> None:
    """Report an output that no reasonable number of steps could reach: infinite, not invented."""
    concentration[where] = np.inf
    if with_gradient:
        for m in range(M):
            gradient[where, m] = 0.0


def first_step(b: Any, w: int, remaining: float) -> float:
    """A tenth of the shortest time in which an amount changes by itself (starting guess)."""
    fastest = 0.0
    for i in range(N):
        slope = abs(b[K + i * W + w]) / (abs(b[A + i * W + w]) + b[FLOOR + w] * 1e6)
        fastest = max(fastest, slope)
    return 0.1 / fastest if fastest > 0.0 else remaining


class _Step:
    """The parts of a step, traced for one structure."""

    def __init__(self, equations: Equations, n: int, m: int) -> None:
        self.equations, self.n, self.m = equations, n, m
        sizes = {
            "P": m,
            "A": n,
            "R": n,
            "K": 7 * n,
            "Y": 7 * n,
            "H": 1,
            "FLOOR": 1,
            "ERROR": 1,
            "ACCEPTED": 1,
            "S": n * m,
            "S_NEW": n * m,
            "KS": 7 * n * m,
        }
        ends = list(accumulate(size * W for size in sizes.values()))
        self.places = dict(zip(sizes, [0, *ends], strict=False))
        self.size = ends[-1]

    def stage_value(self, b: Memory, stage: int, start: str, slopes: str, size: int) -> list[Any]:
        """Value at a stage, start + h * (weights . slopes)."""
        at, h = self.places, b[self.places["H"]]
        values = b.read(at[start], size)
        for i in range(size):
            total = None
            for earlier, weight in enumerate(STAGES[stage]):
                if weight:
                    part = b[at[slopes] + (earlier * size + i) * W] * weight
                    total = part if total is None else total + part
            if total is not None:
                values[i] = values[i] + h * total
        return values

    def slope(self, b: Memory, stage: int, amounts: list[Any]) -> None:
        """Store the amounts at a stage and their rate of change."""
        at, n = self.places, self.n
        rates = self.equations(amounts, b.read(at["P"], self.m))
        for i, (amount, rate) in enumerate(zip(amounts, rates, strict=True)):
            b[at["Y"] + (stage * n + i) * W] = amount
            b[at["K"] + (stage * n + i) * W] = rate + b[at["R"] + i * W]

    def sensitivity_slope(self, b: Memory, stage: int, sensitivities: list[Any]) -> None:
        """Store dS/dt = J S + F at a stage."""
        at, n, m = self.places, self.n, self.m
        amounts = b.read(at["Y"] + stage * n * W, n)
        duals = [Dual(amount, {j: 1.0}) for j, amount in enumerate(amounts)]
        theta = [Dual(p, {n + k: 1.0}) for k, p in enumerate(b.read(at["P"], m))]
        for i, rate in enumerate(self.equations(duals, theta)):
            for k in range(m):
                total = rate.slopes.get(n + k, 0.0)
                for j in range(n):
                    if j in rate.slopes:
                        total = sensitivities[j * m + k] * rate.slopes[j] + total
                b[at["KS"] + ((stage * n + i) * m + k) * W] = total

    def refresh(self, b: Memory) -> None:
        """Rates of change at the start of the step."""
        self.slope(b, 0, b.read(self.places["A"], self.n))

    def refresh_sensitivities(self, b: Memory) -> None:
        """Rates of change of the sensitivities at the start of the step."""
        self.sensitivity_slope(b, 0, b.read(self.places["S"], self.n * self.m))

    def attempt(self, b: Memory) -> None:
        """All stages of the amounts, and the error estimate."""
        at, n = self.places, self.n
        for stage in range(1, 7):
            self.slope(b, stage, self.stage_value(b, stage, "A", "K", n))
        worst = None
        for i in range(n):
            total = b[at["K"] + i * W] * ERRORS[0]
            for stage in range(2, 7):
                total = total + b[at["K"] + (stage * n + i) * W] * ERRORS[stage]
            old, new = abs(b[at["A"] + i * W]), abs(b[at["Y"] + (6 * n + i) * W])
            scale = b[at["FLOOR"]] + old.larger(new) * RELATIVE_TOLERANCE
            ratio = abs(b[at["H"]] * total) / scale
            worst = ratio if worst is None else ratio.larger(worst)
        assert worst is not None
        b[at["ERROR"]] = worst

    def attempt_sensitivities(self, b: Memory) -> None:
        """The derivative of the step just made, stage by stage."""
        at, size = self.places, self.n * self.m
        for stage in range(1, 7):
            values = self.stage_value(b, stage, "S", "KS", size)
            self.sensitivity_slope(b, stage, values)
        for i, value in enumerate(values):
            b[at["S_NEW"] + i * W] = value

    def accept(self, b: Memory) -> None:
        """Take over the accepted lanes; the last stage is the first of the next step."""
        at, n = self.places, self.n
        self._take(b, n, at["Y"] + 6 * n * W, at["A"])
        self._take(b, n, at["K"] + 6 * n * W, at["K"])

    def accept_sensitivities(self, b: Memory) -> None:
        """The same for the sensitivities."""
        at, size = self.places, self.n * self.m
        self._take(b, size, at["S_NEW"], at["S"])
        self._take(b, size, at["KS"] + 6 * size * W, at["KS"])

    def _take(self, b: Memory, size: int, new: int, old: int) -> None:
        accepted = b[self.places["ACCEPTED"]]
        for i in range(size):
            b[old + i * W] = accepted.where_positive(b[new + i * W], b[old + i * W])


def integrator(equations: Equations, n: int, m: int, *, label: str) -> Any:
    """Compile the solver for one structure of n compartments and m parameters.

    ``equations(a, theta)`` returns da/dt without the infusions; they are traced, so they must use
    arithmetic only (see `popk.structure.nonlinear`).
    """
    step = _Step(equations, n, m)
    names: dict[str, Any] = {"N": n, "M": m, "SIZE": step.size, **step.places}
    for part in (
        "refresh",
        "refresh_sensitivities",
        "attempt",
        "attempt_sensitivities",
        "accept",
        "accept_sensitivities",
    ):
        names[part] = traced(getattr(step, part))
    for helper in (empty, observe, give_up, first_step):
        names[helper.__name__] = bind(helper, **names)
    return specialise(integrate_rows, f"integrate_{label}", **names)

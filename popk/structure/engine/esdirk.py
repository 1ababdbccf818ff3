"""Steps of stiff structures: implicit Runge-Kutta 4(3) with exact sensitivities, in lanes.

Kennedy & Carpenter's ARK4(3)6L[2]SA-ESDIRK (Appl. Numer. Math. 44:139-181, 2003) is L-stable and
stiffly accurate: time scales that lie far apart cost no steps. Each of its five implicit stages is
solved by Newton's method with the exact Jacobian; a step whose iterations have not converged is
rejected, and the error estimate is filtered with the same matrix (Hosea & Shampine, Appl. Numer.
Math. 20:21, 1996). Derivatives of a stage solve the same linear system, so that they are those of
the number returned.
"""

from __future__ import annotations

from typing import Any

from popk.structure.engine.equations import Equations
from popk.structure.engine.runge_kutta import RungeKuttaStep
from popk.structure.engine.vector import Memory
from popk.structure.functions import where_positive

GAMMA = 1 / 4
NODES = (0.0, 1 / 2, 83 / 250, 31 / 50, 17 / 20, 1.0)
# Weights of earlier stages; the last row gives the new value.
STAGES = (
    (),
    (1 / 4,),
    (8611 / 62500, -1743 / 31250),
    (5012029 / 34652500, -654441 / 2922500, 174375 / 388108),
    (
        15267082809 / 155376265600,
        -71443401 / 120774400,
        730878875 / 902184768,
        2285395 / 8070912,
    ),
    (82889 / 524892, 0.0, 15625 / 83664, 69875 / 102672, -2260 / 8211),
)
EMBEDDED = (
    4586570599 / 29645900160,
    0.0,
    178811875 / 945068544,
    814220225 / 1159782912,
    -3700637 / 11593932,
    61727 / 225920,
)
ERRORS = tuple(b - e for b, e in zip((*STAGES[5], GAMMA), EMBEDDED, strict=True))
ITERATIONS = 4
# The last of Newton's corrections must be this small, in units of the tolerance.
CONVERGED = 0.01


class ImplicitStep(RungeKuttaStep):
    """The traced parts of the implicit solver; the buffer is that of the explicit one."""

    order = 4
    n_stages = 6

    def __init__(self, equations: Equations) -> None:
        super().__init__(equations, nodes=NODES, stages=STAGES)

    def _system(self, rates: list[Any], b: Memory) -> list[list[Any]]:
        """The factors of 1 - h gamma J, in one matrix: no pivots, see `solve`."""
        n, h = self.n, b[self._at("H")] * GAMMA
        matrix = [
            [(1.0 if i == j else 0.0) - h * rates[i].slopes.get(j, 0.0) for j in range(n)]
            for i in range(n)
        ]
        for i in range(n):
            for r in range(i + 1, n):
                factor = matrix[r][i] / matrix[i][i]
                matrix[r][i] = factor
                for c in range(i + 1, n):
                    matrix[r][c] = matrix[r][c] - factor * matrix[i][c]
        return matrix

    def _solve(self, factors: list[list[Any]], right: list[Any]) -> list[Any]:
        """Solve with the factors of `_system`.

        The matrix is diagonally dominant by columns where rates of change only move or remove what
        there is; elsewhere a small pivot makes a large error, and the step is rejected.
        """
        found = list(right)
        n = len(found)
        for i in range(n):
            for r in range(i + 1, n):
                found[r] = found[r] - factors[r][i] * found[i]
        for i in range(n - 1, -1, -1):
            for c in range(i + 1, n):
                found[i] = found[i] - factors[i][c] * found[c]
            found[i] = found[i] / factors[i][i]
        return found

    def _evaluate(self, b: Memory, stage: int, amounts: list[Any]) -> list[Any]:
        """Rates of change and their derivatives at a stage."""
        time, p = self._time(b, stage), self.buffer.read(b, "P")
        return self.equations.jacobian(self.equations.rates, time, amounts, p)

    def attempt(self, b: Memory) -> None:
        """All stages of the amounts, and the error estimate."""
        n, h = self.n, b[self._at("H")]
        safe = where_positive(h, h, 1.0)
        running, floors = self.buffer.read(b, "R"), self.buffer.read(b, "FLOOR")
        worst, factors = None, None
        for stage in range(1, self.n_stages):
            known = self._stage_value(b, stage, "A", "K")
            amounts = (
                self.buffer.read(b, "A")
                if stage == 1
                else self.buffer.read(b, "Y", (stage - 1) * n, n)
            )
            change: list[Any] = []
            for _ in range(ITERATIONS):
                rates = self._evaluate(b, stage, amounts)
                factors = self._system(rates, b)
                residual = [
                    known[i] + h * GAMMA * (rates[i].value + running[i]) - amounts[i]
                    for i in range(n)
                ]
                change = self._solve(factors, residual)
                amounts = [x + dx for x, dx in zip(amounts, change, strict=True)]
            for x, dx, floor in zip(amounts, change, floors, strict=True):
                scale = (floor + abs(x) * self.tolerance) * CONVERGED
                ratio = abs(dx) / scale
                worst = ratio if worst is None else ratio.larger(worst)
            self.buffer.write(b, "Y", amounts, stage * n)
            # From the stage itself: what a rate would amplify cancels here.
            slopes = [(x - k) / (safe * GAMMA) for x, k in zip(amounts, known, strict=True)]
            self.buffer.write(b, "K", slopes, stage * n)
        assert factors is not None
        assert worst is not None
        error = []
        for i in range(n):
            total = b[self._at("K", i)] * ERRORS[0]
            for stage in range(2, self.n_stages):
                total = total + b[self._at("K", stage * n + i)] * ERRORS[stage]
            error.append(h * total)
        for i, part in enumerate(self._solve(factors, error)):
            old, new = abs(b[self._at("A", i)]), abs(b[self._at("Y", 5 * n + i)])
            scale = floors[i] + old.larger(new) * self.tolerance
            worst = (abs(part) / scale).larger(worst)
        b[self._at("ERROR")] = worst

    def _attempt_columns(self, b: Memory, name: str, slopes: str, width: int, direct: str) -> None:
        """Derivatives of the step just made; ``direct``: what is added to J times a column.

        ``direct`` is "parameters" for F, "ones" for an identity, "" for nothing.
        """
        n, h = self.n, b[self._at("H")]
        safe = where_positive(h, h, 1.0)
        values: list[Any] = []
        for stage in range(1, self.n_stages):
            known = self._stage_value(b, stage, name, slopes)
            amounts = self.buffer.read(b, "Y", stage * n, n)
            rates = self._evaluate(b, stage, amounts)
            factors = self._system(rates, b)
            values = [None] * (n * width)
            for k in range(width):
                right = []
                for i in range(n):
                    own = 0.0
                    if direct == "parameters":
                        own = rates[i].slopes.get(n + k, 0.0)
                    elif direct == "ones" and i == k:
                        own = 1.0
                    right.append(known[i * width + k] + h * GAMMA * own)
                for i, x in enumerate(self._solve(factors, right)):
                    values[i * width + k] = x
            size = n * width
            found = [(x - k) / (safe * GAMMA) for x, k in zip(values, known, strict=True)]
            self.buffer.write(b, slopes, found, stage * size)
        self.buffer.write(b, f"{name}_NEW", values)

    def attempt_sensitivities(self, b: Memory) -> None:
        """The derivative of the step just made, stage by stage."""
        self._attempt_columns(b, "S", "KS", self.m, "parameters")

    def attempt_maps(self, b: Memory) -> None:
        """The same for the derivatives by the segment's start."""
        self._attempt_columns(b, "PHI", "KPHI", self.n, "")
        self._attempt_columns(b, "PSI", "KPSI", self.n, "ones")

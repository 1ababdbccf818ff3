"""Steps of nonlinear structures: Runge-Kutta 5(4) with exact forward sensitivities, in lanes.

Dormand & Prince's pair (J. Comput. Appl. Math. 6:19-26, 1980) advances the amounts. Their
derivatives are advanced by the derivative of the very same steps (internal differentiation: stage i
of S uses the Jacobian at stage i of the amounts), so the gradient is that of the number returned,
not of a second approximation. Step sizes are chosen from the amounts alone and held constant in the
derivative; a rejected step costs no sensitivities.
"""

from __future__ import annotations

from typing import Any

from popk.structure.engine.equations import Buffer, Equations, Reading, common_sizes
from popk.structure.engine.vector import Memory, W

# Dormand-Prince 5(4): nodes, stage weights (the last row gives the new value), error weights.
NODES = (0.0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0, 1.0)
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


type Weights = tuple[float, ...]


class RungeKuttaStep:
    """The traced parts of the explicit solver.

    Beyond the common quantities the buffer holds, at the stages, the amounts Y and their
    rates of change K, those of the derivatives (KS, by parameters; KM, by the segment's start), and
    the ERROR of the step in units of the tolerance.
    """

    order = 5
    n_stages = 7

    def __init__(
        self, equations: Equations, *, nodes: Weights = NODES, stages: tuple[Weights, ...] = STAGES
    ) -> None:
        self.equations = equations
        self._nodes, self._stages = nodes, stages
        self.n, self.m = equations.n, equations.m
        self.tolerance = equations.structure.tolerance
        n, m, count = self.n, self.m, self.n_stages
        self.buffer = Buffer(
            common_sizes(equations)
            | {
                "K": count * n, "Y": count * n, "ERROR": 1,
                "S_NEW": n * m, "KS": count * n * m,
                "PHI_NEW": n * n, "KPHI": count * n * n,
                "PSI_NEW": n * n, "KPSI": count * n * n,
            }
        )  # fmt: skip
        self.reading = Reading(equations, self.buffer)

    @property
    def parts(self) -> dict[str, Any]:
        """The functions to trace, by the names under which the driver calls them."""
        reading = self.reading
        return {
            "refresh": self.refresh,
            "refresh_sensitivities": self.refresh_sensitivities,
            "refresh_maps": self.refresh_maps,
            "attempt": self.attempt,
            "attempt_sensitivities": self.attempt_sensitivities,
            "attempt_maps": self.attempt_maps,
            "accept": self.accept,
            "accept_sensitivities": self.accept_sensitivities,
            "accept_maps": self.accept_maps,
            "read": reading.read,
            "read_with_gradient": reading.read_with_gradient,
            "field": reading.field,
            "resolve": reading.resolve if reading.apart else None,
        }

    def _at(self, name: str, entry: int = 0) -> int:
        return self.buffer.places[name] + entry * W

    def _time(self, b: Memory, stage: int) -> Any:
        return b[self._at("T")] + b[self._at("H")] * self._nodes[stage]

    def _stage_value(self, b: Memory, stage: int, start: str, slopes: str) -> list[Any]:
        """Value at a stage, start + h * (weights . slopes)."""
        h, size = b[self._at("H")], self.buffer.sizes[start]
        values = self.buffer.read(b, start)
        for i in range(size):
            total = None
            for earlier, weight in enumerate(self._stages[stage]):
                if weight:
                    part = b[self._at(slopes, earlier * size + i)] * weight
                    total = part if total is None else total + part
            if total is not None:
                values[i] = values[i] + h * total
        return values

    def _slope(self, b: Memory, stage: int, amounts: list[Any]) -> None:
        """Store the amounts at a stage and their rate of change."""
        n = self.n
        rates = self.equations.rates(self._time(b, stage), amounts, self.buffer.read(b, "P"))
        self.buffer.write(b, "Y", amounts, stage * n)
        running = self.buffer.read(b, "R")
        self.buffer.write(b, "K", [x + r for x, r in zip(rates, running, strict=True)], stage * n)

    def _jacobian(self, b: Memory, stage: int) -> list[Any]:
        amounts = self.buffer.read(b, "Y", stage * self.n, self.n)
        time = self._time(b, stage)
        return self.equations.jacobian(
            self.equations.rates, time, amounts, self.buffer.read(b, "P")
        )

    def _linearised(self, rates: list[Any], before: list[Any], i: int, k: int, m: int) -> Any:
        """Row i of the Jacobian times column k, or None if that is zero."""
        total = None
        for j in range(self.n):
            if j in rates[i].slopes:
                part = before[j * m + k] * rates[i].slopes[j]
                total = part if total is None else total + part
        return total

    def _sensitivity_slope(self, b: Memory, stage: int, before: list[Any]) -> None:
        """Store dS/dt = J S + F at a stage."""
        n, m = self.n, self.m
        rates = self._jacobian(b, stage)
        for i in range(n):
            for k in range(m):
                total = self._linearised(rates, before, i, k, m)
                direct = rates[i].slopes.get(n + k, 0.0)
                value = direct if total is None else total + direct
                b[self._at("KS", (stage * n + i) * m + k)] = value

    def _map_slope(self, b: Memory, stage: int, phi: list[Any], psi: list[Any]) -> None:
        """Store dPHI/dt = J PHI and dPSI/dt = J PSI + 1 at a stage."""
        n = self.n
        rates = self._jacobian(b, stage)
        for i in range(n):
            for k in range(n):
                first = self._linearised(rates, phi, i, k, n)
                second = self._linearised(rates, psi, i, k, n)
                own = 1.0 if i == k else 0.0
                b[self._at("KPHI", (stage * n + i) * n + k)] = 0.0 if first is None else first
                value = own if second is None else second + own
                b[self._at("KPSI", (stage * n + i) * n + k)] = value

    def refresh(self, b: Memory) -> None:
        """Rates of change at the start of the step."""
        self._slope(b, 0, self.buffer.read(b, "A"))

    def refresh_sensitivities(self, b: Memory) -> None:
        """Rates of change of the derivatives at the start of the step."""
        self._sensitivity_slope(b, 0, self.buffer.read(b, "S"))

    def refresh_maps(self, b: Memory) -> None:
        """The same for the derivatives by the segment's start."""
        self._map_slope(b, 0, self.buffer.read(b, "PHI"), self.buffer.read(b, "PSI"))

    def attempt(self, b: Memory) -> None:
        """All stages of the amounts, and the error estimate."""
        n = self.n
        for stage in range(1, 7):
            self._slope(b, stage, self._stage_value(b, stage, "A", "K"))
        worst = None
        for i in range(n):
            total = b[self._at("K", i)] * ERRORS[0]
            for stage in range(2, 7):
                total = total + b[self._at("K", stage * n + i)] * ERRORS[stage]
            old, new = abs(b[self._at("A", i)]), abs(b[self._at("Y", 6 * n + i)])
            scale = b[self._at("FLOOR", i)] + old.larger(new) * self.tolerance
            ratio = abs(b[self._at("H")] * total) / scale
            worst = ratio if worst is None else ratio.larger(worst)
        b[self._at("ERROR")] = worst  # type: ignore[assignment]

    def attempt_sensitivities(self, b: Memory) -> None:
        """The derivative of the step just made, stage by stage."""
        values: list[Any] = []
        for stage in range(1, 7):
            values = self._stage_value(b, stage, "S", "KS")
            self._sensitivity_slope(b, stage, values)
        self.buffer.write(b, "S_NEW", values)

    def attempt_maps(self, b: Memory) -> None:
        """The same for the derivatives by the segment's start."""
        phi: list[Any] = []
        psi: list[Any] = []
        for stage in range(1, 7):
            phi = self._stage_value(b, stage, "PHI", "KPHI")
            psi = self._stage_value(b, stage, "PSI", "KPSI")
            self._map_slope(b, stage, phi, psi)
        self.buffer.write(b, "PHI_NEW", phi)
        self.buffer.write(b, "PSI_NEW", psi)

    def accept(self, b: Memory) -> None:
        """Take over the accepted lanes; the last stage is the first of the next step."""
        n = self.n
        self.buffer.take(b, "A", self.buffer.read(b, "Y", (self.n_stages - 1) * n, n))
        self.buffer.take(b, "K", self.buffer.read(b, "K", (self.n_stages - 1) * n, n))

    def accept_sensitivities(self, b: Memory) -> None:
        """The same for the derivatives."""
        self._accept(b, "S", "KS")

    def accept_maps(self, b: Memory) -> None:
        """The same for the derivatives by the segment's start."""
        self._accept(b, "PHI", "KPHI")
        self._accept(b, "PSI", "KPSI")

    def _accept(self, b: Memory, name: str, slopes: str) -> None:
        size = self.buffer.sizes[name]
        self.buffer.take(b, name, self.buffer.read(b, f"{name}_NEW"))
        self.buffer.take(b, slopes, self.buffer.read(b, slopes, (self.n_stages - 1) * size, size))

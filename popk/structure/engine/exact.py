"""Steps of linear structures: exact, of any length, and runs of doses taken at once."""

from __future__ import annotations

from typing import Any

from popk.structure.engine.differences import (
    Exponential,
    Function,
    Infusion,
    Product,
    Tabulated,
)
from popk.structure.engine.equations import Buffer, Equations, Reading, common_sizes
from popk.structure.engine.mammillary import (
    Mammillary,
    Spectrum,
    boluses,
    doubled,
    history,
    infused,
    infusion,
    node_sets,
)
from popk.structure.engine.vector import Memory


class ExactStep:
    """The traced parts of a closed-form solver.

    Beyond the common quantities the buffer holds the spectrum of the parameters (RATES, FORWARD,
    BACK, EXCHANGE); for a jump its size by compartment (TO_JUMP), EVERY (interval), DOSES, LASTING
    (duration) and AGO, and its result DELTA with derivatives DELTA_S and rates of change FIELD; and
    while a run is doubled its state SUM with LENGTH and BIT.
    """

    def __init__(self, equations: Equations) -> None:
        assert equations.structure.closed_form is not None
        n, absorption = equations.structure.closed_form
        self.linear = Mammillary(n, absorption=absorption)
        self.n, self.m = equations.n, equations.m
        self.equations = equations
        self.nodes = node_sets(n, absorption=absorption, gradient=True)
        modes = n
        self.buffer = Buffer(
            common_sizes(equations)
            | {
                "RATES": modes, "FORWARD": modes * modes, "BACK": modes * modes,
                "EXCHANGE": 2 if n == 2 else 0,
                "TO_JUMP": self.n, "EVERY": 1, "DOSES": 1, "LASTING": 1, "AGO": 1,
                "DELTA": self.n, "DELTA_S": self.n * self.m,
                "SUM": len(self.nodes), "LENGTH": 1, "BIT": 1,
            }
        )  # fmt: skip
        # A lane moves where its step has a length.
        self.buffer.places["ACCEPTED"] = self.buffer.places["H"]
        self.reading = Reading(equations, self.buffer)

    @property
    def parts(self) -> dict[str, Any]:
        """The functions to trace, by the names under which the driver calls them."""
        reading = self.reading
        return {
            "setup": self.setup,
            "flow": self.flow,
            "flow_infusing": self.flow_infusing,
            "gradient": self.gradient,
            "gradient_infusing": self.gradient_infusing,
            "maps": self.maps,
            "jump": self.jump,
            "jump_boluses": self.jump_boluses,
            "boluses_only": self.boluses_only,
            "jump_infusion": self.jump_infusion,
            "infusion_only": self.infusion_only,
            "jump_infusions": self.jump_infusions,
            "jump_sum": self.jump_sum,
            "double": self.double,
            "read": reading.read,
            "read_with_gradient": reading.read_with_gradient,
            "field": reading.field,
        }

    def _parameters(self, b: Memory) -> list[Any]:
        return self.buffer.read(b, "P")

    def _spectrum(self, b: Memory) -> Spectrum:
        n = self.linear.n
        rows = [self.buffer.read(b, name) for name in ("FORWARD", "BACK")]
        p, q = ([row[c * n : (c + 1) * n] for c in range(n)] for row in rows)
        return Spectrum(self.buffer.read(b, "RATES"), p, q, self.buffer.read(b, "EXCHANGE"))

    def setup(self, b: Memory) -> None:
        """The spectrum, after parameters changed."""
        s = self.linear.spectrum(self._parameters(b))
        self.buffer.write(b, "RATES", s.rates)
        self.buffer.write(b, "FORWARD", [x for row in s.p for x in row])
        self.buffer.write(b, "BACK", [x for row in s.q for x in row])
        self.buffer.write(b, "EXCHANGE", s.exchange)

    def _elapse(self, b: Memory) -> tuple[Spectrum, list[Any], Exponential]:
        s, p = self._spectrum(b), self._parameters(b)
        return s, p, self.linear.exponential(s, p, b[self.buffer.places["H"]])

    def flow(self, b: Memory) -> None:
        """Advance the amounts by H."""
        s, p, decay = self._elapse(b)
        self._advance(b, s, p, decay, infusing=False)

    def flow_infusing(self, b: Memory) -> None:
        """The same with infusions running."""
        s, p, decay = self._elapse(b)
        self._advance(b, s, p, decay, infusing=True)

    def _advance(
        self, b: Memory, s: Spectrum, p: list[Any], decay: Exponential, *, infusing: bool
    ) -> list[list[Any]]:
        """Take over the amounts after the step; returns the matrix that decay is on them."""
        matrix = self.linear.matrix(decay, s, p)
        amounts = _times(matrix, self.buffer.read(b, "A"))
        if infusing:
            lasting = self.linear.matrix(Infusion(decay), s, p)
            given = _times(lasting, self.buffer.read(b, "R"))
            amounts = [x + y for x, y in zip(amounts, given, strict=True)]
        self.buffer.take(b, "A", amounts)
        return matrix

    def gradient(self, b: Memory) -> None:
        """Advance the amounts and their derivatives by the parameters."""
        self._advance_gradient(b, infusing=False)

    def gradient_infusing(self, b: Memory) -> None:
        """The same with infusions running."""
        self._advance_gradient(b, infusing=True)

    def _advance_gradient(self, b: Memory, *, infusing: bool) -> tuple[Any, ...]:
        s, p, decay = self._elapse(b)
        n, m, linear = self.n, self.m, self.linear
        slopes = linear.slopes(decay, s, p, linear.source(self.buffer.read(b, "A")))
        matrix = self._advance(b, s, p, decay, infusing=infusing)
        if infusing:
            running = linear.source(self.buffer.read(b, "R"))
            more = linear.slopes(Infusion(decay), s, p, running)
            slopes = [
                [x + y for x, y in zip(*rows, strict=True)]
                for rows in zip(slopes, more, strict=True)
            ]
        before = self.buffer.read(b, "S")
        columns = [_times(matrix, before[k::m]) for k in range(m)]
        after = [
            columns[k][i] + slopes[i][k] if k < linear.n_parameters else columns[k][i]
            for i in range(n)
            for k in range(m)
        ]
        self.buffer.take(b, "S", after)
        return s, p, decay, matrix

    def maps(self, b: Memory) -> None:
        """The same, and the derivatives by amounts (PHI) and rates (PSI) at a segment's start."""
        s, p, decay, matrix = self._advance_gradient(b, infusing=True)
        lasting = self.linear.matrix(Infusion(decay), s, p)
        n = self.n
        for name in ("PHI", "PSI"):
            before = self.buffer.read(b, name)
            columns = [_times(matrix, before[k::n]) for k in range(n)]
            if name == "PSI":
                for i in range(n):
                    for k in range(n):
                        if lasting[i][k] is not None:
                            columns[k][i] = columns[k][i] + lasting[i][k]
            self.buffer.take(b, name, [columns[k][i] for i in range(n) for k in range(n)])

    def _store(
        self, b: Memory, f: Function, s: Spectrum, p: list[Any], *, slopes: bool = True
    ) -> None:
        source = self.buffer.read(b, "TO_JUMP")
        delta = _times(self.linear.matrix(f, s, p), source)
        self.buffer.write(b, "DELTA", delta)
        if slopes:
            found = self.linear.slopes(f, s, p, self.linear.source(source))
            pad = [0.0] * (self.m - self.linear.n_parameters)
            self.buffer.write(b, "DELTA_S", [x for row in found for x in [*row, *pad]])
        t = b[self.buffer.places["T"]]
        self.buffer.write(b, "FIELD", self.equations.rates(t, delta, p))

    def _regimen(self, b: Memory) -> dict[str, Any]:
        return {"interval": b[self.buffer.places["EVERY"]], "count": b[self.buffer.places["DOSES"]]}

    def jump(self, b: Memory) -> None:
        """What a run of doses has left, in its general form."""
        s, p = self._spectrum(b), self._parameters(b)
        duration, since = b[self.buffer.places["LASTING"]], b[self.buffer.places["AGO"]]
        f = history(self.linear, s, p, **self._regimen(b), duration=duration, since=since)
        self._store(b, f, s, p)

    def jump_boluses(self, b: Memory) -> None:
        """What a finite run of bolus doses has left at the time of the last."""
        s, p = self._spectrum(b), self._parameters(b)
        self._store(b, boluses(self.linear, s, p, **self._regimen(b)), s, p)

    def boluses_only(self, b: Memory) -> None:
        """The same without derivatives."""
        s, p = self._spectrum(b), self._parameters(b)
        self._store(b, boluses(self.linear, s, p, **self._regimen(b)), s, p, slopes=False)

    def jump_infusion(self, b: Memory) -> None:
        """What one infusion has left at its end."""
        s, p = self._spectrum(b), self._parameters(b)
        duration = b[self.buffer.places["LASTING"]]
        self._store(b, infusion(self.linear, s, p, duration=duration), s, p)

    def infusion_only(self, b: Memory) -> None:
        """The same without derivatives."""
        s, p = self._spectrum(b), self._parameters(b)
        duration = b[self.buffer.places["LASTING"]]
        self._store(b, infusion(self.linear, s, p, duration=duration), s, p, slopes=False)

    def jump_infusions(self, b: Memory) -> None:
        """What a finite run of infusions has left at the end of the last."""
        s, p = self._spectrum(b), self._parameters(b)
        run = boluses(self.linear, s, p, **self._regimen(b))
        each = infusion(self.linear, s, p, duration=b[self.buffer.places["LASTING"]])
        self._store(b, Product(run, each), s, p)

    def jump_sum(self, b: Memory) -> None:
        """The same from SUM, for runs over which little decays."""
        s, p = self._spectrum(b), self._parameters(b)
        sums = Tabulated(dict(zip(self.nodes, self.buffer.read(b, "SUM"), strict=True)))
        self._store(b, infused(self.linear, s, p, sums, b[self.buffer.places["LASTING"]]), s, p)

    def double(self, b: Memory) -> None:
        """One binary digit of the number of doses in SUM."""
        s, p = self._spectrum(b), self._parameters(b)
        total = Tabulated(dict(zip(self.nodes, self.buffer.read(b, "SUM"), strict=True)))
        interval, length, bit = (b[self.buffer.places[x]] for x in ("EVERY", "LENGTH", "BIT"))
        f = doubled(self.linear, s, p, total, interval=interval, length=length, bit=bit)
        self.buffer.write(b, "SUM", [f(*nodes) for nodes in self.nodes])


def _times(matrix: list[list[Any]], vector: list[Any]) -> list[Any]:
    found = []
    for row in matrix:
        total = row[0] * vector[0]
        for x, y in zip(row[1:], vector[1:], strict=True):
            if x is not None:
                total = total + x * y
        found.append(total)
    return found

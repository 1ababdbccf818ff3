"""Linear structures side by side: what doses have left, as functions of the rates.

Everything is linear in the doses: what those into one compartment have left is f(M) times a unit
there, f being the sum of a decay for each of them (or of its integral, for infusions). So neither
amounts nor derivatives are carried along: a table for each compartment that is dosed holds f and
its divided differences at the rates (`popk.structure.engine.differences`). A step multiplies tables
by Leibniz' rule and a dose adds 1; steps, infusions and runs of doses that recur are found once.
Only where something is read are tables turned into amounts and their derivatives: by sums with
coefficients that depend on the parameters alone.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from popk.structure.base import Structure
from popk.structure.engine.differences import Exponential, Function, Infusion, Product, Tabulated
from popk.structure.engine.equations import Buffer, Equations, Reading, common_sizes
from popk.structure.engine.mammillary import (
    Mammillary,
    Spectrum,
    absorption_nodes,
    boluses,
    disposition_nodes,
    doubled,
    history,
    infused,
    infusion,
    node_sets,
)
from popk.structure.engine.plan import (
    DO_SOURCES,
    N_PARTS_OF_LOOK,
    N_PARTS_OF_SOURCE,
    TABLE_PARTS,
)
from popk.structure.engine.tables import store_rows
from popk.structure.engine.vector import Dual, Memory, W
from popk.structure.equations import OPERATIONS
from popk.structure.functions import larger, where_positive
from popk.structure.symbolic import trace

# Tables of steps, infusions and runs that are kept while a group is solved.
N_SLOTS = 16


class Superposition:
    """The traced parts of a solver in lockstep.

    A table lists differences: those that doses into the central or a peripheral compartment need
    (DISPOSITION), then those that doses into the depot need; of both first those without which
    there are no amounts, then those for derivatives. Parts take the buffer and the places of
    tables; beyond what `popk.structure.engine.exact.ExactStep` keeps, the buffer holds the CHOSEN
    lanes, the tables of each dosed compartment (RESPONSES), SLOTS for others, COEFFICIENTS, and
    where each lane writes (TO, SLOPES_TO; BY, SLOPES_BY bytes from row to row; SPARE for none).
    """

    def __init__(self, equations: Equations) -> None:
        assert equations.structure.closed_form is not None
        n, absorption = equations.structure.closed_form
        self.linear = Mammillary(n, absorption=absorption)
        self.n, self.m = equations.n, equations.m
        self.equations = equations
        self.of_amounts, self.nodes = disposition_nodes(n)
        self.n_disposition = len(self.nodes)
        self.of_absorbed: list[tuple[int, ...]] = []
        if absorption:
            self.of_absorbed, more = absorption_nodes(n)
            self.nodes = [*self.nodes, *more]
        self.summed = node_sets(n, absorption=absorption, gradient=True)
        self._patterns = [self._pattern(c) for c in range(self.n)]
        self._starts = [sum(map(_size, self._patterns[:c])) for c in range(self.n + 1)]
        common = common_sizes(equations)
        self.buffer = Buffer(
            {name: common[name] for name in ("P", "T", "A", "S", "H", "FLOOR")}
            | {
                "RATES": n, "FORWARD": n * n, "BACK": n * n, "EXCHANGE": 2 if n == 2 else 0,
                "EVERY": 1, "DOSES": 1, "LASTING": 1, "AGO": 1, "CHOSEN": 1,
                "SUM": len(self.summed), "LENGTH": 1, "BIT": 1,
                "TO": 1, "BY": 1, "SLOPES_TO": 1, "SLOPES_BY": 1, "SPARE": self.m,
                "COEFFICIENTS": self._starts[-1],
                "RESPONSES": self.n * len(self.nodes), "SLOTS": N_SLOTS * len(self.nodes),
            }
        )  # fmt: skip
        self.reading = Reading(equations, self.buffer)

    @property
    def parts(self) -> list[Any]:
        """The functions to trace, in the order of `popk.structure.engine.plan.TABLE_PARTS`.

        Those of each compartment that may be dosed follow, then those of each output.
        """
        found = [getattr(self, name) for name in TABLE_PARTS]
        assert len(found) == DO_SOURCES
        for c in range(self.n):
            of_source = self._of_source(c)
            assert len(of_source) == N_PARTS_OF_SOURCE
            found += of_source
        for o in range(self.equations.n_outputs):
            of_output = self._of_output(o)
            assert len(of_output) == N_PARTS_OF_LOOK * (1 + self.n)
            found += of_output
        return found

    def _place(self, b: Memory, name: str) -> Any:
        return b[self.buffer.places[name]]

    def _known(self, b: Memory) -> tuple[Spectrum, list[Any]]:
        n = self.linear.n
        rows = [self.buffer.read(b, name) for name in ("FORWARD", "BACK")]
        p, q = ([row[c * n : (c + 1) * n] for c in range(n)] for row in rows)
        spectrum = Spectrum(self.buffer.read(b, "RATES"), p, q, self.buffer.read(b, "EXCHANGE"))
        return spectrum, self.buffer.read(b, "P")

    def setup(self, b: Memory, first: Memory, second: Memory) -> None:
        """The spectrum of the parameters."""
        s = self.linear.spectrum(self.buffer.read(b, "P"))
        self.buffer.write(b, "RATES", s.rates)
        self.buffer.write(b, "FORWARD", [x for row in s.p for x in row])
        self.buffer.write(b, "BACK", [x for row in s.q for x in row])
        self.buffer.write(b, "EXCHANGE", s.exchange)

    # Tables, written to the first place.

    def _decay(self, b: Memory) -> Exponential:
        s, p = self._known(b)
        return self.linear.exponential(s, p, self._place(b, "H"))

    def decay(self, b: Memory, first: Memory, second: Memory) -> None:
        """The decay over H."""
        self._write(first, self._decay(b), self.nodes)

    def decay_only(self, b: Memory, first: Memory, second: Memory) -> None:
        """The same as far as amounts need it."""
        self._write(first, self._decay(b), [*self.of_amounts, *self.of_absorbed])

    def infusing(self, b: Memory, first: Memory, second: Memory) -> None:
        """An infusion at unit rate over H."""
        self._write(first, Infusion(self._decay(b)), self.nodes)

    def _write(self, table: Memory, f: Function, nodes: list[tuple[int, ...]]) -> None:
        for at in nodes:
            table[self.nodes.index(at) * W] = f(*at)

    def _choose(self, b: Memory, table: Memory, f: Function) -> None:
        chosen = self._place(b, "CHOSEN")
        for k, at in enumerate(self.nodes):
            table[k * W] = where_positive(chosen, f(*at), table[k * W])

    def _run(self, b: Memory) -> Function:
        s, p = self._known(b)
        every, doses = self._place(b, "EVERY"), self._place(b, "DOSES")
        return boluses(self.linear, s, p, interval=every, count=doses)

    def _infusion(self, b: Memory) -> Function:
        s, p = self._known(b)
        return infusion(self.linear, s, p, duration=self._place(b, "LASTING"))

    def run_of_boluses(self, b: Memory, first: Memory, second: Memory) -> None:
        """A finite run of bolus doses, in the chosen lanes."""
        self._choose(b, first, self._run(b))

    def one_infusion(self, b: Memory, first: Memory, second: Memory) -> None:
        """One infusion, in the chosen lanes."""
        self._choose(b, first, self._infusion(b))

    def run_of_infusions(self, b: Memory, first: Memory, second: Memory) -> None:
        """A finite run of infusions, in the chosen lanes."""
        self._choose(b, first, Product(self._run(b), self._infusion(b)))

    def run_of_any(self, b: Memory, first: Memory, second: Memory) -> None:
        """A run of doses in its general form, in the chosen lanes."""
        s, p = self._known(b)
        every, doses, lasting, ago = (
            self._place(b, name) for name in ("EVERY", "DOSES", "LASTING", "AGO")
        )
        self._choose(
            b, first,
            history(
                self.linear, s, p, interval=every, count=doses, duration=lasting, since=ago
            ),
        )  # fmt: skip

    def _sums(self, b: Memory) -> Tabulated:
        return Tabulated(dict(zip(self.summed, self.buffer.read(b, "SUM"), strict=True)))

    def summed_run(self, b: Memory, first: Memory, second: Memory) -> None:
        """From SUM, a run over which little decays, in the chosen lanes."""
        s, p = self._known(b)
        f = infused(self.linear, s, p, self._sums(b), self._place(b, "LASTING"))
        self._choose(b, first, f)

    def double(self, b: Memory, first: Memory, second: Memory) -> None:
        """One binary digit of the number of doses in SUM."""
        s, p = self._known(b)
        interval, length, bit = (self._place(b, name) for name in ("EVERY", "LENGTH", "BIT"))
        f = doubled(self.linear, s, p, self._sums(b), interval=interval, length=length, bit=bit)
        self.buffer.write(b, "SUM", [f(*nodes) for nodes in self.summed])

    # Steps: the first table, of doses into one compartment, is multiplied by the second.

    def advance(self, b: Memory, first: Memory, second: Memory) -> None:
        """Doses into the central compartment or a peripheral one."""
        self._multiply(first, second, self.nodes[: self.n_disposition])

    def advance_only(self, b: Memory, first: Memory, second: Memory) -> None:
        """The same as far as amounts need it."""
        self._multiply(first, second, self.of_amounts)

    def advance_absorbed(self, b: Memory, first: Memory, second: Memory) -> None:
        """Doses into the depot."""
        self._multiply(first, second, self.nodes[self.n_disposition :])

    def advance_absorbed_only(self, b: Memory, first: Memory, second: Memory) -> None:
        """The same as far as amounts need it."""
        self._multiply(first, second, self.of_absorbed)

    def _multiply(self, first: Memory, second: Memory, nodes: list[tuple[int, ...]]) -> None:
        product = Product(self._table(second, self.nodes), self._table(first, nodes))
        found = [product(*at) for at in nodes]
        for at, value in zip(nodes, found, strict=True):
            first[self.nodes.index(at) * W] = value

    def _table(self, table: Memory, nodes: list[tuple[int, ...]]) -> Tabulated:
        return Tabulated({at: table[self.nodes.index(at) * W] for at in nodes})

    # From tables to amounts: sums with coefficients.

    def _forms(self, s: Spectrum, p: list[Any], c: int) -> list[list[Any]]:
        """Amount in each compartment and its derivatives, as linear forms in the table's entries.

        Slopes of the dual numbers are the coefficients.
        """
        nodes = enumerate(self.nodes)
        entries = Tabulated({at: Dual(0.0, {k: 1.0}) for k, at in nodes})
        plain = Spectrum(
            *(
                [[Dual(x) for x in row] for row in rows]
                for rows in ([s.rates], s.p, s.q, [s.exchange])
            )
        )
        plain = plain._replace(rates=plain.rates[0], exchange=plain.exchange[0])
        q = [Dual(x) for x in p]
        amounts = self.linear.entries(entries, plain, q)
        slopes = self.linear.slopes(entries, plain, q, self.linear.unit_source(c, Dual(1.0)))
        return [[amounts[to][c], *slopes[to]] for to in range(self.n)]

    def _pattern(self, c: int) -> list[list[list[int]]]:
        """Which entries of the table of doses into c each form needs."""
        n = self.linear.n
        ones = [[1.0] * n] * n
        s = Spectrum([1.0] * n, ones, ones, [1.0] * 2 if n == 2 else [])
        forms = self._forms(s, [1.0] * self.m, c)
        return [[sorted(_slopes(form)) for form in row] for row in forms]

    def _of_source(self, c: int) -> list[Any]:
        """Coefficients of doses into c, and the sums they make, with and without derivatives.

        Of all compartments; then coefficients for the central one alone.
        """
        everywhere, central = range(self.n), [self.linear.depot]

        def project(targets: Any) -> Any:
            def code(b: Memory, first: Memory, second: Memory) -> None:
                s, p = self._known(b)
                self._project(b, self._forms(s, p, c), c, targets)

            return code

        def respond(*, gradient: bool) -> Any:
            def code(b: Memory, first: Memory, second: Memory) -> None:
                for to in everywhere:
                    places = [self.buffer.places["A"] + to * W]
                    start = self.buffer.places["S"] + to * self.m * W
                    places += [start + k * W for k in range(self.m)]
                    sums = self._sums_of(b, first, c, to, gradient=gradient)
                    for place, total in zip(places, sums, strict=False):
                        b[place] = b[place] + total

            return code

        return [
            project(everywhere), respond(gradient=True), respond(gradient=False), project(central),
        ]  # fmt: skip

    def _coefficient(self, c: int, to: int) -> int:
        pattern = self._patterns[c]
        return self._starts[c] + _size(pattern[:to])

    def _project(self, b: Memory, forms: list[list[Any]], c: int, targets: Any) -> None:
        for to in targets:
            found = [
                _slopes(form)[k]
                for form, keys in zip(forms[to], self._patterns[c][to], strict=True)
                for k in keys
            ]
            self.buffer.write(b, "COEFFICIENTS", found, self._coefficient(c, to))

    def _sums_of(self, b: Memory, table: Memory, c: int, to: int, *, gradient: bool) -> list[Any]:
        """An amount, and its derivatives if wanted, that doses into c have left."""
        place, found = self._coefficient(c, to), []
        for keys in self._patterns[c][to]:
            weights = self.buffer.read(b, "COEFFICIENTS", place, len(keys))
            place += len(keys)
            total: Any = 0.0
            for i, (weight, k) in enumerate(zip(weights, keys, strict=True)):
                part = weight * table[k * W]
                total = total + part if i else part
            found.append(total)
            if not gradient:
                break
        if self.linear.cancels(to, c):
            found[0] = larger(found[0], 0.0)
        return found

    def _of_output(self, o: int) -> list[Any]:
        """Write an output in the chosen lanes, with and without its gradient.

        From amounts, which it empties; then straight from the table of doses into each compartment
        (None where it depends on more than the amount in the central one).
        """

        def look(*, gradient: bool) -> Any:
            def code(b: Memory, first: Memory, second: Memory) -> None:
                slopes = self.buffer.read(b, "S")
                self._store(b, o, self.buffer.read(b, "A"), slopes if gradient else None)
                self.buffer.write(b, "A", [0.0] * self.n)
                if gradient:
                    self.buffer.write(b, "S", [0.0] * (self.n * self.m))

            return code

        def look_at_once(c: int, *, gradient: bool) -> Any:
            def code(b: Memory, first: Memory, second: Memory) -> None:
                central = self.linear.depot
                sums = self._sums_of(b, first, c, central, gradient=gradient)
                slopes: list[Any] = [*[0.0] * (central * self.m), *sums[1:]]
                slopes += [0.0] * (self.n * self.m - len(slopes))
                # The other amounts are not read.
                self._store(b, o, [sums[0]] * self.n, slopes if gradient else None)

            return code

        alone = of_central_alone(self.equations.structure)[o]
        found = [look(gradient=True), look(gradient=False)]
        for c in range(self.n):
            found += [look_at_once(c, gradient=x) if alone else None for x in (True, False)]
        return found

    def _store(self, b: Memory, o: int, amounts: list[Any], slopes: list[Any] | None) -> None:
        chosen, to = self._place(b, "CHOSEN"), self.buffer.places
        if slopes is None:
            t, (read, _) = self._place(b, "T"), self.reading.amounts(b, amounts)
            value = self.equations.read(t, read, self.buffer.read(b, "P"))[o]
        else:
            output = self.reading.found(b, amounts, slopes)[o]
            value = output.value
            store_rows(b, to["SLOPES_TO"], to["SLOPES_BY"], to["SPARE"], chosen, output.total)
        store_rows(b, to["TO"], to["BY"], to["SPARE"], chosen, [value])


@cache
def of_central_alone(structure: Structure) -> NDArray[np.bool_]:
    """Whether each output depends on no amount but that in the central compartment."""
    assert structure.closed_form is not None
    central = structure.compartments[int(structure.closed_form[1])]
    read = trace(
        structure.read,
        place=f"The outputs of {type(structure).__name__}",
        compartments=structure.compartments,
        parameters=tuple(parameter.name for parameter in structure.kinetics),
        results=tuple(output.name for output in structure.outputs),
    )
    others: list[bool] = []  # whether each step needs another amount
    for kind, *about in read.steps:
        if kind == "a":
            others.append(about[0] != central)
        else:
            others.append(kind in OPERATIONS and any(others[int(k)] for k in about))
    return np.array([not others[k] for k in read.results])


def _slopes(form: Any) -> dict[int, Any]:
    return dict(form.slopes) if isinstance(form, Dual) else {}


def _size(pattern: list[list[list[int]]]) -> int:
    return sum(len(keys) for row in pattern for keys in row)

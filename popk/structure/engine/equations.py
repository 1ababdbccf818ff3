"""A structure's equations, with positions for names, and the buffer that a solver keeps."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from typing import Any, NamedTuple, cast

from popk.structure.base import Structure
from popk.structure.engine.vector import Dual, Memory, W
from popk.structure.functions import where_positive

ABSOLUTE_TOLERANCE = 1e-10  # of an ODE solver, of the largest amount given


class Equations:
    """The rates and outputs of a structure as functions of lists.

    Parameters
    ----------
    structure
        The structure.
    """

    def __init__(self, structure: Structure) -> None:
        self.structure = structure
        self.n = len(structure.compartments)
        self.m = len(structure.kinetics)
        self.n_outputs = len(structure.outputs)
        self._amounts = _named("Amounts", structure.compartments)
        names = [parameter.name for parameter in structure.kinetics]
        self._parameters = _named("Parameters", names)

    def rates(self, t: Any, a: Sequence[Any], p: Sequence[Any]) -> Sequence[Any]:
        """Rates of change of the amounts, (n)."""
        found = self.structure.rates(t, self._amounts(*a), self._parameters(*p))
        # Equations may give plain numbers.
        return [rate + 0.0 * t for rate in found]

    def read(self, t: Any, a: Sequence[Any], p: Sequence[Any]) -> Sequence[Any]:
        """The outputs, (n_outputs)."""
        return self.structure.read(t, self._amounts(*a), self._parameters(*p))

    def jacobian(
        self, function: Callable[..., Sequence[Any]], t: Any, a: Sequence[Any], p: Sequence[Any]
    ) -> list[Any]:
        """Results of `rates` or `read` as dual numbers: slopes 0..n-1 by amounts, then by p."""
        duals = [Dual(amount, {j: 1.0}) for j, amount in enumerate(a)]
        theta = [Dual(value, {self.n + k: 1.0}) for k, value in enumerate(p)]
        found = function(Dual(t), duals, theta)
        return [x if isinstance(x, Dual) else Dual(x) for x in found]


def _named(name: str, fields: Sequence[str]) -> Callable[..., Any]:
    return cast(Callable[..., Any], namedtuple(name, fields))


class Buffer:
    """Places of named quantities in a solver's flat buffer, W doubles for each entry.

    Parameters
    ----------
    sizes
        Number of entries of each quantity.
    """

    def __init__(self, sizes: Mapping[str, int]) -> None:
        ends = list(accumulate(size * W for size in sizes.values()))
        self.places = dict(zip(sizes, [0, *ends], strict=False))
        self.sizes = dict(sizes)
        self.size = ends[-1]

    def read(self, b: Memory, name: str, start: int = 0, size: int | None = None) -> list[Any]:
        """Entries of a quantity."""
        count = self.sizes[name] - start if size is None else size
        return b.read(self.places[name] + start * W, count)

    def write(self, b: Memory, name: str, values: Sequence[Any], start: int = 0) -> None:
        """Store entries of a quantity; numbers become vectors."""
        for i, value in enumerate(values):
            b[self.places[name] + (start + i) * W] = value

    def take(self, b: Memory, name: str, values: Sequence[Any], start: int = 0) -> None:
        """Store entries in the lanes whose step counts (ACCEPTED above zero)."""
        accepted = b[self.places["ACCEPTED"]]
        for i, value in enumerate(values):
            place = self.places[name] + (start + i) * W
            b[place] = where_positive(accepted, value, b[place])


def common_sizes(equations: Equations) -> dict[str, int]:
    """What every solver keeps: see `popk.structure.engine.driver`."""
    n, m, outputs = equations.n, equations.m, equations.n_outputs
    return {
        "P": m, "T": 1, "A": n, "R": n, "S": n * m, "PHI": n * n, "PSI": n * n,
        "H": 1, "ACCEPTED": 1, "FLOOR": n, "FIELD": n,
        "OUT": outputs, "OUT_A": outputs * n, "OUT_P": outputs * m, "OUT_G": outputs * m,
    }  # fmt: skip


class Output(NamedTuple):
    """An output, and its derivatives by amounts, by parameters at held amounts, and in all."""

    value: Any
    by_amount: list[Any]
    direct: list[Any]
    total: list[Any]


class Reading:
    """The traced parts that need no solver: the outputs, and the field at the amounts.

    Amounts below the solver's resolution (FLOOR, by compartment) read as that resolution, without a
    slope: an amount that was given is never zero or negative, and its noise has no slope. Those
    that hold a deviation from a baseline (`Structure.deviations`) read as they are.
    """

    def __init__(self, equations: Equations, buffer: Buffer) -> None:
        self.equations, self.buffer = equations, buffer
        names = equations.structure.compartments
        self._plain = [name in equations.structure.deviations for name in names]
        undosed = {*equations.structure.undosed, *equations.structure.deviations}
        self.apart = [name for name in names if name in undosed]

    def amounts(self, b: Memory, given: Sequence[Any]) -> tuple[list[Any], list[Any]]:
        """Amounts as they read, and 1 where they have a slope, else 0."""
        amounts, weights = [], []
        floors = self.buffer.read(b, "FLOOR")
        for a, floor, plain in zip(given, floors, self._plain, strict=True):
            noise = where_positive(abs(a), where_positive(floor - a, 1.0, -1.0), -1.0)
            amounts.append(a if plain else where_positive(noise, floor, a))
            weights.append(1.0 if plain else where_positive(noise, 0.0, 1.0))
        return amounts, weights

    def read(self, b: Memory) -> None:
        """Outputs."""
        amounts, _ = self.amounts(b, self.buffer.read(b, "A"))
        t, p = b[self.buffer.places["T"]], self.buffer.read(b, "P")
        self.buffer.write(b, "OUT", self.equations.read(t, amounts, p))

    def found(self, b: Memory, given: Sequence[Any], slopes: Sequence[Any]) -> list[Output]:
        """Outputs and their derivatives, from amounts and theirs (n * m)."""
        n, m = self.equations.n, self.equations.m
        amounts, weights = self.amounts(b, given)
        t, p = b[self.buffer.places["T"]], self.buffer.read(b, "P")
        outputs = []
        for dual in self.equations.jacobian(self.equations.read, t, amounts, p):
            by_amount = [dual.slopes.get(i, 0.0) * weights[i] for i in range(n)]
            direct = [dual.slopes.get(n + k, 0.0) for k in range(m)]
            total = list(direct)
            for i in set(range(n)) & set(dual.slopes):
                total = [slopes[i * m + k] * by_amount[i] + total[k] for k in range(m)]
            outputs.append(Output(dual.value, by_amount, direct, total))
        return outputs

    def read_with_gradient(self, b: Memory) -> None:
        """Outputs (OUT) and their derivatives (OUT_A, OUT_P, OUT_G); see `Output`."""
        n, m = self.equations.n, self.equations.m
        given, slopes = self.buffer.read(b, "A"), self.buffer.read(b, "S")
        for o, output in enumerate(self.found(b, given, slopes)):
            self.buffer.write(b, "OUT", [output.value], o)
            self.buffer.write(b, "OUT_A", output.by_amount, o * n)
            self.buffer.write(b, "OUT_P", output.direct, o * m)
            self.buffer.write(b, "OUT_G", output.total, o * m)

    def resolve(self, b: Memory) -> None:
        """Resolution of compartments that hold no drug, in the chosen lanes (ACCEPTED).

        Theirs has nothing to do with the dose, which may be in other units: it is the same part
        (`ABSOLUTE_TOLERANCE`) of where they would settle beside the largest dose.
        """
        t, p = b[self.buffer.places["T"]], self.buffer.read(b, "P")
        floors = self.buffer.read(b, "FLOOR")
        names = self.equations.structure.compartments
        amounts = [
            floor * (0.0 if name in self.apart else 1.0 / ABSOLUTE_TOLERANCE)
            for name, floor in zip(names, floors, strict=True)
        ]
        for i in (names.index(name) for name in self.apart):
            rate = self.equations.jacobian(self.equations.rates, t, amounts, p)[i]
            by_itself = rate.slopes.get(i, 0.0)
            amounts[i] = -rate.value / by_itself if i in rate.slopes else amounts[i]
            size = abs(amounts[i]) * ABSOLUTE_TOLERANCE
            usable = where_positive(size, where_positive(1e290 - size, 1.0, -1.0), -1.0)
            amounts[i] = where_positive(usable, amounts[i], 0.0)
            floors[i] = where_positive(usable, size, floors[i])
        self.buffer.take(b, "FLOOR", floors)

    def field(self, b: Memory) -> None:
        """Rates of change at the amounts, without infusions."""
        t, p = b[self.buffer.places["T"]], self.buffer.read(b, "P")
        rates = self.equations.rates(t, self.buffer.read(b, "A"), p)
        self.buffer.write(b, "FIELD", rates)

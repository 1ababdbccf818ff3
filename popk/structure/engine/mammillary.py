r"""Linear mammillary kinetics in closed form, with exact derivatives, in lanes.

The amounts obey :math:`A' = -M A` with :math:`M = L V^{-1}`: V the volumes, L made of CL and the
Q's. :math:`V^{-1/2} L V^{-1/2}` is symmetric, with rates :math:`\lambda_i` and orthonormal
eigenvectors :math:`u_i`, so for any function f

.. math::

    f(M) = \sum_i p_i f(\lambda_i) q_i^T, \quad p_i = V^{1/2} u_i, \; q_i = V^{-1/2} u_i, \qquad
    \partial f(M) = \sum_{ij} p_i \, (q_i^T \partial M \, p_j) \, f[\lambda_i, \lambda_j] \, q_j^T

(Daleckii & Krein). The middle factors are products of a number for i and one for j:
:math:`q_{1i} q_{1j}` for CL, :math:`(q_{1i}-q_{ki})(q_{1j}-q_{kj})` for the Q of compartment k and
:math:`-\lambda_i q_{ki} q_{kj}` for its volume. A depot feeds the central compartment through
:math:`k_a f[k_a, \lambda_i]`. Nothing is divided by a difference of rates, so colliding rates
(ka = ke, Q -> 0) are no exception.

Source: macro-constants and superposition, Gibaldi and Perrier, Pharmacokinetics (2nd ed., 1982);
one-sided Jacobi rotations for three compartments, Demmel, Applied Numerical Linear Algebra (SIAM
1997).
"""

from __future__ import annotations

from typing import Any, NamedTuple

from popk.structure.engine.differences import (
    Choice,
    Exponential,
    Function,
    Infusion,
    Inverse,
    Product,
    Repeat,
    Tabulated,
    UnitDose,
)
from popk.structure.functions import larger, sqrt, where_positive

_SWEEPS = 6  # of rotations; each squares what is left


class Spectrum(NamedTuple):
    """What of the parameters does not depend on time.

    Rates and eigenvectors, ``p[c][i]``, ``q[c][i]`` for compartment c and mode i; of two
    compartments also ``exchange``, the rate constants from the first to the second and back.
    """

    rates: list[Any]
    p: list[list[Any]]
    q: list[list[Any]]
    exchange: list[Any]


class Source(NamedTuple):
    """What a function of the rates acts on: amounts in the compartments, and in the depot.

    None for nothing at all there.
    """

    amounts: list[Any] | None
    depot: Any


class Mammillary:
    """The equations of a central and up to two peripheral compartments, with or without a depot.

    Parameters
    ----------
    n
        Number of compartments without the depot.
    absorption
        Whether there is a depot.
    """

    def __init__(self, n: int, *, absorption: bool) -> None:
        self.n = n
        self.depot = 1 if absorption else 0
        self.size = n + self.depot
        self.n_parameters = 2 * n + self.depot

    # Parameters: CL V, CL V1 Q V2 or CL V1 Q2 V2 Q3 V3, then KA.
    def _volumes(self, p: list[Any]) -> list[Any]:
        return [p[1], *(p[3 + 2 * k] for k in range(self.n - 1))]

    def spectrum(self, p: list[Any]) -> Spectrum:
        """Rates (descending) and eigenvectors."""
        volumes = self._volumes(p)
        if self.n == 1:
            rates, u = [p[0] / p[1]], [[1.0 + 0.0 * p[0]]]
        elif self.n == 2:
            rates, u = self._two(p)
        else:
            rates, u = self._three(p)
        roots = [sqrt(v) for v in volumes]
        n = self.n
        forward = [[roots[c] * u[c][i] for i in range(n)] for c in range(n)]
        back = [[u[c][i] / roots[c] for i in range(n)] for c in range(n)]
        exchange = [p[2] / v for v in volumes] if n == 2 else []
        return Spectrum(rates, forward, back, exchange)

    def _two(self, p: list[Any]) -> tuple[list[Any], list[list[Any]]]:
        cl, v1, q, v2 = p[:4]
        k10, k12, k21 = cl / v1, q / v1, q / v2
        offset = k10 + k12 - k21
        cross = 4.0 * k12 * k21
        gap = sqrt(offset * offset + cross)
        fast = 0.5 * (k10 + k12 + k21 + gap)
        slow = k10 * k21 / where_positive(fast, fast, 1.0)
        some = where_positive(gap, gap, 1.0)
        # Squares of the components; the smaller without the difference of gap and offset.
        more = where_positive(gap, 0.5 * (gap + abs(offset)) / some, 0.5)
        less = where_positive(gap, 0.25 * cross / (some * some * more), 0.5)
        first, second = (
            sqrt(where_positive(-offset, less, more)),
            sqrt(where_positive(-offset, more, less)),
        )
        return [fast, slow], [[first, second], [-second, first]]

    def _three(self, p: list[Any]) -> tuple[list[Any], list[list[Any]]]:
        """Singular values of B with B^T B = V^-1/2 L V^-1/2: small rates keep their digits."""
        cl, v1, q2, v2, q3, v3 = p[:6]
        nought = 0.0 * cl
        columns = [
            [sqrt(cl / v1), sqrt(q2 / v1), sqrt(q3 / v1)],
            [nought, -sqrt(q2 / v2), nought],
            [nought, nought, -sqrt(q3 / v3)],
        ]
        u = [[1.0 + nought if i == c else nought for i in range(3)] for c in range(3)]
        for _ in range(_SWEEPS):
            for i, j in ((0, 1), (0, 2), (1, 2)):
                cosine, sine = _rotation(columns[i], columns[j])
                columns[i], columns[j] = _rotated(columns[i], columns[j], cosine, sine)
                for row in u:
                    row[i], row[j] = (
                        cosine * row[i] - sine * row[j],
                        sine * row[i] + cosine * row[j],
                    )
        rates = [x * x + y * y + z * z for x, y, z in columns]
        for i, j in ((0, 1), (1, 2), (0, 1)):
            swap = rates[j] - rates[i]
            for row in (rates, *u):
                row[i], row[j] = (
                    where_positive(swap, row[j], row[i]),
                    where_positive(swap, row[i], row[j]),
                )
        return rates, u

    def exponential(self, s: Spectrum, p: list[Any], elapsed: Any) -> Exponential:
        """The decay over a time."""
        absorption = [p[2 * self.n]] if self.depot else []
        return Exponential([*s.rates, *absorption], elapsed, self.n)

    def rates_of(self, s: Spectrum, p: list[Any]) -> list[Any]:
        """All rates: of the modes, and of absorption."""
        return [*s.rates, *([p[2 * self.n]] if self.depot else [])]

    def source(self, amounts: list[Any]) -> Source:
        """Amounts by compartment, depot first."""
        return Source(amounts[self.depot :], amounts[0] if self.depot else None)

    def unit_source(self, compartment: int, one: Any) -> Source:
        """A unit (``one``) in a compartment, depot first, and nothing in the others."""
        if compartment < self.depot:
            return Source(None, one)
        nought = one * 0.0
        return Source(
            [one if c == compartment - self.depot else nought for c in range(self.n)], None
        )

    def slopes(self, f: Function, s: Spectrum, p: list[Any], source: Source) -> list[list[Any]]:
        """Derivatives by each parameter of what the function makes of a source that is held.

        Returns ``[compartment][parameter]``.
        """
        n, a, size = self.n, self.n, self.size
        modal, absorbed = None, None
        if source.amounts is not None:
            modal = [_dot([s.q[c][j] for c in range(n)], source.amounts) for j in range(n)]
        if source.depot is not None:
            absorbed = [s.q[0][j] * (p[2 * n] * source.depot) for j in range(n)]
        acting = [[self._acting(f, modal, absorbed, i, j) for j in range(n)] for i in range(n)]
        found: list[list[Any]] = [[0.0] * self.n_parameters for _ in range(size)]
        for column, left, right in self._factors(s):
            inner = [-(left[i] * _dot(right, acting[i])) for i in range(n)]
            for c in range(n):
                found[self.depot + c][column] = _dot(s.p[c], inner)
        if source.depot is not None:
            column = 2 * n
            found[0][column] = -(source.depot * f(a, a))
            fed = [s.q[0][i] * source.depot * (f(a, i) - p[column] * f(a, a, i)) for i in range(n)]
            for c in range(n):
                found[1 + c][column] = _dot(s.p[c], fed)
        return found

    def _acting(self, f: Function, modal: Any, absorbed: Any, i: int, j: int) -> Any:
        if modal is None:
            return f(self.n, i, j) * absorbed[j]
        total = f(i, j) * modal[j]
        return total if absorbed is None else total + f(self.n, i, j) * absorbed[j]

    def _factors(self, s: Spectrum) -> list[tuple[int, list[Any], list[Any]]]:
        """Column, left and right factor of ``q_i^T dM p_j`` for each parameter but KA."""
        q = s.q
        found = [(0, q[0], q[0])]
        for c in range(self.n):
            decaying = [-(rate * x) for rate, x in zip(s.rates, q[c], strict=True)]
            found.append((1 + 2 * c, decaying, q[c]))
            if c:
                difference = [x - y for x, y in zip(q[0], q[c], strict=True)]
                found.append((2 * c, difference, difference))
        return found

    def cancels(self, to: int, origin: int) -> bool:
        """Whether an entry of `matrix` is a sum in which terms cancel."""
        if to == origin or to < self.depot:
            return False
        return to > self.depot if origin < self.depot else self.n == 3

    def matrix(self, f: Function, s: Spectrum, p: list[Any]) -> list[list[Any]]:
        """The function as a matrix on the amounts, ``[to][from]``, no entry negative."""
        return [
            [
                larger(entry, 0.0) if entry is not None and self.cancels(to, origin) else entry
                for origin, entry in enumerate(row)
            ]
            for to, row in enumerate(self.entries(f, s, p))
        ]

    def entries(self, f: Function, s: Spectrum, p: list[Any]) -> list[list[Any]]:
        """`matrix` as it is computed: where terms cancel, rounding may go below zero."""
        n, depot, size = self.n, self.depot, self.size
        found: list[list[Any]] = [[None] * size for _ in range(size)]
        for c in range(n):
            for origin in range(n):
                if c == origin:
                    entry = _dot([s.p[c][i] * f(i) for i in range(n)], s.q[origin])
                    found[depot + c][depot + origin] = entry
                elif n == 3:
                    found[depot + c][depot + origin] = self._exchanged(f, s, c, origin)
                else:  # two compartments: the entry is -M[c][origin] times the difference
                    found[depot + c][depot + origin] = s.exchange[origin] * f(0, 1)
            if depot:
                fed = _dot(s.p[c], [s.q[0][i] * f(n, i) for i in range(n)]) * p[2 * n]
                found[1 + c][0] = fed
        if depot:
            found[0][0] = f(n)
        return found

    def _exchanged(self, f: Function, s: Spectrum, to: int, origin: int) -> Any:
        """An entry of three compartments off the diagonal.

        The products p q sum to 0: only differences to the slowest mode count, of which those of a
        dose just given are exactly 0.
        """
        slowest = self.n - 1
        terms = [
            s.p[to][i] * s.q[origin][i] * (s.rates[slowest] - s.rates[i]) * f(i, slowest)
            for i in range(slowest)
        ]
        return terms[0] + terms[1]


def history(
    m: Mammillary,
    s: Spectrum,
    p: list[Any],
    *,
    interval: Any,
    count: Any,
    duration: Any,
    since: Any,
) -> Function:
    """What a run of doses has left, a time after its last one (the general form).

    ``count`` doses (infinite: steady state) ``interval`` apart, bolus where ``duration`` is 0, else
    infusions at unit rate (without end where it is infinite), the last completed ``since`` ago.
    """
    one = where_positive(1.5 - count, 1.0, -1.0)
    endless = where_positive(count - 1e300, 1.0, -1.0)
    some = where_positive(endless, 1.0, count)
    step = m.exponential(s, p, where_positive(one, 1.0, interval))
    infinite = Repeat(step, None)
    finite = Repeat(step, m.exponential(s, p, interval * some))
    run = Choice(one, UnitDose(), Choice(endless, infinite, finite))
    return Product(infused(m, s, p, run, duration), m.exponential(s, p, since))


def infused(m: Mammillary, s: Spectrum, p: list[Any], run: Function, duration: Any) -> Function:
    """A run whose doses are infusions at unit rate where the duration is above zero."""
    forever = where_positive(duration - 1e300, 1.0, -1.0)
    finite = infusion(m, s, p, duration=where_positive(forever, 1.0, duration))
    each = Choice(forever, Inverse(m.rates_of(s, p)), Choice(duration, finite, UnitDose()))
    return Product(run, each)


def boluses(m: Mammillary, s: Spectrum, p: list[Any], *, interval: Any, count: Any) -> Function:
    """`history` of a finite run of bolus doses, at the time of the last."""
    return Repeat(m.exponential(s, p, interval), m.exponential(s, p, interval * count))


def infusion(m: Mammillary, s: Spectrum, p: list[Any], *, duration: Any) -> Function:
    """`history` of one infusion, at its end."""
    return Infusion(m.exponential(s, p, duration))


def doubled(
    m: Mammillary,
    s: Spectrum,
    p: list[Any],
    total: Tabulated,
    *,
    interval: Any,
    length: Any,
    bit: Any,
) -> Function:
    """Twice as many doses as ``total`` holds (``length``), and one more where bit is above zero."""
    twice = Product(total, m.exponential(s, p, interval * length))
    both = _Sum(total, twice)
    more = _Sum(UnitDose(), Product(both, m.exponential(s, p, interval)))
    return Choice(bit, more, both)


class _Sum(Function):
    def __init__(self, first: Function, second: Function) -> None:
        super().__init__()
        self._first, self._second = first, second

    def _difference(self, nodes: tuple[int, ...]) -> Any:
        return self._first(*nodes) + self._second(*nodes)


def node_sets(n: int, *, absorption: bool, gradient: bool) -> list[tuple[int, ...]]:
    """The nodes at which `Mammillary.matrix` and `Mammillary.slopes` ask a function."""
    modes = range(n)
    found: list[tuple[int, ...]] = [(i,) for i in modes]
    found += [(n,), *((i, n) for i in modes)] if absorption else []
    if gradient:
        found += [(i, j) for i in modes for j in range(i, n)]
        if absorption:
            found += [(n, n), *((i, n, n) for i in modes)]
            found += [(i, j, n) for i in modes for j in range(i, n)]
    return found


def disposition_nodes(n: int) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]]]:
    """Nodes for amounts, and all nodes, of a function that acts on n compartments."""
    found: list[tuple[int, ...]] = [(i,) for i in range(n)]
    found += [(i, n - 1) for i in range(n - 1)]
    pairs = [(i, j) for i in range(n) for j in range(i, n)]
    return found, [*found, *(pair for pair in pairs if pair not in found)]


def absorption_nodes(n: int) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]]]:
    """The same of a function that acts on the depot."""
    found: list[tuple[int, ...]] = [(n,), *((i, n) for i in range(n))]
    more: list[tuple[int, ...]] = [(n, n), *((i, n, n) for i in range(n))]
    return found, [*found, *more, *((i, j, n) for i in range(n) for j in range(i, n))]


def _dot(x: list[Any], y: list[Any]) -> Any:
    total = x[0] * y[0]
    for a, b in zip(x[1:], y[1:], strict=True):
        total = total + a * b
    return total


def _rotation(x: list[Any], y: list[Any]) -> tuple[Any, Any]:
    """Cosine and sine of the rotation that makes two columns orthogonal."""
    difference = _dot(y, y) - _dot(x, x)
    twice = 2.0 * _dot(x, y)
    bottom = abs(difference) + sqrt(difference * difference + twice * twice)
    tangent = twice / where_positive(bottom, bottom, 1.0)
    tangent = where_positive(-difference, -tangent, tangent)
    cosine = 1.0 / sqrt(1.0 + tangent * tangent)
    return cosine, cosine * tangent


def _rotated(x: list[Any], y: list[Any], cosine: Any, sine: Any) -> tuple[list[Any], list[Any]]:
    first = [cosine * a - sine * b for a, b in zip(x, y, strict=True)]
    second = [sine * a + cosine * b for a, b in zip(x, y, strict=True)]
    return first, second

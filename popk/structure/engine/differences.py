r"""Divided differences of functions of a rate, for closed-form solutions and their derivatives.

What a linear structure makes of a dosing history is a function :math:`f` of its rate matrix: the
exponential for what decays, its integral for an infusion, a geometric sum for a run of doses. With
the eigenvalues (rates) :math:`\lambda_i` and an absorption rate, the matrix :math:`f` has the
entries :math:`f[\lambda_i], f[k_a, \lambda_i]` and its derivative by any parameter is made of
:math:`f[\lambda_i, \lambda_j]` and :math:`f[k_a, \lambda_i, \lambda_j]` (Daleckii & Krein), where
:math:`f[\ldots]` are divided differences. They stay finite where rates meet.

All functions here are completely monotone, and their differences are given times
:math:`(-1)^{order}`, which makes them positive: sums of their products do not cancel.

Source: divided differences and Leibniz' rule, de Boor, Divided differences, Surveys in
Approximation Theory 1 (2005), 46-69; derivatives of matrix functions, Higham, Functions of
Matrices (SIAM 2008), theorem 3.11.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from math import factorial
from typing import Any

from popk.structure.functions import exp, where_positive

ZERO = -1  # the node at rate 0
# Nodes closer than this, times the elapsed time, are expanded about one of them.
CLOSE = 0.1
_TERMS = 10


class Function(ABC):
    """A function of the rate; called with nodes (indices of rates) it gives the difference."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, ...], Any] = {}

    def __call__(self, *nodes: int) -> Any:
        """The difference at these nodes, in any order."""
        key = tuple(sorted(nodes))
        if key not in self._known:
            self._known[key] = self._difference(key)
        return self._known[key]

    @abstractmethod
    def _difference(self, nodes: tuple[int, ...]) -> Any: ...


class Exponential(Function):
    """``exp(-rate elapsed)``.

    Parameters
    ----------
    rates
        The rates: those of the modes in descending order, then possibly one of absorption.
    elapsed
        The time.
    n_modes
        How many of the rates are modes.
    """

    def __init__(self, rates: Sequence[Any], elapsed: Any, n_modes: int) -> None:
        super().__init__()
        self._elapsed = elapsed
        self._scaled = [rate * elapsed for rate in rates]
        self._last_mode = n_modes - 1

    def _difference(self, nodes: tuple[int, ...]) -> Any:
        order = len(nodes) - 1
        value = self._of_scaled(nodes)
        for _ in range(order):
            value = value * self._elapsed
        return value

    def _node(self, node: int) -> Any:
        return 0.0 if node == ZERO else self._scaled[node]

    def _of_scaled(self, nodes: tuple[int, ...]) -> Any:
        key = (-9, *nodes)  # of exp(-x) at x = rate * elapsed
        if key not in self._known:
            distinct = sorted(set(nodes))
            if len(distinct) == 1:
                one = exp(-self._node(nodes[0])) if nodes[0] != ZERO else 1.0
                self._known[key] = one / factorial(len(nodes) - 1) if len(nodes) > 1 else one
            else:
                self._known[key] = self._recurrence(nodes, self._pairs(distinct))
        return self._known[key]

    def _pairs(self, distinct: list[int]) -> list[tuple[int, int]]:
        """Pairs (larger, smaller) of which one is furthest apart, whatever the rates."""
        modes = [node for node in distinct if ZERO < node <= self._last_mode]
        absorption = [node for node in distinct if node > self._last_mode]
        if ZERO in distinct:
            return [(node, ZERO) for node in [*modes[:1], *absorption]]
        pairs = [(modes[0], modes[-1])] if len(modes) > 1 else []
        for node in absorption:
            pairs += [(node, modes[-1])]
            if len(modes) > 1:
                pairs += [(modes[0], node)]
        return pairs

    def _recurrence(self, nodes: tuple[int, ...], pairs: list[tuple[int, int]]) -> Any:
        """The difference of two differences of lower order, or a series where they cancel."""
        spread, distance, top = None, None, None
        for larger, smaller in pairs:
            apart = self._node(larger) - self._node(smaller)
            size = abs(apart)
            part = self._without(nodes, larger) - self._without(nodes, smaller)
            if spread is None:
                spread, distance, top = size, apart, part
            else:
                further = size - spread
                spread = where_positive(further, size, spread)
                distance = where_positive(further, apart, distance)
                top = where_positive(further, part, top)
        assert spread is not None
        close = CLOSE - spread
        return where_positive(
            close, self._series(nodes), top / where_positive(close, 1.0, distance)
        )

    def _without(self, nodes: tuple[int, ...], node: int) -> Any:
        rest = list(nodes)
        rest.remove(node)
        return self._of_scaled(tuple(rest))

    def _series(self, nodes: tuple[int, ...]) -> Any:
        """About the first node: complete homogeneous polynomials of the distances to it."""
        origin = nodes[0]
        far = [node for node in nodes if node != origin]
        apart = [self._node(node) - self._node(origin) for node in far]
        order = len(nodes) - 1
        total: Any = 1.0 / factorial(order)
        if order == 1:  # Horner's scheme
            y = apart[0]
            total = 1.0 / factorial(_TERMS)
            for n in range(_TERMS - 1, 0, -1):
                total = total * -y + 1.0 / factorial(n)
        else:
            row: list[Any] = [1.0] * len(apart)
            for r in range(1, _TERMS):
                row[0] = apart[0] * row[0]
                for k in range(1, len(apart)):
                    row[k] = row[k - 1] + apart[k] * row[k]
                total = total + row[-1] * ((-1.0) ** r / factorial(r + order))
        first = self._of_scaled((origin,))
        return total if origin == ZERO else total * first


class Infusion(Function):
    """The integral of an exponential over its time: an infusion at unit rate."""

    def __init__(self, exponential: Exponential) -> None:
        super().__init__()
        self._exponential = exponential

    def _difference(self, nodes: tuple[int, ...]) -> Any:
        return self._exponential(ZERO, *nodes)


class Product(Function):
    """The product of two functions, by Leibniz' rule."""

    def __init__(self, first: Function, second: Function) -> None:
        super().__init__()
        self._first, self._second = first, second

    def _difference(self, nodes: tuple[int, ...]) -> Any:
        parts = [self._first(*nodes[: k + 1]) * self._second(*nodes[k:]) for k in range(len(nodes))]
        total = parts[0]
        for part in parts[1:]:
            total = total + part
        return total


class Repeat(Function):
    """The sum over doses at regular intervals up to now: a quotient, solved by Leibniz' rule.

    Parameters
    ----------
    once
        The decay over one interval.
    all_of_them
        The decay over all doses (the interval times their number), or None for infinitely many.
    """

    def __init__(self, once: Exponential, all_of_them: Exponential | None) -> None:
        super().__init__()
        self._once, self._all = once, all_of_them

    def _loss(self, exponential: Exponential, node: int) -> Any:
        """``1 - exp(-x)`` as x times the difference at 0 and x."""
        return exponential._of_scaled((ZERO, node)) * exponential._node(node)

    def _difference(self, nodes: tuple[int, ...]) -> Any:
        last = nodes[-1]
        if len(nodes) == 1:
            return (1.0 if self._all is None else self._loss(self._all, last)) * self._inverse(last)
        total = None
        for k in range(1, len(nodes)):
            part = self(*nodes[:k]) * self._once(*nodes[k - 1 :])
            total = part if total is None else total + part
        if self._all is not None:
            total = total - self._all(*nodes)
        return total * self._inverse(last)

    def _inverse(self, node: int) -> Any:
        key = (-9, node)
        if key not in self._known:
            self._known[key] = 1.0 / self._loss(self._once, node)
        return self._known[key]


class Inverse(Function):
    """The inverse of the rate: a constant infusion without end."""

    def __init__(self, rates: Sequence[Any]) -> None:
        super().__init__()
        self._rates = rates

    def _difference(self, nodes: tuple[int, ...]) -> Any:
        total = 1.0
        for node in nodes:
            total = total / self._rates[node]
        return total


class Tabulated(Function):
    """A function whose differences are given."""

    def __init__(self, differences: dict[tuple[int, ...], Any]) -> None:
        super().__init__()
        self._known.update(differences)

    def _difference(self, nodes: tuple[int, ...]) -> Any:
        raise KeyError(nodes)


class Choice(Function):
    """One function in the lanes where a condition is above zero, another elsewhere."""

    def __init__(self, condition: Any, yes: Function, no: Function) -> None:
        super().__init__()
        self._condition, self._yes, self._no = condition, yes, no

    def _difference(self, nodes: tuple[int, ...]) -> Any:
        return where_positive(self._condition, self._yes(*nodes), self._no(*nodes))


class UnitDose(Function):
    """The function 1: a unit dose just given."""

    def _difference(self, nodes: tuple[int, ...]) -> Any:
        return 1.0 if len(nodes) == 1 else 0.0

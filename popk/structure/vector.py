"""Arithmetic that is written for one subject and compiled for eight at once.

Equations are ordinary Python over numbers. Traced with `Lanes` they become instructions on vectors
of W doubles (LLVM), one subject in each; traced with `Dual` they also give their exact derivatives
by the forward mode of automatic differentiation. Nothing is left to a compiler's guess, and a
structure needs no second set of formulas for its gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

W = 8  # lanes

_DOUBLE = ir.DoubleType()
_VECTOR = ir.VectorType(_DOUBLE, W)
_CONTRACT = ("contract",)


@dataclass(frozen=True, slots=True)
class Lanes:
    """A vector of W doubles under construction."""

    builder: ir.IRBuilder
    value: Any

    def _lift(self, other: Lanes | float) -> Any:
        if isinstance(other, Lanes):
            return other.value
        return ir.Constant(_VECTOR, [float(other)] * W)

    def _make(self, value: Any) -> Lanes:
        return Lanes(self.builder, value)

    def __add__(self, other: Lanes | float) -> Lanes:
        return self._make(self.builder.fadd(self.value, self._lift(other), flags=_CONTRACT))

    def __sub__(self, other: Lanes | float) -> Lanes:
        return self._make(self.builder.fsub(self.value, self._lift(other), flags=_CONTRACT))

    def __rsub__(self, other: float) -> Lanes:
        return self._make(self.builder.fsub(self._lift(other), self.value, flags=_CONTRACT))

    def __mul__(self, other: Lanes | float) -> Lanes:
        return self._make(self.builder.fmul(self.value, self._lift(other), flags=_CONTRACT))

    def __truediv__(self, other: Lanes | float) -> Lanes:
        return self._make(self.builder.fdiv(self.value, self._lift(other), flags=_CONTRACT))

    def __rtruediv__(self, other: float) -> Lanes:
        return self._make(self.builder.fdiv(self._lift(other), self.value, flags=_CONTRACT))

    def __neg__(self) -> Lanes:
        return self._make(self.builder.fneg(self.value))

    __radd__ = __add__
    __rmul__ = __mul__

    def __abs__(self) -> Lanes:
        zero = ir.Constant(_VECTOR, [0.0] * W)
        negative = self.builder.fcmp_ordered("<", self.value, zero)
        return self._make(self.builder.select(negative, self.builder.fneg(self.value), self.value))

    def larger(self, other: Lanes) -> Lanes:
        """The larger of the two; a NaN of either stays."""
        keep = self.builder.fcmp_ordered(">=", self.value, other.value)
        nan = self.builder.fcmp_unordered("uno", self.value, self.value)
        chosen = self.builder.or_(keep, nan)
        return self._make(self.builder.select(chosen, self.value, other.value))

    def where_positive(self, yes: Lanes, no: Lanes) -> Lanes:
        """``yes`` in the lanes where this is above zero, ``no`` elsewhere."""
        zero = ir.Constant(_VECTOR, [0.0] * W)
        chosen = self.builder.fcmp_ordered(">", self.value, zero)
        return self._make(self.builder.select(chosen, yes.value, no.value))


@dataclass(frozen=True, slots=True)
class Dual:
    """A number and its derivatives by some inputs (a missing key is a derivative of zero)."""

    value: Any
    slopes: Mapping[int, Any] = field(default_factory=dict)

    def _join(self, other: Dual, mine: Any, theirs: Any) -> dict[int, Any]:
        """Derivatives of a function of two numbers, given its partial derivatives."""
        slopes = {key: slope * mine for key, slope in self.slopes.items()}
        for key, slope in other.slopes.items():
            part = slope * theirs
            slopes[key] = slopes[key] + part if key in slopes else part
        return slopes

    def _scaled(self, value: Any, by: Any) -> Dual:
        return Dual(value, {key: slope * by for key, slope in self.slopes.items()})

    def __add__(self, other: Dual | float) -> Dual:
        if not isinstance(other, Dual):
            return Dual(self.value + other, self.slopes)
        slopes = dict(self.slopes)
        for key, slope in other.slopes.items():
            slopes[key] = slopes[key] + slope if key in slopes else slope
        return Dual(self.value + other.value, slopes)

    def __sub__(self, other: Dual | float) -> Dual:
        return self + -other

    def __rsub__(self, other: float) -> Dual:
        return -self + other

    def __mul__(self, other: Dual | float) -> Dual:
        if not isinstance(other, Dual):
            return self._scaled(self.value * other, other)
        return Dual(self.value * other.value, self._join(other, other.value, self.value))

    def __truediv__(self, other: Dual | float) -> Dual:
        if not isinstance(other, Dual):
            return self * (1.0 / other)
        inverse = 1.0 / other.value
        quotient = self.value * inverse
        return Dual(quotient, self._join(other, inverse, -quotient * inverse))

    def __rtruediv__(self, other: float) -> Dual:
        inverse = 1.0 / self.value
        return self._scaled(inverse * other, -(inverse * inverse) * other)

    def __neg__(self) -> Dual:
        return Dual(-self.value, {key: -slope for key, slope in self.slopes.items()})

    __radd__ = __add__
    __rmul__ = __mul__


class Memory:
    """The flat buffer of one solver while its code is traced; entry i of lane w is at i * W + w."""

    def __init__(self, builder: ir.IRBuilder, data: Any) -> None:
        self._builder = builder
        self._data = data

    def _address(self, place: int) -> Any:
        index = ir.Constant(ir.IntType(64), place)
        return self._builder.bitcast(self._builder.gep(self._data, [index]), _VECTOR.as_pointer())

    def __getitem__(self, place: int) -> Lanes:
        vector = self._builder.load(self._address(place), align=8)
        return Lanes(self._builder, vector)

    def __setitem__(self, place: int, lanes: Lanes) -> None:
        self._builder.store(lanes.value, self._address(place), align=8)

    def read(self, place: int, size: int) -> list[Lanes]:
        """``size`` entries from a place."""
        return [self[place + i * W] for i in range(size)]


def traced(code: Callable[[Memory], None]) -> Callable[..., Any]:
    """Compile ``code``, a function that reads and writes a `Memory`, for use in kernels.

    The result takes the buffer, a contiguous array of doubles.
    """

    def signature(typing_context: Any, buffer: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            array = context.make_array(signature.args[0])(context, builder, arguments[0])
            code(Memory(builder, array.data))
            return context.get_dummy_value()

        return types.void(buffer), generate

    return cast(Callable[..., Any], intrinsic(signature))

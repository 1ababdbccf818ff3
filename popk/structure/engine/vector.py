"""Arithmetic that is written for one subject and compiled for eight at once.

Equations are ordinary Python over numbers. Traced with `Lanes` they become instructions on vectors
of W doubles (LLVM), one subject in each; traced with `Dual` they also give their exact derivatives
by the forward mode of automatic differentiation. Nothing is left to a compiler's guess, and a
structure needs no second set of formulas for its gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import factorial
from typing import Any, cast

from llvmlite import ir
from numba.core import types
from numba.core.cgutils import get_or_insert_function
from numba.extending import intrinsic

from popk.structure import functions

W = 8  # lanes

_DOUBLE = ir.DoubleType()
_VECTOR = ir.VectorType(_DOUBLE, W)
_BITS = ir.VectorType(ir.IntType(64), W)
_CONTRACT = ("contract",)

_LOG2E = 1.4426950408889634
# log(2) in two parts: the first has few enough bits that its multiples are exact.
_LN2_HIGH = 0.6931471803691238
_LN2_LOW = 1.9082149292705877e-10
_ROUND = 6755399441055744.0  # 1.5 * 2^52: adding it rounds to an integer
_EXP_SERIES = tuple(1.0 / factorial(n) for n in range(14))
_SQRT_HALF_BITS = 0x3FE6A09E667F3BCD


def _bits(number: int) -> Any:
    return ir.Constant(_BITS, [number] * W)


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

    def __rsub__(self, other: float) -> Lanes:
        return self._make(self.builder.fsub(self._lift(other), self.value, flags=_CONTRACT))

    def __abs__(self) -> Lanes:
        return self.where_positive(self, self, -self)

    def _above(self, first: Lanes | float, second: Lanes | float) -> Any:
        return self.builder.fcmp_ordered(">", self._lift(first), self._lift(second))

    def larger(self, other: Lanes) -> Lanes:
        """The larger of the two; a NaN of either stays."""
        keep = self.builder.fcmp_ordered(">=", self.value, other.value)
        nan = self.builder.fcmp_unordered("uno", self.value, self.value)
        chosen = self.builder.or_(keep, nan)
        return self._make(self.builder.select(chosen, self.value, other.value))

    def where_positive(
        self, condition: Lanes | float, yes: Lanes | float, no: Lanes | float
    ) -> Lanes:
        """``yes`` in the lanes where the condition is above zero, ``no`` elsewhere."""
        chosen = self._above(condition, 0.0)
        return self._make(self.builder.select(chosen, self._lift(yes), self._lift(no)))

    def sqrt(self) -> Lanes:
        """Square root."""
        return self._make(self._intrinsic(f"llvm.sqrt.v{W}f64"))

    def exp(self) -> Lanes:
        """Exponential, to 1 unit in the last place; 0 below the smallest normal number.

        2^k times the Taylor series of the remainder, |r| <= log(2)/2, in even and odd part.
        """
        within = self.where_positive(self + 708.0, self, -708.0)
        within = self.where_positive(within - 709.5, 709.5, within)
        shifted = self._fixed(within, _LOG2E, _ROUND)
        k = shifted - _ROUND
        r = (within - k * _LN2_HIGH) - k * _LN2_LOW
        even, odd, square = self._lifted(_EXP_SERIES[12]), self._lifted(_EXP_SERIES[13]), r * r
        for n in range(10, -1, -2):
            even = even * square + _EXP_SERIES[n]
            odd = odd * square + _EXP_SERIES[n + 1]
        value = (odd * r + even) * self._two_to(shifted)
        value = self.where_positive(-708.0 - self, 0.0, value)
        value = self.where_positive(self - 709.5, float("inf"), value)
        return self._keeping_nan(value)

    def log(self) -> Lanes:
        """Natural logarithm; -inf at 0 and below the smallest normal number, NaN below 0.

        The exponent times log(2) and the series of artanh for the mantissa.
        """
        bits = self.builder.bitcast(self.value, _BITS)
        # Shifting by the bits of sqrt(1/2) puts the mantissa between sqrt(1/2) and sqrt(2).
        moved = self.builder.sub(bits, _bits(_SQRT_HALF_BITS))
        exponent = self.builder.ashr(moved, _bits(52))
        mantissa = self.builder.sub(bits, self.builder.shl(exponent, _bits(52)))
        m = self._make(self.builder.bitcast(mantissa, _VECTOR))
        k = self._make(self.builder.sitofp(exponent, _VECTOR))
        s = (m - 1.0) / (m + 1.0)
        square = s * s
        total = self._lifted(1.0 / 23.0)
        for n in range(21, 0, -2):
            total = total * square + 1.0 / n
        value = k * _LN2_HIGH + (k * _LN2_LOW + (s + s) * total)
        value = self.where_positive(self - float("1.7e308"), float("inf"), value)
        value = self.where_positive(self - 2.3e-308, value, float("-inf"))
        value = self.where_positive(-self, float("nan"), value)
        return self._keeping_nan(value)

    def power(self, exponent: Lanes | float) -> Lanes:
        """A power; see `popk.structure.functions.power`."""
        whole = functions.whole_number(exponent)
        if whole is not None:
            return cast(Lanes, functions.repeated_product(self, whole))
        size = abs(self)
        raised = (size.where_positive(size, size, 1.0).log() * exponent).exp()
        if not isinstance(exponent, Lanes):
            return self._keeping_nan(self.where_positive(self, raised, 0.0))
        half = exponent * 0.5
        odd = half - half._floor()  # above zero where a whole exponent is odd
        products = self.where_positive(
            size, self.where_positive(odd, -raised, raised), _at_zero(exponent)
        )
        products = self.where_positive(exponent - exponent._floor(), 0.0, products)
        return self._keeping_nan(self.where_positive(self, raised, products))

    def _floor(self) -> Lanes:
        return self._make(self._intrinsic(f"llvm.floor.v{W}f64"))

    def raised_from(self, base: float) -> Lanes:
        """``base ** self``."""
        return self._lifted(base).power(self)

    def _lifted(self, number: float) -> Lanes:
        return self._make(self._lift(number))

    def _intrinsic(self, name: str) -> Any:
        kind = ir.FunctionType(_VECTOR, [_VECTOR])
        function = get_or_insert_function(  # type: ignore[no-untyped-call]
            self.builder.module, kind, name
        )
        return self.builder.call(function, [self.value])

    def _fixed(self, x: Lanes, factor: float, summand: float) -> Lanes:
        """``x * factor + summand``, rounded so that the sum is an integer in its last bits."""
        return self._make(
            self.builder.fadd(self.builder.fmul(x.value, self._lift(factor)), self._lift(summand))
        )

    def _two_to(self, shifted: Lanes) -> Lanes:
        """2^k, k held in the last bits of ``shifted``."""
        bits = self.builder.bitcast(shifted.value, _BITS)
        bits = self.builder.shl(self.builder.add(bits, _bits(1023)), _bits(52))
        return self._make(self.builder.bitcast(bits, _VECTOR))

    def _keeping_nan(self, value: Lanes) -> Lanes:
        nan = self.builder.fcmp_unordered("uno", self.value, self.value)
        return self._make(self.builder.select(nan, self.value, value.value))


def _at_zero(exponent: Lanes) -> Lanes:
    """``0 ** exponent``."""
    below = exponent.where_positive(-exponent, float("inf"), 1.0)
    return exponent.where_positive(exponent, 0.0, below)


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

    def exp(self) -> Dual:
        """Exponential."""
        value = functions.exp(self.value)
        return self._scaled(value, value)

    def log(self) -> Dual:
        """Natural logarithm."""
        return self._scaled(functions.log(self.value), 1.0 / self.value)

    def sqrt(self) -> Dual:
        """Square root."""
        value = functions.sqrt(self.value)
        return self._scaled(value, 0.5 / value)

    def power(self, exponent: Dual | float) -> Dual:
        """A power; the derivative by the exponent is 0 at zero and below."""
        whole = functions.whole_number(exponent)
        if whole is not None:
            return cast(Dual, functions.repeated_product(self, whole))
        raised = exponent.value if isinstance(exponent, Dual) else exponent
        value = functions.power(self.value, raised)
        mine = raised * functions.power(self.value, raised - 1.0)
        if not isinstance(exponent, Dual):
            return self._scaled(value, mine)
        # To the power of 0 everything is 1, also what has no inverse.
        mine = functions.where_positive(raised * raised, mine, 0.0)
        base = functions.where_positive(self.value, self.value, 1.0)
        by_exponent = functions.where_positive(self.value, value * functions.log(base), 0.0)
        return Dual(value, self._join(exponent, mine, by_exponent))

    def raised_from(self, base: Any) -> Dual:
        """``base ** self``."""
        return Dual(base).power(self)

    def where_positive(self, condition: Any, yes: Any, no: Any) -> Dual:
        """``yes`` where the condition is above zero, ``no`` elsewhere, with its derivatives."""
        decisive = condition.value if isinstance(condition, Dual) else condition
        first, second = (x if isinstance(x, Dual) else Dual(x) for x in (yes, no))
        return Dual(
            functions.where_positive(decisive, first.value, second.value),
            {
                key: functions.where_positive(
                    decisive, first.slopes.get(key, 0.0), second.slopes.get(key, 0.0)
                )
                for key in {**first.slopes, **second.slopes}
            },
        )

    def __abs__(self) -> Dual:
        return self.where_positive(self, self, -self)


class Memory:
    """The flat buffer of one solver while its code is traced; entry i of lane w is at i * W + w."""

    def __init__(self, builder: ir.IRBuilder, data: Any) -> None:
        self._builder = builder
        self._data = data

    def address(self, place: int) -> Any:
        """Pointer to the vector at a place."""
        index = ir.Constant(ir.IntType(64), place)
        return self._builder.bitcast(self._builder.gep(self._data, [index]), _VECTOR.as_pointer())

    def __getitem__(self, place: int) -> Lanes:
        vector = self._builder.load(self.address(place), align=8)
        return Lanes(self._builder, vector)

    def __setitem__(self, place: int, lanes: Lanes | float) -> None:
        value = lanes.value if isinstance(lanes, Lanes) else ir.Constant(_VECTOR, [lanes] * W)
        self._builder.store(value, self.address(place), align=8)

    def read(self, place: int, size: int) -> list[Lanes]:
        """``size`` entries from a place."""
        return [self[place + i * W] for i in range(size)]


def traced(code: Callable[[Memory], None]) -> Callable[..., Any]:
    """``code``, a function that reads and writes a `Memory`, for compiled functions to call.

    The result takes a pointer to the buffer of doubles.
    """

    def signature(typing_context: Any, buffer: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            code(Memory(builder, arguments[0]))
            return context.get_dummy_value()

        return types.void(buffer), generate

    return cast(Callable[..., Any], intrinsic(signature))

"""Tracing: a Python function of numbers becomes equations.

The function is called once with symbols; each operation on them becomes a step.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from numbers import Integral, Real
from types import MappingProxyType
from typing import Any

import numpy as np

from popk.errors import SettingError
from popk.structure.equations import ALLOWED, OPERATIONS, Equations, Step
from popk.structure.functions import repeated_product, whole_number

__all__ = ["Symbol", "trace", "trace_factor"]

_UFUNCS = MappingProxyType(
    {
        "add": "+",
        "subtract": "-",
        "multiply": "*",
        "divide": "/",
        "negative": "neg",
        "exp": "exp",
        "log": "log",
        "sqrt": "sqrt",
        "power": "power",
        "float_power": "power",
    }
)
_SMOOTH = (
    "An equation is traced once, for all values. Write where_positive(condition, yes, no) or "
    "larger(x, y), of popk.structure.functions, or better something smooth such as x / (k + x)."
)


@dataclass(slots=True)
class _Tape:
    """The steps written so far, each once."""

    place: str
    written: list[Step] = field(default_factory=list)
    places: dict[Step, int] = field(default_factory=dict)

    def add(self, *step: str | float) -> Symbol:
        if step not in self.places:
            self.places[step] = len(self.written)
            self.written.append(step)
        return Symbol(self, self.places[step])

    def lift(self, given: Any) -> Symbol | None:
        """A symbol for a number or a symbol of this tape; None for anything else."""
        if isinstance(given, Symbol):
            if given.tape is not self:
                raise SettingError(f"{self.place} use values kept from another call. {ALLOWED}")
            return given
        if isinstance(given, np.ndarray) and given.ndim == 0:
            return self.lift(given.item())
        if isinstance(given, bool) or not isinstance(given, Real):
            return None
        if not math.isfinite(float(given)):
            raise SettingError(f"{self.place} use the number {float(given)}, which is not finite.")
        return self.add("number", float(given))

    def number(self, symbol: Symbol) -> float | None:
        """The number that a symbol is, if it is one."""
        step = self.written[symbol.index]
        return float(step[1]) if step[0] == "number" else None

    def refuse(self, what: str, remedy: str = ALLOWED) -> SettingError:
        return SettingError(f"{self.place} {what}. {remedy}")

    def equations(self, results: Sequence[Symbol]) -> Equations:
        """What the results need, in the order in which they first need it."""
        order: dict[int, int] = {}
        for result in results:
            waiting = [(result.index, False)]
            while waiting:
                place, ready = waiting.pop()
                if place in order:
                    continue
                kind, *arguments = self.written[place]
                needs = [int(k) for k in arguments] if kind in OPERATIONS else []
                if ready or not needs:
                    order[place] = len(order)
                else:
                    waiting.append((place, True))
                    waiting.extend((need, False) for need in reversed(needs))
        steps = tuple(
            (kind, *(order[int(k)] for k in arguments))
            if kind in OPERATIONS
            else (kind, *arguments)
            for kind, *arguments in (self.written[place] for place in order)
        )
        return Equations(steps, tuple(order[result.index] for result in results))


@dataclass(frozen=True, slots=True, eq=False)
class Symbol:
    """A value that is not known yet: a step on a tape."""

    tape: _Tape
    index: int

    def _two(self, kind: str, other: Any, *, swapped: bool = False) -> Any:
        lifted = self.tape.lift(other)
        if lifted is None:
            raise self.tape.refuse(f"combine a value with {other!r}, which is not a number")
        left, right = (lifted, self) if swapped else (self, lifted)
        return self.tape.add(kind, left.index, right.index)

    def __add__(self, other: Any) -> Any:
        return self._two("+", other)

    def __radd__(self, other: Any) -> Any:
        return self._two("+", other, swapped=True)

    def __sub__(self, other: Any) -> Any:
        return self._two("-", other)

    def __rsub__(self, other: Any) -> Any:
        return self._two("-", other, swapped=True)

    def __mul__(self, other: Any) -> Any:
        return self._two("*", other)

    def __rmul__(self, other: Any) -> Any:
        return self._two("*", other, swapped=True)

    def __truediv__(self, other: Any) -> Any:
        return self._two("/", other)

    def __rtruediv__(self, other: Any) -> Any:
        return self._two("/", other, swapped=True)

    def __neg__(self) -> Any:
        return self.tape.add("neg", self.index)

    def __pos__(self) -> Any:
        return self

    def exp(self) -> Any:
        """The exponential."""
        return self.tape.add("exp", self.index)

    def log(self) -> Any:
        """The natural logarithm."""
        return self.tape.add("log", self.index)

    def sqrt(self) -> Any:
        """The square root."""
        return self.tape.add("sqrt", self.index)

    def power(self, exponent: Any) -> Any:
        """A power; see `popk.structure.functions.power`."""
        lifted = self.tape.lift(exponent)
        whole = None if lifted is None else whole_number(self.tape.number(lifted))
        if whole == 0:
            return self.tape.lift(1.0)
        return self._two("power", exponent) if whole is None else repeated_product(self, whole)

    def raised_from(self, base: Any) -> Any:
        """A number above zero to the power of this."""
        lifted = self.tape.lift(base)
        number = None if lifted is None else self.tape.number(lifted)
        if number is None or number <= 0:
            raise self.tape.refuse(f"raise {base!r} to a power; expected a number above zero")
        return (self * math.log(number)).exp()

    def where_positive(self, condition: Any, yes: Any, no: Any) -> Any:
        """``yes`` where the condition is above zero, ``no`` elsewhere."""
        lifted = [self.tape.lift(given) for given in (condition, yes, no)]
        symbols = [symbol for symbol in lifted if symbol is not None]
        if len(symbols) < len(lifted):
            raise self.tape.refuse("give where_positive something that is not a number")
        return self.tape.add("where_positive", *(symbol.index for symbol in symbols))

    def __pow__(self, exponent: Any) -> Any:
        return self.power(exponent)

    def __rpow__(self, base: Any) -> Any:
        return self.raised_from(base)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **keywords: Any) -> Any:
        kind = _UFUNCS.get(ufunc.__name__)
        if kind is None or method != "__call__" or keywords:
            raise self.tape.refuse(f"use NumPy's {ufunc.__name__}")
        values = [self.tape.lift(given) for given in inputs]
        if any(value is None for value in values):
            raise self.tape.refuse("combine a value with an array; equations are for one subject")
        symbols = [value for value in values if value is not None]
        if kind == "power":
            base = self.tape.number(symbols[0])
            return symbols[0].power(symbols[1]) if base is None else symbols[1].raised_from(base)
        return self.tape.add(kind, *(symbol.index for symbol in symbols))

    def _chosen(self, *_: Any) -> Any:
        raise self.tape.refuse("compare values or decide on one (if, min, max, abs)", _SMOOTH)

    __bool__ = __lt__ = __le__ = __gt__ = __ge__ = __abs__ = _chosen
    __floordiv__ = __rfloordiv__ = __mod__ = __rmod__ = __round__ = _chosen
    __eq__ = __ne__ = _chosen
    __hash__ = None  # type: ignore[assignment]

    def __float__(self) -> float:
        raise self.tape.refuse("turn a value into a plain number (with float or math)")

    __int__ = __float__

    def __iter__(self) -> Iterator[Any]:
        raise self.tape.refuse("go through a value as if it were several")


@dataclass(frozen=True, slots=True)
class _Named:
    """Amounts or parameters: by name, by position, or all in their order."""

    _tape: _Tape
    _letter: str
    _kind: str
    _known: tuple[str, ...]
    _step: str  # the kind of step that a use is

    def __getattr__(self, name: str) -> Symbol:
        if name.startswith("__"):
            raise AttributeError(name)
        if name not in self._known:
            listed = ", ".join(self._known)
            raise self._tape.refuse(
                f"use {self._letter}.{name}, which is not a {self._kind}",
                f"The {self._kind}s are {listed}.",
            )
        return self._tape.add(self._step, name)

    def __getitem__(self, place: int) -> Symbol:
        inside = isinstance(place, Integral) and -len(self._known) <= place < len(self._known)
        if not inside:
            listed = ", ".join(f"{self._letter}[{k}] {name}" for k, name in enumerate(self._known))
            raise self._tape.refuse(f"use {self._letter}[{place!r}]", f"There are {listed}.")
        return self._tape.add(self._step, self._known[place])

    def __len__(self) -> int:
        return len(self._known)

    def __iter__(self) -> Iterator[Symbol]:
        return (self._tape.add(self._step, name) for name in self._known)


def trace(
    function: Callable[[Any, Any, Any], Any],
    *,
    place: str,
    compartments: tuple[str, ...],
    parameters: tuple[str, ...],
    results: tuple[str, ...],
) -> Equations:
    """What a function of (t, a, p) computes.

    Parameters
    ----------
    function
        The equations, in Python, for one subject.
    place
        What they are called in errors: ``"The rates of 'model'"``.
    compartments, parameters
        Names that ``a`` and ``p`` have.
    results
        What each value returned is, for errors.

    Raises
    ------
    SettingError
        When the function takes other arguments, decides on values, uses unknown names or functions,
        returns another number of values, or computes something else when it is called again.
    """
    _check_function(
        function,
        place,
        ("t", "a", "p"),
        "three: (t, a, p), the time, the amounts and the parameters",
    )

    def once() -> Equations:
        tape = _Tape(place)
        amounts = _Named(tape, "a", "compartment", compartments, "a")
        values = _Named(tape, "p", "parameter", parameters, "p")
        returned = function(tape.add("t"), amounts, values)
        return tape.equations(_symbols(tape, returned, results))

    return _same_twice(once, place, "(t, a, p)")


def trace_factor(
    function: Callable[[Any, Any], Any],
    *,
    place: str,
    covariates: tuple[str, ...],
    coefficients: tuple[str, ...],
) -> Equations:
    """What a function of covariates x and coefficients b computes: one value.

    Parameters
    ----------
    function
        The factor, in Python, for one subject.
    place
        What it is called in errors: ``"The factors of 'effect'"``.
    covariates, coefficients
        Names that ``x`` and ``b`` have; steps of the kinds ``"a"`` and ``"p"``.

    Raises
    ------
    SettingError
        As for `trace`.
    """
    _check_function(function, place, ("x", "b"), "two: (x, b), the covariates and the coefficients")

    def once() -> Equations:
        tape = _Tape(place)
        values = _Named(tape, "x", "covariate", covariates, "a")
        chosen = _Named(tape, "b", "coefficient", coefficients, "p")
        returned = tape.lift(function(values, chosen))
        if returned is None:
            raise tape.refuse("return something that is not a number", "Return the factor.")
        return tape.equations([returned])

    return _same_twice(once, place, "(x, b)")


def _check_function(function: object, place: str, letters: tuple[str, ...], wanted: str) -> None:
    listed = ", ".join(letters)
    if not callable(function):
        raise SettingError(
            f"{place} were given as {function!r}; expected a function of ({listed})."
        )
    try:
        inspect.signature(function).bind(*letters)
    except TypeError:
        raise SettingError(
            f"{place} take {inspect.signature(function)}; expected a function of {wanted}."
        ) from None


def _same_twice(once: Callable[[], Equations], place: str, arguments: str) -> Equations:
    equations = once()
    if equations != once():
        raise SettingError(
            f"{place} differ from one call to the next. Equations must depend on {arguments} alone."
        )
    return equations


def _symbols(tape: _Tape, returned: Any, results: tuple[str, ...]) -> list[Symbol]:
    """The values returned, as symbols."""
    listed = ", ".join(results)
    wanted = f"Return one value for each of: {listed} (as a tuple)."
    if not isinstance(returned, Sequence) or isinstance(returned, str):
        what = "nothing" if returned is None else "one value, not several"
        shown = what if returned is None or isinstance(returned, Symbol) else repr(returned)
        raise tape.refuse(f"return {shown}", wanted)
    if len(returned) != len(results):
        count = f"{len(returned)} value{'s' if len(returned) != 1 else ''}"
        raise tape.refuse(f"return {count}; expected {len(results)}", wanted)
    symbols = []
    for name, value in zip(results, returned, strict=True):
        symbol = tape.lift(value)
        if symbol is None:
            raise tape.refuse(f"return {value!r} for {name}, which is not a number", wanted)
        symbols.append(symbol)
    return symbols

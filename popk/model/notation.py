"""Expressions as trees, and how they are written: as plain text or as LaTeX.

Text is Python: with its names given, ``eval`` has the value of the expression. LaTeX keeps to what
browsers and matplotlib's mathtext both set, but for ``cases`` (a choice).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from types import MappingProxyType

__all__ = [
    "Call",
    "Choice",
    "Expression",
    "Number",
    "Power",
    "Product",
    "Sum",
    "Symbol",
    "add",
    "call",
    "divide",
    "latex",
    "latex_name",
    "multiply",
    "negative",
    "power",
    "subtract",
    "text",
]


@dataclass(frozen=True, slots=True)
class Symbol:
    """A name: of a ``parameter`` of a structure, an ``amount``, an ``output``, and so on.

    The kind says how LaTeX sets it; a ``subject``'s own parameter has the index i.
    """

    name: str
    kind: str = "word"


@dataclass(frozen=True, slots=True)
class Number:
    """A number."""

    value: float


@dataclass(frozen=True, slots=True)
class Sum:
    """Terms to add, each with whether it is subtracted."""

    terms: tuple[tuple[bool, Expression], ...]


@dataclass(frozen=True, slots=True)
class Product:
    """Factors above and below the line, with a minus sign before it or without."""

    above: tuple[Expression, ...]
    below: tuple[Expression, ...] = ()
    minus: bool = False


@dataclass(frozen=True, slots=True)
class Power:
    """A base and its exponent."""

    base: Expression
    exponent: Expression


@dataclass(frozen=True, slots=True)
class Call:
    """A function of arguments: ``exp``, ``log``, ``sqrt``, ``max`` …, or a distribution."""

    function: str
    arguments: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """One of two values: ``yes`` where `tested` is above `limit`, or equals it."""

    tested: Expression
    limit: float
    yes: Expression
    no: Expression
    equal: bool = False


type Expression = Symbol | Number | Sum | Product | Power | Call | Choice

_ONE = Number(1.0)
# How tightly a kind of expression binds: what is looser than its place stands in parentheses.
_LOOSE, _SUM, _SIGNED, _PRODUCT, _POWER, _ATOM = range(6)


def add(left: Expression, right: Expression) -> Expression:
    """The sum, zeros left out."""
    return _sum((*_terms(left), *_terms(right)))


def subtract(left: Expression, right: Expression) -> Expression:
    """The difference, zeros left out."""
    return _sum((*_terms(left), *((not minus, term) for minus, term in _terms(right))))


def negative(given: Expression) -> Expression:
    """The same with the other sign; a sum is kept together."""
    if isinstance(given, Number):
        return Number(-given.value)
    parts = _product_of(given)
    return replace(parts, minus=not parts.minus)


def multiply(left: Expression, right: Expression) -> Expression:
    """The product, ones left out."""
    one, other = _product_of(left), _product_of(right)
    return _product(
        (*one.above, *other.above), (*one.below, *other.below), one.minus != other.minus
    )


def divide(left: Expression, right: Expression) -> Expression:
    """The quotient, ones left out."""
    one, other = _product_of(left), _product_of(right)
    return _product(
        (*one.above, *other.below), (*one.below, *other.above), one.minus != other.minus
    )


def power(base: Expression, exponent: Expression) -> Expression:
    """The power."""
    return base if exponent == _ONE else Power(base, exponent)


def call(function: str, *arguments: Expression) -> Call:
    """The function of these arguments."""
    return Call(function, arguments)


def _terms(given: Expression) -> tuple[tuple[bool, Expression], ...]:
    if isinstance(given, Sum):
        return given.terms
    if given == Number(0.0):
        return ()
    if isinstance(given, Number) and given.value < 0:
        return ((True, Number(-given.value)),)
    if isinstance(given, Product) and given.minus:
        return ((True, _product(given.above, given.below, False)),)
    return ((False, given),)


def _sum(terms: tuple[tuple[bool, Expression], ...]) -> Expression:
    if not terms:
        return Number(0.0)
    if len(terms) == 1:
        minus, only = terms[0]
        return negative(only) if minus else only
    return Sum(terms)


def _product_of(given: Expression) -> Product:
    return given if isinstance(given, Product) else Product((given,))


def _product(above: Iterable[Expression], below: Iterable[Expression], minus: bool) -> Expression:
    over, under = _gathered(above), _gathered(below)
    if len(over) == 1 and not under and not minus:
        return over[0]
    if not over and not under:
        return Number(-1.0 if minus else 1.0)
    return Product(over, under, minus)


def _gathered(factors: Iterable[Expression]) -> tuple[Expression, ...]:
    """Factors without ones, and with those that stand several times as powers."""
    counts: dict[Expression, float] = {}
    for factor in factors:
        base, times = factor, 1.0
        # Of what may be below zero, only a whole power is a product.
        match factor:
            case Power(inner, Number(exponent)) if exponent.is_integer():
                base, times = inner, exponent
        counts[base] = counts.get(base, 0.0) + times
    return tuple(power(base, Number(times)) for base, times in counts.items() if base != _ONE)


def text(given: Expression, place: int = _LOOSE) -> str:
    """As Python would have it."""
    written, binds = _as_text(given)
    return f"({written})" if binds < place else written


def _as_text(given: Expression) -> tuple[str, int]:
    match given:
        case Symbol(name, kind):
            return (f"{name}_i" if kind == "subject" else name), _ATOM
        case Number(value):
            return _digits(value), _SIGNED if value < 0 else _ATOM
        case Sum(terms):
            return _signed(terms, [text(term, _SIGNED) for _, term in terms]), _SUM
        case Product(above, below, minus):
            over = " * ".join(text(factor, _PRODUCT) for factor in above) or "1"
            under = " * ".join(text(factor, _POWER) for factor in below)
            under = f"({under})" if len(below) > 1 else under
            written = f"{over} / {under}" if below else over
            return (f"-{written}", _SIGNED) if minus else (written, _PRODUCT)
        case Power(base, exponent):
            return f"{text(base, _ATOM)}**{text(exponent, _ATOM)}", _POWER
        case Call(function, arguments):
            return f"{function}({', '.join(text(argument) for argument in arguments)})", _ATOM
        case Choice(tested, limit, yes, no, equal):
            sign = "==" if equal else ">"
            condition = f"{text(tested, _SUM)} {sign} {_digits(limit)}"
            return f"{text(yes, _SUM)} if {condition} else {text(no, _SUM)}", _LOOSE - 1


def latex(given: Expression, place: int = _LOOSE) -> str:
    """As LaTeX, without the dollars."""
    written, binds = _as_latex(given)
    return rf"\left({written}\right)" if binds < place else written


def _as_latex(given: Expression) -> tuple[str, int]:
    match given:
        case Symbol(name, kind):
            return latex_name(name, kind), _ATOM
        case Number(value):
            return _latex_number(value)
        case Sum(terms):
            return _signed(terms, [latex(term, _SIGNED) for _, term in terms]), _SUM
        case Product(above, below, minus):
            alone = _LOOSE if len(above) == 1 and below else _PRODUCT
            over = r" \cdot ".join(latex(factor, alone) for factor in above) or "1"
            alone = _LOOSE if len(below) == 1 else _PRODUCT
            under = r" \cdot ".join(latex(factor, alone) for factor in below)
            written = rf"\frac{{{over}}}{{{under}}}" if below else over
            return (f"-{written}", _SIGNED) if minus else (written, _PRODUCT)
        case Power(base, exponent):
            # What has an index above already, or is a name of a function, is set apart.
            inner = base if isinstance(base, Symbol | Number) else None
            under = latex(base, _ATOM) if inner else rf"\left({latex(base)}\right)"
            return f"{{{under}}}^{{{latex(exponent)}}}", _POWER
        case Call(function, arguments):
            return _latex_call(function, r",\, ".join(map(latex, arguments))), _ATOM
        case Choice(tested, limit, yes, no, equal):
            sign = "=" if equal else ">"
            condition = f"{latex(tested)} {sign} {_latex_number(limit)[0]}"
            cases = rf"{latex(yes)} & {condition} \\ {latex(no)} & \text{{otherwise}}"
            return rf"\begin{{cases}} {cases} \end{{cases}}", _ATOM


def _latex_call(function: str, arguments: str) -> str:
    if function == "sqrt":
        return rf"\sqrt{{{arguments}}}"
    if function == "abs":
        return rf"\left|{arguments}\right|"
    known = function in ("exp", "log", "max")
    head = rf"\{function}" if known else rf"\mathrm{{{_escaped(function)}}}"
    return rf"{head}\left({arguments}\right)"


def _signed(terms: tuple[tuple[bool, Expression], ...], written: list[str]) -> str:
    joined = ""
    for (minus, _), term in zip(terms, written, strict=True):
        if joined:
            joined += f" {'-' if minus else '+'} {term}"
        else:
            joined = f"-{term}" if minus else term
    return joined


def _digits(value: float) -> str:
    """All digits that it takes to tell the number from others."""
    return f"{value!r}".removesuffix(".0")


def _latex_number(value: float) -> tuple[str, int]:
    digits, _, exponent = _digits(value).partition("e")
    if not exponent:
        return digits, _SIGNED if value < 0 else _ATOM
    tens = f"10^{{{int(exponent)}}}"
    factor = "" if digits == "1" else rf"{digits} \cdot "
    return f"{factor}{tens}", _SIGNED if value < 0 else _PRODUCT


_GREEK = frozenset({"beta", "eta", "kappa", "omega", "sigma", "gamma"})
_PLAIN = MappingProxyType({"gamma": r"\gamma"})


def latex_name(name: str, kind: str) -> str:
    """A name in LaTeX: digits and what follows an underscore as its index."""
    if kind in ("parameter", "subject"):
        return _parameter(name, ("i",) if kind == "subject" else ())
    if kind == "amount":
        return f"A_{{\\mathrm{{{_escaped(name.removeprefix('A_'))}}}}}"
    if kind == "output":
        if name == "concentration":
            return "C"
        place = name.removesuffix("_concentration")
        if place not in (name, ""):
            return f"C_{{\\mathrm{{{_escaped(place)}}}}}"
        return rf"\mathrm{{{_escaped(name)}}}"
    if kind == "population":
        head, _, rest = name.partition("_")
        greek = rf"\{head}" if head in _GREEK else rf"\mathrm{{{_escaped(head)}}}"
        index = _escaped(rest.replace("_", ","))
        return f"{greek}_{{\\mathrm{{{index}}}}}" if rest else greek
    if kind == "part":
        return _parameter(name, ())
    return rf"\mathrm{{{_escaped(name)}}}"


def _parameter(name: str, indices: tuple[str, ...]) -> str:
    head, _, rest = name.partition("_")
    match = re.fullmatch(r"([A-Za-z]+)(\d*)", head)
    letters, digits = match.groups() if match else (head, "")
    base = _PLAIN.get(letters.lower()) or (
        letters if len(letters) == 1 else rf"\mathit{{{_escaped(letters)}}}"
    )
    own = [digits, rf"\mathrm{{{_escaped(rest)}}}" if rest else "", *indices]
    index = ",".join(part for part in own if part)
    return f"{base}_{{{index}}}" if index else base


def _escaped(word: str) -> str:
    return re.sub(r"([_%&#$])", r"\\\1", word)

"""A model's equations as MathML, which browsers set and screen readers read without any help."""

from __future__ import annotations

import re
from html import escape
from types import MappingProxyType

from popk.model.formula import Formula, Section
from popk.model.notation import (
    Call,
    Choice,
    Expression,
    Number,
    Power,
    Product,
    Sum,
    Symbol,
    latex_name,
)

__all__ = ["mathml", "section_mathml"]

_GREEK = MappingProxyType(
    {"beta": "β", "eta": "η", "kappa": "κ", "omega": "ω", "sigma": "σ", "gamma": "γ"}
)
_INDEXED = re.compile(r"(.*?)(?<!\\)_\{(.*)\}")
_SET = re.compile(r"\\math(?:rm|it)\{((?:\\.|[^{}\\])*)\}")
_COMMAND = re.compile(r"\\([a-z]+)")
_ESCAPED = re.compile(r"\\([_%&#$])")
# How tightly a kind of expression binds; what is looser than its place stands in parentheses.
_LOOSE, _SIGNED, _PRODUCT, _ATOM = range(4)


def section_mathml(section: Section) -> str:
    """The formulas of a section below one another, aligned at their signs, as one ``<math>``."""
    rows = "".join(f"<mtr>{_line(formula)}</mtr>" for formula in section.formulas)
    words = escape("; ".join(formula.text for formula in section.formulas), quote=True)
    return f'<math alttext="{words}"><mtable>{rows}</mtable></math>'


def mathml(given: Expression) -> str:
    """An expression as elements of MathML."""
    return _row(_written(given)[0])


def _line(formula: Formula) -> str:
    left = mathml(formula.left)
    if formula.rate:
        left = f"<mfrac><mrow><mi>d</mi>{left}</mrow><mrow><mi>d</mi><mi>t</mi></mrow></mfrac>"
    sign = "∼" if formula.relation == "~" else "="
    right = f'<mo lspace="0.3em" rspace="0.3em">{sign}</mo>{mathml(formula.right)}'
    if formula.where:
        right += f'<mspace width="1.5em"/><mtext>({escape(formula.where)})</mtext>'
    return f"<mtd>{left}</mtd><mtd>{right}</mtd>"


def _within(given: Expression, place: int) -> str:
    """In parentheses where it binds less tightly than its place asks for."""
    written, binds = _written(given)
    return _fenced(written) if binds < place else written


def _written(given: Expression) -> tuple[str, int]:
    match given:
        case Symbol(name, kind):
            return _name(name, kind), _ATOM
        case Number(value):
            return _number(value)
        case Sum(terms):
            return _sum(terms), _LOOSE
        case Product(above, below, minus):
            over, under = _factors(above, alone=bool(below)), _factors(below, alone=True)
            whole = f"<mfrac>{_row(over)}{_row(under)}</mfrac>" if below else over
            return (f"<mo>−</mo>{whole}", _SIGNED) if minus else (whole, _PRODUCT)
        case Power(base, exponent):
            inner = _within(base, _ATOM)
            if not isinstance(base, Symbol | Number) and _written(base)[1] == _ATOM:
                inner = _fenced(inner)
            return f"<msup>{_row(inner)}{mathml(exponent)}</msup>", _PRODUCT
        case Call(function, arguments):
            return _call(function, "<mo>,</mo>".join(map(mathml, arguments))), _ATOM
        case Choice(tested, limit, yes, no, equal):
            sign = "=" if equal else "&gt;"
            condition = f"{mathml(tested)}<mo>{sign}</mo>{_number(limit)[0]}"
            rows = ((mathml(yes), condition), (mathml(no), "<mtext>otherwise</mtext>"))
            cells = "".join(f"<mtr><mtd>{a}</mtd><mtd>{b}</mtd></mtr>" for a, b in rows)
            table = f'<mtable class="cases">{cells}</mtable>'
            return f"<mrow><mo>{{</mo>{table}</mrow>", _ATOM


def _sum(terms: tuple[tuple[bool, Expression], ...]) -> str:
    written = ""
    for minus, term in terms:
        sign = "−" if minus else "+"
        written += f"<mo>{sign}</mo>" if minus or written else ""
        written += _within(term, _SIGNED)
    return written


def _factors(factors: tuple[Expression, ...], *, alone: bool) -> str:
    place = _LOOSE if alone and len(factors) == 1 else _PRODUCT
    return "<mo>·</mo>".join(_within(factor, place) for factor in factors) or "<mn>1</mn>"


def _call(function: str, arguments: str) -> str:
    if function == "sqrt":
        return f"<msqrt>{arguments}</msqrt>"
    if function == "abs":
        return f"<mrow><mo>|</mo>{arguments}<mo>|</mo></mrow>"
    return f"<mi>{escape(function)}</mi><mo>&#x2061;</mo>{_fenced(arguments)}"


def _number(value: float) -> tuple[str, int]:
    digits, _, exponent = f"{value!r}".removesuffix(".0").partition("e")
    binds = _SIGNED if value < 0 else _ATOM
    if not exponent:
        return f"<mn>{digits.replace('-', '−')}</mn>", binds
    tens = f"<msup><mn>10</mn><mn>{int(exponent)}</mn></msup>".replace("-", "−")
    factor = "" if digits == "1" else f"<mn>{digits.replace('-', '−')}</mn><mo>·</mo>"
    return f"{factor}{tens}", min(binds, _PRODUCT)


def _name(name: str, kind: str) -> str:
    """A name with its index, both as LaTeX has them."""
    written = latex_name(name, kind)
    found = _INDEXED.fullmatch(written)
    base, index = found.groups() if found else (written, "")
    whole = f"<mi>{_plain(base)}</mi>"
    return f"<msub>{whole}<mtext>{_plain(index)}</mtext></msub>" if index else whole


def _plain(written: str) -> str:
    """A LaTeX name without its commands."""
    bare = _COMMAND.sub(lambda m: _GREEK.get(m[1], m[1]), _SET.sub(r"\1", written))
    return escape(_ESCAPED.sub(r"\1", bare))


def _fenced(inner: str) -> str:
    return f"<mrow><mo>(</mo>{inner}<mo>)</mo></mrow>"


def _row(inner: str) -> str:
    return f"<mrow>{inner}</mrow>"

"""The equations of a model, from its structure to the residual error, as text or as LaTeX."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from popk.errors import SettingError
from popk.model.derivation import derived
from popk.model.formula import Formula, Section, plain_latex
from popk.model.individuals import individual_sections
from popk.model.notation import Expression, Symbol, call, multiply
from popk.model.scatter import error_section
from popk.structure import Structure
from popk.structure.symbolic import trace

if TYPE_CHECKING:
    from popk.model.pop_model import PopModel

__all__ = ["STYLES", "model_sections", "structure_sections", "written_equations"]

# With an exponent that is a name or no whole number.
_POWER = re.compile(r"\*\*(\D|\d+\.)")
STYLES = ("text", "markdown", "latex")


def written_equations(model: PopModel, style: str = "text") -> str:
    """The equations of a model.

    Parameters
    ----------
    model
        Whose.
    style
        ``"text"``: plain lines, whose right-hand sides are Python; ``"markdown"``: formulas as
        LaTeX between double dollars; ``"latex"``: a fragment that needs the package amsmath.

    Raises
    ------
    SettingError
        When there is no such style.
    """
    if style not in STYLES:
        raise SettingError(
            f"equations was given the style {style!r}; expected one of {', '.join(STYLES)}."
        )
    write = {"text": _text, "markdown": _markdown, "latex": _latex}[style]
    return "\n\n".join(write(section) for section in model_sections(model))


def model_sections(model: PopModel) -> tuple[Section, ...]:
    """Structure, doses, individual parameters, random effects, residual error."""
    return (
        *structure_sections(model.structure),
        *individual_sections(model),
        error_section(model),
    )


def structure_sections(structure: Structure) -> Iterator[Section]:
    """What can be observed, the rates of change, and what becomes of doses.

    The equations are those that the structure computes, traced: outputs by their names, so that the
    rates can be written with concentrations.
    """
    outputs = [Symbol(output.name, "output") for output in structure.outputs]
    amounts = [_amount(name) for name in structure.compartments]
    equations = trace(
        lambda t, a, p: (*structure.read(t, a, p), *structure.rates(t, a, p)),
        place=f"The equations of {type(structure).__name__}",
        compartments=structure.compartments,
        parameters=tuple(parameter.name for parameter in structure.kinetics),
        results=(*(output.name for output in outputs), *structure.compartments),
    )
    definitions, rates = derived(
        equations,
        [*outputs, *(None for _ in amounts)],
        leaves={
            "t": lambda _: Symbol("t", "part"),
            "a": _amount,
            "p": lambda name: Symbol(name, "parameter"),
        },
        taken=[amount.name for amount in amounts],
    )
    notes = [
        "t is the time of the data; A is what a compartment holds, amounts of drug where doses can "
        "go."
    ]
    notes += [f"{_amount(n).name} is a difference from its baseline." for n in structure.deviations]
    read = tuple(Formula(definition.name, definition.value) for definition in definitions)
    changes = tuple(
        Formula(amount, rate, rate=True) for amount, rate in zip(amounts, rates, strict=True)
    )
    if any(_POWER.search(formula.text) for formula in (*read, *changes)):
        notes.append(
            "A power of what is not above zero counts as 0, unless the exponent is a small whole "
            "number."
        )
    yield Section("Outputs", read)
    yield Section("Rates of change, besides doses", changes, tuple(notes))
    if structure.dosing.parameters:
        yield Section("Doses", tuple(_doses(structure)))


def _amount(name: str) -> Symbol:
    return Symbol(f"A_{name}", "amount")


def _doses(structure: Structure) -> Iterator[Formula]:
    """What the parameters of doses do, by compartment."""
    dosing, names = structure.dosing, structure.compartments

    def own(letter: str, number: int) -> Symbol:
        return Symbol(f"{letter}{number}", "parameter")

    amt = Symbol("AMT")
    for number, name in enumerate(names, start=1):
        where = f"doses into {name}, CMT {number}"
        available: Expression = amt
        if number in dosing.bioavailability:
            available = multiply(own("F", number), amt)
            yield Formula(call("amount", _amount(name)), available, where=where)
        if number in dosing.lag:
            yield Formula(call("lag", _amount(name)), own("ALAG", number), where=where)
        if number in dosing.duration:
            always = number in structure.zero_order
            which = f"{where}, all but those with RATE above 0" if always else f"{where}, RATE -2"
            yield Formula(call("duration", _amount(name)), own("D", number), where=which)
        if number in dosing.rate:
            which = f"{where}, RATE -1"
            yield Formula(call("rate", _amount(name)), own("R", number), where=which)


def _text(section: Section) -> str:
    lines = [section.title, *(f"  {formula.text}" for formula in section.formulas)]
    return "\n".join([*lines, *(f"  ({note})" for note in section.notes)])


def _markdown(section: Section) -> str:
    parts = [f"**{section.title}**", f"$$\n{_aligned(section)}\n$$", *section.notes]
    return "\n\n".join(parts)


def _latex(section: Section) -> str:
    parts = [rf"\paragraph{{{plain_latex(section.title)}}}", f"\\[\n{_aligned(section)}\n\\]"]
    return "\n".join([*parts, *(plain_latex(note) for note in section.notes)])


def _aligned(section: Section) -> str:
    lines = [" & ".join(formula.latex) for formula in section.formulas]
    joined = " \\\\[4pt]\n".join(lines)
    return f"\\begin{{aligned}}\n{joined}\n\\end{{aligned}}"

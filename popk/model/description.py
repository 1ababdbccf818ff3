"""A model's card: all that it says and assumes, as blocks that text, HTML and the terminal show."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from html import escape
from textwrap import shorten
from typing import TYPE_CHECKING

from popk.model.coding import written
from popk.model.equations import model_sections

if TYPE_CHECKING:
    from popk.model.pop_model import PopModel
    from popk.statistics import LatentCategory

__all__ = ["Block", "blocks", "drug_of", "html_card", "listing", "summary"]


_NONE = "–"
_SHORT = 80  # characters of a population or a citation in a list of models


@dataclass(frozen=True, slots=True)
class Block:
    """Part of a card: a title, then rows under headers, or lines.

    Rows without headers are names and values; ``code`` marks lines to be set as they are.
    """

    title: str
    headers: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    lines: tuple[str, ...] = ()
    code: bool = False


def drug_of(name: str) -> str:
    """The drug in a model's name, which may end in an author and a year."""
    return re.sub(r"_[a-z]+\d{4}[a-z]?$", "", name).replace("_", " ")


def summary(model: PopModel) -> str:
    """Structure, error, parameters with their priors and units, and the notes, as text."""
    lines = [f"{model.name}: {written(model.structure)}", f"error: {model.error.title}"]
    if model.category is not None:
        lines.append(f"category that may be missing: {_category(model.category)}")
    elif model.classes:
        lines.append(f"sub-populations, not observed: {', '.join(model.classes)}")
    if model.levels:
        lines.append(f"further levels of variability: {_levels(model)}")
    shown = _parameters(model)
    priors = [prior if unit == "1" else f"{prior} {unit}" for _, prior, unit, _ in shown]
    width, wide = max(len(row[0]) for row in shown), max(map(len, priors))
    for (name, _, _, meaning), prior in zip(shown, priors, strict=True):
        lines.append(f"  {name:<{width}}  {prior:<{wide}}  {meaning}")
    if model.card is not None:
        lines.append(f"  source: {model.card.citation}")
    return "\n".join(lines + [f"  note: {note}" for note in model.notes])


def blocks(model: PopModel) -> tuple[Block, ...]:
    """The whole card, in the order in which it is read."""
    return (
        Block(model.name, rows=tuple(_entries(model))),
        *_equations(model),
        _parameter_block(model),
        *_domain(model),
    )


def listing(models: Iterable[PopModel]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Headers and rows of a table of models: what tells one from another."""
    rows: list[tuple[str, ...]] = []
    for model in models:
        card, units = model.card, model.units
        drug, population, route, citation = drug_of(model.name), _NONE, _NONE, _NONE
        if card is not None:
            population, route, citation = card.population, card.route, _in_short(card.citation)
        shown = ", ".join((units.time, units.amount, units.concentration))
        short = shorten(population, _SHORT, placeholder=" …")
        rows.append((model.name, drug, short, route, shown, citation))
    return ("Model", "Drug", "Population", "Route", "Units", "Citation"), rows


def _in_short(citation: str) -> str:
    """First author and year, or the beginning where there is no list of authors with a year."""
    author, comma, rest = citation.partition(",")
    year = re.search(r"\b(?:19|20)\d\d\b", rest)
    if comma and year and len(author) <= _SHORT // 2:
        return f"{author} et al. {year[0]}"
    return shorten(citation, _SHORT, placeholder=" …")


def html_card(model: PopModel) -> str:
    """The card as plain HTML that needs nothing else."""
    return "<article>" + "".join(map(_html, blocks(model))) + "</article>"


def _entries(model: PopModel) -> Iterator[tuple[str, str]]:
    card = model.card
    if card is not None:
        yield "Drug", drug_of(model.name)
        yield "Citation", card.citation
        if card.doi:
            yield "DOI", card.doi
        yield "Population", card.population
        yield "Route", card.route
        yield "Numbers seen in", card.seen
    yield "Structure", written(model.structure)
    if model.category is not None:
        yield "Category that may be missing", _category(model.category)
    elif model.classes:
        reference, *others = model.classes
        yield "Sub-populations", f"{reference} (reference), {', '.join(others)}"
    if model.levels:
        yield "Further levels of variability", _levels(model)
    yield "Residual error", model.error.title
    units = model.units.to_dict()
    yield "Units", ", ".join(f"{name} {unit}" for name, unit in units.items())
    yield "Hash", model.hash


def _category(given: LatentCategory) -> str:
    return f"{given.covariate} ({', '.join(f'{level:g}' for level in given.levels)})"


def _levels(model: PopModel) -> str:
    named = (f"{level.covariate} ({', '.join(level.effects)})" for level in model.levels)
    return ", ".join(named)


def _equations(model: PopModel) -> Iterator[Block]:
    for section in model_sections(model):
        formulas = tuple(formula.text for formula in section.formulas)
        notes = tuple(f"({note})" for note in section.notes)
        yield Block(section.title, lines=formulas + notes, code=True)


def _parameters(model: PopModel) -> list[tuple[str, str, str, str]]:
    """Name, prior, unit and meaning of every population parameter."""
    found = [(p.name, f"{p.prior!r}", p.unit, p.meaning) for p in model.parameters]
    return found + [(c.name, f"{c.prior!r}", c.unit, c.meaning) for c in model.derived]


def _parameter_block(model: PopModel) -> Block:
    headers: tuple[str, ...] = ("Parameter", "Prior", "Unit", "Meaning")
    rows: list[tuple[str, ...]] = list(_parameters(model))
    published = dict(model.card.sources) if model.card is not None else {}
    if published:
        headers = (*headers, "Published")
        rows = [(*row, published.get(row[0], _NONE)) for row in rows]
    return Block("Population parameters", headers, tuple(rows))


def _domain(model: PopModel) -> Iterator[Block]:
    """Where the model holds, what is aimed at, and what was assumed."""
    card = model.card
    if card is not None:
        units = dict(model.units.covariates)
        if card.domain:
            rows = tuple(
                (name, f"{low:g}", f"{high:g}", units.get(name, "1"))
                for name, low, high in card.domain
            )
            yield Block("Covariates", ("Covariate", "Lowest", "Highest", "Unit"), rows)
        if card.doses:
            yield Block("Doses", lines=card.doses)
        if card.intervals:
            listed = ", ".join(f"{weeks:g}" for weeks in card.intervals)
            yield Block("Dosing intervals", lines=(f"{listed} weeks",))
        if card.targets:
            unit = model.units.concentration
            rows = tuple((what, f"{value:g}", unit, source) for what, value, source in card.targets)
            yield Block("Targets", ("Target", "Value", "Unit", "Source"), rows)
        if card.assumptions:
            yield Block("Assumptions", lines=card.assumptions)
    if model.notes:
        yield Block("Notes", lines=model.notes)


def _html(block: Block) -> str:
    if block.code:
        text = escape("\n".join(block.lines))
        return f"<section><h4>{escape(block.title)}</h4><pre><code>{text}</code></pre></section>"
    if block.lines:
        items = "".join(f"<li>{escape(line)}</li>" for line in block.lines)
        return f"<section><h4>{escape(block.title)}</h4><ul>{items}</ul></section>"
    head = "".join(f'<th scope="col">{escape(header)}</th>' for header in block.headers)
    head = f"<thead><tr>{head}</tr></thead>" if head else ""
    rows = "".join(
        f'<tr><th scope="row">{escape(first)}</th>'
        + "".join(f"<td>{escape(cell)}</td>" for cell in rest)
        + "</tr>"
        for first, *rest in block.rows
    )
    caption = f"<caption>{escape(block.title)}</caption>"
    return f"<table>{caption}{head}<tbody>{rows}</tbody></table>"

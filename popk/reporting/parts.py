"""What a page is made of: sections, and in them words, equations, tables and pictures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

from markupsafe import Markup

from popk.reporting.figures import Picture
from popk.reporting.table import Table

__all__ = [
    "Equations", "Heading", "Listing", "Paragraph", "Part", "Section", "Verdict", "marked",
    "pictures_of", "tables_of",
]  # fmt: skip


@dataclass(frozen=True)
class Heading:
    """A title within a section."""

    kind: ClassVar[str] = "heading"
    text: str


@dataclass(frozen=True)
class Paragraph:
    """Sentences; ``note`` sets them small."""

    kind: ClassVar[str] = "paragraph"
    text: str
    note: bool = False


@dataclass(frozen=True)
class Listing:
    """Sentences below one another, under one that leads to them."""

    kind: ClassVar[str] = "listing"
    items: tuple[str, ...]
    lead: str = ""
    note: bool = False


@dataclass(frozen=True)
class Equations:
    """Formulas as MathML under a title, and sentences about them."""

    kind: ClassVar[str] = "equations"
    title: str
    math: Markup
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Verdict:
    """Whether one fit may be used, with the figures behind it."""

    kind: ClassVar[str] = "verdict"
    name: str
    headline: str
    good: bool
    basis: str
    failures: tuple[str, ...]
    notes: tuple[str, ...]
    facts: tuple[tuple[str, str], ...]


type Part = Heading | Paragraph | Listing | Equations | Verdict | Table | Picture


@dataclass(frozen=True)
class Section:
    """A part of the page with a title and an anchor of its own.

    ``opening`` ones stand before the contents.
    """

    anchor: str
    title: str
    parts: tuple[Part, ...]
    opening: bool = False


def marked(parts: Iterable[Part], *, converged: bool) -> Iterator[Part]:
    """The parts, tables and pictures marked where the fit behind them did not converge."""
    for part in parts:
        if isinstance(part, Table | Picture) and not converged:
            yield replace(part, unsure=True)
        else:
            yield part


def tables_of(sections: Iterable[Section]) -> Iterator[tuple[Section, Table]]:
    """All tables, each with the section that it stands in."""
    for section in sections:
        for part in section.parts:
            if isinstance(part, Table):
                yield section, part


def pictures_of(sections: Iterable[Section]) -> Iterator[Picture]:
    """All pictures."""
    for section in sections:
        yield from (part for part in section.parts if isinstance(part, Picture))

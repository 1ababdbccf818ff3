"""The report: fits, checks, comparisons and advice as one HTML page that needs nothing else."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from pathlib import Path

import jinja2
import xarray as xr
from markupsafe import Markup

from popk import plots
from popk.reporting.document import Document
from popk.reporting.files import write_figures, write_tables
from popk.reporting.material import Material, ReportError
from popk.reporting.parts import Section, pictures_of, tables_of
from popk.reporting.rendering import table_html
from popk.reporting.sections import sections_of
from popk.storage import check_place

__all__ = ["Page", "ReportError", "report"]

_STATEMENT = (
    "popk is research software. It is not a medical device and gives no treatment advice: its "
    "numbers inform a clinician's decision and do not replace it."
)


@dataclass(frozen=True, eq=False)
class Page(Document):
    """A report: it shows itself in a notebook, and writes itself as HTML, PDF, CSV and SVG.

    Parameters
    ----------
    title
        Its title.
    sections
        What it is made of.
    """

    title: str
    sections: tuple[Section, ...]

    def __repr__(self) -> str:
        return (
            f"<popk report: {self.title}; {sum(1 for _ in tables_of(self.sections))} tables, "
            f"{sum(1 for _ in pictures_of(self.sections))} figures; .write(path) writes it>"
        )

    @cached_property
    def html(self) -> str:
        """The page as one HTML document that loads nothing."""
        return _rendered(self)

    def write_tables(self, folder: str | os.PathLike[str]) -> list[Path]:
        """Write every table as CSV, in full precision where there is such; the folder is made."""
        return write_tables(self.sections, Path(folder))

    def write_figures(self, folder: str | os.PathLike[str]) -> list[Path]:
        """Write every figure as SVG; the folder is made."""
        return write_figures(self.sections, Path(folder))


def report(  # noqa: PLR0913
    fit: xr.DataTree | Mapping[str, xr.DataTree],
    advice: xr.DataTree | Sequence[xr.DataTree] = (),
    *,
    checks: xr.DataTree | Mapping[str, xr.DataTree] | None = None,
    robustness: xr.DataTree | Mapping[str, xr.DataTree] | None = None,
    forecasts: xr.DataTree | Mapping[str, xr.DataTree] | None = None,
    comparison: xr.DataTree | Sequence[xr.DataTree] = (),
    path: str | os.PathLike[str] | None = None,
    title: str | None = None,
    question: str = "",
) -> Page:
    """A self-contained page: verdict first, then data, model, fit, comparison, limits, advice.

    The page loads nothing: figures are inline SVG, its one script is part of it (and the page is
    complete without it: it says what a point is, and marks a patient in all figures). When a fit
    has not converged, every table and figure from it says so. It computes nothing: give it what
    `popk.diagnose`, `popk.robustness`, `popk.evaluate_forecasts` and `popk.compare` computed.

    Parameters
    ----------
    fit
        A fit of popk, or several of the same data by name.
    advice
        Advice made from this very fit, any number of them.
    checks
        From `popk.diagnose`; of several fits by their names.
    robustness
        From `popk.robustness`, likewise: sensitivity, influence, LOO-PIT.
    forecasts
        From `popk.evaluate_forecasts`, likewise.
    comparison
        From `popk.compare` of these fits, one or one for each question.
    path
        A file to write the page to at once; its folder must exist.
    title
        The page's title; made of the models' names without it.
    question
        What the analysis is to answer, in your words.

    Returns
    -------
    Page
        Shows itself in a notebook; ``write``, ``write_pdf``, ``write_tables``, ``write_figures``.

    Raises
    ------
    ReportError
        When `fit` is not a fit, or something is not what it should be or belongs to another fit.
    StorageError
        When the folder of `path` does not exist, or `path` is a folder.
    """
    if path is not None:
        check_place(path)
    material = Material.of(
        fit,
        advice,
        comparison,
        {"checks": checks, "robustness": robustness, "forecasts": forecasts},
        question=question,
    )
    names = [one.name for one in material.reported]
    usual = f"{names[0]}: population pharmacokinetics"
    if material.several:
        usual = f"{', '.join(names[:-1])} and {names[-1]}: population models compared"
    page = Page(title or usual, sections_of(material))
    if path is not None:
        page.write(path)
    return page


def _rendered(page: Page) -> str:
    script = (files("popk.reporting") / "templates" / "page.js").read_text(encoding="utf-8")
    names = _table_names(page.sections)
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            page=page,
            statement=_STATEMENT,
            not_converged=plots.NOT_CONVERGED,
            draw=lambda table: table_html(table, names[id(table)]),
            script=Markup(script),  # popk's own
            hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
            points=Markup(_points(page.sections)),
        )
    )


def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("popk.reporting", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _table_names(sections: Sequence[Section]) -> dict[int, str]:
    """An id for each table."""
    return {id(table): f"table-{k}" for k, (_, table) in enumerate(tables_of(sections), start=1)}


def _points(sections: Sequence[Section]) -> str:
    """Words and subject of every point as JSON, each text once."""
    words: dict[str, int] = {}
    subjects: dict[str, int] = {}
    figures = {}
    for own in pictures_of(sections):
        if own.words:
            figures[own.name] = [
                [words.setdefault(text, len(words)) for text in own.words],
                [subjects.setdefault(name, len(subjects)) for name in own.subjects],
            ]
    content = {"words": list(words), "subjects": list(subjects), "figures": figures}
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    # Nothing in it can end the element that it stands in.
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text

"""The sheet of one patient as one HTML page that needs nothing else and prints on one A4 page."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import jinja2
import xarray as xr

from popk import plots
from popk.individual.advice import STATEMENT
from popk.plots.style import is_converged
from popk.reporting.bedside import words
from popk.reporting.bedside.case import Case, case_of, further_of
from popk.reporting.bedside.tables import (
    candidate_table,
    covariates,
    dose_lines,
    sample_table,
    visit_table,
)
from popk.reporting.document import Document
from popk.reporting.figures import Picture, picture
from popk.reporting.table import Table
from popk.storage import check_place

__all__ = ["Sheet", "sheet"]

# How many lines of print the page has room for, and how it is set if there are no more.
_DENSITIES = ((39, ""), (45, "dense"), (58, "densest"))
_FINDINGS = 6  # told in full; of more the names
_USABLE = 5  # lines of headings and captions that a sheet without probabilities does not have
_WIDE, _NARROW = 118, 56  # characters of a line, and of one in a column


@dataclass(frozen=True)
class Sheet(Document):
    """A sheet: it shows itself in a notebook, and writes itself as HTML and PDF.

    Parameters
    ----------
    title
        Its title.
    html
        The page as one HTML document that loads nothing.
    """

    title: str
    html: str

    def __repr__(self) -> str:
        return f"<popk sheet: {self.title}; .write(path) and .write_pdf(path) write it>"


def sheet(
    fit: xr.DataTree | Sequence[xr.DataTree],
    advice: xr.DataTree,
    subject: object,
    *,
    visits: xr.DataTree | None = None,
    last_dose: date | str | None = None,
    path: str | os.PathLike[str] | None = None,
    made: date | None = None,
) -> Sheet:
    """One patient's advice on one A4 page, with all that it rests on.

    In a fixed order: the advice with its probability, what speaks against it, the candidate
    intervals, the patient's curve with the samples, a visit that slips, the data, assumptions, the
    model's card, fingerprints. Where the advice is withheld the sheet says so first, with the
    reason and what to do, and shows neither probabilities nor a predicted curve. It loads nothing,
    and is read in black and white and by a screen reader.

    Parameters
    ----------
    fit
        The fit that the advice was made from; of an average of several models their fits, in the
        order of the advice.
    advice
        From `popk.individualise` or `popk.averaged_advice`.
    subject
        The patient's ID.
    visits
        Feasible visits of this patient, from `popk.interval_for_trough` with the same target and
        probability; they stand beside the candidates.
    last_dose
        The day of the last dose in the data, as ``"2026-05-04"``: times get dates.
    path
        A file to write the page to at once; its folder must exist.
    made
        The date that the sheet bears; today without it.

    Returns
    -------
    Sheet
        Shows itself in a notebook; ``html``, ``write``, ``write_pdf``.

    Raises
    ------
    ReportError
        When something is not what it should be, belongs to another fit, or there is no such
        patient.
    StorageError
        When the folder of `path` does not exist, or `path` is a folder.

    Examples
    --------
    ``popk.sheet(fit, advice, "7", last_dose="2026-05-04", path="sheet.html")``
    """
    if path is not None:
        check_place(path)
    case = case_of(fit, advice, subject, last_dose)
    page = Sheet(
        f"Dosing interval: patient {case.subject}",
        _rendered(case, visits, (made or date.today()).isoformat()),
    )
    if path is not None:
        page.write(path)
    return page


def _rendered(case: Case, visits: xr.DataTree | None, made: str) -> str:
    further = further_of(case)
    usable = case.state != "withheld"
    said = words.headline(case)
    # What withholds stands in the advice itself.
    below = [one for one in case.findings if one.severity != "withheld"]
    parts: dict[str, Any] = {
        "said": said,
        "findings": below[:_FINDINGS],
        "further": ", ".join(one.name for one in below[_FINDINGS:]),
        "candidates": candidate_table(case, further) if usable else None,
        "visits": visit_table(case, visits) if usable and visits is not None else None,
        "slip": further.slip or further.why_not,
        "covariates": covariates(case),
        "doses": dose_lines(case),
        "samples": sample_table(case),
        "assumptions": words.assumptions(case),
        "cards": [words.model_lines(case, fit) for fit in case.fits],
    }
    lines = _lines(parts)
    return (
        _environment()
        .get_template("sheet.html.j2")
        .render(
            case=case,
            state=case.state or "ordinary",
            density=next((name for most, name in _DENSITIES if lines <= most), "fullest"),
            state_note=words.state_note(case),
            figure=_figure(case, usable=usable),
            provenance=words.provenance(case, made),
            converged=is_converged(case.advice),
            not_converged=plots.NOT_CONVERGED,
            made=made,
            statement=STATEMENT,
            **parts,
        )
    )


def _lines(parts: Mapping[str, Any]) -> int:
    """About how many lines of print the parts take whose length is not known beforehand."""

    def wrapped(texts: Iterable[str], width: int) -> int:
        return sum(-(-len(text) // width) for text in texts)

    def rows(table: Table | None) -> int:
        # A title, a head of two lines, and rules between rows that take room.
        return 0 if table is None else 3 + round(1.25 * len(table.rows))

    found = [one.sentence + one.name for one in parts["findings"]]
    across = wrapped([*parts["said"].sentences, *found, parts["slip"]], _WIDE)
    left = wrapped([*parts["doses"], parts["covariates"]], _NARROW) + rows(parts["samples"])
    cards = [line for lines in parts["cards"] for line in lines]
    right = wrapped([*parts["assumptions"], *cards], _NARROW)
    tables = rows(parts["candidates"]) + rows(parts["visits"])
    return across + tables + (_USABLE if parts["candidates"] else 0) + max(left, right)


def _figure(case: Case, *, usable: bool) -> Picture:
    caption = (
        "Left: samples (dots; open triangles are below the limit of quantification), doses "
        "(strokes), this patient's median and 90 % band of the true concentration, without a "
        "further dose after the last. Right: P(trough at or above the target) by interval; bars "
        "are two Monte Carlo errors, the level line is the probability asked for."
        if usable
        else "The samples and the target. The predicted curve is left out."
    )
    drawn = plots.plot_sheet(case.advice, subject=case.subject, usable=usable)
    return picture(drawn, "sheet", caption, alt=words.curve_alt(case))


def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("popk.reporting", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )

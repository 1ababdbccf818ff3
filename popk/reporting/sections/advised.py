"""Advice: each patient's longest interval, with the curves behind it."""

from __future__ import annotations

from collections.abc import Sequence

import xarray as xr

from popk import plots
from popk.reporting.figures import picture
from popk.reporting.findings import findings_table
from popk.reporting.intervals import interval_table, question
from popk.reporting.material import Material
from popk.reporting.parts import Heading, Paragraph, Part, Section, marked

__all__ = ["advice_sections"]

_ALL_DRAWN_UP_TO = 30  # patients; a longer page is read by nobody
_DRAWN = 24


def advice_sections(material: Material) -> tuple[Section, ...]:
    """A section for each advice."""
    headings = _headings(material.advice)
    return tuple(_advice(material.advice, at, headings) for at in range(len(material.advice)))


def _headings(trees: Sequence[xr.DataTree]) -> list[str]:
    """What each advice answers; numbered where several answer the same question."""
    questions = [question(tree) for tree in trees]
    headings = []
    for at, (own, tree) in enumerate(zip(questions, trees, strict=True), start=1):
        size = tree["decision"].sizes["subject"]
        patients = f"{size} patient{'s' if size != 1 else ''}"
        headings.append(f"{own}, advice {at} ({patients})" if questions.count(own) > 1 else own)
    return headings


def _drawn_before(trees: Sequence[xr.DataTree], at: int) -> int | None:
    """The earlier advice on the very same patients: their curves are the same."""
    own = trees[at]["data"].attrs["fingerprint"]
    same = (k for k in range(at) if trees[k]["data"].attrs["fingerprint"] == own)
    return next(same, None)


def _advice(trees: Sequence[xr.DataTree], at: int, headings: Sequence[str]) -> Section:
    tree, before = trees[at], _drawn_before(trees, at)
    subjects = [str(name) for name in tree["decision"].to_dataset()["subject"].values]
    drawn = subjects if len(subjects) <= _ALL_DRAWN_UP_TO else subjects[:_DRAWN]
    left_out = ""
    if before is not None:
        drawn = []
        another = question(trees[before]) != question(tree)
        differs = "only the target differs, and " if another else ""
        left_out = (
            "These are the patients whose concentrations are drawn under "
            f"{headings[before]}; {differs}the table above has their probabilities."
        )
    elif len(drawn) < len(subjects):
        left_out = (
            f"Curves are drawn for the first {len(drawn)} of {len(subjects)} patients. The other "
            f"{len(subjects) - len(drawn)} are in the table above; their curves are in the group "
            "“curve” of the stored advice, for popk.plots.plot_patient."
        )
    overview = picture(
        plots.plot_intervals(tree),
        f"advice{at + 1}",
        f"All {len(subjects)} patients. Left: how many have which longest interval with "
        f"{question(tree)}. Right: each patient's median predicted trough, and their median.",
    )
    found = findings_table(tree)
    parts: list[Part] = [overview, interval_table(tree), *([found] if found else [])]
    parts += [Paragraph(said)] if (said := str(tree.attrs.get("together", ""))) else []
    parts += [Heading("Each patient")]
    parts += [Paragraph(left_out)] if left_out else []
    parts += [
        picture(
            plots.plot_patient(tree, subject=subject),
            f"advice{at + 1}-{k}",
            f"ID {subject}: median and 90 % interval of the true concentration, without a further "
            "dose after the last recorded one; beside it the probability at each interval.",
        )
        for k, subject in enumerate(drawn, start=1)
    ]
    converged = bool(int(tree.attrs["fit_converged"]))
    return Section(f"advice-{at + 1}", headings[at], tuple(marked(parts, converged=converged)))

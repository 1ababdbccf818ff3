"""What stands first: whether the results may be used, and the question."""

from __future__ import annotations

from dataclasses import asdict

from popk.reporting.intervals import question
from popk.reporting.material import Material, Reported
from popk.reporting.parts import Paragraph, Part, Section, Verdict
from popk.reporting.provenance import verdict_facts

__all__ = ["question_section", "verdict_section"]


def verdict_section(material: Material) -> Section:
    """The verdict of each fit."""
    parts = tuple(_verdict(one, named=material.several) for one in material.reported)
    return Section("verdict", "", parts, opening=True)


def _verdict(reported: Reported, *, named: bool) -> Verdict:
    stored = reported.verdict
    return Verdict(
        reported.name if named else "",
        stored.headline,
        stored.converged,
        stored.basis if stored.kind == "approximation" else "",
        tuple(stored.failures),
        tuple(stored.notes),
        tuple(verdict_facts(asdict(stored))),
    )


def question_section(material: Material) -> Section:
    """What is asked, and for a comparison the answer at once."""
    parts: list[Part] = []
    if material.question:
        parts.append(Paragraph(material.question))
    for comparison in material.comparisons:
        parts.append(Paragraph(str(comparison.attrs["question"])))
        parts.append(Paragraph(f"Answer: {comparison.attrs['words']}"))
    if material.several and not material.comparisons and not material.question:
        parts.append(Paragraph("How do these models of the same data differ in what they say?"))
    if not material.several:
        parts += _of_one(material)
    return Section("question", "Question", tuple(parts))


def _of_one(material: Material) -> list[Part]:
    found: list[Part] = []
    if not material.question:
        found.append(
            Paragraph(
                f"What do these data say of the model {material.reported[0].name}: its typical "
                "values, its variability between patients, and whether it may be believed?"
            )
        )
    if material.advice:
        asked = "; ".join(dict.fromkeys(question(tree) for tree in material.advice))
        found.append(
            Paragraph(f"And which is the longest dosing interval of each patient with {asked}?")
        )
    return found

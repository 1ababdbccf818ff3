"""What was analysed, and what was assumed: the data, the models as equations and priors."""

from __future__ import annotations

from collections.abc import Iterator

from markupsafe import Markup

from popk import plots
from popk.dataset.summary import summary_entries
from popk.model import PopModel
from popk.model.equations import model_sections
from popk.model.mathml import section_mathml
from popk.reporting.card import model_tables, notes
from popk.reporting.figures import picture
from popk.reporting.material import Material, Reported
from popk.reporting.parts import Equations, Heading, Listing, Paragraph, Part, Section, marked
from popk.reporting.table import Cell, Table

__all__ = ["data_section", "model_section"]


def data_section(material: Material) -> Section:
    """Patients, doses, samples, BLQ, covariates, and when samples were taken."""
    first = material.reported[0]
    dataset = first.dataset
    # The warnings stand below in full.
    rows = [entry for entry in summary_entries(dataset) if entry[0] != "warnings"]
    cells = tuple((Cell(what), Cell(text)) for what, text in rows)
    parts: list[Part] = [Table("Dataset", ("What", "How many, and which"), cells, texts=2)]
    if (table := first.check("residuals")) is not None:
        figure = plots.plot_observations(table)
        blq = int((table["CENS"].values == 1).sum())
        parts.append(
            picture(
                figure,
                "observations",
                "Observations over the time since the last dose. Each point is one sample; those "
                "below the limit of quantification (BLQ) are open triangles at the limit.",
                alt=f"{table.sizes['observation']} observations over the time since the last dose, "
                f"{blq} of them below the limit of quantification.",
            )
        )
    if dataset.warnings:
        said = tuple(str(problem) for problem in dataset.warnings)
        parts.append(Listing(said, "Found and accepted while reading:", note=True))
    return Section("data", "Data", tuple(parts))


def model_section(material: Material) -> Section:
    """Each model's equations, priors and notes."""
    parts: list[Part] = []
    for one in material.reported:
        if material.several:
            parts.append(Heading(one.name))
        parts += _model(one)
    return Section("model", "Models" if material.several else "Model", tuple(parts))


def _model(one: Reported) -> Iterator[Part]:
    yield from _equations(one.model)
    yield from marked(model_tables(one.fit), converged=one.verdict.converged)
    if said := notes(one.fit):
        yield Heading("What a reader must know")
        yield Listing(said)


def _equations(model: PopModel) -> Iterator[Part]:
    sections = [section for section in model_sections(model) if section.formulas]
    if sections:
        yield Paragraph("As equations, traced from what is computed:", note=True)
    for section in sections:
        math = Markup(section_mathml(section))  # every name in it is escaped
        yield Equations(section.title, math, tuple(section.notes))

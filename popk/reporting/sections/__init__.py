"""The sections of a report, in their order.

Each is a function of the material that returns a section, or None where there is nothing to say. A
new one is a function more, and a line here.
"""

from __future__ import annotations

from collections.abc import Callable

from popk.reporting.material import Material
from popk.reporting.parts import Section
from popk.reporting.sections.advised import advice_sections
from popk.reporting.sections.checked import checks_section
from popk.reporting.sections.compared import comparison_section
from popk.reporting.sections.described import data_section, model_section
from popk.reporting.sections.estimated import parameter_section
from popk.reporting.sections.foreseen import forecast_section
from popk.reporting.sections.limits import limits_section
from popk.reporting.sections.opening import question_section, verdict_section
from popk.reporting.sections.origin import provenance_section
from popk.reporting.sections.robust import robustness_section

__all__ = ["SECTIONS", "sections_of"]

type Found = Section | tuple[Section, ...] | None

SECTIONS: tuple[Callable[[Material], Found], ...] = (
    verdict_section,
    question_section,
    data_section,
    model_section,
    parameter_section,
    checks_section,
    comparison_section,
    forecast_section,
    robustness_section,
    limits_section,
    advice_sections,
    provenance_section,
)


def sections_of(material: Material) -> tuple[Section, ...]:
    """All sections that the material has something for."""
    found: list[Section] = []
    for write in SECTIONS:
        section = write(material)
        if isinstance(section, Section):
            found.append(section)
        elif section is not None:
            found += section
    return tuple(found)

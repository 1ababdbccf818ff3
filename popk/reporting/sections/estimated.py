"""The parameters: what was found, beside what was assumed before."""

from __future__ import annotations

from popk import plots
from popk.reporting.figures import picture
from popk.reporting.material import Material
from popk.reporting.parameters import parameter_table, side_by_side
from popk.reporting.parts import Heading, Part, Section, marked

__all__ = ["parameter_section"]


def parameter_section(material: Material) -> Section:
    """Tables of the parameters, and priors beside posteriors."""
    parts: list[Part] = []
    sure = all(one.verdict.converged for one in material.reported)
    if material.several:
        fits = {one.name: one.fit for one in material.reported}
        parts += marked([side_by_side(fits)], converged=sure)
    for one in material.reported:
        if material.several:
            parts.append(Heading(one.name))
        own: list[Part] = [
            parameter_table(one.fit, one.check("shrinkage")),
            picture(
                plots.plot_population(one.fit),
                f"{one.anchor}population",
                "Prior (grey outline) and posterior (filled) of each population parameter. Where "
                "they look alike, the data have said little and the result rests on the prior.",
            ),
        ]
        parts += marked(own, converged=one.verdict.converged)
    return Section("parameters", "Population parameters", tuple(parts))

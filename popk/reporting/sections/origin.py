"""Where the numbers come from: fingerprints, seeds, versions, times."""

from __future__ import annotations

import json

from popk.reporting.material import Material
from popk.reporting.parts import Heading, Part, Section, marked
from popk.reporting.provenance import provenance_table
from popk.reporting.table import Cell, Table

__all__ = ["provenance_section"]


def provenance_section(material: Material) -> Section:
    """Of each fit, and of what was computed from it."""
    parts: list[Part] = []
    for one in material.reported:
        if material.several:
            parts.append(Heading(one.name))
        parts += marked([provenance_table(one.fit)], converged=one.verdict.converged)
    if rows := _computed(material):
        cells = tuple((Cell(what), Cell(text)) for what, text in rows)
        sure = all(one.verdict.converged for one in material.reported)
        table = Table("Computed from the fit", ("What", "From"), cells, texts=2)
        parts += marked([table], converged=sure)
    return Section("provenance", "Provenance", tuple(parts))


def _computed(material: Material) -> list[tuple[str, str]]:
    found = []
    for one in material.reported:
        of = f" of {one.name}" if material.several else ""
        for what, own in (
            ("Diagnostics", one.checks),
            ("Sensitivity, influence, LOO-PIT", one.robustness),
            ("Forecasts", one.forecasts),
        ):
            if own is not None:
                found.append((f"{what}{of}", f"seed {own.attrs['seed']}"))
    for tree in material.comparisons:
        hashes = json.loads(tree.attrs["model_hashes"])
        models = ", ".join(f"{name} {value[:12]}" for name, value in hashes.items())
        found.append(
            (
                f"Comparison by {tree.attrs['unit']}",
                f"popk {tree.attrs['popk_version']}; models {models}",
            )
        )
    return found

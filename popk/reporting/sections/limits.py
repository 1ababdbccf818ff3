"""What the data could not tell: what rests on the priors, and what is unreliable."""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np
import xarray as xr

from popk import plots
from popk.diagnostics import weak_directions
from popk.reporting.figures import picture
from popk.reporting.material import Material, Reported
from popk.reporting.parts import Heading, Listing, Paragraph, Part, Section, marked
from popk.reporting.table import Cell, Table, number

__all__ = ["limits_section"]

_CLEAR = "No parameter or direction across parameters keeps more than half of its prior's variance."


def limits_section(material: Material) -> Section | None:
    """Weakly identified parameters and directions, unreliable integrals, shrinkage."""
    parts: list[Part] = []
    for one in material.reported:
        own = list(marked(_limits(one), converged=one.verdict.converged))
        if own and material.several:
            parts.append(Heading(one.name))
        parts += own
    return Section("limits", "What the data could not tell", tuple(parts)) if parts else None


def _limits(one: Reported) -> Iterator[Part]:
    found = one.check("identifiability")
    if found is None and "identifiability" in one.fit.children:
        found = one.fit["identifiability"].to_dataset()
    if found is not None and np.isfinite(found["sd_ratio"].values).all():
        yield from _identified(one, found)
    yield from _contracted(one)
    shrunken = one.check("shrinkage")
    notes = [] if shrunken is None else json.loads(shrunken.attrs["notes"])
    if one.dataset.table["CENS"].values.any():
        notes.append(
            "Observations beyond a limit of quantification say only on which side of it the "
            "concentration was."
        )
    if notes:
        yield Listing(tuple(notes))
    yield from _integrals(one)


def _contracted(one: Reported) -> Iterator[Part]:
    """Prior and posterior of each parameter side by side, in numbers."""
    found = one.check("contraction")
    if found is None or not found.sizes["parameter"]:
        return
    columns = ("contraction", "shift", "overlap")
    rows = tuple(
        (
            Cell(str(name)),
            Cell(str(found["meaning"].values[k])),
            *(Cell(number(float(found[column].values[k]))) for column in columns),
        )
        for k, name in enumerate(found["parameter"].values)
    )
    note = (
        "Contraction: 1 where the data say all, 0 where the posterior is as wide as the prior. "
        "Shift: of the mean, in SDs of the prior. Overlap: the area that both densities share; "
        "above 0.35 a parameter is weakly identified. On the scale of the prior's normal scores."
    )
    headers = ("Parameter", "Meaning", "Contraction", "Shift", "Overlap")
    frame = found.to_dataframe().reset_index()
    yield Table("Prior against posterior", headers, rows, note, texts=2, frame=frame)


def _identified(one: Reported, found: xr.Dataset) -> Iterator[Part]:
    said = weak_directions(found)
    yield Listing(said, "What rests on the priors:") if said else Paragraph(_CLEAR)
    if not found.sizes["estimated"]:
        return
    ratio = found["sd_ratio"].values
    worst = int(np.argmax(ratio))
    yield picture(
        plots.plot_learnt(found),
        f"{one.anchor}learnt",
        "How much of each prior is left: posterior SD over prior SD, in normal scores of the "
        "priors. 1: the data said nothing. Beyond the dashed line more than half of the prior's "
        "variance is left.",
        alt="Posterior SD over prior SD of each parameter. The data say least of "
        f"{found['estimated'].values[worst]} ({ratio[worst]:.2f}).",
    )
    rows = _strongest(found)
    if rows:
        headers = ("Parameter", "and parameter", "Posterior correlation")
        yield Table("Strongest correlations of the posterior", headers, rows, texts=2)


def _strongest(
    found: xr.Dataset, most: int = 5, least: float = 0.5
) -> tuple[tuple[Cell, ...], ...]:
    names = [str(name) for name in found["estimated"].values]
    correlation = found["correlation"].values
    rows, columns = np.triu_indices(len(names), 1)
    order = np.argsort(-np.abs(correlation[rows, columns]), kind="stable")[:most]
    return tuple(
        (Cell(names[i]), Cell(names[j]), Cell(f"{correlation[i, j]:.2f}"))
        for i, j in zip(rows[order].tolist(), columns[order].tolist(), strict=True)
        if abs(correlation[i, j]) > least
    )


def _integrals(one: Reported) -> Iterator[Part]:
    """Subjects whose integrals over the random effects are not to be trusted."""
    verdict = one.verdict
    if verdict.khat_subject_max is not None and verdict.khat_subject_max > 0.7:
        yield Paragraph(
            f"The integral over the random effects of {verdict.khat_subject_worst} is not reliable "
            f"(Pareto k-hat {verdict.khat_subject_max:.2f}): what is said of this patient is not."
        )

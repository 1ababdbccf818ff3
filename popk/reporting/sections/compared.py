"""Which model predicts best, by each question that was asked."""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np
import xarray as xr

from popk import plots
from popk.reporting.comparison import comparison_table
from popk.reporting.figures import picture
from popk.reporting.material import Material
from popk.reporting.parts import Heading, Listing, Paragraph, Part, Section, marked
from popk.reporting.table import Cell, Table, number

__all__ = ["comparison_section"]

_LISTED = 10


def comparison_section(material: Material) -> Section | None:
    """The table, what it says in words, and where the differences come from."""
    parts: list[Part] = []
    sure = all(one.verdict.converged for one in material.reported)
    for number_, comparison in enumerate(material.comparisons, start=1):
        if len(material.comparisons) > 1:
            parts.append(Heading(str(comparison.attrs["question"])))
        parts += marked(_comparison(comparison, number_), converged=sure)
    return Section("comparison", "Comparison", tuple(parts)) if parts else None


def _comparison(comparison: xr.DataTree, number_: int) -> Iterator[Part]:
    prefix, words = f"comparison{number_}-", str(comparison.attrs["words"])
    yield Paragraph(words)
    yield comparison_table(comparison)
    if notes := json.loads(comparison.attrs["notes"]):
        yield Listing(tuple(notes))
    yield picture(
        plots.plot_elpd_differences(comparison),
        f"{prefix}differences",
        "Differences of elpd to the best model, with two standard errors of the difference.",
        alt=f"Differences of elpd with their standard errors. {words}",
    )
    unit = "patients" if comparison.attrs["unit"] == "patient" else "observations"
    yield picture(
        plots.plot_pointwise(comparison),
        f"{prefix}pointwise",
        f"Where the difference comes from: log predictive density of each of the {unit}, less that "
        "under the best model, in order of size. Below zero the best model predicts better. The "
        "outermost carry their ID: a difference that rests on a few of them says little.",
        alt=f"Sorted differences of log predictive density of single {unit}; the table of the "
        "largest ones follows.",
    )
    yield _largest(comparison)
    if np.isfinite(comparison["pointwise"].to_dataset()["khat"].values).any():
        yield picture(
            plots.plot_khat(comparison),
            f"{prefix}khat",
            f"Pareto k-hat of each of the {unit} left out: above 0.7 (dashed) the draws cannot be "
            "reweighted as if it had not been seen, and only a refit without it tells.",
        )


def _largest(comparison: xr.DataTree) -> Table:
    """The largest differences to the best model, of every other one."""
    table = comparison["pointwise"].to_dataset()
    best, *others = [str(name) for name in table["model"].values]
    elpd = table["elpd_i"].transpose("model", ...).values
    refitted = table["refitted"].transpose("model", ...).values
    khat = table["khat"].transpose("model", ...).values
    rows = []
    for k, name in enumerate(others, start=1):
        apart = elpd[k] - elpd[0]
        for at in np.argsort(-np.abs(apart), kind="stable")[:_LISTED].tolist():
            when = f"{float(table['TIME'].values[at]):.5g}" if "TIME" in table else ""
            rows.append(
                (
                    Cell(str(table["ID"].values[at])),
                    Cell(name),
                    *([Cell(when)] if "TIME" in table else []),
                    Cell(f"{apart[at]:.2f}"),
                    Cell(number(float(khat[k, at]))),
                    Cell("yes" if refitted[k, at] else "no"),
                )
            )
    time: tuple[str, ...] = ()
    if "TIME" in table:
        time = (f"Time ({table['TIME'].attrs.get('units', '')})",)
    return Table(
        f"Largest differences to {best}",
        ("ID", "Model", *time, "Difference", "k-hat", "Refitted"),
        tuple(rows),
        texts=2,
        frame=table.to_dataframe().reset_index(),
    )

"""What conclusions hang on: the prior, the weight of the data, single patients; and LOO-PIT."""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np
import xarray as xr

from popk import plots
from popk.reporting.figures import picture
from popk.reporting.material import Material, Reported
from popk.reporting.parts import Heading, Listing, Paragraph, Part, Section, marked
from popk.reporting.robustness import (
    influence_table,
    interval_shift_frame,
    interval_shift_table,
    moved_interval_table,
    sensitivity_table,
)

__all__ = ["LOO_PIT_MISSING", "left_out_ranks", "robustness_section"]

_NONE = (
    "Sensitivity to the prior and the influence of single patients were not computed for this "
    "page. popk.robustness computes them, popk.report takes them as robustness=; popk report does "
    "both."
)
LOO_PIT_MISSING = (
    "LOO-PIT, the place of each observation in what all others predict, was not computed for this "
    'page, as it can take minutes: popk report RUN --loo-pit, or popk.robustness with "loo_pit" '
    "among which."
)
_UNMOVED = (
    "No patient's longest interval changes when the prior or the likelihood is raised to one of "
    "these powers."
)
_DRAWN = 3  # parameters whose most influential patients are drawn


def robustness_section(material: Material) -> Section:
    """Power-scaling, what becomes of the intervals, and influence, of each fit."""
    parts: list[Part] = []
    for one in material.reported:
        if one.robustness is None:
            continue
        if material.several:
            parts.append(Heading(one.name))
        parts += marked(_robustness(one, one.robustness), converged=one.verdict.converged)
    title = "What the conclusions hang on"
    return Section("robustness", title, tuple(parts or [Paragraph(_NONE, note=True)]))


def _robustness(one: Reported, tree: xr.DataTree) -> Iterator[Part]:
    if notes := json.loads(tree.attrs["notes"]):
        yield Listing(tuple(notes))
    scaled = [own for name, own in tree.children.items() if name.startswith("power_scaling")]
    if scaled:
        yield from _scaled(one, scaled[0])
    for number, own in enumerate((own for own in scaled if "intervals" in own.children), start=1):
        yield from _intervals(one, own, number)
    if "influence" in tree.children:
        yield from _influence(one, tree["influence"].to_dataset())


def _scaled(one: Reported, tree: xr.DataTree) -> Iterator[Part]:
    said = [note for note in json.loads(tree.attrs["notes"]) if not note.startswith("With the ")]
    words = " ".join(said) or "The data decide on every population parameter."
    yield Paragraph(words)
    yield picture(
        plots.plot_power_scaling(tree),
        f"{one.anchor}power-scaling",
        "How the posterior of each parameter moves as the prior (open squares) or the likelihood "
        "(filled points) is raised to a power. Beyond the dashed line it is worth a look.",
        alt=f"Sensitivity of each parameter to prior and likelihood. {words}",
    )
    yield sensitivity_table(tree)


def _intervals(one: Reported, tree: xr.DataTree, number: int) -> Iterator[Part]:
    said = [note for note in json.loads(tree.attrs["notes"]) if note.startswith("With the ")]
    table = interval_shift_table(tree)
    yield Heading(f"What becomes of the intervals, {table.title.partition(', ')[2]}")
    moved = moved_interval_table(tree)
    if moved is None:
        yield Paragraph(_UNMOVED)
        yield table
        return
    yield Listing(tuple(said))
    yield picture(
        plots.plot_interval_shifts(tree),
        f"{one.anchor}interval-shifts{number}",
        "How many patients' longest interval would be shorter (hatched), the same (plain) or "
        "longer (dotted), were prior or likelihood raised to a power.",
        alt=f"Numbers of patients whose longest interval changes. {' '.join(said)}",
    )
    yield table
    yield moved
    frame = interval_shift_frame(tree)
    subject = str(frame["ID"].to_numpy()[int(frame["largest_change"].argmax())])
    yield picture(
        plots.plot_interval_sensitivity(tree, subject=subject),
        f"{one.anchor}interval-sensitivity{number}",
        f"ID {subject}, whose probabilities change most: the probability of holding the target at "
        "each interval as it stands (solid), with less weight (dashed) and with more (dotted). "
        "Line: the probability asked for.",
    )


def _influence(one: Reported, table: xr.Dataset) -> Iterator[Part]:
    yield Heading("Who drives the parameters")
    said = json.loads(table.attrs["notes"])
    lead = "No patient moves the mean of a parameter by more than half a posterior SD."
    yield Listing(tuple(said)) if said else Paragraph(lead)
    yield influence_table(table)
    for name in _drawn(one, table):
        part = table.sel(parameter=name)
        at = int(np.argmax(np.abs(np.nan_to_num(part["mean_change"].values))))
        most = float(part["mean_change"].values[at])
        yield picture(
            plots.plot_influence(table, parameter=name),
            f"{one.anchor}influence-{name.replace('_', '-')}",
            f"Who drives {name}: change of its posterior mean, in posterior SDs, without each of "
            "the most influential patients. Dashed: half an SD.",
            alt=f"Change of the mean of {name} without single patients: at most {most:+.2f} SD, "
            f"without ID {part['subject'].values[at]}.",
        )


def _drawn(one: Reported, table: xr.Dataset) -> list[str]:
    """The coefficients of covariates, or where there are none the parameter that moves most."""
    names = [str(name) for name in table["parameter"].values]
    own = [part.name for part in one.model.coefficients if part.name in names]
    if own:
        return own[:_DRAWN]
    most = np.abs(np.nan_to_num(table["mean_change"].values)).max(axis=0)
    return [names[int(most.argmax())]]


def left_out_ranks(one: Reported, table: xr.Dataset) -> Iterator[Part]:
    """LOO-PIT: its verdict and its figure."""
    verdict = str(table.attrs["verdict"])
    yield Paragraph(verdict)
    yield picture(
        plots.plot_loo_pit(table),
        f"{one.anchor}loo-pit",
        "LOO-PIT: the place of each observation in what all other observations predict, against "
        "time after dose, and its cumulative distribution less the uniform one, with the band in "
        "which each point of the curve lies with 95 % where the model holds.",
        alt=f"LOO-PIT against time after dose and against the uniform distribution. {verdict}",
    )

"""The data themselves, one small panel per patient, before anything is fitted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from popk.plots.style import (
    BLUE,
    GREY,
    INK,
    RED,
    PlotError,
    grid_of_axes,
    label,
    log_scale,
    title_of,
)

if TYPE_CHECKING:
    from popk.dataset import Dataset

__all__ = ["plot_dataset"]


def plot_dataset(
    dataset: Dataset,
    *,
    subjects: Sequence[str] | None = None,
    most: int = 12,
    log: bool = False,
    target: float | None = None,
) -> Figure:
    """Each patient's doses and observations over time.

    A dose is a grey line from the bottom, those implied by ADDL too; a BLQ observation an open
    triangle at its LLOQ, one above the ULOQ a triangle upwards there. Nothing is joined: between
    the samples nothing is known.

    Parameters
    ----------
    dataset
        From `popk.read_dataset`.
    subjects
        IDs to draw; without it the first `most`.
    most
        How many panels to draw when `subjects` is not given.
    log
        Whether concentrations are drawn on a logarithmic scale.
    target
        A concentration to draw as a dashed line, in the data's unit.

    Raises
    ------
    PlotError
        When a subject is not in the data.
    """
    held = dataset.subjects
    wanted = list(held[:most]) if subjects is None else [str(subject) for subject in subjects]
    unknown = [subject for subject in wanted if subject not in held]
    if unknown or not wanted:
        which = f"subject {', '.join(unknown)}" if unknown else "nobody"
        raise PlotError(f"The data hold no records of {which}.")
    figure, panels = grid_of_axes(len(wanted), columns=4, size=(2.1, 1.75), share_y=True)
    for ax, subject in zip(panels, wanted, strict=True):
        _draw(ax, dataset.select(subject))
        if target is not None:
            ax.axhline(target, color=RED, linestyle="--", linewidth=0.9, label="target")
        ax.set_title(title_of(subject), fontsize=8, color=INK, loc="left", parse_math=False)
    if log:
        for ax in panels:
            log_scale(ax, y=True)
    else:
        panels[0].set_ylim(bottom=0)
    units = dataset.units
    figure.supxlabel(label("Time", units.time), fontsize=9, color=INK)
    figure.supylabel(label("Concentration", units.concentration), fontsize=9, color=INK)
    kinds: dict[str, Any] = {}
    for ax in panels:
        handles, texts = ax.get_legend_handles_labels()
        kinds |= dict(zip(texts, handles, strict=True))
    figure.legend(
        list(kinds.values()), list(kinds), loc="outside upper right", ncols=5, fontsize=7.5,
        frameon=False,
    )  # fmt: skip
    return figure


def _draw(ax: Axes, dataset: Dataset) -> None:
    table, observed = dataset.table, dataset.is_observation
    time, dv, cens = (table[name].values for name in ("TIME", "DV", "CENS"))
    gives = np.isin(table["EVID"].values, (1, 4))
    doses = [
        time[k] + np.arange(1 + int(table["ADDL"].values[k])) * table["II"].values[k]
        for k in np.flatnonzero(gives)
    ]
    if doses:
        at = np.concatenate(doses)
        # From the bottom of the panel, whatever the scale of the concentrations.
        ax.vlines(at, 0, 0.08, color=GREY, linewidth=1.2, transform=ax.get_xaxis_transform(),
                  label="dose")  # fmt: skip
    for code, marker, colour, words in (
        (0, "o", BLUE, "observed"),
        (1, "v", RED, "BLQ, at LLOQ"),
        (-1, "^", RED, "above the ULOQ, at it"),
    ):
        here = observed & (cens == code)
        if here.any():
            ax.plot(
                time[here], dv[here], marker, color=colour, markersize=4,
                mfc=colour if code == 0 else "none", label=words,
            )  # fmt: skip

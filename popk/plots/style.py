"""What all figures share: colours, bare axes, units, and the mark of a fit not converged."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import cast

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from numpy.typing import NDArray

from popk.errors import PopkError

__all__ = [
    "BLUE",
    "GREEN",
    "GREY",
    "INK",
    "INTERVAL",
    "NOT_CONVERGED",
    "ORANGE",
    "RED",
    "PlotError",
    "axes_for",
    "bare",
    "grid_of_axes",
    "interval",
    "is_converged",
    "label",
    "log_scale",
    "mark_not_converged",
    "position_of",
    "title_of",
    "units_of",
]

# Okabe and Ito's palette, told apart with every common form of colour blindness.
BLUE, ORANGE, GREEN, RED = "#0072b2", "#e69f00", "#009e73", "#d55e00"
INK, GREY = "#26323d", "#8a939b"

INTERVAL = 0.9  # probability of every interval drawn
NOT_CONVERGED = "not converged: not a final result"

type Floats = NDArray[np.float64]


class PlotError(PopkError):
    """A figure that cannot be drawn from what was given; the text says why."""


def axes_for(ax: Axes | None, *, size: tuple[float, float]) -> tuple[Figure, Axes]:
    """The axes given with its figure, or new ones of `size` inches."""
    if ax is None:
        figure = Figure(figsize=size, layout="constrained")
        return figure, bare(figure.subplots())
    return cast(Figure, ax.get_figure(root=True)), bare(ax)


def grid_of_axes(
    count: int, *, columns: int, size: tuple[float, float], share_y: bool = False
) -> tuple[Figure, list[Axes]]:
    """A figure of `count` small axes, `columns` in a row, each of `size` inches."""
    columns = min(columns, count)
    rows = -(-count // columns)
    figure = Figure(figsize=(size[0] * columns, size[1] * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, sharey=share_y).ravel().tolist()
    for spare in axes[count:]:
        spare.remove()
    return figure, [bare(ax) for ax in axes[:count]]


def bare(ax: Axes) -> Axes:
    """Take away the frame's top and right; small grey ticks; a faint grid under the data."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(GREY)
    ax.tick_params(colors=INK, labelsize=8, width=0.6, length=3)
    ax.grid(visible=True, color="#e8ebee", linewidth=0.6)
    ax.set_axisbelow(True)
    for axis in (ax.xaxis, ax.yaxis):
        axis.label.set(fontsize=9, color=INK)
    return ax


def label(name: str, unit: str) -> str:
    """An axis label with its unit; none for a dimensionless quantity."""
    return name if unit in ("", "1") else f"{name} ({unit})"


def log_scale(ax: Axes, *, x: bool = False, y: bool = False) -> None:
    """Logarithmic scales whose ticks are plain numbers at 1, 2 and 5."""
    if x:
        ax.set_xscale("log")
    if y:
        ax.set_yscale("log")
    for axis in [ax.xaxis] * x + [ax.yaxis] * y:
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(NullFormatter())


def title_of(subject: str, *, most: int = 16) -> str:
    """A panel's title, a long ID shortened."""
    return f"ID {subject if len(subject) <= most else subject[: most - 1] + '…'}"


def units_of(tree: xr.DataTree) -> Mapping[str, str]:
    """The units that a fit or advice carries: time, amount, concentration, covariates."""
    return cast(Mapping[str, str], json.loads(tree.attrs["units"]))


def is_converged(tree: xr.DataTree | xr.Dataset) -> bool:
    """Whether a fit, or the fit that an advice or a check rests on, passed its checks."""
    if "converged" in tree.attrs:
        return bool(int(tree.attrs["converged"]))
    if tree.attrs.get("kind") == "popk advice":
        return bool(int(tree.attrs["fit_converged"]))
    return bool(json.loads(tree.attrs["verdict"])["converged"])


def mark_not_converged(target: Figure | Axes, tree: xr.DataTree | xr.Dataset) -> None:
    """Write over the figure or axes that its fit did not converge, when that is so."""
    if is_converged(tree):
        return
    if isinstance(target, Axes):
        target.text(
            0.5,
            0.55,
            NOT_CONVERGED.replace(": ", ":\n"),
            transform=target.transAxes,
            ha="center",
            va="center",
            color=RED,
            alpha=0.75,
            fontsize=10,
            fontweight="bold",
            zorder=10,
        )
    else:
        words = {"color": RED, "fontsize": 9, "fontweight": "bold"}
        target.suptitle(NOT_CONVERGED, x=0.01, ha="left", **words)


def interval(draws: xr.DataArray) -> tuple[Floats, Floats, Floats]:
    """Median and the ends of the equal-tailed interval over chain and draw."""
    tail = (1 - INTERVAL) / 2
    found = draws.quantile([0.5, tail, 1 - tail], dim=("chain", "draw")).values
    return found[0], found[1], found[2]


def position_of(tree: xr.DataTree, subject: str) -> int:
    """The position of a subject in the group `decision` of an advice.

    Raises
    ------
    PlotError
        When the advice holds no such subject.
    """
    held = [str(name) for name in tree["decision"].to_dataset()["subject"].values]
    if subject not in held:
        some = ", ".join(held[:10]) + (f" and {len(held) - 10} more" if len(held) > 10 else "")
        raise PlotError(f"There is no subject {subject} in the advice; it holds {some}.")
    return held.index(subject)

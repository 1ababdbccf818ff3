"""What all figures share: colours, bare axes, units, and the mark of a fit not converged."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from io import BytesIO
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
    "Drawing",
    "PlotError",
    "axes_for",
    "bare",
    "chosen_of",
    "grid_of_axes",
    "interval",
    "is_converged",
    "label",
    "legend_above",
    "log_scale",
    "mark_not_converged",
    "position_of",
    "subject_of",
    "title_of",
    "units_of",
]

# Okabe and Ito's palette, told apart with every common form of colour blindness.
BLUE, ORANGE, GREEN, RED = "#0072b2", "#e69f00", "#009e73", "#d55e00"
INK, GREY = "#26323d", "#8a939b"

INTERVAL = 0.9  # probability of every interval drawn
NOT_CONVERGED = "not converged: not a final result"

_DPI = 96  # of a figure in a notebook

type Floats = NDArray[np.float64]


class PlotError(PopkError):
    """A figure that cannot be drawn from what was given; the text says why."""


class Drawing(Figure):
    """A matplotlib Figure that a notebook shows although pyplot was never imported."""

    def _repr_png_(self) -> bytes:
        file = BytesIO()
        self.savefig(file, format="png", dpi=_DPI, metadata={"Software": None})
        return file.getvalue()


def axes_for(ax: Axes | None, *, size: tuple[float, float]) -> tuple[Figure, Axes]:
    """The axes given with its figure, or new ones of `size` inches."""
    if ax is None:
        figure = Drawing(figsize=size, layout="constrained")
        return figure, bare(figure.subplots())
    return cast(Figure, ax.get_figure(root=True)), bare(ax)


def grid_of_axes(
    count: int, *, columns: int, size: tuple[float, float], share_y: bool = False
) -> tuple[Figure, list[Axes]]:
    """A figure of `count` small axes, `columns` in a row, each of `size` inches."""
    columns = min(columns, count)
    rows = -(-count // columns)
    figure = Drawing(figsize=(size[0] * columns, size[1] * rows), layout="constrained")
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


def legend_above(ax: Axes, *, columns: int) -> None:
    """A legend over the axes' upper right corner, in a row."""
    ax.legend(
        fontsize=7.5, frameon=False, loc="lower right", bbox_to_anchor=(1.01, 1.0), ncols=columns,
        handletextpad=0.5, columnspacing=1.2,
    )  # fmt: skip


def chosen_of(held: Sequence[object], subject: object | None, *, of: str) -> str:
    """The subject asked for as it is named among those `held`; the first if None.

    Raises
    ------
    PlotError
        When there is no such subject; `of` says in what.
    """
    names = [str(name) for name in held]
    if subject is None and names:
        return names[0]
    if str(subject) not in names:
        some = ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
        raise PlotError(f"There is no subject {subject} in {of}; it holds {some}.")
    return str(subject)


def position_of(tree: xr.DataTree, subject: str | None) -> int:
    """The position of a subject in the group `decision` of an advice; the first if None.

    Raises
    ------
    PlotError
        When the advice holds no such subject.
    """
    held = [str(name) for name in tree["decision"].to_dataset()["subject"].values]
    return held.index(chosen_of(held, subject, of="the advice"))


def subject_of(tree: xr.DataTree, subject: str | None) -> str:
    """The subject of an advice as it is named there; the first if None.

    Raises
    ------
    PlotError
        When the advice holds no such subject.
    """
    return chosen_of(
        tree["decision"].to_dataset()["subject"].values.tolist(), subject, of="the advice"
    )

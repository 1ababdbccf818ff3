"""Points that know whose they are and what they stand for, so that a page can say so."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from popk.plots.style import BLUE, INK, RED, PlotError

__all__ = [
    "KINDS", "Kind", "Names", "Points", "draw_observations", "draw_points", "names_of",
    "outputs_of",
]  # fmt: skip

type Floats = NDArray[np.float64]
type Bools = NDArray[np.bool_]


class Names(NamedTuple):
    """The subject that each of some points (n) belongs to, and the point in words."""

    subjects: Sequence[str]
    words: Sequence[str]

    def taken(self, which: Bools) -> Names:
        """Those of some of the points."""
        places = np.flatnonzero(which).tolist()
        return Names([self.subjects[k] for k in places], [self.words[k] for k in places])


class Points(Line2D):
    """Markers without a line; ``names`` are those of the points, in the order of drawing."""

    def __init__(self, x: Floats, y: Floats, names: Names, **style: Any) -> None:
        super().__init__(x, y, linestyle="None", **style)
        self.names = names


class Kind(NamedTuple):
    """How observations of one kind (CENS) are drawn and called."""

    code: int
    text: str
    style: Mapping[str, Any]


# Told apart by their shape, too: a page may be printed without colours.
KINDS = (
    Kind(
        0,
        "quantified",
        MappingProxyType(
            {"marker": "o", "markersize": 3.6, "color": BLUE, "alpha": 0.65, "mew": 0}
        ),
    ),
    Kind(
        1,
        "BLQ, at the LLOQ",
        MappingProxyType(
            {"marker": "v", "markersize": 4.8, "mfc": "none", "mec": RED, "mew": 0.9, "color": RED}
        ),
    ),
    Kind(
        -1,
        "above the ULOQ, at it",
        MappingProxyType(
            {"marker": "^", "markersize": 4.8, "mfc": "none", "mec": INK, "mew": 0.9, "color": INK}
        ),
    ),
)


def draw_points(ax: Axes, x: Floats, y: Floats, names: Names, **style: Any) -> None:
    """Draw points (n); what has no place on the axes (NaN, or not above 0 on a log axis) is not."""
    known = np.isfinite(x) & np.isfinite(y)
    for values, scale in ((x, ax.get_xscale()), (y, ax.get_yscale())):
        if scale == "log":
            known &= values > 0
    if known.any():
        ax.add_line(Points(x[known], y[known], names.taken(known), **style))
        ax.autoscale_view()


def draw_observations(ax: Axes, table: xr.Dataset, x: Floats, y: Floats, names: Names) -> None:
    """Draw one point for each observation of a table of diagnostics, BLQ by another shape."""
    status = table["CENS"].values
    for kind in KINDS:
        own = status == kind.code
        if (own & np.isfinite(x) & np.isfinite(y)).any():
            draw_points(ax, x[own], y[own], names.taken(own), label=kind.text, **kind.style)


def outputs_of(table: xr.Dataset) -> list[tuple[str, str, Bools]]:
    """Name, unit and observations (n) of each output; one without a name where there is no other.

    The unit is that of DV: one for all, or JSON by output.
    """
    unit = str(table["DV"].attrs["units"])
    if "OUTPUT" not in table.coords:
        return [("", unit, np.ones(table["DV"].size, dtype=bool))]
    names = np.asarray(table["OUTPUT"].values, dtype=str)
    each = json.loads(unit) if unit.startswith("{") else dict.fromkeys(names.tolist(), unit)
    return [(name, each[name], names == name) for name in dict.fromkeys(names.tolist())]


_SHOWN = ("PRED", "IPRED", "IWRES", "PWRES", "NPDE", "pit")
_KINDS = ("popk residuals", "popk npde", "popk loo pit")
_BEYOND = MappingProxyType({0: "", 1: " (BLQ, LLOQ)", -1: " (above the ULOQ)"})


def names_of(table: xr.Dataset) -> Names:
    """Each observation of `popk.residuals`, `popk.npde` or `popk.loo_pit` in words.

    Raises
    ------
    PlotError
        When the table is something else.
    """
    if table.attrs.get("kind") not in _KINDS:
        raise PlotError(
            "This is not the result of popk.residuals, popk.npde or popk.loo_pit; give what they "
            "returned."
        )
    unit, dv = table["TIME"].attrs.get("units", ""), table["DV"]
    own = np.empty(dv.size, dtype=object)
    for _, its, which in outputs_of(table):
        own[which] = its
    outputs = table["OUTPUT"].values if "OUTPUT" in table else [""] * dv.size
    columns = {name: table[name].values for name in _SHOWN if name in table}
    subjects = [str(name) for name in table["ID"].values]
    words = []
    for k, subject in enumerate(subjects):
        since = float(table["TAD"].values[k])
        after = "" if np.isnan(since) else f", {since:.4g} {unit} after dose"
        beyond = _BEYOND[int(table["CENS"].values[k])]
        lines = [f"ID {subject}, {float(table['TIME'].values[k]):.5g} {unit}{after}"]
        lines.append(f"{outputs[k]} DV {float(dv.values[k]):.3g} {own[k]}{beyond}".strip())
        values = {name: float(column[k]) for name, column in columns.items()}
        known = {name: value for name, value in values.items() if not np.isnan(value)}
        lines.append(
            ", ".join(
                f"{'LOO-PIT' if name == 'pit' else name} {value:.3g}"
                for name, value in known.items()
            )
        )
        words.append("\n".join(lines))
    return Names(subjects, words)

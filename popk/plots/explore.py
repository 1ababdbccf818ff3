"""Figures to look around in, by plotly: every point says what it is, patients go on and off.

They need no network. In a notebook they show themselves; ``figure.write_html("data.html")`` writes
one file that is complete by itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from popk.plots.patient import since_last_reset
from popk.plots.style import (
    BLUE,
    GREEN,
    GREY,
    INK,
    NOT_CONVERGED,
    ORANGE,
    RED,
    PlotError,
    is_converged,
    label,
    position_of,
    subject_of,
    units_of,
)

if TYPE_CHECKING:
    import xarray as xr
    from plotly.graph_objects import Figure

    from popk.dataset import Dataset

__all__ = ["explore_dataset", "explore_patient"]

_COLOURS = (BLUE, ORANGE, GREEN, RED, INK, GREY)
_DASHES = ("solid", "dash", "dot", "dashdot")  # beside the colours: they come round again
_SYMBOLS = {0: "circle", 1: "triangle-down-open", -1: "triangle-up-open"}
_MEANING = {0: "", 1: ", below the LLOQ (drawn there)", -1: ", above the ULOQ (drawn there)"}


def explore_dataset(
    dataset: Dataset,
    *,
    x: Literal["time", "after dose"] = "time",
    log: bool = False,
    target: float | None = None,
) -> Figure:
    """Every patient's observations; a click in the legend hides a patient, two show it alone.

    Parameters
    ----------
    dataset
        From `popk.read_dataset`.
    x
        Time, or time after the last dose (doses implied by ADDL included).
    log
        Whether concentrations are drawn on a logarithmic scale.
    target
        A concentration to draw as a dashed line, in the data's unit.

    Raises
    ------
    PlotError
        When plotly is not installed, or `x` is neither.
    """
    if x not in ("time", "after dose"):
        raise PlotError(f"x is {x!r}; give 'time' or 'after dose'.")
    from popk.dataset.dosing_times import dosing_times

    figure, units, table = _figure(), dataset.units, dataset.table
    seen = dataset.is_observation
    since = np.full(len(seen), np.nan)
    since[seen] = dosing_times(dataset).since
    names = list(dataset.covariates)
    for k, subject in enumerate(dataset.subjects):
        end = dataset.starts[k + 1] if k + 1 < dataset.n_subjects else len(seen)
        rows = np.arange(dataset.starts[k], end)[seen[dataset.starts[k] : end]]
        if not len(rows):
            continue
        time, dv = table["TIME"].values[rows], table["DV"].values[rows]
        cens = table["CENS"].values[rows].astype(int)
        own = ", ".join(
            f"{name} {_number(table[name].values[rows[0]])} {units.covariate(name) or ''}".strip()
            for name in names
        )
        words = [
            f"ID {subject}<br>{_number(c)} {units.concentration}{_MEANING[code]}<br>"
            f"at {_number(t)} {units.time}, {_number(s)} {units.time} after the last dose<br>{own}"
            for t, c, s, code in zip(time, dv, since[rows], cens.tolist(), strict=True)
        ]
        figure.add_scatter(
            x=time if x == "time" else since[rows], y=dv, name=f"ID {subject}", text=words,
            hoverinfo="text", mode="lines+markers" if x == "time" else "markers",
            line={"color": _COLOURS[k % 6], "dash": _DASHES[k // 6 % 4], "width": 1},
            marker={"symbol": [_SYMBOLS[code] for code in cens.tolist()], "size": 7},
        )  # fmt: skip
    if target is not None:
        _add_target(figure, target, units.concentration, log=log)
    along = "Time" if x == "time" else "Time after the last dose"
    return _finished(figure, label(along, units.time), units.concentration, log=log)


def explore_patient(advice: xr.DataTree, *, subject: str | None = None) -> Figure:
    """One patient's median and 90 % interval of the true concentration, with the observations.

    What follows the last recorded dose is expected when no further dose is given. The title has
    the advice, with its probability or the reason why there is none.

    Parameters
    ----------
    advice
        Advice of popk, with `curve` and `data`.
    subject
        The patient's ID; the first if None.

    Raises
    ------
    PlotError
        When plotly is not installed, or the advice holds no such subject or no curves.
    """
    subject, at = subject_of(advice, subject), position_of(advice, subject)
    curve = advice["curve"].to_dataset().isel(subject=at)
    if not curve.sizes["point"]:
        raise PlotError("The advice holds no curves (curve=False); advise again with them.")
    curve = curve.isel(point=np.isfinite(curve["time"].values))
    figure, units = _figure(), units_of(advice)
    time, unit = curve["time"].values, units["concentration"]
    low, median, high = (curve[name].values for name in ("low", "median", "high"))
    words = [
        f"at {_number(t)} {units['time']}<br>median {_number(m)} {unit}<br>"
        f"90 % interval {_number(a)} to {_number(b)} {unit}"
        for t, a, m, b in zip(time, low, median, high, strict=True)
    ]
    edge = {"color": "rgba(0,0,0,0)"}
    figure.add_scatter(x=time, y=low, line=edge, hoverinfo="skip", showlegend=False)
    figure.add_scatter(
        x=time, y=high, line=edge, fill="tonexty", fillcolor="rgba(0,114,178,0.2)",
        hoverinfo="skip", name="90 % interval",
    )  # fmt: skip
    figure.add_scatter(
        x=time, y=median, line={"color": BLUE}, text=words, hoverinfo="text", name="median"
    )
    data = advice["data"].to_dataset()
    own = since_last_reset(data.isel(record=data["ID"].values.astype(str) == subject))
    seen = (own["EVID"].values == 0) & (own["MDV"].values == 0)
    cens = own["CENS"].values[seen].astype(int).tolist()
    points = list(zip(own["TIME"].values[seen], own["DV"].values[seen], cens, strict=True))
    figure.add_scatter(
        x=[t for t, _, _ in points], y=[c for _, c, _ in points], mode="markers", name="observed",
        marker={"color": INK, "size": 8, "symbol": [_SYMBOLS[code] for code in cens]},
        text=[f"{_number(c)} {unit}{_MEANING[k]}<br>at {_number(t)} {units['time']}"
              for t, c, k in points],
        hoverinfo="text",
    )  # fmt: skip
    target = float(advice.attrs["target"])
    _add_target(figure, target, unit, log=True)
    figure.update_layout(title={"text": _title(advice, subject, at), "font": {"size": 14}})
    positive = [c for _, c, _ in points if c > 0]
    return _finished(
        figure, label("Time", units["time"]), unit, log=True, lowest=0.5 * min([target, *positive])
    )


def _title(advice: xr.DataTree, subject: str, at: int) -> str:
    own = advice["decision"].to_dataset().isel(subject=at)
    asked, longest = float(advice.attrs["probability"]), float(own["longest"])
    if "withheld" in own and int(own["withheld"]):
        said = "advice withheld: see popk.findings"
    elif not int(own["reliable"]):
        said = "computation not reliable"
    elif np.isnan(longest):
        said = f"no candidate interval holds the target with probability {asked:g}"
    else:
        held = float(np.interp(longest, own["week"].values, own["probability"].values))
        chance = "above 0.99" if held > 0.99 else f"{held:.2f}"
        said = f"longest interval at {asked:g}: {longest:g} weeks, probability {chance}"
    mark = "" if is_converged(advice) else f" ({NOT_CONVERGED})"
    return f"ID {subject}: {said}{mark}"


def _number(value: float) -> str:
    return "–" if np.isnan(value) else f"{value:.4g}"


def _figure() -> Figure:
    try:
        from plotly.graph_objects import Figure
    except ModuleNotFoundError:
        raise PlotError(
            "Figures to look around in need plotly, which is not installed. Install it with "
            'pip install "popk[explore]".'
        ) from None
    return Figure()


def _add_target(figure: Figure, target: float, unit: str, *, log: bool) -> None:
    figure.add_hline(y=target, line={"color": RED, "dash": "dash"})
    # Beside a line plotly would put its words at the logarithm's power on such an axis.
    figure.add_annotation(
        x=1, xref="paper", y=float(np.log10(target)) if log else target, yshift=9, showarrow=False,
        xanchor="right", text=f"target {target:g} {unit}",
    )  # fmt: skip


def _finished(
    figure: Figure, along: str, concentration: str, *, log: bool, lowest: float | None = None
) -> Figure:
    axis: dict[str, Any] = {"showline": True, "linecolor": GREY, "gridcolor": "#e8ebee"}
    figure.update_layout(
        plot_bgcolor="white", font={"color": INK}, hovermode="closest",
        xaxis={"title": along, **axis},
        yaxis={"title": label("Concentration", concentration), **axis,
               "type": "log" if log else "linear"},
    )  # fmt: skip
    if log and lowest is not None:
        drawn = [value for trace in figure.data if trace.y is not None for value in trace.y]
        most = max([*(value for value in drawn if np.isfinite(value)), 2 * lowest])
        figure.update_yaxes(range=[float(np.log10(lowest)), float(np.log10(1.3 * most))])
    return figure

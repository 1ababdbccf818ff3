"""One patient: the concentration over time beside the probability of each interval."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from popk.plots.probability_curve import plot_probability_curve
from popk.plots.style import (
    BLUE,
    GREY,
    INK,
    RED,
    Drawing,
    PlotError,
    axes_for,
    bare,
    label,
    log_scale,
    mark_not_converged,
    position_of,
    subject_of,
    title_of,
    units_of,
)

__all__ = ["dose_times", "plot_concentration", "plot_patient", "since_last_reset"]


def plot_patient(advice: xr.DataTree, *, subject: str | None = None) -> Figure:
    """Two panels: concentration over time, and P(trough >= target) against the interval.

    Parameters
    ----------
    advice
        Advice of popk, with `decision`, `curve` and `data`.
    subject
        The patient's ID; the first if None.

    Raises
    ------
    PlotError
        When the advice holds no such subject.
    """
    subject = subject_of(advice, subject)
    figure = Drawing(figsize=(8.2, 2.7), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1.9, 1))
    plot_concentration(advice, subject=subject, ax=bare(left))
    plot_probability_curve(advice, subject=subject, ax=bare(right))
    return figure


def plot_concentration(
    advice: xr.DataTree, *, subject: str | None = None, ax: Axes | None = None
) -> Figure:
    """Median and 90 % interval of the true concentration, observations, doses and the target.

    The axis is logarithmic, so that troughs can be read beside peaks; it ends below the target
    and every positive observation, and an observation of 0 stands on its lower edge. The part
    after the last recorded dose is what is expected when no further dose is given.

    Parameters
    ----------
    advice
        Advice of popk, with `curve` and `data`.
    subject
        The patient's ID; the first if None.
    ax
        Where to draw; a new figure without it.

    Raises
    ------
    PlotError
        When the advice holds no such subject, or no curves.
    """
    subject = subject_of(advice, subject)
    at = position_of(advice, subject)
    figure, ax = axes_for(ax, size=(5.2, 2.7))
    units = units_of(advice)
    curve = advice["curve"].to_dataset().isel(subject=at)
    if not curve.sizes["point"]:
        raise PlotError("The advice holds no curves (curve=False); advise again with them.")
    # Curves are as long as the longest patient's; what is left over is NaN.
    curve = curve.isel(point=np.isfinite(curve["time"].values))
    time = curve["time"].values
    ax.fill_between(
        time,
        curve["low"].values,
        curve["high"].values,
        color=BLUE,
        alpha=0.2,
        linewidth=0,
        label="90 % interval",
    )
    ax.plot(time, curve["median"].values, color=BLUE, linewidth=1.3, label="median")
    start, target = float(time.min()), float(advice.attrs["target"])
    data = advice["data"].to_dataset()
    own = since_last_reset(data.isel(record=(data["ID"].values.astype(str) == subject)))
    seen = own["DV"].values[own["DV"].values > 0]
    lowest = 0.5 * min([target, *seen.tolist()])
    _draw_records(ax, own, start=start, lowest=lowest)
    ax.axhline(target, color=GREY, linestyle="--", linewidth=1, label=f"target {target:g}")
    ax.set_xlim(start, float(time.max()))
    log_scale(ax, y=True)
    ax.set_ylim(bottom=lowest)
    ax.set_title(
        title_of(subject), fontsize=9, color=INK, loc="left", fontweight="bold", parse_math=False
    )
    ax.set_xlabel(label("Time", units["time"]))
    ax.set_ylabel(label("Concentration", units["concentration"]))
    ax.legend(
        fontsize=6.5,
        frameon=False,
        loc="lower right",
        bbox_to_anchor=(1.01, 0.985),
        ncols=6,
        handlelength=1,
        handletextpad=0.5,
        columnspacing=0.9,
    )
    mark_not_converged(ax, advice)
    return figure


def since_last_reset(own: xr.Dataset) -> xr.Dataset:
    """The records from the last EVID 3 or 4 on, where time may have started again."""
    resets = np.flatnonzero(np.isin(own["EVID"].values, (3, 4)))
    return own.isel(record=slice(int(resets[-1]) if resets.size else 0, None))


def _draw_records(ax: Axes, own: xr.Dataset, *, start: float, lowest: float) -> None:
    """Observations as points, doses as ticks along the top; only from `start` on."""
    time, evid = own["TIME"].values, own["EVID"].values
    dv = np.maximum(own["DV"].values, lowest)
    observed = (evid == 0) & (own["MDV"].values == 0) & (time >= start)
    cens, above = (observed & (own["CENS"].values == code) for code in (1, -1))
    seen = observed & ~cens & ~above
    ax.plot(time[seen], dv[seen], "o", color=INK, markersize=4, label="observed")
    if cens.any():
        ax.plot(
            time[cens], dv[cens], "v", color=RED, mfc="none", markersize=5, label="BLQ (at LLOQ)"
        )
    if above.any():
        ax.plot(
            time[above],
            dv[above],
            "^",
            color=RED,
            mfc="none",
            markersize=5,
            label="at ULOQ",
        )
    doses = dose_times(own)
    doses = doses[doses >= start]
    ax.plot(
        doses,
        np.full(doses.size, 0.96),
        "|",
        color=INK,
        markersize=6,
        transform=ax.get_xaxis_transform(),
        clip_on=False,
        label="dose",
    )


def dose_times(records: xr.Dataset) -> np.ndarray:
    """The time of every dose of one subject, those that ADDL stands for included."""
    gives = np.isin(records["EVID"].values, (1, 4))
    given = records.isel(record=gives)
    spans = zip(given["TIME"].values, given["ADDL"].values, given["II"].values, strict=True)
    return np.array([t + k * ii for t, more, ii in spans for k in range(int(more) + 1)])

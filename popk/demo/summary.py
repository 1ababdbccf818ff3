"""The cohort's summary that the demonstration ends with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from popk.diagnostics import verdict_of

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["infusions_saved", "summarise"]

STANDARD_WEEKS = 4.0


def infusions_saved(longest: np.ndarray) -> float:
    """Share of infusions saved against one every four weeks.

    ``longest`` (n_patients) in weeks; a patient without an acceptable interval (NaN) stays at four
    weeks, and nobody goes below.
    """
    weeks = np.where(np.isnan(longest), STANDARD_WEEKS, np.maximum(longest, STANDARD_WEEKS))
    return float(1.0 - np.mean(STANDARD_WEEKS / weeks))


def summarise(
    fit: xr.DataTree, cohort: xr.DataTree, advice: Sequence[xr.DataTree], console: Console
) -> None:
    """Print troughs at q4w, typical clearance, weight exponent, and intervals by target.

    Parameters
    ----------
    fit
        The cohort's fit.
    cohort
        Advice for the cohort itself at the first target.
    advice
        Advice for new patients, one tree per target.
    console
        Where to print.
    """
    from rich.table import Table

    if not verdict_of(fit).converged:
        console.print("[bold red]The fit has NOT converged: these are not final results.[/]")
    posterior = fit["posterior"].to_dataset()
    target, unit = cohort.attrs["target"], cohort.attrs["target_units"]
    troughs = cohort["posterior"].to_dataset()["troughs_sustained"].sel(week=STANDARD_WEEKS)
    share = (troughs >= target).mean("subject").values
    console.print(
        f"Cohort, true troughs >= {target:g} {unit} at q4w: {100 * share.mean():.0f} % "
        f"(90 % interval {100 * np.quantile(share, 0.05):.0f}-{100 * np.quantile(share, 0.95):.0f})"
    )
    for name, what in (("CL", "Typical CL"), ("beta_CL_WT", "Weight exponent on CL")):
        low, median, high = np.quantile(posterior[name].values, [0.05, 0.5, 0.95])
        units = posterior[name].attrs["units"]
        shown = "" if units == "1" else f" {units}"
        console.print(
            f"{what}: {median:.3f}{shown} (90 % interval {low:.3f}-{high:.3f})", highlight=False
        )
    first = advice[0]
    weeks = [float(week) for week in first["decision"].to_dataset()["week"].values]
    probability = first.attrs["probability"]
    table = Table(
        title=f"{first['decision'].sizes['subject']} new patients: longest next interval with "
        f"P(trough >= target) >= {probability:g}, counted from their present level"
    )
    table.add_column("target", justify="right")
    table.add_column("none", justify="right")
    for week in weeks:
        table.add_column(f"{week:g} wk", justify="right")
    table.add_column("mean, wk", justify="right")
    table.add_column("infusions saved", justify="right")
    table.add_column("… if kept up", justify="right")
    for tree in advice:
        decision = tree["decision"].to_dataset()
        # An interval whose computation is not reliable is not used.
        usable = decision["reliable"].values.astype(bool)
        longest = np.where(usable, decision["longest"].values, np.nan)
        kept_up = np.where(usable, decision["longest_sustained"].values, np.nan)
        used = np.where(np.isnan(longest), STANDARD_WEEKS, longest)
        table.add_row(
            f"{tree.attrs['target']:g} {tree.attrs['target_units']}",
            str(int(np.isnan(longest).sum())),
            *(str(int((longest == week).sum())) for week in weeks),
            f"{used.mean():.2f}",
            f"{100 * infusions_saved(longest):.0f} %",
            f"{100 * infusions_saved(kept_up):.0f} %",
        )
    console.print(table)
    console.print(
        "'Infusions saved' is against one every 4 weeks; a patient for whom no candidate holds "
        "stays at 4 weeks. 'If kept up' takes the interval that still holds when it is repeated "
        "until the level settles.\n" + str(first.attrs["statement"])
    )

"""The tables of `popk.sbc`, for the terminal."""

from __future__ import annotations

import json
import math

import xarray as xr

from popk.reporting.table import MISSING, Cell, Table, number, percent

__all__ = ["calibration_table", "reliability_table"]


def calibration_table(result: xr.DataTree) -> Table:
    """Each quantity: inside or outside its band, and how probable that is by chance."""
    summary = result["summary"].to_dataset()
    rows = []
    for k, name in enumerate(summary["quantity"].values.tolist()):
        at = summary.isel(quantity=k)
        inside, adjusted = bool(at["inside"]), float(at["p_adjusted"])
        rows.append(
            (
                Cell(str(name)),
                Cell("inside" if inside else "outside", "" if inside else "warn"),
                Cell(_p(float(at["p_value"]))),
                Cell(_p(adjusted), "warn" if adjusted < 0.05 else ""),
                Cell(_signed(float(at["shift"]))),
                Cell(_signed(float(at["spread"]))),
                Cell(f"{int(at['n']):,}"),
            )
        )
    note = (
        "Band: simultaneous, 95 %, for each quantity alone; one in twenty is outside by chance. "
        "p among all: Holm's, over all quantities. Shift and spread in standard errors: above 0 "
        "the posterior lies too low, or is too narrow. Ranks of one replicate's patients are "
        "counted as the cluster that they are."
    )
    headers = ("Quantity", "95 % band", "p", "p among all", "Shift", "Spread", "Ranks")
    return Table(result.attrs["question"], headers, tuple(rows), note, texts=2)


def reliability_table(result: xr.DataTree) -> Table:
    """How often the trough reached the target, where that was given a similar probability."""
    emitted = result["reliability"].to_dataset()
    units = json.loads(result.attrs["units"])
    rows = []
    for k in range(emitted.sizes["bin"]):
        at = {str(name): float(emitted[name].values[k]) for name in emitted.data_vars}
        rows.append(
            (
                Cell(f"{at['low']:.1f} to {at['high']:.1f}"),
                Cell(percent(at["said"])),
                Cell(percent(at["happened"]), "" if at["inside"] else "warn"),
                Cell(f"{100 * at['band_low']:.0f} to {100 * at['band_high']:.0f}\u00a0%"),
                Cell(f"{at['n']:,.0f}"),
                Cell(number(at["n_effective"])),
            )
        )
    target = f"{result.attrs['target']:g} {units['concentration']}"
    interval = f"{result.attrs['interval']:g} {units['time']}"
    title = f"P(trough ≥ {target}) {interval} after the last dose: stated, and how often it was so"
    headers = ("Stated", "Mean stated", "Happened", "95 % band", "Patients", "Effective")
    note = (
        "Bands hold all rows together with 95 %. Effective: as many independent events say as much."
    )
    return Table(title, headers, tuple(rows), note)


def _signed(value: float) -> str:
    return f"{value:+.1f}" if math.isfinite(value) else MISSING


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}" if value < 0.1 else f"{value:.2f}"

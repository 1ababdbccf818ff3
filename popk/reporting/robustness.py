"""The tables of `popk.robustness`, for the page, the terminal and files."""

from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd
import xarray as xr

from popk.reporting.table import MISSING, Cell, Table, header, number
from popk.sensitivity import SENSITIVE, STRONG

__all__ = [
    "influence_table",
    "interval_shift_frame",
    "interval_shift_table",
    "moved_interval_table",
    "sensitivity_table",
]

_NAMED = 3  # patients in a row
_LISTED = 30  # patients whose interval changes


def sensitivity_table(tree: xr.DataTree) -> Table:
    """How each population parameter moves with the prior and with the likelihood.

    Parameters
    ----------
    tree
        From `popk.power_scaling`.
    """
    table = tree["parameters"].to_dataset()
    rows = []
    for k, name in enumerate(table["parameter"].values.tolist()):
        prior, data = (
            float(table["sensitivity"].sel(component=one).values[k])
            for one in ("prior", "likelihood")
        )
        marked = "warn" if prior >= SENSITIVE else ""
        words = str(table["diagnosis"].values[k])
        rows.append((Cell(name), Cell(words), Cell(number(prior), marked), Cell(number(data))))
    note = (
        "How fast the posterior moves as prior or likelihood is raised to a power (power-scaling; "
        f"Kallioinen et al. 2024). From {SENSITIVE:g} on it is worth a look: a prior that matters "
        "should be one that you believe."
    )
    headers = ("Parameter", "What decides", "Prior", "Likelihood")
    frame = table["sensitivity"].to_pandas().assign(diagnosis=table["diagnosis"].values)
    title = "Sensitivity to the prior and to the data"
    return Table(title, headers, tuple(rows), note, texts=2, frame=frame.reset_index())


def interval_shift_frame(tree: xr.DataTree) -> pd.DataFrame:
    """Each patient's longest interval as it is and with prior or likelihood scaled, in weeks.

    ``largest_change`` is that of the probability at any of the candidate intervals.
    """
    table = tree["intervals"].to_dataset()
    now = table.sel(power=1.0).isel(component=0)
    parts = []
    for component, power in _scalings(table):
        own = table.sel(component=component, power=power)
        apart = np.abs(own["probability"].values - now["probability"].values)
        parts.append(
            pd.DataFrame(
                {
                    "ID": table["subject"].values,
                    "scaled": component,
                    "power": power,
                    "longest (weeks)": now["longest"].values,
                    "longest scaled (weeks)": own["longest"].values,
                    "largest_change": apart.max(axis=-1),
                    "reliable": int(own["reliable"]),
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def interval_shift_table(tree: xr.DataTree) -> Table:
    """How many recommended intervals become shorter or longer with each scaling.

    Parameters
    ----------
    tree
        From `popk.power_scaling` with an advice.
    """
    table, frame = tree["intervals"].to_dataset(), interval_shift_frame(tree)
    rows = []
    for component, power in _scalings(table):
        own = frame[(frame["scaled"] == component) & (frame["power"] == power)]
        shorter, longer = _moved(own)
        khat = float(table["khat"].sel(component=component, power=power))
        sure = bool(table["reliable"].sel(component=component, power=power))
        change = float(own["largest_change"].max())
        rows.append(
            (
                Cell(f"{component}, power {power:g}"),
                Cell(f"{int(shorter.sum())}", "warn" if shorter.any() else ""),
                Cell(f"{int(longer.sum())}", "warn" if longer.any() else ""),
                Cell(f"{len(own) - int(shorter.sum()) - int(longer.sum())}"),
                Cell(f"{change:.3f}" if math.isfinite(change) else MISSING),
                Cell(
                    f"{khat:.2f}" if math.isfinite(khat) else number(khat), "" if sure else "warn"
                ),
            )
        )
    note = (
        "Patients whose longest interval would be shorter, longer or the same with a prior of the "
        "population parameters, or data of the cohort, that weigh less (power below 1) or more; "
        "a patient's own data count in full. Above the limit k-hat says that the weights are too "
        "uneven to trust the row."
    )
    headers = ("Scaled", "Shorter", "Longer", "The same", "Largest change of a probability",
               "k-hat")  # fmt: skip
    return Table(f"Recommended intervals, {_asked(tree)}", headers, tuple(rows), note, frame=frame)


def moved_interval_table(tree: xr.DataTree) -> Table | None:
    """The patients whose longest interval changes with some scaling; None where none does.

    Parameters
    ----------
    tree
        From `popk.power_scaling` with an advice.
    """
    table, frame = tree["intervals"].to_dataset(), interval_shift_frame(tree)
    shorter, longer = _moved(frame)
    names = list(dict.fromkeys(frame["ID"][shorter | longer].tolist()))
    if not names:
        return None
    headers = ["ID", "As it is"]
    headers += [f"{component} ^ {power:g}" for component, power in _scalings(table)]
    rows = []
    for name in names[:_LISTED]:
        own = frame[frame["ID"] == name]
        now = own["longest (weeks)"].iloc[0]
        cells = [Cell(str(name)), Cell(_weeks(now))]
        for then in own["longest scaled (weeks)"].tolist():
            same = then == now or (math.isnan(then) and math.isnan(now))
            cells.append(Cell(_weeks(then), "" if same else "warn"))
        rows.append(tuple(cells))
    more = len(names) - _LISTED
    note = f"{more} more patients are in the CSV of the table above." if more > 0 else ""
    title = f"Longest interval (weeks) of patients for whom it changes, {_asked(tree)}"
    return Table(title, tuple(headers), tuple(rows), note)


def influence_table(table: xr.Dataset) -> Table:
    """Who moves each population parameter most, and by how much.

    Parameters
    ----------
    table
        From `popk.influence`.
    """
    units = _units(table)
    change = np.nan_to_num(table["mean_change"].values)
    sure = table["reliable"].values.astype(bool)
    subjects = table["subject"].values.astype(str)
    rows = []
    for k, name in enumerate(table["parameter"].values.tolist()):
        order = np.argsort(-np.abs(change[:, k]), kind="stable")[:_NAMED]
        who = ", ".join(
            f"{subjects[i]} ({change[i, k]:+.2f}{'' if sure[i] else ', roughly'})" for i in order
        )
        strong = int((np.abs(change[:, k]) > STRONG).sum())
        rows.append(
            (
                Cell(header(name, units.get(name))),
                Cell(who),
                Cell(f"{strong}", "warn" if strong else ""),
                Cell(number(float(table["full_mean"].values[k]))),
                Cell(number(float(table["full_sd"].values[k]))),
            )
        )
    note = (
        "Change of the posterior mean, in posterior SDs, were the patient left out: by "
        "Pareto-smoothed weights, without refits. Roughly: k-hat says that only a fit without the "
        "patient tells how far."
    )
    headers = ("Parameter", "Most influential: ID (change, SD)",
               f"Patients above {STRONG:g} SD", "Mean", "SD")  # fmt: skip
    frame = table.to_dataframe().reset_index()
    title = "Influence of single patients"
    return Table(title, headers, tuple(rows), note, texts=2, frame=frame)


def _units(table: xr.Dataset) -> dict[str, str]:
    """Unit of each parameter of a table of `popk.influence`."""
    found: dict[str, str] = json.loads(table["mean"].attrs["units"])
    return found


def _scalings(table: xr.Dataset) -> list[tuple[str, float]]:
    return [
        (str(component), float(power))
        for component in table["component"].values
        for power in table["power"].values
        if power != 1.0
    ]


def _moved(frame: pd.DataFrame) -> tuple[pd.Series[bool], pd.Series[bool]]:
    """Whose interval becomes shorter, whose longer; none at all is the shortest."""
    now = frame["longest (weeks)"].fillna(0.0)
    then = frame["longest scaled (weeks)"].fillna(0.0)
    return then < now, then > now


def _weeks(value: float) -> str:
    return "none" if math.isnan(value) else f"{value:g}"


def _asked(tree: xr.DataTree) -> str:
    target, unit = float(tree.attrs["target"]), tree.attrs["target_units"]
    return f"P(trough ≥ {target:g} {unit}) ≥ {float(tree.attrs['probability']):g}"

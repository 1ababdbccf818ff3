"""Short descriptions of a data set, as text and as HTML."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from popk.dataset.dosing_times import dosing_times

if TYPE_CHECKING:
    from rich.table import Table

    from popk.dataset.dataset import Dataset

__all__ = ["html_summary", "rich_summary", "subject_table", "summary_entries", "text_summary"]

_LEFT = "text-align:left"


def text_summary(dataset: Dataset) -> str:
    """A few lines: counts, ranges with units, covariates, what was left out or warned of."""
    return "\n".join(["Dataset", *(f"  {key}: {value}" for key, value in summary_entries(dataset))])


def html_summary(dataset: Dataset) -> str:
    """The same as a small HTML table."""
    rows = "".join(
        f'<tr><th scope="row" style="{_LEFT}">{escape(key)}</th>'
        f'<td style="{_LEFT}">{escape(value)}</td></tr>'
        for key, value in summary_entries(dataset)
    )
    return f'<table><caption style="{_LEFT}">Dataset</caption><tbody>{rows}</tbody></table>'


def rich_summary(dataset: Dataset) -> Table:
    """The same as a table of a terminal, long lines wrapped in their column."""
    from rich.table import Table
    from rich.text import Text

    drawn = Table(
        title="Dataset", title_justify="left", title_style="bold", show_header=False, box=None,
        padding=(0, 2, 0, 0),
    )  # fmt: skip
    drawn.add_column(style="dim", no_wrap=True)
    drawn.add_column(overflow="fold")
    for key, value in summary_entries(dataset):
        drawn.add_row(Text(key), Text(value))
    return drawn


def subject_table(dataset: Dataset) -> pd.DataFrame:
    """One row per subject: doses, samples, those BLQ, times, covariates; units in the names."""
    table, unit = dataset.table, dataset.units.time
    numbers = np.searchsorted(dataset.starts, np.arange(table.sizes["record"]), side="right") - 1
    gives = np.isin(table["EVID"].values, (1, 4))
    observed, count = dataset.is_observation, dataset.n_subjects

    def counted(which: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
        kept = None if weights is None else weights[which]
        return np.bincount(numbers[which], weights=kept, minlength=count).astype(int)

    time = table["TIME"].values
    frame = pd.DataFrame(
        {
            "doses": counted(gives, 1 + table["ADDL"].values),
            "samples": counted(observed),
            "BLQ": counted(observed & (table["CENS"].values == 1)),
            f"first ({unit})": np.minimum.reduceat(time, dataset.starts),
            f"last ({unit})": np.maximum.reduceat(time, dataset.starts),
        },
        index=pd.Index(list(dataset.subjects), name="ID"),
    )
    for name, values in dataset.covariate_table().items():
        known = dataset.units.covariate(str(name)) or "1"
        frame[str(name) if known == "1" else f"{name} ({known})"] = values
    return frame


def summary_entries(dataset: Dataset) -> list[tuple[str, str]]:
    """What, and how much of it: the lines of a summary."""
    entries = [
        ("subjects", f"{dataset.n_subjects}"),
        ("doses", _doses(dataset)),
        ("observations", _observations(dataset)),
        ("time", _range(dataset.table["TIME"].values, dataset.units.time)),
        *_sampling(dataset),
    ]
    covariates, varying = dataset.covariate_table(), dataset.varying
    for name in dataset.covariates:
        unit = dataset.units.covariate(name) or "1"
        values, every = covariates[name].to_numpy(), dataset.table[name].values
        lacking = np.isnan(values).sum()
        if lacking == len(values):
            entries.append((name, "not known of any subject"))
            continue
        median, span = f"{np.nanmedian(values):g}", _range(every[~np.isnan(every)], unit)
        text = f"median {median}, {span}"
        if name in varying:
            text = (
                f"changes within subjects ({dataset.carry}), {span}, median at the start {median}"
            )
        if lacking:
            text += f"; left to the model in {lacking} subject{'s' if lacking > 1 else ''}"
        entries.append((name, text))
    for name, what in (
        ("OCC", "occasions"),
        ("DVID", "outputs observed (DVID)"),
        ("ASSAY", "assays"),
    ):
        if name in dataset.table:
            kept = slice(None) if name == "OCC" else dataset.is_observation
            numbers = np.unique(dataset.table[name].values[kept]).tolist()
            entries.append((what, ", ".join(str(number) for number in numbers)))
    entries += [("read", sentence) for sentence in dataset.provenance]
    if dataset.unused_columns:
        entries.append(("unused columns", ", ".join(dataset.unused_columns)))
    if dataset.warnings:
        entries.append(("warnings", f"{len(dataset.warnings)} (see .warnings)"))
    return entries


def _sampling(dataset: Dataset) -> Iterator[tuple[str, str]]:
    """When samples were taken, and how many of a subject."""
    when = dosing_times(dataset)
    since = when.since[~np.isnan(when.since)]
    table = dataset.table.isel(record=dataset.is_observation)
    _, counts = np.unique(table["ID"].values, return_counts=True)
    if len(counts):
        low, middle, high = counts.min(), np.median(counts), counts.max()
        each = f"{low}" if low == high else f"median {middle:g}, {low} to {high}"
        yield "observations of a subject", each
    if len(since):
        low, middle, high = np.quantile(since, [0.0, 0.5, 1.0])
        yield (
            "time since the last dose",
            f"median {middle:.3g}, {low:.3g} to {high:.3g} {dataset.units.time}",
        )
        share = 100 * when.trough.mean()
        yield "troughs", f"{int(when.trough.sum())} of the observations ({share:.0f} %)"


def _doses(dataset: Dataset) -> str:
    table = dataset.table
    gives = np.isin(table["EVID"].values, (1, 4))
    records, given = int(gives.sum()), int((1 + table["ADDL"].values[gives]).sum())
    text = f"{given}" + (f" in {records} records (ADDL)" if given != records else "")
    amounts = table["AMT"].values[gives]
    return f"{text}, {_range(amounts, dataset.units.amount)}" if amounts.size else text


def _observations(dataset: Dataset) -> str:
    table, observed = dataset.table, dataset.is_observation
    censored = observed & (table["CENS"].values == 1)
    text = f"{dataset.n_observations}"
    above = observed & (table["CENS"].values == -1)
    measured = table["DV"].values[observed & ~censored & ~above]
    if measured.size:
        text += f", measured {_range(measured, dataset.units.concentration)}"
    if censored.any():
        text += f", {int(censored.sum())} BLQ ({100 * censored.sum() / observed.sum():.0f} %)"
        subject = np.searchsorted(dataset.starts, np.arange(len(observed)), side="right") - 1
        left = np.bincount(subject[observed & ~censored], minlength=dataset.n_subjects)
        seen = np.bincount(subject[observed], minlength=dataset.n_subjects)
        only = [dataset.subjects[k] for k in np.flatnonzero((seen > 0) & (left == 0))]
        if only:
            text += f"; every observation BLQ in ID {', '.join(only)}"
    if above.any():
        text += f", {int(above.sum())} above the ULOQ"
    return text


def _range(values: np.ndarray, unit: str) -> str:
    low, high = float(np.min(values)), float(np.max(values))
    suffix = "" if unit == "1" else f" {unit}"
    return f"{low:g}{suffix}" if low == high else f"{low:g} to {high:g}{suffix}"

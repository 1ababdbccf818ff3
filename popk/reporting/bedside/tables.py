"""The tables of a patient's sheet: candidates, feasible visits, doses, samples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import xarray as xr

from popk.reporting.bedside.case import Case, Further
from popk.reporting.material import ReportError
from popk.reporting.table import MISSING, Cell, Table, header, number, percent, span

__all__ = ["candidate_table", "covariates", "dose_lines", "sample_table", "visit_table"]

_SAMPLES = 8  # shown; the last ones
_RUNS = 5  # of equal doses shown; the last ones
_VISITS = 6  # those about the last that holds the probability


def candidate_table(case: Case, further: Further) -> Table:
    """One row for each candidate interval, the advised one marked."""
    own, unit, asked = case.own, case.units["concentration"], case.asked
    dated = case.last_dose is not None
    sustained = np.isfinite(own["probability_sustained"].values).any()
    # As many columns as there is something to say in.
    headers = ["Interval (weeks)", *(["Date"] if dated else []), f"P(trough ≥ {case.target.words})"]
    headers += ["Monte Carlo error (SE)", f"Predicted trough ({unit}): median, 90 % interval"]
    headers += ["Under target (days)"] if further.under else []
    headers += ["P if kept up"] if sustained else []
    headers += [f"Holds {100 * asked:g} %"]
    rows = []
    for k, week in enumerate(own["week"].values.astype(float).tolist()):
        at = own.isel(week=k)
        p = float(at["probability"])
        low, middle, high = (float(at[f"trough_{name}"]) for name in ("low", "median", "high"))
        cells = [f"{week:g}", *([case.day(week)] if dated else []), percent(p, bound=asked)]
        cells += [_points(float(at["mcse"])), f"{number(middle)} ({span(low, high)})"]
        cells += [_days(further.under[week])] if further.under else []
        cells += [percent(float(at["probability_sustained"]), bound=asked)] if sustained else []
        cells += [("yes, advised" if week == case.longest else "yes") if p >= asked else "no"]
        mark = "yes" if week == case.longest else ""
        rows.append(tuple(Cell(text, mark) for text in cells))
    return Table("Candidate intervals, from the last recorded dose", tuple(headers), tuple(rows))


def _points(error: float) -> str:
    """A standard error of a probability, in percentage points."""
    return MISSING if np.isnan(error) else f"±\u00a0{100 * error:.1f}\u00a0%"


def _days(expected: float) -> str:
    """An expected number of days; counted over draws, so never said to be nothing."""
    if np.isnan(expected):
        return MISSING
    return "<\u00a00.1" if expected < 0.1 else f"{expected:.1f}"


def visit_table(case: Case, visits: xr.DataTree) -> Table:
    """The feasible visits of `popk.interval_for_trough`, a few about the last that holds.

    Raises
    ------
    ReportError
        When it is another answer, or one about others, another fit or another target.
    """
    attrs = visits.attrs
    if attrs.get("question") != "interval for a trough":
        raise ReportError("visits is not the result of popk.interval_for_trough.")
    table = visits["decision"].to_dataset()
    people = table["subject"].values.astype(str).tolist()
    if case.subject not in people:
        raise ReportError(f"The feasible visits given are not those of patient {case.subject}.")
    for what in ("fit_model_hash", "fit_data_hash"):
        if attrs[what] != case.advice.attrs[what]:
            raise ReportError("The feasible visits given were computed from another fit.")
    if (attrs["target"], float(attrs["probability"])) != (case.target.words, case.asked):
        raise ReportError(
            f"The feasible visits given are for {attrs['target']} with "
            f"{100 * attrs['probability']:g} %, the advice for {case.target.words} with "
            f"{100 * case.asked:g} %."
        )
    own = table.isel(subject=people.index(case.subject))
    known = np.flatnonzero(np.isfinite(own["week"].values))
    held = np.flatnonzero(own["acceptable"].values[known])
    last = int(held[-1]) if len(held) else 0
    begin = max(0, min(last - _VISITS + 3, len(known) - _VISITS))
    rows = []
    for k in known[begin : begin + _VISITS].tolist():
        at = own.isel(visit=k)
        p = float(at["probability"])
        rows.append(
            (
                Cell(str(at["date"].values) or MISSING), Cell(f"{float(at['week']):.3g}"),
                Cell(percent(p, bound=case.asked)), Cell(_days(float(at["under"]))),
                Cell("yes" if int(at["acceptable"]) else "no"),
            )
        )  # fmt: skip
    left = len(known) - len(rows)
    note = f"{left} more are feasible; those about the last that holds are shown. " if left else ""
    if case.state == "widened":
        note += "Of the wider draws alone, so not to be set beside the probabilities above."
    return Table(
        "Feasible visits",
        ("Date", "Weeks", f"P(trough ≥ {case.target.words})", "Under target (days)",
         f"Holds {100 * case.asked:g} %"),
        tuple(rows),
        note=note.strip(),
    )  # fmt: skip


class _Dose(NamedTuple):
    amount: float
    duration: float
    gap: float
    steady: bool
    time: float


def dose_lines(case: Case) -> tuple[str, ...]:
    """The doses, those alike and evenly spaced as one line; the last few lines."""
    unit = case.units
    runs: list[list[_Dose]] = []
    for one in _doses(case.records):
        last = runs[-1] if runs else []
        # A run goes on while the dose is the same and comes after the same time.
        alike = bool(last) and last[-1][:2] == one[:2] and not one.steady
        even = alike and (len(last) < 2 or np.isclose(one.gap, last[-1].gap))
        if even:
            last.append(one)
        else:
            runs.append([one])
    lines = [_run(case, run, unit) for run in runs]
    left = len(lines) - _RUNS
    return (f"… {left} earlier lines.", *lines[-_RUNS:]) if left > 0 else tuple(lines)


def _run(case: Case, run: list[_Dose], unit: Mapping[str, str]) -> str:
    first, last = run[0], run[-1]
    hours = 168 * first.duration / float(case.advice.attrs["time_per_week"])
    over = f" over {number(hours)} h" if hours else ""
    what = f"{number(first.amount)} {unit['amount']}{over}"
    if first.steady:
        what += ", at steady state"
    if len(run) == 1:
        return f"{what} at {_when(case, first.time)}"
    often = f" every {number(run[1].gap)} {unit['time']}"
    return (
        f"{what}{often}, {len(run)} times: from {_when(case, first.time)} to "
        f"{_when(case, last.time)}"
    )


def _when(case: Case, time: float) -> str:
    day = case.day_of(time)
    return f"TIME {number(time)} {case.units['time']}" + (f" ({day})" if day else "")


def _doses(records: xr.Dataset) -> list[_Dose]:
    """Every dose, those that ADDL stands for included, in the order of time."""
    given = records.isel(record=np.isin(records["EVID"].values, (1, 4)))
    names = ("TIME", "AMT", "RATE", "ADDL", "II", "SS")
    rows = zip(*(given[name].values.tolist() for name in names), strict=True)
    found = [
        (time + k * ii, amount, amount / rate if rate > 0 else 0.0, bool(ss) and not k)
        for time, amount, rate, more, ii, ss in rows
        for k in range(int(more) + 1)
    ]
    found.sort(key=lambda dose: dose[0])
    before = [float("nan"), *(time for time, *_ in found)]
    return [
        _Dose(amount, duration, time - earlier, steady, time)
        for (time, amount, duration, steady), earlier in zip(found, before, strict=False)
    ]


def sample_table(case: Case) -> Table | None:
    """The last samples; None where there are none."""
    records, unit = case.records, case.units
    seen = (records["EVID"].values == 0) & (records["MDV"].values == 0)
    if not seen.any():
        return None
    doses = np.array([dose.time for dose in _doses(records)])
    dated = case.last_dose is not None
    rows = []
    own = records.isel(record=seen)
    listed = (own[name].values.tolist() for name in ("TIME", "DV", "CENS", "LLOQ"))
    for time, dv, cens, lloq in zip(*listed, strict=True):
        earlier = doses[doses < time]
        since = number(time - float(earlier[-1])) if len(earlier) else MISSING
        sign = {1: "< ", -1: "> "}.get(int(cens), "")
        said = {1: f" (below the limit of {number(lloq)})", -1: " (above the range)"}
        cells = [number(time), *([case.day_of(time)] if dated else []), since]
        cells += [f"{sign}{number(dv)}{said.get(int(cens), '')}"]
        rows.append(tuple(Cell(text) for text in cells))
    left = len(rows) - _SAMPLES
    return Table(
        "Samples",
        (header("TIME", unit["time"]), *(["Date"] if dated else []),
         header("After the dose", unit["time"]),
         header("Measured", unit["concentration"])),
        tuple(rows[-_SAMPLES:]),
        note=f"… and {left} earlier samples, which count as well." if left > 0 else "",
    )  # fmt: skip


def covariates(case: Case) -> str:
    """The covariates after the last record, with their units."""
    basic = ("time", "amount", "concentration")
    own, told = case.own, []
    for name, unit in case.units.items():
        if name in basic or name not in own.coords:
            continue
        value = float(own[name])
        shown = "not measured" if np.isnan(value) else number(value)
        told.append(f"{name} {shown}{'' if unit in ('', '1') else f' {unit}'}")
    return ", ".join(told)

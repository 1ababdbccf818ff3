"""The tables of `popk.evaluate_forecasts`, for the page and the terminal."""

from __future__ import annotations

import math

import xarray as xr

from popk.reporting.table import MISSING, Cell, Table, header

__all__ = ["decision_table", "forecast_table"]

_FAR = 2.5  # standard errors of a coverage from its nominal value, to be marked


def forecast_table(result: xr.DataTree, *, which: str = "next") -> Table:
    """Errors, scores and coverage by the number of samples used, each with its standard error."""
    own = result["scores"].to_dataset().sel(which=which)
    unit = own["crps"].attrs["units"]
    headers = (
        "Samples used", "Forecasts", "Patients", "BLQ/ALQ", "MPE (%)", "rRMSE (%)", "within 20 %",
        "within 30 %", "Log score", header("CRPS", unit), "50 % covers", "90 % covers",
    )  # fmt: skip
    rows = []
    for k in own["samples"].values.tolist():
        at = {str(name): float(own[name].sel(samples=k)) for name in own.data_vars}
        if not at["n"]:
            continue
        cells = [Cell("none (a priori)" if k == 0 else str(k))]
        cells += [Cell(f"{at[name]:.0f}") for name in ("n", "n_patients", "n_beyond")]
        cells += [_with_se(at, name, 0) for name in ("mpe", "rrmse", "within_20", "within_30")]
        cells += [_with_se(at, name, 2) for name in ("log_score", "crps")]
        cells += [_coverage(at, nominal) for nominal in (50, 90)]
        rows.append(tuple(cells))
    what = "Forecasts of the next observation" if which == "next" else "Forecasts of all later ones"
    known = "known" if int(result.attrs["future_covariates"]) else "hidden"
    note = (
        "± standard error, by patient. MPE: mean of (predicted - observed) / observed; rRMSE: root "
        "of the mean of its square; both, and the shares within 20 and 30 %, of quantified "
        "observations alone. What is below the LLOQ counts as such in the other scores. Log score: "
        "higher is better; CRPS: lower is better. The observations differ between rows where "
        f"patients have different numbers of samples. Later covariates {known}."
    )
    return Table(what, headers, tuple(rows), note)


def decision_table(result: xr.DataTree) -> Table:
    """What became of the decisions at the dose before each observed trough."""
    own = result["decision_scores"].to_dataset()
    target = f"{float(result.attrs['target']):g} {result.attrs['target_units']}"
    headers = ["Samples used", "Troughs", "Interval given allowed (%)", f"then ≥ {target} (%)",
               "expected (%)", f"not allowed, yet ≥ {target} (%)", "Brier score"]  # fmt: skip
    truth = bool(int(result.attrs["with_truth"]))
    headers += ["advised interval truly held (%)", "weeks lost"] if truth else []
    rows = []
    for k in own["samples"].values.tolist():
        at = {str(name): float(own[name].sel(samples=k)) for name in own.data_vars}
        cells = [Cell("all" if k < 0 else "none (a priori)" if k == 0 else str(k))]
        cells.append(Cell(f"{at['n']:.0f}"))
        names = ("allowed", "held_when_allowed", "expected_when_allowed", "held_when_refused")
        cells += [_with_se(at, name, 0, scale=100) for name in names]
        cells.append(_with_se(at, "brier", 3))
        if truth:
            cells += [_with_se(at, "advised_held", 0, scale=100), _with_se(at, "weeks_lost", 1)]
        rows.append(tuple(cells))
    asked = f"{100 * float(result.attrs['probability']):g} %"
    note = (
        "At the dose before each observed trough: the interval given is allowed where the true "
        f"trough is ≥ {target} with probability {asked} or more. Observed troughs have a residual "
        "error, for which 'expected' allows. Intervals that were not given are not judged. "
        "Research software: it informs, it does not prescribe."
    )
    return Table("Decisions", tuple(headers), tuple(rows), note)


def _with_se(at: dict[str, float], name: str, places: int, *, scale: float = 1.0) -> Cell:
    value, se = scale * at[name], scale * at[f"{name}_se"]
    if not math.isfinite(value):
        return Cell(MISSING)
    text = f"{round(value, places) + 0.0:.{places}f}"  # never -0
    # Where all numbers are alike their spread says nothing.
    return Cell(f"{text} ± {se:.{places}f}" if math.isfinite(se) and se > 0 else text)


def _coverage(at: dict[str, float], nominal: int) -> Cell:
    cell = _with_se(at, f"coverage_{nominal}", 0)
    se = at[f"coverage_{nominal}_se"]
    off = abs(at[f"coverage_{nominal}"] - nominal)
    return cell._replace(mark="warn" if se > 0 and off > _FAR * se else "")

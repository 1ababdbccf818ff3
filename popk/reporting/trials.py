"""The table of `popk.trial`, for the page and the terminal."""

from __future__ import annotations

import math

import numpy as np
import xarray as xr

from popk.reporting.table import MISSING, Cell, Table
from popk.trials import ORACLE, trial_frame

__all__ = ["trial_table"]

_COLUMNS = (
    ("attained", "Troughs ≥ {target} (%)", 1),
    ("always", "Patients always ≥ (%)", 1),
    ("under", "Time under (%)", 1),
    ("infusions", "Infusions (1/yr)", 2),
    ("saved", "Saved (%)", 1),
)
_FEW = 25.0  # effective particles


def trial_table(result: xr.DataTree) -> Table:
    """Each policy's attainment, time under the target, infusions, intervals and regret.

    Parameters
    ----------
    result
        From `popk.trial`.
    """
    own = result["summary"].to_dataset()
    target = f"{float(result.attrs['target']):g} {result.attrs['target_units']}"
    headers = (
        "Policy", *(words.format(target=target) for _, words, _ in _COLUMNS),
        "Mean interval (wk)", "5 to 95 %", "Regret (1/yr)",
    )  # fmt: skip
    rows = []
    for policy in own["policy"].values.tolist():
        at = own.sel(policy=policy)
        cells = [Cell(str(policy))]
        cells += [_with_se(at.sel(measure=name), places) for name, _, places in _COLUMNS]
        interval = at.sel(measure="interval")
        cells.append(_with_se(interval, 2))
        cells.append(Cell(f"{float(interval['p5']):.1f} to {float(interval['p95']):.1f}"))
        cells.append(_with_se(at.sel(measure="regret"), 2))
        rows.append(tuple(cells))
    visits = result["visits"].to_dataset()
    first = str(own["policy"].values[0])
    note = (
        f"{visits.sizes['patient']} virtual patients from model {result.attrs['truth_name']}, "
        f"{float(result.attrs['weeks']):g} weeks; forecasts by {result.attrs['model_name']}. "
        f"± Monte Carlo error. True troughs, without assay noise. Saved: against {first}. Regret: "
        "infusions per year plus "
        f"{float(result.attrs['week_under']):g} for each week under the target, above those of a "
        f'policy that knows everybody\'s true parameters ("{ORACLE}"); how much such a week '
        "counts is a preference. "
        f"{_particles(visits)}Research software: it informs, it does not prescribe."
    )
    frame = trial_frame(result)
    return Table("Policies on virtual patients", headers, tuple(rows), note, frame=frame)


def _with_se(at: xr.Dataset, places: int) -> Cell:
    value, se = float(at["estimate"]), float(at["se"])
    if not math.isfinite(value):
        return Cell(MISSING)
    text = f"{value:.{places}f}"
    return Cell(f"{text} ± {se:.{places}f}" if math.isfinite(se) and se > 0 else text)


def _particles(visits: xr.Dataset) -> str:
    """How many particles were effective, where any were used."""
    ess = visits["ess"].values
    ess = ess[np.isfinite(ess)]
    if not ess.size:
        return ""
    few = 100 * float((ess < _FEW).mean())
    return (
        f"Effective particles of a decision: median {float(np.median(ess)):.0f}, "
        f"{few:.0f} % below {_FEW:.0f}" + (" (raise particles=). " if few > 5 else ". ")
    )

"""Checks of a patient's records that need no integral: covariates, doses, history."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from popk.monitoring.case import Case, Domain
from popk.monitoring.finding import Finding
from popk.monitoring.mistakes import POUNDS

__all__ = ["covariate_range", "dose_range", "history"]

MARGIN = 1.2  # factor beyond a range that is only said
FAR = 2.0  # factor beyond a range from which advice is withheld
DOSE_MARGIN, DOSE_FAR = 1.5, 5.0
INTERVAL_MARGIN, INTERVAL_FAR = 1.75, 3.0
GAP = 2.5  # usual intervals without a dose
PLANNED = 3  # doses after the last sample that may not have been given yet


def covariate_range(case: Case, domain: Domain) -> Iterator[Finding]:
    """Covariates beyond those that the model was made with."""
    latest = case.present.covariates
    for name, (low, high, source) in domain.covariates.items():
        value = latest.get(name, float("nan"))
        if name not in case.partial.patient.covariates or not np.isfinite(value):
            continue
        if low <= value <= high:
            continue
        unit = case.model.units.covariate(name) or "1"
        suffix = "" if unit == "1" else f" {unit}"
        beyond = _beyond(value, low, high)
        pounds = unit == "kg" and beyond > MARGIN and value > high and value / POUNDS >= low
        pounds = pounds and value / POUNDS <= high
        text = (
            f"{name} is {value:g}{suffix}, outside {low:g} to {high:g}{suffix} ({source}): the "
            "model's covariate effect is extrapolated."
        )
        if pounds:
            text += f" {value:g} lb would be {value / POUNDS:.0f} kg: check the unit."
        severity = "note" if beyond <= MARGIN else "widened"
        if pounds or beyond > FAR:
            severity = "withheld"
        yield Finding("covariate range", severity, text + ("" if pounds else " Check the value."))


def _beyond(value: float, low: float, high: float) -> float:
    """Factor by which a value lies beyond a range; 1 at its ends."""
    if low > 0 and value > 0:
        return max(value / high, low / value)
    width = (high - low) or max(abs(high), 1.0)
    return 1.0 + max(value - high, low - value) / width


def dose_range(case: Case, domain: Domain) -> Iterator[Finding]:
    """Doses and intervals unlike those of the fit's data."""
    units, (low, high) = case.model.units, domain.amounts
    last = case.present.amount
    if np.isfinite(low) and last > 0 and (beyond := _beyond(last, low, high)) > DOSE_MARGIN:
        yield Finding(
            "dose range",
            "withheld" if beyond > DOSE_FAR else "widened",
            f"The last dose is {last:g} {units.amount}; those of the fit's data are {low:g} to "
            f"{high:g} {units.amount}. Check the dose and its unit (mg, g, ug).",
        )
    low, high = domain.intervals
    usual = case.doses.usual_interval
    if not (np.isfinite(low) and np.isfinite(usual)):
        return
    if (beyond := _beyond(usual, low, high)) > INTERVAL_MARGIN:
        yield Finding(
            "history",
            "withheld" if beyond > INTERVAL_FAR else "note",
            f"The usual interval between doses is {usual:g} {units.time}; those of the fit's data "
            f"are {low:g} to {high:g} {units.time}. Check the unit of TIME, and for doses left out "
            "or entered twice.",
        )


def history(case: Case) -> Iterator[Finding]:
    """Long gaps without a dose, samples and doses that do not go together in time."""
    times, usual = case.doses.time, case.doses.usual_interval
    if not (len(times) and np.isfinite(usual)):
        return
    unit, seen = case.model.units.time, case.times
    gaps = np.diff(times)
    latest = float(seen.max()) if len(seen) else -np.inf
    for k in np.flatnonzero(gaps > GAP * usual).tolist()[-1:]:
        unseen = latest <= times[k + 1]
        yield Finding(
            "history",
            "widened" if unseen else "note",
            f"No dose was recorded from TIME {times[k]:g} to {times[k + 1]:g} {unit}, "
            f"{gaps[k] / usual:.1f} times the usual interval"
            + (", and no sample was taken since the doses began again" if unseen else "")
            + ". Check that the dose history is complete and the times are right.",
        )
    if latest - times[-1] > GAP * usual:
        yield Finding(
            "history",
            "withheld",
            f"The last dose was at TIME {times[-1]:g} {unit}, {(latest - times[-1]) / usual:.1f} "
            f"usual intervals before the last sample: an interval from that dose is past. Add the "
            "doses since.",
        )
    after = int((times >= latest).sum())
    if len(seen) and after > PLANNED:
        yield Finding(
            "history",
            "widened",
            f"{after} doses stand at or after the last sample (TIME {latest:g} {unit}), up to TIME "
            f"{times[-1]:g} {unit}. Leave out doses that have not been given yet; if they were "
            "given, take a new sample.",
        )

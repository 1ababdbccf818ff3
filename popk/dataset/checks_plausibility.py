"""Warnings about numbers that are possible but look like a mistaken unit."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from popk.dataset.checks_units import check_units_of_measures, check_units_of_time
from popk.dataset.records import BoolArray, FloatArray, Records

__all__ = ["check_plausibility"]

# Apparent volumes of marketed drugs run from plasma volume (0.04 L/kg) to about 200 L/kg
# (chloroquine); the lower bound leaves room for accumulation over several doses.
_PER_KG = (0.005, 200.0)
_LITRES = (0.05, 15_000.0)
_LONGER = 10.0
_FARTHER = 100.0


def check_plausibility(records: Records, *, log_dv: bool = False) -> None:
    """Warn of amounts against concentrations, of one subject's times, of one dose's compartment."""
    _check_scale(records, log_dv)
    _check_spans(records)
    _check_compartments(records)
    _check_largest(records, log_dv)
    check_units_of_time(records)
    check_units_of_measures(records)


def _apparent_volumes(records: Records, log_dv: bool) -> FloatArray:
    """Largest dose over largest concentration of each subject, L or (with a weight) L/kg.

    Only the first output (DVID 1) is taken for a concentration of the drug in its volume.
    With accumulation, absorption or distribution it is only of the volume's magnitude.
    """
    litres = records.units.litres or np.nan
    dv = records["DV"].values
    with np.errstate(over="ignore"):
        dv = np.exp(dv) if log_dv else dv
    measured = records.is_observation & ~records.is_censored & ~records.is_above & (dv > 0)
    measured &= records["DVID"].filled(1) == 1
    amounts = records["AMT"].values
    doses = records.gives_dose & (amounts > 0)
    found = []
    weights = _weights(records)
    for places in records.subjects().values():
        amount = amounts[places[doses[places]]]
        concentration = dv[places[measured[places]]]
        if amount.size and concentration.size:
            kilograms = 1.0 if weights is None else weights[places[0]]
            found.append(litres * amount.max() / concentration.max() / kilograms)
    return np.array(found, dtype=np.float64)


def _weights(records: Records) -> FloatArray | None:
    """Weights in kg (n_records); None unless WT is a mass and known of every subject at first."""
    scale = {"kg": 1.0, "g": 1e-3}.get(records.units.covariate("WT") or "")
    if scale is None:
        return None
    first = [int(places[0]) for places in records.subjects().values()]
    known = records["WT"].values[first] > 0
    return scale * records["WT"].values if known.all() else None


def _check_scale(records: Records, log_dv: bool) -> None:
    if records.units.litres is None:
        return
    volumes = _apparent_volumes(records, log_dv)
    weighed = _weights(records) is not None
    low, high = _PER_KG if weighed else _LITRES
    unit = "L/kg" if weighed else "L"
    if not volumes.size:
        return
    middle = float(np.median(volumes))
    if low <= middle <= high:
        return
    records.problems.warn(
        f"Doses in {records.units.amount} and concentrations in {records.units.concentration} "
        f"imply a volume of about {middle:.2g} {unit} (largest dose over largest concentration, "
        f"median of the subjects), outside the plausible {low:g} to {high:g} {unit}.",
        "Check the unit and scale of AMT and DV (a factor of 1000 is the usual mistake).",
    )


def _check_spans(records: Records) -> None:
    time = records["TIME"].values  # no table with an unreadable one comes here
    spans = {s: float(np.ptp(time[places])) for s, places in records.subjects().items()}
    if len(spans) < 3:
        return
    _check_short_span(records, spans)
    longest, second = sorted(spans, key=lambda subject: spans[subject])[:-3:-1]
    if spans[second] > 0 and spans[longest] > _LONGER * spans[second]:
        unit, times = records.units.time, spans[longest] / spans[second]
        records.problems.warn(
            f"The subject's times span {spans[longest]:g} {unit}, {times:.0f} times as long as in "
            f"any other subject (at most {spans[second]:g} {unit}).",
            f"Check that its TIME is in the unit {unit}.",
            id=longest,
            column="TIME",
        )


def _check_short_span(records: Records, spans: Mapping[str, float]) -> None:
    """One whose times are much denser than all others', and who did not only leave early."""
    shortest, second = sorted(spans, key=lambda subject: spans[subject])[:2]
    if not 0 < spans[shortest] < spans[second] / _LONGER:
        return
    time, unit = records["TIME"].values, records.units.time
    counts = {s: len(np.unique(time[places])) for s, places in records.subjects().items()}
    if counts[shortest] >= max(4.0, float(np.median(list(counts.values())))):
        times = spans[second] / spans[shortest]
        records.problems.warn(
            f"The subject's times span {spans[shortest]:g} {unit}, and {times:.0f} times as long "
            f"or longer in every other subject ({spans[second]:g} {unit} at least).",
            f"Check that its TIME is in the unit {unit}.",
            id=shortest,
            column="TIME",
        )


def _check_compartments(records: Records) -> None:
    """Which compartments there are only a model says; one that a single record names looks odd."""
    _check_single(records, records.gives_dose, "doses", least=1)
    if not records["DVID"].given:
        _check_single(records, records.is_observation, "observations", least=0)


def _check_single(records: Records, which: BoolArray, what: str, *, least: int) -> None:
    """`least` is the compartment that 0, the default, stands for."""
    places = np.flatnonzero(which)
    numbers = np.maximum(records["CMT"].filled(0)[places], least)
    kinds, counts = np.unique(numbers, return_counts=True)
    if len(kinds) != 2 or counts.min() != 1 or counts.max() < 3:
        return
    records.report(
        int(places[numbers == kinds[counts.argmin()]][0]),
        "CMT",
        f"is {{value}} here, and {kinds[counts.argmax()]:g} for all other {what}.",
        remedy="Check it; a model refuses a compartment that it does not have.",
        severity="warning",
    )


def _check_largest(records: Records, log_dv: bool) -> None:
    """One concentration far above all others is one in another unit, or a slip of the point."""
    dv = records["DV"].values
    with np.errstate(over="ignore"):
        dv = np.exp(dv) if log_dv else dv
    seen = records.is_observation & ~records.is_censored & ~records.is_above
    places = np.flatnonzero(seen & (records["DVID"].filled(1) == 1))
    if len(places) < 3:
        return
    *_, second, largest = places[np.argsort(dv[places])]
    if 0 < _FARTHER * dv[second] < dv[largest]:
        records.report(
            int(largest),
            "DV",
            f"is {{value}}, {dv[largest] / dv[second]:.0f} times as high as any other observation.",
            remedy="Check its unit and the decimal mark.",
            severity="warning",
        )

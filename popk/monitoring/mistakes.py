"""Whether a mistake in the records explains a patient's data much better than the records do.

A mistake is the same data set with something else in it: concentrations in another unit, a sample
drawn after the infusion. Its marginal likelihood, by the patient kernel, is set against that of
the records as they are. A mistake of unit is the more probable before the data where doses, or
intervals between them, that are unlike those of the fit's data would be like them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from popk.dataset import Dataset
from popk.individual.partial import partial_of
from popk.monitoring.case import Case, Domain
from popk.monitoring.kernel import weigh

__all__ = ["MISTIMED", "UNIT", "Mistake", "log_evidence_of", "sample_times", "units"]

type Floats = NDArray[np.float64]

UNIT = 0.002  # probability of each mistake of unit before the data
MENDING = 10.0  # … times this where it brings doses or intervals back to those of the fit's data
MISTIMED = 0.01  # … of a sample on the other side of the dose beside it
NEAR = 0.1  # a sample within this part of the usual interval of a dose may stand on its wrong side
_TRIED = 4  # samples whose time is doubted


@dataclass(frozen=True)
class Mistake:
    """The records as they may have been meant.

    ``what`` completes "the data are far more likely if …"; ``dataset`` are the records then;
    ``log_jacobian`` of the observations' change of unit. ``observation`` is the position of the
    one concerned, -1 for all. ``mends``: doses or intervals between them, far from those of the
    fit's data as recorded, are then among them.
    """

    what: str
    dataset: Dataset
    log_jacobian: float = 0.0
    observation: int = -1
    mends: bool = False

    @property
    def prior(self) -> float:
        """Probability before the data."""
        if self.observation >= 0:
            return MISTIMED
        return UNIT * MENDING if self.mends else UNIT


def log_evidence_of(case: Case, mistake: Mistake) -> float:
    """Log of the marginal likelihood of the records under a mistake, -inf where impossible."""
    patient = partial_of(case.population, mistake.dataset)[0].patient
    return weigh(case.population, patient, case.rng).evidence + mistake.log_jacobian


def units(case: Case, domain: Domain) -> Iterator[Mistake]:
    """Mistakes of unit: concentrations, doses, times, weight."""
    table, unit = case.dataset.table, case.model.units
    quantified = case.partial.patient.observed.status == 0
    for factor, said in (
        (1e-3, "a thousand times too large, as ug/L (ng/mL) for mg/L"),
        (1e3, "a thousand times too small, as g/L for mg/L"),
    ):
        yield Mistake(
            f"the concentrations are {said}: expected {unit.concentration}",
            _with(case.dataset, {name: factor * table[name].values
                                 for name in ("DV", "LLOQ", "ULOQ") if name in table}),
            float(quantified.sum() * np.log(factor)),
        )  # fmt: skip
    rate = table["RATE"].values
    for factor, said in (
        (1e3, "a thousand times too small, as g for mg"),
        (1e-3, "a thousand times too large, as ug for mg"),
    ):
        changed = {"AMT": factor * table["AMT"].values, "RATE": _scaled(rate, factor)}
        yield Mistake(
            f"the doses are {said}: expected {unit.amount}",
            _with(case.dataset, changed),
            mends=_mends(case.present.amount, factor, domain.amounts),
        )
    for factor, said in (
        (7.0, "weeks for days"),
        (24.0, "days for hours"),
        (1 / 7.0, "days for weeks"),
        (1 / 24.0, "hours for days"),
    ):
        if not _fits_time(unit.time, said):
            continue
        times = {name: factor * table[name].values for name in ("TIME", "II")}
        times["RATE"] = _scaled(rate, 1 / factor)
        yield Mistake(
            f"the times are {said}: expected {unit.time}",
            _with(case.dataset, times),
            mends=_mends(case.doses.usual_interval, factor, domain.intervals),
        )
    if "WT" in case.dataset.covariates and unit.covariate("WT") == "kg":
        pounds = {"WT": table["WT"].values / POUNDS}
        yield Mistake("WT is in pounds: expected kg", _with(case.dataset, pounds))


POUNDS = 2.2046
_APART = 1.5  # times beyond a range: no longer like it


def _mends(value: float, factor: float, known: tuple[float, float]) -> bool:
    """Whether a value is unlike those known, and like them in the other unit; NaN is neither."""
    low, high = known[0] / _APART, known[1] * _APART
    return (value < low or value > high) and low <= factor * value <= high


def sample_times(case: Case, doubted: NDArray[np.bool_]) -> Iterator[Mistake]:
    """Observations (of the ``doubted`` ones) on the other side of the dose beside them."""
    if case.restarts:
        return
    usual, found = case.doses.usual_interval, 0
    near = NEAR * (usual if np.isfinite(usual) else case.longest)
    for k in np.flatnonzero(doubted).tolist():
        if found == _TRIED:
            return
        moved = _moved(case, float(case.times[k]), near)
        if moved is None:
            continue
        time, said = moved
        found += 1
        yield Mistake(said, _resampled(case.dataset, k, time), observation=k)


def _moved(case: Case, time: float, near: float) -> tuple[float, str] | None:
    """Where a sample may have been drawn instead, and in words."""
    doses, unit = case.doses, case.model.units.time
    coming = np.flatnonzero((doses.time >= time) & (doses.time <= time + near))
    if len(coming):
        k = int(coming[0])
        end = doses.time[k] + max(float(doses.duration[k]), 1e-3 * near)
        return end, f"it was drawn just after the dose at TIME {doses.time[k]:g} {unit}, not before"
    given = np.flatnonzero((doses.time < time) & (doses.time >= time - near))
    if len(given):
        at = float(doses.time[int(given[-1])])
        before = at - 1e-6 * max(1.0, near)
        return before, f"it was drawn just before the dose at TIME {at:g} {unit}, not after"
    return None


def _resampled(dataset: Dataset, number: int, time: float) -> Dataset:
    """The same records, one observation at another time."""
    times = dataset.table["TIME"].values.copy()
    times[int(np.flatnonzero(dataset.is_observation)[number])] = time
    order = np.argsort(times, kind="stable")
    changed = _with(dataset, {"TIME": times})
    return replace(changed, table=changed.table.isel(record=order))


def _scaled(rate: Floats, factor: float) -> Floats:
    """Rates of infusions; what stands for a parameter of the model (below 0) stays."""
    return np.where(np.nan_to_num(rate) > 0, factor * rate, rate)


def _fits_time(unit: str, said: str) -> bool:
    expected = {"d": "for days", "h": "for hours", "wk": "for weeks"}
    return unit in expected and said.endswith(expected[unit])


def _with(dataset: Dataset, values: dict[str, Floats]) -> Dataset:
    changed = {
        name: xr.DataArray(value, dims="record", attrs=dataset.table[name].attrs)
        for name, value in values.items()
    }
    return replace(dataset, table=dataset.table.assign(changed))

"""One patient as the checks read it, and what the fit's own data looked like."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from popk.dataset import Dataset
from popk.individual.forecast import Present
from popk.individual.partial import Partial
from popk.model import PopModel
from popk.population import PopulationDraws
from popk.structure.events import KIND, RESET

__all__ = ["Case", "Domain", "Doses", "domain_of", "doses_of"]

type Floats = NDArray[np.float64]

_CATEGORIES = frozenset({"categorical", "fold", "custom"})  # levels, which have no range
_OF_DOSES = ("TIME", "ADDL", "II", "AMT", "RATE")


@dataclass(frozen=True)
class Doses:
    """Doses (n) of one subject, those that ADDL stands for written out, in the units of the data.

    ``duration`` is 0 of a bolus, and where a parameter of the model says it.
    """

    time: Floats
    amount: Floats
    duration: Floats

    @property
    def usual_interval(self) -> float:
        """Median interval between doses; NaN with a single one."""
        gaps = np.diff(self.time)
        gaps = gaps[gaps > 0]
        return float(np.median(gaps)) if len(gaps) else float("nan")


@dataclass(frozen=True)
class Domain:
    """Where the model has been: lowest and highest of what it was made with.

    ``covariates`` by name, with where the range is from; ``amounts`` of doses above zero and
    ``intervals`` (the usual one of each subject) of the fit's data, NaN where there are none.
    """

    covariates: Mapping[str, tuple[float, float, str]]
    amounts: tuple[float, float]
    intervals: tuple[float, float]


@dataclass(frozen=True)
class Case:
    """What the checks know of one patient.

    ``population`` holds the draws that the checks use; ``records`` are those of several patients,
    of whom this is number ``index``; ``longest`` is the longest candidate interval in the data's
    unit of time.
    """

    population: PopulationDraws
    partial: Partial
    records: Dataset
    present: Present
    doses: Doses
    longest: float
    rng: np.random.Generator
    index: int = 0

    @cached_property
    def dataset(self) -> Dataset:
        """The patient's records alone."""
        subject = self.partial.patient.subject
        return replace(
            self.records,
            table=self.records.table.isel(record=rows_of(self.records, self.index)),
            imputed=tuple(value for value in self.records.imputed if value.id == subject),
        )

    def column(self, name: str) -> NDArray[Any]:
        """A column of the patient's records (n_records)."""
        values = self.records.table[name].values[rows_of(self.records, self.index)]
        return np.asarray(values)

    @cached_property
    def is_observation(self) -> NDArray[np.bool_]:
        """Which of the patient's records are observations (n_records)."""
        return np.asarray(self.records.is_observation[rows_of(self.records, self.index)])

    @property
    def model(self) -> PopModel:
        """The model."""
        return self.population.model

    @cached_property
    def times(self) -> Floats:
        """TIME of each observation (n)."""
        return np.asarray(self.column("TIME")[self.is_observation], float)

    @property
    def rows(self) -> NDArray[np.int64]:
        """Row in the source of each observation (n)."""
        return np.asarray(self.column("record")[self.is_observation])

    @property
    def since_dose(self) -> Floats:
        """Time from the last earlier dose to each observation (n); NaN where there is none."""
        place = np.searchsorted(self.doses.time, self.times, side="left") - 1
        earlier = self.doses.time[np.maximum(place, 0)]
        return np.where(place >= 0, self.times - earlier, np.nan)

    @property
    def restarts(self) -> bool:
        """Whether the patient's compartments are emptied on the way (EVID 3 or 4)."""
        return bool(np.any(self.partial.events.code[1:, KIND] == RESET))

    def where(self, k: int) -> str:
        """Observation ``k`` in words: value, time and row, with units."""
        units, observed = self.model.units, self.partial.patient.observed
        sign = {1: "below ", -1: "above "}.get(int(observed.status[k]), "")
        return (
            f"{sign}{float(observed.dv[k]):.3g} {units.concentration} at TIME "
            f"{self.times[k]:g} {units.time} (row {self.rows[k]})"
        )


def rows_of(dataset: Dataset, index: int) -> slice:
    """The records of one subject."""
    starts = dataset.starts
    return slice(int(starts[index]), int(starts[index + 1]) if index + 1 < len(starts) else None)


def doses_of(dataset: Dataset) -> list[Doses]:
    """Every dose above zero of each subject, in order of time."""
    columns = {name: dataset.table[name].values for name in ("EVID", *_OF_DOSES)}
    pieces = (rows_of(dataset, k) for k in range(dataset.n_subjects))
    return [_doses({n: column[rows] for n, column in columns.items()}) for rows in pieces]


def _doses(table: Mapping[str, NDArray[Any]]) -> Doses:
    evid = table["EVID"]
    given = ((evid == 1) | (evid == 4)) & (np.nan_to_num(table["AMT"]) > 0)
    columns = (table[name][given] for name in _OF_DOSES)
    time, more, interval, amount, rate = (np.asarray(column, dtype=float) for column in columns)
    count = np.nan_to_num(more).astype(np.int64) + 1
    source = np.repeat(np.arange(len(time)), count)
    number = np.arange(len(source)) - np.repeat(np.cumsum(count) - count, count)
    when = np.asarray(time[source] + number * np.nan_to_num(interval[source]), dtype=float)
    duration = np.where(rate > 0, amount / np.where(rate > 0, rate, 1.0), 0.0)[source]
    order = np.argsort(when, kind="stable")
    return Doses(when[order], amount[source][order], duration[order])


@lru_cache(maxsize=4)
def domain_of(model: PopModel, own: Dataset) -> Domain:
    """What the data of a fit, and the card of a published model, cover.

    Of a few that came last it is known already.
    """
    stated = {} if model.card is None else {n: (a, b) for n, a, b in model.card.domain}
    graded = {
        name
        for effect in model.covariates
        if effect.kind not in _CATEGORIES
        for name in effect.covariates
    }
    covariates: dict[str, tuple[float, float, str]] = {}
    for name in sorted(graded):
        seen = own.table[name].values if name in own.table else np.zeros(0)
        seen = seen[np.isfinite(seen)]
        ends = [*seen.tolist(), *stated.get(name, ())]
        if not ends:
            continue
        parts = [f"the fit's {own.n_subjects} subjects"] if len(seen) else []
        parts += ["the model's card"] if name in stated else []
        covariates[name] = (min(ends), max(ends), " and ".join(parts))
    whole = doses_of(own)
    usual = np.array([one.usual_interval for one in whole])
    amounts = np.concatenate([one.amount for one in whole]) if whole else np.zeros(0)
    return Domain(covariates, _ends(amounts), _ends(usual[np.isfinite(usual)]))


def _ends(values: Floats) -> tuple[float, float]:
    if not len(values):
        return float("nan"), float("nan")
    return float(values.min()), float(values.max())

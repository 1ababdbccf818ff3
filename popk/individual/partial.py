"""A patient of whom only some observations are known, or only the past."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from popk.dataset import Dataset
from popk.design import design_of
from popk.individual.patient import Patient, patients_of
from popk.population import PopulationDraws
from popk.statistics import Observed
from popk.structure import Events, Solver
from popk.structure.events import KIND, OBSERVE, OUTPUT

__all__ = ["Partial", "held_from", "only", "partial_of", "past_of"]

type Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Partial:
    """One patient, and its events from which observations can be taken away."""

    patient: Patient
    events: Events

    @property
    def n_observations(self) -> int:
        """Number of the patient's observations."""
        return len(self.patient.observed.dv)

    def seeing(self, kept: Bools) -> Patient:
        """The patient with those observations only that are ``kept`` (n_observations).

        Doses, covariates and occasions stay. Where residuals are correlated in time, an observation
        follows the last one that is kept, over the whole time since: what is left out of such a
        chain (an Ornstein-Uhlenbeck process) is thereby integrated out.
        """
        if kept.all():
            return self.patient
        code = self.events.code
        seen = np.ones(len(code), dtype=bool)
        seen[code[:, KIND] == OBSERVE] = kept
        code = code[seen]
        code[code[:, KIND] == OBSERVE, OUTPUT] = np.arange(int(kept.sum()))
        first = np.array([0, len(code)], dtype=np.int64)
        events = Events(first, self.events.rows, self.events.number[seen], code)
        solver = Solver(self.patient.solver.structure, events, threads=1)
        return replace(self.patient, solver=solver, observed=only(self.patient.observed, kept))


def only(observed: Observed, kept: Bools) -> Observed:
    """Some of a patient's observations, each following the last one of its chain that is kept."""
    place = np.cumsum(kept) - 1
    back, since = observed.back.copy(), observed.since.copy()
    for k in np.flatnonzero(observed.back).tolist():
        before, time = k - observed.back[k], float(observed.since[k])
        while not kept[before] and observed.back[before]:
            time += float(observed.since[before])
            before -= observed.back[before]
        follows = bool(kept[before])
        back[k] = place[k] - place[before] if follows else 0
        since[k] = time if follows else 1.0
    chained = observed._replace(back=back, since=since)
    return Observed._make(np.asarray(column)[kept] for column in chained)


def partial_of(population: PopulationDraws, dataset: Dataset) -> list[Partial]:
    """The patients of a dataset whose fit to the model has been checked."""
    events = design_of(population.model, dataset).events
    patients = patients_of(population, dataset, threads=1)
    return [Partial(patient, events.subject(k)) for k, patient in enumerate(patients)]


def past_of(dataset: Dataset, number: int, *, covariates_known: bool = False) -> Dataset:
    """One subject's records up to one of its observations, as they could be known before it.

    Parameters
    ----------
    dataset
        Data of one subject.
    number
        The observation to be predicted, counted from 0. Doses and times up to it are given.
    covariates_known
        False: covariates that change stay, after the observation before it (after the first record,
        where there is none), as they were then. True: they are those that were recorded.
    """
    records = np.flatnonzero(dataset.is_observation)
    last = int(records[number])
    now = int(records[number - 1]) if number else 0
    past = replace(dataset, table=dataset.table.isel(record=slice(0, last + 1)))
    return past if covariates_known else held_from(past, now)


def held_from(dataset: Dataset, record: int) -> Dataset:
    """One subject's records with covariates that stay as they are at one of them, counted from 0.

    Doses, times, occasions and observations are those recorded.
    """
    changed = {}
    for name in dataset.covariates:
        values = dataset.table[name].values.copy()
        values[record + 1 :] = values[record]
        changed[name] = xr.DataArray(values, dims="record", attrs=dataset.table[name].attrs)
    return replace(dataset, table=dataset.table.assign(changed))

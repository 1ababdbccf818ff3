"""Regimens: doses that repeat, for simulation and dose finding."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr

from popk.dataset import Dataset
from popk.errors import SettingError
from popk.units import Units

__all__ = ["Regimen"]


@dataclass(frozen=True, kw_only=True)
class Regimen:
    """Equal doses at equal intervals, in the units of the data they are used with.

    Parameters
    ----------
    amount
        Amount of each dose.
    interval
        Time from one dose to the next.
    repeats
        Number of doses.
    duration
        Duration of the infusion; 0 is a bolus.
    start
        Time of the first dose.
    compartment
        Compartment dosed, counted from 1.

    Raises
    ------
    SettingError
        When a number makes no sense, in a sentence.
    """

    amount: float
    interval: float
    repeats: int = 1
    duration: float = 0.0
    start: float = 0.0
    compartment: int = 1

    def __post_init__(self) -> None:
        for name, lowest in (("amount", 0.0), ("interval", 0.0)):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > lowest):
                raise SettingError(f"The regimen's {name} is {value!r}; give a number above zero.")
        if not (math.isfinite(self.duration) and self.duration >= 0):
            raise SettingError(f"The regimen's duration is {self.duration!r}; give zero or more.")
        if not math.isfinite(self.start):
            raise SettingError(f"The regimen's start is {self.start!r}; give a number.")
        if not float(self.repeats).is_integer() or self.repeats < 1:
            raise SettingError(f"The regimen repeats {self.repeats!r} times; give 1, 2, 3 ….")
        if not float(self.compartment).is_integer() or self.compartment < 1:
            raise SettingError(
                f"The regimen's compartment is {self.compartment!r}; give 1 for the first."
            )

    def dataset(
        self,
        subjects: pd.DataFrame | Sequence[object],
        times: Sequence[float],
        *,
        units: Mapping[str, str] | Units,
        carry: str | None = None,
    ) -> Dataset:
        """Every subject on this regimen, with predictions asked for at the given times.

        Parameters
        ----------
        subjects
            IDs, or a frame whose index holds the IDs and whose columns are covariates (as
            `Dataset.covariate_table` gives).
        times
            Times of prediction. At the time of a dose, the prediction is just before it (a trough).
        units
            Units of the numbers and of the covariates, as for `popk.read_dataset`.
        carry
            The data set's rule for covariates that change (`popk.read_dataset`); here none does.

        Raises
        ------
        SettingError
            When there is no subject or one is named twice, a time is not a number, or a covariate
            has no unit or a missing value.
        UnitError
            When a unit is unknown or one of the three basic ones is missing.
        """
        units = Units.parse(units)
        frame = subjects if isinstance(subjects, pd.DataFrame) else None
        identifiers = [str(name) for name in (frame.index if frame is not None else subjects)]
        _check_subjects(identifiers)
        covariates = () if frame is None else _covariates(frame, units)
        times = sorted(float(time) for time in times)
        if not all(map(math.isfinite, times)):
            raise SettingError(f"The times of prediction are {times}; each must be a number.")
        doses = self.start + self.interval * np.arange(self.repeats)
        events = [(time, 0, 0.0) for time in times] + [(t, 1, self.amount) for t in doses]
        events.sort(key=lambda event: event[:2])
        rows = len(events) * len(identifiers)
        dose = np.array([event[1] == 1 for event in events] * len(identifiers))
        rate = self.amount / self.duration if self.duration else 0.0
        nan = np.full(rows, np.nan)
        columns: dict[str, object] = {
            "ID": np.repeat(identifiers, len(events)),
            "TIME": np.tile([event[0] for event in events], len(identifiers)),
            "EVID": dose.astype(int),
            "AMT": np.where(dose, self.amount, 0.0),
            "RATE": np.where(dose, rate, 0.0),
            "ADDL": np.zeros(rows, int),
            "II": np.zeros(rows),
            "SS": np.zeros(rows, int),
            "CMT": np.where(dose, self.compartment, 0),
            "DV": nan,
            "MDV": np.ones(rows, int),
            "CENS": np.zeros(rows, int),
            "LLOQ": nan,
        }
        for name in covariates:
            assert frame is not None
            columns[name] = np.repeat(frame[name].to_numpy(dtype=float), len(events))
        table = xr.Dataset(
            {name: ("record", value) for name, value in columns.items()},
            coords={"record": np.arange(1, rows + 1)},
        )
        return Dataset(table, units, covariates, carry=carry)


def _check_subjects(identifiers: Sequence[str]) -> None:
    if not identifiers:
        raise SettingError("The regimen was given no subject; give at least one ID.")
    twice = sorted({name for name in identifiers if identifiers.count(name) > 1})
    if twice:
        raise SettingError(f"The list of subjects names {', '.join(twice)} twice; give each once.")


def _covariates(frame: pd.DataFrame, units: Units) -> tuple[str, ...]:
    """The frame's columns, once it is certain that they can be covariates."""
    for name in frame.columns:
        if units.covariate(str(name)) is None:
            raise SettingError(
                f"The covariate {name} has no unit; add it to units, or drop the column."
            )
        lacking = frame.index[frame[name].isna()]
        if len(lacking):
            raise SettingError(f"The covariate {name} of subject {lacking[0]} is missing.")
    return tuple(str(name) for name in frame.columns)

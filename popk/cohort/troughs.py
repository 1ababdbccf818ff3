"""Which samples of a cohort are troughs, and which of them one model of troughs describes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from popk.dataset import Dataset
from popk.dataset.dosing_times import NEAR_THE_NEXT, dosing_times
from popk.errors import SettingError
from popk.units import Units

__all__ = ["Troughs", "find_troughs"]

type Floats = NDArray[np.float64]

_BESIDE = 0.125  # of the interval: how far from it a trough still belongs to it


@dataclass(frozen=True, eq=False)
class Troughs:
    """The troughs of a cohort.

    Attributes
    ----------
    table
        One row for each trough: ``ID``, ``visit`` (of the patient, from 1), ``years`` since the
        first dose, ``weeks`` since the last dose, ``DV``, ``CENS``, ``LLOQ`` and ``modelled``,
        whether it is at the interval that is described.
    interval
        That interval, in weeks.
    n_observations, n_replicates
        All observations; and further samples at the time of a trough, of which only the first is
        used.
    units
        Of the data.
    """

    table: pd.DataFrame
    interval: float
    n_observations: int
    n_replicates: int
    units: Units

    @property
    def modelled(self) -> pd.DataFrame:
        """The rows at the interval that is described."""
        return self.table[self.table["modelled"]].reset_index(drop=True)

    @property
    def words(self) -> str:
        """What was counted, in a sentence."""
        used = self.modelled
        low, high = used["weeks"].min(), used["weeks"].max()
        others = self.n_observations - self.n_replicates - len(self.table)
        return (
            f"{used['ID'].nunique()} patients, {len(used)} troughs {low:.3g} to {high:.3g} weeks "
            f"after the dose, {int((used['CENS'] == 1).sum())} of them BLQ. Left out: "
            f"{len(self.table) - len(used)} troughs at other intervals, {others} samples that are "
            f"no troughs, {self.n_replicates} further samples at the time of a trough."
        )


def find_troughs(
    dataset: Dataset, *, interval: float | None = None, tolerance: float = NEAR_THE_NEXT
) -> Troughs:
    """The troughs of a data set.

    A trough is the last sample before a dose when at most ``tolerance`` of the dosing interval was
    left; after the last dose of all, the interval is taken to be as long as the one before.

    Parameters
    ----------
    dataset
        From `popk.read_dataset`.
    interval
        The dosing interval, in weeks, whose troughs are described (those within an eighth of it);
        the commonest if None.
    tolerance
        Share of the dosing interval that may be left at a trough.

    Raises
    ------
    SettingError
        When a setting makes no sense, several outputs are observed, a quantified trough is not
        above zero, or there is no trough.
    """
    if not 0 <= tolerance < 1:
        raise SettingError(f"tolerance is {tolerance!r}; give a share of the interval, as 0.1.")
    if interval is not None and not (np.isfinite(interval) and interval > 0):
        raise SettingError(f"interval is {interval!r}; give weeks above zero, as 4.")
    frame, n_observations = _samples(dataset, tolerance)
    first = ~frame.duplicated(["ID", "last dose"])
    replicates = int((~first).sum())
    frame = frame[first].reset_index(drop=True)
    weeks = frame["weeks"].to_numpy()
    chosen = _commonest(weeks) if interval is None else float(interval)
    frame["modelled"] = np.abs(weeks / chosen - 1) <= _BESIDE
    if not frame["modelled"].any():
        raise SettingError(
            f"No trough is {chosen:g} weeks after a dose; they are at {weeks.min():.3g} to "
            f"{weeks.max():.3g} weeks. Give another interval."
        )
    frame["visit"] = frame.groupby("ID", sort=False).cumcount() + 1
    kept = frame.drop(columns=["last dose"])
    return Troughs(kept, chosen, n_observations, replicates, dataset.units)


def _samples(dataset: Dataset, tolerance: float) -> tuple[pd.DataFrame, int]:
    """The last samples before a dose, those of one time together; and the number of all samples."""
    seen, table, units = dataset.is_observation, dataset.table, dataset.units
    if "DVID" in table and len(outputs := np.unique(table["DVID"].values[seen])) > 1:
        raise SettingError(
            f"The data observe several outputs (DVID {', '.join(map(str, outputs.tolist()))}); "
            "give a data set of the concentration alone."
        )
    when = dosing_times(dataset)
    frame = pd.DataFrame(
        {name: table[name].values[seen] for name in ("ID", "TIME", "DV", "CENS", "LLOQ")}
    )
    begun = _first_doses(dataset)
    frame["row"] = table["record"].values[seen]
    frame["years"] = (frame["TIME"] - frame["ID"].map(begun)) / units.time_in("a")
    frame["weeks"] = when.since / units.time_in("wk")
    frame["last dose"] = np.round(frame["TIME"] - when.since, 9)
    with np.errstate(invalid="ignore"):
        near = when.since >= (1 - tolerance) * when.interval
    total, frame = len(frame), frame[near]
    if frame.empty:
        raise SettingError(
            "The data hold no troughs: no sample was taken in the last "
            f"{100 * tolerance:g} % of a dosing interval. Raise tolerance, or check the times."
        )
    latest = frame.groupby(["ID", "last dose"], sort=False)["TIME"].transform("max")
    frame = frame[frame["TIME"] == latest]
    wrong = frame[frame["DV"] <= 0]
    if len(wrong):
        one = wrong.iloc[0]
        raise SettingError(
            f"Row {one['row']}, ID {one['ID']}: DV is {one['DV']:g}, which has no logarithm; mark "
            "it as below the limit (CENS 1, with its LLOQ)."
        )
    return frame.drop(columns=["TIME", "row"]), total


def _first_doses(dataset: Dataset) -> dict[str, float]:
    """Time of each subject's first dose."""
    table = dataset.table
    gives = np.isin(table["EVID"].values, (1, 4))
    times = pd.Series(table["TIME"].values[gives]).groupby(table["ID"].values[gives]).min()
    return {str(name): float(value) for name, value in times.items()}


def _commonest(weeks: Floats) -> float:
    """Median of the densest group of intervals."""
    near = np.abs(weeks[None] / weeks[:, None] - 1) <= _BESIDE
    return float(np.median(weeks[near[int(np.argmax(near.sum(axis=1)))]]))

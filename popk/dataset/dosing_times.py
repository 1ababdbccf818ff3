"""When observations were made: how long after a dose, and whether just before the next one."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from popk.dataset.dataset import Dataset

__all__ = ["NEAR_THE_NEXT", "DosingTimes", "dosing_times"]

type Floats = NDArray[np.float64]
type Bools = NDArray[np.bool_]

NEAR_THE_NEXT = 0.1  # of a dosing interval: what is left of it at a trough, at most


class DosingTimes(NamedTuple):
    """Of each observation (n_observations), in record order.

    Attributes
    ----------
    since
        Time after the last dose, in the data's unit of time; NaN before any.
    trough
        Whether at most a tenth of the dosing interval was left. After the last dose of all, the
        interval is taken to be as long as the one before it.
    interval
        Length of the dosing interval that the observation is in, taken likewise; NaN before any
        dose, and where only one was given.
    """

    since: Floats
    trough: Bools
    interval: Floats


def dosing_times(dataset: Dataset) -> DosingTimes:
    """Time after dose, doses implied by ADDL included, and which observations are troughs.

    A dose on a record before the observation's, or implied by ADDL, comes before an observation
    at its time; what was given before a reset (EVID 3 or 4) does not count after it.
    """
    columns = ("TIME", "EVID", "ADDL", "II")
    time, evid, more, gap = (dataset.table[name].values for name in columns)
    begins = np.isin(evid, (3, 4))
    begins[dataset.starts] = True
    run = np.cumsum(begins)
    seen = np.asarray(dataset.is_observation)
    since = np.full(len(time), np.nan)
    trough = np.zeros(len(time), dtype=bool)
    interval = np.full(len(time), np.nan)
    for which in np.unique(run[seen]):
        rows = np.flatnonzero(run == which)
        given, order = _doses(rows[np.isin(evid[rows], (1, 4))], time, more, gap)
        for k in rows[seen[rows]].tolist():
            before = (given < time[k]) | ((given == time[k]) & (order < k))
            n = int(before.sum())  # the doses stand in the order of time
            if n:
                since[k] = time[k] - given[n - 1]
                interval[k] = _interval(given, n)
                nearly = given[n - 1] + (1 - NEAR_THE_NEXT) * interval[k]
                trough[k] = time[k] >= nearly
    return DosingTimes(since[seen], trough[seen], interval[seen])


def _doses(
    rows: NDArray[np.int64], time: Floats, more: Floats, gap: Floats
) -> tuple[Floats, NDArray[np.int64]]:
    """Times of all doses, ascending, with the record of each; -1 for those implied by ADDL."""
    times, order = [np.zeros(0)], [np.zeros(0, dtype=np.int64)]
    for k in rows.tolist():
        n = 1 + int(np.nan_to_num(more[k]))
        times.append(time[k] + np.arange(n) * np.nan_to_num(gap[k]))
        order.append(np.where(np.arange(n) == 0, k, -1))
    found, record = np.concatenate(times), np.concatenate(order)
    by_time = np.lexsort((record, found))
    return found[by_time], record[by_time]


def _interval(given: Floats, n: int) -> float:
    """Length of the interval after the n-th dose; NaN where there is none."""
    if n < len(given):
        found = given[n] - given[n - 1]
    elif n > 1:
        found = given[n - 1] - given[n - 2]
    else:
        return float("nan")
    return float(found) if found > 0 else float("nan")

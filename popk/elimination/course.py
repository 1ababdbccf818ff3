"""The fall of a concentration after a dose: its half-life at each moment and at each level.

The half-life at a moment is ln 2 / (-d ln C / dt): how long the concentration would take to halve
if it went on falling at that rate. The derivative is a central difference of the engine's
solutions. It is well conditioned: the engine ends a step at every reading, so that two readings
close together differ by what one short step adds, whatever error the course had made before.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from popk.decision.scenarios import Future, concentrations_under, duration_of, reading_times
from popk.decision.standing import Standing

__all__ = ["Fall", "at_levels", "fall_after", "levels_of"]

type Floats = NDArray[np.float64]

_POINTS = 140
_STEP = 1e-4  # of the time looked at: a difference is then right to some 1e-7 of itself
_FLAT = 1e-6  # of the time looked at: a rate below it is no fall


class Fall(NamedTuple):
    """A course after the last dose, of S draws.

    ``times`` (n) since the last dose, in the units of the data, without a further dose;
    ``values`` (S, n), the concentration; ``rates`` (S, n), -d ln C/dt, and ``half_lives`` (S, n),
    NaN where the concentration does not fall or drug is still infused. ``peaks`` (S), the highest
    concentration.
    """

    times: Floats
    values: Floats
    rates: Floats
    half_lives: Floats
    peaks: Floats


def fall_after(standing: Standing, horizon: float, asked: Floats) -> Fall:
    """The course from the last dose to the horizon.

    Parameters
    ----------
    standing
        A patient's draws, or those of people.
    horizon
        How long to look, in the units of the data.
    asked
        Times that must be among those read.
    """
    start, duration = standing.present.time, duration_of(standing)
    step = _STEP * horizon
    grid = reading_times(standing, start, start + horizon, _POINTS) - start
    times = np.unique(np.concatenate([grid, asked]))
    # Across the end of an infusion and a dose at once there is no derivative.
    smooth = times > duration + step
    inner = times[smooth]
    read = start + np.concatenate([times, inner - step, inner + step])
    (found,) = concentrations_under(standing, [Future(read)])
    values, before, after = np.split(found, [len(times), len(times) + len(inner)], axis=1)
    rates = np.full(values.shape, np.nan)
    with np.errstate(all="ignore"):
        rates[:, smooth] = np.log(before / after) / (2 * step)
        falling = rates > _FLAT / horizon
        half_lives = np.where(falling, np.log(2.0) / rates, np.nan)
    rates = np.where(np.isfinite(rates), rates, np.nan)
    peaks = np.where(np.isnan(values).any(axis=1), np.nan, values.max(axis=1))
    return Fall(times, values, rates, half_lives, peaks)


def levels_of(fall: Fall) -> Floats:
    """Round concentrations (n), falling, between the median peak and the median in the end."""
    top, end = float(np.nanmedian(fall.peaks)), float(np.nanmedian(fall.values[:, -1]))
    if not (np.isfinite(top) and top > 0):
        return np.zeros(0)
    end = max(end, top * 1e-3)
    decades = np.arange(np.floor(np.log10(end)), np.ceil(np.log10(top)) + 1)
    series = (np.array([1.0, 2.0, 5.0]) * 10.0 ** decades[:, None]).ravel()
    # A rounding error of a power of ten must not show in a table.
    series = np.array([float(f"{value:.0e}") for value in series])
    return series[(series < top) & (series > end)][::-1]


def at_levels(fall: Fall, levels: Floats) -> tuple[Floats, Floats]:
    """Half-life and time since the dose at which each draw falls through each level, (S, n).

    NaN where a draw does not fall through it in the time looked at. Where it does so twice, as
    while drug is still absorbed, the last time counts.
    """
    half_lives = np.full((len(fall.values), len(levels)), np.nan)
    times = np.full_like(half_lives, np.nan)
    with np.errstate(all="ignore"):
        logs = np.log(fall.values)
    for k, level in enumerate(np.log(levels)):
        above, below = logs[:, :-1] >= level, logs[:, 1:] < level
        crossing = above & below
        hit = crossing.any(axis=1)
        last = crossing.shape[1] - 1 - np.argmax(crossing[:, ::-1], axis=1)
        at = np.arange(len(logs))
        first, second = logs[at, last], logs[at, last + 1]
        with np.errstate(all="ignore"):
            part = (first - level) / (first - second)
            rate = fall.rates[at, last] * (1 - part) + fall.rates[at, last + 1] * part
            own = np.where(rate > _FLAT / fall.times[-1], np.log(2.0) / rate, np.nan)
        gone = fall.times[last] + part * (fall.times[last + 1] - fall.times[last])
        half_lives[:, k], times[:, k] = np.where(hit, own, np.nan), np.where(hit, gone, np.nan)
    return half_lives, times

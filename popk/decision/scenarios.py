"""What a patient's concentrations would be under several futures, all solved at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from popk.decision.standing import Standing
from popk.errors import SettingError
from popk.structure import Events, Solver
from popk.structure.events import (
    AMOUNT,
    COMPARTMENT,
    DOSE,
    INTERVAL,
    KIND,
    OBSERVE,
    OUTPUT,
    PLACE,
    RATE,
    REPEATS,
    ROW,
    STEADY,
    TIME,
    WHAT,
)

__all__ = ["BESIDE", "Future", "concentrations_under", "duration_of", "reading_times"]

type Floats = NDArray[np.float64]
type Ints = NDArray[np.int64]

BESIDE = 1e-6  # from a dose at once to the reading after it, relative to the later of 1 and it
_INSIDE = 5  # readings during an infusion


@dataclass(frozen=True)
class Future:
    """Doses to come and when the concentration is read, in the units of the data.

    Parameters
    ----------
    read
        Times of reading (n); at the time of a dose it is just before it.
    doses
        Times of the doses to come; none: the last dose is not followed by another.
    amounts
        Amount of each; the last dose's if None. An infusion keeps its duration.
    steady
        None, or the interval: instead of the history the patient is at the steady state of such
        doses, the last of them at time 0.
    """

    read: Floats
    doses: Floats = field(default_factory=lambda: np.zeros(0))
    amounts: Floats | None = None
    steady: float | None = None


def concentrations_under(standing: Standing, futures: Sequence[Future]) -> list[Floats]:
    """True concentrations (S, n) at the readings of each future; NaN where they are unsolved.

    The futures are solved as so many subjects, in one ensemble over the draws.

    Raises
    ------
    SettingError
        When a steady state is asked for that does not exist.
    """
    if any(future.steady is not None for future in futures):
        _check_steady(standing)
    built = [_events(standing, future) for future in futures]
    n_rows, first = standing.parameters.shape[1], [0]
    offset = 0
    for (_, code), future in zip(built, futures, strict=True):
        seen = code[:, KIND] == OBSERVE
        code[seen, OUTPUT] = offset + np.arange(len(future.read))
        offset += len(future.read)
        first.append(first[-1] + len(code))
    events = Events(
        np.array(first, dtype=np.int64),
        n_rows * np.arange(len(futures) + 1, dtype=np.int64),
        np.vstack([number for number, _ in built]),
        np.vstack([code for _, code in built]),
    )
    theta = np.concatenate([_own_rows(standing, future) for future in futures], axis=1)
    lost = np.isnan(theta).any(axis=(1, 2))
    # Draws that are no numbers stand for a patient without a result.
    value = np.full((standing.size, offset), np.nan)
    if not lost.all():
        value[~lost] = Solver(standing.model.structure, events).ensemble(theta[~lost]).value
    value = np.where(np.isfinite(value), value, np.nan)
    parts = np.split(value, np.cumsum([len(future.read) for future in futures])[:-1], axis=1)
    found = []
    for part, future in zip(parts, futures, strict=True):
        order = np.argsort(future.read, kind="stable")
        back = np.empty_like(part)
        back[:, order] = part
        found.append(back)
    return found


def duration_of(standing: Standing) -> float:
    """Duration of the last infusion; 0 of a dose at once, or where it is a parameter."""
    present = standing.present
    return present.amount / present.rate if present.rate > 0 else 0.0


def reading_times(standing: Standing, start: float, end: float, points: int) -> Floats:
    """Times (n) at which the course after a dose at ``start`` is read, ascending, up to ``end``.

    Denser after the dose, where concentrations change fast; in an infusion and at its end.
    """
    duration = duration_of(standing)
    beside = BESIDE * max(1.0, abs(start))
    begin = start + beside if standing.present.rate == 0 else start
    course = begin + (end - begin) * np.linspace(0.0, 1.0, points) ** 2
    inside = start + duration * np.linspace(0.0, 1.0, _INSIDE) if duration else np.zeros(0)
    return np.unique(np.concatenate([course, inside[inside <= end], [end]]))


def _own_rows(standing: Standing, future: Future) -> Floats:
    """The rows of parameters of a future (S, n_rows, m): at a steady state those to come."""
    if future.steady is None:
        return standing.parameters
    coming = standing.parameters[:, standing.present.coming, None]
    return np.broadcast_to(coming, standing.parameters.shape)


def _events(standing: Standing, future: Future) -> tuple[Floats, Ints]:
    """Events of one future; at the same time a reading comes before a dose."""
    present = standing.present
    reading_number, reading = _rows(np.sort(future.read))
    reading[:, KIND], reading[:, WHAT] = OBSERVE, present.output
    if future.steady is not None:
        (before_number, before), doses = _rows(np.zeros(0)), np.zeros(1)
    else:
        before_number, before = present.history.number, present.history.code
        doses = future.doses
        if len(doses) and present.coming != present.row:
            number, code = _switch(present.coming, float(doses[0]))
            before_number, before = np.vstack([before_number, number]), np.vstack([before, code])
    dose_number, dose = _rows(doses)
    amounts = np.full(len(doses), present.amount) if future.amounts is None else future.amounts
    dose_number[:, AMOUNT], dose_number[:, RATE] = amounts, present.rate
    if present.rate > 0:
        dose_number[:, RATE] = amounts / duration_of(standing)
    dose[:, KIND], dose[:, COMPARTMENT], dose[:, REPEATS] = DOSE, present.compartment, 1
    dose[:, PLACE], dose[:, OUTPUT] = present.coming, -1
    if future.steady is not None:
        dose[:, STEADY], dose_number[:, INTERVAL] = 1, future.steady
    number = np.vstack([reading_number, before_number, dose_number])
    code = np.vstack([reading, before, dose])
    order = np.argsort(number[:, TIME], kind="stable")
    return number[order], code[order]


def _rows(times: Floats) -> tuple[Floats, Ints]:
    number, code = np.zeros((len(times), 4)), np.zeros((len(times), 7), dtype=np.int64)
    number[:, TIME] = times
    return number, code


def _switch(row: int, time: float) -> tuple[Floats, Ints]:
    """From this time on, the parameters of a row."""
    number, code = _rows(np.array([time]))
    code[0, [KIND, PLACE, OUTPUT]] = ROW, row, -1
    return number, code


def _check_steady(standing: Standing) -> None:
    structure = standing.model.structure
    if structure.depends_on_time:
        raise SettingError(
            f"The rates of {type(structure).__name__} change with the time, so that there is no "
            "steady state; ask about the next interval (steady=False)."
        )

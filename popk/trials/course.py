"""Courses of infusions as events that the engine reads, many patients at once."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from popk.regimen import Regimen
from popk.structure import Events
from popk.structure.events import (
    AMOUNT,
    COMPARTMENT,
    DOSE,
    KIND,
    OBSERVE,
    OUTPUT,
    PLACE,
    RATE,
    REPEATS,
    ROW,
    TIME,
    WHAT,
)

__all__ = ["Infusion", "course", "restarted"]

type Floats = NDArray[np.float64]
type Ints = NDArray[np.int64]


class Infusion(NamedTuple):
    """The dose of every visit: amount, rate (0 at once) and compartment, counted from 0."""

    amount: float
    rate: float
    compartment: int

    @classmethod
    def of(cls, regimen: Regimen) -> Infusion:
        """That of a regimen."""
        rate = regimen.amount / regimen.duration if regimen.duration else 0.0
        return cls(regimen.amount, rate, regimen.compartment - 1)


def course(
    infusion: Infusion, given: Floats, times: Floats, what: Ints, *, occasions: bool = False
) -> Events:
    """Events of patients who have the infusion at some times and are observed at others.

    Parameters
    ----------
    infusion
        The dose.
    given
        Times of the infusions (n, n_infusions), NaN for none; ascending.
    times
        Times of observation (n, n_times), ascending; before an infusion at the same time.
    what
        Output of the structure that is observed, (n_times).
    occasions
        Whether the k-th infusion begins the k-th row of parameters, of ``n_infusions`` rows;
        otherwise there is one.
    """
    n, most = given.shape
    switches = given[:, 1:] if occasions else given[:, :0]
    time = np.concatenate([times, switches, given], axis=1)
    kinds = np.repeat([OBSERVE, ROW, DOSE], [times.shape[1], switches.shape[1], most])
    rows = np.arange(most) if occasions else np.zeros(most, dtype=np.int64)
    place = np.concatenate(
        [np.zeros(times.shape[1], np.int64), rows[1 : 1 + len(switches.T)], rows]
    )
    observed = np.concatenate([what, np.zeros(len(kinds) - len(what), np.int64)])
    order = np.argsort(time, axis=1, kind="stable")
    kept = np.isfinite(np.take_along_axis(time, order, axis=1))
    chosen = order[kept]
    number, code = np.zeros((len(chosen), 4)), np.zeros((len(chosen), 7), dtype=np.int64)
    number[:, TIME] = np.take_along_axis(time, order, axis=1)[kept]
    code[:, KIND], code[:, PLACE], code[:, WHAT] = kinds[chosen], place[chosen], observed[chosen]
    _dose(number, code, infusion)
    first = np.concatenate([[0], np.cumsum(kept.sum(axis=1))]).astype(np.int64)
    return Events(first, np.arange(n + 1) * (most if occasions else 1), number, code)


def restarted(
    infusion: Infusion, now: Floats, times: Floats, what: Ints, n_compartments: int
) -> Events:
    """Events of patients whose amounts at a time are known, and who have the infusion then.

    Of the structure of `popk.trials.states.WithState`, two rows of parameters each: the first has
    the amounts as bioavailabilities, the second is that of the infusion.

    Parameters
    ----------
    infusion
        The dose.
    now
        When it is given (n).
    times
        Times of observation (n, n_times), ascending.
    what
        Output that is observed, (n_times).
    n_compartments
        How many compartments there are.
    """
    n = len(now)
    kinds = np.repeat([DOSE, ROW, DOSE, OBSERVE], [n_compartments, 1, 1, times.shape[1]])
    lead = n_compartments + 2
    number, code = np.zeros((n * len(kinds), 4)), np.zeros((n * len(kinds), 7), dtype=np.int64)
    numbers, codes = number.reshape(n, -1, 4), code.reshape(n, -1, 7)  # views
    numbers[:, :lead, TIME], numbers[:, lead:, TIME] = now[:, None], times
    codes[..., KIND], codes[:, n_compartments:lead, PLACE] = kinds, 1
    codes[:, lead:, PLACE], codes[:, lead:, WHAT] = 1, what
    _dose(number, code, infusion)
    loads = np.zeros((n, len(kinds)), dtype=bool)
    loads[:, :n_compartments] = True
    number[loads.ravel(), AMOUNT], number[loads.ravel(), RATE] = 1.0, 0.0
    code[loads.ravel(), COMPARTMENT] = np.tile(np.arange(n_compartments), n)
    places = np.arange(n + 1, dtype=np.int64)
    return Events(places * len(kinds), places * 2, number, code)


def _dose(number: Floats, code: Ints, infusion: Infusion) -> None:
    """Fill in what doses and observations hold."""
    doses, observed = code[:, KIND] == DOSE, code[:, KIND] == OBSERVE
    number[doses, AMOUNT], number[doses, RATE] = infusion.amount, infusion.rate
    code[doses, COMPARTMENT], code[doses, REPEATS] = infusion.compartment, 1
    code[:, OUTPUT] = -1
    code[observed, OUTPUT] = np.arange(int(observed.sum()))

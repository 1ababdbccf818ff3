"""Structures with a closed form as functions of JAX, for NumPyro and its like.

The same closed forms as in the compiled solver (`popk.structure.engine.mammillary`), on arrays
with an entry for every subject, atom after atom. Derivatives by the parameters are the closed
forms' own, not those of the branches that compute them, so they are as exact where rates meet.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from popk.errors import SettingError
from popk.structure.base import Structure
from popk.structure.engine.compiled import is_dynamic
from popk.structure.engine.differences import Infusion
from popk.structure.engine.equations import Equations
from popk.structure.engine.lanes import ROWS_OF_TASK
from popk.structure.engine.mammillary import Mammillary, history
from popk.structure.engine.prepare import Schedule, prepare
from popk.structure.engine.schedule import (
    BOLUS,
    COMPARTMENT,
    COUNT,
    DURATION,
    ENDLESS,
    INTERVAL,
    JUMP,
    KIND,
    OUTPUT,
    PLACE,
    RATE,
    SINCE,
    SIZE,
    TIME,
    WHAT,
)
from popk.structure.events import OBSERVE, RESET, ROW, Events
from popk.structure.solve import check_theta

__all__ = ["check_jax", "jax_outputs", "outputs_of"]


def jax_outputs(structure: Structure, events: Events) -> Callable[[Any], Any]:
    """A cohort's outputs as a function that JAX can differentiate, compile and vectorise.

    Parameters
    ----------
    structure
        A structure with a closed form, whose doses have no parameters of their own.
    events
        The subjects' events, as `popk.structure.events_of` gives them.

    Returns
    -------
    A function from theta (n_rows, n_parameters), an array of JAX or NumPy in the structure's order
    and units, to the outputs (n_outputs), in the units and the order of the data.

    Raises
    ------
    SettingError
        When JAX is not installed or works in single precision, when the structure is of another
        kind, or when theta has another shape.

    Notes
    -----
    A run of doses over which the slowest rate decays by less than 1e-4 loses digits here (eight are
    left at that point); the compiled solver sums such runs in another way. Concentrations long
    after the last dose may underflow to 0: a likelihood of their logarithm needs a floor. Second
    derivatives are available with one and two compartments; with three their compilation takes many
    minutes.

    Source: the closed forms, see `popk.structure.engine.mammillary`.
    """
    check_jax(structure)
    return outputs_of(structure, prepare(structure, events))


def outputs_of(structure: Structure, schedule: Schedule) -> Callable[[Any], Any]:
    """The same from a schedule, nothing checked."""
    import jax
    import jax.numpy as jnp

    kernel = _Kernel(structure)
    table = _by_step(schedule, kernel.linear.size)
    steps = {name: jnp.asarray(values) for name, values in table.items()}
    rows = jnp.asarray(schedule.tasks[:, 1])
    where = _where_observed(schedule)
    n_subjects, size = len(schedule.tasks), kernel.linear.size

    n_rows = int(schedule.tasks[:, ROWS_OF_TASK].sum())

    def outputs(theta: Any) -> Any:
        theta = jnp.asarray(theta)
        # Where an index is too large, JAX would take the last row.
        check_theta(theta.shape, n_rows, structure)

        def step(state: Any, atom: Any) -> Any:
            amounts, running, now, place = state
            p = theta[rows + place]
            # A reset may set the time back.
            elapsed = jnp.maximum(atom["time"] - now, 0.0)
            columns = tuple(p[:, k] for k in range(p.shape[1]))
            amounts = jnp.stack(
                kernel.flow(columns, tuple(amounts.T), tuple(running.T), elapsed), axis=1
            )
            given = jnp.stack(
                kernel.jump(columns, tuple(atom["jump"].T), tuple(atom["run"].T)), axis=1
            )
            amounts = jnp.where(atom["empties"][:, None], 0.0, amounts + atom["bolus"] + given)
            running = jnp.where(atom["empties"][:, None], 0.0, running + atom["rate"])
            found = kernel.read(atom["time"], tuple(amounts.T), columns)
            place = jnp.where(atom["place"] >= 0, atom["place"], place)
            return (amounts, running, atom["time"], place), jnp.stack(found, axis=1)

        start = (
            jnp.zeros((n_subjects, size)),
            jnp.zeros((n_subjects, size)),
            steps["time"][0],
            jnp.zeros(n_subjects, dtype=rows.dtype),
        )
        _, found = jax.lax.scan(step, start, steps)
        return found[where]

    return outputs


class _Kernel:
    """The closed form on tuples of arrays, with its derivatives."""

    def __init__(self, structure: Structure) -> None:
        import jax

        assert structure.closed_form is not None
        n, absorption = structure.closed_form
        self.linear = Mammillary(n, absorption=absorption)
        self.equations = Equations(structure)
        self.flow = jax.custom_jvp(self._flow)
        self.flow.defjvp(self._flow_tangents)
        self.jump = jax.custom_jvp(self._jump)
        self.jump.defjvp(self._jump_tangents)

    def read(self, t: Any, amounts: Sequence[Any], p: Sequence[Any]) -> Sequence[Any]:
        return self.equations.read(t, amounts, p)

    def _functions(self, p: Any, elapsed: Any) -> Any:
        parameters = list(p)
        s = self.linear.spectrum(parameters)
        decay = self.linear.exponential(s, parameters, elapsed)
        return s, parameters, decay, Infusion(decay)

    def _applied(self, f: Any, s: Any, p: Any, source: Any) -> list[Any]:
        matrix = self.linear.matrix(f, s, p)
        return [
            sum(x * y for x, y in zip(row, source, strict=True) if x is not None) for row in matrix
        ]

    def _sloped(self, f: Any, s: Any, p: Any, source: Any, tangents: Any) -> list[Any]:
        slopes = self.linear.slopes(f, s, p, self.linear.source(list(source)))
        return [sum(x * y for x, y in zip(row, tangents, strict=False)) for row in slopes]

    def _flow(self, p: Any, amounts: Any, running: Any, elapsed: Any) -> tuple[Any, ...]:
        s, parameters, decay, lasting = self._functions(p, elapsed)
        first = self._applied(decay, s, parameters, amounts)
        second = self._applied(lasting, s, parameters, running)
        return tuple(x + y for x, y in zip(first, second, strict=True))

    def _flow_tangents(self, primals: Any, tangents: Any) -> Any:
        p, amounts, running, elapsed = primals
        dp, d_amounts, d_running, _ = tangents  # times are data
        s, parameters, decay, lasting = self._functions(p, elapsed)
        parts = (
            self._applied(decay, s, parameters, d_amounts),
            self._applied(lasting, s, parameters, d_running),
            self._sloped(decay, s, parameters, amounts, dp),
            self._sloped(lasting, s, parameters, running, dp),
        )
        change = tuple(sum(rows) for rows in zip(*parts, strict=True))
        return self._flow(*primals), change

    def _history(self, p: Any, run: Any) -> Any:
        parameters = list(p)
        s = self.linear.spectrum(parameters)
        interval, count, duration, since = run
        f = history(
            self.linear, s, parameters,
            interval=interval, count=count, duration=duration, since=since,
        )  # fmt: skip
        return s, parameters, f

    def _jump(self, p: Any, source: Any, run: Any) -> tuple[Any, ...]:
        s, parameters, f = self._history(p, run)
        return tuple(self._applied(f, s, parameters, source))

    def _jump_tangents(self, primals: Any, tangents: Any) -> Any:
        p, source, run = primals
        s, parameters, f = self._history(p, run)
        change = self._sloped(f, s, parameters, source, tangents[0])
        return self._jump(*primals), tuple(change)


def check_jax(structure: Structure, *, switch: Callable[[], None] = lambda: None) -> None:
    """Refuse what cannot be done by JAX: see `jax_outputs`.

    ``switch`` is called once the structure is known to be possible and JAX to be there, before its
    precision is looked at.
    """
    if structure.closed_form is None:
        raise SettingError(
            f"{structure!r} has no closed form; popk gives only structures with one to JAX. Sample "
            "it by Marginal or NUTS."
        )
    if is_dynamic(structure):
        names = ", ".join(parameter.name for parameter in structure.dosing.parameters)
        raise SettingError(
            f"The doses of {structure!r} have parameters ({names}); popk gives only structures "
            "whose doses are as recorded to JAX. Sample it by Marginal or NUTS."
        )
    try:
        import jax.numpy as jnp
    except ImportError:
        raise SettingError(
            'JAX is not installed; install it with popk\'s extra, pip install "popk[jax]".'
        ) from None
    switch()
    if jnp.zeros(1).dtype != np.float64:
        raise SettingError(
            "JAX works in single precision here, which loses the digits of small concentrations; "
            'call jax.config.update("jax_enable_x64", True) first.'
        )


def _by_step(schedule: Schedule, width: int) -> dict[str, Any]:
    """Atoms by step: (n_steps, n_subjects, ...); subjects with fewer end with nothing."""
    length = np.diff(schedule.first)
    shape = (int(length.max(initial=1)), len(length))
    table: dict[str, Any] = {
        "time": np.zeros(shape),
        "empties": np.zeros(shape, dtype=bool),
        "place": np.full(shape, -1),
        "bolus": np.zeros((*shape, width)),
        "rate": np.zeros((*shape, width)),
        "jump": np.zeros((*shape, width)),
        "run": np.ones((*shape, 4)),
    }
    table["run"][..., 2:] = 0.0
    for i, (low, high) in enumerate(zip(schedule.first[:-1], schedule.first[1:], strict=True)):
        numbers, codes = schedule.numbers[low:high], schedule.codes[low:high]
        k = np.arange(high - low)
        kind, c = codes[:, KIND], codes[:, COMPARTMENT]
        table["time"][: high - low, i] = numbers[:, TIME]
        table["time"][high - low :, i] = numbers[-1, TIME] if high > low else 0.0
        table["empties"][k, i] = kind == RESET
        table["place"][k, i] = np.where(kind == ROW, codes[:, PLACE], -1)
        for name, which in (("bolus", BOLUS), ("rate", RATE), ("jump", JUMP)):
            table[name][k, i, c] = np.where(kind == which, numbers[:, SIZE], 0.0)
        jumps = kind == JUMP
        count = np.where(codes[:, COUNT] == ENDLESS, np.inf, codes[:, COUNT].astype(float))
        run = np.stack(
            [numbers[:, INTERVAL], count, numbers[:, DURATION], numbers[:, SINCE]], axis=1
        )
        table["run"][k[jumps], i] = run[jumps]
    return table


def _where_observed(schedule: Schedule) -> tuple[Any, ...]:
    """Step, subject and kind of every output, in the order of the data."""
    subject = np.repeat(np.arange(len(schedule.tasks)), np.diff(schedule.first))
    step = np.arange(len(subject)) - schedule.first[:-1][subject]
    codes = schedule.codes
    observed = codes[:, KIND] == OBSERVE
    output = schedule.tasks[:, 2][subject] + codes[:, OUTPUT]
    order = np.argsort(output[observed])
    found = (step, subject, codes[:, WHAT])
    return tuple(np.asarray(part[observed][order]) for part in found)

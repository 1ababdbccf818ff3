"""The structure's operation for PyTensor's JAX backend.

Loading that backend takes seconds and switches JAX to double precision for the whole process (this
is PyTensor's doing, and what its own functions need), so that it happens when it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from popk.errors import SettingError
from popk.structure.base import Structure
from popk.structure.engine.lanes import BLOCK, RESULT, ROWS_OF_TASK
from popk.structure.engine.prepare import Schedule
from popk.structure.jax_route import check_jax, outputs_of

__all__ = ["register_for_jax"]


def register_for_jax(structure: Structure) -> None:
    """Let PyTensor's JAX backend translate the operation of a structure.

    Value and gradient are those of `popk.structure.jax_outputs`. Derivatives may be made by
    PyTensor or by JAX, but not second ones: PyTensor refuses these, and for JAX the gradient that
    PyTensor made is a constant. The arrays that describe the events must be constants of the graph,
    as ``popk.build(..., jax=True)`` makes them.

    Raises
    ------
    SettingError
        When JAX is not installed or was put into single precision, when the structure has no closed
        form, or its doses have parameters.
    """
    check_jax(structure, switch=_load_backend)


def _load_backend() -> None:
    from pytensor.link.jax.dispatch.basic import jax_funcify

    from popk.structure.op import Prediction

    if Prediction not in jax_funcify.registry:
        jax_funcify.register(Prediction)(_jax_prediction)


def _jax_prediction(op: Any, node: Any = None, **_: Any) -> Callable[..., Any]:
    from popk.structure.op import INPUTS

    known = dict(zip(INPUTS, node.inputs[1:], strict=True))
    needed = ("first", "numbers", "codes", "tasks", "output_of", "row_of")
    unknown = [name for name in needed if not hasattr(known[name], "data")]
    if unknown:
        raise SettingError(
            f"The events ({', '.join(unknown)}) are no constants of the graph, which JAX needs to "
            "know how many steps there are. Make the model by popk.build(model, dataset, jax=True)."
        )
    empty = np.zeros(0, dtype=np.int64)
    arrays = {name: np.asarray(known[name].data) for name in needed}
    schedule = Schedule(
        **arrays, traits=empty, subject_of=empty, rounds=empty, starts=empty, operations=empty,
        vectors=np.zeros((0, 0)),
    )  # fmt: skip
    both = _with_gradient(op.structure, schedule)

    def prediction(theta: Any, *_: Any) -> Any:
        return both(theta)

    return prediction


def _with_gradient(structure: Structure, schedule: Schedule) -> Callable[[Any], Any]:
    """Outputs (n_outputs) and gradient (n_slopes, n_parameters) of theta, by JAX.

    The derivatives by a parameter are those of all subjects at once, row after row of theirs.
    """
    import jax
    import jax.numpy as jnp

    outputs = outputs_of(structure, schedule)
    n_parameters = len(structure.names)
    directions = jnp.asarray(_directions(schedule, n_parameters))
    first_row = np.empty(len(schedule.output_of), dtype=np.int64)
    for task, end in zip(schedule.tasks, [*schedule.tasks[1:, RESULT], None], strict=True):
        own = schedule.output_of >= task[RESULT]
        if end is not None:
            own &= schedule.output_of < end
        first_row[own] = task[BLOCK]
    place = schedule.row_of - first_row

    def both(theta: Any) -> Any:
        # Second derivatives would be traced with every use, and take long.
        held = jax.lax.stop_gradient(theta)

        def along(direction: Any) -> Any:
            return jax.jvp(outputs, (held,), (direction,))[1]

        slopes = jax.vmap(jax.vmap(along))(directions)  # (place, parameter, output)
        return outputs(theta), slopes[place, :, schedule.output_of]

    return both


def _directions(schedule: Schedule, n_parameters: int) -> NDArray[np.float64]:
    """One for each row of a subject and parameter: (place, parameter, n_rows, n_parameters)."""
    rows = schedule.tasks[:, ROWS_OF_TASK]
    first = schedule.tasks[:, BLOCK]
    found = np.zeros((int(rows.max()), n_parameters, int(rows.sum()), n_parameters))
    for k in range(len(found)):
        for j in range(n_parameters):
            found[k, j, (first + k)[rows > k], j] = 1.0
    return found

"""The state of all lanes, as raw pointers: handed over and indexed at no cost.

Two-dimensional things are flat; row k of a table with c columns starts at k * c.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from numba.core import types
from numba.extending import intrinsic

from popk.structure.engine.jit import njit
from popk.structure.engine.plan import Plan

# Columns of a task.
SUBJECT, BLOCK, RESULT, SLOPE, ROWS_OF_TASK = range(5)
N_TASK = 5
# What a lane waits for (STATUS).
SCAN, FLOW, JUMPING, READING, IDLE = range(5)
# A lane's integers and reals. STALE: 1 when the amounts changed at once, 2 when parameters did.
STATUS, TASK, EVENT, LAST, ACTIVE, STEPS, BUDGET, TURNS, ROWS, STALE, HOW = range(11)
N_INTEGERS = 11
NOW, TARGET, STEP = range(3)
N_REALS = 3


class Lanes(NamedTuple):
    """Pointers and sizes.

    ``plan``, ``columns``, ``parts``: what differs between structures (see
    `popk.structure.engine.compiled`). ``maps`` and ``derivatives``: whether PHI and PSI are
    carried, and any derivatives at all; ``loops``: whether a steady state is to be solved for.

    ``b``: the buffer of vectors; entry i of a quantity at place q is b[q + i * W + w] for lane w.
    ``integers``, ``reals``: of each lane, as named above. ``numbers`` (``width`` columns) and
    ``codes``: atoms. ``theta``, ``tasks``: as given. ``value``, ``gradient``: results. ``failed``:
    a flag for every task.

    ``old``, ``rates`` (lane, row of ``n_rows``, compartment, parameter): derivatives by all rows of
    the amounts at the start of the segment, and of the running rates. For steady states ``start``,
    the guess (lane, compartment), ``through``, the derivative over the period (lane, compartment,
    compartment), ``kept``, amounts to be added, and ``kept_old``, their derivatives. ``scratch``:
    rows of n numbers to work with.
    """

    plan: Plan
    maps: bool
    derivatives: bool
    with_gradient: bool
    loops: bool
    width: int
    n_rows: int
    columns: Any
    parts: Any
    b: Any
    integers: Any
    reals: Any
    numbers: Any
    codes: Any
    theta: Any
    tasks: Any
    value: Any
    gradient: Any
    failed: Any
    old: Any
    rates: Any
    start: Any
    through: Any
    kept: Any
    kept_old: Any
    scratch: Any


def _pointer(typing_context: Any, array: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return context.make_array(signature.args[0])(context, builder, arguments[0]).data

    return types.CPointer(array.dtype)(array), generate  # type: ignore[no-untyped-call]


# Where the data of a contiguous array begin.
pointer: Any = intrinsic(_pointer)


@njit
def slope_at(lanes: Any, w: int, row: int, compartment: int, parameter: int) -> int:
    """Where ``old`` and ``rates`` hold a derivative."""
    plan = lanes.plan
    where: int = ((w * lanes.n_rows + row) * plan.n + compartment) * plan.m_all + parameter
    return where

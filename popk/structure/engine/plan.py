"""What the compiled loops must know of a structure: sizes, places in the buffer, traced parts.

All of it travels as one array of integers, the description, so that a loop is compiled once and
serves every structure.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from popk.structure.engine.jit import njit

# The traced parts, and where their addresses stand among a description's.
COMMON_PARTS = ("read", "read_with_gradient", "field")
EXACT_PARTS = (
    *COMMON_PARTS,
    "setup", "flow", "flow_infusing", "gradient", "gradient_infusing", "maps", "jump",
    "jump_boluses", "boluses_only", "jump_infusion", "infusion_only", "jump_infusions", "jump_sum",
    "double",
)  # fmt: skip
ODE_PARTS = (
    *COMMON_PARTS,
    "refresh", "refresh_sensitivities", "refresh_maps", "attempt", "attempt_sensitivities",
    "attempt_maps", "accept", "accept_sensitivities", "accept_maps", "resolve",
)  # fmt: skip
DO_READ, DO_READ_WITH_GRADIENT, DO_FIELD = range(3)
(
    DO_SETUP, DO_FLOW, DO_FLOW_INFUSING, DO_GRADIENT, DO_GRADIENT_INFUSING, DO_MAPS, DO_JUMP,
    DO_JUMP_BOLUSES, DO_BOLUSES_ONLY, DO_JUMP_INFUSION, DO_INFUSION_ONLY, DO_JUMP_INFUSIONS,
    DO_JUMP_SUM, DO_DOUBLE,
) = range(3, 17)  # fmt: skip
(
    DO_REFRESH, DO_REFRESH_SENSITIVITIES, DO_REFRESH_MAPS, DO_ATTEMPT, DO_ATTEMPT_SENSITIVITIES,
    DO_ATTEMPT_MAPS, DO_ACCEPT, DO_ACCEPT_SENSITIVITIES, DO_ACCEPT_MAPS, DO_RESOLVE,
) = range(3, 13)  # fmt: skip
# Those of linear structures in lockstep (`popk.structure.engine.superposition`); so many for each
# compartment that may be dosed, and so many for each output, follow.
TABLE_PARTS = (
    "setup", "decay", "decay_only", "infusing", "advance", "advance_only", "advance_absorbed",
    "advance_absorbed_only", "run_of_boluses", "one_infusion", "run_of_infusions", "run_of_any",
    "summed_run", "double",
)  # fmt: skip
(
    SET_UP, DECAY, DECAY_ONLY, INFUSING, ADVANCE, ADVANCE_ONLY, ADVANCE_ABSORBED,
    ADVANCE_ABSORBED_ONLY, RUN_OF_BOLUSES, ONE_INFUSION_OF, RUN_OF_INFUSIONS, RUN_OF_ANY,
    SUMMED_RUN, DOUBLE, DO_SOURCES,
) = range(15)  # fmt: skip
# PROJECT for all compartments, and for the central one alone; the odd one is without derivatives.
PROJECT, RESPOND, RESPOND_ONLY, PROJECT_CENTRAL = range(4)
N_PARTS_OF_SOURCE = 4
# With derivatives and without: from amounts, then from the table of each dosed compartment.
N_PARTS_OF_LOOK = 2


class Plan(NamedTuple):
    """Sizes of a structure and places of quantities in the buffer (-1: it has none).

    ``n`` compartments, ``m`` parameters of the equations, ``m_all`` with those of doses, ``exact``
    and ``dynamic`` 0 or 1, ``order`` of the ODE solver's error estimate, ``n_rates`` modes of a
    closed form and ``ka``, KA's column, or -1, ``sum_size`` entries of its sums; ``table`` entries
    of the tables of `popk.structure.engine.superposition`, ``n_disposition`` of them without the
    depot's; then places.
    """

    n: int
    m: int
    m_all: int
    exact: int
    dynamic: int
    order: int
    n_rates: int
    ka: int
    sum_size: int
    table: int
    n_disposition: int
    size_of_buffer: int
    p: int
    t: int
    a: int
    r: int
    s: int
    phi: int
    psi: int
    h: int
    accepted: int
    floor: int
    field: int
    out: int
    out_a: int
    out_p: int
    rates: int
    to_jump: int
    every: int
    doses: int
    lasting: int
    ago: int
    delta: int
    delta_s: int
    sum: int
    length: int
    bit: int
    k: int
    error: int
    out_g: int
    chosen: int
    to: int
    by: int
    slopes_to: int
    slopes_by: int
    spare: int
    responses: int
    slots: int


N_PLAN = len(Plan._fields)


@njit
def plan_of(d: Any) -> Plan:
    """The plan in a description."""
    return Plan(
        d[0], d[1], d[2], d[3], d[4], d[5], d[6], d[7], d[8], d[9], d[10], d[11], d[12], d[13],
        d[14], d[15], d[16], d[17], d[18], d[19], d[20], d[21], d[22], d[23], d[24], d[25], d[26],
        d[27], d[28], d[29], d[30], d[31], d[32], d[33], d[34], d[35], d[36], d[37], d[38], d[39],
        d[40], d[41], d[42], d[43], d[44], d[45], d[46], d[47],
    )  # fmt: skip


def _call(typing_context: Any, parts: Any, index: Any, buffer: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        address = builder.load(builder.gep(arguments[0], [arguments[1]]))
        kind = ir.FunctionType(ir.VoidType(), [ir.DoubleType().as_pointer()])
        builder.call(builder.inttoptr(address, kind.as_pointer()), [arguments[2]])
        return context.get_dummy_value()

    return types.void(parts, types.intp, buffer), generate


# Calls a traced part: arguments are a pointer to addresses, which of them, and a pointer to the
# doubles that the part works on.
call: Any = intrinsic(_call)


def external(symbol: str) -> Any:
    """A compiled function without arguments that gives the address behind a symbol."""

    def signature(typing_context: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            module = builder.module
            try:
                place = module.get_global(symbol)
            except KeyError:
                place = ir.GlobalVariable(module, ir.IntType(64), symbol)
                place.linkage = "external"
            return place

        return types.CPointer(types.int64)(), generate  # type: ignore[no-untyped-call]

    return intrinsic(signature)

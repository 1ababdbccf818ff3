"""From a structure to what solves it: its traced parts, and the loop they share."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from types import ModuleType
from typing import Any, NamedTuple

import llvmlite.binding as llvm
import numpy as np
from numba import types
from numpy.typing import NDArray

from popk.structure.base import Structure
from popk.structure.engine import doses, driver, exact_loop, lockstep, ode_loop
from popk.structure.engine.equations import Equations
from popk.structure.engine.esdirk import ImplicitStep
from popk.structure.engine.exact import ExactStep
from popk.structure.engine.jit import (
    allocating,
    bind,
    compiled_entry,
    compiled_part,
    source_hash,
    specialise,
)
from popk.structure.engine.plan import EXACT_PARTS, ODE_PARTS, Plan
from popk.structure.engine.runge_kutta import RungeKuttaStep
from popk.structure.engine.superposition import Superposition
from popk.structure.symbolic import trace

# Functions of the loops in the order in which they call each other; and those that are called so
# often that they are put in the place of the call.
_FIRST = ("empty", "write_outputs")
_EXACT = ("resolution", "refreshed", "begin_turn", "end_turn", "up_to_date", "advance", "way_of",
          "prepare_jump", "summed", "find_jump", "take_dose_slopes", "take_jump",
          "jumps")  # fmt: skip
_ODE = ("first_step", "resolution", "refreshed", "solve_linear", "begin_turn", "give_up",
        "comparable", "settle", "end_turn", "judge", "refresh", "advance", "jumps")  # fmt: skip
_LOCKSTEP = ("enter", "begin", "sum_run", "find_run", "follow")
_DOSES = ("is_refused", "give_dose", "change_rate")
_LAST = ("apply_atom", "begin_task", "scan", "run")
_INLINED = ("write_outputs", "up_to_date", "advance", "way_of", "prepare_jump", "take_jump", "scan",
            "judge", "enter")  # fmt: skip


class Compiled(NamedTuple):
    """A structure made ready: its description, under a symbol, and the parts it points to."""

    description: NDArray[np.int64]
    symbol: str
    parts: tuple[Any, ...]


def dose_columns(structure: Structure) -> NDArray[np.int64]:
    """Theta's columns of F, lag, D and R by compartment, (4, n_compartments); -1 for none.

    Where F is 1 minus that of another compartment, -2 minus the column of that one.
    """
    found = np.full((4, len(structure.compartments)), -1)
    column = len(structure.kinetics)
    dosing = structure.dosing
    for kind, numbers in enumerate(
        (dosing.bioavailability, dosing.lag, dosing.duration, dosing.rate)
    ):
        for number in numbers:
            found[kind, number - 1] = column
            column += 1
    for into, of in dosing.complement:
        found[0, into - 1] = -2 - found[0, of - 1]
    return found


def is_dynamic(structure: Structure) -> bool:
    """Whether the times or sizes of doses depend on parameters."""
    return bool(structure.dosing.parameters)


@cache
def compiled(structure: Structure, *, implicit: bool | None = None) -> Compiled:
    """Compile a structure's equations (or find them in the cache on disk).

    Parameters
    ----------
    structure
        The structure.
    implicit
        Whether to use the implicit ODE solver; None for what the structure asks for. Closed forms
        know no difference.
    """
    equations = Equations(structure)
    exact = structure.closed_form is not None
    implicit = structure.is_stiff if implicit is None else implicit
    solver = ImplicitStep if implicit else RungeKuttaStep
    step: Any = ExactStep(equations) if exact else solver(equations)
    label = label_of(structure) + ("_implicit" if implicit and not exact else "")
    names = EXACT_PARTS if exact else ODE_PARTS
    parts: tuple[Any, ...] = tuple(
        compiled_part(step.parts[name], f"{label}_{name}") if step.parts[name] else None
        for name in names
    )
    n, absorption = structure.closed_form or (0, False)
    known: dict[str, int] = {
        "n": equations.n,
        "m": equations.m,
        "m_all": len(structure.parameters),
        "exact": int(exact),
        "dynamic": int(is_dynamic(structure)),
        "order": 0 if exact else step.order,
        "n_rates": n,
        "ka": 2 * n if absorption else -1,
        "sum_size": len(step.nodes) if exact else 0,
    }
    described = [*_plan(known, step), *dose_columns(structure).ravel(), *_addresses(parts)]
    if exact and not is_dynamic(structure):
        tables = Superposition(equations)
        known |= {
            "sum_size": len(tables.summed), "table": len(tables.nodes),
            "n_disposition": tables.n_disposition,
        }  # fmt: skip
        more = [
            compiled_part(part, f"{label}_table_{k}") if part else None
            for k, part in enumerate(tables.parts)
        ]
        described += [*_plan(known, tables), *_addresses(more)]
        parts += tuple(more)
    description = np.array(described, dtype=np.int64)
    # Compiled PyTensor graphs that come from a cache on disk find the description by this name.
    symbol = f"popk_{label}_{source_hash()}"
    llvm.add_symbol(symbol, description.ctypes.data)
    return Compiled(description, symbol, parts)


def _plan(known: Mapping[str, int], step: Any) -> list[int]:
    """What is known of a structure, with the places in a solver's buffer."""
    places = {name.lower(): place for name, place in step.buffer.places.items()}
    whole = {**known, "size_of_buffer": step.buffer.size, **places}
    return [whole.get(name, -1) for name in Plan._fields]


def _addresses(parts: Sequence[Any]) -> list[int]:
    return [part.address if part else 0 for part in parts]


@cache
def loop_of(*, exact: bool) -> Callable[..., Any]:
    """The compiled `popk.structure.engine.driver.solve_tasks` for closed forms or for the rest.

    Its first argument is `Compiled.description`. The loop itself stands behind a symbol: compiled
    functions that call it hold no copy of it, and need no time to optimise one.
    """
    symbol = f"popk_loop_{'exact' if exact else 'ode'}_{source_hash()}"
    llvm.add_symbol(symbol, _entry_of(exact=exact).address)
    function = types.ExternalFunction(symbol, driver.ENTRY)
    found = specialise(driver.call_entry, f"call_{symbol}", entry=function)
    if not exact:
        return found
    return specialise(lockstep.call_either, "call_loop", one_by_one=found, together=lockstep_loop())


@cache
def lockstep_loop() -> Callable[..., Any]:
    """The compiled `popk.structure.engine.lockstep.march`, as `loop_of` gives its loop.

    Arguments are those of `popk.structure.engine.lockstep.call_entry`.
    """
    symbol = f"popk_lockstep_{source_hash()}"
    llvm.add_symbol(symbol, _lockstep_entry().address)
    function = types.ExternalFunction(symbol, lockstep.ENTRY)
    return specialise(lockstep.call_entry, f"call_{symbol}", entry=function)


@cache
def _lockstep_entry() -> Any:
    names: dict[str, Any] = {"way_of": bind(exact_loop.way_of)}
    for name in _LOCKSTEP:
        names[name] = bind(getattr(lockstep, name), inlined=name in _INLINED, **names)
    names["march"] = allocating(lockstep.march, **names)
    return compiled_entry(lockstep.entry, "loop_lockstep", lockstep.ENTRY, **names)


@cache
def _entry_of(*, exact: bool) -> Any:
    module: ModuleType = exact_loop if exact else ode_loop
    names: dict[str, Any] = {}
    order = [(driver, name) for name in _FIRST]
    order += [(module, name) for name in (_EXACT if exact else _ODE)]
    order += [(doses, name) for name in _DOSES]
    order += [(driver, name) for name in _LAST]
    for home, name in order:
        names[name] = bind(getattr(home, name), inlined=name in _INLINED, **names)
    names["solve_tasks"] = allocating(driver.solve_tasks, **names)
    name = "loop_exact" if exact else "loop_ode"
    return compiled_entry(driver.entry, name, driver.ENTRY, **names)


def label_of(structure: Structure) -> str:
    """A name for what is compiled that only structures with the same equations share.

    It follows from what the equations compute, not from the name of the class: a class that was
    changed since must not find its old code in the cache.
    """
    names = tuple(parameter.name for parameter in structure.kinetics)
    outputs = tuple(output.name for output in structure.outputs)
    traced = [
        trace(
            function,
            place=f"The equations of {type(structure).__name__}",
            compartments=structure.compartments,
            parameters=names,
            results=results,
        )
        for function, results in (
            (structure.rates, structure.compartments),
            (structure.read, outputs),
        )
    ]
    what = (
        traced, structure.closed_form, structure.tolerance, structure.is_stiff,
        structure.deviations, dose_columns(structure).tolist(), structure.compartments,
        structure.undosed,
    )  # fmt: skip
    digest = hashlib.sha256(repr(what).encode()).hexdigest()[:16]
    return f"{type(structure).__name__}_{digest}"

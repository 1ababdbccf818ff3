"""Compilation of the numerical kernels, with a cache on disk that knows their whole source."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache
from inspect import signature
from pathlib import Path
from types import FunctionType
from typing import Any, cast

import numba

from popk.structure.engine.tables import traced_on_tables
from popk.structure.engine.vector import traced

_njit: Any = numba.njit  # its hints do not know all it takes
_OPTIONS: dict[str, Any] = {"fastmath": {"contract"}, "error_model": "numpy"}


def njit[F: Callable[..., Any]](function: F) -> F:
    """Compile a helper that only other kernels call; fused multiply-add is allowed.

    It may not make arrays: without numba's reference counts, which cost more than the arithmetic,
    it is called several times faster.
    """
    return cast(F, _njit(function, _nrt=False, **_OPTIONS))


def bind[F: Callable[..., Any]](template: F, *, inlined: bool = False, **bindings: Any) -> F:
    """As `njit`, with some of the template's global names bound.

    Numba cannot cache a kernel that is given other compiled functions as values; a copy that finds
    them under its global names is cached. ``inlined``: into the place of every call, for a function
    with many arrays as arguments, which are costly to hand over.
    """
    copy = cast(F, _copy(template, bindings, template.__name__))
    return cast(F, _njit(copy, _nrt=False, forceinline=inlined, **_OPTIONS))


def _copy(template: Callable[..., Any], bindings: dict[str, Any], name: str) -> FunctionType:
    source = cast(FunctionType, template)
    return FunctionType(source.__code__, {**source.__globals__, **bindings}, name)


@cache
def source_hash() -> str:
    """Hash of every source file of the structures: the version of the kernels."""
    digest = hashlib.sha256(numba.__version__.encode())
    for path in sorted(Path(__file__).parents[1].rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def specialise(template: Callable[..., Any], name: str, **bindings: Any) -> Callable[..., Any]:
    """Compile ``template`` with some of its global names bound, cached between processes.

    Numba's disk cache sees only the file that holds a function, so a change in an inlined helper
    would go unnoticed, and closures over compiled functions are never found again. The copy made
    here carries the structure and the hash of all kernel sources in its qualified name instead.

    Parameters
    ----------
    template
        Function whose free global names include the keys of ``bindings``.
    name
        Unique name of the specialisation.
    bindings
        Compiled functions and integer constants.
    """
    copy = _copy(template, bindings, f"{name}_{source_hash()}")
    copy.__qualname__ = copy.__name__
    copy.__module__ = template.__module__
    return cast(
        Callable[..., Any],
        numba.njit(copy, cache=True, nogil=True, **_OPTIONS),
    )


def compiled_part(code: Callable[..., None], name: str) -> Any:
    """Compile what `popk.structure.engine.vector.traced` traces, cached between processes.

    Returns an object with the ``address`` of a C function of a pointer to doubles, or of three
    where ``code`` takes as many `Memory`; it must live as long as the address is used.
    """
    many = len(signature(code).parameters)
    template, trace = (_part, traced) if many == 1 else (_part_on_tables, traced_on_tables)
    copy = _copy(template, {"traced_code": trace(code)}, f"{name}_{source_hash()}")
    copy.__qualname__ = copy.__name__
    copy.__module__ = __name__
    pointer: Any = numba.types.CPointer(numba.float64)  # type: ignore[no-untyped-call]
    return numba.cfunc(numba.void(*[pointer] * many), cache=True, **_OPTIONS)(copy)


def allocating[F: Callable[..., Any]](template: F, **bindings: Any) -> F:
    """As `bind`, for a function that makes arrays."""
    return cast(F, _njit(_copy(template, bindings, template.__name__), **_OPTIONS))


def compiled_entry(template: Callable[..., Any], name: str, signature: Any, **bindings: Any) -> Any:
    """Compile a C function of numbers and pointers, cached between processes.

    Returns an object with the ``address``; it must live as long as that is used.
    """
    copy = _copy(template, bindings, f"{name}_{source_hash()}")
    copy.__qualname__ = copy.__name__
    copy.__module__ = template.__module__
    return numba.cfunc(signature, cache=True, **_OPTIONS)(copy)


traced_code: Any  # bound by `compiled_part`


def _part(b: Any) -> None:
    traced_code(b)


def _part_on_tables(b: Any, first: Any, second: Any) -> None:
    traced_code(b, first, second)

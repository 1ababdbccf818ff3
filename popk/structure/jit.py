"""Compilation of the numerical kernels, with a cache on disk that knows their whole source."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import FunctionType
from typing import Any, cast

import numba


def njit[F: Callable[..., Any]](function: F) -> F:
    """Compile a helper that only other kernels call; fused multiply-add is allowed."""
    return cast(F, numba.njit(function, fastmath={"contract"}, error_model="numpy"))


def bind[F: Callable[..., Any]](template: F, **bindings: Any) -> F:
    """As `njit`, with some of the template's global names bound.

    Numba cannot cache a kernel that is given other compiled functions as values; a copy that finds
    them under its global names is cached, and inlines them.
    """
    return njit(cast(F, _copy(template, bindings, template.__name__)))


def _copy(template: Callable[..., Any], bindings: dict[str, Any], name: str) -> FunctionType:
    source = cast(FunctionType, template)
    return FunctionType(source.__code__, {**source.__globals__, **bindings}, name)


@cache
def source_hash() -> str:
    """Hash of every source file of this package: the version of the kernels."""
    digest = hashlib.sha256(numba.__version__.encode())
    for path in sorted(Path(__file__).parent.glob("*.py")):
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
        numba.njit(copy, fastmath={"contract"}, error_model="numpy", cache=True, nogil=True),
    )

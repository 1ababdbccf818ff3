"""Machine code of a model's density, compiled once and kept on disk.

It holds nothing of the data: the C functions read their addresses and shapes from a table. So it
serves other data of the same model, and other processes, which need neither PyMC nor PyTensor then.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from functools import cache
from importlib.metadata import version
from pathlib import Path
from types import FunctionType
from typing import Any

import numba
import numpy as np
from numba import carray  # type: ignore[attr-defined]
from numba.core.caching import FunctionCache
from numba.core.cpu import CPUContext
from numba.core.registry import cpu_target

from popk.inference.density.inputs import Inputs, is_portable
from popk.inference.density.layout import (
    DENSITY,
    EXPANDED,
    Layout,
    address,
    layout_of,
    moved,
)
from popk.model import PopModel
from popk.structure import Structure
from popk.structure.engine.compiled import compiled, loop_of

__all__ = ["Code", "Key", "kept_code", "key_of", "layout_path", "made_code"]

_LIBRARIES = ("pymc", "pytensor", "numba", "llvmlite", "numpy")
_NAMES, _SIGNATURES = ("density", "expanded"), (DENSITY, EXPANDED)
_CALLED: dict[str, Any] = {
    "np": np, "carray": carray, "moved": moved, "address": address, "float64": numba.float64,
    "int64": numba.int64, "int32": numba.int32, "int16": numba.int16, "int8": numba.int8,
    "bool": numba.boolean,
}  # fmt: skip


@dataclass(frozen=True)
class Code:
    """The layout and the addresses of the C functions; ``parts`` is what must live as long."""

    layout: Layout
    density: int
    expanded: int
    parts: tuple[Any, ...]


@dataclass(frozen=True)
class Key:
    """What tells one density's code from every other's.

    ``foreign`` has the classes that are not popk's own. The model's hash knows them by name alone,
    so that code with such a part is not kept on disk.
    """

    digest: str
    foreign: frozenset[type]


def key_of(model: PopModel, fingerprint: str, forms: Mapping[str, str], inputs: Inputs) -> Key:
    """The key of a model's code; see `Key`.

    Parameters
    ----------
    model
        The model.
    fingerprint
        Of the data: used where the model's graph holds part of them (`is_portable`).
    forms
        The form of every effect between subjects.
    inputs
        What the density reads of the data.
    """
    what = {
        "model": model.hash,
        # A structure's code is known by what its equations compute, not by the name of a class.
        "structure": ready_structure(model.structure),
        # The hash does not know the order of parts with names; that of the coordinates follows it.
        "order": [model.iiv.effects, model.iov.effects, [p.name for p in model.parameters]],
        "forms": sorted(forms.items()),
        "varies": inputs.varies,
        "data": None if is_portable(model) else fingerprint,
        "source": _source_hash(),
        "versions": [version(name) for name in _LIBRARIES],
    }
    digest = hashlib.sha256(json.dumps(what).encode()).hexdigest()[:32]
    own = (getattr(model, one.name) for one in fields(model) if one.name != "structure")
    found = {kind for part in own for kind in _kinds(part)}
    return Key(digest, frozenset(k for k in found if not k.__module__.startswith("popk.")))


def _kinds(part: Any) -> Iterator[type]:
    """Classes of a part of a model and of what it is made of."""
    if part is None or isinstance(part, str | int | float):
        return
    if isinstance(part, Mapping):
        part = tuple(part.values())
    if isinstance(part, tuple):
        if type(part) is not tuple:
            yield type(part)
        for one in part:
            yield from _kinds(one)
        return
    yield type(part)
    for value in getattr(part, "__dict__", {}).values():
        yield from _kinds(value)


def ready_structure(structure: Structure) -> list[str]:
    """Make a structure's kernels known under their symbols, which the code calls; the symbols."""
    exact = structure.closed_form is not None
    ways = (
        [compiled(structure)]
        if exact
        else [compiled(structure), compiled(structure, implicit=True)]
    )
    loop_of(exact=exact)
    return [way.symbol for way in ways]


@cache
def _source_hash() -> str:
    """Hash of what the graph and the code are made by."""
    root, digest = Path(__file__).parents[2], hashlib.sha256()
    for folder in (root, root / "model", root / "statistics", Path(__file__).parent):
        for path in sorted(folder.glob("*.py") if folder == root else folder.rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()


def kept_code(key: Key) -> Code | None:
    """The code that was kept on disk, None where there is none (or what there is, is damaged)."""
    if key.foreign:
        return None
    layout = _kept_layout(layout_path(key))
    if layout is None:
        return None
    found, context = [], _context_alone()
    for name, source, signature in zip(_NAMES, layout.sources(), _SIGNATURES, strict=True):
        cache = _cache(_entry(source, f"{name}_{key.digest}"))
        kept = cache.load_overload(signature, context)
        if kept is None:
            return None
        found.append(kept)
    addresses = [
        int(one.library.get_pointer_to_function(one.fndesc.llvm_cfunc_wrapper_name))
        for one in found
    ]
    return Code(layout, addresses[0], addresses[1], (context, *found))


def _context_alone() -> Any:
    """Where code is loaded beside no other.

    In the process that compiled it, parts of it are known already, under the same names but
    optimised by themselves; loaded among them it would call those, which round otherwise.
    """
    made: Any = CPUContext
    return made(cpu_target.typing_context, "cpu")


def made_code(key: Key, layout: Layout, inner: tuple[Any, Any]) -> Code:
    """Compile the C functions, and keep them on disk.

    Parameters
    ----------
    key
        Under which they are kept.
    layout, inner
        As `popk.inference.density.functions.graph_functions` gives them.
    """
    made: list[Any] = []
    with warnings.catch_warnings():
        # Code with a large constant in it is of this process alone.
        warnings.filterwarnings("ignore", message="Cannot cache compiled function")
        for name, source, signature, function in zip(
            _NAMES, layout.sources(), _SIGNATURES, inner, strict=True
        ):
            entry = _entry(source, f"{name}_{key.digest}", inner=function)
            made.append(numba.cfunc(signature, cache=not key.foreign)(entry))
    if not key.foreign:
        _keep_layout(layout_path(key), layout)
    return Code(layout, made[0].address, made[1].address, tuple(made))


def _cache(entry: Callable[..., Any]) -> Any:
    made: Any = FunctionCache
    return made(entry)


def _entry(source: str, name: str, **bindings: Any) -> Callable[..., Any]:
    """A C function in Python; Numba keeps it where it keeps what this file has."""
    space: dict[str, Any] = {}
    exec(compile(source, __file__, "exec"), space)
    entry = FunctionType(space["entry"].__code__, {**_CALLED, **bindings}, name)
    entry.__qualname__, entry.__module__ = name, __name__
    return entry


def layout_path(key: Key) -> Path:
    """The file of the layout, beside that of the code."""

    def nothing() -> None:
        """Stands in the file whose folder is asked for."""

    return Path(_cache(nothing).cache_path) / f"density_{key.digest}.json"


def _keep_layout(path: Path, layout: Layout) -> None:
    content = json.dumps(asdict(layout))
    digest = hashlib.sha256(content.encode()).hexdigest()
    with tempfile.NamedTemporaryFile(
        "w", dir=path.parent, prefix=path.name, suffix=".tmp", delete=False, encoding="utf-8"
    ) as file:
        file.write(f"{digest}\n{content}")
    Path(file.name).replace(path)


def _kept_layout(path: Path) -> Layout | None:
    """What `_keep_layout` wrote; None where it is not there or damaged: it is made anew then."""
    try:
        digest, _, content = path.read_text(encoding="utf-8").partition("\n")
    except FileNotFoundError:
        return None
    if hashlib.sha256(content.encode()).hexdigest() != digest:
        return None
    return layout_of(json.loads(content))

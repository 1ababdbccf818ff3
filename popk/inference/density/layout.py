"""Where the compiled density finds its coordinates and data, and the C functions that read them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic
from numpy.typing import NDArray

__all__ = ["DENSITY", "EXPANDED", "Argument", "Layout", "Named", "address", "layout_of", "moved"]

type Shape = tuple[int | str, ...]

_TOGETHER = 16  # arguments of a call

_DOUBLES: Any = types.CPointer(types.float64)  # type: ignore[no-untyped-call]
_TABLE: Any = types.CPointer(types.int64)  # type: ignore[no-untyped-call]
# As nutpie calls them; the last argument is the table.
DENSITY: Any = types.int64(types.uint64, _DOUBLES, _DOUBLES, _DOUBLES, _TABLE)
EXPANDED: Any = types.int64(types.uint64, types.uint64, _DOUBLES, _DOUBLES, _TABLE)


@dataclass(frozen=True)
class Named:
    """A variable, its shape (lengths, or names of dimensions) and names of its dimensions."""

    name: str
    shape: Shape
    dims: tuple[str, ...] = ()

    def lengths(self, known: Mapping[str, int]) -> tuple[int, ...]:
        """Its shape where the dimensions have these lengths."""
        return tuple(known[x] if isinstance(x, str) else x for x in self.shape)


@dataclass(frozen=True)
class Argument:
    """An array that the compiled functions take: data, or the length of a dimension (0-d)."""

    name: str
    dtype: str
    ndim: int
    is_length: bool


@dataclass(frozen=True)
class Layout:
    """What the compiled functions take and give.

    Parameters
    ----------
    free
        The sampler's coordinates, in the order in which they stand.
    rest
        What follows from them, likewise.
    transformed
        Names of coordinates that stand for a variable among the rest.
    density, expanded
        What the two functions take beside coordinates, in order.
    """

    free: tuple[Named, ...]
    rest: tuple[Named, ...]
    transformed: tuple[str, ...]
    density: tuple[Argument, ...]
    expanded: tuple[Argument, ...]

    @property
    def arguments(self) -> tuple[Argument, ...]:
        """Each argument once."""
        return tuple(dict.fromkeys([*self.density, *self.expanded]))

    def places(self, known: Mapping[str, int]) -> dict[str, tuple[slice, tuple[int, ...]]]:
        """Place of each variable in the flat vector, and its shape."""
        found, start = {}, 0
        for one in (*self.free, *self.rest):
            shape = one.lengths(known)
            stop = start + int(np.prod(shape))
            found[one.name] = slice(start, stop), shape
            start = stop
        return found

    def table(self, known: Mapping[str, int], arrays: list[NDArray[Any]]) -> NDArray[np.int64]:
        """What the C functions read: sizes, then offsets and shapes, then addresses and shapes."""
        places = self.places(known)
        n_dim = sum(places[one.name][0].stop - places[one.name][0].start for one in self.free)
        last = [where.stop for where, _ in places.values()]
        found = [n_dim, max(last, default=0)]
        for where, shape in places.values():
            found += [where.start, *shape]
        for array in arrays:
            found += [array.ctypes.data, *array.shape]
        return np.array(found, dtype=np.int64)

    def sources(self) -> tuple[str, str]:
        """Python code of the two C functions, to be compiled where ``inner`` is what they call."""
        parts, place = dict[Any, tuple[int, int]](), 2
        for one in (*self.free, *self.rest):
            parts[one.name] = place, len(one.shape)
            place += 1 + len(one.shape)
        for argument in self.arguments:
            parts[argument] = place, argument.ndim
            place += 1 + argument.ndim
        free = [
            f"carray(moved(x, {_at(parts, v.name)}), {_shape(parts, v.name)})" for v in self.free
        ]
        head = f"        t = carray(table, ({place},))"

        def call(arguments: tuple[Argument, ...]) -> str:
            given = [
                f"carray(address({_at(parts, a)}), {_shape(parts, a)}, {a.dtype})"
                for a in arguments
            ]
            whole = [*free, *given]
            # Numba knows no call and no tuple of as many things as Python gathers in a list.
            groups = [whole[k : k + _TOGETHER] for k in range(0, len(whole), _TOGETHER)]
            joined = " + ".join(f"({', '.join(one)},)" for one in groups)
            return f"        found = inner(*({joined}))"

        density = [
            "def entry(dim, x, gradient, value, table):", "    try:", head,
            "        if dim != t[0]:", "            return -1", call(self.density),
            "        value[0] = found[0].item()",
            *_written(parts, self.free, "gradient", first=1),
            "        if not np.isfinite(value[0]):", "            return 4",
            "        for k in range(dim):", "            if not np.isfinite(gradient[k]):",
            "                return 3",
            "    except Exception:", "        return 1", "    return 0",
        ]  # fmt: skip
        expanded = [
            "def entry(dim, n, x, out, table):", "    try:", head,
            "        if dim != t[0] or n != t[1]:", "            return -1", call(self.expanded),
            "        for k in range(dim):", "            out[k] = x[k]",
            *_written(parts, self.rest, "out", first=0),
            "    except Exception:", "        return -2", "    return 0",
        ]  # fmt: skip
        return "\n".join(density), "\n".join(expanded)


def layout_of(content: Mapping[str, Any]) -> Layout:
    """A layout from `dataclasses.asdict` of it, whose tuples may be lists."""

    def named(part: str) -> tuple[Named, ...]:
        return tuple(
            Named(one["name"], tuple(one["shape"]), tuple(one["dims"])) for one in content[part]
        )

    def arguments(part: str) -> tuple[Argument, ...]:
        return tuple(Argument(**one) for one in content[part])

    return Layout(
        named("free"), named("rest"), tuple(content["transformed"]),
        arguments("density"), arguments("expanded"),
    )  # fmt: skip


def _at(parts: Mapping[Any, tuple[int, int]], key: Any) -> str:
    return f"t[{parts[key][0]}]"


def _shape(parts: Mapping[Any, tuple[int, int]], key: Any) -> str:
    place, ndim = parts[key]
    return "(" + "".join(f"t[{place + 1 + k}], " for k in range(ndim)) + ")"


def _written(
    parts: Mapping[Any, tuple[int, int]], variables: tuple[Named, ...], where: str, *, first: int
) -> Iterator[str]:
    """Lines that write results to their places in a flat vector."""
    for k, one in enumerate(variables, first):
        if one.shape:
            to = f"carray(moved({where}, {_at(parts, one.name)}), {_shape(parts, one.name)})[...]"
            yield f"        {to} = found[{k}]"
        else:
            yield f"        {where}[{_at(parts, one.name)}] = found[{k}].item()"


def _moved(typing_context: Any, pointer: Any, offset: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.gep(arguments[0], [arguments[1]])

    return pointer(pointer, types.int64), generate


def _address(typing_context: Any, number: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], ir.IntType(8).as_pointer())

    return types.voidptr(types.int64), generate


# A pointer so many elements further; an integer as a pointer.
moved: Any = intrinsic(_moved)
address: Any = intrinsic(_address)

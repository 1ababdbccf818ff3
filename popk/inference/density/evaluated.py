"""The compiled density with its data: evaluated, and handed to nutpie."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from popk.inference.density.code import Code
from popk.inference.density.layout import Argument

__all__ = ["Density"]

type Floats = NDArray[np.float64]

_IMPOSSIBLE = (1, 3, 4)  # the code could not compute, or something is not finite
_DENSITY = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_uint64, *[ctypes.c_void_p] * 4)
_EXPANDED = ctypes.CFUNCTYPE(ctypes.c_int64, *[ctypes.c_uint64] * 2, *[ctypes.c_void_p] * 3)


@dataclass(frozen=True, eq=False)
class Density:
    """Log density of a model given data in the sampler's coordinates, and what follows from these.

    It holds its data; it is not to be changed: `with_data` gives another one.

    Parameters
    ----------
    code
        The machine code.
    data
        The arrays that the code reads, by name.
    coords
        Labels along each dimension.
    """

    code: Code
    data: Mapping[str, NDArray[Any]]
    coords: Mapping[str, list[Any]]

    @cached_property
    def lengths(self) -> dict[str, int]:
        """Length of each dimension."""
        return {name: len(labels) for name, labels in self.coords.items()}

    @cached_property
    def places(self) -> dict[str, tuple[slice, tuple[int, ...]]]:
        """Place of each variable in the vector that `expand` gives, and its shape."""
        return self.code.layout.places(self.lengths)

    @property
    def size(self) -> int:
        """Number of coordinates."""
        return int(self.table[0])

    @property
    def expanded_size(self) -> int:
        """Number of coordinates and of all that follows from them."""
        return int(self.table[1])

    @property
    def transformed(self) -> tuple[str, ...]:
        """Names of coordinates that stand for a variable among those that follow from them."""
        return self.code.layout.transformed

    @cached_property
    def dims(self) -> dict[str, tuple[str, ...]]:
        """Names of the dimensions of each variable that has some."""
        layout = self.code.layout
        return {one.name: one.dims for one in (*layout.free, *layout.rest) if one.dims}

    @cached_property
    def _arrays(self) -> list[NDArray[Any]]:
        """What the code reads; the table has the addresses of these very arrays."""
        return [self._array(argument) for argument in self.code.layout.arguments]

    def _array(self, argument: Argument) -> NDArray[Any]:
        known: Mapping[str, Any] = self.lengths if argument.is_length else self.data
        given = np.asarray(known[argument.name])
        found = np.array(given, dtype=argument.dtype, order="C")
        if found.ndim != argument.ndim:
            raise ValueError(f"{argument.name} has {found.ndim} dimensions, not {argument.ndim}")
        if not np.array_equal(found, given, equal_nan=given.dtype.kind == "f"):
            raise ValueError(f"{argument.name} has values that are none of {argument.dtype}")
        found.flags.writeable = False
        return found

    @cached_property
    def table(self) -> NDArray[np.int64]:
        """Sizes, offsets, addresses and shapes, as the code reads them."""
        return self.code.layout.table(self.lengths, self._arrays)

    def with_data(self, **data: Floats) -> Density:
        """The same density in other coordinates: data of the same shapes replaced.

        Raises
        ------
        ValueError
            When there are no such data, or they had another shape.
        """
        for name, value in data.items():
            if name not in self.data or np.shape(value) != np.shape(self.data[name]):
                raise ValueError(f"the density has no data {name} of the shape {np.shape(value)}")
        return replace(self, data={**self.data, **data})

    def log_density(self, x: Floats) -> tuple[float, Floats]:
        """Log density and gradient at a point (size); minus infinity where it cannot be."""
        x, gradient, value = self._checked(x), np.zeros(self.size), np.zeros(1)
        fault = _DENSITY(self.code.density)(
            self.size,
            x.ctypes.data,
            gradient.ctypes.data,
            value.ctypes.data,
            self.table.ctypes.data,
        )
        if fault in _IMPOSSIBLE:
            return -np.inf, gradient
        if fault:
            raise RuntimeError(f"the compiled density failed with code {fault}")
        return float(value[0]), gradient

    def expand(self, x: Floats) -> dict[str, Floats]:
        """Every variable, transformed back, at a point (size)."""
        x, out = self._checked(x), np.empty(self.expanded_size)
        fault = _EXPANDED(self.code.expanded)(
            self.size, self.expanded_size, x.ctypes.data, out.ctypes.data, self.table.ctypes.data
        )
        if fault:
            raise RuntimeError(f"the compiled model failed with code {fault}")
        return {name: out[where].reshape(shape) for name, (where, shape) in self.places.items()}

    def _checked(self, x: Floats) -> Floats:
        if np.shape(x) != (self.size,):
            raise ValueError(f"a point has {self.size} coordinates, but this has {np.shape(x)}")
        return np.ascontiguousarray(x, dtype=np.float64)

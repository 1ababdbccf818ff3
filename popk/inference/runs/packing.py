"""Nested values as bytes: a header of JSON, then the arrays one after another. No pickles."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["canonical", "pack", "unpack"]

_MAGIC = b"popk chunk 1\n"
_ALIGNED = 64
_ARRAY, _CLASS, _TUPLE = "array:", "class:", "tuple:"


def pack(value: Any) -> bytes:
    """Arrays, numbers, text, None, lists, tuples, dicts with text keys and dataclasses of these.

    Raises
    ------
    TypeError
        When something else is among them.
    """
    arrays: list[bytes] = []
    header = json.dumps(_encoded(value, arrays)).encode("utf-8")
    start = _MAGIC + len(header).to_bytes(8, "little") + header
    return b"".join([start, bytes(-len(start) % _ALIGNED), *arrays])


def unpack(content: bytes, classes: Sequence[type] = ()) -> Any:
    """What `pack` was given; arrays are contiguous, in C order.

    Parameters
    ----------
    content
        The bytes.
    classes
        The dataclasses that may be among the values.

    Raises
    ------
    ValueError
        When the bytes are not those of `pack`.
    """
    if not content.startswith(_MAGIC):
        raise ValueError("it is not what popk writes")
    known = {cls.__name__: cls for cls in classes}
    first = len(_MAGIC) + 8
    end = first + int.from_bytes(content[len(_MAGIC) : first], "little")
    data = memoryview(content)[end + -end % _ALIGNED :]
    found, size = _decoded(json.loads(content[first:end]), data, known, 0)
    if size != len(data):
        raise ValueError("it is longer than what popk wrote")
    return found


def canonical(value: Any, classes: Sequence[type] = ()) -> Any:
    """The value as it would come back from a file, to the last bit of every later computation."""
    return unpack(pack(value), classes)


def _encoded(value: Any, arrays: list[bytes]) -> Any:
    if isinstance(value, np.ndarray):
        if value.dtype.kind not in "biufU":
            raise TypeError(f"An array of {value.dtype} cannot be stored.")
        content = value.tobytes(order="C")
        arrays.append(content + bytes(-len(content) % _ALIGNED))
        return {_ARRAY: value.dtype.str, "shape": value.shape}
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if is_dataclass(value) and not isinstance(value, type):
        own = {item.name: _encoded(getattr(value, item.name), arrays) for item in fields(value)}
        return {_CLASS: type(value).__name__, "fields": own}
    if isinstance(value, tuple):
        return {_TUPLE: [_encoded(item, arrays) for item in value]}
    if isinstance(value, list):
        return [_encoded(item, arrays) for item in value]
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: _encoded(item, arrays) for key, item in value.items()}
    raise TypeError(f"{type(value).__name__} cannot be stored.")


def _decoded(value: Any, data: memoryview, classes: dict[str, type], at: int) -> tuple[Any, int]:
    """The value, and where the next array begins."""
    if isinstance(value, list):
        return _decoded_list(value, data, classes, at)
    if not isinstance(value, dict):
        return value, at
    if _ARRAY in value:
        return _array(np.dtype(value[_ARRAY]), value["shape"], data, at)
    if _TUPLE in value:
        items, at = _decoded_list(value[_TUPLE], data, classes, at)
        return tuple(items), at
    own = value["fields"] if _CLASS in value else value
    items, at = _decoded_list(list(own.values()), data, classes, at)
    named = dict(zip(own, items, strict=True))
    if _CLASS not in value:
        return named, at
    try:
        return classes[value[_CLASS]](**named), at
    except (KeyError, TypeError) as fault:
        raise ValueError("it is of another version of popk") from fault


def _decoded_list(
    values: list[Any], data: memoryview, classes: dict[str, type], at: int
) -> tuple[list[Any], int]:
    found = []
    for value in values:
        item, at = _decoded(value, data, classes, at)
        found.append(item)
    return found, at


def _array(
    dtype: np.dtype[Any], shape: list[int], data: memoryview, at: int
) -> tuple[NDArray[Any], int]:
    size = dtype.itemsize * math.prod(shape)
    if at + size > len(data):
        raise ValueError("it is shorter than what popk wrote")
    # A copy: aligned as every other array is, and writable.
    found = np.frombuffer(data[at : at + size], dtype=dtype).reshape(shape).copy()
    return found, at + size + -size % _ALIGNED

"""Digests of results: the same numbers have the same digest, whenever they were computed."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np
import xarray as xr

__all__ = ["digest_of_bytes", "digest_of_tree", "digest_of_values"]

# What tells how the sampler went: its times differ from run to run.
_LEFT_OUT = frozenset({"/sample_stats"})


def digest_of_tree(tree: xr.DataTree, group: str = "/") -> str:
    """SHA-256 over every group, variable and coordinate of a result, without its attributes.

    Attributes hold dates and times. The statistics of the sampler are left out for the same reason.
    With ``group`` it is that of one group, as ``/posterior``.
    """
    digest = hashlib.sha256()
    for node in sorted(tree.subtree, key=lambda one: one.path):
        if node.path in _LEFT_OUT or group not in ("/", node.path):
            continue
        table = node.to_dataset(inherit=False)
        for name in sorted(map(str, table.variables)):
            variable = table.variables[name]
            head = (node.path, name, list(map(str, variable.dims)), list(variable.shape))
            digest.update(json.dumps(head).encode())
            digest.update(_content(variable.values))
    return digest.hexdigest()


def digest_of_values(content: Any) -> str:
    """SHA-256 of plain values, whatever the order of their keys."""
    text = json.dumps(content, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _content(values: np.ndarray) -> bytes:
    if values.dtype.kind in "OUST":
        return json.dumps([str(value) for value in values.ravel()], ensure_ascii=False).encode()
    if values.dtype.kind == "f":  # one bit pattern for every NaN and for both zeros
        values = np.where(np.isnan(values), np.nan, values + 0.0).astype(values.dtype)
    return np.ascontiguousarray(values).tobytes()


def digest_of_bytes(content: bytes) -> str:
    """SHA-256 of bytes."""
    return hashlib.sha256(content).hexdigest()

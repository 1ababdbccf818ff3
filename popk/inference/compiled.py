"""The joint density of a model and data, compiled for nutpie."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from popk.dataset import Dataset
from popk.graph import build
from popk.model import PopModel

__all__ = ["compiled_density", "compiled_graph"]

_KEPT = 2  # densities; each holds its data


def compiled_graph(
    model: PopModel, dataset: Dataset, forms: Mapping[str, str] | None = None
) -> tuple[Any, Any]:
    """The PyMC model in adapted coordinates, and what nutpie makes of it; they share their data.

    PyTensor's functions are read from its cache where a process has compiled them before, for data
    with as many subjects and observations; nutpie's way into them holds addresses, and is made in
    every process.
    """
    import nutpie

    graph = build(model, dataset, adapted=True, forms=forms)
    with warnings.catch_warnings():
        # nutpie's wrapper holds pointers to the data, which Numba cannot store on disk.
        warnings.filterwarnings("ignore", message="Cannot cache compiled function")
        return graph, nutpie.compile_pymc_model(graph)


def compiled_density(model: PopModel, dataset: Dataset, forms: Mapping[str, str]) -> Any:
    """As nutpie compiles it, kept for the next fit of the same model to the same data.

    It is not to be changed: `nutpie` gives a changed copy (``with_data``).
    """
    key = (model.hash, dataset.fingerprint, tuple(sorted(forms.items())))
    return _compiled(_Wanted(key, model, dataset))


@dataclass(frozen=True)
class _Wanted:
    """Equal where model, data and forms are."""

    key: tuple[str, str, tuple[tuple[str, str], ...]]
    model: PopModel = field(hash=False)
    dataset: Dataset = field(hash=False)


@lru_cache(maxsize=_KEPT)
def _compiled(wanted: _Wanted) -> Any:
    return compiled_graph(wanted.model, wanted.dataset, dict(wanted.key[2]))[1]

"""nutpie's sampler on a compiled density."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import logging
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from popk.inference.density.evaluated import Density

__all__ = ["Ready", "Sampler", "begin"]

type Floats = NDArray[np.float64]

_RATE = 100  # milliseconds between reports


@cache
def _library() -> Any:
    """The compiled library of nutpie.

    Importing nutpie imports ArviZ, Matplotlib and, where it is installed, JAX, which takes longer
    than many a fit; the library needs none of them. A later import of nutpie finds it here.
    """
    name = "nutpie._lib"
    if name in sys.modules:
        return sys.modules[name]
    package = importlib.util.find_spec("nutpie")
    for folder in (package.submodule_search_locations or []) if package else []:
        for suffix in importlib.machinery.EXTENSION_SUFFIXES:
            path = Path(folder) / f"_lib{suffix}"
            if path.is_file():
                spec = importlib.util.spec_from_file_location(name, path)
                assert spec is not None
                assert spec.loader is not None
                module = importlib.util.module_from_spec(spec)
                sys.modules[name] = module
                spec.loader.exec_module(module)
                return module
    return importlib.import_module(name)


class Ready(NamedTuple):
    """What is sampled, and where a chain begins, given a seed."""

    density: Density
    around: Callable[..., Floats]


class Sampler:
    """Chains that nutpie draws in the background; its threads hold the density's data."""

    def __init__(self, sampler: Any) -> None:
        self._sampler = sampler

    def wait(self, timeout: float) -> Any:
        """Everything drawn, when it has been drawn.

        Raises
        ------
        TimeoutError
            When there is more to draw after so many seconds.
        """
        self._sampler.wait(timeout)
        return self._sampler.take_results()

    def inspect(self) -> Any:
        """What has been drawn so far."""
        return self._sampler.inspect()

    def abort(self) -> Any:
        """Draw no more; what has been drawn."""
        self._sampler.abort()
        return self._sampler.take_results()


def begin(
    ready: Ready,
    told: Callable[[Any], None],
    *,
    seed: int,
    cores: int,
    stored: bool,
    **settings: Any,
) -> Sampler:
    """Begin to draw chains of the No-U-Turn sampler in the background.

    Parameters
    ----------
    ready
        What is sampled, from where.
    told
        Called with the chains' states now and then, from another thread.
    seed, cores
        Of all chains; chains at a time.
    stored
        Whether positions in the sampler's coordinates are among the statistics.
    settings
        Of nutpie: ``num_tune``, ``num_draws``, ``num_chains``, ``target_accept``, ...
    """
    library = _library()
    logging.getLogger("nutpie").setLevel(logging.WARNING)
    chosen = library.PyNutsSettings.Diag(seed)
    chosen.update(settings)
    if stored:
        chosen.store_unconstrained = True
    sampler = library.PySampler.from_pymc(
        chosen,
        cores,
        _model(library, *ready),
        library.ProgressType.none(),
        told,
        _RATE,
        library.PyStorage.arrow(),
    )
    return Sampler(sampler)


def _model(library: Any, density: Density, around: Callable[..., Floats]) -> Any:
    import pandas as pd

    table = density.table.ctypes.data
    names = list(density.places)
    shapes = [shape for _, shape in density.places.values()]
    coords = {name: pd.Index(labels) for name, labels in density.coords.items()}
    coords["unconstrained_parameter"] = pd.Index(_labels(density))
    lengths = {name: len(labels) for name, labels in coords.items()}
    variables = library.PyVariable.new_variables(
        names, ["float64"] * len(names), shapes, lengths, density.dims
    )
    # The library keeps the density, and so the code and the arrays behind the addresses.
    log_density = library.LogpFunc(density.code.density, table, density)
    expanded = library.ExpandFunc(
        density.size, density.expanded_size, density.code.expanded, table, density
    )
    return library.PyMcModel(
        log_density, expanded, variables, density.size, lengths, coords, around, _no_adapter
    )


def _labels(density: Density) -> list[str]:
    """A name for every coordinate."""
    found = []
    for one in density.code.layout.free:
        _, shape = density.places[one.name]
        found += [
            ".".join([f"{one.name}_{index[0]}", *map(str, index[1:])]) if index else one.name
            for index in np.ndindex(*shape)
        ]
    return found


def _no_adapter(*arguments: Any, **more: Any) -> Any:
    """Nobody asks for a transformation that is learnt."""
    raise NotImplementedError

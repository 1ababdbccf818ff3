"""From a model and data to their density, compiled where that has not been done before."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from popk.dataset import Dataset
from popk.inference.density.code import Code, Key, kept_code, key_of, made_code
from popk.inference.density.evaluated import Density
from popk.inference.density.inputs import inputs_of
from popk.model import PopModel

__all__ = ["compiled_density"]

_KEPT = 8  # models whose code stays in memory


def compiled_density(model: PopModel, dataset: Dataset, forms: Mapping[str, str]) -> Density:
    """The joint density in coordinates that are not adapted yet.

    What is compiled holds no data: it is found again for other data of the same model, in memory
    and on disk (where Numba keeps what it compiles). Only a model that nobody has compiled before
    needs PyMC and PyTensor.

    Parameters
    ----------
    model, dataset
        What is fitted to what.
    forms
        The form of every effect between subjects (`popk.statistics.check_forms`).

    Raises
    ------
    DataError, ModelError, SettingError
        As `popk.graph.build`.
    """
    inputs = inputs_of(model, dataset, forms)
    key = key_of(model, dataset.fingerprint, forms, inputs)

    def make() -> Code:
        from popk.inference.density.functions import graph_functions

        layout, *inner = graph_functions(model, dataset, forms, inputs)
        made = made_code(key, layout, (inner[0], inner[1]))
        # What every later process will load, so that its draws are these draws to the bit.
        return kept_code(key) or made

    return Density(_code(_Wanted(key, [make])), inputs.data, inputs.coords)


@dataclass(frozen=True)
class _Wanted:
    """Equal where the key is; what makes the code is taken out, so that no data are kept."""

    key: Key
    make: list[Callable[[], Code]] = field(compare=False)


@lru_cache(maxsize=_KEPT)
def _code(wanted: _Wanted) -> Code:
    make = wanted.make.pop()
    return kept_code(wanted.key) or make()

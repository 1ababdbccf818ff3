"""From the PyMC model to compiled functions of its coordinates and data, through PyTensor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from popk.dataset import Dataset
from popk.graph import build
from popk.inference.density.inputs import Inputs
from popk.inference.density.layout import Argument, Layout, Named
from popk.model import PopModel

__all__ = ["graph_functions", "symbolic"]


def symbolic(graph: Any) -> tuple[list[Any], list[Any], list[Any]]:
    """Coordinates of a PyMC model; its log density and slopes; what else follows from them."""
    import pytensor.graph
    import pytensor.tensor

    pt: Any = pytensor.tensor  # without the type hints that it has here and there
    rewritten: Any = pytensor.graph
    values = [graph.rvs_to_values[variable] for variable in graph.free_RVs]
    log_density = rewritten.rewrite_graph(graph.logp(), include=["canonicalize", "stabilize"])
    known = {value.name for value in values}
    rest = [one for one in graph.unobserved_value_vars if one.name not in known]
    return values, [log_density, *pt.grad(log_density, values)], rest


def graph_functions(
    model: PopModel, dataset: Dataset, forms: Mapping[str, str], inputs: Inputs
) -> tuple[Layout, Any, Any]:
    """The layout of a model's density, and two functions that Numba will compile.

    They take what the layout says, each coordinate as an array of its own; the first gives the log
    density and its slope by each coordinate, the second what follows from the coordinates.

    Raises
    ------
    DataError, ModelError, SettingError
        As `popk.graph.build`.
    RuntimeError
        When `Inputs` is not what the graph holds; then one of the two is wrong.
    """
    import pytensor

    compile_: Any = pytensor
    graph = build(model, dataset, adapted=True, forms=forms)
    values, density, rest = symbolic(graph)
    made = [
        compile_.function(values, outputs, mode="NUMBA", on_unused_input="ignore")
        for outputs in (density, rest)
    ]
    lengths = {length: name for name, length in graph.dim_lengths.items()}
    arguments = [
        tuple(_argument(variable, lengths, inputs) for variable in function.get_shared())
        for function in made
    ]
    of_value = {graph.rvs_to_values[v].name: v.name for v in graph.free_RVs}
    dims = {name: tuple(map(str, own)) for name, own in graph.named_vars_to_dims.items()}
    layout = Layout(
        free=tuple(_named(one, dims.get(of_value[one.name], ())) for one in values),
        rest=tuple(_named(one, dims.get(one.name, ())) for one in rest),
        transformed=tuple(name for name, variable in of_value.items() if name != variable),
        density=arguments[0],
        expanded=arguments[1],
    )
    return layout, made[0].vm.jit_fn, made[1].vm.jit_fn


def _named(variable: Any, dims: tuple[str, ...]) -> Named:
    shape = dims or variable.type.shape
    if variable.dtype != "float64" or len(shape) != variable.ndim or None in shape:
        raise RuntimeError(f"{variable.name} of the graph has {variable.type} and dims {dims}")
    return Named(variable.name, tuple(shape), dims)


def _argument(variable: Any, lengths: Mapping[Any, str], inputs: Inputs) -> Argument:
    """A shared variable of the graph, once it is certain that `Inputs` has the same."""
    here = np.asarray(variable.get_value(borrow=True))
    name, is_length = lengths.get(variable, variable.name), variable in lengths
    known = inputs.lengths if is_length else inputs.data
    if name not in known or not np.array_equal(here, known[name], equal_nan=here.dtype.kind == "f"):
        raise RuntimeError(f"the graph's {name} is not what `inputs_of` gives")
    if any(size is not None for size in variable.type.shape):
        raise RuntimeError(f"the graph's {name} has the fixed shape {variable.type.shape}")
    return Argument(name, here.dtype.name, here.ndim, is_length)

"""The joint density of a model and data as functions of JAX."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from popk.dataset import Dataset
from popk.graph import build
from popk.model import PopModel
from popk.structure.jax_op import register_for_jax

__all__ = ["JaxDensity", "jax_density"]

type Floats = NDArray[np.float64]

# Beginnings of the names of what shapes the coordinates: it changes, everything else is constant.
_CHANGING = ("curvature", "pull", "occasion_curvature", "occasion_pull", "centred_")
_AT_A_TIME = 200  # draws whose variables are computed


@dataclass(frozen=True)
class JaxDensity:
    """The model in adapted coordinates, as `popk.inference.start.Point` reads it.

    Parameters
    ----------
    value_and_gradient
        Takes a point x (size) and ``data``, both of JAX: log density and gradient (size). The
        gradient is PyTensor's: JAX would differentiate what the model holds constant.
    variables
        Takes the same: every variable of the model, those of ``places`` in order.
    places
        Place of each variable in the vector of all, and its shape; the sampled ones first.
    size
        Number of coordinates.
    data
        What shapes the coordinates, by name.
    kept, dims, coords
        The variables that users know, their dimensions, and the coordinates of these.
    """

    value_and_gradient: Callable[[Any, Any], tuple[Any, Any]]
    variables: Callable[[Any, Any], Sequence[Any]]
    places: dict[str, tuple[slice, tuple[int, ...]]]
    size: int
    data: dict[str, Any]
    kept: tuple[str, ...]
    dims: dict[str, tuple[str, ...]]
    coords: dict[str, Any]

    def with_data(self, **updates: Floats) -> JaxDensity:
        """The same in other coordinates."""
        return replace(self, data=self.data | updates)

    def log_density(self, x: Floats) -> tuple[float, Floats]:
        """Log density and gradient at a point."""
        value, gradient = self.value_and_gradient(x, self.data)
        return float(value), np.asarray(gradient)

    def expand(self, x: Floats) -> dict[str, Floats]:
        """Every variable at a point."""
        values = self.variables(x, self.data)
        return {name: np.asarray(own) for name, own in zip(self.places, values, strict=True)}

    def draws(self, x: Floats) -> dict[str, Floats]:
        """The variables that users know (n, …) at points (n, size)."""
        import jax

        many = jax.jit(jax.vmap(self.variables, in_axes=(0, None)))
        parts: dict[str, list[Floats]] = {name: [] for name in self.kept}
        for start in range(0, len(x), _AT_A_TIME):
            block = x[start : start + _AT_A_TIME]
            # One size, so that it is compiled once.
            padded = np.concatenate([block, np.repeat(block[-1:], _AT_A_TIME - len(block), axis=0)])
            values = many(padded, self.data)
            for name, value in zip(self.places, values, strict=True):
                if name in parts:
                    parts[name].append(np.asarray(value)[: len(block)])
        return {name: np.concatenate(own) for name, own in parts.items()}


def jax_density(model: PopModel, dataset: Dataset, forms: Mapping[str, str]) -> JaxDensity:
    """The joint density, translated by PyTensor's JAX backend.

    Parameters
    ----------
    model, dataset
        What is fitted to what.
    forms
        The form of every effect between subjects (`popk.statistics.check_forms`).

    Raises
    ------
    SettingError
        When JAX cannot compute the model, see `popk.structure.jax_op.register_for_jax`.
    """
    register_for_jax(model.structure)
    import jax
    from pytensor.gradient import grad

    graph = build(model, dataset, adapted=True, forms=forms)
    free = [graph.rvs_to_values[variable] for variable in graph.free_RVs]
    density = graph.logp()
    gradient: Any = grad(density, free)
    point = graph.initial_point()
    shapes = [np.shape(point[value.name]) for value in free]
    sizes = [math.prod(shape) for shape in shapes]
    ends = np.cumsum(sizes)
    others = [v for v in graph.unobserved_value_vars if v.name not in {f.name for f in free}]
    changing = [data for data in graph.data_vars if str(data.name).startswith(_CHANGING)]
    names = [str(data.name) for data in changing]
    log_density = _translated(free, changing, [density, *gradient])
    remaining = _translated(free, changing, others)

    def parts(x: Any) -> list[Any]:
        pieces = zip(ends, sizes, shapes, strict=True)
        return [x[end - size : end].reshape(shape) for end, size, shape in pieces]

    def value_and_gradient(x: Any, data: Any) -> tuple[Any, Any]:
        value, *slopes = log_density(*parts(x), *(data[name] for name in names))
        flat = [jax.numpy.ravel(slope) for slope in slopes]
        return value, jax.numpy.concatenate(flat)

    def variables(x: Any, data: Any) -> list[Any]:
        own = parts(x)
        return [*own, *remaining(*own, *(data[name] for name in names))]

    n_dim = int(sum(sizes))
    data = {str(one.name): np.asarray(one.get_value(), dtype=float) for one in changing}
    found = jax.eval_shape(variables, np.zeros(n_dim), data)
    every = [tuple(value.shape) for value in found]
    last = np.cumsum([math.prod(shape) for shape in every])
    slices = [slice(int(e) - math.prod(s), int(e)) for e, s in zip(last, every, strict=True)]
    transformed = {
        graph.rvs_to_values[v].name for v in graph.free_RVs if graph.rvs_to_transforms[v]
    }
    all_names = [str(variable.name) for variable in (*free, *others)]
    return JaxDensity(
        value_and_gradient=jax.jit(value_and_gradient),
        variables=jax.jit(variables),
        places=dict(zip(all_names, zip(slices, every, strict=True), strict=True)),
        size=n_dim,
        data=data,
        kept=tuple(name for name in all_names if name not in transformed),
        dims={k: tuple(map(str, v)) for k, v in graph.named_vars_to_dims.items()},
        coords={
            str(name): np.asarray(own) for name, own in graph.coords.items() if own is not None
        },
    )


def _translated(
    free: Sequence[Any], changing: Sequence[Any], outputs: Sequence[Any]
) -> Callable[..., Sequence[Any]]:
    """A function of JAX of the free variables and of what changes; other data are constants."""
    import pytensor.tensor as pt
    from pytensor.compile.mode import JAX
    from pytensor.compile.sharedvalue import SharedVariable
    from pytensor.graph.fg import FunctionGraph
    from pytensor.graph.replace import clone_replace
    from pytensor.graph.traversal import graph_inputs
    from pytensor.link.jax.dispatch.basic import jax_funcify

    if not outputs:
        return lambda *_: ()
    given = {data: pt.tensor(shape=data.get_value().shape, dtype=data.dtype) for data in changing}
    constants: dict[Any, Any] = {
        one: pt.constant(cast(Any, one).get_value())
        for one in graph_inputs(outputs)
        if isinstance(one, SharedVariable) and one not in given
    }
    cloned = clone_replace(list(outputs), replace=constants | given)
    inputs = [*free, *given.values()]
    graph = FunctionGraph(inputs, cloned, clone=True)
    # As PyMC compiles: a parameter out of its range has density zero.
    mode: Any = JAX
    mode.including("local_check_parameter_to_ninf_switch").optimizer.rewrite(graph)
    translated: Callable[..., Sequence[Any]] = jax_funcify(graph)
    return translated

"""The structure as one differentiable operation of PyTensor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast, override

import numba
import numpy as np
import pytensor.tensor as pt
from pytensor.gradient import DisconnectedType
from pytensor.graph.basic import Apply, Variable
from pytensor.graph.op import Op
from pytensor.link.numba.dispatch.basic import register_funcify_and_cache_key
from pytensor.tensor.variable import TensorVariable

from popk.structure.base import Structure
from popk.structure.jit import source_hash


class Concentration(Op):
    """Concentrations and their gradient, from individual parameters and events.

    Inputs: theta (n_subjects, n_parameters), the subject of each observation (n_observations), and
    the nine arrays of prepared `Events`. Outputs: concentration (n_observations) and its gradient
    (n_observations, n_parameters) by the parameters of the observation's subject. Both come from
    one pass, so the vector-Jacobian product costs nothing but a sum.
    """

    __props__ = ("structure",)

    def __init__(self, structure: Structure) -> None:
        self.structure = structure

    @override
    def make_node(self, *inputs: Any) -> Apply[Any]:
        inputs = tuple(pt.as_tensor(value) for value in inputs)
        outputs = [pt.dvector("concentration"), pt.dmatrix("gradient")]
        return Apply(self, list(inputs), outputs)

    @override
    def perform(self, node: Apply[Any], inputs: Sequence[Any], output_storage: Any) -> None:
        theta, subject_of, *events = inputs
        concentration = np.empty(len(subject_of))
        gradient = np.empty((len(subject_of), theta.shape[1]))
        self.structure.kernel(
            np.ascontiguousarray(theta),
            np.arange(len(theta)),
            np.zeros(len(theta), np.int64),
            *map(np.ascontiguousarray, events),
            concentration,
            gradient,
            True,
        )
        output_storage[0][0], output_storage[1][0] = concentration, gradient

    def infer_shape(self, node: Apply[Any], shapes: Any) -> list[tuple[Any, ...]]:
        """Shapes of the outputs, from those of the inputs."""
        theta, subject_of = shapes[:2]
        return [(subject_of[0],), (subject_of[0], theta[1])]

    def connection_pattern(self, node: Apply[Any]) -> list[list[bool]]:
        """Theta moves both outputs; were the gradient left out, a Hessian would lack a part."""
        return [[True, True]] + [[False, False]] * (len(node.inputs) - 1)

    @override
    def pullback(
        self,
        inputs: Sequence[Variable[Any, Any]],
        outputs: Sequence[Variable[Any, Any]],
        cotangents: Sequence[Variable[Any, Any]],
    ) -> list[Variable[Any, Any]]:
        theta, subject_of, gradient = pt.as_tensor(inputs[0]), inputs[1], pt.as_tensor(outputs[1])
        if not isinstance(cotangents[1].type, DisconnectedType):
            raise NotImplementedError("second derivatives of concentrations are not available")
        rows = pt.as_tensor(cotangents[0])[:, None] * gradient
        by_theta = pt.zeros(theta.shape)[subject_of].inc(rows)
        return [by_theta, *(DisconnectedType()() for _ in inputs[1:])]


@register_funcify_and_cache_key(Concentration)  # type: ignore[no-untyped-call, untyped-decorator]
def _numba_concentration(
    op: Concentration, node: Apply[Any] | None = None, **_: Any
) -> tuple[Callable[..., Any], str]:
    kernel = op.structure.kernel

    @numba.njit
    def concentration(
        theta: Any,
        subject_of: Any,
        first: Any,
        time: Any,
        kind: Any,
        amount: Any,
        duration: Any,
        interval: Any,
        repeats: Any,
        compartment: Any,
        output: Any,
    ) -> Any:
        value = np.empty(len(subject_of))
        gradient = np.empty((len(subject_of), theta.shape[1]))
        rows = len(theta)
        kernel(
            np.ascontiguousarray(theta),
            np.arange(rows),
            np.zeros(rows, np.int64),
            np.ascontiguousarray(first),
            np.ascontiguousarray(time),
            np.ascontiguousarray(kind),
            np.ascontiguousarray(amount),
            np.ascontiguousarray(duration),
            np.ascontiguousarray(interval),
            np.ascontiguousarray(repeats),
            np.ascontiguousarray(compartment),
            np.ascontiguousarray(output),
            value,
            gradient,
            True,
        )
        return value, gradient

    return concentration, f"popk-{op.structure.label}-{source_hash()}"


def concentration(
    structure: Structure, theta: TensorVariable[Any, Any], subject_of: Any, events: Sequence[Any]
) -> TensorVariable[Any, Any]:
    """Symbolic concentrations (n_observations) of a cohort.

    Parameters
    ----------
    structure
        The equations.
    theta
        Individual parameters (n_subjects, n_parameters), in the structure's order.
    subject_of
        Index of the subject of each observation (n_observations).
    events
        The nine arrays of prepared `Events`, symbolic or not.
    """
    value, _ = cast(Sequence[Any], Concentration(structure)(theta, subject_of, *events))
    return cast(TensorVariable[Any, Any], value)

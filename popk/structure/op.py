"""The structure as one differentiable operation of PyTensor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast, override

import numba
import numpy as np
import pytensor.tensor as pt
from numba import carray  # type: ignore[attr-defined]
from pytensor.gradient import DisconnectedType
from pytensor.graph.basic import Apply, Variable
from pytensor.graph.op import Op
from pytensor.link.numba.dispatch.basic import register_funcify_and_cache_key
from pytensor.tensor.variable import TensorVariable

from popk.structure.base import Structure
from popk.structure.engine.compiled import compiled, loop_of
from popk.structure.engine.plan import external
from popk.structure.engine.prepare import INPUTS, arrays_of

__all__ = ["INPUTS", "Prediction", "arrays_of", "prediction"]


class Prediction(Op):
    """Outputs and their gradient, from individual parameters and a schedule.

    Inputs: theta (n_rows, n_parameters) and `INPUTS`. Outputs: values (n_outputs) and gradient
    (n_slopes, n_parameters), see `popk.structure.solve.Solution`. Both come from one pass, so the
    vector-Jacobian product costs nothing but a sum.
    """

    __props__ = ("structure",)

    def __init__(self, structure: Structure) -> None:
        self.structure = structure

    @override
    def make_node(self, *inputs: Any) -> Apply[Any]:
        # Data containers hold small integers; the solver knows one kind.
        taken = [
            x if x.dtype == "float64" else pt.cast(x, "int64" if "int" in x.dtype else "float64")
            for x in map(pt.as_tensor, inputs)
        ]
        return Apply(self, taken, [pt.dvector("value"), pt.dmatrix("gradient")])

    @override
    def perform(self, node: Apply[Any], inputs: Sequence[Any], output_storage: Any) -> None:
        theta, subject_of, output_of, _, tasks, *schedule = inputs
        value = np.full(len(subject_of), np.inf)
        gradient = np.zeros((len(output_of), theta.shape[1]))
        loop = loop_of(exact=self.structure.closed_form is not None)
        arrays = [np.ascontiguousarray(array) for array in schedule]
        theta, tasks = np.ascontiguousarray(theta), np.ascontiguousarray(tasks)
        for implicit in (self.structure.is_stiff, True):
            failed = np.zeros(len(tasks), np.int64)
            description = compiled(self.structure, implicit=implicit).description
            loop(description, theta, tasks, *arrays, value, gradient, True, failed)
            tasks = tasks[failed > 0]
            if not len(tasks):
                break
        output_storage[0][0], output_storage[1][0] = value, gradient

    def infer_shape(self, node: Apply[Any], shapes: Any) -> list[tuple[Any, ...]]:
        """Shapes of the outputs, from those of the inputs."""
        theta, subject_of, output_of = shapes[:3]
        return [(subject_of[0],), (output_of[0], theta[1])]

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
        theta, output_of, row_of = pt.as_tensor(inputs[0]), inputs[2], inputs[3]
        if not isinstance(cotangents[1].type, DisconnectedType):
            raise NotImplementedError("second derivatives of predictions are not available")
        rows = pt.as_tensor(cotangents[0])[output_of][:, None] * pt.as_tensor(outputs[1])
        by_theta = pt.zeros(theta.shape)[row_of].inc(rows)
        return [by_theta, *(DisconnectedType()() for _ in inputs[1:])]


@register_funcify_and_cache_key(Prediction)  # type: ignore[no-untyped-call, untyped-decorator]
def _numba_prediction(
    op: Prediction, node: Apply[Any] | None = None, **_: Any
) -> tuple[Callable[..., Any], str]:
    ready = compiled(op.structure)
    exact = op.structure.closed_form is not None
    loop = loop_of(exact=exact)
    # What is too stiff for explicit steps; a closed form never is.
    second = ready if exact else compiled(op.structure, implicit=True)
    address, size = external(ready.symbol), len(ready.description)
    second_address = external(second.symbol)

    @numba.njit
    def prediction(
        theta: Any,
        subject_of: Any,
        output_of: Any,
        row_of: Any,
        tasks: Any,
        first: Any,
        numbers: Any,
        codes: Any,
        traits: Any,
        rounds: Any,
        starts: Any,
        operations: Any,
        vectors: Any,
    ) -> Any:
        value = np.full(len(subject_of), np.inf)
        gradient = np.zeros((len(output_of), theta.shape[1]))
        theta, tasks = np.ascontiguousarray(theta), np.ascontiguousarray(tasks)
        first, numbers = np.ascontiguousarray(first), np.ascontiguousarray(numbers)
        codes, traits = np.ascontiguousarray(codes), np.ascontiguousarray(traits)
        rounds, starts = np.ascontiguousarray(rounds), np.ascontiguousarray(starts)
        operations, vectors = np.ascontiguousarray(operations), np.ascontiguousarray(vectors)
        failed = np.zeros(len(tasks), np.int64)
        description = carray(address(), (size,))
        loop(
            description, theta, tasks, first, numbers, codes, traits, rounds, starts, operations,
            vectors, value, gradient, True, failed,
        )  # fmt: skip
        if np.any(failed):
            rest = tasks[failed > 0]
            again = np.zeros(len(rest), np.int64)
            description = carray(second_address(), (size,))
            loop(
                description,
                theta,
                rest,
                first,
                numbers,
                codes,
                traits,
                rounds,
                starts,
                operations,
                vectors,
                value,
                gradient,
                True,
                again,
            )
        return value, gradient

    return prediction, ready.symbol


def prediction(
    structure: Structure, theta: TensorVariable[Any, Any], inputs: Sequence[Any]
) -> TensorVariable[Any, Any]:
    """Symbolic outputs (n_outputs) of a cohort.

    Parameters
    ----------
    structure
        The equations.
    theta
        Individual parameters (n_rows, n_parameters), in the structure's order.
    inputs
        The arrays named in `INPUTS`, as `arrays_of` gives them, symbolic or not.
    """
    value, _ = cast(Sequence[Any], Prediction(structure)(theta, *inputs))
    return cast(TensorVariable[Any, Any], value)

"""The structure's operation by PyTensor's JAX backend: values and gradient of the solver."""

from __future__ import annotations

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from pytensor.compile.mode import Mode

from popk.errors import SettingError
from popk.structure import (
    Dosing,
    Events,
    FirstOrder,
    MichaelisMenten,
    OneCompartment,
    TwoCompartment,
)
from popk.structure.engine.prepare import prepare
from popk.structure.events import DOSE, OBSERVE, ROW
from popk.structure.jax_op import register_for_jax
from popk.structure.op import Prediction, arrays_of

# (time, kind, amount, rate, interval, compartment, repeats, steady state, row), by subject.
HISTORIES = (
    [(0.0, DOSE, 300.0, 0.0, 28.0, 0, 4, 0, 0), (50.0, OBSERVE), (80.0, OBSERVE)],
    [(0.0, DOSE, 100.0, 50.0, 0.0, 0, 1, 0, 0), (1.0, OBSERVE)],
    [
        (0.0, DOSE, 300.0, 0.0, 12.0, 0, 1, 1, 0),
        (3.0, OBSERVE),
        (3.0, ROW, 0.0, 0.0, 0.0, 0, 0, 0, 1),
        (9.0, OBSERVE, 0.0, 0.0, 0.0, 0, 0, 0, 1),
    ],
)


def cohort() -> Events:
    """Three subjects, the last with two rows of parameters."""
    first, rows, number, code = [0], [0], [], []
    for history in HISTORIES:
        for record in history:
            time, kind, amount, rate, interval, where, repeats, steady, row = (
                *record, *(0,) * (9 - len(record)),
            )  # fmt: skip
            number.append((time, amount, rate, interval))
            output = sum(kept[5] >= 0 for kept in code) if kind == OBSERVE else -1
            code.append((kind, where, repeats, steady, row, output, 0))
        first.append(len(number))
        rows.append(rows[-1] + 1 + max((record[8:] or (0,))[0] for record in history))
    return Events(np.array(first), np.array(rows), np.array(number), np.array(code))


def graph(structure, events, wrap=pt.constant):
    theta = pt.dmatrix("theta")
    arrays = arrays_of(prepare(structure, events))
    value, gradient = Prediction(structure)(theta, *map(wrap, arrays.values()))
    weights = np.linspace(0.5, 2.0, 5)[: prepare(structure, events).n_outputs]
    return theta, [value, gradient, pt.grad((value * weights).sum(), theta)]


@pytest.mark.parametrize(
    "structure",
    [
        OneCompartment(),
        pytest.param(TwoCompartment(absorption=FirstOrder()), marks=pytest.mark.slow),
    ],
    ids=repr,
)
def test_values_gradient_and_pullback_are_the_solver_s(structure):
    register_for_jax(structure)
    theta, outputs = graph(structure, cohort())
    by_jax = pytensor.function([theta], outputs, mode="JAX")
    plain = pytensor.function([theta], outputs, mode=Mode("py", None))
    rng = np.random.default_rng(2)
    example = np.array([parameter.example for parameter in structure.kinetics])
    at = example * np.exp(rng.normal(0.0, 0.3, (4, len(example))))
    for found, expected in zip(by_jax(at), plain(at), strict=True):
        assert np.abs(expected).max() > 0
        scale = np.abs(expected).max()
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-11 * scale)


def test_jax_makes_the_same_derivatives():
    import jax
    from pytensor.compile.mode import JAX
    from pytensor.graph.fg import FunctionGraph
    from pytensor.link.jax.dispatch.basic import jax_funcify

    structure = OneCompartment()
    register_for_jax(structure)
    theta, (value, gradient, pulled) = graph(structure, cohort())
    graph_of = FunctionGraph([theta], [value, gradient, pulled], clone=True)
    JAX.optimizer.rewrite(graph_of)
    function = jax_funcify(graph_of)
    at = np.array([[0.2, 4.0], [0.1, 5.0], [0.3, 4.0], [0.25, 4.5]])
    weights = np.linspace(0.5, 2.0, 5)[:5]
    own = jax.grad(lambda x: (function(x)[0] * weights).sum())(at)
    np.testing.assert_allclose(own, function(at)[2], rtol=1e-12)


def test_events_that_may_change_are_refused():
    structure = OneCompartment()
    register_for_jax(structure)
    theta, outputs = graph(structure, cohort(), wrap=pytensor.shared)
    with pytest.raises(SettingError, match=r"no constants .*popk.build\(model, dataset, jax=True"):
        pytensor.function([theta], outputs, mode="JAX")


@pytest.mark.parametrize(
    ("structure", "says"),
    [
        (OneCompartment(elimination=MichaelisMenten()), "no closed form.* Marginal or NUTS"),
        (OneCompartment(dosing=Dosing(lag=(1,))), "have parameters .ALAG1.* Marginal or NUTS"),
    ],
)
def test_what_jax_cannot_solve_is_refused(structure, says):
    with pytest.raises(SettingError, match=says):
        register_for_jax(structure)


def test_single_precision_is_refused():
    import jax

    register_for_jax(OneCompartment())  # which switches to double precision when it is loaded
    jax.config.update("jax_enable_x64", False)
    try:
        with pytest.raises(SettingError, match="jax_enable_x64"):
            register_for_jax(OneCompartment())
    finally:
        jax.config.update("jax_enable_x64", True)

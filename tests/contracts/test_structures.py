"""What every structure must keep, solved by the engine: all that any module gives as an example."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import pkgutil
import sys
from functools import cache
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from popk import structure as package
from popk.structure import Custom, Solver, Structure
from popk.structure.events import DOSE, RESET
from popk.units import Units

UNITS = Units.parse({"time": "d", "amount": "mg", "concentration": "mg/L"})


def found():
    """Examples of every module of the package that gives some."""
    for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        if not module.ispkg:
            examples = getattr(import_module(module.name), "examples", tuple)()
            yield from (example for example in examples if isinstance(example, Structure))


EXAMPLES = list(dict.fromkeys(found()))
each = pytest.mark.parametrize("structure", EXAMPLES, ids=repr)


@cache
def histories():
    """The module tests/structure/histories.py."""
    path = Path(__file__).parents[1] / "structure" / "histories.py"
    spec = spec_from_file_location("popk_structure_histories", path)
    module = module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclasses look themselves up there
    spec.loader.exec_module(module)
    return module


def parameters(structure):
    return np.array([parameter.example for parameter in structure.parameters])


def doses(structure):
    """Of every kind that the structure knows, into the first compartment and the central one."""
    dose, dosing = histories().dose, structure.dosing
    given, time = [], 1.0
    names = structure.compartments
    depots = {names.index(name) for name in names if name.startswith("depot")}
    for into in sorted({0, names.index("central")} | depots):
        modelled = into + 1 in (*structure.zero_order, *dosing.duration)
        kinds = [{"rate": -2.0} if modelled else {}, {"over": 0.7}]
        kinds += [{"rate": -1.0}] if into + 1 in dosing.rate else []
        for kind in kinds:
            given.append(dose(time, 100.0, into=into, **kind))
            time += 3.1
    return given


def records(structure):
    """Before, after and between the doses, every output; then a reset and one more dose."""
    h = histories()
    outputs = range(len(structure.outputs))
    given = doses(structure)
    end = given[-1].time
    times = (0.5, 1.4, 2.3, end + 0.03, end + 2.2, end + 9.0)
    seen = [r for time in times for what in outputs for r in h.observe(time, what=what)]
    after = [h.reset(end + 10), *[r for what in outputs for r in h.observe(end + 10.5, what=what)]]
    again = [given[0]._replace(time=end + 11.0), *h.observe(end + 12.7)]
    return [*h.in_order(*given, *seen), *after, *again]


@cache
def solution(structure):
    """Value and gradient at the examples."""
    table = histories().events(records(structure))
    return Solver(structure, table).run(parameters(structure)[None])


def is_before_doses(structure):
    """Outputs before the first dose and after the reset."""
    n = len(structure.outputs)
    size = len(solution(structure).value)
    place = np.arange(size)
    return (place < n) | ((place >= size - 1 - n) & (place < size - 1))


def test_there_are_structures():
    assert len(EXAMPLES) >= 20
    kinds = {type(example).__name__ for example in EXAMPLES}
    concrete = {
        name
        for name in package.__all__
        if isinstance(kind := getattr(package, name), type)
        and issubclass(kind, Structure)
        and kind is not Structure
    }
    assert concrete <= kinds, f"without an example: {concrete - kinds}"


def test_no_two_examples_are_taken_for_each_other():
    from popk.structure.engine.compiled import label_of

    assert len({label_of(structure) for structure in EXAMPLES}) == len(EXAMPLES)


@each
def test_names_and_units(structure):
    for parts in (structure.parameters, structure.outputs):
        assert len({part.name for part in parts}) == len(parts) > 0
        for part in parts:
            assert UNITS.of(part.dimension)
            assert part.meaning
    assert all(parameter.name.isupper() for parameter in structure.parameters)
    assert all(output.name.islower() for output in structure.outputs)
    assert len(set(structure.compartments)) == len(structure.compartments) > 0
    assert set(structure.deviations) <= set(structure.compartments)
    n = len(structure.compartments)
    assert all(o.compartment is None or 1 <= o.compartment <= n for o in structure.outputs)
    assert structure.names == tuple(p.name for p in structure.kinetics) + tuple(
        p.name for p in structure.dosing.parameters
    )


@each
def test_it_is_a_value(structure):
    same = copy.deepcopy(structure)
    assert same is not structure
    assert same == structure
    assert hash(same) == hash(structure)
    assert repr(same) == repr(structure)
    assert pickle.loads(pickle.dumps(structure)) == structure
    assert sum(other == structure for other in EXAMPLES) == 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        structure.anything = None


@each
def test_value_and_gradient_are_those_of_its_own_rates(structure):
    h = histories()
    theta = parameters(structure)
    stiff = {"method": "Radau", "rtol": 1e-9, "atol": 1e-11}
    plain = {"rtol": 1e-10, "atol": 1e-12}
    kinetics = h.ByScipy(structure, **(stiff if structure.is_stiff else plain))
    simulator = h.Simulator(kinetics, structure.names, theta, central=True)
    expected, slopes = simulator.follow(records(structure))
    value, gradient = solution(structure)
    np.testing.assert_allclose(
        value, expected, rtol=5e-4 if structure.is_stiff else 1e-4, atol=1e-7
    )
    scale = np.maximum(np.abs(slopes[:, 0]), 0.1 * np.abs(expected)[:, None] / theta) + 1e-6 / theta
    wrong = np.abs(gradient - slopes[:, 0]) / scale
    worst = np.unravel_index(np.argmax(wrong), wrong.shape)
    assert np.max(wrong) < 5e-3, (
        f"output {worst[0]} by {structure.names[worst[1]]}: {gradient[worst]} instead of "
        f"{slopes[worst[0], 0, worst[1]]}"
    )


@each
def test_without_drug_everything_is_at_its_baseline(structure):
    theta = dict(zip(structure.names, parameters(structure), strict=True))
    nothing = SimpleNamespace(**dict.fromkeys(structure.compartments, 0.0))
    baseline = structure.read(0.5, nothing, SimpleNamespace(**theta))
    value, gradient = solution(structure)
    without = is_before_doses(structure)
    np.testing.assert_allclose(value[without], [*baseline, *baseline], rtol=1e-12)
    at_zero = without & (value == 0.0)
    np.testing.assert_array_equal(gradient[at_zero], 0.0)


def given_so_far(table):
    """At each observation, all that was given since the beginning or the last reset."""
    given = 0.0
    for record in table:
        if record.kind == RESET:
            given = 0.0
        elif record.kind == DOSE:
            given += record.amount
        else:
            yield given


@each
def test_amounts_are_not_negative_and_no_more_than_was_given(structure):
    value, _ = solution(structure)
    theta = dict(zip(structure.names, parameters(structure), strict=True))
    observed = [r.what for r in records(structure) if r.kind == 0]
    outputs = [structure.outputs[what] for what in observed]
    measured = np.array([o.dimension in ("amount", "concentration") for o in outputs])
    assert np.all(value[measured] >= 0.0)
    central = np.array([o.name in ("concentration", "free_concentration") for o in outputs])
    assert central.any() or isinstance(structure, Custom)
    given = np.array(list(given_so_far(records(structure))))
    amount = value[central] * theta.get("V", theta.get("V1"))
    assert np.all(amount <= given[central] * (1 + 1e-5))


@each
def test_every_parameter_moves_something(structure):
    """By a ten-thousandth of its own relative change at least."""
    value, gradient = solution(structure)
    seen = ~is_before_doses(structure) & (value > 1e-6 * np.abs(value).max())
    relative = np.abs(gradient[seen] * parameters(structure) / value[seen, None]).max(axis=0)
    still = [n for n, moved in zip(structure.names, relative, strict=True) if not moved > 1e-4]
    assert not still


FACTORS = {"time": 24.0, "amount": 1e3, "volume": 10.0, "concentration": 1e3 / 10.0}


def factor(dimension):
    """By how much numbers of this dimension grow with those of `FACTORS`."""
    return 1.0 if dimension.startswith("effect in ") else eval(dimension, {}, FACTORS)


def worst_in_other_units(structure, **wrong):
    """How far outputs move, relative, when everything is converted; ``wrong``: false dimensions."""
    value = solution(structure).value
    table = records(structure)
    converted = [
        r._replace(
            time=factor("time") * r.time,
            amount=factor("amount") * r.amount,
            rate=r.rate if r.rate < 0.0 else factor("amount/time") * r.rate,
            interval=factor("time") * r.interval,
        )
        for r in table
    ]
    dimensions = [wrong.get(p.name, p.dimension) for p in structure.parameters]
    theta = parameters(structure) * [factor(dimension) for dimension in dimensions]
    solver = Solver(structure, histories().events(converted))
    found = solver.run(theta[None], with_gradient=False).value
    observed = [structure.outputs[r.what].dimension for r in table if r.kind == 0]
    back = found / [factor(dimension) for dimension in observed]
    return np.max(np.abs(back - value) / (np.abs(value) + 1e-6 * np.abs(value).max()))


@each
def test_dimensions_are_those_of_the_equations(structure):
    """Hours for days, micrograms for milligrams, decilitres for litres: nothing moves."""
    assert worst_in_other_units(structure) < 1e-5


def test_a_wrong_dimension_would_be_noticed():
    structure = next(s for s in EXAMPLES if "KOUT" in s.names)
    assert worst_in_other_units(structure, KOUT="time") > 1e-2
    assert worst_in_other_units(structure, CL="volume") > 1e-2


@pytest.mark.parametrize(
    "structure", [s for s in EXAMPLES if s.closed_form and "effect" not in s.outputs[-1].name],
    ids=repr,
)  # fmt: skip
def test_closed_forms_are_proportional_to_the_dose(structure):
    """The rate of a dose whose rate is a parameter, too."""
    double = [r._replace(amount=2 * r.amount, rate=max(2 * r.rate, r.rate)) if r.amount else r
              for r in records(structure)]  # fmt: skip
    is_rate = [parameter.dimension == "amount/time" for parameter in structure.parameters]
    theta = parameters(structure) * np.where(is_rate, 2.0, 1.0)
    more = Solver(structure, histories().events(double)).run(theta[None], with_gradient=False)
    np.testing.assert_allclose(more.value, 2 * solution(structure).value, rtol=1e-11)


@each
def test_nothing_but_numbers_around_the_examples(structure):
    rng = np.random.default_rng(3)
    theta = parameters(structure) * np.exp(rng.uniform(-3, 3, (200, len(structure.names))))
    solver = Solver(structure, histories().events(records(structure)))
    value, gradient = solver.ensemble(theta[:, None, :], with_gradient=True)
    bad = ~np.all(np.isfinite(value), axis=1) | ~np.all(np.isfinite(gradient), axis=(1, 2))
    assert not bad.any(), f"{bad.sum()} points, the first is {theta[bad][0].tolist()}"

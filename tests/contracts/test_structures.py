"""What every structure, with every elimination, must keep."""

from __future__ import annotations

import dataclasses
import inspect
import itertools
import pickle
import typing

import numpy as np
import pytest

from popk import structure as package
from popk.errors import SettingError
from popk.model import PopModel
from popk.statistics import Additive, HalfNormal, LogNormal
from popk.structure import Events, Structure, concentrations, concentrations_with_gradient, ensemble
from popk.structure.compartments import Elimination
from popk.structure.events import DOSE, OBSERVE, RESET
from popk.units import Units

UNITS = Units.parse({"time": "d", "amount": "mg", "concentration": "mg/L"})
KERNEL = (
    "theta",
    "subject",
    "offset",
    *Events._fields,
    "concentration",
    "gradient",
    "with_gradient",
)


def concrete(kind):
    """Every class below that can be made."""
    below = [found for sub in kind.__subclasses__() for found in concrete(sub)]
    return below if inspect.isabstract(kind) or kind.__name__.startswith("_") else [kind, *below]


def variants():
    """Every structure with every value of every field that chooses an elimination."""
    eliminations = [kind() for kind in typing.get_args(Elimination.__value__)]
    for kind in concrete(Structure):
        fields = [field.name for field in dataclasses.fields(kind)]
        assert set(fields) <= {"elimination"}, f"{kind.__name__} has fields unknown to this test"
        for values in itertools.product(*([eliminations] * len(fields))):
            yield kind(**dict(zip(fields, values, strict=True)))


VARIANTS = list(variants())
each = pytest.mark.parametrize("structure", VARIANTS, ids=lambda s: s.label)


def plausible(structure, n=1):
    """Values of an antibody, by what a parameter measures."""
    typical = {"volume/time": 0.3, "volume": 4.0, "amount/time": 3.0, "concentration": 1.0}
    centre = np.array([typical[p.dimension] for p in structure.parameters])
    return centre * np.exp(0.3 * np.random.default_rng(1).standard_normal((n, len(centre))))


def events(scale=1.0):
    """A sample before, in and after an infusion, and after a reset."""
    rows = [(0.0, OBSERVE, 0, 0), (1.0, DOSE, 300 * scale, 0.5), (1.25, OBSERVE, 0, 0),
            (20.0, OBSERVE, 0, 0), (21.0, DOSE, 100 * scale, 0.0), (30.0, OBSERVE, 0, 0),
            (31.0, RESET, 0, 0), (32.0, OBSERVE, 0, 0)]  # fmt: skip
    time, kind, amount, duration = (np.array(column) for column in zip(*rows, strict=True))
    zero, dose = np.zeros(len(rows)), kind == DOSE
    output = np.where(kind == OBSERVE, np.cumsum(kind == OBSERVE) - 1, -1)
    return Events(
        np.array([0, len(rows)]), time, kind, amount.astype(float), duration, zero,
        dose.astype(int), zero.astype(int), output,
    )  # fmt: skip


def test_there_are_structures():
    assert len(VARIANTS) >= 4
    assert {type(v).__name__ for v in VARIANTS} <= set(package.__all__)


def test_labels_are_unique():
    labels = [structure.label for structure in VARIANTS]
    assert len(set(labels)) == len(labels)


@each
def test_parameters_are_named_once_and_have_units(structure):
    assert len(set(structure.names)) == len(structure.names) > 0
    for parameter in structure.parameters:
        assert parameter.name.isupper()
        assert UNITS.of(parameter.dimension)
        assert parameter.meaning
    assert structure.parameters[1].dimension == "volume"  # the kernels divide by it
    assert len(structure.compartments) >= 1


@each
def test_it_is_a_value(structure):
    same = type(structure)(
        **{field.name: getattr(structure, field.name) for field in dataclasses.fields(structure)}
    )
    assert same == structure
    assert hash(same) == hash(structure)
    assert pickle.loads(pickle.dumps(structure)) == structure
    assert sum(other == structure for other in VARIANTS) == 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        structure.elimination = None
    with pytest.raises(SettingError, match="was given elimination='linear'; expected"):
        type(structure)("linear")


@each
def test_the_kernel_has_the_agreed_arguments(structure):
    assert tuple(inspect.signature(structure.kernel.py_func).parameters) == KERNEL
    assert structure.kernel is type(structure)(structure.elimination).kernel


@each
def test_concentrations_and_gradients_are_finite(structure):
    c, gradient = concentrations_with_gradient(structure, plausible(structure), events())
    assert gradient.shape == (5, len(structure.parameters))
    assert np.all(np.isfinite(c))
    assert np.all(np.isfinite(gradient))
    np.testing.assert_array_equal(c[[0, 4]], 0.0)  # before any dose and after the reset
    np.testing.assert_array_equal(gradient[[0, 4]], 0.0)
    assert np.all(c[1:4] > 0.0)
    assert np.all(np.any(gradient[1:4] != 0.0, axis=0))  # no parameter is left out


@each
def test_without_the_gradient_the_concentrations_are_the_same(structure):
    theta = plausible(structure, 9)
    prepared = structure.prepare(events())
    with_gradient, slopes = ensemble(structure, theta, prepared, with_gradient=True)
    np.testing.assert_allclose(ensemble(structure, theta, prepared)[0], with_gradient, rtol=1e-12)
    single, rows = concentrations_with_gradient(structure, theta[8:], events())
    np.testing.assert_allclose(with_gradient[8], single, rtol=1e-10)
    np.testing.assert_allclose(slopes[8], rows, rtol=1e-8, atol=1e-12)


@each
def test_concentrations_are_proportional_to_the_dose_when_it_says_so(structure):
    theta = plausible(structure)
    once = concentrations(structure, theta, events())[1:4]
    twice = concentrations(structure, theta, events(2.0))[1:4]
    assert np.allclose(twice, 2.0 * once, rtol=1e-6) == structure.is_linear
    assert np.all(twice >= 2.0 * once * (1 - 1e-6))


@each
def test_a_model_with_it_survives_json(structure):
    model = PopModel(
        structure,
        typical={name: LogNormal(1.0, cv=0.3) for name in structure.names},
        error=Additive(HalfNormal(1.0)),
        units=UNITS,
    )
    again = PopModel.from_json(model.to_json())
    assert again == model
    assert again.structure == structure
    assert again.hash == model.hash

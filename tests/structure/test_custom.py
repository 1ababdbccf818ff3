"""Equations of one's own: what is traced, kept and refused."""

from __future__ import annotations

import dataclasses
import inspect
import itertools
import json
import math
import pickle
from collections import namedtuple

import numpy as np
import pytest

from popk.errors import SettingError
from popk.structure import custom
from popk.structure.base import Dosing, Output, Parameter, Structure
from popk.structure.compartments import TwoCompartment
from popk.structure.custom import Custom
from popk.structure.elimination import ParallelMichaelisMenten
from popk.structure.equations import Equations
from popk.structure.functions import exp, larger, log, power, sqrt, where_positive
from popk.structure.response import DirectEffect

CL = Parameter("CL", "volume/time", "clearance", 0.2)
V = Parameter("V", "volume", "volume", 3.5)
CONCENTRATION = Output("concentration", "concentration", "concentration", 1)


def one(rates=None, read=None, **given):
    """One compartment with other rates, or another part."""
    settings = {
        "parameters": (CL, V),
        "compartments": ("central",),
        "outputs": (CONCENTRATION,),
        "rates": rates or (lambda t, a, p: (-p.CL * a.central / p.V,)),
        "read": read or (lambda t, a, p: (a.central / p.V,)),
    }
    return Custom("one", **(settings | given))


def two():
    """The library's two-compartment structure with saturable elimination, written anew."""

    def rates(t, a, p):
        c = a.central / p.V1
        exchange = p.Q * (c - a.peripheral / p.V2)
        return -(p.CL + p.VMAX / (p.KM + c)) * c - exchange, exchange

    library = TwoCompartment(None, ParallelMichaelisMenten())
    return Custom(
        "two",
        parameters=library.kinetics,
        compartments=library.compartments,
        outputs=library.outputs,
        rates=rates,
        read=lambda t, a, p: (a.central / p.V1, a.peripheral / p.V2),
    )


def at(structure, function, t=2.0, seed=1):
    """A function of (t, a, p) at random positive values with the structure's names."""
    rng = np.random.default_rng(seed)
    amounts = namedtuple("Amounts", structure.compartments)
    values = namedtuple("Values", [p.name for p in structure.kinetics])
    a = amounts(*rng.uniform(0.5, 3.0, len(structure.compartments)))
    p = values(*rng.uniform(0.5, 3.0, len(structure.kinetics)))
    return function(t, a, p)


def encoded(part):
    """A part as JSON has it: dataclasses by their arguments, tuples as lists."""
    if part is None or isinstance(part, str | int | float):
        return part
    if isinstance(part, tuple):
        return [encoded(element) for element in part]
    names = inspect.signature(type(part)).parameters
    return {"type": type(part).__name__} | {name: encoded(getattr(part, name)) for name in names}


KINDS = {kind.__name__: kind for kind in (Custom, Dosing, Equations, Output, Parameter)}


def decoded(content):
    if isinstance(content, list):
        return tuple(decoded(element) for element in content)
    if not isinstance(content, dict):
        return content
    arguments = {name: decoded(value) for name, value in content.items() if name != "type"}
    return KINDS[content["type"]](**arguments)


EVERY = [one(), two(), *custom.examples()]


def test_the_same_as_in_the_library():
    library, own = TwoCompartment(None, ParallelMichaelisMenten()), two()
    for seed in range(5):
        np.testing.assert_allclose(
            at(library, own.rates, seed=seed), at(library, library.rates, seed=seed), rtol=1e-14
        )
        np.testing.assert_allclose(
            at(library, own.read, seed=seed), at(library, library.read, seed=seed), rtol=1e-14
        )


def test_every_operation_is_traced():
    def rates(t, a, p):
        x = a.central / p.V
        y = (
            2 * x + x * 0.5 - x / 3 + 3 / x - (1 - x) + (x - 1) + (+x)
            + exp(-x) * log(1 + x) + sqrt(x) + power(x, 1.5) + x**p.V + 2.0**x + x**-3 + x**5
            + power(2.0, x) + power(x, 2) + np.exp(x) * np.log(x) - np.sqrt(x) + np.float64(2) * x
            + t * p.CL + larger(x, 1.0) + where_positive(x - 2 * p.CL, x, 3.0)
        )  # fmt: skip
        return (y,)

    structure = one(rates)
    for seed in range(5):
        expected = at(structure, rates, seed=seed)
        np.testing.assert_allclose(at(structure, structure.rates, seed=seed), expected, rtol=1e-13)


def test_whole_powers_take_any_sign():
    structure = one(lambda t, a, p: ((a.central - p.V) ** 3 / p.CL,))
    a, p = namedtuple("A", "central")(1.0), namedtuple("P", "CL V")(2.0, 4.0)
    assert structure.rates(0.0, a, p) == pytest.approx((-13.5,))


def test_names_positions_and_loops_do_not_matter():
    def by_position(t, a, p):
        cl, v = p
        (central,) = a
        return (-cl * central / v,)

    def with_a_detour(t, a, p):
        _unused = exp(a[0]) + 7
        parts = [p[1], a[-1]]
        negative = -p[0]
        return [negative * parts[1] / parts[0]]

    assert one(by_position) == one() == one(with_a_detour)
    assert hash(one(by_position)) == hash(one())
    assert one(lambda t, a, p: (-p.CL * (a.central / p.V),)) != one()


def test_numbers_from_outside_are_kept():
    factor = [2.0]
    structure = one(lambda t, a, p: (-p.CL * a.central / p.V * factor[0],))
    before = at(structure, structure.rates)
    factor[0] = 3.0
    assert at(structure, structure.rates) == before
    assert one(lambda t, a, p: (-p.CL * a.central / p.V * factor[0],)) != structure


def test_shared_steps_are_written_once():
    def rates(t, a, p):
        x = a.central / p.V
        for _ in range(60):
            x = x * x / (1 + x)
        return (-p.CL * x,)

    assert len(one(rates).rates.steps) < 200  # 2**60 as a tree
    assert len(repr(one(rates))) < 5000


def test_constants_and_zeros_can_be_rates():
    structure = one(lambda t, a, p: (0,), lambda t, a, p: (a.central / p.V * p.CL,))
    assert at(structure, structure.rates) == (0.0,)


@pytest.mark.parametrize("structure", EVERY, ids=lambda s: s.name)
def test_round_trip_without_the_source(structure):
    text = json.dumps(encoded(structure))
    again = decoded(json.loads(text))
    assert again == structure
    assert hash(again) == hash(structure)
    assert json.dumps(encoded(again)) == text
    assert repr(again) == repr(structure)
    np.testing.assert_array_equal(at(again, again.rates), at(structure, structure.rates))
    np.testing.assert_array_equal(at(again, again.read), at(structure, structure.read))
    assert pickle.loads(pickle.dumps(structure)) == structure


@pytest.mark.parametrize("structure", EVERY, ids=lambda s: s.name)
def test_whether_the_time_itself_matters_is_traced(structure):
    assert structure.depends_on_time == (structure.name == "fading clearance")


def test_they_are_structures_of_their_own():
    for first, second in itertools.combinations(EVERY, 2):
        assert first != second
    for structure in EVERY:
        assert isinstance(structure, Structure)
        with pytest.raises(dataclasses.FrozenInstanceError):
            structure.name = "other"
    assert one(stiff=True).is_stiff
    assert not one().is_stiff
    assert one(stiff=True) != one()


def test_what_differs_prints_differently():
    every = [
        one(),
        one(parameters=(V, CL)),
        one(stiff=True),
        one(deviations=("central",)),
        one(undosed=("central",)),
        one(tolerance=1e-7),
        one(tolerance=1.0000001e-7),
        one(dosing=Dosing(lag=(1,))),
        one(lambda t, a, p: (-p.CL * (a.central / p.V),)),
        one(lambda t, a, p: (-(p.CL * a.central) / p.V,)),
        one(lambda t, a, p: (-p.CL * a.central / p.V * 1.0000000000000002,)),
    ]
    assert len({repr(structure) for structure in every}) == len(set(every)) == len(every)


def test_parameters_of_doses_may_be_listed_or_not():
    dosing = Dosing(bioavailability=(1,), lag=(1,))
    structure = one(dosing=dosing)
    assert structure.names == ("CL", "V", "F1", "ALAG1")
    assert one(dosing=dosing, parameters=structure.parameters) == structure


def test_effects_on_top():
    structure = DirectEffect(one())
    assert structure.names == ("CL", "V", "EMAX", "EC50")
    concentration, effect = at(structure, structure.read)
    emax, half = at(structure, lambda t, a, p: (p.EMAX, p.EC50))
    assert effect == pytest.approx(emax * concentration / (half + concentration), rel=1e-14)


def test_it_prints_its_equations():
    assert repr(one()) == (
        "Custom('one', CL V: d(central)/dt = ((-CL) * central) / V; concentration = central / V)"
    )
    assert two().equations[0] == "_1 = central / V1"
    assert "d(peripheral)/dt = _2" in two().equations
    square = one(lambda t, a, p: (exp(-p.CL * t) - (a.central + 1) * (p.V + 2),))
    assert square.equations[0] == "d(central)/dt = exp((-CL) * t) - ((central + 1) * (V + 2))"


def kept_from_another_call():
    kept = []

    def rates(t, a, p):
        kept.append(a.central)
        return (kept[0] * p.CL / p.V,)

    return rates


def another_each_time():
    counter = itertools.count()
    return lambda t, a, p: (-p.CL * a.central / p.V * next(counter),)


SMOOTH = "compare values or decide on one .* Write where_positive"


@pytest.mark.parametrize(
    ("rates", "sentence"),
    [
        (lambda t, a, p: (p.CL if a.central > 0 else p.V,), SMOOTH),
        (lambda t, a, p: (p.CL if t else p.V,), SMOOTH),
        (lambda t, a, p: (p.CL if t == 0 else p.V,), SMOOTH),
        (lambda t, a, p: (max(a.central, 0.0),), SMOOTH),
        (lambda t, a, p: (abs(a.central),), SMOOTH),
        (lambda t, a, p: (a.central // 2,), SMOOTH),
        (lambda t, a, p: (-p.CLX * a.central,), "p.CLX, which is not a parameter.*are CL, V"),
        (lambda t, a, p: (-p.CL * a.depot,), "a.depot, which is not a comp.*compartments are cent"),
        (lambda t, a, p: (where_positive(a.central, "x", 0),), "give where_positive something"),
        (lambda t, a, p: (a[1],), r"use a\[1\]. There are a\[0\] central"),
        (lambda t, a, p: (a["central"],), r"use a\['central'\]"),
        (lambda t, a, p: (p.CL, p.V), r"return 2 values; expected 1.*each of: d\(central\)/dt"),
        (lambda t, a, p: (), "return 0 values; expected 1"),
        (lambda t, a, p: -p.CL * a.central, "return one value, not several"),
        (lambda t, a, p: None, "return nothing"),
        (lambda t, a, p: 0.0, "return 0.0"),
        (lambda t, a, p: ("CL",), r"return 'CL' for d\(central\)/dt, which is not a number"),
        (lambda t, a, p: (math.exp(a.central),), "turn a value into a plain number"),
        (lambda t, a, p: (np.sin(a.central),), "use NumPy's sin. Equations may use"),
        (lambda t, a, p: (np.ones(2) * a.central,), "combine a value with an array"),
        (lambda t, a, p: (a.central + "x",), "combine a value with 'x', which is not a number"),
        (lambda t, a, p: (a.central * math.inf,), "use the number inf, which is not finite"),
        (lambda t, a, p: ((-2) ** a.central,), "raise -2 to a power; expected a number above"),
        (lambda t, a, p: sum(a.central), "go through a value as if it were several"),
        (lambda a, p: (p.CL,), r"take \(a, p\); expected a function of three: \(t, a, p\)"),
        ("CL * central", "were given as 'CL \\* central'; expected a function"),
        (kept_from_another_call(), "values kept from another call"),
        (another_each_time(), "differ from one call to the next"),
    ],
)
def test_sentences_about_rates(rates, sentence):
    with pytest.raises(SettingError, match=f"The rates of Custom 'one'.*{sentence}"):
        one(rates)


def test_sentences_about_what_is_read():
    with pytest.raises(SettingError, match=r"The outputs of Custom 'one' use p.K, which is not"):
        one(read=lambda t, a, p: (p.K,))
    with pytest.raises(SettingError, match=r"expected 1\. Return one value for each of: conc"):
        one(read=lambda t, a, p: (p.CL, p.V))


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"parameters": (CL, V, V)}, "the parameter V twice"),
        ({"parameters": ("CL", "V")}, r"parameters=.*expected one or more, each Parameter\(...\)"),
        ({"parameters": ()}, "expected one or more"),
        ({"parameters": (CL, V, Parameter("K", "1/time", "k"))}, "do not use the parameter K. Use"),
        ({"parameters": (CL, Parameter("v", "volume", "v"))}, "named 'v'; expected capitals"),
        ({"parameters": (CL, Parameter("V", "litre", "v"))}, "V: 'litre' is not a dimension popk"),
        ({"compartments": "central"}, "compartments='central'; expected one or more"),
        ({"compartments": ("Central",)}, "'Central' to name a compartment or an output; expected"),
        ({"compartments": ("lambda",)}, "'lambda' to name a compartment"),
        ({"outputs": (CONCENTRATION, CONCENTRATION)}, "the output concentration twice"),
        ({"outputs": (Output("c", "amount", "c", 2),)}, "compartment 2; expected a number from 1"),
        ({"dosing": Dosing(lag=(2,))}, r"compartment 2; its compartments are 1 \(central\)"),
        ({"dosing": "F1"}, "dosing='F1'; expected Dosing"),
        ({"deviations": ("depot",)}, "deviations=.*expected names of its compartments: central"),
        ({"undosed": "depot"}, "undosed='depot'; expected names of its compartments: central"),
        ({"stiff": "yes"}, "stiff='yes'; expected True or False"),
        (
            {"tolerance": 1.0},
            "Custom was given tolerance=1.0; expected a number from 1e-12 to 0.01",
        ),
    ],
)
def test_sentences_about_parts(given, sentence):
    with pytest.raises(SettingError, match=sentence):
        one(**given)


@pytest.mark.parametrize(
    ("steps", "results", "sentence"),
    [
        ((("sin", 0),), (0,), r"Step 0 of the equations is \('sin', 0\)"),
        ((("t",), ("+", 0)), (1,), r"Step 1 of the equations is \('\+', 0\)"),
        ((("t",), ("exp", 1)), (1,), "Step 1 of the equations uses .* not before"),
        ((("t",),), (1,), "have 1 steps, but results"),
    ],
)
def test_sentences_about_stored_equations(steps, results, sentence):
    with pytest.raises(SettingError, match=sentence):
        Equations(steps, results)


def test_stored_equations_must_fit_the_structure():
    with pytest.raises(SettingError, match="use CLX; expected 1 that use the compartments central"):
        one(rates=Equations((("p", "CLX"),), (0,)))
    with pytest.raises(SettingError, match="given as 2 equations"):
        one(rates=Equations((("p", "CL"),), (0, 0)))

"""Which properties of doses are parameters: what can be said, and what is refused."""

from __future__ import annotations

import copy
import json
import pickle
from dataclasses import FrozenInstanceError, replace

import pytest

from popk.errors import SettingError
from popk.model.coding import decode, encode
from popk.structure import Dosing, FirstOrder, OneCompartment, ZeroOrder


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (1, (1,)),
        ((1,), (1,)),
        ([2, 1], (2, 1)),
        (range(1, 3), (1, 2)),
        ({2: "any"}.keys(), (2,)),
        ((), ()),
    ],
    ids=str,
)
def test_one_compartment_or_several(given, kept):
    dosing = Dosing(bioavailability=given)
    assert dosing.bioavailability == kept
    assert [parameter.name for parameter in dosing.parameters] == [f"F{c}" for c in kept]


def test_parameters_stand_in_the_order_of_the_properties():
    dosing = Dosing(bioavailability=(1, 2), lag=1, duration=2, rate=[3])
    assert [p.name for p in dosing.parameters] == ["F1", "F2", "ALAG1", "D2", "R3"]
    assert dosing == Dosing((1, 2), 1, 2, 3)
    assert Dosing().parameters == ()


def test_it_is_a_value():
    dosing = Dosing(bioavailability=1, lag=[1, 2], complement={2: 1})
    for same in (pickle.loads(pickle.dumps(dosing)), copy.deepcopy(dosing), eval(repr(dosing))):
        assert same == dosing
        assert hash(same) == hash(dosing)
    assert dosing != Dosing(bioavailability=1, lag=[1, 2])
    assert replace(dosing, lag=2).complement == ((2, 1),)
    with pytest.raises(FrozenInstanceError):
        dosing.lag = (2,)


def test_a_complement_adds_no_parameter():
    dosing = Dosing(bioavailability=1, complement={3: 1, 2: 1})
    assert dosing.complement == ((2, 1), (3, 1))
    assert (
        dosing
        == Dosing(1, complement=[(3, 1), (2, 1)])
        == Dosing((1,), complement=((2, 1), (3, 1)))
    )
    assert [parameter.name for parameter in dosing.parameters] == ["F1"]
    structure = OneCompartment(ZeroOrder(), dosing=Dosing(lag=1))
    assert structure.dosing == Dosing(lag=1, duration=1)


@pytest.mark.parametrize("field", ["bioavailability", "lag", "duration", "rate"])
@pytest.mark.parametrize(
    "given", [1.0, None, "1", "central", True, 0, -1, (1, 2.0), ["1"], (True,)]
)
def test_what_is_no_compartment_is_refused(field, given):
    with pytest.raises(SettingError) as refusal:
        Dosing(**{field: given})
    assert str(refusal.value) == (
        f"Dosing was given {field}={given!r}; expected the number of a compartment, counted from "
        "1, or several such as (1, 2)."
    )


@pytest.mark.parametrize(
    "given", [1, 2.0, None, "21", {2: "1"}, {0: 1}, {2: True}, [(2, 1, 1)], [2]]
)
def test_what_is_no_complement_is_refused(given):
    with pytest.raises(SettingError, match=r"complement=.*for example \{2: 1\} where F2 is 1 - F1"):
        Dosing(bioavailability=1, complement=given)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"lag": (1, 1)}, r"lag=\(1, 1\), which names a compartment twice"),
        ({"complement": [(2, 1), (2, 3)], "bioavailability": (1, 3)}, "names a compartment twice"),
        ({"complement": {2: 1}}, "F2 = 1 - F1, but F1 is no parameter; give bioavailability=1"),
        ({"complement": {2: 1}, "bioavailability": 3}, "but F1 is no parameter"),
        (
            {"complement": {2: 1}, "bioavailability": (1, 2)},
            "F2 is a parameter or 1 - F1, not both",
        ),
        ({"complement": {1: 1}, "bioavailability": 1}, "F1 is a parameter or 1 - F1, not both"),
    ],
)
def test_what_contradicts_itself_is_refused(given, sentence):
    with pytest.raises(SettingError, match=sentence):
        Dosing(**given)


def test_it_is_stored_with_a_structure():
    """As JSON has it, lists and all."""
    structure = OneCompartment(
        FirstOrder(), dosing=Dosing(bioavailability=1, complement={2: 1}, duration=2)
    )
    written = encode(structure)
    assert written["dosing"] == {
        "type": "Dosing", "bioavailability": [1], "duration": [2], "complement": [[2, 1]],
    }  # fmt: skip
    assert decode(json.loads(json.dumps(written))) == structure
    assert "dosing" not in encode(OneCompartment())


def test_a_complement_needs_its_compartment():
    with pytest.raises(
        SettingError, match=r"Dosing\(complement=...\) with compartment 3; its comp"
    ):
        OneCompartment(FirstOrder(), dosing=Dosing(bioavailability=1, complement={3: 1}))

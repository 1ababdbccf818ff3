from dataclasses import replace

import pytest

from popk.model import Card, ModelError, PopModel
from popk.statistics import IIV, HalfNormal, LogNormal, Power, Proportional
from popk.structure import OneCompartment

CARD = Card(
    citation="Doe J. A journal 2020;1:1-2.",
    population="12 adults",
    route="intravenous",
    seen="the paper",
    doi="10.1000/xyz",
    assumptions=("no correlation",),
    domain=(("WT", 40, 120),),
    doses=("100 mg",),
    intervals=(4,),
    targets=(("trough", 10, "the paper"),),
    sources=(("CL", "0.2 L/d (RSE 12 %)"),),
)


def model(card=CARD):
    return PopModel(
        OneCompartment(),
        typical={"CL": LogNormal(0.2, cv=0.3), "V": LogNormal(4.0, cv=0.3)},
        iiv=IIV({"CL": HalfNormal(0.4)}),
        covariates=(Power("CL", "WT", 70.0),),
        error=Proportional(HalfNormal(0.3)),
        units={"time": "d", "amount": "mg", "concentration": "mg/L", "WT": "kg"},
        card=card,
    )


def test_a_model_with_a_card_is_written_and_read_back():
    again = PopModel.from_json(model().to_json())
    assert again == model()
    assert again.card == CARD
    assert again.card.domain == (("WT", 40.0, 120.0),)
    assert type(again.card.intervals[0]) is float


def test_a_model_without_a_card_is_written_as_ever():
    assert "card" not in model(None).to_dict()
    assert PopModel.from_json(model(None).to_json()).card is None


def test_the_card_is_no_part_of_the_hash():
    assert model().hash == model(None).hash
    assert model() != model(None)


def test_the_card_stays_when_a_model_is_changed():
    assert model().flattened(4.0).card == CARD


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"citation": " "}, "the card's citation is empty"),
        ({"seen": 3}, "the card's seen was given 3; expected a text"),
        ({"domain": (("WT", 120, 40),)}, "WT lies between 120 and 40; expected the lower first"),
        ({"domain": (("WT", "40", 120),)}, "domain holds .* expected a text and a number and a n"),
        ({"doses": "100 mg"}, "the card's doses was given '100 mg'; expected a tuple"),
        ({"intervals": (0.0,)}, "intervals holds 0; an interval is above zero, in weeks"),
        ({"intervals": (True,)}, "intervals holds True; expected a number"),
        ({"targets": (("trough", -1, "x"),)}, "targets has -1 as trough"),
        ({"sources": (("CL", "1"), ("CL", "2"))}, "sources names CL twice"),
    ],
)
def test_a_card_that_cannot_be_used_says_why(changed, sentence):
    with pytest.raises(ModelError, match=sentence):
        replace(CARD, **changed)


def test_a_card_names_what_the_model_has():
    strange = replace(CARD, domain=(("AGE", 18, 90),), sources=(("KA", "1 /d"),))
    with pytest.raises(ModelError) as refused:
        model(strange)
    text = str(refused.value)
    assert "domain names AGE, which is no covariate of the model (those: WT)" in text
    assert "sources names KA, which is no population parameter of the model" in text


def test_something_else_is_no_card():
    with pytest.raises(ModelError, match=r"card was given 'Doe 2020'; expected a popk"):
        model("Doe 2020")


def test_a_stored_card_is_checked():
    with pytest.raises(ModelError, match="its card has no route, seen"):
        Card.from_dict({"citation": "x", "population": "y"})
    with pytest.raises(ModelError, match="its card has the field colour; known are citation"):
        Card.from_dict({**CARD.to_dict(), "colour": "red"})
    with pytest.raises(ModelError, match="its card is str; expected an object"):
        Card.from_dict("Doe 2020")

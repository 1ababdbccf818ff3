"""Observations that the model does not believe."""

import numpy as np
import pytest

from popk.individual import Trough
from popk.model import PopModel
from popk.monitoring import decide, findings, individualise
from popk.statistics import IIV, LogNormal, Proportional
from popk.structure import OneCompartment


@pytest.fixture(scope="module")
def doubter(fits):
    """A fit in which patients hardly differ and assays err by half."""
    model = PopModel(
        OneCompartment(),
        typical={"CL": LogNormal(0.2, cv=0.05), "V": LogNormal(5.0, cv=0.05)},
        iiv=IIV({"CL": LogNormal(0.1, cv=0.05)}),
        error=Proportional(LogNormal(0.5, cv=0.05)),
        units=fits.one_compartment().units,
        name="doubter",
    )
    return fits.fit_of(model, fits.dataset(*fits.history("C", (25.0, 22.0, 24.0), doses=6)))


@pytest.fixture(scope="module")
def patients(fits):
    troughs = {
        "twice": (25.0, 30.0, 9.0, 8.0),
        "once": (25.0, 30.0, 26.0, 9.0),
        "before": (25.0, 9.0, 8.0, 26.0),
        "not": (25.0, 30.0, 26.0, 24.0),
    }
    records = [one for who, own in troughs.items() for one in fits.history(who, own, doses=6)]
    return fits.dataset(*records)


@pytest.fixture(scope="module")
def found(doubter, patients):
    advice = individualise(
        doubter, patients, target=Trough(10.0, "mg/L"), samples=300, draws=100,
        curve=False, sustained=False,
    )  # fmt: skip
    table = findings(advice)
    return advice, table[table["name"] == "below the target"].set_index("ID")


def test_advice_is_withheld_when_two_in_a_row_were_below_the_target(found):
    advice, table = found
    assert table["severity"].to_dict() == {"twice": "withheld", "once": "widened"}
    own = advice["decision"].to_dataset().sel(subject="twice")
    # Without the check the interval at which they were measured would be advised.
    assert own["probability"].sel(week=4) > 0.9
    assert np.isnan(own["longest"])
    sentence = table.loc["twice", "sentence"]
    assert "last 2 observations were below the target of 10 mg/L" in sentence
    assert "8 mg/L at TIME" in sentence


def test_the_probability_is_that_the_model_gives(found):
    advice, table = found
    troughs = advice["posterior"].to_dataset().sel(subject="once")["troughs_unwidened"]
    at_four = float((troughs.sel(week=4) >= 10.0).mean())
    # "... or more": by steps of a few percent.
    assert at_four - 0.06 < table.loc["once", "probability"] < at_four + 0.01


def test_deciding_by_another_target_withholds_what_it_would_not_widen(found, doubter, patients):
    """At 8.5 mg/L one of the two is below; at 5 nothing is; at 10 again it is as it was advised."""
    advice, _ = found
    state = {}
    for target in (5.0, 8.5, 10.0):
        decision = decide(advice, target=Trough(target, "mg/L"))
        table = findings(decision)
        own = table[(table["name"] == "below the target") & table["sentence"].str.contains(
            f"target of {target:g} mg/L")]  # fmt: skip
        state[target] = own.set_index("ID")["severity"].to_dict()
        withheld = decision["decision"].to_dataset()["withheld"]
        assert int(withheld.sel(subject="not")) == 0
        assert np.isnan(decision["decision"].to_dataset()["longest"].sel(subject="twice"))
    assert state[5.0] == {}
    assert state[8.5] == {"twice": "withheld"}
    assert state[10.0] == {"twice": "withheld", "once": "widened"}
    low = individualise(
        doubter, patients, target=Trough(5.0, "mg/L"), samples=300, draws=100,
        curve=False, sustained=False,
    )  # fmt: skip
    high = decide(low, target=Trough(10.0, "mg/L"))
    assert findings(low).query("name == 'below the target'").empty
    table = findings(high).query("name == 'below the target'").set_index("ID")
    assert table["severity"].to_dict() == {"twice": "withheld", "once": "withheld"}
    assert np.isnan(high["decision"].to_dataset()["longest"].sel(subject=["twice", "once"])).all()
    assert low["decision"].to_dataset()["longest"].sel(subject="once") >= 4

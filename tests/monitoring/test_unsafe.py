"""Patients whose advice must not be given as it is: each withheld or widened, by its name."""

import numpy as np
import pytest

from popk.monitoring import findings

GOOD = (25.0, 22.0, 24.0)


def _histories(fits):
    """The records of every unsafe patient, by what is wrong with it."""
    history, observe, dose = fits.history, fits.observe, fits.dose

    def moved(records, change):
        return [change(*record) for record in records]

    def amount(factor):
        def change(who, time, evid, amt, *rest):
            return (who, time, evid, amt * factor, *rest)

        return change

    def weeks(who, time, *rest):
        return (who, time / 7.0, *rest)

    return {
        "blq last": [*history("blq last", GOOD, doses=6), observe("blq last", 168.0, 1.0, cens=1)],
        "blq all": [
            *history("blq all", (), doses=5),
            observe("blq all", 140.0, 1.0, cens=1),
            dose("blq all", 140.0),
            observe("blq all", 168.0, 1.0, cens=1),
        ],
        "antibodies": history("antibodies", (*GOOD, 5.0, 4.0), doses=8),
        "passing": history("passing", (25.0, 4.0, 24.0, 23.0), doses=8),
        "risen": history("risen", (*GOOD, 12.0, 11.0, 12.0), doses=9),
        "fallen": history("fallen", (12.0, 11.0, 12.0, 25.0, 26.0, 24.0), doses=9),
        "heavy": history("heavy", (15.0, 14.0, 16.0), doses=6, weight=125.0),
        "light": history("light", (40.0, 36.0, 38.0), doses=6, weight=35.0),
        "pounds": history("pounds", GOOD, doses=6, weight=176.0),
        "one trough": history("one trough", (25.0,), doses=6),
        "no trough": history("no trough", (), doses=6),
        "twice": [
            *history("twice", GOOD, doses=6),
            observe("twice", 168.0, 45.0),
            observe("twice", 168.0, 10.0),
        ],
        "rises": [
            *history("rises", GOOD, doses=6),
            observe("rises", 154.0, 20.0),
            observe("rises", 168.0, 45.0),
        ],
        "ug/L": history("ug/L", (25e3, 22e3, 24e3), doses=6),
        "g/L": history("g/L", (0.025, 0.022, 0.024), doses=6),
        "dose in g": moved(history("dose in g", GOOD, doses=6), amount(1e-3)),
        "dose in ug": moved(history("dose in ug", GOOD, doses=6), amount(1e3)),
        "weeks": moved(history("weeks", GOOD, doses=6), weeks),
        "after infusion": history("after infusion", (25.0, 22.0, 85.0), doses=6),
        "before infusion": [
            *history("before infusion", GOOD, doses=6),
            observe("before infusion", 141.0, 23.0),
        ],
        "gap": [*history("gap", GOOD, doses=6), dose("gap", 360.0), dose("gap", 388.0)],
        "planned": [*history("planned", GOOD, doses=6), dose("planned", 168.0, addl=5, ii=28.0)],
        "past": [*history("past", GOOD, doses=6), observe("past", 240.0, 2.0)],
        "overdose": [*history("overdose", GOOD, doses=6), dose("overdose", 168.0, 3000.0)],
        "unlike": history("unlike", (190.0, 180.0, 200.0), doses=6),
        "wrong sample": history("wrong sample", (25.0, 70.0, 24.0, 23.0), doses=7),
    }


# What is wrong, and the finding that must withhold or widen the advice.
EXPECTED = {
    "blq last": "below quantification",
    "blq all": "too little information",
    "antibodies": "antibodies",
    "passing": "surprising observation",
    "risen": "clearance changed",
    "fallen": "clearance changed",
    "heavy": "covariate range",
    "light": "covariate range",
    "pounds": "covariate range",
    "one trough": "too little information",
    "no trough": "too little information",
    "twice": "contradiction",
    "rises": "contradiction",
    "ug/L": "units",
    "g/L": "units",
    "dose in g": "units",
    "dose in ug": "units",
    "weeks": "units",
    "after infusion": "sample time",
    "before infusion": "sample time",
    "gap": "history",
    "planned": "history",
    "past": "history",
    "overdose": "dose range",
    "unlike": "unlike the population",
    "wrong sample": "surprising observation",
}


@pytest.fixture(scope="module")
def advice(fits, advise):
    histories = _histories(fits)
    return advise(fits.dataset(*(record for own in histories.values() for record in own)))


def test_there_is_a_patient_for_every_finding(fits):
    assert list(_histories(fits)) == list(EXPECTED)


@pytest.mark.parametrize(("who", "name"), EXPECTED.items())
def test_advice_is_withheld_or_widened(advice, who, name):
    found = findings(advice)
    own = found[(found["ID"] == who) & (found["severity"] != "note")]
    assert name in own["name"].tolist(), found[found["ID"] == who].to_string()
    decision = advice["decision"].to_dataset().sel(subject=who)
    assert int(decision["withheld"]) + int(decision["widened"]) == 1
    if int(decision["withheld"]):
        assert np.isnan(decision["longest"])
        assert np.isnan(decision["longest_sustained"])

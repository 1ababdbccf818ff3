from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popk.units import UnitError, Units, rescaled

DAYS = Units("d", "mg", "mg/L", (("WT", "kg"),))


def test_parse_separates_covariates_and_accepts_units():
    parsed = Units.parse({"time": "d", "amount": "mg", "concentration": "mg/L", "WT": "kg"})
    assert parsed == DAYS
    assert hash(parsed) == hash(DAYS)
    assert Units.parse(parsed) is parsed


@pytest.mark.parametrize(
    ("word", "code"),
    [("day", "d"), ("Days", "d"), ("hours", "h"), ("hr", "h"), ("week", "wk"), ("minutes", "min")],
)
def test_words_of_time_become_ucum(word, code):
    assert Units(word, "mg", "mg/L").time == code


@pytest.mark.parametrize(
    ("word", "code"),
    [
        ("\u00b5g/mL", "ug/mL"),
        ("\u03bcg/ml", "ug/mL"),
        ("mcg/mL", "ug/mL"),
        ("mg / l", "mg/L"),
        ("nM", "nmol/L"),
        ("IU/mL", "[iU]/mL"),
        ("U/L", "U/L"),
    ],
)
def test_words_of_concentration_become_ucum(word, code):
    assert Units("h", "mg", word).concentration == code


@pytest.mark.parametrize(
    ("amount", "concentration", "volume"),
    [
        ("mg", "mg/L", "L"),
        ("mg", "ug/mL", "L"),
        ("ug", "ng/mL", "L"),
        ("ug", "ug/mL", "mL"),
        ("mg", "mg/dL", "dL"),
        ("nmol", "nmol/L", "L"),
        ("[iU]", "[iU]/L", "L"),
        ("[iU]", "m[iU]/mL", "L"),
        ("g", "mg/mL", "L"),
    ],
)
def test_volume_follows_from_amount_and_concentration(amount, concentration, volume):
    units = Units("h", amount, concentration)
    assert units.volume == volume
    assert units.of("volume/time") == f"{volume}/h"


def test_volume_without_plain_unit_says_what_would_fit():
    units = Units("h", "mg", "ng/mL")
    assert units.litres == 1000
    with pytest.raises(UnitError, match="1000 L") as caught:
        _ = units.volume
    assert "Give amounts in ug or ng, or concentrations in g/L, mg/L, mg/mL, ug/mL, and" in str(
        caught.value
    )
    assert Units("h", "ng", "ng/mL").volume == "mL"
    assert Units("h", "mg", "mg/mL").volume == "mL"


def test_volume_of_unlike_kinds_is_refused():
    units = Units("h", "mg", "nmol/L")
    assert units.litres is None
    with pytest.raises(UnitError, match=r"different kinds.*nmol"):
        _ = units.volume
    # An enzyme unit is not an international unit.
    assert Units("h", "U", "[iU]/L").litres is None


@pytest.mark.parametrize(
    ("dimension", "unit"),
    [
        ("time", "d"),
        ("amount", "mg"),
        ("concentration", "mg/L"),
        ("volume", "L"),
        ("volume/time", "L/d"),
        ("amount/time", "mg/d"),
        ("1/time", "1/d"),
        ("concentration/time", "mg/L/d"),
        ("1/(concentration*time)", "L/mg/d"),
        ("effect in %", "%"),
        ("effect in 1", "1"),
        ("effect in ng / ml", "ng/mL"),
        ("effect in {score}", "{score}"),
        ("1", "1"),
    ],
)
def test_of_gives_the_unit_of_each_dimension(dimension, unit):
    assert DAYS.of(dimension) == unit


def test_of_refuses_an_unknown_dimension():
    with pytest.raises(UnitError, match=r"'length'.*volume/time"):
        DAYS.of("length")


@pytest.mark.parametrize("unit", ["furlong", "", "mg/L/d"])
def test_of_refuses_an_effect_in_an_unknown_unit(unit):
    with pytest.raises(UnitError, match=f"The unit of an effect is '{unit}', which popk does not"):
        DAYS.of(f"effect in {unit}")


def test_concentration_in_counts_own_units():
    assert DAYS.concentration_in("g/L") == 1000
    assert Units("h", "nmol", "nmol/L").concentration_in("mol/L") == pytest.approx(1e9)
    assert DAYS.concentration_in("mol/L") is None
    with pytest.raises(UnitError, match="'g'"):
        DAYS.concentration_in("g")


def test_time_in_counts_own_units():
    assert DAYS.time_in("week") == 7
    assert Units("h", "mg", "mg/L").time_in("wk") == 168
    assert Units("wk", "mg", "mg/L").time_in("d") == pytest.approx(1 / 7)
    with pytest.raises(UnitError, match="fortnight"):
        DAYS.time_in("fortnight")


def test_covariate_units():
    units = Units.parse(DAYS.to_dict() | {"SEX": "1", "CRCL": "mL/min", "SCORE": "{score}"})
    assert units.covariate("CRCL") == "mL/min"
    assert units.covariate("HT") is None
    assert Units.parse(units.to_dict()) == units


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"time": "fortnight"}, ["time", "'fortnight'", "wk"]),
        ({"amount": "MG"}, ["amount", "'MG'", "Did you mean mg?"]),
        ({"concentration": "mg"}, ["concentration", "'mg'", "mg/L"]),
        ({"WT": "lb"}, ["WT", "'lb'", "kg"]),
        ({"WT": 1}, ["WT", "1", "text"]),
        ({3: "kg"}, ["3", "covariate"]),
    ],
)
def test_unknown_units_are_named(change, words):
    with pytest.raises(UnitError) as caught:
        Units.parse(DAYS.to_dict() | change)
    assert all(word in str(caught.value) for word in words)


def test_missing_units_are_named():
    with pytest.raises(UnitError, match="amount and concentration"):
        Units.parse({"time": "d"})
    with pytest.raises(UnitError, match="mapping"):
        Units.parse("mg")
    with pytest.raises(UnitError, match="WT is given a unit twice"):
        Units("d", "mg", "mg/L", (("WT", "kg"), ("WT", "g")))


def test_same_scale_ignores_spelling_and_names_differences():
    other = Units("d", "mg", "ug/mL", (("AGE", "a"), ("WT", "kg")))
    assert DAYS.same_scale(other) == []
    different = DAYS.same_scale(Units("h", "mg", "ng/mL", (("WT", "g"),)))
    assert [sentence.split()[0] for sentence in different] == ["time", "concentration", "WT"]
    assert "d on one side and in h" in different[0]


@given(
    time=st.sampled_from(["s", "min", "h", "d", "wk", "mo", "a"]),
    amount=st.sampled_from(["g", "mg", "ug", "mmol", "U", "[iU]"]),
    volume=st.sampled_from(["L", "dL", "mL"]),
    covariates=st.dictionaries(st.from_regex(r"[A-Z]{2,5}", fullmatch=True), st.just("kg")),
)
def test_to_dict_round_trips(time, amount, volume, covariates):
    units = Units(time, amount, f"{amount}/{volume}", tuple(covariates.items()))
    assert Units.parse(units.to_dict()) == units
    assert units.of("volume") == volume
    assert units.same_scale(units) == []


@pytest.mark.parametrize(
    ("unit", "factor", "found"),
    [
        ("mg", 1000, "g"),
        ("mg/L", 0.001, "ug/L"),
        ("mg/mL", 1000, "g/mL"),
        ("nmol/L", 1000, "umol/L"),
        ("U", 0.001, "mU"),
        ("k[iU]/L", 1000, None),
        ("mg", 10, None),
        ("kg", 0.001, "g"),
        ("d", 1000, None),
    ],
)
def test_rescaled_units(unit, factor, found):
    assert rescaled(unit, factor) == found

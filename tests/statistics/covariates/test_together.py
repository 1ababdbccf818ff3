"""Covariate effects in a model: its parameters, its text, its JSON, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest

from popk.model import ModelError, PopModel
from popk.statistics import (
    IIV,
    Allometry,
    Coefficient,
    CustomEffect,
    Exponential,
    Fixed,
    Fold,
    Folds,
    HalfNormal,
    Horseshoe,
    LinearEffect,
    LogNormal,
    Maturation,
    Normal,
    Power,
    Proportional,
    Shrunk,
)
from popk.structure import TwoCompartment
from popk.structure.functions import where_positive

UNITS = {
    "time": "d", "amount": "mg", "concentration": "mg/L", "WT": "kg", "AGE": "a", "ADA": "1",
    "RACE": "1", "PMA": "wk", "CRCL": "mL/min", "ALB": "g/L",
}  # fmt: skip
SLOPE = Normal(0.0, 0.02)
SCREEN = Horseshoe("screen", candidates=2, expected_nonzero=1, scale=0.04)
RENAL = CustomEffect(
    "CL",
    ("CRCL", "AGE"),
    coefficients=(Coefficient("RENAL", Normal(0.5, 0.2), "renal share"),
                  Coefficient("AGEING", Normal(0.0, 0.01), unit="1/a")),
    factor=lambda x, b: 1 + b.RENAL * (x.CRCL / 100 - 1) + b.AGEING * where_positive(
        x.AGE - 18, x.AGE - 18, 0),
)  # fmt: skip
EVERY = (
    Power("CL", "WT", 70.0, Normal(0.6, 0.2)),
    Power("V1", "WT", label="V"),
    Power("V2", "WT", label="V"),
    Exponential("CL", "AGE", SLOPE, 40.0),
    LinearEffect("V1", "AGE", SLOPE, 40.0),
    Maturation("CL", "PMA", tm50=LogNormal(47.7, cv=0.1), hill=Fixed(3.4)),
    Fold("CL", "ADA", LogNormal(2.45, cv=0.3)),
    Folds("V1", "RACE", factors={2: LogNormal(1.0, cv=0.3), 3: Fixed(0.9)}, reference=1),
    RENAL,
    Power("CL", "ALB", 41.0, Shrunk(SCREEN, spread=0.1)),
    Exponential("V1", "ALB", Shrunk(SCREEN, spread=4.0), 41.0),
)


def model(*effects, **changes):
    return PopModel(
        TwoCompartment(),
        typical={name: LogNormal(1.0, cv=0.3) for name in ("CL", "V1", "Q", "V2")},
        iiv=IIV({"CL": HalfNormal(0.4)}),
        covariates=effects,
        error=Proportional(HalfNormal(0.3)),
        **({"units": UNITS, "name": "example"} | changes),
    )


def faults(*effects, **changes):
    with pytest.raises(ModelError) as refusal:
        model(*effects, **changes)
    return refusal.value.faults


def test_the_coefficients_are_population_parameters_with_unit_and_meaning():
    found = {p.name: (p.unit, p.meaning) for p in model(*EVERY).parameters}
    own = list(found)[4:-2]
    assert own == [
        "beta_CL_WT", "beta_V", "slope_CL_AGE", "slope_V1_AGE", "tm50_CL_PMA", "hill_CL_PMA",
        "fold_CL_ADA", "fold_V1_RACE_2", "fold_V1_RACE_3", "RENAL", "AGEING",
        "tau_screen", "slab_screen", "lambda_beta_CL_ALB", "z_beta_CL_ALB",
        "lambda_slope_V1_ALB", "z_slope_V1_ALB",
    ]  # fmt: skip
    assert found["beta_CL_WT"] == ("1", "exponent of WT/70 kg on CL")
    assert found["beta_V"] == ("1", "exponent of WT/(median) on V1 and V2")
    assert found["slope_CL_AGE"] == ("1/a", "change of log CL per a of AGE, from 40 a")
    assert found["slope_V1_AGE"] == ("1/a", "relative change of V1 per a of AGE, from 40 a")
    assert found["tm50_CL_PMA"] == ("wk", "PMA at which CL is half mature")
    assert found["fold_V1_RACE_2"] == ("1", "factor on V1 where RACE is 2 (1 at 1)")
    assert found["RENAL"][1].startswith("renal share, in the factor on CL: ")
    assert found["RENAL"][1].endswith("(CRCL in mL/min, AGE in a)")
    assert found["AGEING"][0] == "1/a"


def test_the_printed_model_states_every_reference_with_its_unit():
    text = str(model(*EVERY))
    for stated in ("WT/70 kg", "from 40 a", "ALB/41 g/L", "CRCL in mL/min"):
        assert stated in text


def test_shrunk_coefficients_follow_from_others():
    (power, slope) = model(*EVERY).derived
    assert (power.name, power.unit) == ("beta_CL_ALB", "1")
    assert power.meaning == "exponent of ALB/41 g/L on CL"
    assert (slope.name, slope.unit) == ("slope_V1_ALB", "1/(g/L)")
    assert model(*EVERY[:9]).derived == ()
    assert "beta_CL_ALB" not in {p.name for p in model(*EVERY).parameters}


def test_json_brings_every_effect_back():
    whole = model(*EVERY)
    again = PopModel.from_json(whole.to_json())
    assert again == whole
    assert again.covariates == EVERY
    assert again.hash == whole.hash
    assert str(again) == str(whole)


def test_numbers_of_numpy_are_as_good_as_pythons_own():
    screen = Horseshoe("screen", np.int64(2), np.float32(1.0), np.float64(0.04))
    own = model(
        Power("CL", "WT", np.int64(70), Normal(np.float64(0.6), 0.2)),
        Folds("V1", "RACE", factors={np.int64(2): Fixed(0.9)}, reference=np.float32(1.0)),
        Power("CL", "ALB", np.float32(41.0), Shrunk(screen, spread=np.float64(0.1))),
        Exponential("V1", "ALB", Shrunk(screen, spread=4.0), 41.0),
    )
    assert PopModel.from_json(own.to_json()) == own
    assert screen == SCREEN


@pytest.mark.parametrize("left_out", range(len(EVERY) - 2))
def test_each_effect_changes_the_hash(left_out):
    fewer = [effect for k, effect in enumerate(EVERY) if k != left_out]
    assert model(*fewer).hash != model(*EVERY).hash


def test_arguments_of_effects_that_are_left_out_are_not_stored():
    (stored,) = model(EVERY[0]).to_dict()["covariates"]
    assert stored == {
        "type": "Power", "parameter": "CL", "covariate": "WT", "reference": 70.0,
        "exponent": {"type": "Normal", "mean": 0.6, "sd": 0.2},
    }  # fmt: skip


def test_allometry_is_kept_as_power_effects():
    scaled = model(Allometry(("CL", "Q", "V1")), Fold("CL", "ADA", Fixed(2.0)))
    assert scaled.covariates[:2] == (
        Power("CL", "WT", 70.0, Fixed(0.75), "clearance_WT"),
        Power("Q", "WT", 70.0, Fixed(0.75), "clearance_WT"),
    )
    assert PopModel.from_json(scaled.to_json()) == scaled
    found = {p.name: (p.prior, p.meaning) for p in scaled.parameters}
    assert found["beta_clearance_WT"] == (Fixed(0.75), "exponent of WT/70 kg on CL and Q")
    assert faults(Allometry(("CL", "V"))) == (
        "Allometry names V, which TwoCompartment does not have (it has CL, V1, Q, V2).",
    )


HAS = "which TwoCompartment does not have (it has CL, V1, Q, V2)."


@pytest.mark.parametrize(
    ("effects", "sentences"),
    [
        ([Fold("V", "ADA", Fixed(2.0))], [f"a covariate effect acts on V, {HAS}"]),
        (
            [CustomEffect("CL", ("HT", "WT"), coefficients={"B": SLOPE},
                          factor=lambda x, b: 1 + b.B * x.HT * x.WT)],
            ['the covariate HT has no unit; add it to units, for example "HT": "kg" ("1" if it has '
             'none).'],
        ),
        ([EVERY[0], EVERY[0]], ["the effect of WT on CL is given twice."]),
        (
            [EVERY[0], Power("CL", "WT", 80.0, label="other")],
            ["the effect of WT on CL is given twice."],
        ),
        (
            [Exponential("CL", "AGE", SLOPE, 40.0), LinearEffect("CL", "AGE", SLOPE, 40.0)],
            ["the effect of AGE on CL is given twice."],
        ),
        (
            [Power("CL", "WT", 70.0, Fixed(0.75), "size"), Power("Q", "WT", 70.0, SLOPE, "size")],
            ["the coefficient beta_size has two priors, Fixed(0.75) and Normal(0, 0.02); effects "
             "that share a coefficient need the same one. Give one of them another label."],
        ),
        (
            [CustomEffect("CL", "AGE", coefficients={"omega_CL": SLOPE},
                          factor=lambda x, b: 1 + b.omega_CL * x.AGE)],
            ["omega_CL would be the name of a coefficient and of something else. Give the effect "
             "another label (a CustomEffect's coefficient another name)."],
        ),
        (
            [CustomEffect("CL", "AGE", coefficients={"WT": SLOPE},
                          factor=lambda x, b: 1 + b.WT * x.AGE)],
            ["WT would be the name of a coefficient and of something else. Give the effect another "
             "label (a CustomEffect's coefficient another name)."],
        ),
        (
            [Power("CL", "ALB", 41.0, Shrunk(SCREEN))],
            ["the Horseshoe screen says candidates=2, but 1 coefficients use it: beta_CL_ALB."],
        ),
    ],
)  # fmt: skip
def test_refusals(effects, sentences):
    assert faults(*effects) == tuple(sentences)


def test_two_groups_of_one_name_are_refused():
    other = Horseshoe("screen", candidates=2, expected_nonzero=1, scale=0.05)
    found = faults(
        Power("CL", "ALB", 41.0, Shrunk(SCREEN)), Power("V1", "ALB", 41.0, Shrunk(other))
    )
    assert len(found) == 1
    assert found[0].startswith("two groups are named screen: Horseshoe(name='screen', candidates")


def test_effects_of_two_kinds_on_one_parameter_are_possible():
    both = model(Power("CL", "WT", 70.0), Exponential("CL", "WT", SLOPE, 70.0))
    assert [c.name for c in both.coefficients] == ["beta_CL_WT", "slope_CL_WT"]
    several = model(
        RENAL,
        CustomEffect("CL", ("CRCL", "AGE"), coefficients={"OTHER": SLOPE},
                     factor=lambda x, b: 1 + b.OTHER * (x.CRCL - x.AGE)),
    )  # fmt: skip
    assert len(several.covariates) == 2

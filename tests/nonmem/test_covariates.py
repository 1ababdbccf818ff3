"""Covariate effects: numbers against the control stream's formulas."""

import math

import pytest

from popk.model import PopModel
from popk.statistics import Normal

WEIGHT, AGE, CRCL = 93.0, 61.0, 45.0
EFFECTS = {
    "CL = THETA(1)*(WT/70)**0.75": ("Power", 2 * (WEIGHT / 70) ** 0.75),
    "CL = THETA(1)*(WT/70)**THETA(3)": ("Power", 2 * (WEIGHT / 70) ** 0.4),
    "CL = THETA(1)*WT/70": ("Power", 2 * WEIGHT / 70),
    "WTR = WT/70\nCL = THETA(1)*WTR**0.75": ("Power", 2 * (WEIGHT / 70) ** 0.75),
    "CL = THETA(1)*EXP(0.75*LOG(WT/70))": ("Power", 2 * (WEIGHT / 70) ** 0.75),
    "CL = EXP(LOG(THETA(1)) + THETA(3)*LOG(WT/70))": ("Power", 2 * (WEIGHT / 70) ** 0.4),
    "CL = THETA(1)*EXP(THETA(3)*(AGE-40)/100)": ("Exponential", 2 * math.exp(0.4 * 0.21)),
    "CL = THETA(1)*(1+THETA(3)*(AGE-40))": ("LinearEffect", 2 * (1 + 0.4 * 21)),
    "CL = THETA(1)*(1+THETA(3)*(CRCL/100-1))": ("LinearEffect", 2 * (1 + 0.4 * -0.55)),
    "CL = THETA(1) + THETA(3)*CRCL": ("CustomEffect", 2 + 0.4 * CRCL),
    "CL = THETA(1)*(WT/70)**0.75*(AGE/40)**(-0.3)": (
        "Power Power", 2 * (WEIGHT / 70) ** 0.75 * (AGE / 40) ** -0.3),
    "CL = THETA(1)*THETA(3)**SEX": ("Fold", 2 * 0.4),
    "CL = THETA(1)*(1+THETA(3)*SEX)": ("LinearEffect", 2 * 1.4),
    "CL = THETA(1)\nIF (SEX.EQ.1) CL = CL*THETA(3)": ("Folds", 2 * 0.4),
    "IF (SEX.EQ.1) THEN\nCL = THETA(3)\nELSE\nCL = THETA(1)\nENDIF": ("Folds", 0.4),
    "F0X = 1\nIF (RACE.EQ.2) F0X = THETA(3)\nIF (RACE.EQ.3) F0X = 1+THETA(4)\nCL = THETA(1)*F0X":
        ("Folds", 2 * 1.6),
    "IF (SEX.EQ.0) CX = 1\nIF (SEX.EQ.1) CX = (1+THETA(3))\nCL = THETA(1)*CX": ("Folds", 2 * 1.4),
    "CX = 1\nIF (AGE.GT.60) CX = THETA(3)\nCL = THETA(1)*CX": ("CustomEffect", 2 * 0.4),
    "CX = 1\nIF (AGE.LE.60.AND.SEX.EQ.1) CX = THETA(3)\nCL = THETA(1)*CX": ("CustomEffect", 2.0),
    "CX = 1\nIF (AGE.GE.61.OR.WT.LT.10) CX = THETA(3)\nCL = THETA(1)*CX":
        ("CustomEffect", 2 * 0.4),
    "CX = 1\nIF (SEX.NE.0) CX = THETA(3)\nCL = THETA(1)*CX": ("Folds", 2 * 0.4),
    "CL = THETA(1)*(WT/70)**(0.75+THETA(3)*(AGE-40)/100)": (
        "CustomEffect", 2 * (WEIGHT / 70) ** (0.75 + 0.4 * 0.21)),
    "CL = THETA(1)*CRCL**THETA(3)/(50**THETA(3)+CRCL**THETA(3))": (
        "CustomEffect", 2 * CRCL**0.4 / (50**0.4 + CRCL**0.4)),
}  # fmt: skip


@pytest.mark.parametrize("code", EFFECTS)
def test_covariates(nm, code):
    kinds, expected = EFFECTS[code]
    pk = f"{code}\nTVCL = CL\nCL = TVCL*EXP(ETA(1))\nV = THETA(2)*EXP(ETA(2))\nS1 = V"
    found = nm.load(pk, theta="2 30 0.4 0.6")
    assert [type(effect).__name__ for effect in found.model.covariates] == kinds.split()
    values = {"WT": WEIGHT, "AGE": AGE, "CRCL": CRCL, "SEX": 1, "RACE": 3}
    used = {name for effect in found.model.covariates for name in effect.covariates}
    given = {name: values[name] for name in used}
    assert nm.parameters(found, (0.3,), **given)["CL"] == pytest.approx(
        expected * math.exp(0.3), rel=1e-9
    )
    assert PopModel.from_json(found.model.to_json()) == found.model


def test_references_of_powers_are_kept(nm):
    pk = nm.SIMPLE.replace("THETA(1)", "THETA(1)*(WT/70)**0.75").replace(
        "THETA(2)", "THETA(2)*WT/70"
    )
    found = nm.load(pk)
    assert [effect.reference for effect in found.model.covariates] == [70.0, 70.0]
    assert dict(found.model.typical)["V"].median == pytest.approx(30)


def test_a_shared_exponent_has_one_prior(nm):
    pk = nm.SIMPLE.replace("EXP(ETA", "(WT/70)**THETA(3)*EXP(ETA")
    found = nm.load(pk, theta="2 30 0.4")
    names = [p.name for p in found.model.parameters]
    assert names.count("beta_theta_3") == 1
    priors = {p.name: p.prior for p in found.model.parameters}
    assert priors["beta_theta_3"] == Normal(0.4, 0.4)


def test_a_theta_in_two_typical_values_is_reported(nm):
    pk = "CL = THETA(1)*EXP(ETA(1))\nV = THETA(1)*10*EXP(ETA(2))\nS1 = V"
    found = nm.load(pk, theta="2")
    assert not found.complete
    (item,) = (item for item in found.left_out if item.matters)
    assert "THETA(1) in CL and V" in item.what
    assert "is lost" in item.why


def test_covariates_inside_a_logit(nm):
    pk = nm.SIMPLE + "\nLF = LOG(THETA(3)/(1-THETA(3))) + THETA(4)*(AGE-40)/100 + ETA(3)\n"
    found = nm.load(pk + "F1 = EXP(LF)/(1+EXP(LF))", theta="2 30 0.6 0.5", omega="0.09 0.04 0.1")
    logit = math.log(1.5) + 0.5 * (AGE - 40) / 100 + 0.3
    assert nm.parameters(found, (0, 0, 0.3), AGE=AGE)["F1"] == pytest.approx(
        1 / (1 + math.exp(-logit))
    )

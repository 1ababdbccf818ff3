"""Priors and random effects: numbers against the control stream's formulas."""

import math

import pytest

from popk.model import PopModel
from popk.nonmem import NonmemError
from popk.statistics import Correlated, Fixed, HalfNormal, LinearScale, LogitScale, LogNormal

MEDIAN = 0.6744897501960817


def test_priors_are_centred_on_the_values(nm):
    found = nm.load(theta="(0,2,20) (0,30) ", cv=0.5)
    assert dict(found.model.typical) == {"CL": LogNormal(2, cv=0.5), "V": LogNormal(30, cv=0.5)}
    omegas = dict(found.model.iiv.omegas)
    assert omegas["CL"] == HalfNormal(0.3 / MEDIAN)
    assert omegas["CL"].median == pytest.approx(0.3)
    assert found.model.error.priors[0][1].median == pytest.approx(0.1)
    assert any("bounds (0, 20) of THETA(1)" in str(item) for item in found.left_out)
    assert found.complete
    assert PopModel.from_json(found.model.to_json()) == found.model


def test_what_is_fixed_stays_fixed(nm):
    found = nm.load(theta="2 FIX (0,30)", omega="0.09 FIX 0.04", sigma="0.01 FIX")
    model = found.model
    assert dict(model.typical)["CL"] == Fixed(2)
    assert dict(model.iiv.omegas)["CL"] == Fixed(0.3)
    assert model.error.priors[0][1] == Fixed(0.1)


def test_a_block_is_correlated(nm):
    found = nm.load(omega="$OMEGA BLOCK(2)\n0.09\n0.03 0.04")
    assert found.model.iiv.correlations == (Correlated(("CL", "V"), eta=2),)
    assert found.values["corr_CL_V"] == pytest.approx(0.5)
    found = nm.load(omega="$OMEGA BLOCK(2) FIX\n0.09\n0.03 0.04")
    (block,) = found.model.iiv.correlations
    assert block.fixed == pytest.approx((0.5,))
    assert dict(found.model.iiv.omegas) == {"CL": Fixed(0.3), "V": Fixed(0.2)}


@pytest.mark.parametrize(
    ("line", "scale", "sd", "value"),
    [
        ("CL = THETA(1) + ETA(1)", LinearScale(), 0.3, 2.2),
        ("CL = THETA(1)*(1 + ETA(1))", LinearScale(), 0.6, 2.4),
        ("CL = EXP(LOG(THETA(1)) + ETA(1))", None, 0.3, 2 * math.exp(0.2)),
        ("MU_1 = LOG(THETA(1))\nCL = EXP(MU_1+ETA(1))", None, 0.3, 2 * math.exp(0.2)),
        ("CL = THETA(1)*EXP(THETA(3)*ETA(1))", None, 0.15, 2 * math.exp(0.1)),
        ("PH = LOG(0.4/0.6)\nCL = EXP(PH+ETA(1))/(1+EXP(PH+ETA(1)))+0*THETA(1)",
         LogitScale(0, 1), 0.3, 1 / (1 + 1.5 * math.exp(-0.2))),
        ("CL = 1 + 4/(1+EXP(-THETA(1)*0-ETA(1)))", LogitScale(1, 5), 0.3,
         1 + 4 / (1 + math.exp(-0.2))),
    ],
)  # fmt: skip
def test_random_effects_act_on_a_scale(nm, line, scale, sd, value):
    pk = nm.SIMPLE.replace("CL = THETA(1)*EXP(ETA(1))", line)
    found = nm.load(pk, theta="2 30 0.5")
    assert dict(found.model.scales).get("CL") == scale
    assert found.values["omega_CL"] == pytest.approx(sd)
    assert nm.parameters(found, (0.2,))["CL"] == pytest.approx(value)


def test_random_effects_that_popk_lacks_are_refused(nm):
    boxcox = "CL = THETA(1)*EXP((EXP(ETA(1))**0.5-1)/0.5)"
    with pytest.raises(NonmemError, match=r"random effects on CL .* none that popk has"):
        nm.load(nm.SIMPLE.replace("CL = THETA(1)*EXP(ETA(1))", boxcox))
    covariate = "CL = THETA(1)*EXP(ETA(1)*WT/70)"
    with pytest.raises(NonmemError, match="do not depend on covariates"):
        nm.load(nm.SIMPLE.replace("CL = THETA(1)*EXP(ETA(1))", covariate))


def test_a_shared_random_effect(nm):
    pk = nm.SIMPLE.replace("EXP(ETA(2))", "EXP(ETA(1))")
    found = nm.load(pk)
    assert found.model.iiv.shared == (("V", "CL"),)
    assert nm.parameters(found, (0.2,)) == pytest.approx(
        {"CL": 2 * math.exp(0.2), "V": 30 * math.exp(0.2)}
    )
    assert any("ETA(2)" in item.what for item in found.left_out)


def test_rate_constants_make_correlated_clearances(nm):
    """CL = K V has the sum of two etas: its variance is their sum, and correlated with V."""
    pk = "K = THETA(1)*EXP(ETA(1))\nV = THETA(2)*EXP(ETA(2))\nS1 = V"
    found = nm.load(pk, advan="ADVAN1 TRANS1", theta="0.1 30")
    assert nm.parameters(found, (0.2, 0.1)) == pytest.approx(
        {"CL": 3 * math.exp(0.3), "V": 30 * math.exp(0.1)}
    )
    assert found.values["omega_CL"] == pytest.approx(math.sqrt(0.13))
    assert found.values["corr_CL_V"] == pytest.approx(0.04 / math.sqrt(0.13 * 0.04))
    assert found.complete
    assert any("THETA(2) in CL and V" in item.what for item in found.left_out)


IF_OCC = "IOV = 0\nIF (OCC.EQ.1) IOV = ETA(3)\nIF (OCC.EQ.2) IOV = ETA(4)\n"
INDICATORS = (
    "OC1 = 0\nOC2 = 0\nIF (OCC.EQ.1) OC1 = 1\nIF (OCC.EQ.2) OC2 = 1\n"
    "IOV = OC1*ETA(3) + OC2*ETA(4)\n"
)
SAME = "$OMEGA 0.09 0.04\n$OMEGA BLOCK(1) 0.01\n$OMEGA BLOCK(1) SAME"


@pytest.mark.parametrize("code", [IF_OCC, INDICATORS])
def test_variability_between_occasions(nm, code):
    pk = code + nm.SIMPLE.replace("EXP(ETA(1))", "EXP(ETA(1)+IOV)")
    found = nm.load(pk, omega=SAME)
    assert dict(found.model.iov.omegas) == {"CL": HalfNormal(0.1 / MEDIAN)}
    assert found.reading.occasion == "OCC"
    etas = (0.1, 0.0, 0.2, -0.3)
    assert nm.parameters(found, etas, 1)["CL"] == pytest.approx(2 * math.exp(0.3))
    assert nm.parameters(found, etas, 2)["CL"] == pytest.approx(2 * math.exp(-0.2))


def test_repeated_same_and_a_block_between_occasions(nm):
    pk = (
        "IF (OCC.EQ.1) THEN\n  X = ETA(3)\n  Z = ETA(4)\nELSEIF (OCC.EQ.2) THEN\n  X = ETA(5)\n"
        "  Z = ETA(6)\nELSE\n  X = ETA(7)*0\n  Z = 0\n  IF (OCC.EQ.3) THEN\n    X = ETA(7)\n"
        "    Z = ETA(8)\n  ENDIF\nENDIF\n"
    ) + nm.SIMPLE.replace("(ETA(1)", "(ETA(1)+X").replace("(ETA(2)", "(ETA(2)+Z")
    omega = "$OMEGA 0.09 0.04\n$OMEGA BLOCK(2)\n0.01\n0.001 0.04\n$OMEGA BLOCK(2) SAME(2)"
    found = nm.load(pk, omega=omega)
    assert found.model.iov.correlations == (Correlated(("CL", "V"), eta=2),)
    assert found.values["corr_iov_CL_V"] == pytest.approx(0.001 / (0.1 * 0.2))
    etas = (0.0, 0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
    for occasion in (1, 2, 3):
        cl, v = etas[2 * occasion], etas[2 * occasion + 1]
        assert nm.parameters(found, etas, occasion) == pytest.approx(
            {"CL": 2 * math.exp(cl), "V": 30 * math.exp(v)}
        )


def test_occasions_of_different_size_are_refused(nm):
    pk = IF_OCC + nm.SIMPLE.replace("EXP(ETA(1))", "EXP(ETA(1)+IOV)")
    with pytest.raises(NonmemError, match="BLOCK SAME"):
        nm.load(pk, omega="0.09 0.04 0.01 0.02")

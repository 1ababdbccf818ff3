"""ADVAN, TRANS and $DES: the structure, and its parameters as numbers."""

import math

import numpy as np
import pytest

from popk import from_nonmem
from popk.nonmem import NonmemError

# Compartments: central volume, elimination and exchange rate constants that all cases below have.
K, V, K12, K21, K13, K31, KA = 0.2, 10.0, 0.3, 0.1, 0.05, 0.02, 1.5
ONE = {"CL": K * V, "V": V}
TWO = {"CL": K * V, "V1": V, "Q": K12 * V, "V2": K12 * V / K21}
THREE = {
    "CL": K * V, "V1": V, "Q2": K12 * V, "V2": K12 * V / K21, "Q3": K13 * V, "V3": K13 * V / K31,
}  # fmt: skip
ALPHA, BETA = np.sort(np.roots([1, -(K + K12 + K21), K * K21]).real)[::-1]
POLES = np.sort(
    np.roots([
        1, -(K + K12 + K13 + K21 + K31), K * (K21 + K31) + K12 * K31 + K13 * K21 + K21 * K31,
        -K * K21 * K31,
    ]).real
)[::-1]  # fmt: skip
AOB = (ALPHA - K21) / (K21 - BETA)
CASES = {
    "ADVAN1 TRANS1": (ONE, {"K": K}),
    "ADVAN1 TRANS2": (ONE, {"CL": K * V, "V": V}),
    "ADVAN2 TRANS2": (ONE, {"CL": K * V, "V": V, "KA": KA}),
    "ADVAN2": (ONE, {"K": K, "KA": KA}),
    "ADVAN3 TRANS1": (TWO, {"K": K, "K12": K12, "K21": K21}),
    "ADVAN3 TRANS3": (TWO, {"CL": K * V, "V": V, "Q": K12 * V, "VSS": V + K12 * V / K21}),
    "ADVAN3 TRANS4": (TWO, {"CL": K * V, "V1": V, "Q": K12 * V, "V2": K12 * V / K21}),
    "ADVAN3 TRANS5": (TWO, {"AOB": AOB, "ALPHA": ALPHA, "BETA": BETA}),
    "ADVAN3 TRANS6": (TWO, {"ALPHA": ALPHA, "BETA": BETA, "K21": K21}),
    "ADVAN4 TRANS1": (TWO, {"K": K, "K23": K12, "K32": K21, "KA": KA}),
    "ADVAN4 TRANS4": (TWO, {"CL": K * V, "V2": V, "Q": K12 * V, "V3": K12 * V / K21, "KA": KA}),
    "ADVAN11 TRANS1": (THREE, {"K": K, "K12": K12, "K21": K21, "K13": K13, "K31": K31}),
    "ADVAN11 TRANS4": (
        THREE,
        {"CL": K * V, "V1": V, "Q2": K12 * V, "V2": K12 * V / K21, "Q3": K13 * V,
         "V3": K13 * V / K31},
    ),
    "ADVAN11 TRANS6": (
        THREE, {"ALPHA": POLES[0], "BETA": POLES[1], "GAMMA": POLES[2], "K21": K21, "K31": K31},
    ),
    "ADVAN12 TRANS4": (
        THREE,
        {"CL": K * V, "V2": V, "Q3": K12 * V, "V3": K12 * V / K21, "Q4": K13 * V,
         "V4": K13 * V / K31, "KA": KA},
    ),
    "ADVAN12 TRANS1": (
        THREE, {"K": K, "K23": K12, "K32": K21, "K24": K13, "K42": K31, "KA": KA},
    ),
}  # fmt: skip


@pytest.mark.parametrize("advan", CASES)
def test_every_parametrisation_is_the_same_structure(nm, advan):
    expected, given = CASES[advan]
    lines = [f"{name} = THETA({k})" for k, name in enumerate(given, 1)]
    depot = "KA" in given
    lines.append(f"S{2 if depot else 1} = THETA({len(given) + 1})")
    theta = " ".join(f"(0,{float(x)!r})" for x in [*given.values(), V])
    found = nm.load("\n".join(lines), advan=advan, theta=theta, omega="0 FIX")
    assert nm.parameters(found) == pytest.approx(
        {**expected, **({"KA": KA} if depot else {})}, rel=1e-9
    )
    assert found.model.structure.closed_form == (len(expected) // 2, depot)


def test_michaelis_menten_of_advan10(nm):
    pk = "VM = THETA(1)*EXP(ETA(1))\nV = THETA(2)*EXP(ETA(2))\nKM = THETA(3)*V\nS1 = V"
    found = nm.load(pk, advan="ADVAN10", theta="(0,5) (0,30) (0,2)")
    assert nm.parameters(found, (0.2, -0.1)) == pytest.approx(
        {"VMAX": 5 * math.exp(0.2), "V": 30 * math.exp(-0.1), "KM": 2}
    )


@pytest.mark.parametrize("scale", ["S1 = V/1000", "SC = V/1000"])
def test_amounts_are_converted_where_volumes_would_have_no_unit(nm, scale):
    pk = nm.SIMPLE.replace("S1 = V", scale)
    found = nm.load(pk, units={"concentration": "ng/mL"})
    assert (found.model.units.amount, found.model.units.volume) == ("ug", "L")
    assert nm.parameters(found) == pytest.approx({"CL": 2, "V": 30})
    assert found.reading.amount == 1000
    assert any("multiplied by 1000" in str(item) for item in found.carried)


def test_a_prediction_read_from_the_amount(nm):
    found = nm.load(
        "CL = THETA(1)*EXP(ETA(1))\nV = THETA(2)*EXP(ETA(2))",
        error="IPRED = A(1)/V\nY = IPRED*(1+EPS(1))",
    )
    assert nm.parameters(found, (0.1, 0.3)) == pytest.approx(
        {"CL": 2 * math.exp(0.1), "V": 30 * math.exp(0.3)}
    )


def test_properties_of_doses(nm):
    pk = (
        "CL = THETA(1)\nV = THETA(2)\nKA = THETA(3)\nS2 = V\nF1 = THETA(4)\nF2 = 1 - F1\n"
        "ALAG1 = THETA(5)\nD2 = THETA(6)\nALAG2 = 0"
    )
    found = nm.load(pk, advan="ADVAN2 TRANS2", theta="2 30 1 0.4 0.5 3", omega="0 FIX")
    assert nm.parameters(found) == pytest.approx(
        {"CL": 2, "V": 30, "KA": 1, "F1": 0.4, "ALAG1": 0.5, "D2": 3}
    )
    assert found.model.structure.dosing.complement == ((2, 1),)


DES = """$MODEL COMP=(CENTRAL,DEFOBS,DEFDOSE) COMP=(PERI) COMP=(DEPOT)
$DES
C1 = A(1)/V1
C2 = A(2)/V2
DADT(1) = KA*A(3) - CL*C1 - VM*C1/(KM+C1) - Q*(C1-C2)
DADT(2) = Q*C1 - Q*C2
DADT(3) = -KA*A(3)
"""
DES_PK = (
    "CL = THETA(1)*EXP(ETA(1))\nV1 = THETA(2)*EXP(ETA(2))\nQ = THETA(3)\nV2 = THETA(4)\n"
    "VM = THETA(5)\nKM = THETA(6)\nKA = THETA(7)\nS1 = V1"
)


def test_equations_in_another_order(nm):
    found = nm.load(DES_PK, advan="ADVAN13 TOL=9", before=DES, theta="2 30 4 50 6 0.7 1.2")
    assert type(found.model.structure).__name__ == "TwoCompartment"
    assert nm.parameters(found, (0.1,)) == pytest.approx(
        {"CL": 2 * math.exp(0.1), "V1": 30, "Q": 4, "V2": 50, "VMAX": 6, "KM": 0.7, "KA": 1.2}
    )
    assert found.reading.order == (3, 1, 2)
    assert any("CMT 3 is 1" in str(item) for item in found.carried)


def test_linear_compartments_by_their_rate_constants(nm):
    pk = (
        "V = THETA(1)*EXP(ETA(1))\nK12 = THETA(2)\nK20 = THETA(3)*EXP(ETA(2))\nK2T3 = THETA(4)\n"
        "K32 = THETA(5)\nS2 = V"
    )
    model = "$MODEL COMP=(DEPOT,DEFDOSE) COMP=(CENTRAL) COMP=(PERI)\n"
    found = nm.load(pk, advan="ADVAN5", before=model, theta="10 1.5 0.2 0.3 0.1")
    assert nm.parameters(found, (0.2, 0.1)) == pytest.approx({
        "CL": 2 * math.exp(0.3), "V1": 10 * math.exp(0.2), "Q": 3 * math.exp(0.2),
        "V2": 30 * math.exp(0.2), "KA": 1.5,
    })  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "to", "said"),
    [
        ("VM*C1/(KM+C1)", "VM*C1**2/(KM+C1**2)", "is not recognised"),
        ("VM*C1/(KM+C1)", "VM*C1*EXP(-T)", "depend on the time T"),
        ("DADT(2) = Q*C1 - Q*C2", "DADT(2) = Q*C1 - Q*C2 - 0.1*A(3)", "neither a depot nor"),
        ("DADT(3) = -KA*A(3)", "DADT(3) = -KA*A(3)/(1+A(3))", "not linear"),
    ],
)
def test_other_equations_are_refused(nm, changed, to, said):
    with pytest.raises(NonmemError, match=said):
        nm.load(DES_PK, advan="ADVAN13 TOL=9", before=DES.replace(changed, to),
                theta="2 30 4 50 6 0.7 1.2")  # fmt: skip


def test_what_pk_does_not_define_is_named(nm):
    with pytest.raises(NonmemError, match="ADVAN3 TRANS4 needs V1, which "):
        nm.load(advan="ADVAN3 TRANS4")
    with pytest.raises(NonmemError, match="ADVAN1 with TRANS4, which NONMEM does not have"):
        nm.load(advan="ADVAN1 TRANS4")
    with pytest.raises(NonmemError, match="CL uses XYZ"):
        nm.load(nm.SIMPLE.replace("THETA(1)", "THETA(1)*XYZ"))
    with pytest.raises(NonmemError, match="CL depends on TIME"):
        nm.load(nm.SIMPLE.replace("THETA(1)", "THETA(1)*EXP(-TIME)"))


def test_units_are_needed(nm):
    text = nm.stream(nm.SIMPLE.replace("THETA(1)", "THETA(1)*WT/70"))
    with pytest.raises(NonmemError, match="covariates WT; units does not say"):
        from_nonmem(text, units={"time": "h", "amount": "mg", "concentration": "mg/L"})

"""Residual errors: numbers against the control stream's formulas."""

import math

import numpy as np
import pytest

from popk import from_nonmem
from popk.nonmem import NonmemError
from popk.statistics import Additive, Fixed, HalfNormal

ERRORS = {
    "Y = F + EPS(1)": ("Additive", lambda f: 0.1),
    "Y = F*(1+EPS(1))": ("Proportional", lambda f: 0.1 * f),
    "Y = F + F*ERR(1)": ("Proportional", lambda f: 0.1 * f),
    "Y = F*(1+EPS(1)) + EPS(2)": ("Combined", lambda f: math.hypot(0.1 * f, 0.5)),
    "W = SQRT(THETA(3)**2*F**2 + THETA(4)**2)\nY = F + W*EPS(3)":
        ("Combined", lambda f: math.hypot(0.2 * f, 0.7)),
    "IPRED = F\nW = THETA(3)*IPRED + THETA(4)\nY = IPRED + W*EPS(3)":
        ("CombinedSD", lambda f: 0.2 * f + 0.7),
    "W = THETA(3)*F**1.5\nY = F + W*EPS(3)": ("PowerError", lambda f: 0.2 * f**1.5),
    "W = F\nIF (W.EQ.0) W = 1\nIRES = DV - F\nY = F + W*EPS(1)":
        ("Proportional", lambda f: 0.1 * f),
    "Y = F*EXP(EPS(1))": ("LogNormalError", lambda f: 0.1),
    "IPRED = 0\nIF (F.GT.0) IPRED = LOG(F)\nY = IPRED + EPS(1)": ("LogNormalError", lambda f: 0.1),
    "IPRED = A(1)/V\nIF (IPRED.GT.0) THEN\nLI = LOG(IPRED)\nELSE\nLI = -99\nENDIF\nY = LI + EPS(1)":
        ("LogNormalError", lambda f: 0.1),
    "Y = LOG(F) + THETA(3)*EPS(3)": ("LogNormalError", lambda f: 0.2),
}  # fmt: skip


@pytest.mark.parametrize("code", ERRORS)
def test_residual_errors(nm, code):
    kind, expected = ERRORS[code]
    found = nm.load(error=code, theta="2 30 (0,0.2) (0,0.7)",
                    sigma="0.01 0.25\n$SIGMA 1 FIX")  # fmt: skip
    assert type(found.model.error).__name__ == kind
    for prediction in (0.3, 4.0, 60.0):
        assert nm.sd(found, prediction) == pytest.approx(expected(prediction))
    assert found.reading.log_dv == ("LOG" in code)


def test_the_part_that_is_fixed_stays_fixed(nm):
    code = "W = SQRT(THETA(3)**2*F**2 + THETA(4)**2)\nY = F + W*EPS(1)"
    found = nm.load(error=code, theta="2 30 0.2 0.7 FIX", sigma="1 FIX")
    assert found.model.error.proportional.median == pytest.approx(0.2)
    assert isinstance(found.model.error.proportional, HalfNormal)
    assert isinstance(found.model.error.additive, Fixed)
    assert found.model.error.additive.value == pytest.approx(0.7)
    power = nm.load(error="Y = F + F**1.5*EPS(1)").model.error
    assert isinstance(power.power, Fixed)
    assert power.power.value == pytest.approx(1.5)
    assert isinstance(power.sigma, HalfNormal)


def test_an_error_of_correlated_epsilons_has_their_variance(nm):
    with pytest.raises(NonmemError, match="none that popk has"):
        nm.load(error="Y = F*(1+EPS(1)) + EPS(2)", sigma="BLOCK(2)\n0.01\n0.02 0.25")


def test_the_likelihood_of_observations_below_the_limit(nm):
    code = (
        "IPRED = F\nW = SQRT(THETA(3)**2*IPRED**2 + THETA(4)**2)\nIF (BLQ.EQ.1) THEN\n"
        "F_FLAG = 1\nY = PHI(({} - IPRED)/W)\nELSE\nF_FLAG = 0\nY = IPRED + W*EPS(1)\nENDIF"
    )
    for limit in ("0.5", "LLOQ"):
        found = nm.load(error=code.format(limit), theta="2 30 0.2 0.7", sigma="1 FIX")
        assert type(found.model.error).__name__ == "Combined"
        flagged, at = found.reading.below
        assert (flagged.column, flagged.levels, flagged.below) == ("BLQ", (1.0,), True)
        assert at == limit
        assert any("(M3)" in str(item) for item in found.carried)
    with pytest.raises(NonmemError, match="the method M3"):
        nm.load(error=code.format("2*0.5 - 0.5*IPRED"), theta="2 30 0.2 0.7", sigma="1 FIX")


def test_guards_of_small_predictions_are_left_out(nm):
    code = "IPRED = F\nIF (IPRED.LT.0.001) IPRED = 0.001\nY = IPRED + IPRED*EPS(1)"
    found = nm.load(error=code)
    assert nm.sd(found, 2.0) == pytest.approx(0.2)
    assert [item.what for item in found.left_out if item.matters] == ["the branch for F < 0.001"]
    found = nm.load(error="Y = LOG(F + 0.0001) + EPS(1)")
    assert [item.what for item in found.left_out if item.matters] == [
        "0.0001 added to the prediction"
    ]


def test_an_eta_without_variance_is_left_out(nm):
    found = nm.load(omega="0.09 0 FIX")
    assert found.complete
    assert found.model.iiv.effects == ("CL",)
    assert nm.parameters(found, (0.1, 0.5)) == pytest.approx({"CL": 2 * math.exp(0.1), "V": 30})


def test_random_effects_on_the_error_are_left_out(nm):
    found = nm.load(error="Y = F*(1+EPS(1)*EXP(ETA(3)))", omega="0.09 0.04 0.1")
    assert not found.complete
    assert any("ETA(3) on the residual error" in str(item) for item in found.left_out)
    assert nm.sd(found, 2.0) == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("IF (CMT.EQ.1) W = THETA(3)\nIF (CMT.EQ.2) W = THETA(4)\nY = F + W*EPS(1)",
         "depends on CMT"),
        ("IF (CMT.EQ.1) Y = A(1)*(1+EPS(1))\nIF (CMT.EQ.2) Y = A(2)", "one observed output"),
        ("Y = SQRT(F) + EPS(1)", "Other transformations of DV"),
        ("W = F/(1+F)\nY = F + W*EPS(1)", "none that popk has"),
        ("X = F + EPS(1)", "does not define Y"),
        ("Y = F", "has no epsilon"),
    ],
)  # fmt: skip
def test_other_errors_are_refused(nm, code, said):
    with pytest.raises(NonmemError, match=said):
        nm.load(error=code, theta="2 30 0.2 0.7", sigma="0.01 0.25")


def test_residual_sd_agrees_with_simulated_observations(nm):
    """Y of the control stream, drawn by its own formula, has the SD that the model says."""
    found = nm.load(error="Y = F*(1+EPS(1)) + EPS(2)", sigma="0.01 0.25")
    rng = np.random.default_rng(4)
    y = 8 * (1 + rng.normal(0, 0.1, 200_000)) + rng.normal(0, 0.5, 200_000)
    assert nm.sd(found, 8.0) == pytest.approx(y.std(), rel=0.01)


def test_another_residual_error_can_be_given(nm):
    code = "SD = 0.1\nIF (RACE.EQ.1) SD = 0.2\nY = F*(1+SD*EPS(1))"
    units = {"time": "h", "amount": "mg", "concentration": "mg/L"}
    given = Additive(HalfNormal(1.0))
    with pytest.raises(NonmemError, match="depends on RACE"):
        from_nonmem(nm.stream(nm.SIMPLE, error=code), units=units)
    found = from_nonmem(nm.stream(nm.SIMPLE, error=code), units=units, error=given)
    assert found.model.error == given
    assert [item.what for item in found.left_out if item.matters] == ["the residual error"]


def test_a_theta_in_the_error_and_in_a_parameter_is_reported(nm):
    found = nm.load(error="Y = F + THETA(1)*EPS(1)")
    (item,) = (item for item in found.left_out if item.matters)
    assert item.what == "THETA(1) in the residual error and a parameter"

"""Ways out of the central compartment: saturable, and changing with the time."""

from __future__ import annotations

import numpy as np
import pytest
from popk_solving import TIMES, solve, values_of
from scipy.integrate import quad
from scipy.special import lambertw

from popk.structure.compartments import OneCompartment, TwoCompartment
from popk.structure.elimination import (
    DecliningClearance,
    MichaelisMenten,
    ParallelMichaelisMenten,
    TimeVaryingClearance,
)


def test_michaelis_menten_is_the_lambert_function():
    v, vmax, km, dose = 3.5, 3.0, 1.0, 40.0
    start = dose / v
    expected = km * lambertw(start / km * np.exp((start - vmax / v * TIMES) / km)).real
    found = solve(OneCompartment(None, MichaelisMenten()), {"central": dose}, V=v, VMAX=vmax, KM=km)
    np.testing.assert_allclose(found[:, 0], expected, rtol=1e-6, atol=1e-9)


def test_parallel_elimination_is_linear_for_little_drug():
    saturable = TwoCompartment(None, ParallelMichaelisMenten())
    little = solve(saturable, {"central": 1e-4}, VMAX=0.3, KM=2.0)
    linear = solve(TwoCompartment(), {"central": 1e-4}, CL=0.2 + 0.3 / 2.0)
    np.testing.assert_allclose(little, linear, rtol=1e-4, atol=1e-12)


def test_time_varying_clearance_as_published_for_nivolumab():
    elimination = TimeVaryingClearance()
    p = values_of(
        OneCompartment(None, elimination), CL=0.2256, IMAXCL=0.295, T50CL=58.75, GAMMA=3.15
    )
    days = np.array([1.0, 20.0, 58.75, 200.0, 365.0])
    sigmoid = days**3.15 / (58.75**3.15 + days**3.15)
    expected = 0.2256 * np.exp(-0.295 * sigmoid)
    found = [elimination.rate(day, 1.0, p) for day in days]
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert elimination.rate(1e6, 1.0, p) == pytest.approx(0.2256 * np.exp(-0.295), rel=1e-9)
    for t in (0.0, -1.0, -1e5):
        assert elimination.rate(t, 1.0, p) == pytest.approx(0.2256, rel=1e-12)


def test_declining_clearance_as_published_for_ocrelizumab():
    elimination = DecliningClearance()
    p = values_of(OneCompartment(None, elimination), CL=0.17, CL0=0.0489, KDES=1.11 / 365.25)
    years = np.array([0.1, 1.0, 5.0])
    found = [elimination.rate(365.25 * year, 1.0, p) for year in years]
    np.testing.assert_allclose(found, 0.17 + 0.0489 * np.exp(-1.11 * years), rtol=1e-11)
    for t in (0.0, -100.0):
        assert elimination.rate(t, 1.0, p) == pytest.approx(0.2189, rel=1e-9)


@pytest.mark.parametrize("elimination", [TimeVaryingClearance(), DecliningClearance()])
def test_with_clearance_that_changes_the_exposure_is_the_integral(elimination):
    structure = OneCompartment(None, elimination)
    given = {"KDES": 0.1} if "KDES" in structure.names else {"T50CL": 5.0}
    p = values_of(structure, **given)
    found = solve(structure, {"central": 100.0}, **given)[:, 0]
    for t, c in zip(TIMES, found, strict=True):
        exponent = quad(lambda s: elimination.rate(s, 1.0, p), 0.0, t)[0] / p.V
        assert c == pytest.approx(100.0 / p.V * np.exp(-exponent), rel=1e-6)

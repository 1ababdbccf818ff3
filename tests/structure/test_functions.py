"""Functions for equations mean the same in numbers, in `Custom`, and in what is compiled."""

from __future__ import annotations

from collections import namedtuple

import numpy as np
import pytest
from popk_histories import dose, events, observe

from popk.structure.base import Output, Parameter
from popk.structure.custom import Custom
from popk.structure.functions import power
from popk.structure.solve import concentrations_with_gradient

CL = Parameter("CL", "volume/time", "clearance", 0.2)
V = Parameter("V", "volume", "volume", 3.5)


def written(rates):
    """One compartment with these rates."""
    output = Output("concentration", "concentration", "concentration", 1)
    return Custom(
        "one",
        parameters=(CL, V),
        compartments=("central",),
        outputs=(output,),
        rates=rates,
        read=lambda t, a, p: (a.central / p.V,),
    )


@pytest.mark.parametrize("exponent", [2, 2.0, -3, 0, 1, 40, 2.5, -0.5])
def test_a_power_means_what_it_means_in_numbers(exponent):
    """Written as ** or as power, and with the exponent as a parameter."""
    kinds = (
        lambda t, a, p: (p.CL * power(a.central - p.V, exponent),),
        lambda t, a, p: (p.CL * (a.central - p.V) ** exponent,),
        lambda t, a, p: (p.CL * power(a.central - p.V, p.CL),),
    )
    p = namedtuple("P", "CL V")(float(exponent), 4.0)
    for central in (1.0, 3.99, 4.3, 6.0):
        a = namedtuple("A", "central")(central)
        expected = power(central - 4.0, exponent)
        if float(exponent).is_integer():
            assert expected == pytest.approx((central - 4.0) ** exponent, rel=1e-12)
        for rates in kinds:
            assert written(rates).rates(0.0, a, p) == pytest.approx((p.CL * expected,), rel=1e-12)


def test_whole_powers_of_what_is_negative_have_their_gradient():
    """The square of what a concentration lacks to a level, and its inverse cube."""

    def read(t, a, p):
        lack = a.central / p.V - p.LEVEL
        return power(lack, 2), lack**-3

    structure = Custom(
        "lack",
        parameters=(CL, V, Parameter("LEVEL", "concentration", "a level")),
        compartments=("central",),
        outputs=(Output("square", "1", "a square"), Output("cube", "1", "an inverse cube")),
        rates=lambda t, a, p: (-p.CL * a.central / p.V,),
        read=read,
        tolerance=1e-10,
    )
    theta = np.array([[0.4, 5.0, 30.0]])
    times = np.array([1.0, 4.0, 9.0])
    seen = [r for t in times for what in (0, 1) for r in observe(t, what=what)]
    value, gradient = concentrations_with_gradient(structure, theta, events([dose(0.0), *seen]))
    c = 100.0 / 5.0 * np.exp(-0.4 / 5.0 * times)
    lack = c - 30.0
    assert np.all(lack < 0.0)
    moves = np.stack([-times / 5.0 * c, c * (0.4 * times / 25.0 - 1.0 / 5.0), -np.ones(3)], axis=1)
    for k, exponent in enumerate((2, -3)):
        np.testing.assert_allclose(value[k::2], lack**exponent, rtol=1e-7)
        slope = exponent * lack ** (exponent - 1.0)
        np.testing.assert_allclose(gradient[k::2], slope[:, None] * moves, rtol=1e-6)

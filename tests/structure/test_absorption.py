"""Ways into the central compartment."""

from __future__ import annotations

import numpy as np
import pytest
from popk_solving import TIMES, bateman, solve, solve_amounts
from scipy.special import gammaincc

from popk.errors import SettingError
from popk.structure.absorption import FirstOrder, ParallelFirstOrder, Sequential, Transit, ZeroOrder
from popk.structure.base import Dosing
from popk.structure.compartments import OneCompartment, TwoCompartment
from popk.structure.elimination import MichaelisMenten


def test_zero_order_doses():
    structure = OneCompartment(ZeroOrder())
    assert structure.zero_order == (1,)
    assert structure.dosing.duration == (1,)
    assert OneCompartment(ZeroOrder(), dosing=Dosing(duration=(1,))) == structure
    assert TwoCompartment(Sequential()).zero_order == (1,)
    assert OneCompartment(FirstOrder()).zero_order == ()


def test_transit_compartments_delay_by_a_gamma_density():
    n, mtt = 4, 2.0
    amounts, _ = solve_amounts(OneCompartment(Transit(n)), {"transit0": 100.0}, MTT=mtt, KA=0.3)
    waiting = amounts[:, : n + 1].sum(axis=1)  # not yet in the depot
    expected = 100.0 * gammaincc(n + 1, (n + 1) / mtt * TIMES)
    np.testing.assert_allclose(waiting, expected, atol=1e-7)


def test_mean_absorption_time_of_transit_compartments():
    structure = OneCompartment(Transit(3))
    times = np.linspace(0.0, 80.0, 4001)
    amounts, _ = solve_amounts(structure, {"transit0": 1.0}, times, MTT=2.0, KA=0.5)
    outside = amounts[:, :-1].sum(axis=1)
    assert np.trapezoid(outside, times) == pytest.approx(2.0 + 1 / 0.5, rel=1e-5)


def test_absorption_faster_than_elimination_adds_to_its_rate_constant():
    structure = OneCompartment(FirstOrder(faster=True))
    assert structure.names == ("CL", "V", "DKA")
    found = solve(structure, {"depot": 100.0}, CL=0.7, V=3.5, DKA=0.9)
    np.testing.assert_allclose(
        found[:, 0], 100.0 / 3.5 * bateman(TIMES, 1.1, 0.2), rtol=1e-4, atol=1e-5
    )
    assert TwoCompartment(Sequential(faster=True)).names == ("CL", "V1", "Q", "V2", "DKA", "D1")
    assert OneCompartment(FirstOrder(faster=False)) == OneCompartment(FirstOrder())
    shown = [repr(FirstOrder()), repr(FirstOrder(faster=True)), repr(Sequential())]
    assert shown == ["FirstOrder()", "FirstOrder(faster=True)", "Sequential()"]


def test_faster_than_a_saturable_elimination_means_nothing():
    with pytest.raises(SettingError, match=r"faster than elimination needs Linear\(\)"):
        OneCompartment(FirstOrder(faster=True), MichaelisMenten())


@pytest.mark.parametrize("split", [True, False])
def test_two_depots_are_two_bateman_functions(split):
    structure = OneCompartment(ParallelFirstOrder(split=split))
    doses = {"depot": 100.0, "depot2": 100.0}
    given = {"FR1": 0.3} if split else {}
    found = solve(structure, doses, CL=0.7, V=3.5, KA1=1.1, KA2=0.05, **given)
    first, second = (0.3, 0.7) if split else (1.0, 1.0)
    paths = first * bateman(TIMES, 1.1, 0.2) + second * bateman(TIMES, 0.05, 0.2)
    np.testing.assert_allclose(found[:, 0], 100.0 / 3.5 * paths, atol=1e-7)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: FirstOrder(faster="yes"), "FirstOrder was given faster='yes'; expected True or"),
        (lambda: Transit(0), "Transit was given n=0; expected the number of transit"),
        (lambda: Transit(2.5), "given n=2.5"),
        (lambda: Transit(True), "given n=True"),
        (lambda: ParallelFirstOrder("no"), "split='no'; expected True or False"),
    ],
)
def test_sentences(make, sentence):
    with pytest.raises(SettingError, match=sentence):
        make()

"""Target-mediated disposition: the literature's own form, limits, conservation."""

from __future__ import annotations

from collections import namedtuple
from decimal import Decimal, localcontext

import numpy as np
import pytest
from popk_solving import TIMES, solve, values_of
from scipy.integrate import solve_ivp

from popk.errors import SettingError
from popk.structure.absorption import FirstOrder, Sequential, Transit
from popk.structure.base import Dosing
from popk.structure.compartments import TwoCompartment
from popk.structure.elimination import ParallelMichaelisMenten
from popk.structure.target_mediated import Full, QuasiSteadyState, TargetMediated, Wagner
from popk.units import Units


@pytest.mark.parametrize(
    ("structure", "names"),
    [
        (TargetMediated(Full(), absorption=FirstOrder()), "CL V1 Q V2 KD KOFF R0 KDEG KINT KA"),
        (TargetMediated(peripheral=False), "CL V KSS R0 KDEG KINT"),
        (TargetMediated(Wagner()), "CL V1 Q V2 KSS R0 KINT"),
    ],
)
def test_order_of_parameters(structure, names):
    assert " ".join(structure.names) == names


def test_what_it_is_made_of():
    tmdd = TargetMediated(Full(), absorption=FirstOrder())
    assert tmdd.compartments == ("depot", "central", "peripheral", "target", "complex")
    assert [o.compartment for o in tmdd.outputs] == [2, None, 4, None]
    assert tmdd.closed_form is None
    assert tmdd.deviations == ("target",)
    assert tmdd.undosed == ("target", "complex")
    assert TargetMediated().undosed == ("target",)
    wagner = TargetMediated(Wagner())
    assert wagner.deviations == wagner.undosed == ()


def literature_full(p, dose, times):
    """Concentrations of drug, target and complex, as Mager & Jusko write them (KON, KSYN)."""
    kon, ksyn = p.KOFF / p.KD, p.KDEG * p.R0

    def rates(_, y):
        c, tissue, r, rc = y
        bind = kon * c * r - p.KOFF * rc
        out = (p.CL + p.Q) / p.V1 * c
        return [
            -out + p.Q * tissue / p.V1 - bind,
            p.Q * (c - tissue) / p.V2,
            ksyn - p.KDEG * r - bind,
            bind - p.KINT * rc,
        ]

    start = [dose / p.V1, 0.0, p.R0, 0.0]
    return solve_ivp(rates, (0, times[-1]), start, "Radau", times, rtol=1e-8, atol=1e-10).y


@pytest.mark.parametrize("dose", [2.0, 100.0])
def test_full_target_mediated_disposition_is_that_of_the_literature(dose):
    structure = TargetMediated(Full())
    c, _, r, rc = literature_full(values_of(structure), dose, TIMES)
    found = solve(structure, {"central": dose})
    np.testing.assert_allclose(found, np.transpose([c + rc, c, r + rc, r]), rtol=1e-5, atol=1e-8)


def test_rate_constants_say_what_the_ratios_say():
    ratios, rates = TargetMediated(Full()), TargetMediated(Full(rate_constants=True))
    assert " ".join(rates.names) == "CL V1 Q V2 KON KOFF KSYN KDEG KINT"
    units = Units("d", "mg", "mg/L")
    dimensions = {p.name: units.of(p.dimension) for p in rates.parameters}
    assert (dimensions["KON"], dimensions["KSYN"]) == ("L/mg/d", "mg/L/d")
    given = {"KOFF": 3.0, "KDEG": 0.4, "KINT": 0.15}
    found = solve(rates, {"central": 20.0}, KON=60.0, KSYN=0.9, **given)
    expected = solve(ratios, {"central": 20.0}, KD=3.0 / 60.0, R0=0.9 / 0.4, **given)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)


def test_the_tolerance_is_that_of_the_binding_unless_it_is_given():
    assert TargetMediated().tolerance == TargetMediated(Wagner()).tolerance == 1e-5
    assert TargetMediated(Full()).tolerance == 1e-6
    assert TargetMediated(Full(), tolerance=1e-4).tolerance == 1e-4


@pytest.mark.parametrize("peripheral", [True, False])
def test_fast_binding_is_the_quasi_steady_state(peripheral):
    # KSS = (KOFF + KINT) KD / KOFF
    kd, koff, kint = 0.05, 5e4, 0.2
    times = np.array([0.0, 0.5, 3.0, 12.0, 40.0])
    full = TargetMediated(Full(), peripheral=peripheral)
    exact = solve(full, {"central": 60.0}, times, KD=kd, KOFF=koff, KINT=kint)
    quasi = TargetMediated(QuasiSteadyState(), peripheral=peripheral)
    kss = (koff + kint) * kd / koff
    found = solve(quasi, {"central": 60.0}, times, KSS=kss, KINT=kint)
    np.testing.assert_allclose(found[1:], exact[1:], rtol=2e-3)


@pytest.mark.parametrize("binding", [Full(), QuasiSteadyState(), Wagner()])
def test_without_target_only_the_linear_part_is_left(binding):
    structure = TargetMediated(binding, absorption=FirstOrder())
    found = solve(structure, {"depot": 100.0}, R0=1e-12)
    linear = solve(TwoCompartment(FirstOrder()), {"depot": 100.0})
    np.testing.assert_allclose(found[:, 1], linear[:, 0], rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(found[:, 0], linear[:, 0], rtol=1e-5, atol=1e-7)


def test_wagner_is_exact_where_the_complex_is_lost_like_the_target():
    quasi = solve(TargetMediated(), {"central": 30.0}, KINT=0.4, KDEG=0.4)
    wagner = solve(TargetMediated(Wagner()), {"central": 30.0}, KINT=0.4)
    np.testing.assert_allclose(wagner, quasi, rtol=1e-6)
    np.testing.assert_allclose(quasi[:, 2], 1.5, rtol=1e-9)


def test_wagner_with_little_target_is_michaelis_menten():
    r0, kint, kss = 1e-4, 200.0, 1.3
    wagner = solve(TargetMediated(Wagner()), {"central": 50.0}, R0=r0, KINT=kint, KSS=kss)
    saturable = TwoCompartment(None, ParallelMichaelisMenten())
    found = solve(saturable, {"central": 50.0}, VMAX=kint * r0 * 3.5, KM=kss)
    np.testing.assert_allclose(wagner[:, 1], found[:, 0], rtol=5e-4)


@pytest.mark.parametrize("binding", [Full(), QuasiSteadyState()])
def test_drug_and_target_are_conserved_but_for_their_losses(binding):
    structure = TargetMediated(binding)
    p = values_of(structure)
    a = namedtuple("Amounts", structure.compartments)(
        *np.linspace(3.0, 1.0, len(structure.compartments))
    )
    rates = dict(zip(structure.compartments, structure.rates(0.0, a, p), strict=True))
    total, free, total_target, target = structure.read(0.0, a, p)
    bound = total - free
    assert total_target - target == pytest.approx(bound, rel=1e-12)
    drug = rates["central"] + rates["peripheral"] + rates.get("complex", 0.0)
    assert drug == pytest.approx(-p.CL * free - p.KINT * bound * p.V1, rel=1e-12)
    gain = rates["target"] + rates.get("complex", 0.0)
    expected = p.KDEG * (p.R0 - target) * p.V1 - p.KINT * bound * p.V1
    assert gain == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("drug", [1e-12, 1e-6, 1e-3, 1.0, 1e3])
@pytest.mark.parametrize("target", [1e-6, 1e-3, 1.0, 1e3])
@pytest.mark.parametrize("kss", [1e-4, 1e-2, 1.0, 10.0])
def test_free_drug_keeps_its_digits(drug, target, kss):
    structure = TargetMediated(Wagner(), peripheral=False)
    a = namedtuple("Amounts", structure.compartments)(drug)
    total, free, total_target, free_target = structure.read(
        0.0, a, values_of(structure, V=1.0, R0=target, KSS=kss)
    )
    with localcontext() as context:
        context.prec = 60
        d, r, k = Decimal(drug), Decimal(target), Decimal(kss)
        b = d - r - k
        exact = (b + (b * b + 4 * k * d).sqrt()) / 2
        assert free == pytest.approx(float(exact), rel=1e-8)
        assert free_target == pytest.approx(float(r * k / (k + exact)), rel=1e-8)
    assert total == pytest.approx(drug, rel=1e-8)
    assert total_target == pytest.approx(target, rel=1e-12)


@pytest.mark.parametrize("binding", [Full(), QuasiSteadyState(), Wagner()])
def test_the_target_starts_at_its_baseline_and_returns_to_it(binding):
    found = solve(TargetMediated(binding), {"central": 5.0}, np.array([0.0, 2.0, 400.0]), R0=1.5)
    assert found[0, 2] == pytest.approx(1.5, rel=1e-12)
    np.testing.assert_allclose(found[-1, 2:], 1.5, rtol=1e-3)
    assert found[1, 3] < 1.2


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: TargetMediated(dosing=Dosing(rate=9)), r"Dosing\(rate=...\) with compartment 9"),
        (lambda: TargetMediated("full"), r"binding='full'; expected Full\(\)"),
        (lambda: TargetMediated(peripheral=1), "peripheral=1; expected True or False"),
        (lambda: TargetMediated(absorption=Transit()), "expected None or FirstOrder"),
        (lambda: TargetMediated(absorption=Sequential()), "expected None or FirstOrder"),
        (lambda: Full(rate_constants=1), "Full was given rate_constants=1; expected True or False"),
    ],
)
def test_sentences(make, sentence):
    with pytest.raises(SettingError, match=sentence):
        make()

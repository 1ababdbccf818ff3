"""The structures' equations against closed forms, the literature's own form, and their limits."""

from __future__ import annotations

import itertools
import pickle
from collections import namedtuple
from decimal import Decimal, localcontext

import numpy as np
import pytest
from scipy.integrate import quad, solve_ivp
from scipy.linalg import expm
from scipy.special import gammaincc, lambertw

from popk.errors import SettingError
from popk.structure import absorption as absorptions
from popk.structure import compartments, indirect, metabolite, response, target_mediated
from popk.structure import elimination as eliminations
from popk.structure.absorption import FirstOrder, ParallelFirstOrder, Sequential, Transit, ZeroOrder
from popk.structure.base import Dosing
from popk.structure.compartments import OneCompartment, ThreeCompartment, TwoCompartment
from popk.structure.elimination import (
    DecliningClearance,
    Linear,
    MichaelisMenten,
    ParallelMichaelisMenten,
    TimeVaryingClearance,
)
from popk.structure.indirect import IndirectResponse
from popk.structure.metabolite import ParentMetabolite
from popk.structure.response import DirectEffect, EffectCompartment, Emax, SigmoidEmax
from popk.structure.smooth import hill, positive
from popk.structure.target_mediated import Full, QuasiSteadyState, TargetMediated, Wagner
from popk.units import Units

UNITS = Units("d", "mg", "mg/L")
MODULES = (compartments, target_mediated, response, indirect, metabolite)
EXAMPLES = [structure for module in MODULES for structure in module.examples()]
PRODUCT = [
    kind(absorption, elimination)
    for kind, absorption, elimination in itertools.product(
        (OneCompartment, TwoCompartment, ThreeCompartment),
        absorptions.examples(),
        eliminations.examples(),
    )
]
TIMES = np.array([0.0, 0.3, 1.0, 4.0, 13.0, 40.0])


def values_of(structure, **given):
    """Values of the parameters, by name: the examples, unless given."""
    values = {parameter.name: parameter.example for parameter in structure.parameters}
    assert set(given) <= set(values)
    return namedtuple("Values", values)(**(values | given))


def amounts_of(structure, first, last):
    """Some amounts, by name."""
    names = structure.compartments
    return namedtuple("Amounts", names)(*np.linspace(first, last, len(names)))


def solve(structure, doses, times=TIMES, **given):
    """Outputs (times, outputs) after doses {compartment: amount} at time 0, by SciPy."""
    return solve_amounts(structure, doses, times, **given)[1]


def solve_amounts(structure, doses, times=TIMES, **given):
    """Amounts (times, compartments) and outputs (times, outputs)."""
    p = values_of(structure, **given)
    amounts = namedtuple("Amounts", structure.compartments)
    start = [doses.get(name, 0.0) for name in structure.compartments]
    method = "Radau" if structure.is_stiff else "DOP853"
    found = solve_ivp(
        lambda t, y: structure.rates(t, amounts(*y), p),
        (times[0], times[-1]),
        start,
        method=method,
        t_eval=times,
        rtol=1e-8 if structure.is_stiff else 1e-10,
        atol=1e-10,
    )
    assert found.success
    read = [structure.read(t, amounts(*y), p) for t, y in zip(times, found.y.T, strict=True)]
    return found.y.T, np.array(read, dtype=float)


# What all of them keep


@pytest.mark.parametrize("structure", EXAMPLES + PRODUCT, ids=repr)
def test_names_counts_and_units(structure):
    p = values_of(structure)
    zero = amounts_of(structure, 0.0, 0.0)
    rates = structure.rates(0.0, zero, p)
    assert len(rates) == len(structure.compartments)
    np.testing.assert_allclose(rates, 0.0, atol=1e-12)  # without drug nothing moves
    outputs = structure.read(0.0, zero, p)
    assert len(outputs) == len(structure.outputs)
    some = amounts_of(structure, 1.0, 2.0)
    for t in (-1.0, 0.0, 3.0):
        assert np.all(np.isfinite(structure.rates(t, some, p)))
        assert np.all(np.isfinite(structure.read(t, some, p)))
    for part in (*structure.parameters, *structure.outputs):
        assert UNITS.of(part.dimension)
        assert part.meaning
    for names in (structure.names, structure.compartments, [o.name for o in structure.outputs]):
        assert len(set(names)) == len(names)
    places = [o.compartment for o in structure.outputs if o.compartment is not None]
    assert len(set(places)) == len(places)
    assert set(places) <= set(range(1, len(structure.compartments) + 1))


@pytest.mark.parametrize("structure", EXAMPLES, ids=repr)
def test_they_are_values(structure):
    again = pickle.loads(pickle.dumps(structure))
    assert again == structure
    assert hash(again) == hash(structure)
    assert again.names == structure.names
    assert sum(other == structure for other in EXAMPLES) == 1


@pytest.mark.parametrize("structure", EXAMPLES, ids=repr)
def test_amounts_are_proportional_to_the_dose_where_it_says_so(structure):
    first = structure.compartments[0]
    once, _ = solve_amounts(structure, {first: 30.0}, np.array([0.0, 1.0, 5.0]))
    twice, _ = solve_amounts(structure, {first: 60.0}, np.array([0.0, 1.0, 5.0]))
    ratio = np.max(np.abs(twice - 2 * once)) / np.max(np.abs(once))
    assert (ratio < 1e-6) == structure.is_linear


# Order of the parameters, which the closed forms rely on


@pytest.mark.parametrize(
    ("structure", "names"),
    [
        (OneCompartment(), "CL V"),
        (OneCompartment(FirstOrder()), "CL V KA"),
        (TwoCompartment(FirstOrder()), "CL V1 Q V2 KA"),
        (ThreeCompartment(FirstOrder()), "CL V1 Q2 V2 Q3 V3 KA"),
        (OneCompartment(None, MichaelisMenten()), "V VMAX KM"),
        (TwoCompartment(FirstOrder(), ParallelMichaelisMenten()), "CL V1 Q V2 VMAX KM KA"),
        (OneCompartment(Transit(2), TimeVaryingClearance()), "CL V IMAX T50 GAMMA MTT KA"),
        (OneCompartment(ParallelFirstOrder(), DecliningClearance()), "CL V CL0 KDES KA1 KA2 FR1"),
        (OneCompartment(ZeroOrder(), dosing=Dosing(lag=(1,))), "CL V ALAG1 D1"),
        (TwoCompartment(Sequential()), "CL V1 Q V2 KA D1"),
        (TargetMediated(Full(), absorption=FirstOrder()), "CL V1 Q V2 KD KOFF R0 KDEG KINT KA"),
        (TargetMediated(peripheral=False), "CL V KSS R0 KDEG KINT"),
        (TargetMediated(Wagner()), "CL V1 Q V2 KSS R0 KINT"),
        (DirectEffect(OneCompartment(dosing=Dosing(lag=(1,)))), "CL V EMAX EC50 ALAG1"),
        (EffectCompartment(OneCompartment(), SigmoidEmax()), "CL V KE0 EMAX EC50 HILL"),
        (IndirectResponse(OneCompartment()), "CL V BASE KOUT IMAX IC50"),
        (ParentMetabolite(OneCompartment(FirstOrder())), "CL V KA FM CLM VM"),
    ],
)
def test_order_of_parameters(structure, names):
    assert " ".join(structure.names) == names


@pytest.mark.parametrize(
    ("structure", "closed_form"),
    [
        (OneCompartment(), (1, False)),
        (TwoCompartment(ZeroOrder()), (2, False)),
        (ThreeCompartment(FirstOrder()), (3, True)),
        (OneCompartment(Sequential()), (1, True)),
        (OneCompartment(Transit()), None),
        (OneCompartment(ParallelFirstOrder()), None),
        (OneCompartment(None, MichaelisMenten()), None),
        (TwoCompartment(None, TimeVaryingClearance()), None),
        (DirectEffect(TwoCompartment(FirstOrder())), (2, True)),
        (EffectCompartment(OneCompartment()), None),
        (TargetMediated(), None),
    ],
)
def test_closed_form(structure, closed_form):
    assert structure.closed_form == closed_form


def test_compartments_and_outputs():
    structure = ThreeCompartment(ParallelFirstOrder())
    expected = ("depot", "central", "peripheral", "peripheral2", "depot2")
    assert structure.compartments == expected
    assert [(output.name, output.compartment) for output in structure.outputs] == [
        ("concentration", 2),
        ("peripheral_concentration", 3),
        ("peripheral2_concentration", 4),
        ("depot_amount", 1),
        ("depot2_amount", 5),
    ]
    chain = OneCompartment(Transit(1))
    assert chain.compartments == ("transit0", "transit1", "depot", "central")
    assert [(o.name, o.compartment) for o in chain.outputs] == [
        ("concentration", 4),
        ("depot_amount", 3),
    ]
    tmdd = TargetMediated(Full(), absorption=FirstOrder())
    assert tmdd.compartments == ("depot", "central", "peripheral", "target", "complex")
    assert [o.compartment for o in tmdd.outputs] == [2, None, 4, None]


def test_zero_order_doses():
    structure = OneCompartment(ZeroOrder())
    assert structure.zero_order == (1,)
    assert structure.dosing.duration == (1,)
    assert OneCompartment(ZeroOrder(), dosing=Dosing(duration=(1,))) == structure
    assert TwoCompartment(Sequential()).zero_order == (1,)
    assert OneCompartment(FirstOrder()).zero_order == ()
    assert DirectEffect(structure).zero_order == (1,)
    assert ParentMetabolite(structure).zero_order == (1,)


def test_deviations():
    assert TwoCompartment().deviations == ()
    assert TargetMediated(Wagner()).deviations == ()
    assert TargetMediated(Full()).deviations == ("target",)
    both = IndirectResponse(DirectEffect(TargetMediated()))
    assert both.deviations == ("target", "response")
    assert ParentMetabolite().deviations == ()


# Mammillary structures


def bateman(t, ka, k):
    """Amount in central after a unit dose into the depot."""
    return ka / (ka - k) * (np.exp(-k * t) - np.exp(-ka * t))


def test_one_compartment_is_an_exponential():
    found = solve(OneCompartment(), {"central": 100.0}, CL=0.7, V=3.5)
    np.testing.assert_allclose(found[:, 0], 100.0 / 3.5 * np.exp(-0.2 * TIMES), rtol=1e-7)


def test_oral_one_compartment_is_the_bateman_function():
    found = solve(OneCompartment(FirstOrder()), {"depot": 100.0}, CL=0.7, V=3.5, KA=1.1)
    np.testing.assert_allclose(found[:, 0], 100.0 / 3.5 * bateman(TIMES, 1.1, 0.2), atol=1e-8)
    np.testing.assert_allclose(found[:, 1], 100.0 * np.exp(-1.1 * TIMES), atol=1e-8)


def test_two_compartments_are_two_exponentials():
    structure = TwoCompartment()
    cl, v1, q, v2 = 0.2, 3.5, 0.45, 2.8
    k10, k12, k21 = cl / v1, q / v1, q / v2
    total = k10 + k12 + k21
    root = np.sqrt(total**2 - 4 * k10 * k21)
    fast, slow = (total + root) / 2, (total - root) / 2
    share = (fast - k21) / (fast - slow)
    expected = 50.0 / v1 * (share * np.exp(-fast * TIMES) + (1 - share) * np.exp(-slow * TIMES))
    np.testing.assert_allclose(solve(structure, {"central": 50.0})[:, 0], expected, rtol=1e-7)


def test_three_compartments_are_a_matrix_exponential():
    structure = ThreeCompartment(FirstOrder())
    p = values_of(structure)
    matrix = np.zeros((4, 4))
    flows = [(0, 1, p.KA), (1, 2, p.Q2 / p.V1), (2, 1, p.Q2 / p.V2), (1, 3, p.Q3 / p.V1),
             (3, 1, p.Q3 / p.V3)]  # fmt: skip
    for source, sink, rate in flows:
        matrix[sink, source] += rate
        matrix[source, source] -= rate
    matrix[1, 1] -= p.CL / p.V1
    amounts, read = solve_amounts(structure, {"depot": 100.0})
    for t, row, seen in zip(TIMES, amounts, read, strict=True):
        expected = expm(matrix * t) @ [100.0, 0, 0, 0]
        np.testing.assert_allclose(row, expected, atol=1e-7)
        scaled = [expected[1] / p.V1, expected[2] / p.V2, expected[3] / p.V3, expected[0]]
        np.testing.assert_allclose(seen, scaled, atol=1e-7)


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


@pytest.mark.parametrize("split", [True, False])
def test_two_depots_are_two_bateman_functions(split):
    structure = OneCompartment(ParallelFirstOrder(split=split))
    doses = {"depot": 100.0, "depot2": 100.0}
    given = {"FR1": 0.3} if split else {}
    found = solve(structure, doses, CL=0.7, V=3.5, KA1=1.1, KA2=0.05, **given)
    first, second = (0.3, 0.7) if split else (1.0, 1.0)
    paths = first * bateman(TIMES, 1.1, 0.2) + second * bateman(TIMES, 0.05, 0.2)
    np.testing.assert_allclose(found[:, 0], 100.0 / 3.5 * paths, atol=1e-7)


@pytest.mark.parametrize("structure", PRODUCT, ids=repr)
def test_no_drug_is_made_or_lost(structure):
    p = values_of(structure, **({"FR1": 1.0} if "FR1" in structure.names else {}))
    a = namedtuple("Amounts", structure.compartments)(
        *np.linspace(1, 3, len(structure.compartments))
    )
    lost = structure.elimination.rate(2.0, structure.concentration(a, p), p)
    blocked = p.KA2 * a.depot2 if "FR1" in structure.names else 0.0  # 1 - FR1 is 0
    assert sum(structure.rates(2.0, a, p)) == pytest.approx(-lost - blocked, rel=1e-12)


# Clearance that changes with the time


def test_time_varying_clearance_as_published_for_nivolumab():
    elimination = TimeVaryingClearance()
    p = values_of(OneCompartment(None, elimination), CL=0.2256, IMAX=0.295, T50=58.75, GAMMA=3.15)
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
    given = {"KDES": 0.1} if "KDES" in structure.names else {"T50": 5.0}
    p = values_of(structure, **given)
    found = solve(structure, {"central": 100.0}, **given)[:, 0]
    for t, c in zip(TIMES, found, strict=True):
        exponent = quad(lambda s: elimination.rate(s, 1.0, p), 0.0, t)[0] / p.V
        assert c == pytest.approx(100.0 / p.V * np.exp(-exponent), rel=1e-6)


@pytest.mark.parametrize("x", [-1e4, -1.0, -1e-13, 0.0, 1e-13, 1e-6, 1.0, 1e6])
@pytest.mark.parametrize("exponent", [0.5, 1.0, 3.15, 20.0])
def test_the_sigmoid_has_finite_derivatives_everywhere(x, exponent):
    tiny = 1e-200
    assert np.isfinite(hill(x + 1j * tiny, exponent).imag / tiny)  # complex-step derivative
    assert np.isfinite(hill(x, exponent + 1j * tiny).imag / tiny)
    if x >= 1e-6:
        assert hill(x, exponent) == pytest.approx(1 / (1 + x**-exponent), rel=1e-8)
        slope = exponent * x**-exponent / x / (1 + x**-exponent) ** 2
        assert hill(x + 1j * tiny, exponent).imag / tiny == pytest.approx(slope, rel=1e-7)
    if x <= 0:
        assert 0.0 <= hill(x, exponent) < 1e-6
    assert positive(x) > 0.0


# Target-mediated disposition


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


# Effects


def test_direct_effects():
    structure = DirectEffect(OneCompartment(), SigmoidEmax(baseline=True))
    found = solve(structure, {"central": 70.0}, E0=5.0, EMAX=80.0, EC50=4.0, HILL=2.0)
    c = found[:, 0]
    np.testing.assert_allclose(found[:, 1], 5.0 + 80.0 * c**2 / (16.0 + c**2), rtol=1e-9)
    occupancy = solve(DirectEffect(OneCompartment()), {"central": 70.0}, EMAX=1.0, EC50=c[2])
    assert occupancy[2, 1] == pytest.approx(0.5, rel=1e-9)
    assert [output.compartment for output in structure.outputs] == [1, None]


def test_the_driver_of_an_effect():
    pk = TargetMediated()
    total = DirectEffect(pk, Emax())
    free = DirectEffect(pk, Emax(), driver="free_concentration")
    given = {"EMAX": 1.0, "EC50": 2.0}
    for structure, column in ((total, 0), (free, 1)):
        found = solve(structure, {"central": 20.0}, **given)
        np.testing.assert_allclose(found[:, -1], found[:, column] / (2.0 + found[:, column]))


def test_effect_compartment_is_a_bateman_function():
    structure = EffectCompartment(OneCompartment())
    found = solve(structure, {"central": 70.0}, CL=0.7, V=3.5, KE0=0.9, EMAX=1.0, EC50=1.0)
    delayed = 20.0 * bateman(TIMES, 0.9, 0.2)
    np.testing.assert_allclose(found[:, -1], delayed / (1.0 + delayed), atol=1e-8)


KINDS = ("inhibit production", "inhibit loss", "stimulate production", "stimulate loss")


@pytest.mark.parametrize("kind", KINDS)
def test_indirect_responses_are_those_of_dayneka(kind):
    kin, kout, top, half, k = 6.0, 0.3, 0.8, 2.5, 0.05

    def rates(t, y):
        c = 30.0 * np.exp(-k * t)
        act = top * c / (half + c)
        production, loss = {
            "inhibit production": (1 - act, 1),
            "inhibit loss": (1, 1 - act),
            "stimulate production": (1 + act, 1),
            "stimulate loss": (1, 1 + act),
        }[kind]
        return kin * production - kout * loss * y

    expected = solve_ivp(rates, (0, 40), [kin / kout], "DOP853", TIMES, rtol=1e-10).y[0]
    names = ("IMAX", "IC50") if kind.startswith("inhibit") else ("SMAX", "SC50")
    given = dict(zip(names, (top, half), strict=True))
    structure = IndirectResponse(OneCompartment(), kind)
    found = solve(structure, {"central": 90.0}, CL=0.15, V=3.0, BASE=kin / kout, KOUT=kout, **given)
    np.testing.assert_allclose(found[:, -1], expected, rtol=1e-7)
    assert found[3, -1] != pytest.approx(kin / kout, rel=0.2)


@pytest.mark.parametrize(
    ("kind", "steady"),
    [
        ("inhibit production", 20.0 * (1 - 0.6)),
        ("inhibit loss", 20.0 / (1 - 0.6)),
        ("stimulate production", 20.0 * (1 + 0.6)),
        ("stimulate loss", 20.0 / (1 + 0.6)),
    ],
)
def test_steady_states_of_indirect_responses(kind, steady):
    largest = "IMAX" if kind.startswith("inhibit") else "SMAX"
    half = largest[0] + "C50"
    given = {"CL": 1e-12, "V": 1.0, "BASE": 20.0, largest: 0.8, half: 1.0}
    found = solve(IndirectResponse(OneCompartment(), kind), {"central": 3.0},
                  np.array([0.0, 300.0]), **given)  # fmt: skip
    np.testing.assert_allclose(found[:, -1], [20.0, steady], rtol=1e-6)


# Metabolite


def test_metabolite_of_a_bolus():
    found = solve(ParentMetabolite(), {"central": 100.0}, CL=0.7, V=3.5, FM=0.6, CLM=1.8, VM=2.0)
    expected = 0.6 * 100.0 / 2.0 * bateman(TIMES, 0.2, 0.9)
    np.testing.assert_allclose(found[:, -1], expected, atol=1e-8)


def test_what_a_saturable_parent_loses_the_metabolite_gets():
    structure = ParentMetabolite(TwoCompartment(FirstOrder(), ParallelMichaelisMenten()))
    amounts, _ = solve_amounts(structure, {"depot": 100.0}, FM=1.0, CLM=1e-14)
    np.testing.assert_allclose(amounts.sum(axis=1), 100.0, rtol=1e-8)
    assert amounts[-1, -1] > 30.0


# What makes no sense is refused


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: OneCompartment("oral"), "OneCompartment was given absorption='oral'; expected"),
        (lambda: TwoCompartment(None, "linear"), "given elimination='linear'; expected"),
        (lambda: TwoCompartment(Linear()), r"absorption=Linear\(\); expected None or one such"),
        (lambda: TwoCompartment(dosing={"lag": 1}), "given dosing={'lag': 1}; expected Dosing"),
        (
            lambda: TwoCompartment(dosing=Dosing(lag=(4,))),
            r"Dosing\(lag=...\) with compartment 4; its compartments are 1 \(central\), 2 \(peri",
        ),
        (lambda: TargetMediated(dosing=Dosing(rate=9)), r"Dosing\(rate=...\) with compartment 9"),
        (lambda: Transit(0), "Transit was given n=0; expected the number of transit"),
        (lambda: Transit(2.5), "given n=2.5"),
        (lambda: Transit(True), "given n=True"),
        (lambda: ParallelFirstOrder("no"), "split='no'; expected True or False"),
        (lambda: TargetMediated("full"), r"approximation='full'; expected Full\(\)"),
        (lambda: TargetMediated(peripheral=1), "peripheral=1; expected True or False"),
        (lambda: TargetMediated(absorption=Transit()), "expected None or FirstOrder"),
        (lambda: TargetMediated(absorption=Sequential()), "expected None or FirstOrder"),
        (lambda: DirectEffect("pk"), "DirectEffect was given pk='pk'; expected a structure"),
        (lambda: DirectEffect(OneCompartment(), "emax"), "response='emax'; expected one such"),
        (
            lambda: DirectEffect(OneCompartment(), driver="free"),
            "driver='free'; expected one of the outputs of OneCompartment: concentration",
        ),
        (
            lambda: DirectEffect(DirectEffect(OneCompartment())),
            "the parameter EC50, EMAX twice",
        ),
        (
            lambda: IndirectResponse(OneCompartment(None, TimeVaryingClearance())),
            "the parameter IMAX twice",
        ),
        (lambda: IndirectResponse(OneCompartment(), "inhibit"), "expected one of 'inhibit produc"),
        (lambda: ParentMetabolite(TargetMediated()), "expected the parent as OneCompartment"),
        (lambda: Emax(baseline=2), "Emax was given baseline=2; expected True or False"),
    ],
)
def test_sentences(make, sentence):
    with pytest.raises(SettingError, match=sentence):
        make()

"""The ready-made models against what their publications and labels predict.

Typical values are the medians of the priors. Each expectation was published; how far a typical
patient may lie from it (published values are often means, or of the cohort's covariates) is the
tolerance beside it. Where the duration of an infusion was not seen, one is assumed.
"""

from __future__ import annotations

import importlib
import math
import pkgutil
from typing import NamedTuple

import numpy as np
import pytest

from popk import models
from popk.statistics import NUMPY, expected_parameters, individual_parameters
from popk.structure import Events, Solver
from popk.structure.events import DOSE, OBSERVE

HOUR = 1 / 24
WEEK = 7.0
PAGE = "quoted in the article of nlmixr2lib"

# Covariates at which the published numbers are meant, by model.
TYPICAL = {
    "adalimumab": {"AAA": 0, "CRP": 7.9, "WT": 94},
    "gentamicin": {"CRCL": 92, "WT": 70},
    "gentamicin_fuchs2014": {"WT": 2.17, "GA": 34, "PNA": 1, "DOPA": 0},
    "infliximab_fasanmade2009": {"WT": 77, "ALB": 4.1, "ADA": 0, "FEMALE": 0},
    "infliximab_hanzel2021": {"WT": 70, "ALB": 44, "ADA": 0},
    "nivolumab": {"WT": 80, "EGFR": 90, "MALE": 0, "ECOG": 0, "ASIAN": 0},
    "ocrelizumab": {"WT": 75},
    "pembrolizumab": {
        "WT": 76.8, "ALB": 39.6, "SLD": 89.6, "EGFR": 88.47, "FEMALE": 0, "NSCLC": 0, "ECOG": 0,
        "IPI": 0,
    },
    "phenobarbital": {"WT": 1.52, "APGR": 7},
    "theophylline": {},
    "tocilizumab": {
        "BSA": 1.8, "FEMALE": 0, "HDL": 54, "RF": math.exp(4.7), "TPRO": 74, "ALB": 38,
        "CRCL": 106, "SMOKE": 0,
    },
    "trastuzumab": {"WT": 66, "AST": 24, "ALB": 4, "LIVER": 0, "GASTRIC": 0, "OTHER": 0},
    "vancomycin": {"CRCL": 120, "WT": 70, "DIAL": 0},
    "vancomycin_thomson2009": {"CRCL": 66, "WT": 70},
    "vedolizumab": {"WT": 70, "ALB": 4, "ADA": 0},
    "warfarin": {"WT": 70},
}  # fmt: skip
# Nothing published was seen that could be tested, or it is tested elsewhere.
WITHOUT = {"generic_antibody", "natalizumab", "nimotuzumab"}


def model_of(name):
    return importlib.import_module(f"popk.models.{name}").model


def typical(name, *, eta=None, **changed):
    """Individual parameters (n, n_parameters) with the medians of all priors."""
    model = model_of(name)
    given = {**TYPICAL[name], **changed}
    expected = expected_parameters(
        model.scale_of,
        model.covariates,
        population={p.name: p.prior.median for p in model.parameters},
        covariates={key: np.asarray(value, float) for key, value in given.items()},
        ops=NUMPY,
    )
    columns = individual_parameters(model.scale_of, expected, eta or {}, NUMPY)
    return np.stack(np.broadcast_arrays(*map(np.atleast_1d, columns)), axis=1)


def by_name(name, **changed):
    return dict(zip(model_of(name).structure.names, typical(name, **changed)[0], strict=True))


def rate_constants(p):
    """Fast and slow rate constant of two linear compartments."""
    k10, k12, k21 = p["CL"] / p["V1"], p["Q"] / p["V1"], p["Q"] / p["V2"]
    total = k10 + k12 + k21
    root = math.sqrt(total**2 - 4 * k10 * k21)
    return (total + root) / 2, (total - root) / 2


def half_life(p):
    slow = rate_constants(p)[1] if "Q" in p else p["CL"] / p["V"]
    return math.log(2) / slow


class Dose(NamedTuple):
    """Into compartment `into`, counted from 0; at once where the duration is 0."""

    time: float
    amount: float
    duration: float = 0.0
    into: int = 0


def course(name, theta, doses, times):
    """Concentrations (n, n_times); a sample at the time of a dose is taken before it."""
    records = sorted([(t, 0, None) for t in times] + [(d.time, 1, d) for d in doses])
    number, code = np.zeros((len(records), 4)), np.zeros((len(records), 7), dtype=np.int64)
    place = iter(range(len(times)))
    for k, (time, _, dose) in enumerate(records):
        number[k, 0] = time
        if dose is None:
            code[k, 0], code[k, 5] = OBSERVE, next(place)
            continue
        number[k, 1] = dose.amount
        number[k, 2] = dose.amount / dose.duration if dose.duration else 0.0
        code[k, 0], code[k, 1], code[k, 2], code[k, 5] = DOSE, dose.into, 1, -1
    events = Events(np.array([0, len(records)]), np.array([0, 1]), number, code)
    return Solver(model_of(name).structure, events).ensemble(theta[:, None, :]).value


def exposure(name, theta, doses, end):
    """Trough, peak and AUC of the interval that the last dose begins, of a typical patient."""
    start, _, duration, _ = doses[-1]
    infused = np.linspace(start, start + duration, 21)[1:]
    after = start + duration + (end - start - duration) * np.linspace(0, 1, 600)[1:] ** 2
    times = np.concatenate([[start], infused, after])
    found = course(name, theta, doses, times)[0]
    return found[-1], found.max(), float(np.trapezoid(found, times))


def every(interval, amount, n, *, duration, first=None):
    return [Dose(k * interval, first if first and not k else amount, duration) for k in range(n)]


# Model, changed covariates, published half-life in the model's unit of time, tolerance, source.
HALF_LIVES = [
    ("infliximab_hanzel2021", {}, 10.8, 0.005, "abstract"),
    ("infliximab_fasanmade2009", {}, 14.0, 0.10, "abstract, 'approximately'"),
    ("vedolizumab", {}, 25.5, 0.01, "Rosario 2017, abstract"),
    ("tocilizumab", {}, 21.0, 0.01, f"of the linear range, {PAGE}"),
    ("pembrolizumab", {}, 27.3, 0.07, PAGE),
    ("ocrelizumab", {}, 26.0, 0.01, "abstract"),
    ("adalimumab", {}, 14.0, 0.01, "label"),
    ("gentamicin_fuchs2014", {}, 12.5, 0.005, PAGE),
    ("warfarin", {}, 42.0, 0.02, "O'Reilly 1963, abstract: mean of 14 subjects"),
    ("phenobarbital", {}, 141.0, 0.005, "abstract"),
]


@pytest.mark.parametrize(("name", "changed", "published", "tolerance", "source"), HALF_LIVES)
def test_half_lives(name, changed, published, tolerance, source):
    assert source
    assert half_life(by_name(name, **changed)) == pytest.approx(published, rel=tolerance)


# Model, changed covariates, published steady-state volume in L/kg, source.
VOLUMES_PER_KG = [
    ("vancomycin", {}, 1.4, "abstract"),
    ("vancomycin", {"DIAL": 1}, 1.0, "abstract"),
    ("vancomycin_thomson2009", {}, 1.4, "Table 2"),
    ("vancomycin_thomson2009", {"WT": 100}, 1.4, "Table 2"),
]


@pytest.mark.parametrize(("name", "changed", "published", "source"), VOLUMES_PER_KG)
def test_steady_state_volumes(name, changed, published, source):
    assert source
    p = by_name(name, **changed)
    weight = {**TYPICAL[name], **changed}["WT"]
    assert (p["V1"] + p["V2"]) / weight == pytest.approx(published, rel=0.04)


# Model, parameter, changed covariates, published factor against TYPICAL, tolerance, source.
FACTORS = [
    ("infliximab_hanzel2021", "CL", {"WT": 120}, 1.432, 0.005, "abstract"),
    ("infliximab_hanzel2021", "CL", {"ALB": 32}, 1.301, 0.005, "abstract"),
    ("infliximab_hanzel2021", "CL", {"ADA": 1}, 1.39, 0.005, "abstract"),
    ("vancomycin_thomson2009", "CL", {"CRCL": 76}, 1.154, 0.001, "15.4 % per 10 mL/min"),
    ("pembrolizumab", "CL", {"FEMALE": 1}, 1 / 1.20, 0.02, f"exposure of women, {PAGE}"),
    ("phenobarbital", "V", {"APGR": 4}, 1.13, 1e-6, "abstract"),
    ("phenobarbital", "V", {"APGR": 5}, 1.0, 1e-6, "abstract"),
]


@pytest.mark.parametrize(
    ("name", "parameter", "changed", "published", "tolerance", "source"), FACTORS
)
def test_effects_of_covariates(name, parameter, changed, published, tolerance, source):
    assert source
    ratio = by_name(name, **changed)[parameter] / by_name(name)[parameter]
    assert ratio == pytest.approx(published, rel=tolerance)


def test_gentamicin_has_the_mean_clearance_and_volume_of_xuan():
    p = by_name("gentamicin")
    assert p["CL"] == pytest.approx(4.32, rel=0.005)
    assert p["V1"] == pytest.approx(19.6, rel=0.005)
    # The authors' micro-constants, whatever the weight.
    for weight in (50, 70, 110):
        p = by_name("gentamicin", WT=weight)
        assert p["Q"] / p["V1"] == pytest.approx(0.092)
        assert p["Q"] / p["V2"] == pytest.approx(0.071)


def test_gentamicin_random_effects_are_those_of_the_micro_constants():
    """CV 5.8, 69.9 and 63.9 % of V1, K12 and K21, independent of each other."""
    iiv = model_of("gentamicin").iiv
    sd = np.array([prior.median for name, prior in iiv.omegas if name != "CL"])
    assert iiv.correlations[0].effects == ("V1", "Q", "V2")
    corr = np.eye(3)
    corr[np.tril_indices(3, -1)] = iiv.correlations[0].fixed
    corr = corr + corr.T - np.eye(3)
    covariance = corr * np.outer(sd, sd)
    # log V1, log K12 = log Q - log V1, log K21 = log Q - log V2
    turned = np.array([[1, 0, 0], [-1, 1, 0], [0, 1, -1]])
    found = turned @ covariance @ turned.T
    expected = np.diag(np.log1p(np.square([0.058, 0.699, 0.639])))
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_theophylline_is_near_another_fit_of_the_same_data():
    """Monolix, per kg: 0.04017 L/h/kg (SE 0.00336), 0.4555 L/kg (0.0205); median 70.5 kg."""
    p = by_name("theophylline")
    assert p["CL"] / 70.5 == pytest.approx(0.04017, rel=0.04)
    assert p["V"] / 70.5 == pytest.approx(0.4555, rel=0.04)


def test_tocilizumab_exposure_of_a_typical_woman():
    """US label, 8 and 4 mg/kg every 4 weeks; AUC in mg h/L."""
    theta = typical("tocilizumab", FEMALE=1)
    doses = every(4 * WEEK, 560.0, 12, duration=HOUR)
    first = exposure("tocilizumab", theta, doses[:1], 4 * WEEK)
    trough, peak, auc = exposure("tocilizumab", theta, doses, 48 * WEEK)
    assert 24 * auc == pytest.approx(35_000, rel=0.02)
    assert trough == pytest.approx(9.74, rel=0.05)
    assert peak == pytest.approx(183, rel=0.10)
    assert auc / first[2] == pytest.approx(1.22, rel=0.02)
    assert trough / first[0] == pytest.approx(2.35, rel=0.02)
    doses = every(4 * WEEK, 280.0, 12, duration=HOUR)
    low = exposure("tocilizumab", theta, doses, 48 * WEEK)[2]
    assert 24 * low == pytest.approx(13_000, rel=0.04)
    assert auc / low == pytest.approx(2.7, rel=0.03)


# Gastric cancer?, trough, peak, AUC every 3 weeks (8, then 6 mg/kg), source.
TRASTUZUMAB = [
    (0, 45.8, 182, 1790, "Table 2, median of breast cancer"),
    (1, 32.9, 131, 1338, "EU label, advanced gastric cancer"),
]


@pytest.mark.parametrize(("gastric", "trough", "peak", "auc", "source"), TRASTUZUMAB)
def test_trastuzumab_exposure(gastric, trough, peak, auc, source):
    assert source
    theta = typical("trastuzumab", GASTRIC=gastric)
    doses = every(3 * WEEK, 6 * 66.0, 14, duration=1.5 * HOUR, first=8 * 66.0)
    found = exposure("trastuzumab", theta, doses, 42 * WEEK)
    assert found[0] == pytest.approx(trough, rel=0.08)
    assert found[1] == pytest.approx(peak, rel=0.10)
    assert found[2] == pytest.approx(auc, rel=0.03)


def test_trastuzumab_first_cycle_and_total_clearance():
    """EU label, metastatic breast cancer; total clearance 0.173-0.283 L/d (paper, Table 2)."""
    theta = typical("trastuzumab")
    doses = every(3 * WEEK, 6 * 66.0, 14, duration=1.5 * HOUR, first=8 * 66.0)
    trough, _, auc = exposure("trastuzumab", theta, doses[:1], 3 * WEEK)
    assert trough == pytest.approx(28.7, rel=0.04)
    assert auc == pytest.approx(1376, rel=0.02)
    trough, peak, _ = exposure("trastuzumab", theta, doses, 42 * WEEK)
    p = by_name("trastuzumab")
    low, high = (p["CL"] + p["VMAX"] / (p["KM"] + c) for c in (peak, trough))
    assert low == pytest.approx(0.173, rel=0.03)
    assert high == pytest.approx(0.283, rel=0.03)


def test_vedolizumab_levels():
    """Means observed in ulcerative colitis (Rosario 2017, Table 4), of a skewed quantity."""
    theta = typical("vedolizumab")
    half = 0.5 * HOUR
    start = [Dose(week * WEEK, 300.0, half) for week in (0, 2)]
    assert course("vedolizumab", theta, start, [6 * WEEK])[0, 0] == pytest.approx(27.9, rel=0.2)
    for weeks, published in ((8, 11.2), (4, 38.3)):
        doses = [*start, *(Dose((6 + weeks * k) * WEEK, 300.0, half) for k in range(20))]
        end = doses[-1].time + weeks * WEEK
        trough, peak, _ = exposure("vedolizumab", theta, doses, end)
        assert trough == pytest.approx(published, rel=0.2)
        if weeks == 8:
            assert peak == pytest.approx(98, rel=0.07)  # Table 4 and Figure 4, about


def test_pembrolizumab_accumulation_and_time_to_steady_state():
    """2.2-fold every 3 weeks, steady after 129 days; quoted in the article of nlmixr2lib."""
    theta = typical("pembrolizumab")
    doses = every(3 * WEEK, 2 * 76.8, 20, duration=0.5 * HOUR)
    first = exposure("pembrolizumab", theta, doses[:1], 3 * WEEK)[2]
    last = exposure("pembrolizumab", theta, doses, 60 * WEEK)[2]
    assert last / first == pytest.approx(2.2, rel=0.07)
    assert 5 * half_life(by_name("pembrolizumab")) == pytest.approx(129, rel=0.005)


def test_nivolumab_clearance_and_half_lives():
    """CL falls by 24.5 %; half-lives 32.5 h and, at steady state, 25 d (article of nlmixr2lib)."""
    p = by_name("nivolumab")
    fall = math.exp(-p["IMAXCL"])
    assert fall == pytest.approx(1 - 0.245, rel=0.02)
    fast, _ = rate_constants(p)
    assert 24 * math.log(2) / fast == pytest.approx(32.5, rel=0.02)
    late = {**p, "CL": p["CL"] * fall}
    assert half_life(late) == pytest.approx(25, rel=0.15)
    assert p["V1"] + p["V2"] == pytest.approx(6.8, rel=0.07)  # label


def test_nivolumab_clearance_falls_in_the_course():
    """A dose after half a year stays for longer than the same dose at the beginning."""
    theta = typical("nivolumab")
    p = by_name("nivolumab")
    for start, clearance in ((0.0, p["CL"]), (2000.0, p["CL"] * math.exp(-p["IMAXCL"]))):
        fixed = {**p, "CL": clearance}
        times = start + np.array([0.5, 1.0, 2.0])
        found = course("nivolumab", theta, [Dose(start, 240.0)], times)[0]
        fast, slow = rate_constants(fixed)
        k21 = p["Q"] / p["V2"]
        a, b = (fast - k21) / (fast - slow), (k21 - slow) / (fast - slow)
        after = times - start
        exact = 240.0 / p["V1"] * (a * np.exp(-fast * after) + b * np.exp(-slow * after))
        np.testing.assert_allclose(found, exact, rtol=1e-4)


def test_ocrelizumab_exposure_and_decay():
    """Twice 300 mg every 24 weeks (EU label, primary progressive); decay in 33 weeks (label).

    Of which course the label's AUC is was not seen; it rises until CL0 has vanished.
    """
    theta = typical("ocrelizumab")
    duration = 2.5 * HOUR
    doses = [Dose((24 * k + weeks) * WEEK, 300.0, duration) for k in range(4) for weeks in (0, 2)]
    begin, end = 72 * WEEK, 96 * WEEK
    _, peak, second = exposure("ocrelizumab", theta, doses, end)
    _, _, two_weeks = exposure("ocrelizumab", theta, doses[:-1], begin + 2 * WEEK)
    assert two_weeks + second == pytest.approx(3510, rel=0.06)
    assert two_weeks + second < 3510 < 600 / by_name("ocrelizumab")["CL"]
    assert peak == pytest.approx(141, rel=0.04)
    assert math.log(2) / by_name("ocrelizumab")["KDES"] / WEEK == pytest.approx(33, rel=0.02)


def test_adalimumab_mean_concentration_every_week():
    """40 mg weekly: 7-9 mg/L in weeks 2 to 12 (article of nlmixr2lib)."""
    theta = typical("adalimumab")
    doses = every(WEEK, 40.0, 30, duration=0.0)
    mean = exposure("adalimumab", theta, doses, 30 * WEEK)[2] / WEEK
    assert 7 < mean < 9


# Weight, published share of troughs above 3, 5 and 7 mg/L at 120 mg every 2 weeks (Hanzel 2021).
SHARES = [(50, (99.9, 99.0, 96.4)), (70, (99.9, 98.3, 90.3)), (120, (99.5, 90.6, 71.9))]


def infliximab_troughs(weight, *, iov):
    """Steady troughs of 4000 patients; albumin 44 ± 4 g/L; IOV as one more effect on CL."""
    model = model_of("infliximab_hanzel2021")
    rng, n = np.random.default_rng(20211), 4000
    names = model.structure.names
    omegas = {name: prior.median for name, prior in model.iiv.omegas}
    if iov:
        omegas["CL"] = math.hypot(omegas["CL"], dict(model.iov.omegas)["CL"].median)
    eta = {names.index(name): omega * rng.standard_normal(n) for name, omega in omegas.items()}
    albumin = 44.0 + 4.0 * rng.standard_normal(n)
    theta = typical("infliximab_hanzel2021", eta=eta, WT=weight, ALB=albumin)
    doses = [Dose(2 * WEEK * k, 120.0) for k in range(12)]
    return course("infliximab_hanzel2021", theta, doses, [24 * WEEK])[:, 0]


@pytest.mark.parametrize(("weight", "published"), SHARES)
def test_infliximab_troughs_of_a_population(weight, published):
    troughs = infliximab_troughs(weight, iov=True)
    shares = [100 * np.mean(troughs > level) for level in (3, 5, 7)]
    np.testing.assert_allclose(shares, published, atol=4)


def test_infliximab_needs_its_variability_between_occasions():
    shares = [
        100 * np.mean(infliximab_troughs(weight, iov=iov) > 7)
        for weight, _ in SHARES
        for iov in (True, False)
    ]
    published = np.repeat([row[2] for _, row in SHARES], 2)
    error = np.abs(np.array(shares) - published).reshape(-1, 2).sum(axis=0)
    assert error[0] < error[1]


def test_every_model_is_tested_against_something_published():
    names = {module.name for module in pkgutil.iter_modules(models.__path__)}
    assert names == set(TYPICAL) | WITHOUT

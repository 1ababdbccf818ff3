"""The advice for patients whose posterior, truth or danger is known."""

from __future__ import annotations

from functools import cache

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.stats import binom

from popk.individual import Trough, decide
from popk.individual import individualise as advise_without_checks
from popk.monitoring import findings, individualise
from popk.population import PopulationDraws
from popk.qualification.check import Check, Measure
from popk.qualification.known import (
    AMOUNT,
    after_boluses,
    effects_grid,
    exact_log_joint,
    known_fit,
    one_compartment,
    records_of,
)
from popk.qualification.saturable import SATURABLE, simulated_natalizumab
from popk.qualification.unsafe import (
    ORDINARY,
    UNSAFE,
    cohort,
    ordinary_patients,
    unsafe_patients,
)

__all__ = ["CHECKS"]

type Floats = NDArray[np.float64]

TARGET = Trough(10.0, "mg/L")
PROBABILITY = 0.9
WEEKS = np.arange(4.0, 10.1, 1.0)
DOSES = (0.0, 28.0, 56.0, 84.0)
KNOWN = {"CL": 0.2, "V": 5.0, "omega_CL": 0.3, "omega_V": 0.2, "sigma_prop": 0.2}
# Troughs and one sample between doses; None lies below 1 mg/L.
PATIENTS: dict[str, tuple[tuple[float, float | None], ...]] = {
    "no sample": (),
    "one trough": ((84.0, 17.0),),
    "two troughs": ((56.0, 24.0), (84.0, 33.0)),
    "below the limit": ((84.0, None),),
    "trough and middle": ((70.0, 20.0), (84.0, 9.0)),
}
SEEDS = 20
COHORT = 400  # patients of the calibration
CHANCE = 1e-4  # with which a right installation is outside a binomial limit


def _probabilities() -> list[Measure]:
    """P(trough >= target), population exactly known, against sums over two random effects."""
    model = one_compartment(cv=0.0)
    people = records_of({**PATIENTS, "another": ((84.0, 20.0),)}, doses=DOSES)
    fit = known_fit(model, people.select(["another"]), draws=1000, seed=1)
    exact = np.array([_exact(observed) for observed in PATIENTS.values()])
    found, stated = np.empty((SEEDS, *exact.shape)), np.empty((SEEDS, *exact.shape))
    for seed in range(SEEDS):
        advice = advise_without_checks(
            fit, people.select(list(PATIENTS)), target=TARGET, weeks=list(WEEKS), draws=1000,
            samples=4000, seed=seed, curve=False, sustained=False,
        )  # fmt: skip
        decision = advice["decision"].to_dataset().transpose("subject", "week")
        found[seed], stated[seed] = decision["probability"].values, decision["mcse"].values
    apart = np.abs(found.mean(axis=0) - exact)
    return [
        Measure(f"largest difference of {exact.size} probabilities, means of {SEEDS} seeds",
                float(apart.max()), 0.01),
        Measure("largest difference of one seed", float(np.abs(found - exact).max()), 0.04),
        Measure("differences of single seeds in their stated Monte Carlo SDs, root mean square",
                float(np.sqrt(np.mean(((found - exact) / stated) ** 2))), 1.5),
    ]  # fmt: skip


def _exact(observed: tuple[tuple[float, float | None], ...]) -> Floats:
    """P(trough >= target) at each of `WEEKS`, by brute force."""
    grid = effects_grid(6.5, 521)
    log_weight = exact_log_joint(KNOWN, observed, grid.z, DOSES)
    weight = np.exp(log_weight - log_weight.max())
    weight /= weight.sum()
    cl = KNOWN["CL"] * np.exp(KNOWN["omega_CL"] * grid.z[..., 0])
    v = KNOWN["V"] * np.exp(KNOWN["omega_V"] * grid.z[..., 1])
    troughs = [after_boluses(np.asarray(DOSES[-1] + 7.0 * w), cl, v, DOSES) for w in WEEKS]
    return np.array([float(weight[trough >= 10.0].sum()) for trough in troughs])


def _calibration() -> list[Measure]:
    """Everybody drawn from the population that the advice rests on; simulated by hand."""
    return _kept(*_simulated())


def _saturable_calibration() -> list[Measure]:
    """The same with saturable elimination, the published population of natalizumab."""
    return _kept(*simulated_natalizumab(TARGET, PROBABILITY, WEEKS))


def _kept(advice: xr.DataTree, troughs: Floats) -> list[Measure]:
    """How many intervals missed, and how many bands held, of true troughs (n, n_weeks)."""
    decision = advice["decision"].to_dataset().transpose("subject", "week")
    stated, longest = decision["probability"].values, decision["longest"].values
    given = np.flatnonzero(np.isfinite(longest))
    at = np.searchsorted(WEEKS, longest[given])
    missed = int((troughs[given, at] < TARGET.concentration).sum())
    risk = 1.0 - stated[given, at]
    low, high = decision["trough_low"].values, decision["trough_high"].values
    inside = int(((low <= troughs) & (troughs <= high))[:, 0].sum())
    n, share = len(troughs), 0.9
    return [
        Measure(f"missed troughs of {len(given)} intervals advised at {PROBABILITY:g}", missed,
                float(binom.ppf(1 - CHANCE, len(given), 1 - PROBABILITY))),
        Measure("missed less expected from the stated probabilities, in binomial SDs",
                abs(missed - float(risk.sum())) / float(np.sqrt((risk * (1 - risk)).sum())), 4.0),
        Measure(f"of {n} troughs at 4 weeks inside their 90 % intervals", inside,
                float(binom.ppf(CHANCE, n, share)), at_least=True),
        Measure(f"of {n} troughs at 4 weeks inside their 90 % intervals, not too many", inside,
                float(binom.ppf(1 - CHANCE, n, share))),
        Measure(f"patients of {n} who were given an interval", len(given), 0.5 * n, at_least=True),
    ]  # fmt: skip


@cache
def _simulated() -> tuple[xr.DataTree, Floats]:
    """Advice for patients with two troughs each, and their true troughs (n, n_weeks)."""
    model, rng = one_compartment(cv=0.08, covariates=True), np.random.default_rng(11)
    truth = PopulationDraws.from_prior(model, COHORT, rng).values
    weight = np.round(rng.lognormal(np.log(72.0), 0.2, COHORT), 1)
    z = rng.standard_normal((COHORT, 2))
    scaled = (weight / 70.0) ** truth["beta_CL_WT"]
    cl = truth["CL"] * scaled * np.exp(truth["omega_CL"] * z[:, 0])
    v = truth["V"] * np.exp(truth["omega_V"] * z[:, 1])
    people: dict[str, tuple[tuple[float, float | None], ...]] = {}
    for k in range(COHORT):
        seen = []
        for t in DOSES[-2:]:
            f = float(after_boluses(np.asarray(t), cl[k], v[k], DOSES))
            dv = f * (1.0 + truth["sigma_prop"][k] * rng.standard_normal())
            seen.append((t, None if dv < 1.0 else float(dv)))
        people[f"N{k:03d}"] = tuple(seen)
    data = records_of(people, doses=DOSES, weight=weight.tolist())
    fit = known_fit(model, cohort(), draws=1000, seed=12)
    advice = advise_without_checks(
        fit, data, target=TARGET, probability=PROBABILITY, weeks=list(WEEKS), seed=13,
        curve=False, sustained=False,
    )  # fmt: skip
    ends = DOSES[-1] + 7.0 * WEEKS
    return advice, after_boluses(ends, cl[:, None], v[:, None], DOSES)


def _rule() -> list[Measure]:
    """The longest interval that, like every shorter one, holds: counted off by hand."""
    advice, _ = _simulated()
    wrong = 0
    for asked in (0.5, 0.8, 0.9, 0.95):
        decision = decide(advice, target=TARGET, probability=asked)["decision"].to_dataset()
        stated = decision["probability"].transpose("subject", "week").values
        for own, longest in zip(stated.tolist(), decision["longest"].values.tolist(), strict=True):
            by_hand = float("nan")
            for week, probability in zip(WEEKS.tolist(), own, strict=True):
                if probability < asked:
                    break
                by_hand = week
            wrong += not (by_hand == longest or (np.isnan(by_hand) and np.isnan(longest)))
    return [Measure(f"intervals of {4 * COHORT} that are not by the rule", wrong, 0.0)]


def _unsafe() -> list[Measure]:
    fit = known_fit(one_compartment(covariates=True), cohort(), draws=200, seed=1)
    advice = individualise(fit, unsafe_patients(), target=TARGET, samples=300, draws=100)
    decision = advice["decision"].to_dataset()
    guarded = (decision["withheld"] + decision["widened"]).values
    unnamed = 0
    told = findings(advice)
    grave = told[told["severity"] != "note"]
    for who, (name, _) in UNSAFE.items():
        unnamed += name not in grave.loc[grave["ID"] == who, "name"].tolist()
    withheld = decision["withheld"].values.astype(bool)
    leaked = int(np.isfinite(decision["longest"].values[withheld]).sum())
    plain = individualise(fit, ordinary_patients(), target=TARGET, samples=300, draws=100)
    stopped = plain["decision"].to_dataset()
    return [
        Measure(f"unsafe patients of {len(UNSAFE)} advised as any other",
                int((guarded == 0).sum()), 0.0),
        Measure("… whose danger was not called by its name", unnamed, 0.0),
        Measure("… for whom an interval stands where the advice is withheld", leaked, 0.0),
        Measure(f"ordinary patients of {len(ORDINARY)} withheld or widened",
                int((stopped["withheld"] + stopped["widened"]).sum()), 0.0),
    ]  # fmt: skip


CHECKS = (
    Check(
        "P(trough >= target) by brute force",
        "decision",
        ("R-09",),
        f"Sums over 521 x 521 values of two random effects, the population exactly known: five "
        f"patients after four doses of {AMOUNT:g} mg, target 10 mg/L, 4 to 10 weeks.",
        "With 20 seeds the Monte Carlo error of a mean is at most 0.002; seeds are fixed.",
        _probabilities,
    ),
    Check(
        "the rule",
        "decision",
        ("R-10",),
        "The rule counted off by hand: candidates in order until one does not hold.",
        "Nothing is tolerated: the rule leaves nothing open.",
        _rule,
    ),
    Check(
        "advised intervals keep what they promise",
        "decision",
        ("R-11",),
        f"{COHORT} patients simulated by hand from the population that the advice rests on, two "
        "troughs each; true troughs at the advised intervals. Whether this population is that of "
        "other patients, it does not say.",
        "Binomial limits that a right installation exceeds once in ten thousand times; the seed is "
        "fixed.",
        _calibration,
    ),
    Check(
        "advised intervals keep what they promise, saturable elimination",
        "decision",
        ("R-11", "R-04"),
        f"{SATURABLE} patients drawn from the published population of natalizumab (van den Berg et "
        "al. 2025, doi 10.1002/psp4.70014), which the advice rests on; the equations written anew "
        "and solved by DOP853, two troughs each. It says nothing of real patients.",
        "Binomial limits that a right installation exceeds once in ten thousand times; the seed is "
        "fixed.",
        _saturable_calibration,
    ),
    Check(
        "unsafe patients",
        "decision",
        ("R-12",),
        f"{len(UNSAFE)} histories made up so that advice would harm, each with the finding that "
        f"must withhold or widen it, and {len(ORDINARY)} ordinary ones.",
        "Nothing is tolerated: each of them would be harmed.",
        _unsafe,
    ),
)

"""Integrals over random effects and posteriors against other ways to compute them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray
from scipy.special import logsumexp

from popk.dataset import Dataset, read_dataset
from popk.diagnostics import verdict_of
from popk.digests import digest_of_tree
from popk.individual import find_modes, patients_of, propose
from popk.inference import Marginal, sample
from popk.model import PopModel
from popk.population import PopulationDraws
from popk.qualification.check import Check, Measure
from popk.qualification.known import effects_grid, exact_log_joint, one_compartment, records_of
from popk.qualification.tables import table
from popk.statistics import (
    IIV,
    Additive,
    Fixed,
    HalfNormal,
    LogNormal,
    Proportional,
)
from popk.structure import FirstOrder, OneCompartment

__all__ = ["CHECKS", "theophylline"]

type Floats = NDArray[np.float64]

HOURS = {"time": "h", "amount": "mg", "concentration": "mg/L"}
DAYS = {"time": "d", "amount": "mg", "concentration": "mg/L"}
SEED = 20261123
# -2 log likelihood without its constant, by Gauss-Hermite quadrature with 200 points.
WANG = {"proportional": 39.3548, "additive": -1.9896}
# Times and values after one bolus of 300 mg; None lies below the limit of 1 mg/L.
PATIENTS: dict[str, tuple[tuple[float, float | None], ...]] = {
    "A": ((28.0, 25.0),),
    "B": ((7.0, 50.0), (28.0, 30.0)),
    "C": ((1.0, 48.0), (14.0, 40.0), (42.0, 6.0)),
    "D": ((14.0, 30.0), (90.0, None)),
}
# Days after 300 mg at which twelve patients are sampled; they are simulated with CL 0.2 L/d,
# omega 0.35, V 5 L and a proportional error of 15 %.
SAMPLES = (3.0, 14.0, 35.0)
GRID_CL, GRID_OMEGA = np.linspace(np.log(0.08), np.log(0.5), 101), np.linspace(0.005, 1.4, 101)


def _wang() -> list[Measure]:
    """Ten subjects, C = 10 exp(-ke t), ke = 0.5 exp(eta), omega^2 = 0.04, variance 0.1."""
    samples = table("wang2007.csv")
    doses = samples.drop_duplicates("ID")[["ID"]].assign(TIME=0.0, EVID=1, AMT=10.0)
    records = pd.concat([doses, samples.assign(EVID=0, AMT=0.0)])
    dataset = read_dataset(records.sort_values("ID", kind="stable"), units=HOURS)
    sd = float(np.sqrt(0.1))
    found = []
    for word, error in (
        ("proportional", Proportional(Fixed(sd))),
        ("additive", Additive(Fixed(sd))),
    ):
        model = PopModel(
            OneCompartment(), typical={"CL": Fixed(0.5), "V": Fixed(1.0)},
            iiv=IIV({"CL": Fixed(0.2)}), error=error, units=HOURS,
        )  # fmt: skip
        total, variance = _integrated(model, dataset)
        found += [
            Measure(f"{word} error: difference of -2 log likelihood, in its Monte Carlo SDs",
                    abs(total - WANG[word]) / np.sqrt(variance), 5.0),
            Measure(f"{word} error: that Monte Carlo SD", float(np.sqrt(variance)), 0.02),
        ]  # fmt: skip
    return found


def _integrated(model: PopModel, dataset: Dataset) -> tuple[float, float]:
    """-2 log likelihood less its constant, and its variance, by importance sampling."""
    draws = 400
    values = {p.name: np.full(draws, p.prior.median) for p in model.parameters}
    population, rng = PopulationDraws(model, values), np.random.default_rng(20)
    total, variance = 0.0, 0.0
    for patient in patients_of(population, dataset):
        modes = find_modes(population, patient)
        found = np.exp(propose(population, patient, modes, each=50, rng=rng).log_marginal)
        n = len(patient.observed.dv)
        total += -2.0 * float(np.log(found.mean())) - n * float(np.log(2 * np.pi))
        variance += 4.0 * float(found.var() / found.mean() ** 2) / draws
    return total, variance


def _quadrature() -> list[Measure]:
    """One to three samples and one below the limit, under four populations."""
    values = {
        "CL": np.array([0.2, 0.15, 0.3, 0.22]),
        "V": np.array([5.0, 6.0, 4.0, 5.5]),
        "omega_CL": np.array([0.3, 0.5, 0.2, 0.05]),
        "omega_V": np.array([0.2, 0.3, 0.4, 0.1]),
        "sigma_prop": np.array([0.2, 0.1, 0.3, 0.15]),
    }
    population = PopulationDraws(one_compartment(), values)
    dataset = records_of(PATIENTS)
    rng, worst = np.random.default_rng(4), 0.0
    grid = effects_grid(7.0, 481)
    for patient, observed in zip(patients_of(population, dataset), PATIENTS.values(), strict=True):
        modes = find_modes(population, patient)
        found = propose(population, patient, modes, each=4096, rng=rng).log_marginal
        for s in range(population.size):
            own = {name: float(value[s]) for name, value in values.items()}
            exact = float(logsumexp(exact_log_joint(own, observed, grid.z) + grid.log_area))
            worst = max(worst, abs(float(found[s]) - exact))
    return [Measure("largest difference of 16 log likelihoods", worst, 0.02)]


def _small_cohort() -> tuple[PopModel, Dataset, Floats]:
    """A model with two unknown population parameters, its data, and the concentrations."""
    model = PopModel(
        OneCompartment(),
        typical={"CL": LogNormal(0.2, cv=0.5), "V": Fixed(5.0)},
        iiv=IIV({"CL": HalfNormal(0.5)}),
        error=Proportional(Fixed(0.15)),
        units=DAYS,
        name="two unknowns",
    )
    rng = np.random.default_rng(7)
    cl = 0.2 * np.exp(0.35 * rng.standard_normal(12))
    dv = 60.0 * np.exp(-cl[:, None] / 5.0 * np.array(SAMPLES))
    dv *= 1.0 + 0.15 * rng.standard_normal(dv.shape)
    patients = {f"S{k:02d}": tuple(zip(SAMPLES, row, strict=True)) for k, row in enumerate(dv)}
    return model, records_of(patients, lloq=None), dv


def _on_a_grid(dv: Floats) -> dict[str, tuple[float, float]]:
    """Mean and SD of the posterior of CL and omega_CL, by sums over grids."""
    z = np.linspace(-6.5, 6.5, 161)
    omega = GRID_OMEGA[:, None]
    prior = -0.5 * z**2 - 0.5 * np.log(2 * np.pi) + np.log(z[1] - z[0])
    log_posterior = np.empty((len(GRID_CL), len(GRID_OMEGA)))
    for i, log_cl in enumerate(GRID_CL):
        rate = np.exp(log_cl + omega * z) / 5.0
        total = np.zeros(len(GRID_OMEGA))
        f = [np.maximum(60.0 * np.exp(-rate * t), 1e-100) for t in SAMPLES]
        for row in dv:
            own = prior
            for y, predicted in zip(row, f, strict=True):
                own = own - 0.5 * ((y / predicted - 1.0) / 0.15) ** 2 - np.log(predicted)
            total += logsumexp(own, axis=1)
        # LogNormal(0.2, cv=0.5) in log CL, and HalfNormal(0.5).
        total -= 0.5 * (log_cl - np.log(0.2)) ** 2 / np.log1p(0.25)
        log_posterior[i] = total - 0.5 * (GRID_OMEGA / 0.5) ** 2
    weight = np.exp(log_posterior - log_posterior.max())
    weight /= weight.sum()
    marginals = {
        "CL": (np.exp(GRID_CL), weight.sum(axis=1)),
        "omega_CL": (GRID_OMEGA, weight.sum(axis=0)),
    }
    found = {}
    for name, (at, share) in marginals.items():
        mean = float(share @ at)
        found[name] = (mean, float(np.sqrt(share @ (at - mean) ** 2)))
    return found


def _grid_posterior() -> list[Measure]:
    model, dataset, dv = _small_cohort()
    fit = sample(model, dataset, Marginal(), seed=SEED, progress=False)
    exact = {name: (mean, sd, 0.0) for name, (mean, sd) in _on_a_grid(dv).items()}
    return _compared(fit, exact)


def theophylline() -> tuple[PopModel, Dataset]:
    """Twelve volunteers after an oral dose, and the model that the reference posterior is of."""
    model = PopModel(
        OneCompartment(FirstOrder()),
        typical={
            "CL": LogNormal(3.0, cv=0.5),
            "V": LogNormal(30.0, cv=0.5),
            "KA": LogNormal(1.5, cv=0.5),
        },
        iiv=IIV(dict.fromkeys(("CL", "V", "KA"), HalfNormal(0.5))),
        error=Additive(HalfNormal(2.0)),
        units=HOURS,
        name="theophylline",
    )
    return model, read_dataset(table("theophylline.csv"), units=HOURS)


def _theophylline() -> list[Measure]:
    model, dataset = theophylline()
    fit = sample(model, dataset, Marginal(), seed=SEED, progress=False)
    rows = table("theophylline_posterior.csv").to_dict(orient="records")
    return _compared(fit, {row["parameter"]: (row["mean"], row["sd"], row["mcse"]) for row in rows})


def _compared(fit: xr.DataTree, exact: dict[Any, tuple[float, float, float]]) -> list[Measure]:
    """Means in Monte Carlo errors of both, SDs as ratios, and the verdict."""
    from arviz_stats import mcse

    verdict = verdict_of(fit)
    apart, ratio = [], []
    for name, (mean, sd, error) in exact.items():
        draws = fit["posterior"][name]
        own = float(mcse(draws))
        apart.append(abs(float(draws.mean()) - mean) / float(np.hypot(own, error)))
        ratio.append(abs(float(np.log(float(draws.std()) / sd))))
    return [
        Measure("converged (1) or not (0)", float(verdict.converged), 1.0, at_least=True),
        Measure("R-hat, the largest of all quantities", float(verdict.rhat_max), 1.01),
        Measure(f"largest difference of {len(exact)} posterior means, in Monte Carlo SDs",
                float(np.max(apart)), 5.0),
        Measure("largest difference of posterior SDs (of their logarithms)",
                float(np.max(ratio)), 0.10),
    ]  # fmt: skip


def _repeated() -> list[Measure]:
    """The same fit on one core and on two."""
    model, dataset, _ = _small_cohort()
    digests = {
        digest_of_tree(
            sample(model, dataset, Marginal(draws=100, chains=2, cores=cores), seed=3,
                   progress=False)
        )
        for cores in (1, 2)
    }  # fmt: skip
    return [Measure("different digests of two fits (SHA-256 over all numbers)", len(digests), 1.0)]


_CHANCE = (
    "By chance alone a mean is 5 Monte Carlo standard errors off once in two million times; the "
    "seed is fixed."
)
CHECKS = (
    Check(
        "marginal likelihood of Wang's ten subjects",
        "inferential",
        ("R-06",),
        "Gauss-Hermite quadrature with 200 points (data: Wang, J Pharmacokinet Pharmacodyn "
        "2007;34:575-593, table 1).",
        _CHANCE,
        _wang,
    ),
    Check(
        "marginal likelihood by brute force",
        "inferential",
        ("R-06",),
        "Sums over 481 x 481 values of two random effects, the model written by hand; samples "
        "above and below the limit of quantification.",
        "0.02 of a log likelihood changes a posterior weight by 2 %, below what the population's "
        "uncertainty does; popk's own sampler corrects for it.",
        _quadrature,
    ),
    Check(
        "a posterior known by quadrature",
        "inferential",
        ("R-07",),
        "Sums over 101 x 101 values of two population parameters, the random effect of each of 12 "
        "patients summed over 161 values; simulated data, the model written by hand.",
        _CHANCE,
        _grid_posterior,
    ),
    Check(
        "the posterior of theophylline by another program",
        "inferential",
        ("R-07",),
        "The model written by hand in PyMC and sampled by nutpie (no code of popk), 12 volunteers "
        "(Boeckmann, Sheiner & Beal 1994), theophylline_posterior.csv.",
        _CHANCE,
        _theophylline,
    ),
    Check(
        "the same seed, the same fit",
        "inferential",
        ("R-08",),
        "Itself, on one core and on two.",
        "Every number is the same to the bit.",
        _repeated,
    ),
)

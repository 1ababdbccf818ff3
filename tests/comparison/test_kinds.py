"""Patients left out of models of every kind, against integrals over dense grids.

One compartment, boluses of 300 mg at 0 and 28 days, troughs at 28 and 56; CL varies between
subjects. What else a model has is integrated by hand over a grid of its own.
"""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from arviz_stats.base import array_stats
from scipy import stats
from scipy.special import logsumexp

from popk.comparison import loo
from popk.comparison.questions import Asked, pieces_of
from popk.dataset import read_dataset
from popk.levels import GroupEffects
from popk.model import PopModel
from popk.population import PopulationDraws
from popk.statistics import (
    IIV,
    IOV,
    Autocorrelated,
    Beta,
    LatentCovariate,
    Level,
    LogNormal,
    LogNormalError,
    Normal,
    Power,
    Subpopulations,
)
from popk.structure import OneCompartment

UNITS = {"time": "d", "amount": "mg", "concentration": "mg/L", "WT": "kg", "SITE": "1"}
DAYS = 28.0
TROUGHS = {"A": (22.0, 14.0), "B": (12.0, 25.0), "C": (30.0, 38.0)}
WEIGHTS = {"A": 55.0, "B": 90.0, "C": np.nan}
SITES = {"A": 1.0, "B": 2.0, "C": 1.0}
PLAIN = PopModel(
    OneCompartment(),
    typical={"CL": LogNormal(0.2, cv=0.1), "V": LogNormal(5.0, cv=0.1)},
    iiv=IIV({"CL": LogNormal(0.3, cv=0.2)}),
    error=LogNormalError(LogNormal(0.2, cv=0.2)),
    units=UNITS,
)
WEIGHT = Power("CL", "WT", reference=70, exponent=Normal(0.75, 0.1))
CLASSES = Subpopulations(
    ("normal", "fast"),
    shares={"fast": Beta(0.3, n=10)},
    folds={"CL": {"fast": LogNormal(2.0, cv=0.2)}},
)
MODELS = {
    "occasions": replace(PLAIN, iov=IOV({"CL": LogNormal(0.25, cv=0.2)})),
    "classes": replace(PLAIN, subpopulations=CLASSES),
    "latent": replace(
        PLAIN,
        covariates=(WEIGHT,),
        latent=(LatentCovariate("WT", LogNormal(70, cv=0.1), LogNormal(0.25, cv=0.2)),),
    ),
    "site": replace(PLAIN, levels=(Level("SITE", {"CL": LogNormal(0.3, cv=0.2)}),)),
    "no effects": replace(PLAIN, iiv=IIV({})),
}


def read(weights=WEIGHTS, sites=SITES, *, subjects=tuple(TROUGHS), carry=None):
    rows = []
    for subject in subjects:
        first, second = TROUGHS[subject]
        rest = (weights[subject], sites[subject])
        rows += [
            (subject, 0.0, 1, 300.0, np.nan, 1, *rest),
            (subject, DAYS, 0, np.nan, first, 1, *rest),
            (subject, DAYS, 1, 300.0, np.nan, 2, *rest),
            (subject, 2 * DAYS, 0, np.nan, second, 2, *rest),
        ]
    frame = pd.DataFrame(
        rows, columns=["ID", "TIME", "EVID", "AMT", "DV", "OCC", "WT", "SITE"]
    )  # fmt: skip
    return read_dataset(frame, units=UNITS, missing={"WT": "model"}, carry=carry)


def grid(dimensions, points):
    """Standard normal scores (dimensions, G), and the log of the weight of each (G)."""
    at = np.linspace(-5.5, 5.5, points)
    z = np.stack([one.ravel() for one in np.meshgrid(*[at] * dimensions, indexing="ij")])
    return z, stats.norm.logpdf(z).sum(axis=0) + dimensions * np.log(at[1] - at[0])


def density(subject, draws, cl1, cl2):
    """Log density (S, G) of both troughs, with the clearance of either interval."""
    v, sd = draws["V"][:, None], draws["sigma_log"][:, None]
    first = 300.0 / v * np.exp(-cl1 / v * DAYS)
    second = (first + 300.0 / v) * np.exp(-cl2 / v * DAYS)
    dv = TROUGHS[subject]
    return sum(
        stats.norm.logpdf(np.log(y), np.log(f), sd) - np.log(y)
        for y, f in zip(dv, (first, second), strict=True)
    )


def by_hand(kind, subject, population):
    """Log marginal likelihood (S), and log density of what else was measured (S)."""
    draws = population.values
    column = {name: value[:, None] for name, value in draws.items()}
    nothing = np.zeros(population.size)
    if kind == "no effects":
        return density(subject, draws, column["CL"], column["CL"])[:, 0], nothing
    if kind == "occasions":
        z, prior = grid(3, 21)
        cl = column["CL"] * np.exp(column["omega_CL"] * z[0])
        cl1, cl2 = (cl * np.exp(column["omega_iov_CL"] * own) for own in z[1:])
        return logsumexp(density(subject, draws, cl1, cl2) + prior, axis=1), nothing
    if kind == "latent" and np.isnan(WEIGHTS[subject]):
        z, prior = grid(2, 81)
        weight = column["mean_WT"] * np.exp(column["sd_WT"] * z[1])
    else:
        z, prior = grid(1, 801)
        weight = WEIGHTS[subject]
    cl = column["CL"] * np.exp(column["omega_CL"] * z[0])
    if kind == "latent":
        cl = cl * (weight / 70) ** column["beta_CL_WT"]
        measured = nothing
        if not np.isnan(WEIGHTS[subject]):
            log_weight = np.log(WEIGHTS[subject])
            measured = stats.norm.logpdf(log_weight, np.log(draws["mean_WT"]), draws["sd_WT"])
            measured = measured - log_weight
        return logsumexp(density(subject, draws, cl, cl) + prior, axis=1), measured
    if kind == "site":
        groups, eta = population.levels["SITE"]
        cl = cl * np.exp(eta[:, list(groups).index(SITES[subject]), 0])[:, None]
        return logsumexp(density(subject, draws, cl, cl) + prior, axis=1), nothing
    share = column["share_fast"]
    fast = cl * column["fold_CL_fast"]
    parts = [
        np.log(1 - share) + density(subject, draws, cl, cl),
        np.log(share) + density(subject, draws, fast, fast),
    ]
    return logsumexp(np.concatenate(parts, axis=1) + np.tile(prior, 2), axis=1), nothing


@pytest.mark.parametrize("kind", MODELS)
def test_everything_of_a_new_patient_is_integrated_out(fits, kind):
    model = MODELS[kind]
    data = read() if kind == "latent" else read(dict.fromkeys(TROUGHS, 70.0))
    fit = fits.fit_of(model, data, draws=75)
    found = loo(fit, refit=False)["loo"]
    population = PopulationDraws.of(fit)
    for subject in TROUGHS:
        score, measured = by_hand(kind, subject, population)
        values = np.exp(score).reshape(2, -1)
        r_eff = min(1.0, float(array_stats.ess(values, method="mean", relative=True)))
        # A measured weight is fitted as well, so that it is left out with the patient.
        smooth, _ = array_stats.psislw(score + measured, r_eff=r_eff)
        exact = logsumexp(smooth - logsumexp(smooth) + score)
        own = found.sel(subject=subject)
        # Where few draws carry the weight, what is left of the noise of theirs counts.
        near = 1.5e-3 + 0.05 * float(own["mcse"])
        assert float(own["elpd_i"]) == pytest.approx(exact, abs=near)


def test_of_an_unknown_site_the_effects_are_integrated_out_too(fits):
    model = MODELS["site"]
    sites = {"A": 1.0, "B": 2.0, "C": 3.0}
    fit = fits.fit_of(model, read(dict.fromkeys(TROUGHS, 70.0), sites), draws=60)
    population = PopulationDraws.of(fit)
    groups, eta = population.levels["SITE"]
    kept = groups != 3.0
    other = GroupEffects(groups[kept], eta[:, kept])
    stranger = read({"C": 70.0}, sites, subjects=["C"])
    found = pieces_of(replace(population, levels={"SITE": other}), stranger, Asked("patient", 1))
    z, prior = grid(2, 81)
    column = {name: value[:, None] for name, value in population.values.items()}
    shift = column["omega_CL"] * z[0] + column["omega_SITE_CL"] * z[1]
    cl = column["CL"] * np.exp(shift)
    exact = logsumexp(density("C", population.values, cl, cl) + prior, axis=1)
    np.testing.assert_allclose(found.pieces[0].score, exact, atol=0.05)
    assert abs(np.mean(found.pieces[0].score - exact)) < 1.5e-3


def test_left_out_of_a_chain_of_residuals_an_observation_leaves_its_neighbours_correlated(fits):
    """Between the first and the third, 56 days apart, rho is that of 56 days."""
    error = Autocorrelated(LogNormalError(LogNormal(0.2, cv=0.2)), LogNormal(40.0, cv=0.3))
    model = replace(PLAIN, iiv=IIV({}), error=error)
    rows = [("A", 0.0, 1, 300.0, np.nan)]
    dv = (40.0, 30.0, 26.0)
    rows += [("A", t, 0, np.nan, y) for t, y in zip((7.0, 21.0, 63.0), dv, strict=True)]
    frame = pd.DataFrame(rows, columns=["ID", "TIME", "EVID", "AMT", "DV"])
    data = read_dataset(frame, units={n: UNITS[n] for n in ("time", "amount", "concentration")})
    fit = fits.fit_of(replace(model, units=data.units), data, draws=60)
    population = PopulationDraws.of(fit)
    found = pieces_of(population, data, Asked("observation", 1))
    draws = population.values
    times = np.array((7.0, 21.0, 63.0))
    for s in (0, 50, 119):
        k = draws["CL"][s] / draws["V"][s]
        residual = np.log(dv) - np.log(300 / draws["V"][s] * np.exp(-k * times))
        apart = np.abs(times[:, None] - times)
        covariance = draws["sigma_log"][s] ** 2 * 0.5 ** (apart / draws["half_time"][s])
        whole = stats.multivariate_normal.logpdf(residual, cov=covariance)
        for j, piece in enumerate(found.pieces):
            kept = np.arange(3) != j
            others = stats.multivariate_normal.logpdf(
                residual[kept], cov=covariance[np.ix_(kept, kept)]
            )
            assert piece.score[s] == pytest.approx(whole - others - np.log(dv[j]), abs=1e-8)


GROWN = {"A": (50.0, 60.0, 75.0), "B": (40.0, 40.0, 40.0)}


def growing():
    """A weight that is recorded with each trough, and holds from then on."""
    rows = []
    for subject, (start, then, last) in GROWN.items():
        first, second = TROUGHS[subject]
        rows += [
            (subject, 0.0, 1, 300.0, np.nan, start, 1.0),
            (subject, DAYS, 0, np.nan, first, then, 1.0),
            (subject, DAYS, 1, 300.0, np.nan, then, 1.0),
            (subject, 2 * DAYS, 0, np.nan, second, last, 1.0),
        ]
    columns = ["ID", "TIME", "EVID", "AMT", "DV", "WT", "SITE"]
    return read_dataset(pd.DataFrame(rows, columns=columns), units=UNITS, carry="nonmem")


@pytest.mark.parametrize("known", [False, True], ids=["hidden", "known"])
def test_in_the_future_a_weight_not_yet_recorded_is_the_last_one(fits, known):
    model = replace(PLAIN, covariates=(WEIGHT,))
    data = growing()
    population = PopulationDraws.of(fits.fit_of(model, data, draws=60))
    column = {name: value[:, None] for name, value in population.values.items()}
    z, prior = grid(1, 801)

    def cl(weight):
        return (
            column["CL"]
            * np.exp(column["omega_CL"] * z[0])
            * ((weight / 70) ** column["beta_CL_WT"])
        )

    start, then, last = GROWN["A"]
    # NONMEM's rule: a record governs the interval that ends at it.
    governing = (then, last) if known else (start, then)
    first_alone = density_of_first(population.values, cl(governing[0]))
    found = pieces_of(population, data.select(["A"]), Asked("future", 1, known)).pieces
    exact = logsumexp(first_alone + prior, axis=1)
    np.testing.assert_allclose(found[0].score.mean(), exact.mean(), atol=1.5e-3)
    # By the second trough the first weight is known.
    whole = logsumexp(density("A", population.values, cl(then), cl(governing[1])) + prior, axis=1)
    past = logsumexp(density_of_first(population.values, cl(then)) + prior, axis=1)
    np.testing.assert_allclose(found[1].score.mean(), (whole - past).mean(), atol=2e-3)


def density_of_first(draws, cl):
    v, sd = draws["V"][:, None], draws["sigma_log"][:, None]
    first = TROUGHS["A"][0]
    predicted = np.log(300.0 / v) - cl / v * DAYS
    return stats.norm.logpdf(np.log(first), predicted, sd) - np.log(first)

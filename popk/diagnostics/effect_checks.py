"""Checks of the random effects: their distribution, and what they go together with."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from popk.diagnostics.discrepancies import (
    FEWEST,
    correlations,
    matched,
    split_share,
    strongest_correlation,
    tails,
)
from popk.diagnostics.fault_checks import Finding, Material
from popk.diagnostics.replicates import Seen

__all__ = ["effect_findings"]

type Floats = NDArray[np.float64]

_REFERENCE = 4000  # sets of random effects that those of the draws are compared with
_NUMBERS = 8_000_000  # of random effects in them: fewer sets of a large cohort …
_LEAST = 1000  # … but so many
_FEWEST_SUBJECTS = 12

_REMEDIES = {
    "two groups": "Look for a covariate that tells the groups apart (genotype, antibodies, "
    "formulation); else try Subpopulations.",
    "shape": "Look for outlying patients and mistaken records; try HeavyTails or BoxCox for this "
    "effect.",
    "correlation": "Let these random effects be correlated (Correlated).",
    "covariates": "Try this covariate on this parameter, or another form of its effect.",
    "dosing": "Try an elimination that saturates or another dependence on the dose. Where doses or "
    "intervals were chosen by measured concentrations this is to be expected and no fault.",
}


def effect_findings(material: Material) -> Iterator[Finding]:
    """Every check of the random effects between patients that the data allow."""
    eta = material.drawn.eta
    if eta.shape[1] < _FEWEST_SUBJECTS or not eta.shape[2]:
        return
    population = material.drawn.population
    sets = max(_LEAST, min(_REFERENCE, _NUMBERS // (eta.shape[1] * eta.shape[2])))
    again = np.resize(np.arange(population.size), sets)
    reference = population.taken(again).new_effects(eta.shape[1], material.rng)
    for k, effect in enumerate(material.seen.model.iiv.effects):
        yield from _distribution(material, effect, eta[..., k], reference[..., k])
    yield from _together(material, reference)
    yield from _by_covariates(material, reference)


def _distribution(
    material: Material, effect: str, own: Floats, reference: Floats
) -> Iterator[Finding]:
    share, usual = split_share(own), split_share(reference)
    words = (
        f"A cut of the patients' {effect} into two groups explains {100 * share.mean():.0f} % of "
        f"the variance of its random effects, where {100 * usual.mean():.0f} % is usual of a "
        "single group."
    )
    p = float(matched(share, usual).mean())
    yield Finding(f"two groups of {effect}", "variability", p, words, _REMEDIES["two groups"])
    if own.shape[1] < FEWEST or effect in dict(material.seen.model.iiv.shapes):
        return
    skew, heavy = stats.skew(own, axis=1).mean(), stats.kurtosis(own, axis=1).mean()
    words = (
        f"Random effects of {effect} have a skewness of {skew:.2f} and an excess kurtosis of "
        f"{heavy:.2f}."
    )
    name = f"shape of the variability of {effect}"
    yield Finding(name, "variability", float(tails(own).mean()), words, _REMEDIES["shape"])


def _together(material: Material, reference: Floats) -> Iterator[Finding]:
    eta, effects = material.drawn.eta, material.seen.model.iiv.effects
    factor = material.drawn.population.factor
    independent = np.all(factor @ np.swapaxes(factor, 1, 2) == 0, axis=0)
    free = np.triu(independent, 1)
    if not free.any():
        return
    found = strongest_correlation(eta, eta, free)
    p = float(matched(found, strongest_correlation(reference, reference, free)).mean())
    r = np.where(free, correlations(eta, eta).mean(axis=0), 0.0)
    i, j = np.unravel_index(np.abs(r).argmax(), r.shape)
    words = (
        f"Random effects of {effects[i]} and {effects[j]}, which the model has as independent, "
        f"have a correlation of {r[i, j]:.2f}."
    )
    name = "correlation of random effects"
    yield Finding(name, "variability", p, words, _REMEDIES["correlation"])


def _by_covariates(material: Material, reference: Floats) -> Iterator[Finding]:
    seen, eta = material.seen, material.drawn.eta
    table = seen.dataset.covariate_table()
    covariates = {
        name: np.asarray(table[name].values, dtype=float) for name in seen.dataset.covariates
    }
    for name, columns in (("covariates", covariates), ("dosing", _dosing(seen))):
        known = {key: x for key, x in columns.items() if _varies(x)}
        if not known:
            continue
        x = np.stack([_scores(one) for one in known.values()], axis=1)
        p = matched(strongest_correlation(eta, x), strongest_correlation(reference, x)).mean()
        r = correlations(eta, x).mean(axis=0)
        i, j = np.unravel_index(np.abs(r).argmax(), r.shape)
        words = (
            f"The random effects of {seen.model.iiv.effects[i]} have a correlation of "
            f"{r[i, j]:.2f} with {list(known)[j]}."
        )
        yield Finding(name, "covariates", float(p), words, _REMEDIES[name])


def _varies(x: Floats) -> bool:
    known = x[np.isfinite(x)]
    return len(known) >= _FEWEST_SUBJECTS and float(np.ptp(known)) > 0


def _scores(x: Floats) -> Floats:
    """Ranks of the values that are known, the mean rank for the others."""
    found, known = np.zeros(len(x)), np.isfinite(x)
    found[known] = stats.rankdata(x[known])
    found[~known] = found[known].mean()
    return found


def _dosing(seen: Seen) -> dict[str, Floats]:
    """The mean dose of each patient and the longest of its dosing intervals seen."""
    table = seen.dataset.table
    names = {name: k for k, name in enumerate(seen.dataset.subjects)}
    dosed = np.isin(table["EVID"].values, (1, 4)) & (np.nan_to_num(table["AMT"].values) > 0)
    who = np.array([names[name] for name in table["ID"].values[dosed].tolist()], dtype=np.int64)
    size = len(names)
    count = np.bincount(who, minlength=size)
    with np.errstate(invalid="ignore"):
        amount = np.bincount(who, table["AMT"].values[dosed], minlength=size) / count
    interval = np.full(size, np.nan)
    known = np.isfinite(seen.interval)
    for k in np.unique(seen.subject[known]).tolist():
        interval[k] = np.median(seen.interval[known & (seen.subject == k)])
    return {"the dose": amount, "the dosing interval": interval}

"""Normalised prediction distribution errors: standard normal where the model describes the data.

Brendel, Comets, Laffont, Laveille & Mentré, Pharm Res 23:2036, 2006; computed as in Comets, Brendel
& Mentré, Comput Methods Programs Biomed 90:154, 2008. Observations beyond a limit of quantification
as in Nguyen, Comets & Mentré, J Pharmacokinet Pharmacodyn 39:499, 2012.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy import linalg, stats
from scipy.special import ndtri

from popk.diagnostics.replicates import (
    Seen,
    attributes,
    check_replicates,
    left_out,
    replicated,
    usual_replicates,
)
from popk.population import FitError, check_seed

__all__ = ["Completed", "completed", "npde", "ranks", "whitened"]

type Floats = NDArray[np.float64]
type Ints = NDArray[np.int64]

_LEVEL = 0.01  # of the three tests together
_TINY = 1e-12  # eigenvalue of correlations: below, one observation follows from the others
_SHAPIRO_UP_TO = 5000  # observations: beyond, its p-value is not accurate
_TESTS = ("mean is 0", "variance is 1", "normal shape", "standard normal")


def npde(fit: xr.DataTree, *, replicates: int | None = None, seed: int) -> xr.Dataset:
    """Normalised prediction distribution errors of each observation, and tests of them.

    The data are compared with replicates of them: new random effects for every patient, parameters
    from the posterior. NPD is the normal quantile of the share of replicates below the
    observation. For NPDE the patient's observations and their replicates are first decorrelated,
    by the Cholesky factor of the replicates' covariance in the order of the records. Where the
    model holds, both are standard normal, and NPDE uncorrelated within a patient.

    An observation below its limit of quantification (CENS 1) is replaced by a draw from what the
    replicates have below the limit, and replicates below it likewise; above an upper limit so, too.

    The data have been used to estimate the parameters: with little data the errors vary less than
    a standard normal does, and a fault may stay hidden.

    Parameters
    ----------
    fit
        What `popk.sample` returned.
    replicates
        How many; if None 1,000, or 10 for each observation of a patient where that is more.
    seed
        Seed of the random numbers.

    Returns
    -------
    Dataset with ``DV`` (the limit where CENS is not 0), ``PRED`` (the mean of the replicates; both
    in ``units``), ``NPD`` and ``NPDE`` (observation), with the coordinates ID, TIME, TAD (time
    after dose), TROUGH, ROW and CENS; ``statistic`` and ``p_value`` (test): Student's t test that
    the mean of NPDE is 0, the chi-squared test that their variance is 1, Shapiro and Wilk's of a
    normal shape (NaN above 5,000 observations), Kolmogorov and Smirnov's against the standard
    normal. ``attrs["verdict"]`` says what they found; ``attrs["p_global"]`` is the smallest of the
    first three p-values times their number.

    Raises
    ------
    SettingError
        When the seed or the number of replicates makes no sense.
    FitError
        When the tree is no fit, or a patient's observations cannot be decorrelated.
    """
    check_seed(seed)
    seen = Seen.of(fit)
    most = int(np.bincount(seen.subject).max())
    size = usual_replicates(most) if replicates is None else replicates
    size = check_replicates(size, most=most)
    rng = np.random.default_rng(seed)
    simulated = replicated(fit, seen, size, rng)
    pred = simulated.mean(axis=0)
    both = completed(seen, simulated, rng)
    marginal = ranks(both.observed, both.simulated)
    own = np.empty(len(seen.dv))
    for subject, rows in seen.of_subjects:
        y, reps = whitened(both.observed[rows], both.simulated[:, rows], subject)
        own[rows] = ranks(y, reps)
    errors = ndtri(own)
    statistic, p_value = _tests(errors)
    attrs: dict[str, Any] = attributes(fit, "npde", [*seen.notes, *left_out(simulated, size)])
    p_global = _together(p_value)
    attrs |= {
        "replicates": len(simulated),
        "seed": int(seed),
        "p_global": p_global,
        "verdict": _said(errors, p_global),
    }
    unit = {"units": seen.units}
    dim = "observation"
    return xr.Dataset(
        {
            "DV": (dim, seen.dv, {**unit, "long_name": "observed"}),
            "PRED": (dim, pred, {**unit, "long_name": "population prediction (mean)"}),
            "NPD": (
                dim,
                ndtri(marginal),
                {"units": "1", "long_name": "normalised prediction discrepancy"},
            ),
            "NPDE": (
                dim,
                errors,
                {"units": "1", "long_name": "normalised prediction distribution error"},
            ),
            "statistic": ("test", statistic),
            "p_value": ("test", p_value),
        },
        coords={**seen.coordinates(), "test": list(_TESTS)},
        attrs=attrs,
    )


class Completed(NamedTuple):
    """Observations (n) and replicates (R, n) with values in place of those beyond a limit."""

    observed: Floats
    simulated: Floats


def completed(seen: Seen, simulated: Floats, rng: np.random.Generator) -> Completed:
    """Observations and replicates without gaps.

    What lies beyond a limit is a draw from the distribution of the replicates there. As
    observations and replicates are treated alike, ranks stay uniform where the model holds.
    """
    observed, reps = seen.dv.copy(), simulated.copy()
    for limit, side in ((seen.lower, 1), (seen.upper, -1)):
        beyond = seen.status == side
        for k in np.flatnonzero(np.isfinite(limit)).tolist():
            # Mirrored, what lies above the upper limit lies below.
            values = np.sort(side * simulated[:, k])
            under = values < side * limit[k]
            count = int(under.sum())
            if beyond[k]:
                observed[k] = side * _below(values, count, side * limit[k], rng, 1)[0]
            gone = side * simulated[:, k] < side * limit[k]
            if count:
                reps[gone, k] = side * _below(values, count, side * limit[k], rng, count)
    return Completed(observed, reps)


def _below(
    ordered: Floats, count: int, limit: float, rng: np.random.Generator, size: int
) -> Floats:
    """Draws from the values below the limit, the first `count` of those in order."""
    if not count:
        return np.full(size, limit)
    at = rng.random(size) * count
    ends = np.append(ordered[:count], limit)
    return np.asarray(np.interp(at, np.arange(count + 1), ends))


def ranks(observed: Floats, simulated: Floats) -> Floats:
    """Share (n) of R replicates (R, n) below each observation, never 0 or 1.

    It is (r + 1/2)/(R + 1) for an observation above r of them, ties counting half: the middle of
    what is uniform where the observation is one more replicate.
    """
    below = (simulated < observed).sum(axis=0) + 0.5 * (simulated == observed).sum(axis=0)
    return np.asarray((below + 0.5) / (len(simulated) + 1))


def whitened(
    observed: Floats, simulated: Floats, subject: str, *, symmetric: bool = False
) -> tuple[Floats, Floats]:
    """Observations (n) and replicates (R, n) with mean 0, variance 1 and no correlation.

    By the Cholesky factor of the covariance of the replicates, or by the symmetric root of their
    correlations, which leaves each as close as possible to its own observation (Kessy, Lewin &
    Strimmer, Am Stat 72:309, 2018).

    Raises
    ------
    FitError
        When replicates do not vary, or one follows from the others.
    """
    mean, sd = simulated.mean(axis=0), simulated.std(axis=0, ddof=1)
    if not np.all(sd > 0):
        raise FitError(
            f"The replicates of observation {int(np.argmin(sd)) + 1} of ID {subject} are all the "
            f"same, {mean[np.argmin(sd)]:g}: nothing in the model varies there, so that it has no "
            "distribution. Leave the record out (MDV 1), or give the error an additive part."
        )
    scaled = (simulated - mean) / sd
    stacked = np.vstack([(observed - mean) / sd, scaled])
    correlation = scaled.T @ scaled / (len(scaled) - 1)
    values, vectors = linalg.eigh(correlation)
    if values[0] < _TINY:
        raise FitError(
            f"The observations of ID {subject} cannot be decorrelated: in the replicates one "
            "follows from the others. Look for duplicated records without a residual error."
        )
    if symmetric:
        found = stacked @ ((vectors / np.sqrt(values)) @ vectors.T)
    else:
        factor = linalg.cholesky(correlation, lower=True)
        found = linalg.solve_triangular(factor, stacked.T, lower=True).T
    return found[0], found[1:]


def _tests(errors: Floats) -> tuple[Floats, Floats]:
    """Statistic and p-value of each test, NaN where there are too few observations."""
    statistic, p_value = np.full(4, np.nan), np.full(4, np.nan)
    n = len(errors)
    if n < 3 or np.ptp(errors) == 0:
        return statistic, p_value
    mean = stats.ttest_1samp(errors, 0.0)
    spread = (n - 1) * errors.var(ddof=1)
    either = 2 * min(stats.chi2.cdf(spread, n - 1), stats.chi2.sf(spread, n - 1))
    statistic[:2], p_value[:2] = (mean.statistic, spread), (mean.pvalue, min(either, 1.0))
    if n <= _SHAPIRO_UP_TO:
        statistic[2], p_value[2] = stats.shapiro(errors)
    statistic[3], p_value[3] = stats.kstest(errors, "norm")
    return statistic, p_value


def _together(p_value: Floats) -> float:
    """The smallest p-value of the first three tests, adjusted for their number (Bonferroni)."""
    known = p_value[:3][~np.isnan(p_value[:3])]
    return float(min(1.0, len(known) * known.min())) if len(known) else float("nan")


def _said(errors: Floats, p_global: float) -> str:
    """What the tests found, in words."""
    size = f"mean {errors.mean():.2f}, SD {errors.std():.2f}, {len(errors)} observations"
    if np.isnan(p_global):
        return f"There are too few observations to test ({len(errors)})."
    if p_global >= _LEVEL:
        return (
            f"NPDE are compatible with a standard normal distribution ({size}; p = "
            f"{p_global:.2g}): no misfit of the population model shows."
        )
    mean, spread = errors.mean(), errors.std()
    faults = []
    if abs(mean) > 2 / np.sqrt(len(errors)):
        faults.append(f"the model predicts too {'low' if mean > 0 else 'high'}")
    if spread > 1 + 1.5 / np.sqrt(len(errors)):
        faults.append("it has too little variability")
    if spread < 1 - 1.5 / np.sqrt(len(errors)):
        faults.append("it has too much variability")
    what = "; ".join(faults) or "their shape is not normal"
    return (
        f"NPDE are not standard normal ({size}; p = {p_global:.2g}): {what}. Look at them against "
        "time, PRED and covariates to see where."
    )

"""From samples of troughs to probabilities, bands, intervals, and how exact these are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from popk.individual.decision import longest_interval

__all__ = ["Judgement", "band", "decisions", "judged", "monte_carlo_error", "share_above"]

type Floats = NDArray[np.float64]
# Dimensions, values and attributes, as a dataset takes them.
type Variable = tuple[tuple[str, ...], Floats, dict[str, str]]


def decisions(
    posterior: xr.Dataset, target: float, probability: float, effective: Floats
) -> xr.Dataset:
    """Probabilities with their Monte Carlo errors, predicted troughs and longest intervals.

    Parameters
    ----------
    posterior
        ``troughs`` and ``troughs_sustained`` (subject, week, sample), and ``draw`` (subject,
        sample).
    target, probability
        The target, and the probability to hold.
    effective
        Effective number of draws behind the samples (n_subjects); NaN where not known.
    """
    weeks = posterior["week"].values.astype(float)
    samples = {
        name: posterior[name].transpose("subject", "week", "sample")
        for name in ("troughs", "troughs_sustained")
    }
    found = judged(
        {name: values.values for name, values in samples.items()},
        posterior["draw"].transpose("subject", "sample").values,
        Judgement(weeks, target, probability, samples["troughs"].attrs["units"]),
        effective,
    )
    coords = {"subject": posterior["subject"].values, "week": ("week", weeks, {"units": "wk"})}
    return xr.Dataset(found, coords=coords)


class Judgement(NamedTuple):
    """By what troughs are judged: candidates in weeks, target in ``units``, and probability."""

    weeks: Floats
    target: float
    probability: float
    units: str


def judged(
    troughs: Mapping[str, Floats], draw: NDArray[np.int64], by: Judgement, effective: Floats
) -> dict[str, Variable]:
    """What `decisions` has of each patient, as variables of a dataset.

    Parameters
    ----------
    troughs
        ``troughs`` and ``troughs_sustained`` (n_subjects, n_weeks, n_samples).
    draw
        (n_subjects, n_samples).
    by
        What is asked.
    effective
        As there.
    """
    weeks, target, probability, units_of = by
    grid = ("subject", "week")
    found: dict[str, Variable] = {}
    for ending in ("", "_sustained"):
        values = troughs[f"troughs{ending}"]
        if np.isnan(values).all():  # not computed
            nothing = np.full(values.shape[:2], np.nan)
            holds = error = nothing
            bands = np.full((3, *nothing.shape), np.nan)
        else:
            holds = share_above(values, target)
            error = monte_carlo_error(values, target, draw, effective)
            bands = band(values)
        found[f"probability{ending}"] = (grid, holds, {"units": "1"})
        found[f"mcse{ending}"] = (grid, error, {"units": "1"})
        longest = longest_interval(weeks, holds, probability)
        found[f"longest{ending}"] = (("subject",), longest, {"units": "wk"})
        for part, value in zip(("low", "median", "high"), bands, strict=True):
            found[f"trough{ending}_{part}"] = (grid, value, {"units": units_of})
    return found


def share_above(values: Floats, target: float) -> Floats:
    """Share of samples (last axis) at or above the target; NaN where there are none.

    A single sample that could not be computed counts as below.
    """
    share = (values >= target).mean(axis=-1)
    nothing = np.isnan(values)
    return np.where(nothing.all(axis=-1), np.nan, share) if nothing.any() else share


def monte_carlo_error(
    values: Floats, target: float, draw: NDArray[np.int64], effective: Floats
) -> Floats:
    """Standard error of `share_above` (n_subjects, n_weeks) from too few samples and draws.

    The larger of two: between the draws of the population (samples that share one are a cluster:
    what thinning the population's draws costs is in it); and that of as many independent samples as
    are effective, half a sample of each kind added, which is not zero where all samples agree.

    Parameters
    ----------
    values
        Samples (n_subjects, n_weeks, n_samples).
    target
        The target.
    draw
        The population draw of each sample (n_subjects, n_samples).
    effective
        Effective number of draws (n_subjects); as many as samples where NaN.
    """
    weeks, n = values.shape[1:]
    found = np.full(values.shape[:2], np.nan)
    for k, (own, which) in enumerate(zip(values, draw, strict=True)):
        share = share_above(own, target)
        if np.isnan(share).all():
            continue
        used, cluster = np.unique(which, return_inverse=True)
        away = np.nan_to_num((own >= target) - share[:, None])
        place = cluster.ravel() + len(used) * np.arange(weeks)[:, None]
        sums = np.bincount(place.ravel(), away.ravel(), weeks * len(used)).reshape(weeks, -1)
        between = np.sqrt((sums**2).sum(axis=1)) / n
        count = min(n, effective[k]) if np.isfinite(effective[k]) else n
        about = (share * count + 0.5) / (count + 1)
        found[k] = np.maximum(between, np.sqrt(about * (1 - about) / max(count, 1.0)))
    return found


def band(values: Floats) -> Floats:
    """5 %, 50 % and 95 % quantiles (3, ...) over the last axis, of the samples that are numbers."""
    if not np.isnan(values).any() and values.shape[-1]:
        return np.asarray(np.quantile(values, [0.05, 0.5, 0.95], axis=-1))
    missing = np.isnan(values).all(axis=-1)
    if missing.all():
        return np.full((3, *values.shape[:-1]), np.nan)
    found = np.nanquantile(np.where(missing[..., None], 0.0, values), [0.05, 0.5, 0.95], axis=-1)
    return np.where(missing, np.nan, found)

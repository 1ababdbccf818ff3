"""The numbers of a visual predictive check, and of its prediction-corrected form.

Percentiles of the observations over time beside the same percentiles of replicates of the data
(Karlsson & Holford, PAGE 17, abstract 1434, 2008). Prediction correction: Bergstrand, Hooker,
Wallin & Karlsson, AAPS J 13:143, 2011.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from popk.diagnostics.bins import bin_edges, placed
from popk.diagnostics.replicates import Seen, attributes, check_replicates, left_out, replicated
from popk.diagnostics.strata import Stratum, strata_of
from popk.errors import SettingError
from popk.population import check_seed

__all__ = [
    "BAND", "PERCENTILES", "REPLICATES", "Replicates", "corrections", "percentiles", "vpc",
    "vpc_beside",
]  # fmt: skip

type Floats = NDArray[np.float64]
type Bools = NDArray[np.bool_]
type Ints = NDArray[np.int64]

PERCENTILES = (5.0, 50.0, 95.0)
BAND = 0.9  # probability of the bands around simulated percentiles
REPLICATES = 1000  # of the data, usually
_QUANTILES = ((1 - BAND) / 2, 0.5, (1 + BAND) / 2)
_CLOCKS = {"TIME": "time", "TAD": "time after dose"}


def vpc(
    fit: xr.DataTree,
    *,
    clock: str = "TAD",
    bins: int | Sequence[float] = 8,
    stratify: str | None = None,
    prediction_corrected: bool = False,
    replicates: int = REPLICATES,
    seed: int,
) -> xr.Dataset:
    """Numbers of a visual predictive check.

    The data are simulated again and again: new random effects for every patient, parameters from
    the posterior, observations cut at the limits of quantification as the data are. In each bin
    the 5th, 50th and 95th percentile of the observations stand beside those of the replicates.
    An observation below its limit counts as lower than every number: a percentile among such is
    minus infinity (plus infinity above an upper limit). Percentiles are interpolated linearly.

    Parameters
    ----------
    fit
        What `popk.sample` returned.
    clock
        ``"TAD"``, time after the last dose, or ``"TIME"``. Observations before any dose have no
        TAD and are left out, as a note says.
    bins
        How many, with about as many observations in each, or their edges in ascending order, in
        the unit of time; a bin holds what lies from its lower edge up to, not including, its upper
        one (the last includes it). Where there are no more distinct times than bins, each has its
        own.
    stratify
        A covariate (its levels; if there are more than five, thirds of the patients by it, or
        halves where there are fewer than 30), ``"TAD"`` (thirds of the observations by time after
        dose, to see each over ``clock="TIME"``), or ``"trough"``: samples taken when at most a
        tenth of the dosing interval was left, and others. Several outputs are always apart.
    prediction_corrected
        Multiply observations and replicates alike by the median PRED of the bin over their own
        PRED, so that doses and covariates that differ do not blur a bin. PRED is the mean of the
        replicates. What was below its limit stays below all numbers, in both.
    replicates
        How many times the data are simulated.
    seed
        Seed of the random numbers.

    Returns
    -------
    Dataset with ``observed`` (stratum, bin, percentile) and ``simulated`` (stratum, bin,
    percentile, quantile): over replicates the 5 %, 50 % and 95 % quantile of the percentile, a band
    of 90 % probability; ``blq_observed`` (stratum, bin) and ``blq_simulated`` (stratum, bin,
    quantile), the fractions below the limit of those that have one; ``count`` of observations,
    ``subjects``, and ``x``, their median time (stratum, bin); the coordinates ``bin_low`` and
    ``bin_high`` (bin), and ``unit`` (stratum), that of the percentiles. NaN where a bin is empty.
    ``attrs["verdict"]`` says how many percentiles lie outside their bands.

    Raises
    ------
    SettingError
        When the clock, bins, stratum, seed or number of replicates make no sense.
    FitError
        When the tree is no fit.
    """
    check_seed(seed)
    size = check_replicates(replicates)
    again = Replicates(fit, size, seed)
    return vpc_beside(
        again, clock=clock, bins=bins, stratify=stratify, prediction_corrected=prediction_corrected
    )


@dataclass(frozen=True, eq=False)
class Replicates:
    """Replicates of a fit's data, simulated when they are first looked at."""

    fit: xr.DataTree
    asked: int
    seed: int

    @cached_property
    def seen(self) -> Seen:
        """The observations."""
        return Seen.of(self.fit)

    @cached_property
    def values(self) -> Floats:
        """Observations of each replicate (R, n_observations)."""
        return replicated(self.fit, self.seen, self.asked, np.random.default_rng(self.seed))


def vpc_beside(
    again: Replicates,
    *,
    clock: str = "TAD",
    bins: int | Sequence[float] = 8,
    stratify: str | None = None,
    prediction_corrected: bool = False,
) -> xr.Dataset:
    """As `vpc`, of replicates that may serve several times."""
    if clock not in _CLOCKS:
        raise SettingError(
            f"clock is {clock!r}; expected 'TAD' (time after dose) or 'TIME' (since the start)."
        )
    seen = again.seen
    coords = seen.coordinates()
    x = np.asarray(coords[clock][1], dtype=float)
    used = ~np.isnan(x)
    notes = list(seen.notes)
    if not used.all():
        notes.append(f"Observations before any dose are left out: {(~used).sum()}.")
    edges = bin_edges(x[used], bins)
    place = placed(x, edges)
    outside = used & (place < 0)
    if outside.any():
        notes.append(f"Observations outside the bins are left out: {outside.sum()}.")
    since = np.asarray(coords["TAD"][1], dtype=float)
    strata = strata_of(seen, stratify, since, coords["TROUGH"][1])
    simulated = again.values
    notes += left_out(simulated, again.asked)
    table = _table(seen, simulated, strata, place, (edges, x), corrected=prediction_corrected)
    table["x"].attrs |= {"units": seen.dataset.units.time, "long_name": _CLOCKS[clock]}
    attrs: dict[str, Any] = attributes(again.fit, "vpc", notes)
    table.attrs = attrs | {
        "replicates": len(simulated),
        "seed": int(again.seed),
        "clock": clock,
        "stratify": stratify or "",
        "prediction_corrected": int(prediction_corrected),
        "band_probability": BAND,
        "rests_on": "replicates with new random effects, parameters from the posterior",
        "verdict": _said(table),
    }
    return table


def _table(
    seen: Seen,
    simulated: Floats,
    strata: Sequence[Stratum],
    place: Ints,
    axis: tuple[Floats, Floats],
    *,
    corrected: bool,
) -> xr.Dataset:
    edges, x = axis
    shape = (len(strata), len(edges) - 1)
    three = len(PERCENTILES)
    found = {
        "observed": np.full((*shape, three), np.nan),
        "simulated": np.full((*shape, three, 3), np.nan),
        "blq_observed": np.full(shape, np.nan),
        "blq_simulated": np.full((*shape, 3), np.nan),
        "x": np.full(shape, np.nan),
    }
    count, subjects = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
    pred = simulated.mean(axis=0)
    for cell in np.ndindex(shape):
        rows = np.flatnonzero(strata[cell[0]].members & (place == cell[1]))
        count[cell], subjects[cell] = len(rows), len(np.unique(seen.subject[rows]))
        if not len(rows):
            continue
        factor = corrections(pred[rows]) if corrected else np.ones(len(rows))
        seen_cut, drawn_cut = _cut(seen, simulated, rows)
        found["observed"][cell] = percentiles(factor * seen_cut)
        each = percentiles(factor * drawn_cut)
        found["simulated"][cell] = _band(each).T
        found["x"][cell] = np.median(x[rows])
        limited = rows[np.isfinite(seen.lower[rows])]
        if len(limited):
            found["blq_observed"][cell] = np.mean(seen.status[limited] == 1)
            below = (simulated[:, limited] < seen.lower[limited]).mean(axis=1)
            found["blq_simulated"][cell] = _band(below[:, None])[:, 0]
    dims = ("stratum", "bin", "percentile", "quantile")
    blq = ("stratum", "bin", "quantile")
    text = "prediction-corrected DV" if corrected else "DV"
    return xr.Dataset(
        {
            "observed": (dims[:3], found["observed"], {"long_name": f"{text}, observed"}),
            "simulated": (dims, found["simulated"], {"long_name": f"{text}, simulated"}),
            "blq_observed": (blq[:2], found["blq_observed"], _fraction("observed")),
            "blq_simulated": (blq, found["blq_simulated"], _fraction("simulated")),
            "count": (dims[:2], count),
            "subjects": (dims[:2], subjects),
            "x": (dims[:2], found["x"]),
        },
        coords={
            "stratum": [one.label for one in strata],
            "unit": ("stratum", [one.unit for one in strata]),
            "bin": np.arange(shape[1]),
            "bin_low": ("bin", edges[:-1], {"units": seen.dataset.units.time}),
            "bin_high": ("bin", edges[1:], {"units": seen.dataset.units.time}),
            "percentile": list(PERCENTILES),
            "quantile": list(_QUANTILES),
        },
    )


def _fraction(of: str) -> dict[str, str]:
    return {"units": "1", "long_name": f"fraction below the limit of quantification, {of}"}


def _cut(seen: Seen, simulated: Floats, rows: Ints) -> tuple[Floats, Floats]:
    """Observations (n) and replicates (R, n), infinite where beyond a limit."""
    status = seen.status[rows]
    beyond = np.where(status == 1, -np.inf, np.inf)
    observed = np.where(status == 0, seen.dv[rows], beyond)
    drawn = simulated[:, rows]
    drawn = np.where(drawn < seen.lower[rows], -np.inf, drawn)
    return observed, np.where(drawn > seen.upper[rows], np.inf, drawn)


def corrections(pred: Floats) -> Floats:
    """Factor on each observation of a bin: the median of PRED (n) over its own.

    1 where its own PRED is not above zero: nothing can be corrected there.
    """
    usable = pred > 0
    if not usable.any():
        return np.ones(len(pred))
    return np.asarray(np.median(pred[usable]) / np.where(usable, pred, np.median(pred[usable])))


def percentiles(values: Floats) -> Floats:
    """The 5th, 50th and 95th percentile of values (..., n), which may be infinite: (..., 3).

    Between two values the percentile is interpolated linearly; between one and minus infinity it
    is minus infinity, between one and infinity it is infinity.
    """
    ordered = np.sort(values, axis=-1)
    n = ordered.shape[-1]
    found = []
    for percentile in PERCENTILES:
        at = percentile / 100 * (n - 1)
        low = int(np.floor(at))
        a, b = ordered[..., low], ordered[..., min(low + 1, n - 1)]
        if at == low:
            found.append(a)
            continue
        finite = np.isfinite(a) & np.isfinite(b)
        between = np.where(finite, a, 0.0) * (1 - at + low) + np.where(finite, b, 0.0) * (at - low)
        found.append(np.where(finite, between, np.where(np.isneginf(a), a, np.inf)))
    return np.stack(found, axis=-1)


def _band(values: Floats) -> Floats:
    """Quantiles (3, k) over replicates of values (R, k), each a value that occurs."""
    ordered, size = np.sort(values, axis=0), len(values)
    return ordered[[int(np.ceil(size * q)) - 1 for q in _QUANTILES]]


def _outside(observed: Floats, band: Floats) -> Bools:
    """Which observed numbers (...) lie outside their bands (..., 3); False where there is none."""
    return np.asarray((observed < band[..., 0]) | (observed > band[..., 2]))


def _said(table: xr.Dataset) -> str:
    """How many percentiles lie outside their bands, in words."""
    observed, band = table["observed"].values, table["simulated"].values
    out = _outside(observed, band)
    total = int((~np.isnan(observed)).sum())
    expected = f"about {100 * (1 - BAND):.0f} % do where the model holds."
    by_percentile = [
        f"{int(out[..., k].sum())} of the {p:g}th" for k, p in enumerate(PERCENTILES)
    ]  # fmt: skip
    sentence = (
        f"{int(out.sum())} of {total} observed percentiles lie outside the {100 * BAND:.0f} % "
        f"bands of the simulated ones ({', '.join(by_percentile)}); {expected}"
    )
    blq = table["blq_observed"].values
    known = int((~np.isnan(blq)).sum())
    if known:
        beyond = int(_outside(blq, table["blq_simulated"].values).sum())
        sentence += f" Of the fractions below the limit {beyond} of {known} do."
    return sentence

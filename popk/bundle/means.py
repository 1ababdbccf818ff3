"""Means of the population parameters with their Monte Carlo errors, there and here."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

__all__ = ["FALSE_ALARM", "Pair", "limit_for", "means_of", "paired"]

FALSE_ALARM = 0.001
"""Probability that two fits of the same posterior are said not to agree."""
_FEW = 4  # draws of a chain, below which there is no Monte Carlo error
_OF_A_POINT = 1e-3  # by which points that an optimiser finds may differ, relative


def means_of(fit: xr.DataTree) -> list[dict[str, Any]]:
    """Name, unit, mean, SD and MCSE of every population parameter; None where there is none."""
    from arviz_stats import mcse

    found = []
    for name, draws in fit["posterior"].to_dataset().data_vars.items():
        if set(draws.dims) != {"chain", "draw"}:
            continue
        varies = bool(np.ptp(draws.values) > 0)
        error = float(mcse(draws)) if varies and draws.sizes["draw"] >= _FEW else math.nan
        found.append(
            {
                "name": str(name),
                "unit": str(draws.attrs.get("units", "1")),
                "mean": float(draws.mean()),
                "sd": float(draws.std()) if varies else 0.0,
                "mcse": (error if math.isfinite(error) else None) if varies else 0.0,
            }
        )
    return found


@dataclass(frozen=True)
class Pair:
    """A mean in the bundle and in the repetition, and their difference in Monte Carlo SEs."""

    name: str
    unit: str
    there: float
    here: float
    difference: float


def paired(there: Sequence[Mapping[str, Any]], here: Sequence[Mapping[str, Any]]) -> list[Pair]:
    """What the two have in common, in the order of the bundle."""
    own = {str(one["name"]): one for one in here}
    return list(_pairs(there, own))


def _pairs(there: Sequence[Mapping[str, Any]], own: Mapping[str, Any]) -> Iterator[Pair]:
    for one in there:
        other = own[str(one["name"])]
        before, now = float(one["mean"]), float(other["mean"])
        errors = [one["mcse"], other["mcse"]]
        if None in errors or not any(errors):  # a point, or what is fixed
            scale = _OF_A_POINT * max(abs(before), abs(now))
            apart = 0.0 if abs(now - before) <= scale else math.inf
        else:
            apart = (now - before) / math.hypot(*errors)
        yield Pair(str(one["name"]), str(one["unit"]), before, now, apart)


def limit_for(count: int) -> float:
    """The difference that so many means together exceed with probability `FALSE_ALARM`.

    Bonferroni's, for both signs.
    """
    from scipy.stats import norm

    return float(norm.isf(FALSE_ALARM / 2 / max(count, 1)))

"""Does what is said to happen with a probability happen so often: events against probabilities."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.stats import binom

from popk.calibration.bands import PROBABILITY, band_shares

__all__ = ["reliability"]

type Floats = NDArray[np.float64]

_EDGES = np.linspace(0, 1, 11)
_FEWEST = 5  # events below which a bin is joined with its neighbour


def reliability(said: Sequence[Floats], happened: Sequence[Floats]) -> xr.Dataset:
    """Shares of events among those of a similar probability, with binomial bands.

    Probabilities of one replicate's patients err together, so the band of a bin is that of as many
    independent events as its sum has the variance of: of clusters, unless theirs is the smaller.
    Bands are simultaneous: all bins' shares are inside with a probability of 95 % or more.

    Parameters
    ----------
    said, happened
        Of each replicate, the probabilities and whether it was so (1 or 0).

    Returns
    -------
    Over ``bin``: ``low`` and ``high`` ends, ``n``, the mean probability ``said``, the share
    ``happened``, the band ``band_low`` and ``band_high``, ``n_effective`` and ``inside``;
    ``p_value`` of all of them in attrs.
    """
    owner = np.repeat(np.arange(len(said)), [len(one) for one in said])
    stated, events = (np.concatenate([np.zeros(0), *each]) for each in (said, happened))
    bins = _joined(np.clip(np.digitize(stated, _EDGES) - 1, 0, len(_EDGES) - 2))
    rows = []
    level = PROBABILITY ** (1 / max(1, len(bins)))
    for first, last, mine in bins:
        n, expected = int(mine.sum()), float(stated[mine].mean())
        share = float(events[mine].mean())
        effective = _effective(stated[mine], events[mine], owner[mine])
        low, high = band_shares(effective, expected, level)
        rows.append((_EDGES[first], _EDGES[last + 1], n, effective, expected, share, low, high))
    table = np.array(rows, dtype=float).reshape(-1, 8)
    names = ("low", "high", "n", "n_effective", "said", "happened", "band_low", "band_high")
    found = xr.Dataset({name: ("bin", table[:, k]) for k, name in enumerate(names)})
    within = (found["happened"] >= found["band_low"]) & (found["happened"] <= found["band_high"])
    found["inside"] = within.astype(int)
    found["n"] = found["n"].astype(int)
    least = min((_tail(row) for row in rows), default=float("nan"))
    found.attrs["p_value"] = float(1 - (1 - least) ** max(1, len(rows)))
    return found


def _joined(place: NDArray[np.int64]) -> list[tuple[int, int, NDArray[np.bool_]]]:
    """Bins with few events joined with those above them, the last with the one below."""
    found: list[tuple[int, int, NDArray[np.bool_]]] = []
    first, mine = 0, np.zeros(len(place), dtype=bool)
    for k in range(len(_EDGES) - 1):
        mine = mine | (place == k)
        if mine.sum() >= _FEWEST:
            found.append((first, k, mine))
            first, mine = k + 1, np.zeros(len(place), dtype=bool)
    if mine.any() and found:
        low, _, before = found.pop()
        found.append((low, len(_EDGES) - 2, before | mine))
    elif mine.any():
        found.append((first, len(_EDGES) - 2, mine))
    elif found and found[-1][1] < len(_EDGES) - 2:
        low, _, before = found.pop()
        found.append((low, len(_EDGES) - 2, before))
    return found


def _effective(stated: Floats, events: Floats, owner: NDArray[np.int64]) -> float:
    """How many independent events would have a sum of this variance."""
    alone = float((stated * (1 - stated)).sum())
    residual = events - stated
    # About their own mean: that they are off on average is what is asked, not their scatter.
    together = float((np.bincount(owner, residual - residual.mean()) ** 2).sum())
    return len(stated) * min(1.0, alone / together) if together > 0 else float(len(stated))


def _tail(row: tuple[float, ...]) -> float:
    """Two-sided probability of a share at least as far from the expected one."""
    _, _, _, effective, expected, share, _, _ = row
    size = max(1, round(effective))
    count = share * size
    lower = binom.cdf(np.ceil(count - 1e-9), size, expected)
    upper = binom.sf(np.floor(count + 1e-9) - 1, size, expected)
    return float(min(1.0, 2 * min(lower, upper)))

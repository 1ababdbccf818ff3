"""Groups of observations that a check looks at apart."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from popk.diagnostics.bins import bin_edges, placed
from popk.diagnostics.replicates import Seen
from popk.errors import SettingError

__all__ = ["Stratum", "strata_of"]

type Floats = NDArray[np.float64]
type Bools = NDArray[np.bool_]

_LEVELS = 5  # of a covariate: with more it is cut into parts …
_EACH = 10  # … three with so many patients in each, else two
_PARTS = 3  # of the times after dose


class Stratum(NamedTuple):
    """Observations that belong together: which (n_observations), in words, and their unit."""

    label: str
    members: Bools
    unit: str


def strata_of(seen: Seen, stratify: str | None, since: Floats, trough: Bools) -> list[Stratum]:
    """The groups, those of several outputs apart, without empty ones.

    Parameters
    ----------
    seen
        The observations.
    stratify
        A covariate, ``"TAD"``, ``"trough"``, or None. A covariate has its value at the subject's
        first record.
    since
        Time after dose of each observation; NaN before any.
    trough
        Which observations are troughs.

    Raises
    ------
    SettingError
        When there is no such covariate.
    """
    if stratify is None:
        groups = {"all": np.ones(len(seen.dv), dtype=bool)}
    elif stratify == "trough":
        groups = {"trough": trough, "not a trough": ~trough}
    elif stratify == "TAD":
        groups = _by_time(since, seen.dataset.units.time)
    elif stratify in seen.dataset.covariates:
        groups = _by_covariate(seen, stratify)
    else:
        known = ", ".join((*seen.dataset.covariates, "TAD", "trough"))
        raise SettingError(f"stratify is {stratify!r}; these data have {known}.")
    outputs = np.array(seen.outputs)
    names = list(dict.fromkeys(seen.outputs))
    units = _units(seen, names)
    found = []
    for name in names:
        for label, members in groups.items():
            own = members & (outputs == name)
            if own.any():
                both = name if label == "all" else f"{name}, {label}"
                found.append(Stratum(both if len(names) > 1 else label, own, units[name]))
    return found


def _units(seen: Seen, names: list[str]) -> dict[str, str]:
    if seen.units.startswith("{"):
        found: dict[str, str] = json.loads(seen.units)
        return found
    return dict.fromkeys(names, seen.units)


def _by_covariate(seen: Seen, name: str) -> dict[str, Bools]:
    table = seen.dataset.covariate_table()
    per_subject = np.asarray(table[name].values, dtype=float)
    value = per_subject[seen.subject]
    unit = seen.dataset.units.covariate(name) or "1"
    after = "" if unit == "1" else f" {unit}"
    known = per_subject[~np.isnan(per_subject)]
    levels = np.unique(known)
    if len(levels) <= _LEVELS:
        found = {f"{name} {level:g}{after}": value == level for level in levels.tolist()}
    else:
        cuts = np.quantile(known, (1 / 3, 2 / 3) if len(known) >= 3 * _EACH else (0.5,))
        found = _parts(name, value, np.unique(cuts).tolist(), after)
    return found | {f"{name} missing": np.isnan(value)}


def _parts(name: str, value: Floats, cuts: list[float], after: str) -> dict[str, Bools]:
    """What lies up to the first cut, between two, and above the last."""
    first, last = cuts[0], cuts[-1]
    found = {f"{name} ≤ {first:.4g}{after}": value <= first}
    for low, high in pairwise(cuts):
        found[f"{low:.4g} < {name} ≤ {high:.4g}{after}"] = (value > low) & (value <= high)
    return found | {f"{name} > {last:.4g}{after}": value > last}


def _by_time(since: Floats, unit: str) -> dict[str, Bools]:
    """Parts of the times after dose with about as many observations each, equal times together."""
    known = ~np.isnan(since)
    found = {}
    if known.any():
        place = placed(since, bin_edges(since[known], _PARTS))
        for k in np.unique(place[known]).tolist():
            low, high = since[place == k].min(), since[place == k].max()
            span = f"{low:.3g}" if low == high else f"{low:.3g} to {high:.3g}"
            found[f"{span} {unit} after dose"] = place == k
    return found | {"before any dose": ~known}

"""Groups of observations that a check looks at apart."""

from __future__ import annotations

import json
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from popk.diagnostics.replicates import Seen
from popk.errors import SettingError

__all__ = ["Stratum", "strata_of"]

type Floats = NDArray[np.float64]
type Bools = NDArray[np.bool_]

_LEVELS = 5  # of a covariate: with more it is cut in two


class Stratum(NamedTuple):
    """Observations that belong together: which (n_observations), in words, and their unit."""

    label: str
    members: Bools
    unit: str


def strata_of(seen: Seen, stratify: str | None, trough: Bools) -> list[Stratum]:
    """The groups, those of several outputs apart, without empty ones.

    Parameters
    ----------
    seen
        The observations.
    stratify
        A covariate, ``"trough"``, or None. A covariate has its value at the subject's first record.
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
    elif stratify in seen.dataset.covariates:
        groups = _by_covariate(seen, stratify)
    else:
        known = ", ".join((*seen.dataset.covariates, "trough"))
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
        middle = float(np.median(known))
        found = {
            f"{name} ≤ {middle:g}{after}": value <= middle,
            f"{name} > {middle:g}{after}": value > middle,
        }
    return found | {f"{name} missing": np.isnan(value)}

"""Predictive densities can be compared only of the same data, in the same units."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from popk.dataset import Dataset
from popk.population import FitError
from popk.units import Units

__all__ = ["check_comparable", "observed_of"]

_COLUMNS = ("ID", "TIME", "DV", "CENS", "LLOQ", "ULOQ", "DVID")
_BEYOND = {"LLOQ": 1, "ULOQ": -1}  # limits count where CENS says so
_SAME = 1e-9  # relative difference of numbers that are the same
_LIKE = 1e-3  # relative difference of logarithms that were rounded


def observed_of(dataset: Dataset) -> xr.Dataset:
    """What was observed (observation), and all that says what it means."""
    table = dataset.table.isel(record=dataset.is_observation)
    values = {
        name: ("observation", table[name].values) for name in _COLUMNS if name in table.variables
    }
    found = xr.Dataset(values, coords={"observation": np.arange(dataset.n_observations)})
    found.attrs = {
        "units": json.dumps(dataset.units.to_dict()),
        "data_hash": dataset.fingerprint,
    }
    return found


def check_comparable(
    observed: Mapping[str, xr.Dataset], leaves_out_below: Mapping[str, bool]
) -> list[str]:
    """Refuse to compare what was fitted to different data.

    Parameters
    ----------
    observed
        From `observed_of`, by the name of the fit.
    leaves_out_below
        Whether a fit's residual error leaves out what is below the LLOQ (M1), by name.

    Returns
    -------
    Sentences on what differs and may differ.

    Raises
    ------
    FitError
        With a sentence on the first thing that must not differ.
    """
    first, *others = observed
    notes = []
    for other in others:
        pair = f"{first} and {other}"
        _check_units(pair, observed[first], observed[other])
        _check_records(first, other, observed[first], observed[other])
        if observed[first].attrs["data_hash"] != observed[other].attrs["data_hash"]:
            notes.append(
                f"{pair} were fitted to the same observations, but their data differ otherwise "
                "(covariates, doses or columns): make sure that this is meant."
            )
        below = bool((observed[first]["CENS"].values == 1).any())
        if below and leaves_out_below[first] != leaves_out_below[other]:
            which, kept = (first, other) if leaves_out_below[first] else (other, first)
            raise FitError(
                f'{which} leaves out the observations below the LLOQ (blq="M1"), {kept} predicts '
                "them: their predictive densities are of different data and cannot be compared. "
                "Fit both with the same treatment of such observations."
            )
    return notes


def _check_units(pair: str, one: xr.Dataset, two: xr.Dataset) -> None:
    mine, yours = (Units.parse(json.loads(own.attrs["units"])) for own in (one, two))
    for sentence in mine.same_scale(yours):
        if sentence.startswith(("time", "concentration")):
            raise FitError(
                f"{pair} have different units: {sentence} A density is per unit, so their "
                "predictive densities cannot be compared. Read the data in the same units for both "
                "fits."
            )


def _check_records(first: str, second: str, one: xr.Dataset, two: xr.Dataset) -> None:
    pair = f"{first} and {second}"
    ids = [list(dict.fromkeys(own["ID"].values.tolist())) for own in (one, two)]
    if set(ids[0]) != set(ids[1]):
        only = [f"ID {i} only in {first}" for i in ids[0] if i not in ids[1]]
        only += [f"ID {i} only in {second}" for i in ids[1] if i not in ids[0]]
        raise FitError(
            f"{pair} were fitted to different patients ({_some(only)}), so their predictions "
            "cannot be compared. Fit both to the same data."
        )
    sizes = [own.sizes["observation"] for own in (one, two)]
    if sizes[0] != sizes[1] or (one["ID"].values != two["ID"].values).any():
        raise FitError(
            f"{first} was fitted to {sizes[0]} observations, {second} to {sizes[1]}, or their "
            "order differs: each model must predict the same observations. Fit both to the same "
            "data."
        )
    if _is_logarithm(one, two) or _is_logarithm(two, one):
        which = second if _is_logarithm(one, two) else first
        raise FitError(
            f"The DV of {which} looks like the logarithm of the other's: densities of a "
            "concentration and of its logarithm cannot be compared. Read the logarithms with "
            "log_dv=True; the scale of the residual error belongs to the model (LogNormalError)."
        )
    for name in _COLUMNS:
        mine, yours = (_column(own, name) for own in (one, two))
        differs = _differs(mine, yours)
        if differs.any():
            at = int(np.argmax(differs))
            who, time = one["ID"].values[at], float(one["TIME"].values[at])
            raise FitError(
                f"{pair} were fitted to different data: {name} differs in {int(differs.sum())} of "
                f"{sizes[0]} observations, first for ID {who} at TIME {time:g} "
                f"({_shown(mine[at])} and {_shown(yours[at])}). Fit both to the same data."
            )


def _column(observed: xr.Dataset, name: str) -> NDArray[Any]:
    """Values of a column where they count; what an absent column means."""
    size = observed.sizes["observation"]
    if name not in observed:
        return np.full(size, 1.0 if name == "DVID" else np.nan)
    values = np.asarray(observed[name].values)
    if name in _BEYOND:
        return np.where(observed["CENS"].values == _BEYOND[name], values, np.nan)
    return values


def _is_logarithm(one: xr.Dataset, two: xr.Dataset) -> bool:
    """Whether the DV of ``two`` is the logarithm of that of ``one``."""
    x, y = one["DV"].values.astype(float), two["DV"].values.astype(float)
    quantified = (one["CENS"].values == 0) & (two["CENS"].values == 0) & (x > 0)
    if quantified.sum() < 2:
        return False
    logs = np.log(x[quantified])
    return bool(np.allclose(y[quantified], logs, rtol=_LIKE, atol=_LIKE))


def _differs(one: NDArray[Any], two: NDArray[Any]) -> NDArray[np.bool_]:
    if not (np.issubdtype(one.dtype, np.number) and np.issubdtype(two.dtype, np.number)):
        return np.asarray(one != two, dtype=bool)
    same = np.isclose(one.astype(float), two.astype(float), rtol=_SAME, atol=0, equal_nan=True)
    return np.asarray(~same, dtype=bool)


def _shown(value: object) -> str:
    return f"{value:g}" if isinstance(value, float | np.floating) else str(value)


def _some(texts: list[str], most: int = 5) -> str:
    more = f" and {len(texts) - most} more" if len(texts) > most else ""
    return ", ".join(texts[:most]) + more

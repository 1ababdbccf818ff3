"""Averages of forecasts' scores by the number of samples that were used, and what they say."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from popk.comparison.scores import Mean, clustered_mean

__all__ = ["forecast_words", "summarised"]

type Floats = NDArray[np.float64]

_PERCENT = ("mpe", "rrmse", "within_20", "within_30", "coverage_50", "coverage_90")
_MEANS = (*_PERCENT, "log_score", "crps", "log_score_gain")
_FEW = 20  # patients
_FAR = 2.5  # standard errors of a coverage from its nominal value


def summarised(table: xr.Dataset) -> xr.Dataset:
    """Averages (which, samples) over forecasts, each with its standard error.

    ``log_score_gain`` is by how much the log score is higher than that of the same observations
    without a sample. NaN where nothing was to be averaged; ``n`` forecasts of ``n_patients``, of
    which ``n_beyond`` of observations beyond a limit.
    """
    used, ahead = table["samples"].values, table["ahead"].values
    steps = np.arange(int(used.max()) + 1)
    before = _a_priori(table)
    found: dict[str, Floats] = {}
    for w, which in enumerate(("next", "all")):
        for k in steps.tolist():
            rows = (used == k) & ((ahead == 1) | (which == "all"))
            for name, value in _averages(table.isel(forecast=np.flatnonzero(rows)), before).items():
                found.setdefault(name, np.full((2, len(steps)), np.nan))[w, k] = value
    units = {**dict.fromkeys(_PERCENT, "%"), "crps": str(table["crps"].attrs["units"])}
    counts = {"n", "n_patients", "n_beyond"}
    return xr.Dataset(
        {
            name: (
                ("which", "samples"),
                value.astype(np.int64) if name in counts else value,
                {"units": units.get(name.removesuffix("_se"), "1")},
            )
            for name, value in found.items()
        },
        coords={"which": ["next", "all"], "samples": steps},
    )


def _a_priori(table: xr.Dataset) -> dict[int, float]:
    """Log score without a sample, by the row of the observation."""
    first = table.isel(forecast=np.flatnonzero(table["samples"].values == 0))
    rows, scores = first["ROW"].values.tolist(), first["log_score"].values.tolist()
    return dict(zip(rows, scores, strict=True))


def _averages(part: xr.Dataset, before: dict[int, float]) -> dict[str, float]:
    who: NDArray[Any] = part["ID"].values
    error, score = part["error"].values, part["log_score"].values
    missing = np.isnan(error)
    prior = np.array([before.get(row, np.nan) for row in part["ROW"].values.tolist()])
    with np.errstate(invalid="ignore"):
        gain = score - prior
    columns = {
        "mpe": 100 * error,
        "within_20": np.where(missing, np.nan, 100.0 * (np.abs(error) <= 0.2)),
        "within_30": np.where(missing, np.nan, 100.0 * (np.abs(error) <= 0.3)),
        "log_score": score,
        "crps": part["crps"].values,
        "coverage_50": 100 * part["covered_50"].values,
        "coverage_90": 100 * part["covered_90"].values,
        "log_score_gain": gain,
    }
    means = {name: clustered_mean(own, who) for name, own in columns.items()}
    squares = clustered_mean(error**2, who)
    root = float(np.sqrt(squares.value))
    means["rrmse"] = Mean(100 * root, 100 * squares.se / (2 * root), squares.n, squares.n_patients)
    found: dict[str, float] = {
        "n": len(who),
        "n_patients": len(np.unique(who)),
        "n_beyond": int((part["CENS"].values != 0).sum()),
    }
    for name in _MEANS:
        found |= {name: means[name].value, f"{name}_se": means[name].se}
    return found


def forecast_words(scores: xr.Dataset, n_patients: int) -> str:
    """What the scores say of the next observation, in sentences."""
    own = scores.sel(which="next")
    sentences = []
    for k in own["samples"].values.tolist():
        at = {str(name): float(own[name].sel(samples=k)) for name in own.data_vars}
        if k > 2 or at["n_patients"] < 2:
            break
        when = "A priori" if not k else f"After {k} sample{'' if k == 1 else 's'}"
        sentences.append(
            f"{when} the next observation is forecast with rRMSE {at['rrmse']:.0f} % (SE "
            f"{at['rrmse_se']:.0f}) and MPE {at['mpe']:+.0f} % (SE {at['mpe_se']:.0f}); "
            f"{at['within_30']:.0f} % lie within 30 %, 90 % intervals hold "
            f"{at['coverage_90']:.0f} % (SE {at['coverage_90_se']:.0f})."
        )
    sentences += _faults(scores)
    if n_patients < _FEW:
        sentences.append(
            f"With {n_patients} patients the standard errors are themselves uncertain, and likely "
            "to be too small."
        )
    return " ".join(sentences)


def _faults(scores: xr.Dataset) -> list[str]:
    """A sentence on intervals that hold too few or too many."""
    found = []
    own = scores.sel(which="next")
    for nominal in (50, 90):
        mean, se = own[f"coverage_{nominal}"].values, own[f"coverage_{nominal}_se"].values
        with np.errstate(invalid="ignore", divide="ignore"):
            enough = own["n_patients"].values >= _FEW
            off = np.where(enough & (se > 0), (mean - nominal) / se, 0.0)
        for k in np.flatnonzero(np.abs(off) > _FAR).tolist():
            what = "too narrow" if off[k] < 0 else "too wide"
            used = f"{k} sample{'' if k == 1 else 's'} used"
            found.append(
                f"The {nominal} % intervals with {used} are {what}: they hold {mean[k]:.0f} % (SE "
                f"{se[k]:.0f})."
            )
    return found

"""The population parameters of a fit as a table."""

from __future__ import annotations

import json
from collections.abc import Hashable
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from popk.diagnostics import verdict_of
from popk.model import PopModel
from popk.reporting.table import MISSING, Cell, Table, header, number, span
from popk.statistics import LogScale

__all__ = ["parameter_frame", "parameter_table", "side_by_side"]

type Floats = NDArray[np.float64]

_TAILS = (0.025, 0.975)  # the ends of the 95 % equal-tailed interval

_OF_DRAWS = (
    "Posterior medians with equal-tailed 95 % credible intervals: given the model, its priors and "
    "these data, the parameter lies inside with probability 0.95. RSE: posterior SD over the "
    "absolute posterior mean, for parameters whose interval does not reach zero. Beside the omega "
    "of a log-normal effect stands the same variability as a coefficient of variation, "
    "100 · sqrt(exp(ω²) − 1), with its 95 % interval."
)
_OF_A_POINT = (
    "The mode of the marginal posterior, with standard errors of the normal approximation there, "
    "in the parameters' units by the delta method: no posterior SDs, and no intervals that hold "
    "the parameter with a known probability. RSE: standard error over mode. Beside the omega of a "
    "log-normal effect stands the same variability as a coefficient of variation, "
    "100 · sqrt(exp(ω²) − 1)."
)
_SHRINKAGE = (
    " Shrinkage: 1 − SD of the subjects' posterior means over ω; near 100 % the data say little of "
    "single subjects."
)


def parameter_table(fit: xr.DataTree, shrinkage: xr.Dataset | None = None) -> Table:
    """Median, 95 % interval, RSE, prior median and convergence of each population parameter.

    Of a point (`MAP`) the mode and its standard error, instead of median, interval and convergence.
    The SD omega of a log-normal random effect is also given as the
    coefficient of variation sqrt(exp(omega^2) - 1), the field's IIV in CV %.

    Parameters
    ----------
    fit
        A fit of popk, with `posterior`, `prior` and `convergence`; a point with `sample_stats`.
    shrinkage
        From `popk.shrinkage`: adds a column.
    """
    frame = parameter_frame(fit, shrinkage)
    is_point = verdict_of(fit).kind == "point"
    middle = ("Mode", "Standard error") if is_point else ("Median", "95 % interval")
    with_shrinkage = shrinkage is not None
    rows = []
    for own in frame.to_dict("records"):
        around = number(own["standard_error"]) if is_point else span(own["low_95"], own["high_95"])
        texts = [
            header(str(own["parameter"]), str(own["unit"])),
            str(own["meaning"]),
            number(own["mode" if is_point else "median"]),
            "fixed" if own["fixed"] else around,
            _percent(own["rse_percent"]),
            _cv(own, interval=not is_point),
            *([_percent(own["shrinkage_percent"])] if with_shrinkage else []),
            number(own["prior_median"]),
            *(() if is_point else (_rhat(own["rhat"]), *map(number, _ess(own)))),
        ]
        rows.append(tuple(Cell(text) for text in texts))
    return Table(
        title="Population parameters",
        headers=(
            "Parameter",
            "Meaning",
            *middle,
            "RSE",
            "IIV as CV %",
            *(("Shrinkage",) if with_shrinkage else ()),
            "Prior median",
            *(() if is_point else ("R-hat", "ESS bulk", "ESS tail")),
        ),
        rows=tuple(rows),
        note=(_OF_A_POINT if is_point else _OF_DRAWS) + (_SHRINKAGE if with_shrinkage else ""),
        texts=2,
        frame=frame,
    )


def parameter_frame(fit: xr.DataTree, shrinkage: xr.Dataset | None = None) -> pd.DataFrame:
    """The same in full precision, one row per population parameter; percentages as such.

    Empty where a column does not apply: ``cv`` of what is not the SD of a log-normal effect,
    ``rse`` where the 95 % interval reaches zero, intervals of what is fixed.
    """
    posterior, prior = fit["posterior"].to_dataset(), fit["prior"].to_dataset()
    model = PopModel.from_json(fit.attrs["model"])
    is_point = verdict_of(fit).kind == "point"
    lognormal, shrunken = _lognormal(model), _shrunken(model, shrinkage)
    rows = []
    for name in json.loads(posterior.attrs["population"]):
        draws = posterior[name].values.ravel()
        row: dict[str, object] = {
            "parameter": name,
            "unit": posterior[name].attrs.get("units", "1"),
            "meaning": posterior[name].attrs.get("long_name", ""),
        }
        row |= _of_a_point(fit, name) if is_point else _of_draws(draws)
        cv = np.full(3, np.nan)
        if name in lognormal:
            cv = 100 * np.sqrt(np.expm1(np.quantile(draws, (0.5, *_TAILS)) ** 2))
        row |= {"cv_percent": cv[0], "cv_low_95": cv[1], "cv_high_95": cv[2]}
        if shrinkage is not None:
            row["shrinkage_percent"] = 100 * shrunken.get(name, np.nan)
        row["prior_median"] = float(np.median(prior[name].values)) if name in prior else np.nan
        row |= {} if is_point else _convergence(fit, name)
        rows.append(row)
    return pd.DataFrame(rows)


def side_by_side(fits: dict[str, xr.DataTree]) -> Table:
    """The parameters of several fits, one column for each: median and 95 % interval."""
    frames = {name: parameter_frame(fit).set_index("parameter") for name, fit in fits.items()}
    names = list(dict.fromkeys(one for frame in frames.values() for one in frame.index))
    rows = []
    for name in names:
        held = [frame.loc[name] for frame in frames.values() if name in frame.index]
        cells = [Cell(header(name, str(held[0]["unit"]))), Cell(str(held[0]["meaning"]))]
        for frame in frames.values():
            own = frame.loc[name] if name in frame.index else None
            cells.append(Cell(MISSING if own is None else _short(own)))
        rows.append(tuple(cells))
    long = [frame.reset_index().assign(model=name) for name, frame in frames.items()]
    return Table(
        title="Population parameters, side by side",
        headers=("Parameter", "Meaning", *fits),
        rows=tuple(rows),
        note="Posterior medians with 95 % intervals; a dash where a model has no such parameter.",
        texts=2,
        frame=pd.concat(long, ignore_index=True),
    )


def _short(own: pd.Series[Any]) -> str:
    value = number(float(str(own["mode" if "mode" in own else "median"])))
    if own["fixed"]:
        return f"{value} (fixed)"
    if "mode" in own:
        return f"{value} (mode)"
    return f"{value} ({span(float(str(own['low_95'])), float(str(own['high_95'])))})"


def _of_draws(draws: Floats) -> dict[str, object]:
    low, high = np.quantile(draws, _TAILS)
    mean, sd, fixed = float(draws.mean()), float(draws.std()), not np.ptp(draws)
    known = low * high > 0 and not fixed
    return {
        "median": float(np.median(draws)),
        "mean": mean,
        "sd": sd,
        "low_95": float(low),
        "high_95": float(high),
        "rse_percent": 100 * sd / abs(mean) if known else np.nan,
        "fixed": fixed,
    }


def _of_a_point(fit: xr.DataTree, name: str) -> dict[str, object]:
    mode = float(np.median(fit["posterior"].to_dataset()[name].values))
    fixed = not np.ptp(fit["prior"].to_dataset()[name].values)
    error = np.nan if fixed else _error(fit, name)
    return {
        "mode": mode,
        "standard_error": error,
        "rse_percent": 100 * error / abs(mode) if mode else np.nan,
        "fixed": fixed,
    }


def _error(fit: xr.DataTree, name: str) -> float:
    """The standard error at the mode; NaN where there is none of what is estimated."""
    stats = fit["sample_stats"].to_dataset() if "sample_stats" in fit.children else xr.Dataset()
    if "standard_error" not in stats or name not in stats["estimated"].values:
        return float("nan")
    return float(stats["standard_error"].sel(estimated=name))


def _shrunken(model: PopModel, shrinkage: xr.Dataset | None) -> dict[str, float]:
    """Shrinkage of SDs by the name of the omega it belongs to."""
    if shrinkage is None:
        return {}
    levels = [("eta", model.iiv), ("kappa", model.iov)]
    named = {f"{p}_{e}": level.omega_name(e) for p, level in levels for e in level.effects}
    for level in model.levels:
        named |= {f"{level.effects_name}_{e}": level.omega_name(e) for e in level.effects}
    values = zip(shrinkage["quantity"].values.tolist(), shrinkage["sd"].values, strict=True)
    return {named[name]: float(value) for name, value in values if name in named}


def _percent(value: float) -> str:
    return (
        ""
        if np.isnan(value)
        else f"{value:.0f}\u00a0%"
        if abs(value) >= 10
        else f"{value:.1f}\u00a0%"
    )


def _cv(own: dict[Hashable, Any], *, interval: bool) -> str:
    if np.isnan(own["cv_percent"]):
        return ""
    middle = f"{number(own['cv_percent'])} %"
    return f"{middle} ({span(own['cv_low_95'], own['cv_high_95'])})" if interval else middle


def _rhat(value: float) -> str:
    return MISSING if np.isnan(value) else f"{value:.3f}"


def _ess(own: dict[Hashable, Any]) -> tuple[float, float]:
    return own["ess_bulk"], own["ess_tail"]


def _lognormal(model: PopModel) -> set[str]:
    """Names of the SDs of log-normal effects; on other scales and shapes no CV belongs to them."""
    scales, shapes = model.scale_of, dict(model.iiv.shapes)
    found = {model.iiv.omega_name(e) for e in model.iiv.effects if e not in shapes}
    further = (model.iov, *model.levels)
    found |= {level.omega_name(e) for level in further for e in level.effects}
    others = {e for e, scale in scales.items() if not isinstance(scale, LogScale)}
    return found - {level.omega_name(e) for level in (model.iiv, *further) for e in others}


def _convergence(fit: xr.DataTree, name: str) -> dict[str, object]:
    names = ("rhat", "ess_bulk", "ess_tail")
    checks = fit["convergence"].to_dataset()
    if name not in checks["quantity"].values:
        return dict.fromkeys(names, float("nan"))
    own = checks.sel(quantity=name)
    return {which: float(own[which]) for which in names}

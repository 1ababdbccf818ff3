"""The population parameters of a fit as a table."""

from __future__ import annotations

import json

import numpy as np
import xarray as xr

from popk.diagnostics import verdict_of
from popk.model import PopModel
from popk.reporting.table import MISSING, Cell, Table, header, number, span
from popk.statistics import LogScale

__all__ = ["parameter_table"]

_TAILS = (0.05, 0.95)  # the ends of the 90 % equal-tailed interval

_OF_DRAWS = (
    "Posterior medians with equal-tailed 90 % credible intervals: given the model, its priors and "
    "these data, the parameter lies inside with probability 0.9. Beside the omega of a log-normal "
    "effect stands the same variability as a coefficient of variation, 100 · sqrt(exp(ω²) − 1), "
    "with its 90 % interval."
)
_OF_A_POINT = (
    "The mode of the marginal posterior, with standard errors of the normal approximation there, "
    "in the parameters' units by the delta method: no posterior SDs, and no intervals that hold "
    "the parameter with a known probability. Beside the omega of a log-normal effect stands the "
    "same variability as a coefficient of variation, 100 · sqrt(exp(ω²) − 1)."
)


def parameter_table(fit: xr.DataTree) -> Table:
    """Median, 90 % interval, prior median and convergence of each population parameter.

    Of a point (`MAP`) the mode and its standard error, instead of median, interval and convergence.
    The SD omega of a log-normal random effect is also given as the
    coefficient of variation sqrt(exp(omega^2) - 1), the field's IIV in CV %.

    Parameters
    ----------
    fit
        A fit of popk, with `posterior`, `prior` and `convergence`; a point with `sample_stats`.
    """
    is_point = verdict_of(fit).kind == "point"
    middle = ("Mode", "Standard error") if is_point else ("Median", "90 % interval")
    return Table(
        title="Population parameters",
        headers=(
            "Parameter",
            "Meaning",
            *middle,
            "IIV as CV %",
            "Prior median",
            *(() if is_point else ("R-hat", "ESS bulk", "ESS tail")),
        ),
        rows=_rows(fit, is_point=is_point),
        note=_OF_A_POINT if is_point else _OF_DRAWS,
        texts=2,
    )


def _rows(fit: xr.DataTree, *, is_point: bool) -> tuple[tuple[Cell, ...], ...]:
    posterior, prior = fit["posterior"].to_dataset(), fit["prior"].to_dataset()
    lognormal = _lognormal(PopModel.from_json(fit.attrs["model"]))
    rows = []
    for name in json.loads(posterior.attrs["population"]):
        attrs = posterior[name].attrs
        draws = posterior[name].values.ravel()
        if is_point:
            around = _error(fit, name)
        else:
            low, high = np.quantile(draws, _TAILS)
            around = span(low, high) if np.ptp(draws) else "fixed"
        texts = [
            header(name, attrs.get("units")),
            attrs.get("long_name", ""),
            number(float(np.median(draws))),
            around,
            _as_cv(draws, interval=not is_point) if name in lognormal else "",
            number(float(np.median(prior[name].values) if name in prior else float("nan"))),
            *(() if is_point else _convergence(fit, name)),
        ]
        rows.append(tuple(Cell(text) for text in texts))
    return tuple(rows)


def _error(fit: xr.DataTree, name: str) -> str:
    """The standard error at the mode; a dash where there is none of what is estimated."""
    if not np.ptp(fit["prior"].to_dataset()[name].values):
        return "fixed"
    stats = fit["sample_stats"].to_dataset() if "sample_stats" in fit.children else xr.Dataset()
    if "standard_error" not in stats or name not in stats["estimated"].values:
        return MISSING
    return number(float(stats["standard_error"].sel(estimated=name)))


def _lognormal(model: PopModel) -> set[str]:
    """Names of the SDs of log-normal effects; on other scales and shapes no CV belongs to them."""
    scales, shapes = model.scale_of, dict(model.iiv.shapes)
    found = {model.iiv.omega_name(e) for e in model.iiv.effects if e not in shapes}
    further = (model.iov, *model.levels)
    found |= {level.omega_name(e) for level in further for e in level.effects}
    others = {e for e, scale in scales.items() if not isinstance(scale, LogScale)}
    return found - {level.omega_name(e) for level in (model.iiv, *further) for e in others}


def _as_cv(draws: np.ndarray, *, interval: bool) -> str:
    low, middle, high = (
        100 * np.sqrt(np.expm1(q**2)) for q in np.quantile(draws, (_TAILS[0], 0.5, _TAILS[1]))
    )
    return f"{number(middle)} % ({span(low, high)})" if interval else f"{number(middle)} %"


def _convergence(fit: xr.DataTree, name: str) -> tuple[str, str, str]:
    checks = fit["convergence"].to_dataset()
    if name not in checks["quantity"].values:
        return MISSING, MISSING, MISSING
    own = checks.sel(quantity=name)
    return (
        f"{float(own['rhat']):.3f}",
        number(float(own["ess_bulk"])),
        number(float(own["ess_tail"])),
    )

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


def parameter_table(fit: xr.DataTree) -> Table:
    """Median, 90 % interval, prior median and convergence of each population parameter.

    The SD omega of a log-normal random effect is also given as the
    coefficient of variation sqrt(exp(omega^2) - 1), the field's IIV in CV %.

    Parameters
    ----------
    fit
        A fit of popk, with `posterior`, `prior` and `convergence`.
    """
    posterior, prior = fit["posterior"].to_dataset(), fit["prior"].to_dataset()
    names = json.loads(posterior.attrs["population"])
    lognormal = _lognormal(PopModel.from_json(fit.attrs["model"]))
    is_point = verdict_of(fit).kind == "point"

    def unvarying(name: str) -> str:
        estimated = is_point and np.ptp(prior[name].values) > 0
        return MISSING if estimated else "fixed"

    rows = []
    for name in names:
        attrs = posterior[name].attrs
        draws = posterior[name].values.ravel()
        low, high = np.quantile(draws, _TAILS)
        before = np.median(prior[name].values) if name in prior else float("nan")
        texts = [
            header(name, attrs.get("units")),
            attrs.get("long_name", ""),
            number(float(np.median(draws))),
            span(low, high) if np.ptp(draws) else unvarying(name),
            _as_cv(draws, interval=not is_point) if name in lognormal else "",
            number(float(before)),
            *_convergence(fit, name),
        ]
        rows.append(tuple(Cell(text) for text in texts))
    return Table(
        title="Population parameters",
        headers=(
            "Parameter",
            "Meaning",
            "Median",
            "90 % interval",
            "IIV as CV %",
            "Prior median",
            "R-hat",
            "ESS bulk",
            "ESS tail",
        ),
        rows=tuple(rows),
        note=(
            "Posterior medians with equal-tailed 90 % credible intervals: given the model, its "
            "priors and these data, the parameter lies inside with probability 0.9. Beside the "
            "omega of a log-normal effect stands the same variability as a coefficient of "
            "variation, 100 · sqrt(exp(ω²) − 1), with its 90 % interval."
        ),
        texts=2,
    )


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

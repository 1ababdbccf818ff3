"""Residuals of each observation, by the patient's own prediction and by the population's."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from popk.diagnostics.prediction_errors import whitened
from popk.diagnostics.replicates import (
    Seen,
    attributes,
    check_replicates,
    individual_predictions,
    left_out,
    replicated,
    usual_replicates,
)
from popk.observations import observations
from popk.population import check_seed
from popk.statistics import NUMPY

__all__ = ["individual_residuals", "residuals"]

type Floats = NDArray[np.float64]

_DRAWS = 1000  # of the posterior, for what is averaged over it


def residuals(fit: xr.DataTree, *, replicates: int | None = None, seed: int) -> xr.Dataset:
    """Predictions and residuals of each observation.

    Averages are taken over the posterior, of the residual itself: the residual at an average
    parameter is another number, as predictions are not linear in parameters.

    Parameters
    ----------
    fit
        What `popk.sample` returned.
    replicates
        How many times the data are simulated for PRED, PRES and PWRES; if None 1,000, or 10 for
        each observation of a patient where that is more.
    seed
        Seed of the random numbers.

    Returns
    -------
    Dataset (observation) with the coordinates ID, TIME, TAD (time after dose), TROUGH, ROW and
    CENS (1: BLQ), and, in ``units``,

    - ``DV``, observed (the limit where CENS is not 0);
    - ``PRED``, the mean, and ``PRED_SD``, the SD, of DV in a new patient with these doses and
      covariates: over random effects, residual error and the posterior of the parameters;
    - ``IPRED``, the posterior mean of the patient's own true concentration;

    and without a unit, NaN where CENS is not 0,

    - ``IWRES``, posterior mean of the standardised residual from the patient's own prediction (from
      that of the logarithm with a log-normal error; in units of the scale with heavy tails);
    - ``IWRES_LOG``, the same of log DV - log IPRED, with the error's SD relative to IPRED; NaN
      where either is not above zero;
    - ``PRES``, (DV - PRED)/PRED_SD;
    - ``PWRES``, the same decorrelated within the patient (symmetric root of the replicates'
      correlations), which is what CWRES approximate by linearisation (Hooker, Staatz &
      Karlsson, Pharm Res 24:2187, 2007).

    What is below a limit has no residual, so those of its neighbours lean upward; `popk.npde`
    takes it into account.

    Raises
    ------
    SettingError
        When the seed or the number of replicates makes no sense.
    FitError
        When the tree is no fit, or a patient's observations cannot be decorrelated.
    """
    check_seed(seed)
    seen = Seen.of(fit)
    most = int(np.bincount(seen.subject).max())
    size = usual_replicates(most) if replicates is None else replicates
    size = check_replicates(size, most=most)
    ipred, iwres, logarithmic = individual_residuals(fit, seen)
    simulated = replicated(fit, seen, size, np.random.default_rng(seed))
    pred, sd = simulated.mean(axis=0), simulated.std(axis=0, ddof=1)
    known = seen.status == 0
    pwres = np.full(len(seen.dv), np.nan)
    for subject, rows in seen.of_subjects:
        own = rows[known[rows]]
        if len(own):
            pwres[own] = whitened(seen.dv[own], simulated[:, own], subject, symmetric=True)[0]
    columns: dict[str, tuple[Floats, str, str]] = {
        "DV": (seen.dv, seen.units, "observed"),
        "PRED": (pred, seen.units, "population prediction (mean)"),
        "PRED_SD": (sd, seen.units, "SD of the population prediction"),
        "IPRED": (ipred, seen.units, "individual prediction (posterior mean)"),
        "IWRES": (iwres, "1", "individual weighted residual (posterior mean)"),
        "IWRES_LOG": (logarithmic, "1", "individual weighted residual of the logarithm"),
        "PRES": (np.where(known, (seen.dv - pred) / sd, np.nan), "1", "population residual"),
        "PWRES": (pwres, "1", "population weighted residual, decorrelated"),
    }
    attrs: dict[str, Any] = attributes(fit, "residuals", [*seen.notes, *left_out(simulated, size)])
    return xr.Dataset(
        {
            name: ("observation", values, {"units": unit, "long_name": text})
            for name, (values, unit, text) in columns.items()
        },
        coords=seen.coordinates(),
        attrs=attrs | {"replicates": len(simulated), "seed": int(seed)},
    )


def individual_residuals(fit: xr.DataTree, seen: Seen) -> tuple[Floats, Floats, Floats]:
    """IPRED, IWRES and IWRES of the logarithm, (n_observations) each; see `residuals`."""
    ipred, sigma = individual_predictions(fit, seen, _DRAWS)
    model = seen.model
    observed = observations(model, seen.dataset, seen.design.events)
    known = seen.status == 0
    with np.errstate(divide="ignore", invalid="ignore"):
        each = model.error.standardised(observed, ipred, sigma, NUMPY)[0]
        spread = model.error.spread(observed, ipred, sigma, NUMPY)
        each = np.where(spread > 0, each, np.nan)  # no residual from a prediction of zero
        relative = spread / ipred
        logs = (np.log(np.where(seen.dv > 0, seen.dv, np.nan)) - np.log(ipred)) / relative
    logs = np.where((ipred > 0) & np.isfinite(logs), logs, np.nan)
    iwres = np.where(known, each.mean(axis=0), np.nan)
    return ipred.mean(axis=0), iwres, np.where(known, logs.mean(axis=0), np.nan)

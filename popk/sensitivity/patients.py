"""Which patients drive a population parameter."""

from __future__ import annotations

import json
from importlib.metadata import version

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from popk.comparison.smoothing import khat_limit
from popk.diagnostics import verdict_of
from popk.errors import SettingError
from popk.population import check_seed
from popk.sensitivity.evidence import Evidence, evidence_of, weights_of
from popk.statistics import Fixed

__all__ = ["STRONG", "influence", "moved"]

type Floats = NDArray[np.float64]

STRONG = 0.5  # posterior SDs that the mean moves


def influence(
    fit: xr.DataTree,
    parameters: list[str] | None = None,
    *,
    draws: int | None = None,
    seed: int = 1,
) -> xr.Dataset:
    """How each population parameter would change without each patient.

    The draws are weighed by one over the patient's marginal likelihood (random effects integrated
    out), Pareto-smoothed: the posterior without the patient's observations, without a refit
    (Vehtari, Gelman & Gabry, Statistics and Computing 27:1413, 2017; case deletion so: Bradlow &
    Zaslavsky, J Comput Graph Stat 6:314, 1997).

    Parameters
    ----------
    fit
        What `popk.sample` returned, by a method that gives a posterior.
    parameters
        Names of population parameters; all that are estimated if None.
    draws
        So many draws, evenly spaced; at most 4,000 if None.
    seed
        Seed of the integrals.

    Returns
    -------
    Dataset (subject, parameter): ``mean`` and ``sd`` without the patient, ``mean_change``, the
    change of the mean in posterior SDs by LEAVING THE PATIENT OUT, ``sd_ratio``, the SD without
    over the SD with the patient; ``khat`` (subject) and ``reliable`` (0 or 1): above the limit
    the posterior without the patient is another, and only a refit tells how far
    (`popk.loo` does that for predictions); ``full_mean`` and ``full_sd`` (parameter).
    ``attrs["notes"]`` (JSON) names who moves a parameter by more than half an SD.

    Raises
    ------
    SettingError, FitError
        When a parameter is unknown or fixed, or the fit is no posterior.
    """
    check_seed(seed)
    return moved(fit, evidence_of(fit, draws=draws, seed=seed), parameters)


def moved(fit: xr.DataTree, found: Evidence, parameters: list[str] | None = None) -> xr.Dataset:
    """As `influence`, from evidence of the fit that may serve several times."""
    known = {
        one.name: one.unit
        for one in found.population.model.parameters
        if not isinstance(one.prior, Fixed)
    }
    names = list(known) if parameters is None else list(parameters)
    unknown = [name for name in names if name not in known]
    if unknown:
        raise SettingError(
            f"{', '.join(map(str, unknown))} is no estimated population parameter of "
            f"{found.population.model.name}; it has {', '.join(known)}."
        )
    values = np.stack([found.population.values[name] for name in names], axis=1)
    full, spread = values.mean(axis=0), values.std(axis=0)
    weights, khat = zip(*(weights_of(-column) for column in found.log_likelihood.T), strict=True)
    weight = np.stack(weights)
    mean = weight @ values
    sd = np.sqrt(np.maximum(weight @ values**2 - mean**2, 0.0))
    change = (mean - full) / np.where(spread > 0, spread, np.nan)
    reliable = ~(np.array(khat) > khat_limit(len(values)))
    limits = {"units": json.dumps({name: known[name] for name in names})}
    dims = ("subject", "parameter")
    table = xr.Dataset(
        {
            "mean": (dims, mean, limits),
            "sd": (dims, sd, limits),
            "mean_change": (
                dims,
                change,
                {"units": "1", "long_name": "change of the mean without the patient, in SDs"},
            ),
            "sd_ratio": (dims, sd / spread, {"units": "1", "long_name": "SD without over SD with"}),
            "khat": ("subject", np.array(khat)),
            "reliable": ("subject", reliable.astype(int)),
            "full_mean": ("parameter", full, limits),
            "full_sd": ("parameter", spread, limits),
        },
        coords={"subject": list(found.subjects), "parameter": names},
    )
    notes = _notes(table)
    verdict = verdict_of(fit)
    if not verdict.converged:
        notes.insert(0, "The fit has not converged: these numbers may say little.")
    table.attrs = {
        "kind": "popk influence",
        "notes": json.dumps(notes, ensure_ascii=False),
        "converged": int(verdict.converged),
        "seed": found.seed,
        "popk_version": version("popk"),
        **{n: fit.attrs[n] for n in ("model_name", "model_hash", "data_hash", "units")},
    }
    return table


def _notes(table: xr.Dataset) -> list[str]:
    notes = []
    change = table["mean_change"].values
    for k, name in enumerate(table["parameter"].values.tolist()):
        strong = np.flatnonzero(np.abs(change[:, k]) > STRONG)
        strong = strong[np.argsort(-np.abs(change[strong, k]))][:5]
        if len(strong):
            who = ", ".join(
                f"ID {table['subject'].values[i]} ({change[i, k]:+.1f} SD)" for i in strong
            )
            notes.append(f"Without one patient the mean of {name} would move: {who}.")
    poor = table["subject"].values[table["reliable"].values == 0].tolist()
    if poor:
        more = f" and {len(poor) - 8} more" if len(poor) > 8 else ""
        notes.append(
            f"So influential that the change is only roughly known (Pareto k-hat): ID "
            f"{', '.join(poor[:8])}{more}. A fit without the patient tells exactly."
        )
    return notes

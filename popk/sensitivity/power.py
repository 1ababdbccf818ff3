"""Power-scaling sensitivity to the prior and to the likelihood, to the advised intervals.

The prior, or the likelihood, is raised to a power near one; the draws are weighed accordingly,
Pareto-smoothed (Kallioinen, Paananen, Bürkner & Vehtari, Statistics and Computing 34:57, 2024).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import numpy as np
import xarray as xr
from arviz_stats import psense
from numpy.typing import NDArray

from popk.comparison.smoothing import khat_limit
from popk.diagnostics import verdict_of
from popk.errors import SettingError
from popk.individual.decision import longest_interval
from popk.population import FitError, check_seed
from popk.sensitivity.evidence import Evidence, evidence_of, weights_of
from popk.statistics import Fixed

__all__ = ["POWERS", "SENSITIVE", "power_scaling", "scaled"]

type Floats = NDArray[np.float64]

POWERS = (0.8, 1.25)
_COMPONENTS = ("prior", "likelihood")
SENSITIVE = 0.05  # Kallioinen et al.: above it, worth a look
_LISTED = 8


def power_scaling(
    fit: xr.DataTree,
    advice: xr.DataTree | None = None,
    *,
    powers: Sequence[float] = POWERS,
    draws: int | None = None,
    seed: int = 1,
) -> xr.DataTree:
    """How the posterior, and the advice that rests on it, hang on the prior and the likelihood.

    The prior is that of the population parameters; the distribution of the random effects belongs
    to the model. The likelihood is the cohort's, random effects integrated out. A patient's own
    data count in full in its advice: what is scaled is what the population is known by.

    Parameters
    ----------
    fit
        What `popk.sample` returned, by a method that gives a posterior.
    advice
        From `popk.individualise` or `popk.decide` with this fit; None for the parameters alone.
    powers
        Powers that prior and likelihood are raised to, for the advice.
    draws
        So many draws, evenly spaced; at most 4,000 if None.
    seed
        Seed of the integrals.

    Returns
    -------
    DataTree with the group ``parameters`` (parameter, component: prior or likelihood):
    ``sensitivity``, and ``diagnosis`` (parameter) in words. With an advice also ``intervals``
    (component, power, subject, week; power 1 is the advice as it stands): ``probability`` of
    holding the target, ``longest`` (component, power, subject) in weeks; ``khat`` and ``reliable``
    (component, power) of the weights. ``attrs["notes"]`` (JSON) says what it comes to.

    Raises
    ------
    SettingError
        When a power is not above zero.
    FitError
        When the fit is no posterior, or the advice rests on another fit.
    """
    check_seed(seed)
    asked = _check_powers(powers)
    if advice is not None:
        _check_same(fit, advice)
    return scaled(fit, evidence_of(fit, draws=draws, seed=seed), advice, powers=asked.tolist())


def scaled(
    fit: xr.DataTree,
    found: Evidence,
    advice: xr.DataTree | None = None,
    *,
    powers: Sequence[float] = POWERS,
) -> xr.DataTree:
    """As `power_scaling`, from evidence of the fit that may serve several times."""
    if advice is not None:
        _check_same(fit, advice)
    parameters = _parameters(found)
    groups, notes = {"parameters": parameters}, _of_parameters(parameters)
    if advice is not None:
        groups["intervals"] = _intervals(found, advice, _check_powers(powers))
        notes += _of_intervals(groups["intervals"])
    tree = xr.DataTree.from_dict(groups)
    verdict = verdict_of(fit)
    if not verdict.converged:
        notes.insert(0, "The fit has not converged: these numbers may say little.")
    tree.attrs = {
        "kind": "popk power scaling",
        "notes": json.dumps(notes, ensure_ascii=False),
        "converged": int(verdict.converged),
        "seed": found.seed,
        "popk_version": version("popk"),
        "research_use": "Computed by popk, which is research software.",
        **{n: fit.attrs[n] for n in ("model_name", "model_hash", "data_hash", "units")},
    }
    if advice is not None:
        about = ("target", "target_units", "probability", "statement")
        tree.attrs |= {name: advice.attrs[name] for name in about}
    return tree


def _check_powers(powers: Sequence[float]) -> Floats:
    """The powers and 1, in ascending order."""
    asked = np.unique([*np.asarray(list(powers), dtype=float), 1.0])
    if not (np.isfinite(asked).all() and asked[0] > 0):
        raise SettingError(f"powers are {list(powers)}; each must be above zero, as 0.8 and 1.25.")
    return asked


def _check_same(fit: xr.DataTree, advice: xr.DataTree) -> None:
    if advice.attrs.get("kind") != "popk advice":
        raise FitError("The advice is not one of popk; give what popk.individualise returned.")
    if "posterior" not in advice.children or "draw" not in advice["posterior"].to_dataset():
        raise FitError(
            "The advice does not say which draws of the fit it rests on, as it was made by an "
            "older popk. Make it anew with popk.individualise."
        )
    for name in ("model_hash", "data_hash"):
        if advice.attrs[f"fit_{name}"] != fit.attrs[name]:
            raise FitError(
                "The advice rests on another fit than the one given (another model or other data). "
                "Give the fit that it was made with."
            )


def _parameters(found: Evidence) -> xr.Dataset:
    """Sensitivities by ArviZ, from the log prior and log likelihood of each draw."""
    shape = (found.chains, -1)
    names = [
        one.name for one in found.population.model.parameters if not isinstance(one.prior, Fixed)
    ]

    def group(columns: dict[str, Floats]) -> xr.Dataset:
        size = len(found.chosen) // found.chains
        coords = {"chain": np.arange(found.chains), "draw": np.arange(size)}
        arrays: dict[str, Any] = {
            name: (("chain", "draw"), value.reshape(shape)) for name, value in columns.items()
        }
        return xr.Dataset(arrays, coords=coords)

    data = xr.DataTree.from_dict(
        {
            "posterior": group({name: found.population.values[name] for name in names}),
            "log_prior": group({"prior": found.log_prior}),
            "log_likelihood": group({"patients": found.log_likelihood.sum(axis=1)}),
        }
    )
    columns = [psense(data, group=one) for one in _COMPONENTS]
    values = np.array([[float(column[name]) for column in columns] for name in names])
    words = [_diagnosis(*row) for row in values.tolist()]
    return xr.Dataset(
        {
            "sensitivity": (
                ("parameter", "component"),
                values,
                {"units": "1", "long_name": "power-scaling sensitivity"},
            ),
            "diagnosis": ("parameter", words),
        },
        coords={"parameter": names, "component": list(_COMPONENTS)},
    )


def _diagnosis(prior: float, likelihood: float) -> str:
    if prior < SENSITIVE:
        return "the data decide" if likelihood >= SENSITIVE else "hangs on neither"
    if likelihood < SENSITIVE:
        return "the prior decides"
    return "prior and data both matter, and may disagree"


def _intervals(found: Evidence, advice: xr.DataTree, powers: Floats) -> xr.Dataset:
    """The advice with its samples weighed."""
    posterior = advice["posterior"].to_dataset()
    troughs = posterior["troughs"].transpose("subject", "sample", "week").values
    holds = (troughs >= float(advice.attrs["target"])).astype(float)
    nothing = np.isnan(troughs).all(axis=(1, 2))
    place = np.full(int(found.chosen.max()) + 1, -1)
    place[found.chosen] = np.arange(len(found.chosen))
    draw = posterior["draw"].transpose("subject", "sample").values
    where = np.where(draw < len(place), place[np.minimum(draw, len(place) - 1)], -1)
    weeks = posterior["week"].values.astype(float)
    logs = (found.log_prior, found.log_likelihood.sum(axis=1))
    shape = (len(_COMPONENTS), len(powers))
    probability = np.empty((*shape, *holds.shape[::2]))
    khat = np.full(shape, np.nan)
    for i, log_density in enumerate(logs):
        for j, power in enumerate(powers.tolist()):
            weight, khat[i, j] = weights_of((power - 1) * log_density)
            own = np.where(where >= 0, weight[where], 0.0)
            own /= own.sum(axis=1, keepdims=True)
            probability[i, j] = np.einsum("ns,nsw->nw", own, holds)
    probability[:, :, nothing] = np.nan
    longest = longest_interval(weeks, probability, float(advice.attrs["probability"]))
    dims = ("component", "power")
    reliable = ~(khat > khat_limit(len(found.chosen)))
    return xr.Dataset(
        {
            "probability": ((*dims, "subject", "week"), probability, {"units": "1"}),
            "longest": ((*dims, "subject"), longest, {"units": "wk"}),
            "khat": (dims, khat),
            "reliable": (dims, reliable.astype(int)),
        },
        coords={
            "component": list(_COMPONENTS),
            "power": powers,
            "subject": posterior["subject"].values,
            "week": ("week", weeks, {"units": "wk"}),
        },
    )


def _of_parameters(table: xr.Dataset) -> list[str]:
    notes = []
    for start, words in (
        ("the prior decides", "The prior decides, rather than the data, on"),
        ("prior and", "Prior and data both matter, and may disagree, for"),
    ):
        own = [
            str(name)
            for name, said in zip(table["parameter"].values, table["diagnosis"].values, strict=True)
            if str(said).startswith(start)
        ]
        if own:
            notes.append(f"{words} {', '.join(own)}.")
    return notes


def _of_intervals(table: xr.Dataset) -> list[str]:
    """What happens to the intervals, for each power."""
    notes = []
    now = table["longest"].sel(power=1.0).isel(component=0).values
    for component in table["component"].values.tolist():
        for power in table["power"].values.tolist():
            if power == 1.0:
                continue
            own = table.sel(component=component, power=power)
            then = own["longest"].values
            same = (then == now) | (np.isnan(then) & np.isnan(now))
            moved = table["subject"].values[~same].tolist()
            largest = float(
                np.nanmax(
                    np.abs(
                        own["probability"].values
                        - table["probability"].sel(component=component, power=1.0).values
                    ),
                    initial=0.0,
                )
            )
            who = ""
            if moved:
                more = f" and {len(moved) - _LISTED} more" if len(moved) > _LISTED else ""
                who = f" (ID {', '.join(map(str, moved[:_LISTED]))}{more})"
            notes.append(
                f"With the {component} raised to the power {power:g}, the longest interval of "
                f"{len(moved)} of {len(now)} patients changes{who}; no probability moves by more "
                f"than {largest:.3f}."
            )
            if not int(own["reliable"]):
                notes[-1] += (
                    f" The weights are too uneven to trust this (Pareto k-hat "
                    f"{float(own['khat']):.2f})."
                )
    return notes

"""The advice of all patients as one tree."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from popk.dataset import Dataset
from popk.individual.judged import Judgement, judged
from popk.individual.prepared import Prepared

__all__ = ["assembled"]

type Floats = NDArray[np.float64]

_ABOUT = ("source", "n_observations", "n_blq", "last_dose", "last_dose_time", "usual_interval",
          "khat", "ess", "reliable", "note", "unmeasured")  # fmt: skip
_TROUGHS = ("troughs", "troughs_sustained")


def assembled(
    prepared: Prepared,
    dataset: Dataset,
    found: list[dict[str, Any]],
    request: Mapping[str, Any],
) -> xr.DataTree:
    """The tree that `popk.individualise` returns, from what was found for each patient.

    ``request`` has ``weeks``, and what is to be said of the request: ``target``, ``probability``,
    ``seed``, ``seconds``, ``statement``, ``curve`` and ``sustained``.
    """
    model, units = prepared.model, prepared.model.units
    subjects, weeks = {"subject": list(dataset.subjects)}, np.asarray(request["weeks"], float)
    by_parameter = json.dumps({p.name: units.of(p.dimension) for p in model.structure.parameters})
    level = {"units": units.concentration}
    arrays = {name: _stacked(found, name) for name in ("parameters", *_TROUGHS, "draw")}
    posterior = xr.Dataset(
        {
            "parameters": (
                ("subject", "sample", "parameter"), arrays["parameters"], {"units": by_parameter},
            ),
            **{name: (("subject", "sample", "week"), arrays[name], level) for name in _TROUGHS},
            "draw": (("subject", "sample"), arrays["draw"]),
        },
        coords={
            **subjects, "week": request["weeks"], "parameter": list(model.structure.names),
        },
        attrs={"parameter_units": by_parameter},
    )  # fmt: skip
    by = Judgement(weeks, request["target"], request["probability"], units.concentration)
    effective = np.array([one["ess"] for one in found])
    troughs = {name: np.swapaxes(arrays[name], 1, 2) for name in _TROUGHS}
    variables: dict[str, Any] = dict(judged(troughs, arrays["draw"], by, effective))
    attached: dict[str, Any] = {
        name: ("subject", _stacked(found, name), _units_about(prepared, dataset, name))
        for name in (*_ABOUT, *dataset.covariates)
    }
    if model.classes:
        of = {} if model.category is None else {"of": model.category.covariate}
        values = _stacked(found, "class_probability")
        variables["class_probability"] = ("subject", "class"), values, {"units": "1", **of}
        attached["class"] = list(model.classes)
    coords = {**subjects, "week": ("week", weeks, {"units": "wk"}), **attached}
    tree = xr.DataTree.from_dict(
        {
            "decision": xr.Dataset(variables, coords=coords),
            "posterior": posterior,
            "curve": _curve(prepared, found, subjects),
            "data": dataset.to_xarray(),
        }
    )
    tree.attrs = {
        "kind": "popk advice",
        "popk_version": _version(),
        "target": request["target"],
        "target_units": units.concentration,
        "probability": request["probability"],
        **prepared.attrs,
        "model_name": model.name,
        "units": json.dumps(units.to_dict()),
        "seed": request["seed"],
        "seconds": request["seconds"],
        "time_per_week": units.time_in("wk"),
        "curve": int(request["curve"]),
        "sustained": int(request["sustained"]),
        "statement": request["statement"],
    }
    return tree


@cache
def _version() -> str:
    return version("popk")


def _stacked(found: list[dict[str, Any]], name: str) -> NDArray[Any]:
    return np.stack([np.asarray(one[name]) for one in found])


def _units_about(prepared: Prepared, dataset: Dataset, name: str) -> dict[str, str]:
    units = prepared.model.units
    if name in dataset.covariates:
        return {"units": units.covariate(name) or "1"}
    known = {"usual_interval": "wk", "last_dose": units.amount, "last_dose_time": units.time}
    return {"units": known[name]} if name in known else {}


def _curve(
    prepared: Prepared, found: list[dict[str, Any]], subjects: dict[str, list[str]]
) -> xr.Dataset:
    """The curves, NaN after a patient's own points."""
    units = prepared.model.units
    points = max(len(one["time"]) for one in found)
    variables = {}
    for name in ("time", "low", "median", "high"):
        values = np.full((len(found), points), np.nan)
        for row, one in zip(values, found, strict=True):
            row[: len(one[name])] = one[name]
        unit = units.time if name == "time" else units.concentration
        variables[name] = (("subject", "point"), values, {"units": unit})
    return xr.Dataset(variables, coords=subjects)

"""A small model whose patients are known by brute force, and fits made without sampling."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray
from scipy.special import log_ndtr

from popk.dataset import Dataset, read_dataset
from popk.design import design_of
from popk.diagnostics import Verdict
from popk.model import PopModel
from popk.population import PopulationDraws
from popk.statistics import IIV, Fixed, LogNormal, Power, Prior, Proportional
from popk.structure import OneCompartment

__all__ = [
    "AMOUNT",
    "UNITS",
    "Grid",
    "after_boluses",
    "effects_grid",
    "exact_log_joint",
    "known_fit",
    "one_compartment",
    "records_of",
]

type Floats = NDArray[np.float64]
type Observed = Sequence[tuple[float, float | None]]

UNITS = {"time": "d", "amount": "mg", "concentration": "mg/L", "WT": "kg"}
AMOUNT = 300.0  # mg
LLOQ = 1.0  # mg/L


class Grid(NamedTuple):
    """Standardised random effects (n, n, 2), and the log of the area of each point."""

    z: Floats
    log_area: float


def one_compartment(*, cv: float = 0.05, covariates: bool = False) -> PopModel:
    """Random effects on CL and V; population values known within about ``cv``, exactly with 0."""

    def about(value: float) -> Prior:
        return LogNormal(value, cv=cv) if cv else Fixed(value)

    power = (Power("CL", "WT", reference=70, exponent=about(0.75)),)
    return PopModel(
        OneCompartment(),
        typical={"CL": about(0.2), "V": about(5.0)},
        iiv=IIV({"CL": about(0.3), "V": about(0.2)}),
        covariates=power if covariates else (),
        error=Proportional(about(0.2)),
        units=UNITS,
        name="one compartment",
    )


def records_of(
    patients: Mapping[str, Observed],
    *,
    doses: Sequence[float] = (0.0,),
    lloq: float | None = LLOQ,
    weight: Sequence[float] | None = None,
    over: float = 0.0,
) -> Dataset:
    """300 mg at once, or ``over`` days, at each time; observations, None those below ``lloq``."""
    rows: list[dict[str, object]] = []
    for k, (subject, observed) in enumerate(patients.items()):
        own: list[dict[str, Any]] = [
            {"TIME": t, "EVID": 1, "AMT": AMOUNT, "RATE": AMOUNT / over if over else 0.0, "CENS": 0}
            for t in doses
        ]
        own += [
            {"TIME": t, "EVID": 0, "DV": lloq if dv is None else dv, "CENS": int(dv is None)}
            for t, dv in observed
        ]
        # A sample at the time of a dose is a trough: it stands before the dose.
        own.sort(key=lambda row: (row["TIME"], row["EVID"]))
        rows += [{"ID": subject, "WT": 70.0 if weight is None else weight[k], **row} for row in own]
    frame = pd.DataFrame(rows)
    if lloq is not None:
        frame["LLOQ"] = lloq
    return read_dataset(frame, units=UNITS)


def after_boluses(times: Floats, cl: Floats, v: Floats, doses: Sequence[float]) -> Floats:
    """Concentrations just before ``times`` (...), each dose of 300 mg by itself."""
    times, cl, v = np.broadcast_arrays(np.asarray(times, dtype=float), cl, v)
    total = np.zeros(times.shape)
    for given in doses:
        since = times - given
        with np.errstate(under="ignore"):
            own = AMOUNT / v * np.exp(-cl / v * np.maximum(since, 0.0))
        total += np.where(since > 0, own, 0.0)
    return total


def effects_grid(reach: float, points: int) -> Grid:
    """A grid over two standardised random effects."""
    at = np.linspace(-reach, reach, points)
    z = np.stack(np.meshgrid(at, at, indexing="ij"), axis=-1)
    return Grid(z, 2.0 * float(np.log(at[1] - at[0])))


def exact_log_joint(
    values: Mapping[str, float], observed: Observed, z: Floats, doses: Sequence[float] = (0.0,)
) -> Floats:
    """Log of p(y | z) p(z) of `one_compartment` (...), by hand; ``z`` (..., 2)."""
    cl = values["CL"] * np.exp(values["omega_CL"] * z[..., 0])
    v = values["V"] * np.exp(values["omega_V"] * z[..., 1])
    total = -0.5 * (z**2).sum(axis=-1) - np.log(2 * np.pi)
    for time, dv in observed:
        f = np.maximum(after_boluses(np.asarray(time), cl, v, doses), 1e-100)
        sd = values["sigma_prop"] * f
        total = total + (
            log_ndtr((LLOQ - f) / sd)
            if dv is None
            else -0.5 * ((dv - f) / sd) ** 2 - np.log(sd * np.sqrt(2 * np.pi))
        )
    return np.asarray(total)


def known_fit(model: PopModel, data: Dataset, *, draws: int, seed: int) -> xr.DataTree:
    """A fit whose posterior is drawn from the priors: what advice reads from one, no sampling."""
    rng = np.random.default_rng(seed)
    population = PopulationDraws.from_prior(model, draws, rng)
    design = design_of(model, data)
    eta = population.new_effects(data.n_subjects, rng)
    theta = population.row_parameters(design, eta)[:, design.first]
    variables = {
        p.name: (("chain", "draw"), population.values[p.name][None], {"units": p.unit})
        for p in model.parameters
    } | {
        "eta": (("chain", "draw", "subject", "effect"), eta[None]),
        "parameters": (("chain", "draw", "subject", "parameter"), theta[None]),
    }
    coords = {
        "chain": [0],
        "draw": np.arange(draws),
        "subject": list(data.subjects),
        "effect": list(model.iiv.effects),
        "parameter": list(model.structure.names),
    }
    posterior = xr.Dataset(variables, coords=coords)
    tree = xr.DataTree.from_dict({"posterior": posterior, "data": data.to_xarray()})
    verdict = Verdict(True, (), 1.0, "CL", draws, "CL", draws, "CL", 0, None, 1, draws)
    tree.attrs = {
        "kind": "popk fit",
        "popk_version": version("popk"),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "model": model.to_json(),
        "model_name": model.name,
        "model_hash": model.hash,
        "data_hash": data.fingerprint,
        "subject_hashes": json.dumps(dict(data.subject_fingerprints)),
        "seed": seed,
        "units": json.dumps(data.units.to_dict()),
        "verdict": verdict.to_json(),
    }
    return tree

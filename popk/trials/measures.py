"""What a trial found: measures of each patient under each policy, and their averages."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from popk.trials.arm import Arm, Followed
from popk.trials.people import People

__all__ = ["MEASURES", "tree_of", "trial_frame", "trial_records"]

type Floats = NDArray[np.float64]

# Name, unit, what it is.
MEASURES = (
    ("attained", "%", "troughs at or above the target"),
    ("always", "%", "patients whose every trough is at or above the target"),
    ("under", "%", "time under the target"),
    ("infusions", "1/yr", "infusions per year"),
    ("saved", "%", "infusions saved against the first policy"),
    ("interval", "wk", "mean interval"),
    ("last", "wk", "interval at the end"),
    ("regret", "1/yr", "loss above that of knowing the true parameters"),
    ("error", "%", "trough above the target, relative to it"),
)  # fmt: skip
_WEEKS_PER_YEAR = 365.25 / 7
_Z = 1.959964


def tree_of(
    names: Sequence[str],
    found: Sequence[Followed],
    people: People,
    arm: Arm,
    start: int,
    week_under: float,
) -> xr.DataTree:
    """The trial's results; the last policy knows the truth."""
    visits = _visits(names, found, arm, start, people.model.units.concentration)
    patients = _patients(visits, found, arm, week_under)
    units, model = people.model.units, people.model
    for name, values in people.covariates.items():
        attrs = {"units": units.covariate(name) or "1"}
        for part in (visits, patients):
            part.coords[name] = ("patient", values, attrs)
    by_parameter = {p.name: units.of(p.dimension) for p in model.structure.parameters}
    truth = xr.Dataset(
        {"parameters": (("patient", "parameter"), people.parameters[:, 0])},
        coords={"patient": patients["patient"].values, "parameter": list(model.structure.names)},
        attrs={"parameter_units": json.dumps(by_parameter)},
    )
    tree = xr.DataTree.from_dict(
        {"summary": _summary(patients), "patients": patients, "visits": visits, "truth": truth}
    )
    tree.attrs = {
        "target": arm.target,
        "time_per_week": arm.per_week,
        "target_units": units.concentration,
        "week_under": float(week_under),
        "lloq": float("nan") if arm.lloq is None else float(arm.lloq),
    }
    return tree


def _visits(
    names: Sequence[str], found: Sequence[Followed], arm: Arm, start: int, unit: str
) -> xr.Dataset:
    """(policy, patient, visit) of all visits, the run-in's included."""
    last = max(int(np.flatnonzero(np.isfinite(one.time).any(axis=0))[-1]) for one in found) + 1

    def of(name: str) -> Floats:
        return np.stack([np.asarray(getattr(one, name)[:, :last], dtype=float) for one in found])

    time = of("time")
    week = (time - time[:, :, start, None]) / arm.per_week
    beyond = np.isnan(time)
    dims = ("policy", "patient", "visit")
    below = np.where(np.isnan(of("dv")), np.nan, of("status"))
    columns = {
        "week": (week, "wk", "weeks since the first decision"),
        "planned": (of("planned") / arm.per_week, "wk", "planned interval that ends here"),
        "trough": (of("trough"), unit, "true trough"),
        "measured": (of("dv"), unit, "measured trough; the limit where it is below it"),
        "below": (below, "1", "1 where it is below the limit of quantification"),
        "probability": (of("probability"), "1", "of the interval that begins here to hold"),
        "ess": (of("ess"), "1", "effective number of particles of the decision made here"),
    }
    return xr.Dataset(
        {
            name: (dims, np.where(beyond, np.nan, values), {"units": units, "long_name": words})
            for name, (values, units, words) in columns.items()
        },
        coords={
            "policy": list(names),
            "patient": np.arange(1, time.shape[1] + 1),
            "visit": np.arange(last) - start,
        },
        attrs={"first_decision": 0},
    )


def _patients(
    visits: xr.Dataset, found: Sequence[Followed], arm: Arm, week_under: float
) -> xr.Dataset:
    """Measures of each patient (policy, patient)."""
    own = visits.sel(visit=slice(1, None))
    end = arm.end / arm.per_week
    week, planned = own["week"].values, own["planned"].values
    trough = own["trough"].values
    before = visits["week"].sel(visit=slice(0, None)).values[..., :-1]
    begun = before < end
    inside = np.isfinite(week) & (week <= end)
    # The interval that the end cuts counts for the part that lies before it.
    length = week - before
    part = np.where(begun & np.isfinite(length), np.clip((end - before) / length, 0, 1), 0.0)
    count = part.sum(axis=-1)
    infusions = count / end * _WEEKS_PER_YEAR
    held = inside & (trough >= arm.target)
    troughs = inside.sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        attained = 100 * held.sum(axis=-1) / troughs
        error = np.where(inside, 100 * (trough / arm.target - 1), 0.0).sum(axis=-1) / troughs
    under = 100 * np.stack([one.under for one in found])
    loss = infusions + week_under * under / 100 * _WEEKS_PER_YEAR
    final = np.where(begun & np.isfinite(length), np.arange(week.shape[-1]), -1).max(axis=-1)
    values = {
        "attained": attained,
        "always": np.where(troughs > 0, 100.0 * (held.sum(axis=-1) == troughs), np.nan),
        "under": under,
        "infusions": infusions,
        "saved": 100 * (1 - infusions / infusions[:1]),
        "interval": end / count,
        "last": np.take_along_axis(planned, final[..., None], axis=-1)[..., 0],
        "regret": loss - loss[-1:],
        "error": error,
    }
    words = {name: {"units": unit, "long_name": what} for name, unit, what in MEASURES}
    return xr.Dataset(
        {
            **{name: (("policy", "patient"), values[name], words[name]) for name in words},
            "troughs": (("policy", "patient"), troughs, {"units": "1"}),
        },
        coords={"policy": visits["policy"].values, "patient": visits["patient"].values},
    )


def _summary(patients: xr.Dataset) -> xr.Dataset:
    """Averages over patients with their Monte Carlo errors, and the spread over patients."""
    names = [name for name, _, _ in MEASURES]
    policies = patients["policy"].values
    shape = (len(policies), len(names))
    columns = {
        name: np.full(shape, np.nan)
        for name in ("estimate", "se", "low", "high", "p5", "median", "p95")
    }
    troughs, infusions = patients["troughs"].values, patients["infusions"].values
    for k, name in enumerate(names):
        values = patients[name].values
        for p in range(len(policies)):
            if name in ("attained", "error"):  # of all troughs, not of patients
                middle, se = _ratio(values[p] * troughs[p], troughs[p])
            elif name == "saved":
                ratio, se = _ratio(infusions[p], infusions[0])
                middle, se = 100 * (1 - ratio), 100 * se
            else:
                middle, se = _mean(values[p])
            columns["estimate"][p, k], columns["se"][p, k] = middle, se
            known = values[p][np.isfinite(values[p])]
            if len(known):
                low, median, high = np.quantile(known, [0.05, 0.5, 0.95])
                columns["p5"][p, k], columns["median"][p, k] = low, median
                columns["p95"][p, k] = high
    columns["low"] = columns["estimate"] - _Z * columns["se"]
    columns["high"] = columns["estimate"] + _Z * columns["se"]
    for k, name in enumerate(names):
        if name in ("attained", "always", "under"):
            for part in ("low", "high"):
                columns[part][:, k] = columns[part][:, k].clip(0, 100)
    return xr.Dataset(
        {name: (("policy", "measure"), values) for name, values in columns.items()},
        coords={
            "policy": policies,
            "measure": names,
            "unit": ("measure", [unit for _, unit, _ in MEASURES]),
            "meaning": ("measure", [what for _, _, what in MEASURES]),
        },
    )


def _mean(values: Floats) -> tuple[float, float]:
    """Mean of the patients' values that are numbers, and its Monte Carlo error."""
    known = values[np.isfinite(values)]
    if len(known) < 2:
        return float("nan"), float("nan")
    return float(known.mean()), float(known.std(ddof=1) / np.sqrt(len(known)))


def _ratio(above: Floats, below: Floats) -> tuple[float, float]:
    """Ratio of two sums over patients, and its Monte Carlo error (delta method)."""
    known = np.isfinite(above) & np.isfinite(below)
    above, below = above[known], below[known]
    if len(above) < 2 or not below.sum() > 0:
        return float("nan"), float("nan")
    ratio = above.sum() / below.sum()
    rest = (above - ratio * below) / below.mean()
    return float(ratio), float(rest.std(ddof=1) / np.sqrt(len(rest)))


def trial_frame(result: xr.DataTree) -> pd.DataFrame:
    """The summary of a trial, a row for each policy and measure, with units.

    Parameters
    ----------
    result
        From `popk.trial`.
    """
    own = result["summary"].to_dataset()
    frame = own.to_dataframe().reset_index()
    order = ["policy", "measure", "unit", "estimate", "se", "low", "high", "p5", "median", "p95"]
    return frame[[*order, "meaning"]]


def trial_records(
    result: xr.DataTree, policy: str, patient: int, *, until: int | None = None
) -> pd.DataFrame:
    """A virtual patient as an event table that `popk.read_dataset` reads.

    Parameters
    ----------
    result
        From `popk.trial`.
    policy
        Name of a policy.
    patient
        Number of a patient.
    until
        The last visit, counted from the first decision (0); all if None. The infusion of that visit
        is included, so that `popk.individualise` gives the decision that was made there.

    Returns
    -------
    ID, TIME, EVID, AMT, RATE, CMT, DV, MDV, CENS, LLOQ and the covariates, in the model's units.
    """
    own = result["visits"].to_dataset().sel(policy=policy, patient=patient)
    run = json.loads(result.attrs["run_in"])
    per_week = float(result.attrs["time_per_week"])
    own = own.where(np.isfinite(own["week"]), drop=True)
    if until is not None:
        own = own.sel(visit=slice(None, until))
    start = float(own["week"].isel(visit=0))
    rate = run["amount"] / run["duration"] if run["duration"] else 0.0
    limit = float(result.attrs["lloq"])
    names = [str(name) for name in own.coords if name not in ("policy", "patient", "visit")]
    rows = []
    for visit in range(own.sizes["visit"]):
        at = own.isel(visit=visit)
        time, value = (float(at["week"]) - start) * per_week, float(at["measured"])
        if np.isfinite(value):
            rows.append((time, 0, 0.0, 0.0, 0, value, 0, int(at["below"] == 1), limit))
        rows.append((time, 1, run["amount"], rate, run["compartment"], np.nan, 1, 0, limit))
    columns = ["TIME", "EVID", "AMT", "RATE", "CMT", "DV", "MDV", "CENS", "LLOQ"]
    frame = pd.DataFrame(rows, columns=columns)
    frame.insert(0, "ID", str(patient))
    return frame.assign(**{name: float(own[name]) for name in names})

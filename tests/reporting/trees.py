"""Small results in the shape that popk writes, from a made-up cohort: no sampling, no solver."""

import json

import numpy as np
import pandas as pd
import xarray as xr

from popk.dataset import Dataset, read_dataset

UNITS = {"time": "d", "amount": "mg", "concentration": "mg/L", "WT": "kg"}
WEEKS = (4, 5, 6, 7, 8)
LLOQ = 1.0
POPULATION = {
    "CL": ("L/d", "clearance", 0.19, 0.04),
    "V": ("L", "central volume", 3.6, 0.08),
    "beta_CL_WT": ("1", "exponent of WT on CL", 0.6, 0.1),
    "omega_CL": ("1", "SD of the random effect on CL", 0.35, 0.1),
    "sigma_prop": ("1", "proportional residual error", 0.2, 0.08),
}
MODEL = {
    "name": "two <b>made-up</b> parameters",
    "structure": {"type": "OneCompartment"},
    "units": UNITS,
    "typical": {
        "CL": {"type": "LogNormal", "median": 0.164, "cv": 0.15},
        "V": {"type": "LogNormal", "median": 3.48, "cv": 0.15},
    },
    "iiv": {"CL": {"type": "HalfNormal", "sd": 0.4}},
    "covariates": [
        {"type": "Power", "parameter": "CL", "covariate": "WT", "reference": 70.0,
         "exponent": {"type": "Normal", "mean": 0.6, "sd": 0.1}},
    ],
    "error": {"type": "Proportional", "sigma": {"type": "HalfNormal", "sd": 0.4}},
    "notes": ["Assumption: no antibodies against the drug.", "<i>Source</i>: made up."],
}  # fmt: skip


def cohort(n_subjects: int = 6, *, first_id: str | None = None, seed: int = 4) -> Dataset:
    """Subjects dosed every four weeks with three troughs each; the last one's are BLQ."""
    rng = np.random.default_rng(seed)
    rows = []
    for k in range(n_subjects):
        subject = first_id if k == 0 and first_id is not None else f"P{k + 1:02d}"
        weight = float(np.round(rng.uniform(50, 100), 1))
        for n in range(6):
            time = 28.0 * n
            if n >= 3:
                blq = k == n_subjects - 1
                dv = 0.0 if blq else float(np.round(25 * np.exp(rng.normal(0, 0.4)), 2))
                rows.append((subject, time, 0, None, dv, int(blq), LLOQ, weight))
            rows.append((subject, time, 1, 300.0, None, 0, None, weight))
    names = ["ID", "TIME", "EVID", "AMT", "DV", "CENS", "LLOQ", "WT"]
    return read_dataset(pd.DataFrame(rows, columns=names), units=UNITS)


def verdict(*, converged: bool) -> dict:
    worst = 1.004 if converged else 1.31
    sentence = "R-hat of omega_CL is 1.31 (at most 1.01 is asked for): sample longer."
    return {
        "converged": converged,
        "failures": [] if converged else [sentence],
        "rhat_max": worst,
        "rhat_worst": "omega_CL",
        "ess_bulk_min": 812.0 if converged else 14.0,
        "ess_bulk_worst": "omega_CL",
        "ess_tail_min": 901.0 if converged else 20.0,
        "ess_tail_worst": "V",
        "divergences": 0,
        "ebfmi_min": 0.81,
        "n_chains": 2,
        "n_draws": 100,
    }


def fit_tree(data: Dataset | None = None, *, converged: bool = True, seed: int = 1) -> xr.DataTree:
    """A fit with every group that the report and the figures read."""
    data = cohort() if data is None else data
    rng = np.random.default_rng(seed)
    shape, dims = (2, 100), ("chain", "draw")
    coords = {"chain": np.arange(2), "draw": np.arange(100)}
    groups: dict[str, xr.Dataset] = {}
    for group, widen in (("posterior", 1.0), ("prior", 3.0)):
        values = {
            name: (
                dims,
                centre * np.exp(widen * spread * rng.normal(size=shape)),
                {"units": unit, "long_name": text},
            )
            for name, (unit, text, centre, spread) in POPULATION.items()
        }
        groups[group] = xr.Dataset(values, coords=coords)
    eta = 0.35 * rng.normal(size=(*shape, data.n_subjects, 1))
    groups["posterior"]["eta"] = ((*dims, "subject", "effect"), eta)
    names = {"subject": list(data.subjects), "effect": ["CL"]}
    groups["posterior"] = groups["posterior"].assign_coords(names)
    groups["posterior"].attrs["population"] = json.dumps(list(POPULATION))
    groups |= observation_groups(data, rng)
    n = len(POPULATION)
    groups["convergence"] = xr.Dataset(
        {
            "rhat": ("quantity", np.full(n, 1.002)),
            "ess_bulk": ("quantity", np.full(n, 1234.0)),
            "ess_tail": ("quantity", np.full(n, 987.0)),
        },
        coords={"quantity": list(POPULATION)},
    )
    groups["data"] = data.to_xarray()
    tree = xr.DataTree.from_dict(groups)
    tree.attrs = {
        "kind": "popk fit",
        "popk_version": "0.1.0",
        "created": "2026-11-20T10:00:00+00:00",
        "model": json.dumps(MODEL),
        "model_name": MODEL["name"],
        "model_hash": "ab" * 32,
        "data_hash": data.fingerprint,
        "seed": 1,
        "method": json.dumps({"name": "NUTS", "draws": 100, "tune": 50, "chains": 2}),
        "units": json.dumps(UNITS),
        "verdict": json.dumps(verdict(converged=converged)),
        "seconds_sampling": 3.2,
        "seconds_total": 21.7,
        "versions": json.dumps({"pymc": "6.4.0", "arviz": "1.3.0"}),
    }
    return tree


def observation_groups(data: Dataset, rng: np.random.Generator) -> dict[str, xr.Dataset]:
    """observed_data and posterior_predictive, predictions scattered around the observations."""
    table = data.table.isel(record=data.is_observation)
    n = table.sizes["record"]
    coords = {
        "observation": np.arange(n),
        "ID": ("observation", table["ID"].values),
        "TIME": ("observation", table["TIME"].values),
        "ROW": ("observation", table["record"].values),
    }
    dv, cens = table["DV"].values, table["CENS"].values
    centre = np.where(cens == 1, 0.5, dv) * np.exp(rng.normal(0, 0.1, n))
    ipred = centre * np.exp(rng.normal(0, 0.1, (2, 25, n)))
    axes = ("chain", "draw", "observation")
    draws = {"chain": [0, 1], "draw": np.arange(0, 100, 4)}
    return {
        "observed_data": xr.Dataset(
            {
                "DV": ("observation", dv),
                "cens": ("observation", cens),
                "lloq": ("observation", table["LLOQ"].values),
            },
            coords=coords,
        ),
        "posterior_predictive": xr.Dataset(
            {
                "IPRED": (axes, ipred),
                "DV": (axes, ipred * np.exp(rng.normal(0, 0.2, ipred.shape))),
            },
            coords=coords | draws,
        ),
    }


def advice_tree(
    data: Dataset | None = None,
    *,
    target: float = 10.0,
    converged: bool = True,
    fit: xr.DataTree | None = None,
) -> xr.DataTree:
    """Advice for all subjects of `data`; the last one holds the target at no candidate."""
    data = cohort() if data is None else data
    fit = fit_tree(data, converged=converged) if fit is None else fit
    n, weeks = data.n_subjects, np.array(WEEKS)
    clearance = np.linspace(0.11, 0.33, n)[:, None]
    median = 80 * np.exp(-clearance * 7 * weeks / 3.6) + 300 / 3.6 * 0.02
    spread = 0.3
    z = np.log(median / target) / spread
    probability = 1 / (1 + np.exp(-1.7 * z))
    sustained = 1 / (1 + np.exp(-1.7 * (z - 0.3)))
    decision = xr.Dataset(
        {
            "probability": (("subject", "week"), probability),
            "probability_sustained": (("subject", "week"), sustained),
            "trough_median": (("subject", "week"), median),
            "trough_low": (("subject", "week"), median * np.exp(-1.645 * spread)),
            "trough_high": (("subject", "week"), median * np.exp(1.645 * spread)),
            "longest": ("subject", longest(probability)),
            "longest_sustained": ("subject", longest(sustained)),
        },
        coords={"subject": list(data.subjects), "week": list(WEEKS)} | about(data),
    )
    tree = xr.DataTree.from_dict(
        {"decision": decision, "curve": curve(data, median), "data": data.to_xarray()}
    )
    tree.attrs = {
        "kind": "popk advice",
        "target": target,
        "target_units": "mg/L",
        "probability": 0.9,
        "fit_model_hash": fit.attrs["model_hash"],
        "fit_data_hash": fit.attrs["data_hash"],
        "fit_converged": int(converged),
        "model_name": fit.attrs["model_name"],
        "units": json.dumps(UNITS),
        "seed": 7,
        "seconds": 0.4,
        "time_per_week": 7.0,
        "statement": "popk is research software and not a medical device.",
    }
    return tree


def longest(probability: np.ndarray) -> np.ndarray:
    """Longest week up to which every candidate holds at 0.9."""
    held = np.cumprod(probability >= 0.9, axis=1).sum(axis=1)
    return np.array([WEEKS[k - 1] if k else np.nan for k in held], dtype=float)


def about(data: Dataset) -> dict:
    """The coordinates on `subject` of the group decision."""
    n = data.n_subjects
    frame = data.to_frame()
    observed = frame[data.is_observation].groupby("ID", sort=False)
    reliable = np.ones(n, dtype=int)
    reliable[-1] = 0
    return {
        "source": ("subject", ["cohort"] * n),
        "n_observations": ("subject", observed.size().to_numpy()),
        "n_blq": ("subject", observed["CENS"].sum().to_numpy()),
        "last_dose": ("subject", np.full(n, 300.0)),
        "last_dose_time": ("subject", np.full(n, 140.0)),
        "usual_interval": ("subject", np.full(n, 4.0)),
        "WT": ("subject", data.covariate_table()["WT"].to_numpy()),
        "khat": ("subject", np.where(reliable, 0.2, 0.9)),
        "ess": ("subject", np.where(reliable, 900.0, 12.0)),
        "reliable": ("subject", reliable),
        "note": ("subject", np.where(reliable, "", "Not reliable: a made-up reason.")),
    }


def curve(data: Dataset, trough: np.ndarray) -> xr.Dataset:
    """A sawtooth that ends eight weeks after the last dose."""
    time = np.linspace(0, 196, 197)
    since = np.where(time < 140, time % 28, time - 140)
    rate = np.log(80 / trough[:, :1]) / 28
    median = 85 * np.exp(-rate * since)
    dims = ("subject", "point")
    return xr.Dataset(
        {
            "time": (dims, np.broadcast_to(time, median.shape).copy()),
            "median": (dims, median),
            "low": (dims, median * np.exp(-0.1 - 0.01 * since)),
            "high": (dims, median * np.exp(0.1 + 0.01 * since)),
        },
        coords={"subject": list(data.subjects)},
    )

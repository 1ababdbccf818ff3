"""The work: models, cohorts, and the same in plain numbers for the peers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import cases
import numpy as np
import pandas as pd
from popk.models import natalizumab

import popk
from popk.model import PopModel
from popk.statistics import IIV, Additive, HalfNormal, LogNormal, Normal, Power, Proportional
from popk.structure import FirstOrder, OneCompartment, TwoCompartment

DATA = Path(__file__).parent / "data"
SEED = 20261123
PATIENTS = 80
DOSES, TROUGHS = 12, 6  # boluses of the linear cohort; troughs before the last six
TRUTH = {"CL": 0.146, "V1": 3.3, "Q": 0.45, "V2": 2.6}  # d, mg, L
TRUE_OMEGA = {"CL": 0.30, "V1": 0.25}
TRUE_EXPONENT, TRUE_SIGMA = 0.6, 0.2
TOLERANCE = 1e-6  # relative, of Stan's ODE solver
REFERENCE_WEIGHT = 70.0


@dataclass(frozen=True)
class Work:
    """A model, its data, and what the peers are given: Stan's program, data and parameters.

    ``parameters`` are popk's names in the order of the Stan program's parameters, "log" before
    those that it samples by their logarithm.
    """

    model: PopModel
    dataset: popk.Dataset
    program: str
    parameters: tuple[str, ...]
    data: dict


def theophylline(patients=None):
    """Twelve volunteers after an oral dose, with priors over two orders of magnitude."""
    del patients  # there are no more
    model = PopModel(
        OneCompartment(FirstOrder()),
        typical={
            name: LogNormal(median, cv=2.0)
            for name, median in {"CL": 3.0, "V": 30.0, "KA": 1.0}.items()
        },
        iiv=IIV(dict.fromkeys(("CL", "V", "KA"), HalfNormal(1.0))),
        error=Additive(HalfNormal(3.0)),
        units={"time": "h", "amount": "mg", "concentration": "mg/L"},
        name="theophylline",
    )
    dataset = popk.read_dataset(DATA / "theophylline.csv", units=model.units)
    table = dataset.table.to_dataframe()
    seen = table[table["EVID"] == 0]
    data = {
        **_observed(seen),
        "id": (_numbers(seen["ID"]) + 1).tolist(),
        "time": seen["TIME"].tolist(),
        "dose": table.loc[table["EVID"] == 1, "AMT"].tolist(),
        **_typical(model),
        "omega_scale": [_prior(model, f"omega_{name}").sd for name in ("CL", "V", "KA")],
        "sigma_scale": _prior(model, "sigma_add").sd,
    }
    names = ("log CL", "log V", "log KA", "omega_CL", "omega_V", "omega_KA", "sigma_add")
    return Work(model, dataset, "fit_theophylline", names, data)


def linear(patients=None):
    """Troughs of a linear antibody; the variability of V1 is barely identified by them."""
    model = PopModel(
        TwoCompartment(),
        typical={
            "CL": LogNormal(0.15, cv=1.0),
            "V1": LogNormal(3.5, cv=1.0),
            "Q": LogNormal(0.5, cv=0.3),
            "V2": LogNormal(2.5, cv=0.5),
        },
        iiv=IIV({"CL": HalfNormal(0.5), "V1": HalfNormal(0.5)}),
        covariates=(Power("CL", "WT", reference=REFERENCE_WEIGHT, exponent=Normal(0.75, 0.5)),),
        error=Proportional(HalfNormal(0.5)),
        units={"time": "d", "amount": "mg", "concentration": "mg/L", "WT": "kg"},
        name="linear cohort",
    )
    dataset = popk.read_dataset(linear_cohort(patients or PATIENTS), units=model.units)
    table = dataset.table.to_dataframe()
    seen = table["EVID"] == 0
    events = {
        "E": len(table),
        "first": _firsts(table["ID"]),
        "observation": np.where(seen, np.cumsum(seen), 0).tolist(),
        "elapsed": table.groupby("ID", sort=False)["TIME"].diff().fillna(0.0).tolist(),
        "amount": table["AMT"].tolist(),
    }
    exponent = _prior(model, "beta_CL_WT")
    data = {
        **_observed(table[seen]),
        **events,
        "log_weight": _log_weight(table),
        **_typical(model),
        "beta_mean": exponent.mean,
        "beta_sd": exponent.sd,
        "omega_scale": [_prior(model, f"omega_{name}").sd for name in ("CL", "V1")],
        "sigma_scale": _prior(model, "sigma_prop").sd,
    }
    names = ("log CL", "log V1", "log Q", "log V2", "beta_CL_WT", "omega_CL", "omega_V1")
    return Work(model, dataset, "fit_linear", (*names, "sigma_prop"), data)


def michaelis_menten(patients=None):
    """The natalizumab cohort and model that come with popk."""
    del patients  # there are no more
    model = natalizumab.model
    file = Path(popk.__file__).parent / "demo" / "data" / "natalizumab" / "cohort.csv"
    dataset = popk.read_dataset(file, units=model.units)
    table = dataset.table.to_dataframe()
    seen = table[table["EVID"] == 0]
    below = seen["CENS"].to_numpy() == 1
    exponents = [_prior(model, f"beta_{name}_WT") for name in ("CL", "V1")]
    omegas = [_prior(model, f"omega_{name}") for name in ("V2", "VMAX")]
    data = {
        **_observed(seen),
        **_pieces(table),
        "log_y": np.log(np.where(below, seen["LLOQ"], seen["DV"])).tolist(),
        "below": below.astype(int).tolist(),
        "log_weight": _log_weight(table),
        **_typical(model),
        "beta_mean": [prior.mean for prior in exponents],
        "beta_sd": [prior.sd for prior in exponents],
        "omega_scale": _prior(model, "omega_CL").sd,
        "omega_mean": [math.log(prior.median) for prior in omegas],
        "omega_sd": [prior.sd_log for prior in omegas],
        "sigma_scale": _prior(model, "sigma_log").sd,
        "tolerance": TOLERANCE,
    }
    del data["y"]
    names = [f"log {name}" for name in model.structure.names]
    names += ["beta_CL_WT", "beta_V1_WT", "omega_CL", "log omega_V2", "log omega_VMAX", "sigma_log"]
    return Work(model, dataset, "fit_michaelis_menten", tuple(names), data)


WORK = {"theophylline": theophylline, "linear": linear, "michaelis-menten": michaelis_menten}


def linear_cohort(patients, seed=SEED):
    """Records of the linear cohort: boluses of 300 mg every four weeks, up to three days off."""
    rng = np.random.default_rng(seed)
    weight = np.exp(rng.normal(math.log(72.0), 0.2, patients))
    gaps = cases.INTERVAL + rng.uniform(-cases.JITTER, cases.JITTER, (patients, DOSES - 1))
    days = np.hstack([np.zeros((patients, 1)), np.cumsum(gaps, axis=1)])
    theta = np.tile([TRUTH[name] for name in cases.LINEAR], (patients, 1))
    theta[:, 0] *= (weight / REFERENCE_WEIGHT) ** TRUE_EXPONENT
    for column, name in enumerate(("CL", "V1")):
        theta[:, column] *= np.exp(TRUE_OMEGA[name] * rng.standard_normal(patients))
    due = days[:, -TROUGHS:]
    case = cases.Case(theta, days, due, np.zeros(due.shape, int), due, 0.0, regular=False)
    noise = 1.0 + TRUE_SIGMA * rng.standard_normal(due.shape)
    if noise.min() <= 0:
        raise ValueError("the linear cohort has a concentration below zero: choose another seed")
    return _records(days, cases.superposition(theta, case) * noise, weight)


def _records(days, troughs, weight):
    """A trough stands just before the dose of its day."""
    patients = len(days)
    dose = pd.DataFrame({"ID": np.repeat(np.arange(1, patients + 1), DOSES), "TIME": days.ravel()})
    dose = dose.assign(EVID=1, AMT=cases.AMOUNT, DV=np.nan, WT=np.repeat(weight, DOSES))
    seen = pd.DataFrame(
        {"ID": np.repeat(np.arange(1, patients + 1), TROUGHS), "TIME": days[:, -TROUGHS:].ravel()}
    )
    seen = seen.assign(EVID=0, AMT=np.nan, DV=troughs.ravel(), WT=np.repeat(weight, TROUGHS))
    together = pd.concat([seen, dose]).sort_values(["ID", "TIME", "EVID"], kind="stable")
    return together.astype({"ID": str}).reset_index(drop=True)


def _prior(model, name):
    return next(parameter.prior for parameter in model.parameters if parameter.name == name)


def _typical(model):
    """Mean and SD of the logarithms of the typical values, in the structure's order."""
    priors = [_prior(model, name) for name in model.structure.names]
    return {
        "typical_mean": [math.log(prior.median) for prior in priors],
        "typical_sd": [prior.sd_log for prior in priors],
    }


def _observed(seen):
    return {"N": seen["ID"].nunique(), "K": len(seen), "y": seen["DV"].tolist()}


def _numbers(ids):
    """The number of each record's patient, from 0."""
    return pd.factorize(ids)[0]


def _firsts(ids):
    """Stan's number of each patient's first record, and one past the last."""
    counts = np.bincount(_numbers(ids))
    return (np.concatenate([[0], np.cumsum(counts)]) + 1).tolist()


def _log_weight(table):
    weight = table.groupby("ID", sort=False)["WT"].first()
    return np.log(weight / REFERENCE_WEIGHT).tolist()


def _pieces(table):
    """Histories cut at every start and end of an infusion and at every observation."""
    rows, counts, number = [], [], 0
    for _, records in table.groupby("ID", sort=False):
        marks, count = [], 0
        for record in records.itertuples():
            if record.EVID == 0:
                number += 1
                marks.append((record.TIME, 0.0, number))
            else:
                marks.append((record.TIME, record.RATE, 0))
                marks.append((record.TIME + record.AMT / record.RATE, -record.RATE, 0))
        running = 0.0
        last = max(time for time, _, seen in marks if seen)
        marks = sorted((m for m in marks if m[0] <= last), key=lambda mark: mark[0])
        for (start, change, _), (end, _, seen) in pairwise(marks):
            running += change
            if end > start:
                rows.append((start, end, running, seen))
                count += 1
            elif seen:
                raise ValueError("an observation at the time of an event that is not its dose")
        counts.append(count)
    start, end, infusion, observation = map(list, zip(*rows, strict=True))
    first = (np.concatenate([[0], np.cumsum(counts)]) + 1).tolist()
    return {
        "E": len(rows), "first": first, "observation": observation, "start": start, "end": end,
        "infusion": infusion,
    }  # fmt: skip

"""A small linear model, data for it, its equations by hand, and fits made without sampling."""

import json
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import xarray as xr
from scipy.special import log_ndtr

from popk.dataset import read_dataset
from popk.design import design_of
from popk.diagnostics import Verdict
from popk.levels import group_labels
from popk.model import PopModel
from popk.population import PopulationDraws
from popk.statistics import IIV, LogNormal, Power, Proportional
from popk.structure import OneCompartment

UNITS = {"time": "d", "amount": "mg", "concentration": "mg/L", "WT": "kg"}
COLUMNS = ["ID", "TIME", "EVID", "AMT", "RATE", "ADDL", "II", "DV", "CENS", "LLOQ", "WT"]


def one_compartment(*, covariates=False, cv=0.05, iiv=None):
    """A model with random effects on CL and V; population values known within about `cv`."""
    power = (Power("CL", "WT", reference=70, exponent=LogNormal(0.75, cv=cv)),)
    omegas = {"CL": LogNormal(0.3, cv=cv), "V": LogNormal(0.2, cv=cv)} if iiv is None else iiv
    return PopModel(
        OneCompartment(),
        typical={"CL": LogNormal(0.2, cv=cv), "V": LogNormal(5.0, cv=cv)},
        iiv=IIV(omegas),
        covariates=power if covariates else (),
        error=Proportional(LogNormal(0.2, cv=cv)),
        units=UNITS,
        name="one compartment",
    )


def dose(subject, time, amount=300.0, *, rate=0.0, addl=0, ii=0.0, evid=1, weight=70.0):
    """A record of a dose (EVID 1 or 4) or a reset (EVID 3)."""
    amount = np.nan if evid == 3 else amount
    return (subject, time, evid, amount, rate, addl, ii, np.nan, 0, 1.0, weight)


def observe(subject, time, dv, *, cens=0, weight=70.0):
    """A record of an observation; for a value below the limit of 1 mg/L `dv` is 1."""
    return (subject, time, 0, np.nan, 0.0, 0, 0.0, dv, cens, 1.0, weight)


def dataset(*records, carry=None):
    """Records as a data set."""
    return read_dataset(pd.DataFrame(list(records), columns=COLUMNS), units=UNITS, carry=carry)


def history(subject, troughs=(20.0, 22.0), *, weight=70.0, doses=4):
    """Doses every 28 days, with a sample just before each of the last ones."""
    found = []
    for k in range(doses):
        sample = k - (doses - len(troughs))
        if sample >= 0:
            found.append(observe(subject, 28.0 * k, troughs[sample], weight=weight))
        found.append(dose(subject, 28.0 * k, weight=weight))
    return found


def bolus(time, cl, v, *, doses=(0.0,), amount=300.0):
    """Concentration of a linear one-compartment model after boluses, by superposition."""
    time, cl, v = np.broadcast_arrays(np.asarray(time, float), cl, v)
    total = np.zeros(time.shape)
    for given in doses:
        since = time - given
        # At the time of a dose the concentration is the one just before it.
        total = total + np.where(since > 0, amount / v * np.exp(-cl / v * np.abs(since)), 0.0)
    return total


def after_boluses(times, concentrations, *, lloq):
    """Data of one bolus to each subject: concentrations (n, times), those below the limit so."""
    records = []
    for k, row in enumerate(concentrations):
        records.append(dose(f"S{k}", 0.0))
        for time, dv in zip(times, row, strict=True):
            below = dv < lloq
            value = lloq if below else float(dv)
            records.append((*observe(f"S{k}", time, value, cens=int(below))[:9], lloq, 70.0))
    return dataset(*records)


def log_likelihoods(concentrations, predicted, sigma, *, lloq):
    """Log likelihood of each concentration with a proportional error, those below the limit so."""
    sd = sigma * np.maximum(predicted, 1e-12)  # far out the density underflows, as it should
    quantified = -0.5 * ((concentrations - predicted) / sd) ** 2 - np.log(sd * np.sqrt(2 * np.pi))
    return np.where(concentrations < lloq, log_ndtr((lloq - predicted) / sd), quantified)


def growing(subject, weights, *, gap=28.0, start=0.0, dv=20.0):
    """A dose and a trough in turn, ``gap`` apart, each record with the next of the weights.

    The first record is a dose; a sample stands just before each later dose.
    """
    found = []
    for k, weight in enumerate(weights):
        time = start + gap * ((k + 1) // 2)
        found.append(
            dose(subject, time, weight=weight)
            if k % 2 == 0
            else observe(subject, time, dv, weight=weight)
        )
    return found


def walk(records, cl, v, *, carry):
    """Concentrations (..., n) of boluses at the observations, one interval after the other.

    ``cl`` and ``v`` are functions of the weight; ``records`` those of one subject.
    """
    amount, found = 0.0, []
    for k, (_, time, evid, given, *rest) in enumerate(records):
        weight = rest[-1]
        if k:
            governing = records[k - 1][-1] if carry == "locf" else weight
            since = time - records[k - 1][1]
            amount = amount * np.exp(-cl(governing) / v(governing) * since)
        if evid == 0:
            found.append(amount / v(weight))
        else:
            amount = amount + given
    return np.stack(found, axis=-1)


def infusion(time, cl, v, *, doses=(0.0,), amount=300.0, duration=1.0):
    """The same after infusions."""
    time, cl, v = np.broadcast_arrays(np.asarray(time, float), cl, v)
    k = cl / v
    total = np.zeros(time.shape)
    for given in doses:
        since = np.maximum(time - given, 0.0)
        running = np.minimum(since, duration)
        total = total + amount / duration / cl * (1 - np.exp(-k * running)) * np.exp(
            -k * (since - running)
        )
    return total


def verdict(*, converged=True):
    """A verdict, as it is stored."""
    failures = () if converged else ("R-hat of CL is 1.300: run longer.",)
    return Verdict(converged, failures, 1.0, "CL", 800.0, "CL", 800.0, "CL", 0, 1.0, 2, 100)


def fit_of(model, data, *, chains=2, draws=100, seed=1, converged=True):
    """A fit whose posterior is drawn from the priors: what popk reads from one, no sampling."""
    rng = np.random.default_rng(seed)
    population = PopulationDraws.from_prior(model, chains * draws, rng)
    population = population.with_groups(design_of(model, data).covariates, rng)
    shape = (chains, draws, data.n_subjects, len(model.iiv.effects))
    design, kappa = design_of(model, data), None
    eta = population.new_effects(data.n_subjects, rng).reshape(shape)
    if model.iov.effects:
        kappa = population.new_occasions(len(design.occasion_subject), rng)
    latent = population.new_latent(design.missing, rng) if design.missing else None
    labels = population.new_labels(design.labels, rng)
    flat = eta.reshape(chains * draws, *shape[2:])
    theta = population.row_parameters(design, flat, kappa, latent, labels=labels)
    theta = theta[:, design.first]
    variables = {
        p.name: (
            ("chain", "draw"),
            population.values[p.name].reshape(chains, draws),
            {"units": p.unit},
        )
        for p in model.parameters
    }
    if model.iiv.effects:
        variables["eta"] = (("chain", "draw", "subject", "effect"), eta)
    variables["parameters"] = (
        ("chain", "draw", "subject", "parameter"),
        theta.reshape(*shape[:3], -1),
    )
    coords = {
        "chain": np.arange(chains),
        "draw": np.arange(draws),
        "subject": list(data.subjects),
        "effect": list(model.iiv.effects),
        "parameter": list(model.structure.names),
    }
    if labels is not None:
        sizes = (chains, draws, data.n_subjects)
        shares = np.exp(population.log_shares)[:, None]
        given = np.tile(shares, (1, data.n_subjects, 1))
        known = design.labels >= 0
        given[:, known] = np.eye(shares.shape[-1])[design.labels[known]]
        dims = ("chain", "draw", "subject")
        variables["label"] = (dims, labels.reshape(sizes))
        variables["class_probability"] = ((*dims, "class"), given.reshape(*sizes, -1))
        coords["class"] = list(model.classes)
    if kappa is not None:
        dims = ("chain", "draw", "occasion", "occasion_effect")
        variables["kappa"] = (dims, kappa.reshape(chains, draws, *kappa.shape[1:]))
        owner = np.array(data.subjects)[design.occasion_subject]
        coords["occasion_subject"] = ("occasion", owner)
        coords["occasion_number"] = ("occasion", design.occasion_number)
        coords["occasion_effect"] = list(model.iov.effects)
    if latent is not None:
        dims = ("chain", "draw", "missing")
        variables["latent_covariates"] = (dims, latent.reshape(chains, draws, -1))
        names, positions = zip(*design.missing, strict=True)
        coords["missing_covariate"] = ("missing", list(names))
        coords["missing_subject"] = ("missing", np.array(data.subjects)[list(positions)])
    for level in model.levels:
        groups, effects = population.levels[level.covariate]
        effects = effects.reshape(chains, draws, *effects.shape[1:])
        variables[level.effects_name] = (("chain", "draw", *level.dims), effects)
        coords |= dict(zip(level.dims, (group_labels(groups), list(level.effects)), strict=True))
    posterior = xr.Dataset(variables, coords=coords)
    tree = xr.DataTree.from_dict({"posterior": posterior, "data": data.to_xarray()})
    tree.attrs = {
        "kind": "popk fit",
        "popk_version": "0.1.0",
        "created": datetime(2026, 1, 1, tzinfo=UTC).isoformat(),
        "model": model.to_json(),
        "model_name": model.name,
        "model_hash": model.hash,
        "data_hash": data.fingerprint,
        "subject_hashes": json.dumps(dict(data.subject_fingerprints)),
        "seed": seed,
        "units": json.dumps(data.units.to_dict()),
        "verdict": verdict(converged=converged).to_json(),
    }
    return tree

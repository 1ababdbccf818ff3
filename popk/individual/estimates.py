"""MAP estimates and conditional distributions at one value of the population parameters.

What NONMEM calls post hoc (empirical Bayes) estimates and Monolix the conditional mode, mean and
SD: for comparison with other tools. Advice carries the population's uncertainty (`individualise`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.special import logsumexp

from popk.dataset import Dataset
from popk.design import check_fit
from popk.errors import SettingError
from popk.individual.conditional import conditional_nodes
from popk.individual.objective import left_out, log_determinant
from popk.individual.patient import Patient, parameters_of, patients_of, split_effects
from popk.individual.point import Population, population_at
from popk.individual.posterior import patient_seed, quality
from popk.individual.starts import Peaks, peaks_of
from popk.model import PopModel
from popk.population import PopulationDraws, check_seed, dataset_of

__all__ = ["map_estimates"]

type Floats = NDArray[np.float64]

_LOG_TWO_PI = float(np.log(2 * np.pi))


@dataclass(frozen=True)
class _Effort:
    starts: int
    nodes: int
    seed: int


@dataclass(frozen=True)
class _Conditional:
    """Modes of a patient in one class, and weighted nodes of the whole distribution."""

    population: PopulationDraws
    peaks: Peaks
    eta: Floats
    theta: Floats
    log_weight: Floats

    @property
    def log_marginal(self) -> float:
        """Log marginal likelihood of the patient's data in the class."""
        return float(logsumexp(self.log_weight) - np.log(len(self.log_weight)))


def map_estimates(
    model: PopModel | xr.DataTree,
    dataset: Dataset | None = None,
    *,
    population: Population = "median",
    starts: int = 32,
    nodes: int = 4096,
    seed: int = 1,
) -> xr.Dataset:
    """Each patient's MAP estimate and conditional distribution, the population taken as known.

    The random effects of highest density given the patient's data, searched from many starts so
    that of several modes the highest is taken; and the mean, SD and 90 % interval of the whole
    conditional distribution, by importance sampling around all modes found. The likelihood is that
    of the model: the residual error's SD follows the individual prediction (NONMEM's INTERACTION),
    and observations beyond a limit have its probability (M3, NONMEM's LAPLACE) unless the error
    says otherwise.

    Parameters
    ----------
    model
        A model, or a fit.
    dataset
        Patients with doses and observations; those of the fit if None.
    population
        Where the population parameters are held: ``"median"`` (of a fit's posterior, of a model's
        priors), ``"mean"`` (of a fit's posterior), or estimates by the name of each parameter, as
        ``{"CL": 4.0, "omega_CL": 0.45, ...}``; omegas and sigmas are SDs.
    starts
        Searches for each patient.
    nodes
        Nodes of the importance sampling; four times as many where they prove too few.
    seed
        Seed; each patient's random numbers depend on it and on the patient's ID.

    Returns
    -------
    Dataset over ``subject`` with ``eta`` (subject, effect), the MAP estimate, on the parameter's
    scale (log, logit or linear); ``eta_mean``, ``eta_sd``, ``eta_low``, ``eta_high`` (5 and 95 %)
    of the conditional distribution; ``eta_sd_curvature``, from the curvature at the mode alone
    (the root of NONMEM's ETC); ``parameters`` (subject, parameter) at the last record by the MAP,
    ``parameters_mean`` and ``parameters_sd``; ``n_modes``, how many the searches told apart, and
    ``next_mode``, by how much the objective of the second is above that of the first (NaN with
    one). With variability between occasions also ``kappa``, ``kappa_mean`` and ``kappa_sd``
    (occasion, occasion_effect). With sub-populations ``class_probability`` (subject, class); the
    MAP is then that of the most probable class, the rest an average over all.

    ``objective`` is minus twice the log density of data and random effects without constants as
    NONMEM leaves them out: sum of (residual/SD)^2 + log SD^2 over observations, - 2 log of the
    probability of those beyond a limit, + eta' OMEGA^-1 eta. Without ``log |OMEGA|`` and
    log 2 pi; with `LogNormalError` as NONMEM has it of log DV. ``objective_laplace`` adds
    ``log |OMEGA|`` and the log determinant of the expected information: each subject's OBJ of
    NONMEM's FOCE with interaction. (Beyond a limit, where NONMEM needs LAPLACE, an approximate
    curvature.)

    ``ess`` (effective nodes) and ``khat`` say how far the conditional distribution is to be
    trusted.

    Raises
    ------
    DataError, ModelError, FitError, SettingError
        When the patients do not fit the model, or a setting makes no sense.
    """
    check_seed(seed)
    for name, count, least in (("starts", starts, 1), ("nodes", nodes, 100)):
        if not float(count).is_integer() or count < least:
            raise SettingError(
                f"map_estimates was given {name}={count!r}; expected {least} or more."
            )
    point = population_at(model, population)
    if dataset is None:
        if not isinstance(model, xr.DataTree):
            raise SettingError("A model has no patients of its own; give map_estimates a dataset.")
        dataset = dataset_of(model)
    check_fit(point.model, dataset, estimated=False)
    effort = _Effort(int(starts), int(nodes), int(seed))
    patients = patients_of(point, dataset)
    found = [_estimate(point, patient, effort) for patient in patients]
    return _table(point.model, patients, found, effort)


def _estimate(point: PopulationDraws, patient: Patient, effort: _Effort) -> dict[str, Any]:
    """Everything about one patient."""
    rng = patient_seed(effort.seed, patient.subject)
    count = len(point.model.classes) or 1
    labels = range(count) if patient.label < 0 and count > 1 else (max(patient.label, 0),)
    by_class = [
        _conditional(point.of_class(k if point.model.classes else -1), patient, effort, rng)
        for k in labels
    ]
    shares = point.of_class(-1).log_shares[0] if len(labels) > 1 else np.zeros(1)
    marginal = np.array([one.log_marginal for one in by_class]) + shares
    best = int(np.argmax(marginal))
    log_weight = np.concatenate(
        [one.log_weight + share for one, share in zip(by_class, shares, strict=True)]
    )
    eta, theta = (
        np.concatenate([getattr(one, part) for one in by_class]) for part in ("eta", "theta")
    )
    probability = np.zeros(count)
    probability[list(labels)] = np.exp(marginal - logsumexp(marginal))
    khat, ess = quality(log_weight)
    found = _at_mode(by_class[best], patient) | {
        "khat": khat, "ess": ess, "n_observations": len(patient.observed.dv),
        "class_probability": probability,
    }  # fmt: skip
    return found | _moments(eta, theta, log_weight)


def _conditional(
    population: PopulationDraws, patient: Patient, effort: _Effort, rng: np.random.Generator
) -> _Conditional:
    peaks = peaks_of(population, patient, starts=effort.starts)
    made = conditional_nodes(population, patient, peaks, nodes=effort.nodes, rng=rng)
    eta = _effects(population, patient, made.z)[0]
    return _Conditional(
        population, peaks, eta, made.parameters[0, :, patient.last_row], made.log_weight[0]
    )


def _effects(population: PopulationDraws, patient: Patient, z: Floats) -> Floats:
    """Random effects (S, J, n): those between subjects, then those of each occasion."""
    own, occasions = split_effects(population, patient, z)
    eta, _ = population.eta(own)
    if occasions is None:
        return eta
    kappa = population.kappa(occasions)
    return np.concatenate([eta, kappa.reshape(*kappa.shape[:2], -1)], axis=-1)


def _at_mode(one: _Conditional, patient: Patient) -> dict[str, Any]:
    population, modes = one.population, one.peaks.best
    k = modes.z.shape[1]
    eta = _effects(population, patient, modes.z[:, None])[0, 0]
    theta, _ = parameters_of(population, patient, modes.expected, modes.z)
    # How the effects move with z, for the SDs that the curvature gives.
    step = 1e-5 * np.eye(k)
    ends = [_effects(population, patient, (modes.z + way * step)[None])[0] for way in (1, -1)]
    slope = (ends[0] - ends[1]).T / 2e-5
    covariance = slope @ np.linalg.inv(modes.precision[0]) @ slope.T
    height = one.peaks.log_density
    objective = -2 * height[0] - k * _LOG_TWO_PI - left_out(population.model, patient)
    return {
        "eta": eta,
        "eta_sd_curvature": np.sqrt(np.diagonal(covariance)),
        "parameters": theta[0, patient.last_row],
        "objective": float(objective),
        "objective_laplace": float(objective + log_determinant(population, patient, modes)),
        "n_modes": len(height),
        "next_mode": float(2 * (height[0] - height[1])) if len(height) > 1 else float("nan"),
    }


def _moments(eta: Floats, theta: Floats, log_weight: Floats) -> dict[str, Any]:
    """Mean, SD and quantiles of weighted nodes; NaN where no node has a weight."""
    if not np.isfinite(log_weight).any():
        nothing = {f"eta_{part}": np.full(eta.shape[1], np.nan) for part in _OF_ETA}
        return nothing | {
            f"parameters_{x}": np.full(theta.shape[1], np.nan) for x in ("mean", "sd")
        }
    weight = np.exp(log_weight - logsumexp(log_weight))
    used = weight > 0
    weight = weight[used]
    found: dict[str, Any] = {}
    for name, values in (("eta", eta[used]), ("parameters", theta[used])):
        mean = weight @ values
        found[f"{name}_mean"] = mean
        found[f"{name}_sd"] = np.sqrt(weight @ (values - mean) ** 2)
    order = np.argsort(eta[used], axis=0)
    ranked = np.take_along_axis(eta[used], order, axis=0)
    below = np.cumsum(weight[order], axis=0) - 0.5 * weight[order]
    for part, level in (("low", 0.05), ("high", 0.95)):
        columns = range(eta.shape[1])
        found[f"eta_{part}"] = np.array(
            [np.interp(level, below[:, c], ranked[:, c]) for c in columns]
        )
    return found


_OF_ETA = ("mean", "sd", "low", "high")


def _table(
    model: PopModel, patients: Sequence[Patient], found: list[dict[str, Any]], effort: _Effort
) -> xr.Dataset:
    k = len(model.iiv.effects)
    variables: dict[str, Any] = {}
    by_eta = ("eta", *(f"eta_{part}" for part in (*_OF_ETA, "sd_curvature")))
    for name in by_eta:
        values = np.array([one[name][:k] for one in found]).reshape(len(found), k)
        variables[name] = (("subject", "effect"), values)
    units = {p.name: model.units.of(p.dimension) for p in model.structure.parameters}
    for name in ("parameters", "parameters_mean", "parameters_sd"):
        values = np.array([one[name] for one in found])
        variables[name] = (("subject", "parameter"), values, {"units": json.dumps(units)})
    for name in ("objective", "objective_laplace", "n_modes", "next_mode", "n_observations", "khat",
                 "ess"):  # fmt: skip
        variables[name] = ("subject", np.array([one[name] for one in found]))
    coords: dict[str, Any] = {
        "subject": [patient.subject for patient in patients],
        "effect": list(model.iiv.effects),
        "parameter": list(model.structure.names),
    }
    if model.classes:
        shares = np.array([one["class_probability"] for one in found])
        variables["class_probability"] = (("subject", "class"), shares, {"units": "1"})
        coords["class"] = list(model.classes)
    if model.iov.effects:
        q = len(model.iov.effects)
        dims = ("occasion", "occasion_effect")
        for part in ("", "_mean", "_sd"):
            rows = [one[f"eta{part}"][k:].reshape(-1, q) for one in found]
            variables[f"kappa{part}"] = (dims, np.concatenate(rows))
        owner = [patient.subject for patient in patients for _ in patient.numbers]
        number = [number for patient in patients for number in patient.numbers]
        coords |= {
            "occasion_subject": ("occasion", owner),
            "occasion_number": ("occasion", number),
            "occasion_effect": list(model.iov.effects),
        }
    attrs = {"model_name": model.name, "model_hash": model.hash, "starts": effort.starts,
             "nodes": effort.nodes, "seed": effort.seed}  # fmt: skip
    return xr.Dataset(variables, coords=coords, attrs=attrs)

"""The posterior of one patient's parameters, population uncertainty carried, without a refit."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from popk.diagnostics.pareto import smoothed_weights
from popk.individual.latent import expected_of, latent_covariates
from popk.individual.modes import Modes, find_modes
from popk.individual.patient import Patient, next_occasion, split_effects
from popk.individual.proposals import Proposals, propose
from popk.individual.quick import predicted_modes
from popk.latent import latent_of
from popk.population import PopulationDraws, effects_of, occasion_effects_of
from popk.prediction import labels_of

__all__ = [
    "KHAT_LIMIT",
    "PatientPosterior",
    "cohort_posterior",
    "patient_posterior",
    "patient_seed",
    "quality",
]

type Floats = NDArray[np.float64]

# Vehtari et al., JMLR 25:72 (2024): above it, importance sampling is not to be trusted.
KHAT_LIMIT = 0.7
ESS_LIMIT = 100.0
_IMPOSSIBLE = (
    "No parameter values give the observations a likelihood above zero, so there is no result. "
    "Check the doses, times and units."
)
_EACH = 4  # proposals per population draw, around predicted modes
_LEAST = 1000  # … of all draws together, where these are few
_WELL = 0.4  # effective share of them, below which the modes are searched
_SEARCHED = 6  # proposals per draw then
_REFINED = 40  # … when these are not good enough either


@dataclass(frozen=True)
class PatientPosterior:
    """Equally weighted draws of a patient's parameters.

    ``parameters`` (n_samples, n_rows, m) in the model's units, one row for each distinct set of the
    patient's covariates and occasion, and one more for occasions to come where the model has
    variability between them; ``draw`` (n_samples), the population draw that each goes with;
    ``khat`` and ``ess`` of the importance weights (NaN where none were used); ``reliable`` says
    whether they allow the result to be used, and ``note`` why not, in a sentence.
    Where no parameter values explain the patient's data at all, the parameters are NaN. ``latent``
    has the draws (n_samples) of each covariate that is missing, by name. ``class_probability``
    (n_classes) is the posterior probability of each sub-population, empty where the model has none;
    the parameters are those of a class drawn from it. ``source`` (n_samples) numbers what was drawn
    from: samples with the same number have the same parameters; empty where nothing is repeated.
    """

    parameters: Floats
    draw: NDArray[np.int64]
    khat: float
    ess: float
    reliable: bool
    note: str = ""
    latent: Mapping[str, Floats] = field(default_factory=dict)
    class_probability: Floats = field(default_factory=lambda: np.zeros(0))
    source: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))


def patient_seed(seed: int, subject: str) -> np.random.Generator:
    """Random numbers that depend on the seed and the patient's ID, not on its place in a table."""
    digest = hashlib.sha256(subject.encode()).digest()
    return np.random.default_rng([seed, int.from_bytes(digest[:8], "little")])


def patient_posterior(
    population: PopulationDraws, patient: Patient, *, samples: int, rng: np.random.Generator
) -> PatientPosterior:
    """Posterior of a patient who was not in the fit.

    The joint posterior of population parameters and random effects, p(theta | cohort)
    p(eta | theta) p(y | theta, eta), by importance sampling around the conditional mode under every
    population draw. If the weights are poor, more proposals are made before the result is called
    unreliable.

    Parameters
    ----------
    population
        Draws of the population posterior.
    patient
        The patient's data; without observations the result is the population's prediction.
    samples
        Number of draws to return.
    rng
        Random numbers.
    """
    population = population.of_class(patient.label)
    modes, proposals, khat, ess = _proposed(population, patient, rng)
    log_weight = proposals.log_weight.ravel()
    finite = np.isfinite(log_weight)
    if not finite.any():
        n_rows = proposals.parameters.shape[2] + bool(patient.numbers)
        nowhere = np.full((samples, n_rows, proposals.parameters.shape[3]), np.nan)
        none = np.zeros(samples, dtype=np.int64)
        unknown = {name: np.full(samples, np.nan) for name in patient.missing}
        classes = np.full(len(population.model.classes), np.nan)
        return PatientPosterior(
            nowhere, none, float("nan"), 0.0, False, _IMPOSSIBLE, unknown, classes
        )
    reliable = bool(_usable(khat, ess))
    weight = np.exp(log_weight - log_weight[finite].max())
    weight /= weight.sum()
    chosen = _systematic(weight, samples, rng)
    each = proposals.log_weight.shape[1]
    flat = proposals.parameters.reshape(len(log_weight), *proposals.parameters.shape[2:])
    parameters, draw = flat[chosen], chosen // each
    place = draw * proposals.n_classes + proposals.label[chosen % each]
    sampled, z = population.by_class().taken(place), proposals.z.reshape(len(flat), -1)[chosen]
    latent = latent_covariates(sampled, patient, z).T
    if patient.numbers:
        expected = expected_of(sampled, patient, z) if patient.n_last else modes.expected[place]
        own, _ = split_effects(sampled, patient, z)
        eta, _ = sampled.eta(own)
        coming = next_occasion(sampled, patient, expected, eta, rng)
        parameters = np.concatenate([parameters, coming], axis=1)
    note = "" if reliable else _poor(khat, ess)
    values = dict(zip(patient.missing, latent, strict=True))
    by_class = weight.reshape(population.size, proposals.n_classes, -1).sum(axis=(0, 2))
    if population.n_classes == 1:  # there are none, or it is known
        by_class = 1.0 * (np.arange(len(population.model.classes)) == patient.label)
    source = np.zeros(0, dtype=np.int64) if patient.numbers else chosen
    return PatientPosterior(parameters, draw, khat, ess, reliable, note, values, by_class, source)


def _proposed(
    population: PopulationDraws, patient: Patient, rng: np.random.Generator
) -> tuple[Modes, Proposals, float, float]:
    """Modes, proposals around them, and k-hat and effective size of their weights.

    First around predicted modes; where these serve badly around those of a search under every draw;
    and in the end with more of them.
    """
    modes = predicted_modes(population, patient)
    if modes is not None:
        each = max(_EACH, -(-_LEAST // population.size))
        proposals = propose(population, patient, modes, each=each, rng=rng)
        khat, ess = quality(proposals.log_weight.ravel())
        if _usable(khat, ess) and ess >= _WELL * proposals.log_weight.size:
            return modes, proposals, khat, ess
    modes = find_modes(population, patient)
    for most in (_SEARCHED, _REFINED):
        each = max(most, -(-_LEAST // population.size))
        proposals = propose(population, patient, modes, each=each, rng=rng)
        khat, ess = quality(proposals.log_weight.ravel())
        if _usable(khat, ess):
            break
    return modes, proposals, khat, ess


def cohort_posterior(
    fit: xr.DataTree,
    patient: Patient,
    chosen: NDArray[np.int64],
    rng: np.random.Generator,
) -> PatientPosterior:
    """Posterior of a patient of the cohort: what the fit itself found.

    Parameters
    ----------
    fit
        The fit.
    patient
        The patient, as it was in the fit.
    chosen
        Indices of the draws to take, chain after chain.
    rng
        Random numbers for occasions to come.
    """
    effective = float(len(np.unique(chosen)))
    missing = [(name, patient.subject) for name in patient.missing]
    latent = latent_of(fit["posterior"].to_dataset(), missing, chosen).T
    known = dict(zip(patient.missing, latent, strict=True))
    probability = class_probability_of(fit, patient.subject, chosen)

    def found(parameters: Floats) -> PatientPosterior:
        none = float("nan")
        return PatientPosterior(
            parameters, chosen, none, effective, True, "", known, class_probability=probability
        )

    if len(patient.occasion) == 1 and not patient.numbers:
        values = fit["posterior"]["parameters"].sel(subject=patient.subject)
        flat = values.transpose("chain", "draw", "parameter").values.reshape(-1, values.shape[-1])
        return found(np.asarray(flat[chosen][:, None, :], dtype=float))
    population = PopulationDraws.of(fit).taken(chosen)
    given = patient.covariates | {name: value[:, None] for name, value in known.items()}
    expected = population.expected(given, labels_of(fit, [patient.subject], chosen))
    expected = np.broadcast_to(expected, (len(chosen), len(patient.occasion), expected.shape[2]))
    eta, kappa = effects_of(fit, [patient.subject], chosen), None
    if patient.numbers:
        occasions = [(patient.subject, number) for number in patient.numbers]
        kappa = occasion_effects_of(fit, occasions, chosen)[:, patient.occasion]
    parameters = population.parameters(expected, eta, kappa)
    if patient.numbers:
        coming = next_occasion(population, patient, expected, eta[:, 0], rng)
        parameters = np.concatenate([parameters, coming], axis=1)
    return found(parameters)


def class_probability_of(fit: xr.DataTree, subject: str, chosen: NDArray[np.int64]) -> Floats:
    """Posterior probability of each sub-population (n_classes) of a subject of the fit."""
    if "class_probability" not in fit["posterior"]:
        return np.zeros(0)
    own = fit["posterior"]["class_probability"].sel(subject=subject)
    values = own.transpose("chain", "draw", "class").values
    return np.asarray(values.reshape(-1, values.shape[-1])[chosen].mean(axis=0))


def quality(log_weight: Floats) -> tuple[float, float]:
    """Pareto k-hat and effective number of importance weights (n), given as logarithms."""
    finite = np.isfinite(log_weight)
    if finite.sum() < 100:
        return float("inf"), 0.0
    weight = np.exp(log_weight - log_weight[finite].max())
    ess = float(weight.sum() ** 2 / (weight**2).sum())
    if np.ptp(log_weight[finite]) < 1e-9:
        return float("-inf"), ess
    return smoothed_weights(log_weight[finite])[1], ess


def _poor(khat: float, ess: float) -> str:
    k = f"Pareto k-hat {khat:.2f}, " if np.isfinite(khat) else ""
    return (
        f"The computation is not reliable ({k}{ess:.0f} effective draws; below {KHAT_LIMIT} and at "
        f"least {ESS_LIMIT:.0f} are needed): the population hardly predicts these observations. "
        "Check the doses, times and units."
    )


def _usable(khat: float, ess: float) -> bool:
    return khat < KHAT_LIMIT and ess >= ESS_LIMIT


def _systematic(weight: Floats, size: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Systematic resampling (Kitagawa 1996), shuffled."""
    positions = (rng.random() + np.arange(size)) / size
    chosen = np.searchsorted(np.cumsum(weight), positions).clip(0, len(weight) - 1)
    return np.asarray(rng.permutation(chosen), dtype=np.int64)

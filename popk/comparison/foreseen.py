"""One patient's observations, forecast from the first few of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from popk.dataset import Dataset
from popk.individual.partial import Partial, held_from, only, partial_of
from popk.individual.posterior import PatientPosterior, patient_posterior, patient_seed
from popk.population import PopulationDraws
from popk.statistics import NUMPY, Observed, ResidualError

__all__ = ["Foreseen", "Wanted", "foreseen", "observed_draws"]

type Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Wanted:
    """What is forecast of every patient.

    At most ``most`` of the first observations are used (all but the last if None); ``samples``
    draws make a forecast; later covariates are hidden unless ``covariates_known``.
    """

    samples: int
    seed: int
    most: int | None = None
    covariates_known: bool = False


@dataclass(frozen=True)
class Foreseen:
    """A forecast of one observation.

    ``number`` of the observation among the patient's, from the first ``known`` ones; draws (S) of
    the individual prediction ``expected`` (as the assay has it) and of what is observed ``dv``, NaN
    where they could not be computed; ``log_score``, the log predictive density of what was observed
    (the log probability where it lies beyond a limit), NaN where the residual error does not say
    (M1). ``reliable`` and ``note`` are those of the patient's posterior.
    """

    number: int
    known: int
    expected: Floats
    dv: Floats
    log_score: float
    reliable: bool
    note: str


def foreseen(population: PopulationDraws, dataset: Dataset, wanted: Wanted) -> Iterator[Foreseen]:
    """Every forecast of one patient: without samples, then after each.

    Parameters
    ----------
    population
        Draws of the population posterior, in which the patient had no part.
    dataset
        Data of one subject, with observations; that they fit the model has been checked.
    wanted
        What is asked.
    """
    subject = dataset.subjects[0]
    records = np.flatnonzero(dataset.is_observation)
    whole = partial_of(population, dataset)[0]
    used = set(dataset.varying) & set(whole.patient.covariates)
    hides = bool(used) and not wanted.covariates_known
    most = len(records) - 1 if wanted.most is None else min(wanted.most, len(records) - 1)
    for known in range(most + 1):
        partial = whole
        if hides:
            now = int(records[known - 1]) if known else 0
            partial = partial_of(population, held_from(dataset, now))[0]
        rng = patient_seed(wanted.seed, f"{subject}\nforecast after {known}")
        past = partial.seeing(np.arange(len(records)) < known)
        posterior = patient_posterior(population, past, samples=wanted.samples, rng=rng)
        yield from _after(population, partial, posterior, known, rng)


def _after(
    population: PopulationDraws,
    partial: Partial,
    posterior: PatientPosterior,
    known: int,
    rng: np.random.Generator,
) -> Iterator[Foreseen]:
    """Forecasts of all later observations from the posterior given the first ``known``."""
    patient, error = partial.patient, population.model.error
    sigma = population.taken(posterior.draw).sigma
    # A last row, of occasions still to come, may stand after the patient's own.
    theta = posterior.parameters[:, : len(patient.occasion)]
    ipred = np.full((len(theta), partial.n_observations), np.nan)
    if not np.isnan(theta).all():
        ipred = np.asarray(patient.solver.ensemble(np.ascontiguousarray(theta)).value)
        ipred = np.where(np.isfinite(ipred), ipred, np.nan)
    for number in range(known, partial.n_observations):
        kept = np.arange(partial.n_observations) < known
        kept[number] = True
        # After those that are known comes the one that is forecast.
        seen, predicted = only(patient.observed, kept), ipred[:, kept]
        with np.errstate(all="ignore"):
            density = np.asarray(error.log_likelihood(seen, predicted, sigma, NUMPY))[:, -1]
            expected, dv = observed_draws(error, seen, predicted, sigma, rng)
        density = np.where(np.isnan(density), -np.inf, density)
        score = float(logsumexp(density) - np.log(len(density)))
        if seen.status[-1] > 0 and error.leaves_out_below:
            score = float("nan")
        yield Foreseen(number, known, expected, dv, score, posterior.reliable, posterior.note)


def observed_draws(
    error: ResidualError,
    seen: Observed,
    predicted: Floats,
    sigma: Mapping[str, Floats],
    rng: np.random.Generator,
) -> tuple[Floats, Floats]:
    """What the last observation is expected to be (S), and draws of it (S), without any limit.

    Parameters
    ----------
    error
        The residual error; its median is what is expected.
    seen
        Observations that are known, and the one to draw.
    predicted
        Their individual predictions (S, n_observations).
    sigma
        Parameters of the error, (S, 1) each.
    rng
        Random numbers.

    Notes
    -----
    Where residuals are correlated in time, the new one follows the last that is known.
    """
    back, shape = int(seen.back[-1]), predicted.shape
    residuals = np.zeros(shape)
    if not (error.is_sequential and back):
        centre = np.asarray(error.displaced(seen, predicted, sigma, residuals))[:, -1]
        last = Observed._make(np.asarray(column)[-1:] for column in seen)
        alone = last._replace(back=np.zeros(1, dtype=np.int64), since=np.ones(1))
        return centre, np.asarray(error.simulate(alone, predicted[:, -1:], sigma, rng))[:, 0]
    rho = np.broadcast_to(error.correlation(seen, sigma, NUMPY), shape)[:, -1]
    before = np.broadcast_to(error.standardised(seen, predicted, sigma, NUMPY)[0], shape)
    residuals[:, -1] = rho * before[:, -1 - back]
    centre = np.asarray(error.displaced(seen, predicted, sigma, residuals))[:, -1]
    residuals[:, -1] += np.sqrt(1.0 - rho**2) * rng.standard_normal(len(rho))
    return centre, np.asarray(error.displaced(seen, predicted, sigma, residuals))[:, -1]

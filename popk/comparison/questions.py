"""What is left out, and what of the patient stays known: three questions.

For a patient with data y, measured covariates x and population parameters theta, whose random
effects are integrated out everywhere:

- ``"patient"``: y is left out, nothing stays known;
- ``"observation"``: one observation y_j is left out, the others stay known. Its predictive density
  p(y_j | y_others, theta) is a ratio of two marginal likelihoods, p(y | theta) over
  p(y_others | theta), each integrated with modes and nodes of its own. Weighing draws of the random
  effects instead fails where a patient has few observations: each of them is then influential (see
  Millar, Statistics and Computing 28:375, 2018; Merkle, Furr & Rabe-Hesketh, Psychometrika 84:802,
  2019). Mixtures of the leave-one-out posteriors (Silva & Zanella, JASA 119:2369, 2024) keep those
  weights bounded, but need draws from another posterior than the fit's; with the patient kernel
  the integrals are had directly;
- ``"future"``: observations are predicted one after the other, each from those before it, as a
  ratio of two marginal likelihoods again; later ones are unknown.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from popk.comparison.integrals import Integral, integrate
from popk.dataset import Dataset
from popk.errors import SettingError
from popk.individual import Patient
from popk.individual.partial import Partial, partial_of, past_of
from popk.individual.posterior import patient_seed
from popk.population import PopulationDraws
from popk.statistics import NUMPY

__all__ = ["QUESTIONS", "Asked", "Piece", "Pieces", "check_unit", "pieces_of"]

type Floats = NDArray[np.float64]

QUESTIONS = {
    "patient": "How well is a new patient predicted, all of whose observations are left out? "
    "(Random effects integrated out; the patient's covariates are known.)",
    "observation": "How well is one observation of a known patient predicted from the patient's "
    "other observations?",
    "future": "How well is each next observation of a patient predicted from the patient's earlier "
    "observations alone?",
}
"""The question that each unit of leaving out answers."""


@dataclass(frozen=True)
class Piece:
    """One thing left out, under S draws.

    ``number`` of the observation among the patient's, -1 for all of them; ``score`` (S), its log
    predictive density given what stays known of the patient; ``known`` (S), the log density of
    that.
    """

    number: int
    score: Floats
    known: Floats


@dataclass(frozen=True)
class Pieces:
    """All that is left out of one patient in turn.

    ``whole`` (S) is the log density of all that the fit knew of the patient; ``noise`` and
    ``nodes`` are the most of its integrals (see `popk.comparison.integrals.Integral`).
    """

    pieces: tuple[Piece, ...]
    whole: Floats
    noise: float
    nodes: int


@dataclass(frozen=True)
class Asked:
    """The unit that is left out, the seed, and whether later covariates are known (future)."""

    unit: str
    seed: int
    covariates_known: bool = False


def check_unit(unit: str) -> None:
    """Refuse what is not a unit of leaving out.

    Raises
    ------
    SettingError
        In a sentence.
    """
    if unit not in QUESTIONS:
        raise SettingError(
            f"unit is {unit!r}; expected one of {', '.join(map(repr, QUESTIONS))}: a new patient, "
            "another observation of a known patient, or a known patient's next observation."
        )


def pieces_of(population: PopulationDraws, dataset: Dataset, asked: Asked) -> Pieces:
    """What is left out of one patient in turn, under every draw.

    Parameters
    ----------
    population
        S draws. The effects of the groups (sites) that they know belong to them; those of another
        group are integrated out with the patient's.
    dataset
        Data of one subject, with observations.
    asked
        The question.
    """
    partial = partial_of(population, dataset)[0]
    ask = _Integrals(population, asked)
    whole = ask(partial.patient, "all")
    measured = _measured(population, partial.patient)
    found = {"patient": _patient, "observation": _observations, "future": _future}[asked.unit](
        ask, partial, dataset, whole
    )
    none = asked.unit == "patient"
    pieces = tuple(
        Piece(number, score, known if none else known + measured) for number, score, known in found
    )
    return Pieces(pieces, whole + measured, ask.noise, ask.nodes)


class _Integrals:
    """Integrals over one patient's random effects, each with random numbers of its own."""

    def __init__(self, population: PopulationDraws, asked: Asked) -> None:
        self.population = population
        self.asked = asked
        self.noise = 0.0
        self.nodes = 0

    def __call__(self, patient: Patient, label: str) -> Floats:
        rng = patient_seed(self.asked.seed, f"{patient.subject}\n{label}")
        found: Integral = integrate(self.population, patient, rng)
        self.noise = max(self.noise, found.noise)
        self.nodes = max(self.nodes, found.nodes)
        return found.log_likelihood


type _Found = Iterator[tuple[int, Floats, Floats]]


def _patient(ask: _Integrals, partial: Partial, dataset: Dataset, whole: Floats) -> _Found:
    yield -1, whole, np.zeros_like(whole)


def _observations(ask: _Integrals, partial: Partial, dataset: Dataset, whole: Floats) -> _Found:
    everything = np.ones(partial.n_observations, dtype=bool)
    for number in range(partial.n_observations):
        kept = everything.copy()
        kept[number] = False
        known = ask(partial.seeing(kept), f"without {number}")
        yield number, _ratio(whole, known), known


def _future(ask: _Integrals, partial: Partial, dataset: Dataset, whole: Floats) -> _Found:
    last = partial.n_observations - 1
    constant = not set(dataset.varying) & set(partial.patient.covariates)
    before = np.zeros_like(whole)
    for number in range(partial.n_observations):
        if constant and number == last:
            upto = whole
        else:
            known = ask.asked.covariates_known
            past = past_of(dataset, number, covariates_known=known)
            then = partial_of(ask.population, past)[0]
            upto = ask(then.patient, f"up to {number}")
            if not constant and number:
                seen = np.arange(number + 1) < number
                before = ask(then.seeing(seen), f"before {number}")
        yield number, _ratio(upto, before), before
        before = upto


def _ratio(above: Floats, below: Floats) -> Floats:
    """Log ratio of densities; -inf where both are zero."""
    with np.errstate(invalid="ignore"):
        return np.where(np.isfinite(above), above - below, -np.inf)


def _measured(population: PopulationDraws, patient: Patient) -> Floats:
    """Log density (S) of the patient's measured values of latent covariates."""
    total = np.zeros(population.size)
    for one in population.model.latent:
        value = patient.covariates[one.covariate][0]
        if np.isfinite(value):
            total += np.asarray(one.log_density(value, population.values, NUMPY))
    return total

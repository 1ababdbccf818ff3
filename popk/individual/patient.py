"""One patient: its data in the form that the integrals read, its parameters, the joint density."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from popk.dataset import Dataset
from popk.design import Design, design_of
from popk.individual.latent import expected_of
from popk.individual.usual import Usual, usual_of
from popk.levels import new_levels
from popk.observations import observations
from popk.population import PopulationDraws
from popk.statistics import NUMPY, Level, Observed
from popk.structure import Solver
from popk.structure.events import ROW

__all__ = [
    "Patient",
    "likelihood",
    "log_joint",
    "n_effects",
    "next_occasion",
    "parameters_of",
    "patients_of",
    "split_effects",
]

type Floats = NDArray[np.float64]

_LOG_TWO_PI = float(np.log(2 * np.pi))


@dataclass(frozen=True)
class Patient:
    """One patient's data in the form that modes and proposals read.

    Parameters
    ----------
    subject
        ID.
    solver
        The structure, ready to be solved for the patient's doses and observation times.
    observed
        Observations; may be empty.
    covariates
        Value of each covariate that the model uses, (n_rows): more than one row where they change;
        NaN where a latent one is missing.
    occasion
        Occasion of each row, (n_rows), counted from 0.
    numbers
        OCC of each occasion; empty where the model has no variability between occasions.
    last_row
        The row that holds at the end.
    new_levels
        Further levels of variability of which the population does not know the patient's group.
    label
        Class of the patient, where a category says it; -1 where it is not known.
    usual
        The arithmetic of the model in one pass, where there is such.
    """

    subject: str
    solver: Solver
    observed: Observed
    covariates: dict[str, Floats]
    occasion: NDArray[np.int64]
    numbers: tuple[int, ...] = ()
    last_row: int = 0
    new_levels: tuple[Level, ...] = ()
    label: int = -1
    usual: Usual | None = None

    def usual_for(self, population: PopulationDraws) -> Usual | None:
        """The arithmetic in one pass, if it serves this patient under these draws."""
        serves = self._is_usual and self.usual is not None and self.usual.model is population.model
        return self.usual if serves else None

    @cached_property
    def _is_usual(self) -> bool:
        return not (self.n_last or self.numbers or self.observed.status.any())

    @property
    def missing(self) -> tuple[str, ...]:
        """Names of the latent covariates that are missing: each has one of the last effects."""
        return tuple(name for name, value in self.covariates.items() if np.isnan(value).any())

    @property
    def n_last(self) -> int:
        """Number of the last effects, which move what is expected.

        Those of the latent covariates that are missing, then those of groups that are not known.
        """
        return len(self.missing) + sum(len(level.effects) for level in self.new_levels)


def patients_of(
    population: PopulationDraws,
    dataset: Dataset,
    *,
    threads: int | None = None,
    design: Design | None = None,
) -> list[Patient]:
    """The patients of a dataset (whose fit to the model has been checked).

    Each is solved with at most so many ``threads``; all processors if None. ``design`` is that of
    the data, where it is known.
    """
    model = population.model
    design = design_of(model, dataset) if design is None else design
    observed = observations(model, dataset, design.events)
    found, start, usual = [], 0, usual_of(model)
    for index, subject in enumerate(dataset.subjects):
        own = design.events.subject(index)
        end = start + own.n_outputs
        part = observed.part(slice(start, end))
        rows = slice(*design.rows.first[index : index + 2])
        values = {name: value[rows] for name, value in design.covariates.items()}
        mine, occasion = np.unique(design.occasion[rows], return_inverse=True)
        numbers = design.occasion_number[mine].tolist() if model.iov.effects else []
        solver = Solver(model.structure, own, threads=threads)
        switches = own.place[own.kind == ROW]
        last = int(switches[-1]) if len(switches) else 0
        new, label = new_levels(model, population.levels, values), int(design.labels[index])
        occasions = occasion.ravel()
        found.append(
            Patient(
                subject, solver, part, values, occasions, tuple(numbers), last, new, label, usual
            )
        )
        start = end
    return found


def n_effects(population: PopulationDraws, patient: Patient) -> int:
    """Number of a patient's random effects, of its occasions' and of the last ones."""
    model = population.model
    own = len(model.iiv.effects) + len(patient.numbers) * len(model.iov.effects)
    return own + patient.n_last


def split_effects(
    population: PopulationDraws, patient: Patient, z: Floats
) -> tuple[Floats, Floats | None]:
    """Standardised effects (S, ..., k) as those between subjects, and those of each occasion.

    The latter are (S, ..., n_occasions, n_occasion_effects), or None without such variability.
    """
    model = population.model
    k = len(model.iiv.effects)
    end = z.shape[-1] - patient.n_last
    if not patient.numbers:
        return z[..., :end], None
    shape = (*z.shape[:-1], len(patient.numbers), len(model.iov.effects))
    return z[..., :k], z[..., k:end].reshape(shape)


def parameters_of(
    population: PopulationDraws, patient: Patient, expected: Floats, z: Floats
) -> tuple[Floats, Floats]:
    """A patient's parameters (S, ..., n_rows, m) for standardised effects z (S, ..., k).

    ``expected`` is (S, ..., n_rows, m), computed anew for a patient with latent covariates or in an
    unknown group. Also returns the slopes of the effects between subjects, (S, ..., n_effects), see
    `popk.population.PopulationDraws.eta`.
    """
    if patient.n_last:
        expected = expected_of(population, patient, z)
    own, occasions = split_effects(population, patient, z)
    eta, slope = population.eta(own)
    kappa = None
    if occasions is not None:
        kappa = population.kappa(occasions)[..., patient.occasion, :]
    return population.parameters(expected, eta[..., None, :], kappa), slope


def next_occasion(
    population: PopulationDraws,
    patient: Patient,
    expected: Floats,
    eta: Floats,
    rng: np.random.Generator,
) -> Floats:
    """A patient's parameters in an occasion still to come (S, 1, m).

    Parameters
    ----------
    population
        Population parameters of each sample.
    patient
        The patient; covariates stay as they are in the end.
    expected
        Its parameters on their scales without random effects, (S, n_rows, m).
    eta
        Its random effects between subjects (S, n_effects).
    rng
        Random numbers for those of the occasion.
    """
    row = expected[:, patient.last_row, None]
    return population.parameters(row, eta[:, None], population.new_occasions(1, rng))


def log_joint(
    population: PopulationDraws, patient: Patient, expected: Floats, z: Floats
) -> tuple[Floats, Floats]:
    """Log density (S, J) of a patient's data and of z under each population draw.

    Parameters
    ----------
    population, patient
        S population draws, and whose data.
    expected
        The patient's parameters on their scales without random effects, (S, n_rows, m).
    z
        Standardised effects (S, J, k).

    Returns
    -------
    The density, -inf where the likelihood is undefined, and the parameters (S, J, n_rows, m).
    """
    size, each, k = z.shape
    prior = -0.5 * (np.einsum("sjk,sjk->sj", z, z) + k * _LOG_TWO_PI)
    usual = patient.usual_for(population)
    if usual is not None:
        mixed, rows = usual.mixed(population), np.arange(size)
        theta = usual.parameters(mixed, expected, z, rows)
        flat = theta.reshape(size * each, *theta.shape[2:])
        prediction = patient.solver.ensemble(flat).value.reshape(size, each, -1)
        return usual.log_likelihood(mixed, patient.observed, prediction, rows) + prior, theta
    theta, _ = parameters_of(population, patient, expected[:, None], z)
    prediction = patient.solver.ensemble(theta.reshape(size * each, *theta.shape[2:])).value
    sigma = {name: np.repeat(value, each, axis=0) for name, value in population.sigma.items()}
    found = likelihood(population, patient, prediction, sigma).reshape(size, each)
    return found + prior, theta


def likelihood(
    population: PopulationDraws, patient: Patient, prediction: Floats, sigma: Mapping[str, Floats]
) -> Floats:
    """Log likelihood of the patient's data for rows of predictions; -inf where undefined."""
    error = population.model.error
    with np.errstate(all="ignore"):
        each = error.log_likelihood(patient.observed, prediction, sigma, NUMPY)
        # A product sums the few columns of many rows several times faster than a sum does.
        total = np.asarray(each) @ np.ones(np.shape(each)[1])
    return np.where(np.isfinite(total), total, -np.inf)

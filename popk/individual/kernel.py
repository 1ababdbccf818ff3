"""One patient: conditional mode, curvature, marginal likelihood and draws of the random effects.

For each of S draws of the population parameters, the log density of the standardised effects z
(those of the patient's occasions included) given its data is maximised by damped Gauss-Newton steps
with the structure's exact gradients, all S at once. Nodes spread evenly around each mode
(`popk.individual.nodes`) then propose, and importance weights correct: what comes out is the joint
posterior of population parameters and random effects, and an unbiased estimate of each draw's
marginal likelihood p(y | theta).

An observation beyond its limit cuts the posterior off on one side and says nothing on the other, so
its curvature at the mode is too narrow for that other side. For a patient with such observations
half of the nodes are spread as wide as the quantified ones alone allow (a defensive mixture:
Hesterberg, Technometrics 37:185, 1995).

Where the model has sub-populations, the modes and nodes are those of each class in turn, whose
weights carry its share: the sum over the classes is exact. In a class that is not the patient's the
data may pull in two ways at once, so part of the nodes are as wide as the random effects are.

Effects that subjects of a site share are draws of the fit, as population parameters are: everything
is conditional on them. Of a site that the fit does not know they are standardised effects of the
patient, and integrated over.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from popk.dataset import Dataset
from popk.design import design_of
from popk.individual.classes import over_classes
from popk.individual.latent import by_latent, expected_of
from popk.individual.nodes import draw_nodes, log_density
from popk.levels import new_levels
from popk.observations import observations
from popk.population import PopulationDraws
from popk.statistics import NUMPY, Level, Observed, innovations, prediction_slopes
from popk.structure import Solver
from popk.structure.events import ROW

__all__ = [
    "Modes",
    "Patient",
    "Proposals",
    "Shape",
    "find_modes",
    "log_joint",
    "n_effects",
    "next_occasion",
    "nodes_around",
    "parameters_of",
    "patients_of",
    "propose",
    "split_effects",
]

type Floats = NDArray[np.float64]

_TOLERANCE = 1e-6  # of the log density
_STEPS = 40
_SURE = 0.1  # part of the tolerance: so small a step is taken as it is
_LONGEST = 3.0  # step in z, whose scale is 1: the approximation says little beyond
_LOG_TWO_PI = float(np.log(2 * np.pi))


@dataclass(frozen=True)
class Patient:
    """One patient's data in the form that the kernel reads.

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


@dataclass(frozen=True)
class Modes:
    """Conditional modes of a patient's z under each population draw.

    With sub-populations under each of `PopulationDraws.by_class`: S is draws times classes then.
    ``z`` (S, k), those between subjects first, then those of each occasion, then the latent
    covariates, then those of groups that are not known; ``precision`` (S, k, k), the Gauss-Newton
    curvature there, and ``quantified`` (S, k, k), the same without observations beyond their limit;
    ``expected`` (S, n_rows, m), the parameters on their scales without random effects (latent
    covariates and groups at the mode).
    """

    z: Floats
    precision: Floats
    quantified: Floats
    expected: Floats

    def taken(self, rows: NDArray[np.int64]) -> Modes:
        """Those of some draws."""
        parts = (self.z, self.precision, self.quantified, self.expected)
        return Modes(*(part[rows] for part in parts))


@dataclass(frozen=True)
class Shape:
    """How a patient's conditional posterior differs from the normal one that its mode suggests.

    In coordinates y = L^T (z - mode), where L L^T is the precision at the mode, it has about the
    mean ``centre`` (k) and the covariance F F^T, F = ``factor`` (k, k). Where its tails are heavier
    than such nodes', some are to be ``defensive``: spread as widely as the effects themselves are.
    """

    centre: Floats
    factor: Floats
    defensive: bool = False


@dataclass(frozen=True)
class Proposals:
    """J proposals for each population draw, with their importance weights.

    ``z`` (S, J, k), proposed with ``log_density`` (S, J); ``parameters`` (S, J, n_rows, m);
    ``log_weight`` (S, J), the log of likelihood times prior over proposal density. With
    sub-populations J is ``n_classes`` times the proposals of each class, class after class: what is
    proposed, with ``log_density``, is a class (evenly) and z, and its share is part of the prior.
    """

    z: Floats
    log_density: Floats
    parameters: Floats
    log_weight: Floats
    n_classes: int = 1

    @property
    def label(self) -> NDArray[np.int64]:
        """Class of each proposal of a draw (J)."""
        return np.repeat(np.arange(self.n_classes), self.log_weight.shape[1] // self.n_classes)

    @property
    def log_marginal(self) -> Floats:
        """Log of the estimated marginal likelihood p(y | theta) of each draw (S).

        It is conditional on the covariates that were measured, whose own density, where they are
        latent in others, is `popk.population.PopulationDraws.measured_density`.
        """
        return np.asarray(logsumexp(self.log_weight, axis=1) - np.log(self.log_weight.shape[1]))


def patients_of(
    population: PopulationDraws, dataset: Dataset, *, threads: int | None = None
) -> list[Patient]:
    """The patients of a dataset (whose fit to the model has been checked).

    Each is solved with at most so many ``threads``; all processors if None.
    """
    model = population.model
    design = design_of(model, dataset)
    observed = observations(model, dataset, design.events)
    found, start = [], 0
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
            Patient(subject, solver, part, values, occasions, tuple(numbers), last, new, label)
        )
        start = end
    return found


def find_modes(
    population: PopulationDraws,
    patient: Patient,
    *,
    start: Floats | None = None,
    steps: int = _STEPS,
    tolerance: float = _TOLERANCE,
) -> Modes:
    """Conditional mode of z under every population draw, by damped Gauss-Newton steps.

    Where the model has sub-populations and the class is not known, under every draw in every class
    (`PopulationDraws.by_class`); S below counts these.

    Parameters
    ----------
    population, patient
        Whose modes.
    start
        Where to begin (S, k); zero if None.
    steps
        At most so many steps.
    tolerance
        Stop where a step promises no more log density than this, and loses no more: a tenth is near
        enough for what `propose` needs. That step is still taken, with the precision of where it
        began.
    """
    population = population.by_class()
    size, k = population.size, n_effects(population, patient)
    z = np.zeros((size, k)) if start is None else start.copy()
    expected = expected_of(population, patient, z)
    state = _density(population, patient, expected, z, np.arange(size))
    value, gradient, precision = state[:3]
    active = np.arange(size) if k else np.arange(0)
    damping = np.ones(size)
    for _ in range(steps):
        if not len(active):
            break
        step = _bounded(np.linalg.solve(precision[active], gradient[active][..., None])[..., 0])
        promised = 0.5 * (step * gradient[active]).sum(axis=1)
        last = promised <= tolerance
        # Where the curvature misleads, a step that promised little may lose much.
        doubtful = np.flatnonzero(last & (promised > _SURE * tolerance))
        if len(doubtful):
            rows = active[doubtful]
            end = z[rows] + damping[rows, None] * step[doubtful]
            reached = _value(population, patient, expected, end, rows)
            last[doubtful] = reached >= value[rows] - tolerance
        z[active[last]] += damping[active[last], None] * step[last]
        active, step = active[~last], step[~last]
        if not len(active):
            break
        trial = z[active] + damping[active, None] * step
        new = _density(population, patient, expected, trial, active)
        better = (new[0] >= value[active]) & np.isfinite(new[0])
        taken = active[better]
        gain = np.full(len(active), np.inf)
        gain[better] = new[0][better] - value[taken]
        z[taken] = trial[better]
        for kept, part in zip(state, new, strict=True):
            kept[taken] = part[better]
        damping[taken] = np.minimum(2 * damping[taken], 1.0)
        damping[active[~better]] *= 0.25
        active = active[(gain > tolerance) & (damping[active] > 1e-6)]
    expected = expected_of(population, patient, z) if patient.n_last else expected
    return Modes(z, precision, state[3], expected)


def _bounded(step: Floats) -> Floats:
    """Steps (S, k) no longer than the approximation holds, zero where undefined."""
    step = np.nan_to_num(step)
    return np.asarray(
        step * _LONGEST / np.maximum(np.abs(step).max(axis=1, keepdims=True), _LONGEST)
    )


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


def propose(
    population: PopulationDraws,
    patient: Patient,
    modes: Modes,
    *,
    each: int,
    rng: np.random.Generator,
    shape: Shape | None = None,
    common: bool = False,
) -> Proposals:
    """``each`` proposals around every mode, with importance weights.

    Parameters
    ----------
    population, patient, modes
        From `find_modes`.
    each
        Proposals per population draw (and class), J.
    rng
        Random numbers.
    shape
        Of the conditional posterior, where it is known to differ from the normal one.
    common
        Use the same nodes for every population draw: their error is then a smooth function of the
        population parameters.
    """
    if population.n_classes > 1:
        own = propose(
            population.by_class(), patient, modes, each=each, rng=rng, shape=shape, common=common
        )
        return over_classes(population, patient, modes, own)
    size, k = modes.z.shape
    if k == 0:
        each = 1
    factors = [np.linalg.cholesky(modes.precision)]
    if patient.observed.status.any():
        factors.append(np.linalg.cholesky(modes.quantified))
    if population.label is not None or (shape is not None and shape.defensive):
        factors.append(np.broadcast_to(np.eye(k), modes.precision.shape))
    shift = np.empty((size, each, k))
    share = [len(range(c, each, len(factors))) for c in range(len(factors))]
    for c, factor in enumerate(factors):
        nodes = draw_nodes(size, share[c], k, rng, common=common)
        shift[:, c :: len(factors)] = _placed(factor, nodes, shape if c == 0 else None)
    z = modes.z[:, None, :] + shift
    parts = [_log_proposal(shift, f, shape if c == 0 else None) for c, f in enumerate(factors)]
    proposed = parts[0]
    if len(parts) > 1:
        proposed = logsumexp(parts, axis=0, b=np.reshape(share, (-1, 1, 1)) / each)
    density, theta = log_joint(population, patient, modes.expected, z)
    return Proposals(z, proposed, theta, density - proposed)


def nodes_around(
    modes: Modes, *, each: int, rng: np.random.Generator, shape: Shape | None = None
) -> Floats:
    """``each`` standardised effects (S, J, k) around every mode, as `propose` does, unweighted."""
    size, k = modes.z.shape
    nodes = draw_nodes(size, each if k else 1, k, rng)
    return modes.z[:, None, :] + _placed(np.linalg.cholesky(modes.precision), nodes, shape)


def _placed(factor: Floats, nodes: Floats, shape: Shape | None) -> Floats:
    """Nodes (S, J, k) as shifts from modes with precision L L^T, L = ``factor``."""
    if shape is not None:
        nodes = shape.centre + nodes @ shape.factor.T
    # x = mode + L^-T t has precision L L^T.
    solved = np.linalg.solve(np.swapaxes(factor, 1, 2), np.swapaxes(nodes, 1, 2))
    return np.swapaxes(solved, 1, 2)


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
    theta, _ = parameters_of(population, patient, expected[:, None], z)
    prediction = patient.solver.ensemble(theta.reshape(size * each, *theta.shape[2:])).value
    sigma = {name: np.repeat(value, each, axis=0) for name, value in population.sigma.items()}
    likelihood = _likelihood(population, patient, prediction, sigma).reshape(size, each)
    return likelihood - 0.5 * (z**2).sum(axis=-1) - 0.5 * k * _LOG_TWO_PI, theta


def _log_proposal(shift: Floats, factor: Floats, shape: Shape | None) -> Floats:
    """Log density (S, J) of shifts (S, J, k) from the mode, nodes with precision L L^T."""
    log_determinant = np.log(np.diagonal(factor, axis1=1, axis2=2)).sum(axis=1)[:, None]
    y = shift @ factor
    if shape is None:
        return np.asarray(log_density(y) + log_determinant)
    nodes = (y - shape.centre) @ np.linalg.inv(shape.factor).T
    bent = np.log(np.diagonal(shape.factor)).sum()
    return np.asarray(log_density(nodes) + log_determinant - bent)


def _likelihood(
    population: PopulationDraws, patient: Patient, prediction: Floats, sigma: Mapping[str, Floats]
) -> Floats:
    """Log likelihood of the patient's data for rows of predictions; -inf where undefined."""
    error = population.model.error
    with np.errstate(all="ignore"):
        each = error.log_likelihood(patient.observed, prediction, sigma, NUMPY)
    total = np.asarray(each).sum(axis=1)
    return np.where(np.isfinite(total), total, -np.inf)


def _value(
    population: PopulationDraws,
    patient: Patient,
    expected: Floats,
    z: Floats,
    rows: NDArray[np.int64],
) -> Floats:
    """Log density of z up to a constant, as `_density` has it."""
    chosen = population.taken(rows)
    theta, _ = parameters_of(chosen, patient, expected[rows], z)
    prediction = patient.solver.ensemble(theta).value
    likelihood = _likelihood(population, patient, prediction, chosen.sigma)
    return np.asarray(likelihood - 0.5 * (z**2).sum(axis=1))


def _density(
    population: PopulationDraws,
    patient: Patient,
    expected: Floats,
    z: Floats,
    rows: NDArray[np.int64],
) -> tuple[Floats, Floats, Floats, Floats]:
    """Log density of z up to a constant, gradient, Gauss-Newton precision; that of the quantified.

    The last is the precision without the observations beyond their limit.
    """
    model = population.model
    chosen = population.taken(rows)
    sigma = chosen.sigma
    theta, bent = parameters_of(chosen, patient, expected[rows], z)
    prediction, by_row = patient.solver.ensemble(theta, with_gradient=True)
    value = _likelihood(population, patient, prediction, sigma) - 0.5 * (z**2).sum(axis=1)
    slope, curvature = prediction_slopes(model.error, patient.observed, prediction, sigma)
    by_theta = by_row.reshape(*prediction.shape, *theta.shape[1:])
    by_phi = by_theta * chosen.slopes(theta)[:, None]  # (S, n_observations, n_rows, m)
    by_z = _by_effects(chosen, patient, by_phi, bent)
    if patient.n_last:
        by_z = np.concatenate([by_z, by_latent(chosen, patient, by_phi, z)], axis=-1)
    by_z = np.where(np.isfinite(by_z), by_z, 0.0)
    gradient = np.einsum("so,sok->sk", slope, by_z) - z
    new = innovations(model.error, patient.observed, prediction, sigma, by_z)
    precision = np.einsum("so,sok,sol->skl", curvature, new, new) + np.eye(z.shape[1])
    beyond = patient.observed.status != 0
    if not beyond.any():
        return value, gradient, precision, precision
    curvature = np.where(beyond, 0.0, curvature)
    quantified = np.einsum("so,sok,sol->skl", curvature, new, new) + np.eye(z.shape[1])
    return value, gradient, precision, quantified


def _by_effects(
    population: PopulationDraws, patient: Patient, by_phi: Floats, bent: Floats
) -> Floats:
    """Derivatives by standardised effects (S, n_observations, k).

    From those by the parameters of each row on their scales (S, n_observations, n_rows, m);
    ``bent`` are the slopes of the effects between subjects (S, n_effects).
    """
    whole = by_phi.sum(axis=2)
    by_eta = [whole[..., positions].sum(axis=-1) for positions in population.effect_positions]
    parts = []
    if by_eta:
        parts.append((np.stack(by_eta, axis=-1) * bent[:, None]) @ population.factor)
    for occasion in range(len(patient.numbers)):
        own = by_phi[:, :, patient.occasion == occasion].sum(axis=2)
        by_kappa = own[..., population.occasion_positions] * population.omega_iov[:, None]
        parts.append(by_kappa @ population.factor_iov)
    return np.concatenate(parts, axis=-1) if parts else np.zeros((*whole.shape[:2], 0))

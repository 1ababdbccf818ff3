"""Nodes around one patient's conditional modes, and their importance weights.

Nodes spread evenly around each mode (`popk.individual.nodes`) propose, and importance weights
correct: what comes out is the joint posterior of population parameters and random effects, and an
unbiased estimate of each draw's marginal likelihood p(y | theta).

An observation beyond its limit cuts the posterior off on one side and says nothing on the other, so
its curvature at the mode is too narrow for that other side. For a patient with such observations
half of the nodes are spread as wide as the quantified ones alone allow (a defensive mixture:
Hesterberg, Technometrics 37:185, 1995).

Where the model has sub-populations, the nodes are those of each class in turn, whose weights carry
its share: the sum over the classes is exact. In a class that is not the patient's the data may pull
in two ways at once, so part of the nodes are as wide as the random effects are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from popk.individual.classes import over_classes
from popk.individual.modes import Modes
from popk.individual.nodes import draw_nodes, log_density
from popk.individual.patient import Patient, log_joint
from popk.individual.precisions import root_of
from popk.population import PopulationDraws

__all__ = [
    "Frame",
    "Proposals",
    "Shape",
    "nodes_around",
    "propose",
]

type Floats = NDArray[np.float64]

_DEPENDENT = 1e-4  # part of an effect that others do not determine, taken as no smaller there
_NARROW = 1e-6  # an SD that is taken as no smaller where it is divided by


@dataclass(frozen=True)
class Shape:
    """How a patient's conditional posterior differs from the normal one that its mode suggests.

    In coordinates y = L^T (z - mode), where L L^T is the precision at the mode, it has about the
    mean ``centre`` (k) and the covariance F F^T, F = ``factor`` (k, k). Where its tails are heavier
    than such nodes', some are to be ``defensive``: spread as widely as the effects themselves are;
    and some where a mixture of normal distributions says, with means ``centres`` (C, k) and
    covariances F F^T, F of ``factors`` (C, k, k), in the coordinates of `Frame`.
    """

    centre: Floats
    factor: Floats
    defensive: bool = False
    centres: Floats | None = None
    factors: Floats | None = None


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
    parts = _parts(population, patient, modes, shape)
    if len(parts) == 1:
        nodes = draw_nodes(1 if common else size, each, k, rng)
        z = modes.z[:, None, :] + _placed(parts[0].factor, nodes, shape)
        proposed = log_density(nodes) + _log_stretch(parts[0].factor, shape)
    else:
        z, proposed = _of_parts(parts, size, each, rng, common=common)
    density, theta = log_joint(population, patient, modes.expected, z)
    return Proposals(z, proposed, theta, density - proposed)


def nodes_around(
    modes: Modes, *, each: int, rng: np.random.Generator, shape: Shape | None = None
) -> Floats:
    """``each`` standardised effects (S, J, k) around every mode, as `propose` does, unweighted."""
    size, k = modes.z.shape
    nodes = draw_nodes(size, each if k else 1, k, rng)
    return modes.z[:, None, :] + _placed(root_of(modes.precision), nodes, shape)


def _placed(factor: Floats, nodes: Floats, shape: Shape | None) -> Floats:
    """Nodes (S, J, k) as shifts from modes with precision L L^T, L = ``factor``."""
    if shape is not None:
        nodes = shape.centre + nodes @ shape.factor.T
    # x = mode + L^-T t has precision L L^T.
    return np.asarray(nodes @ np.linalg.inv(factor))


class Frame(NamedTuple):
    """Coordinates in which a patient's conditional posterior hardly moves with the population's.

    ``offset`` (S, k) + ``matrix`` (S, k, k) times z: of effects between subjects the individual
    parameter on its scale (the first that the effect acts on, in the first row), of those of
    occasions the effect; latent covariates and groups stay standardised.
    """

    offset: Floats
    matrix: Floats

    @classmethod
    def of(cls, population: PopulationDraws, patient: Patient, modes: Modes) -> Frame:
        """Of each population draw (S); ``modes`` has what is expected of the patient."""
        size, k = modes.z.shape
        offset, matrix = np.zeros((size, k)), np.tile(np.eye(k), (size, 1, 1))
        first = [positions[0] for positions in population.effect_positions]
        end = len(first)
        offset[:, :end] = modes.expected[:, 0, first]
        omega = np.maximum(population.omega, _NARROW)[..., None]
        matrix[:, :end, :end] = omega * _regular(population.factor)
        q = len(population.occasion_positions)
        own = np.maximum(population.omega_iov, _NARROW)[..., None]
        own = own * _regular(population.factor_iov)
        for start in range(end, end + q * len(patient.numbers), max(q, 1)):
            matrix[:, start : start + q, start : start + q] = own
        return cls(offset, matrix)

    def forward(self, z: Floats) -> Floats:
        """Coordinates (S, J, k) of standardised effects (S, J, k)."""
        return np.asarray(self.offset[:, None] + z @ np.swapaxes(self.matrix, 1, 2))

    def inverse(self, point: Floats) -> Floats:
        """Standardised effects (S, k) of one point (k)."""
        away = (point - self.offset)[..., None]
        return np.asarray(np.linalg.solve(self.matrix, away)[..., 0])


def _regular(factor: Floats) -> Floats:
    """Cholesky factors (…, k, k) of correlations, none of which is so near 1 as to be singular."""
    least = np.eye(factor.shape[-1], dtype=bool) & (factor < _DEPENDENT)
    return np.where(least, _DEPENDENT, factor)


class _Part(NamedTuple):
    """A part of the nodes: around ``centre`` (S or 1, k) with precision L L^T, L = ``factor``."""

    centre: Floats
    factor: Floats
    shape: Shape | None = None


def _parts(
    population: PopulationDraws, patient: Patient, modes: Modes, shape: Shape | None
) -> list[_Part]:
    """What nodes are spread around in turn: the modes first."""
    found = [_Part(modes.z, root_of(modes.precision), shape)]
    if patient.observed.status.any():
        found.append(_Part(modes.z, root_of(modes.quantified)))
    if population.label is not None or (shape is not None and shape.defensive):
        found.append(_Part(modes.z, np.eye(modes.z.shape[1])[None]))
    if shape is not None and shape.centres is not None and shape.factors is not None:
        frame = Frame.of(population, patient, modes)
        for centre, factor in zip(shape.centres, shape.factors, strict=True):
            root = np.swapaxes(frame.matrix, 1, 2) @ np.linalg.inv(factor).T
            precision = np.linalg.cholesky(root @ np.swapaxes(root, 1, 2))
            found.append(_Part(frame.inverse(centre), precision))
    return found


def _of_parts(
    parts: list[_Part], size: int, each: int, rng: np.random.Generator, *, common: bool
) -> tuple[Floats, Floats]:
    """Nodes (S, J, k) of several parts in turn, and their log density (S, J)."""
    k = parts[0].centre.shape[1]
    z = np.empty((size, each, k))
    share = [len(range(c, each, len(parts))) for c in range(len(parts))]
    for c, part in enumerate(parts):
        nodes = draw_nodes(1 if common else size, share[c], k, rng)
        z[:, c :: len(parts)] = part.centre[:, None] + _placed(part.factor, nodes, part.shape)
    densities = [_log_proposal(z - part.centre[:, None], part.factor, part.shape) for part in parts]
    return z, np.asarray(logsumexp(densities, axis=0, b=np.reshape(share, (-1, 1, 1)) / each))


def _log_proposal(shift: Floats, factor: Floats, shape: Shape | None) -> Floats:
    """Log density (S, J) of shifts (S, J, k) from the mode, nodes with precision L L^T."""
    nodes = shift @ factor
    if shape is not None:
        nodes = (nodes - shape.centre) @ np.linalg.inv(shape.factor).T
    return np.asarray(log_density(nodes) + _log_stretch(factor, shape))


def _log_stretch(factor: Floats, shape: Shape | None) -> Floats:
    """Log density (S, 1) of shifts from the mode, over that of the nodes placed there."""
    found = np.log(np.diagonal(factor, axis1=1, axis2=2)).sum(axis=1)[:, None]
    return np.asarray(found if shape is None else found - np.log(np.diagonal(shape.factor)).sum())

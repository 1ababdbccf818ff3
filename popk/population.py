"""Draws of the population parameters, and what they say about a subject before its data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from popk.design import Design
from popk.errors import SettingError
from popk.fitted import FitError, dataset_of, effects_of, model_of, occasion_effects_of, thinned
from popk.latent import Missing
from popk.levels import GroupEffects, effects_in_posterior, level_shifts
from popk.model import PopModel
from popk.statistics import (
    NUMPY,
    CovariateEffect,
    Level,
    Variability,
    drawn_labels,
    expected_parameters,
    individual_parameters,
)

__all__ = [
    "FitError", "PopulationDraws", "check_seed", "dataset_of", "effects_of", "model_of",
    "occasion_effects_of", "thinned",
]  # fmt: skip

type Floats = NDArray[np.float64]
type Ints = NDArray[np.int64]


def check_seed(seed: int) -> None:
    """Refuse what is not a seed.

    Raises
    ------
    SettingError
        When it is not a whole number of zero or more.
    """
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise SettingError(f"The seed is {seed!r}; give a whole number of zero or more.")


@dataclass(frozen=True)
class PopulationDraws:
    """S draws of a model's population parameters.

    Parameters
    ----------
    model
        The model.
    values
        The draws (S) of each population parameter, in the model's units.
    label
        Where the model has sub-populations (or a category that may be missing) and the subject's
        class is known or taken as known: its position among them in every draw (S); see `by_class`
        and `of_class`.
    levels
        Effects of the groups that are known, by the covariate of the further level of variability:
        those of a fit belong to its posterior as the population parameters do.
    """

    model: PopModel
    values: Mapping[str, Floats]
    label: Ints | None = None
    levels: Mapping[str, GroupEffects] = field(default_factory=dict)

    @classmethod
    def of(cls, fit: xr.DataTree, draws: int | None = None) -> PopulationDraws:
        """Evenly spaced posterior draws of a fit (all if None)."""
        model = model_of(fit)
        chosen = thinned(fit, draws)
        posterior = fit["posterior"]
        values = {
            p.name: np.asarray(posterior[p.name].values, dtype=float).reshape(-1)[chosen]
            for p in model.parameters
        }
        return cls(model, values, levels=effects_in_posterior(model, posterior, chosen))

    @classmethod
    def from_prior(cls, model: PopModel, size: int, rng: np.random.Generator) -> PopulationDraws:
        """Independent draws from the model's priors."""
        return cls(model, {p.name: p.prior.draw(rng, size) for p in model.parameters})

    def taken(self, chosen: NDArray[np.int64]) -> PopulationDraws:
        """Some of the draws, by index."""
        label = None if self.label is None else self.label[chosen]
        values = {n: v[chosen] for n, v in self.values.items()}
        levels = {name: own.taken(chosen) for name, own in self.levels.items()}
        return PopulationDraws(self.model, values, label, levels)

    @property
    def n_classes(self) -> int:
        """Number of classes that the subject may belong to: 1 without, and where it is known."""
        return len(self.model.classes) if self.model.classes and self.label is None else 1

    def by_class(self) -> PopulationDraws:
        """Every draw once for each class (S * n_classes), draw after draw, the class known.

        Without sub-populations, or where the class is known, these same draws.
        """
        k = self.n_classes
        if k == 1:
            return self
        values = {name: np.repeat(value, k) for name, value in self.values.items()}
        own = {
            name: one.taken(np.repeat(np.arange(self.size), k)) for name, one in self.levels.items()
        }
        return PopulationDraws(self.model, values, np.tile(np.arange(k), self.size), own)

    def of_class(self, label: int) -> PopulationDraws:
        """The draws for a subject whose class is known; these same draws where it is -1."""
        return self if label < 0 else replace(self, label=np.full(self.size, label))

    @property
    def log_shares(self) -> Floats:
        """Logarithm of the classes' shares (S, n_classes); 0 where there is nothing to weigh."""
        if self.n_classes == 1 or self.model.subpopulations is None:
            return np.zeros((self.size, 1))
        columns = self.model.subpopulations.log_shares(self.values, NUMPY)
        return np.stack(np.broadcast_arrays(*columns), axis=-1)

    def new_labels(self, known: Ints, rng: np.random.Generator) -> Ints | None:
        """Classes of people never seen (S, n_subjects), drawn by the shares; None without.

        ``known`` (n_subjects) is the class of those in whom it was measured, else -1.
        """
        if self.model.subpopulations is None:
            return None
        drawn = drawn_labels(np.exp(self.log_shares)[:, None], rng, (self.size, len(known)))
        return np.where(known >= 0, known, drawn)

    @property
    def size(self) -> int:
        """Number of draws, S."""
        return len(next(iter(self.values.values())))

    @property
    def omega(self) -> Floats:
        """SDs of the random effects between subjects (S, n_effects)."""
        return self._omega(self.model.iiv)

    @property
    def omega_iov(self) -> Floats:
        """SDs of the random effects between occasions (S, n_occasion_effects)."""
        return self._omega(self.model.iov)

    def _omega(self, level: Variability) -> Floats:
        columns = [self.values[level.omega_name(effect)] for effect in level.effects]
        return np.stack(columns, axis=1) if columns else np.zeros((self.size, 0))

    @cached_property
    def factor(self) -> Floats:
        """Cholesky factor of the correlations between subjects (S, n_effects, n_effects)."""
        return self._factor(self.model.iiv)

    @cached_property
    def factor_iov(self) -> Floats:
        """The same between occasions."""
        return self._factor(self.model.iov)

    def _factor(self, level: Variability) -> Floats:
        size = len(level.effects)
        found = np.zeros((self.size, size, size))
        for i, row in enumerate(level.factor(self.values, NUMPY)):
            for j, value in enumerate(row):
                found[:, i, j] = value
        return found

    @property
    def sigma(self) -> dict[str, Floats]:
        """SDs of the residual error, each (S, 1)."""
        return {name: self.values[name][:, None] for name, _ in self.model.error.priors}

    @property
    def effect_positions(self) -> list[list[int]]:
        """Positions of the parameters that each random effect between subjects moves."""
        iiv, names = self.model.iiv, self.model.structure.names
        return [[names.index(name) for name in iiv.acts_on(effect)] for effect in iiv.effects]

    @property
    def occasion_positions(self) -> list[int]:
        """Position of the parameter of each random effect between occasions."""
        names = self.model.structure.names
        return [names.index(name) for name in self.model.iov.effects]

    def eta(self, z: Floats) -> tuple[Floats, Floats]:
        """Random effects between subjects from standardised ones, and their slopes.

        Parameters
        ----------
        z
            Independent standard normal numbers (S, ..., n_effects).

        Returns
        -------
        eta (S, ..., n_effects), and its derivatives by ``factor`` times z, of the same shape.
        """
        mixed = _mixed(self.factor, z)
        shape = (self.size, *(1,) * (z.ndim - 2))
        shapes = dict(self.model.iiv.shapes)
        eta, slope, omegas = np.empty_like(mixed), np.empty_like(mixed), self.omega
        for k, effect in enumerate(self.model.iiv.effects):
            omega, own = omegas[:, k].reshape(shape), mixed[..., k]
            if effect in shapes:
                value = self.values[self.model.iiv.shape_name(effect)].reshape(shape)
                eta[..., k] = shapes[effect].effect(own, omega, value, NUMPY)
                slope[..., k] = shapes[effect].slope(own, omega, value, NUMPY)
            else:
                eta[..., k], slope[..., k] = omega * own, np.broadcast_to(omega, own.shape)
        return eta, slope

    def kappa(self, z: Floats) -> Floats:
        """Random effects between occasions from standardised ones, (S, ..., n_effects)."""
        shape = (self.size, *(1,) * (z.ndim - 2), -1)
        return np.asarray(self.omega_iov.reshape(shape) * _mixed(self.factor_iov, z))

    def group_effects(self, level: Level, z: Floats) -> Floats:
        """Random effects of groups from standardised ones (S, ..., n_effects), of one level."""
        shape = (self.size, *(1,) * (z.ndim - 2), -1)
        return np.asarray(self._omega(level).reshape(shape) * _mixed(self._factor(level), z))

    def with_groups(
        self, covariates: Mapping[str, Floats], rng: np.random.Generator
    ) -> PopulationDraws:
        """These draws with effects, drawn anew, of the groups that they do not know.

        ``covariates`` has the value (n_rows) of each level's covariate. The subjects of a new group
        share its effects.
        """
        found = dict(self.levels)
        for level in self.model.levels:
            groups, known = np.unique(covariates[level.covariate]), found.get(level.covariate)
            new = groups if known is None else groups[known.places(groups) < 0]
            if len(new):
                z = rng.standard_normal((self.size, len(new), len(level.effects)))
                own = GroupEffects(new, self.group_effects(level, z))
                found[level.covariate] = own if known is None else known.joined(own)
        return replace(self, levels=found)

    def new_effects(self, n_subjects: int, rng: np.random.Generator) -> Floats:
        """Random effects of people never seen, (S, n_subjects, n_effects)."""
        size = len(self.model.iiv.effects)
        return self.eta(rng.standard_normal((self.size, n_subjects, size)))[0]

    def new_occasions(self, n_occasions: int, rng: np.random.Generator) -> Floats:
        """Random effects of occasions never seen, (S, n_occasions, n_occasion_effects)."""
        size = len(self.model.iov.effects)
        return self.kappa(rng.standard_normal((self.size, n_occasions, size)))

    def latent(self, covariates: Sequence[str], z: Floats) -> Floats:
        """Latent covariates from standardised effects z (S, ..., n), n of them, by name."""
        lead = (self.size, *(1,) * (z.ndim - 2))
        values = {name: value.reshape(lead) for name, value in self.values.items()}
        known = {one.covariate: one for one in self.model.latent}
        columns = [known[n].value(z[..., k], values, NUMPY) for k, n in enumerate(covariates)]
        return np.stack(columns, axis=-1) if columns else np.zeros_like(z)

    def new_latent(self, missing: Sequence[Missing], rng: np.random.Generator) -> Floats:
        """Latent covariates (S, n_missing) of people never seen."""
        names = [one.covariate for one in missing]
        return self.latent(names, rng.standard_normal((self.size, len(names))))

    def measured_density(self, design: Design) -> Floats:
        """Log density (S) of the measured values of latent covariates, over all subjects.

        It belongs to the posterior of the population beside each subject's marginal likelihood,
        which is conditional on what was measured.
        """
        total = np.zeros(self.size)
        values = {name: value[:, None] for name, value in self.values.items()}
        found = design.measured(self.model)
        if self.model.category is not None:
            total += self.log_shares[:, design.labels[design.labels >= 0]].sum(axis=1)
        for one in self.model.latent:
            total += one.log_density(found[one.covariate], values, NUMPY).sum(axis=1)
        return total

    def expected(self, covariates: Mapping[str, Floats], labels: Ints | None = None) -> Floats:
        """Parameters on their scales without random effects (S, ..., n_rows, n_parameters).

        Those of the subjects' groups, where the model has further levels, are included.

        Parameters
        ----------
        covariates
            Values (n_rows) of each covariate, or (S, ..., n_rows) where they differ between draws;
            a row is a subject, or one of a subject's rows.
        labels
            Class of each row (S or 1, n_rows or 1), where the model has sub-populations; ``label``
            if None.

        Raises
        ------
        ValueError
            When the model has sub-populations and no class is given, or effects of a group are
            not known.
        """
        model = self.model
        given = {name: np.asarray(value) for name, value in covariates.items()}
        sizes = [*(v.ndim for v in given.values()), *(x.eta.ndim - 1 for x in self.levels.values())]
        middle = (1,) * (max([2, *sizes]) - 2)
        effects: tuple[CovariateEffect, ...] = model.covariates
        if model.subpopulations is not None:
            labels = self.label[:, None] if labels is None and self.label is not None else labels
            if labels is None:
                raise ValueError("The model has sub-populations: say which; see by_class.")
            labels = labels.reshape(len(labels), *middle, -1)
            given |= model.subpopulations.indicators(labels)
            effects = (*effects, *model.subpopulations.effects)
        lead = (self.size, *middle, 1)
        columns = expected_parameters(
            model.scale_of,
            effects,
            population={name: value.reshape(lead) for name, value in self.values.items()},
            covariates=given,
            ops=NUMPY,
        )
        shifts = level_shifts(model, self.levels, given, n_dims=len(lead))
        columns = [c + shifts[k] if k in shifts else c for k, c in enumerate(columns)]
        arrays = (*given.values(), *shifts.values())
        shape = np.broadcast_shapes(lead, *(value.shape for value in arrays))
        return np.stack([np.broadcast_to(c, shape) for c in columns], axis=-1)

    def parameters(self, expected: Floats, eta: Floats, kappa: Floats | None = None) -> Floats:
        """Individual parameters (S, ..., n_rows, n_parameters).

        Parameters
        ----------
        expected
            From `expected`, (S, ..., n_rows, n_parameters).
        eta
            Random effects between subjects, (S, ..., n_rows, n_effects); rows may be 1.
        kappa
            Random effects between occasions, of each row's, (S, ..., n_rows,
            n_occasion_effects); None where the model has none.
        """
        shift: dict[int, Any] = {}
        for e, positions in enumerate(self.effect_positions):
            for k in positions:
                shift[k] = eta[..., e]
        if kappa is not None:
            for e, k in enumerate(self.occasion_positions):
                shift[k] = shift.get(k, 0.0) + kappa[..., e]
        columns = [expected[..., k] for k in range(expected.shape[-1])]
        with np.errstate(over="ignore"):
            made = individual_parameters(self.model.scale_of, columns, shift, NUMPY)
        shape = np.broadcast_shapes(
            expected.shape[:-1], eta.shape[:-1], *(() if kappa is None else (kappa.shape[:-1],))
        )
        return np.stack([np.broadcast_to(column, shape) for column in made], axis=-1)

    def slopes(self, theta: Floats) -> Floats:
        """Derivatives of individual parameters (..., n_parameters) on their scales."""
        scales = self.model.scale_of.values()
        return np.stack([scale.slope(theta[..., k]) for k, scale in enumerate(scales)], axis=-1)

    def row_parameters(
        self,
        design: Design,
        eta: Floats,
        kappa: Floats | None = None,
        latent: Floats | None = None,
        *,
        labels: Ints | None = None,
    ) -> Floats:
        """Individual parameters (S, n_rows, n_parameters) of a design's rows.

        ``eta`` is (S, n_subjects, n_effects) and ``kappa`` (S, n_occasions, n_occasion_effects):
        all rows of a subject share its random effects, all of an occasion those of the occasion.
        ``latent`` (S, n_missing) are the covariates that are missing (`Design.missing`), ``labels``
        (S or 1, n_subjects) the subjects' classes, where the model has any.
        """
        rows = None if labels is None else labels[:, design.rows.subject]
        expected = self.expected(design.filled(latent), rows)
        own = None if kappa is None else kappa[:, design.occasion]
        return self.parameters(expected, eta[:, design.rows.subject], own)

    def new_rows(self, design: Design, rng: np.random.Generator) -> Floats:
        """Individual parameters (S, n_rows, n_parameters) as if the subjects were never seen.

        Groups that are known keep their effects; those of others are drawn.
        """
        known = self.with_groups(design.covariates, rng)
        eta, kappa = self.new_effects(design.events.n_subjects, rng), None
        if self.model.iov.effects:
            kappa = self.new_occasions(len(design.occasion_subject), rng)
        missing = design.missing
        latent = self.new_latent(missing, rng) if missing else None
        labels = self.new_labels(design.labels, rng)
        return known.row_parameters(design, eta, kappa, latent, labels=labels)


def _mixed(factor: Floats, z: Floats) -> Floats:
    """The factor (S, k, k) times z (S, ..., k)."""
    if factor.shape[-1] == 0:
        return np.zeros_like(z)
    flat = z.reshape(len(z), -1, z.shape[-1])
    return np.asarray((flat @ np.swapaxes(factor, 1, 2)).reshape(z.shape))

"""Draws of the population parameters, and what they say about a subject before its data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from popk.dataset import Dataset
from popk.design import Design
from popk.errors import PopkError, SettingError
from popk.model import PopModel
from popk.statistics import NUMPY, individual_parameters, log_expected

__all__ = [
    "FitError",
    "PopulationDraws",
    "check_seed",
    "dataset_of",
    "effects_of",
    "model_of",
    "thinned",
]

type Floats = NDArray[np.float64]


class FitError(PopkError):
    """A tree that is not a fit of popk, or not one that can answer the question."""


def check_seed(seed: int) -> None:
    """Refuse what is not a seed.

    Raises
    ------
    SettingError
        When it is not a whole number of zero or more.
    """
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise SettingError(f"The seed is {seed!r}; give a whole number of zero or more.")


def model_of(fit: xr.DataTree) -> PopModel:
    """The model that a fit was made with.

    Raises
    ------
    FitError
        When the tree is not a fit.
    """
    if fit.attrs.get("kind") != "popk fit":
        raise FitError(
            f"This is not a fit of popk (its kind is {fit.attrs.get('kind', 'not given')!r}); give "
            "what popk.sample returned or popk.load read."
        )
    return PopModel.from_json(fit.attrs["model"])


def dataset_of(fit: xr.DataTree) -> Dataset:
    """The data that a fit was made from."""
    model_of(fit)
    return Dataset.from_xarray(fit["data"].to_dataset())


def thinned(fit: xr.DataTree, draws: int | None) -> NDArray[np.int64]:
    """Indices of evenly spaced draws among all chains, chain after chain; all if None.

    Raises
    ------
    FitError
        When more draws are asked for than there are.
    """
    total = fit["posterior"].sizes["chain"] * fit["posterior"].sizes["draw"]
    if draws is None:
        return np.arange(total)
    if not float(draws).is_integer() or not 1 <= draws <= total:
        raise FitError(f"{draws} draws were asked for; the fit has {total}.")
    return np.linspace(0, total - 1, int(draws)).round().astype(np.int64)


def effects_of(
    fit: xr.DataTree, subjects: Sequence[str], chosen: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Random effects (S, n_subjects, n_effects) of subjects of the fit in the chosen draws."""
    if "eta" not in fit["posterior"]:
        return np.zeros((len(chosen), len(subjects), 0))
    eta = fit["posterior"]["eta"].sel(subject=list(subjects))
    values = eta.transpose("chain", "draw", "subject", "effect").values
    return np.asarray(values.reshape(-1, *values.shape[2:])[chosen])


@dataclass(frozen=True)
class PopulationDraws:
    """S draws of a model's population parameters.

    Parameters
    ----------
    model
        The model.
    values
        The draws (S) of each population parameter, in the model's units.
    """

    model: PopModel
    values: Mapping[str, Floats]

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
        return cls(model, values)

    @classmethod
    def from_prior(cls, model: PopModel, size: int, rng: np.random.Generator) -> PopulationDraws:
        """Independent draws from the model's priors."""
        return cls(model, {p.name: p.prior.draw(rng, size) for p in model.parameters})

    def taken(self, chosen: NDArray[np.int64]) -> PopulationDraws:
        """Some of the draws, by index."""
        return PopulationDraws(self.model, {n: v[chosen] for n, v in self.values.items()})

    @property
    def size(self) -> int:
        """Number of draws, S."""
        return len(next(iter(self.values.values())))

    @property
    def omega(self) -> Floats:
        """SDs of the random effects (S, n_effects)."""
        iiv = self.model.iiv
        columns = [self.values[iiv.omega_name(effect)] for effect in iiv.effects]
        return np.stack(columns, axis=1) if columns else np.zeros((self.size, 0))

    @property
    def sigma(self) -> dict[str, Floats]:
        """SDs of the residual error, each (S, 1)."""
        return {name: self.values[name][:, None] for name, _ in self.model.error.priors}

    @property
    def effect_positions(self) -> list[int]:
        """Position of each random effect's parameter among the structure's."""
        return [self.model.structure.names.index(name) for name in self.model.iiv.effects]

    def expected(self, covariates: Mapping[str, Floats]) -> Floats:
        """Log parameters without random effects (S, n_rows, n_parameters).

        Parameters
        ----------
        covariates
            Values (n_rows) of each covariate; a row is a subject, or one of a subject's rows.
        """
        model = self.model
        columns = log_expected(
            model.structure.names,
            model.covariates,
            population={name: value[:, None] for name, value in self.values.items()},
            covariates={name: np.asarray(value)[None, :] for name, value in covariates.items()},
            ops=NUMPY,
        )
        n = max([1, *(len(value) for value in covariates.values())])
        return np.stack([np.broadcast_to(c, (self.size, n)) for c in columns], axis=-1)

    def parameters(self, expected: Floats, eta: Floats) -> Floats:
        """Individual parameters (S, n_rows, n_parameters) from log expected and eta.

        ``eta`` is (S, n_rows, n_effects).
        """
        by_position = {k: eta[..., e] for e, k in enumerate(self.effect_positions)}
        columns = [expected[..., k] for k in range(expected.shape[-1])]
        made = individual_parameters(columns, by_position, NUMPY)
        shape = np.broadcast_shapes(expected.shape[:-1], eta.shape[:-1])
        return np.stack([np.broadcast_to(column, shape) for column in made], axis=-1)

    def row_parameters(self, design: Design, eta: Floats) -> Floats:
        """Individual parameters (S, n_rows, n_parameters) of a design's rows.

        ``eta`` is (S, n_subjects, n_effects): all rows of a subject share its random effects.
        """
        expected = self.expected(design.covariates)
        return self.parameters(expected, eta[:, design.rows.subject])

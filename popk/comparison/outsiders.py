"""Draws of the population in which a patient had no part."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from popk.comparison.questions import Asked, pieces_of
from popk.comparison.refits import refit_without
from popk.comparison.smoothing import khat_limit
from popk.dataset import Dataset
from popk.diagnostics.pareto import smoothed_weights
from popk.individual.posterior import patient_seed
from popk.population import PopulationDraws, dataset_of, thinned

__all__ = ["Outsider", "Populations", "same_patients"]

_WEIGHED = 1000  # draws that are weighed
_EQUAL = 1e-9  # range of log weights that are the same


@dataclass(frozen=True)
class Outsider:
    """Draws of the population without one patient, whether they are reliable, and what to say.

    ``source`` is ``"new"`` (the patient was not in the fit), ``"weights"`` or ``"refit"``.
    """

    population: PopulationDraws
    source: str = "new"
    khat: float = float("nan")
    reliable: bool = True
    note: str = ""


@dataclass(frozen=True)
class Populations:
    """The draws of a fit, from which any of its patients can be taken away.

    Parameters
    ----------
    fit, own
        The fit and its data.
    inside
        IDs of the patients to forecast who are the fit's, see `same_patients`.
    draws
        How many draws the result has.
    seed
        Seed of integrals, of resampling and of refits.
    refit
        Whether to refit where the weights fail.
    """

    fit: xr.DataTree
    own: Dataset
    inside: frozenset[str]
    draws: int
    seed: int
    refit: bool

    @classmethod
    def of(
        cls, fit: xr.DataTree, data: Dataset, *, draws: int, seed: int, refit: bool
    ) -> Populations:
        """The draws of a fit; all where it has fewer than asked for."""
        own, total = dataset_of(fit), len(thinned(fit, None))
        return cls(fit, own, same_patients(own, data), min(draws, total), seed, refit)

    def without(self, subject: str) -> Outsider:
        """Draws in which a patient had no part.

        A patient of the fit is left out by importance weights, one over the marginal likelihood of
        the data that the fit has of it, Pareto-smoothed, by which draws are resampled.
        """
        if subject not in self.inside:
            return Outsider(PopulationDraws.of(self.fit, self.draws))
        data = self.own.select([subject])
        if not data.n_observations:
            return Outsider(PopulationDraws.of(self.fit, self.draws))
        total = len(thinned(self.fit, None))
        many = PopulationDraws.of(self.fit, min(total, max(_WEIGHED, self.draws)))
        found = pieces_of(many, data, Asked("patient", self.seed))
        log_weight, khat = _weights(-found.whole)
        chosen = _resampled(log_weight, self.draws, patient_seed(self.seed, f"{subject}\nwithout"))
        if not khat > khat_limit(many.size):
            return Outsider(many.taken(chosen), "weights", khat)
        note = f"Pareto k-hat {khat:.2f}: without ID {subject} the posterior would be another."
        note += "" if self.refit else " Refits (refit=True) put it right."
        return Outsider(many.taken(chosen), "weights", khat, False, note)

    def refitted(self, subject: str, weighed: Outsider) -> Outsider:
        """The same by a refit, where the weights fail and refits are wanted."""
        if weighed.reliable or not self.refit:
            return weighed
        again = refit_without(self.fit, self.own, subject, seed=self.seed)
        if again.population is None:
            return replace(weighed, note=f"{weighed.note} {again.note}")
        size = again.population.size
        spread = np.linspace(0, size - 1, min(self.draws, size)).round().astype(np.int64)
        part = again.population.taken(spread)
        return Outsider(part, "refit", weighed.khat, not again.note, again.note)


def same_patients(own: Dataset, data: Dataset) -> frozenset[str]:
    """IDs of patients that two data sets share: with an observation of the same TIME and DV.

    The same ID alone says little, as patients are often numbered from 1.
    """

    def seen(dataset: Dataset) -> set[tuple[str, float, float]]:
        table = dataset.table.isel(record=dataset.is_observation)
        columns = (table[name].values.tolist() for name in ("ID", "TIME", "DV"))
        return set(zip(*columns, strict=True))

    return frozenset(subject for subject, _, _ in seen(own) & seen(data))


def _weights(log_ratio: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """Log weights and k-hat; infinite where a ratio is not finite or there are too few."""
    if not np.isfinite(log_ratio).all() or len(log_ratio) < 25:
        return np.zeros(len(log_ratio)), float("inf")
    if np.ptp(log_ratio) < _EQUAL:
        return np.zeros(len(log_ratio)), float("-inf")
    found, khat = smoothed_weights(log_ratio)
    return found, khat if not np.isnan(khat) else float("inf")


def _resampled(
    log_weight: NDArray[np.float64], size: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Systematic resampling (Kitagawa, J Comput Graph Stat 5:1, 1996), in order."""
    weight = np.exp(log_weight - log_weight.max())
    positions = (rng.random() + np.arange(size)) / size
    edges = np.cumsum(weight / weight.sum())
    return np.searchsorted(edges, positions).clip(0, len(weight) - 1).astype(np.int64)

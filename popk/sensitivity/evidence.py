"""Each patient's marginal likelihood under the draws of a fit, and weights made from it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from os import cpu_count

import numpy as np
import xarray as xr
from arviz_stats.base import array_stats
from numpy.typing import NDArray
from scipy.special import logsumexp
from threadpoolctl import threadpool_limits

from popk.comparison.leave_out import check_draws
from popk.comparison.questions import Asked, pieces_of
from popk.population import PopulationDraws, dataset_of
from popk.statistics import Fixed, LogNormal

__all__ = ["Evidence", "evidence_of", "weights_of"]

type Floats = NDArray[np.float64]
type Ints = NDArray[np.int64]

_EQUAL = 1e-9  # range of log ratios that are the same


@dataclass(frozen=True, eq=False)
class Evidence:
    """What S draws of a fit rest on.

    Parameters
    ----------
    subjects
        The patients that have observations.
    population
        The draws, chain after chain.
    chosen
        Their places (S) among all draws of the fit.
    chains
        Number of chains.
    log_likelihood
        Of each patient (S, n_subjects), random effects integrated out.
    seed
        Seed of the integrals.
    """

    subjects: tuple[str, ...]
    population: PopulationDraws
    chosen: Ints
    chains: int
    log_likelihood: Floats
    seed: int

    @property
    def log_prior(self) -> Floats:
        """Log prior density (S) of the population parameters.

        That of the logarithm where a prior is log-normal. The distribution of the random effects is
        no prior here but part of the model.
        """
        total = np.zeros(self.population.size)
        for one in self.population.model.parameters:
            if isinstance(one.prior, Fixed):
                continue
            value = self.population.values[one.name]
            total += one.prior.log_density(value)
            if isinstance(one.prior, LogNormal):
                total += np.log(value)
        return total


def evidence_of(
    fit: xr.DataTree,
    *,
    draws: int | None,
    seed: int,
    progress: Callable[[int, int], None] | None = None,
) -> Evidence:
    """The marginal likelihoods of a fit's patients, side by side on all cores.

    Parameters
    ----------
    fit
        What `popk.sample` returned, by a method that gives a posterior.
    draws
        So many draws, evenly spaced in each chain; at most 4,000 if None.
    seed
        Seed of the integrals.
    progress
        Called with the number of patients done and their total.

    Raises
    ------
    FitError, SettingError
        As `popk.loo`.
    """
    size = check_draws(fit, "patient", draws)
    chains, length = fit["posterior"].sizes["chain"], fit["posterior"].sizes["draw"]
    each = min(max(1, size // chains), length)
    kept = np.unique(np.linspace(0, length - 1, each).round().astype(np.int64))
    chosen = (np.arange(chains)[:, None] * length + kept).ravel()
    population, dataset = PopulationDraws.of(fit).taken(chosen), dataset_of(fit)
    subjects = list(dict.fromkeys(dataset.table["ID"].values[dataset.is_observation].tolist()))
    asked = Asked("patient", seed)

    def one(subject: str) -> Floats:
        return pieces_of(population, dataset.select([subject]), asked).whole

    with (
        threadpool_limits(1, user_api="blas"),
        ThreadPoolExecutor(cpu_count() or 1) as pool,
    ):
        found = []
        for column in pool.map(one, subjects):
            found.append(column)
            if progress is not None:
                progress(len(found), len(subjects))
    return Evidence(tuple(subjects), population, chosen, chains, np.stack(found, axis=1), int(seed))


def weights_of(log_ratio: Floats) -> tuple[Floats, float]:
    """Weights (S) that sum to one, and Pareto's k-hat; NaN where all ratios are the same."""
    if not np.isfinite(log_ratio).all():
        return np.full(len(log_ratio), np.nan), float("inf")
    if np.ptp(log_ratio) < _EQUAL:
        return np.full(len(log_ratio), 1 / len(log_ratio)), float("nan")
    smooth, khat = array_stats.psislw(-log_ratio)
    return np.exp(smooth - logsumexp(smooth)), float(khat) if np.isfinite(khat) else float("inf")

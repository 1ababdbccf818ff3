"""Pathfinder on the marginal posterior: the best normal approximations on the way to the modes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

from popk.dataset import Dataset
from popk.errors import SettingError
from popk.inference.marginal.importance import Resampling, resampled
from popk.inference.marginal.paths import best_normals
from popk.inference.marginal.peak import prepared
from popk.inference.progress import Progress
from popk.inference.runs.store import NOWHERE, Store
from popk.inference.settings import check_cores, check_proposals, check_whole
from popk.model import PopModel

__all__ = ["Pathfinder"]


@dataclass(frozen=True, kw_only=True)
class Pathfinder:
    """Multi-path Pathfinder: variational inference along quasi-Newton paths.

    Each patient's random effects are integrated out, as with `Marginal`. From several draws of the
    priors a quasi-Newton path leads to a mode of the marginal posterior; of the normal
    distributions that its estimates of the curvature give on the way, the one with the highest ELBO
    is taken (Zhang, Carpenter, Gelman & Vehtari, JMLR 23:306, 2022). The paths together are weighed
    against the posterior and resampled, as with `Laplace`. It needs no curvature at the mode, and
    sees a posterior that is wide where it is not highest; with many parameters it is rougher.

    Parameters
    ----------
    draws
        Draws of each chain.
    chains
        Number of chains, which share nothing but the approximation.
    proposals
        Draws of the approximation, in each chain, of which the draws are resampled.
    paths
        Number of paths.
    steps
        Steps of each path, at most.
    cores
        Patients integrated at a time; all of the machine's cores if None. Results do not depend on
        it.

    Raises
    ------
    SettingError
        When a setting makes no sense, in a sentence.
    """

    draws: int = 1000
    chains: int = 4
    proposals: int = 2000
    paths: int = 4
    steps: int = 50
    cores: int | None = None

    def __post_init__(self) -> None:
        check_proposals(self)
        check_whole(self, {"paths": 1, "steps": 5})
        check_cores(self, self.cores)

    def run(
        self,
        model: PopModel,
        dataset: Dataset,
        *,
        seed: int,
        progress: Progress,
        store: Store = NOWHERE,
    ) -> tuple[xr.Dataset, xr.Dataset]:
        """Posterior and statistics, each (chain, draw, …).

        Nothing is kept in the store: continued after an interruption, it is done again from the
        seed, with the same result.

        Raises
        ------
        SettingError
            When the model has sub-populations or further levels, nothing is estimated, or no path
            finds a point that gives the data a likelihood.
        """
        del store
        cohort, seeds = prepared(self, model, dataset, seed=seed)
        rng = np.random.default_rng(seeds[0])
        progress("finding paths")
        normals, elbo = best_normals(cohort, paths=self.paths, steps=self.steps, rng=rng)
        if not len(normals.share):
            raise SettingError(
                "No path from the priors led to a point that gives the data a likelihood above "
                "zero. Check the units of the data and the priors (popk.check_priors)."
            )
        how = Resampling(self.draws, self.chains, self.proposals, weighted=True)
        posterior, stats = resampled(cohort, normals.heavy_tailed, how, rng, progress)
        stats.attrs["approximation"] = (
            "Draws of normal approximations along paths to the mode of the marginal posterior, "
            "resampled by importance weights."
        )
        return posterior, stats.assign(elbo=("path", elbo))

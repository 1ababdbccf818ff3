"""The Laplace approximation of the marginal posterior, corrected by importance weights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

from popk.dataset import Dataset
from popk.inference.marginal.importance import Resampling, resampled
from popk.inference.marginal.modes import figures_of_modes
from popk.inference.marginal.normals import around_peaks
from popk.inference.marginal.peak import find_peaks, prepared
from popk.inference.progress import Progress
from popk.inference.runs.store import NOWHERE, Store
from popk.inference.settings import check_cores, check_flag, check_proposals
from popk.model import PopModel

__all__ = ["Laplace"]

# Yao, Vehtari, Simpson & Gelman, ICML 2018: above it an approximation is to be corrected.
_KHAT_UNCORRECTED = 0.5


@dataclass(frozen=True, kw_only=True)
class Laplace:
    """A normal distribution at the mode of the population parameters' marginal posterior.

    Each patient's random effects are integrated out, as with `Marginal`. What is left is
    approximated by a normal distribution in the coordinates in which the priors are standard
    normal: at the mode, with the curvature there (Tierney & Kadane, J Am Stat Assoc 81:82, 1986);
    with several modes, by one at each, weighed by its mass. Draws of it, with the tails
    of a t distribution, are weighed against the marginal posterior and resampled by Pareto-smoothed
    weights; the random effects are drawn from
    their exact conditional posterior given each. Pareto k-hat says how far to believe it: below
    0.7 (0.5 where nothing is resampled) the draws may be used. `Marginal`, which learns the shape
    of the posterior, takes a few times as long and is exact.

    Parameters
    ----------
    draws
        Draws of each chain.
    chains
        Number of chains, which share nothing but the approximation.
    proposals
        Draws of the approximation, in each chain, of which the draws are resampled.
    resample
        Resample by importance weights. Without, the draws are those of the normal distribution,
        and what the weights say of its means and SDs is in ``shift`` and ``spread``.
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
    resample: bool = True
    cores: int | None = None

    def __post_init__(self) -> None:
        check_flag(self, "resample")
        check_proposals(self, weighted=self.resample)
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
            When the model has sub-populations or further levels, nothing is estimated, or no point
            near the priors gives the data a likelihood.
        """
        del store
        cohort, seeds = prepared(self, model, dataset, seed=seed)
        rng = np.random.default_rng(seeds[0])
        progress("finding the mode")
        peaks = find_peaks(cohort, rng)
        how = Resampling(self.draws, self.chains, self.proposals, self.resample)
        normals = around_peaks(peaks)
        chosen = normals.heavy_tailed if self.resample else normals
        posterior, stats = resampled(cohort, chosen, how, rng, progress)
        kept = "resampled by importance weights" if self.resample else "not corrected by weights"
        stats.attrs["approximation"] = (
            f"Draws of a normal approximation at the mode of the marginal posterior, {kept}."
        )
        if not self.resample:
            stats.attrs["khat_limit"] = _KHAT_UNCORRECTED
        centres = [(peak.x, peak.precision) for peak in peaks]
        return posterior, stats.assign(figures_of_modes(cohort.coordinates, centres, posterior))

"""The method object: settings, the run from modes to chains, and what it leaves behind."""

from __future__ import annotations

from dataclasses import dataclass, field
from os import cpu_count

import numpy as np
import xarray as xr
from threadpoolctl import threadpool_limits

from popk.dataset import Dataset
from popk.errors import SettingError
from popk.inference.marginal.adapt import adapt
from popk.inference.marginal.assemble import assembled
from popk.inference.marginal.chains import chains_of
from popk.inference.marginal.cohort import Cohort
from popk.inference.marginal.learnt import CLASSES, Learnt
from popk.inference.marginal.modes import figures_of_modes
from popk.inference.marginal.proposals import (
    LEAST,
    Kept,
    Unsuited,
    batch_size,
    propose_until,
)
from popk.inference.marginal.search import find_modes_of_marginal
from popk.inference.marginal.trust import khat_of_subjects
from popk.inference.nuts import NUTS
from popk.inference.progress import Progress
from popk.inference.runs.store import NOWHERE, Store
from popk.model import PopModel

__all__ = ["Marginal"]

_WARM = 50  # proposals of a chain that say where it starts
_MOST = 60  # parameters


@dataclass(frozen=True, kw_only=True)
class Marginal:
    """The population parameters alone, each patient's random effects integrated out.

    The posterior of the population parameters has few dimensions and a shape that is nearly normal,
    so proposals can be independent: mixtures of t distributions, fitted to the posterior in a few
    rounds, resampled by their Pareto-smoothed weights (accepted or refused by Metropolis' rule
    where these have heavy tails). Every patient's marginal likelihood is an average over
    quasi-random nodes around its conditional mode, the same few at every point, and put right by a
    quadratic that is fitted to what it is off by, as measured with many nodes and exact solutions
    at a hundred points; points where an independent, unbiased estimate contradicts it are computed
    precisely. What is still wrong with the log posterior is measured too: its variance is ``noise``
    in ``sample_stats``. Above 0.25 it is not used, and weights are unbiased estimates, so that the
    distribution of the draws is the exact posterior in spite of their noise (Andrieu & Roberts,
    Annals of Statistics 37:697, 2009).

    Models with sub-populations are left to ``otherwise``: two classes exchanged, or hardly apart,
    are modes and ridges of the posterior that proposals learnt around the best mode do not reach.

    Parameters
    ----------
    draws
        Draws of each chain.
    chains
        Number of chains.
    cores
        Patients integrated at a time; all of the machine's cores if None. Results do not depend on
        it.
    round_size
        Proposals of each round of adaptation.
    otherwise
        What samples where independent proposals cannot: where fewer than one in a hundred is worth
        keeping, more than 60 parameters are estimated, or the model has sub-populations or further
        levels. None to be told so by an error.

    Raises
    ------
    SettingError
        When a setting makes no sense, in a sentence.
    """

    draws: int = 1000
    chains: int = 4
    cores: int | None = None
    round_size: int = 400
    otherwise: NUTS | None = field(default_factory=NUTS)

    def __post_init__(self) -> None:
        for name, lowest in (("draws", 10), ("chains", 1), ("round_size", 100)):
            value = getattr(self, name)
            if not float(value).is_integer() or value < lowest:
                raise SettingError(
                    f"Marginal was given {name}={value!r}; expected {lowest} or more."
                )
        if self.cores is not None and not (float(self.cores).is_integer() and self.cores >= 1):
            raise SettingError(f"Marginal was given cores={self.cores!r}; expected 1 or more.")

    def run(
        self,
        model: PopModel,
        dataset: Dataset,
        *,
        seed: int,
        progress: Progress,
        store: Store = NOWHERE,
    ) -> tuple[xr.Dataset, xr.Dataset]:
        """Posterior and statistics of the chains, each (chain, draw, …).

        Continued from a store, they are the same to the bit as without an interruption, on the same
        machine and with the same versions: every batch of proposals has random numbers of its own.
        What was learnt is stored once it is complete; interrupted before, it is learnt again.
        """
        try:
            # The patients are what runs side by side; matrices as small as theirs only suffer.
            with threadpool_limits(1, user_api="blas"):
                return self._run(model, dataset, seed=seed, progress=progress, store=store)
        except Unsuited as fault:
            if self.otherwise is None:
                raise SettingError(f"{fault} Sample by NUTS instead.") from None
            progress(f"{fault} By NUTS instead")
            posterior, stats = self.otherwise.run(
                model, dataset, seed=seed, progress=progress, store=store
            )
            stats.attrs["instead"] = f"{fault} Sampled by NUTS instead."
            return posterior, stats

    def _run(
        self, model: PopModel, dataset: Dataset, *, seed: int, progress: Progress, store: Store
    ) -> tuple[xr.Dataset, xr.Dataset]:
        if model.subpopulations is not None:
            raise Unsuited(f"The model has {model.subpopulations.title}.")
        if model.levels:
            # Given the population alone the subjects of a group are not independent.
            named = ", ".join(level.covariate for level in model.levels)
            raise Unsuited(f"The model has a further level ({named}).")
        seeds = [int(own) for own in np.random.SeedSequence(seed).generate_state(4)]
        cohort = Cohort.of(model, dataset, seed=seeds[0], cores=self.cores or cpu_count() or 1)
        d = len(cohort.coordinates.names)
        if not 0 < d <= _MOST:
            raise Unsuited(f"{d} parameters are estimated, not between 1 and {_MOST}.")
        learnt = store.kept("learnt", lambda: self._learn(cohort, seeds[1], progress), CLASSES)
        if isinstance(learnt, str):
            raise Unsuited(learnt)
        learnt.teach(cohort)
        wanted = self.chains * (self.draws + _WARM)
        made = propose_until(
            wanted, cohort, learnt.adapted, seed=seeds[2], progress=progress, store=store
        )
        return self._chains(cohort, learnt, made, seeds[3])

    def _learn(self, cohort: Cohort, seed: int, progress: Progress) -> Learnt | str:
        """The proposals and the patients' integrals, or why they do not do."""
        rng = np.random.default_rng(seed)
        progress("finding the mode")
        modes = find_modes_of_marginal(cohort, rng)
        if not modes:
            return "No point near the priors gives the data a likelihood."
        adapted = adapt(
            cohort, modes, size=self.round_size, rng=rng,
            report=lambda done, most: progress("learning the proposals", done, most),
        )  # fmt: skip
        if adapted.share < LEAST:
            return f"Only {100 * adapted.share:.1g} % of independent proposals count."
        return Learnt.of(cohort, modes, adapted)

    def _chains(
        self, cohort: Cohort, learnt: Learnt, made: Kept, seed: int
    ) -> tuple[xr.Dataset, xr.Dataset]:
        # The last batch gives more than were wanted: they count as well.
        size = len(made.x) // self.chains
        log_weight = made.log_weight[: self.chains * size].reshape(self.chains, -1)
        states, accepted, khat = chains_of(
            log_weight, warm=size - self.draws, rng=np.random.default_rng(seed)
        )
        flat = (states + size * np.arange(self.chains)[:, None]).ravel()
        ends = np.cumsum(cohort.n_effects)
        z = np.split(made.z, ends[:-1], axis=1)
        posterior = assembled(cohort, made.x[flat], z, chains=self.chains, rows=flat)
        dims = ("chain", "draw")
        stats = xr.Dataset(
            {
                "lp": (dims, made.log_posterior[flat].reshape(states.shape)),
                "accepted": (dims, accepted),
                "khat": ((), khat),
                "khat_subject": ("subject", khat_of_subjects(cohort, made.x[flat])),
                "nodes": ("subject", cohort.nodes),
                "noise": ((), learnt.adapted.noise),
                "proposals": ((), batch_size(cohort) * len(made.counts)),
                "approximated": ((), cohort.n_fast),
            },
            coords={"chain": np.arange(self.chains), "draw": np.arange(self.draws),
                    "subject": [patient.subject for patient in cohort.patients]},
        )  # fmt: skip
        return posterior, stats.assign(
            figures_of_modes(cohort.coordinates, learnt.modes, posterior)
        )

"""The method object: settings, the run from modes to chains, and what it leaves behind."""

from __future__ import annotations

from dataclasses import dataclass, field
from os import cpu_count

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from popk.dataset import Dataset
from popk.errors import SettingError
from popk.inference.marginal.adapt import Adapted, adapt
from popk.inference.marginal.assemble import assembled
from popk.inference.marginal.chains import independence_chains, pareto_k
from popk.inference.marginal.cohort import Cohort, Marginals
from popk.inference.marginal.search import find_modes_of_marginal
from popk.inference.nuts import NUTS, Progress
from popk.model import PopModel

__all__ = ["Marginal"]

type Floats = NDArray[np.float64]

_WARM = 50  # proposals of a chain that say where it starts
_BATCH = 500  # proposals between reports
_STAGE = 10_000
_MOST = 60  # parameters
_LEAST = 0.01  # of the proposals


class _Unsuited(Exception):  # noqa: N818 - it leads to another method
    """Why independent proposals do not do, in a sentence."""


@dataclass(frozen=True, kw_only=True)
class Marginal:
    """The population parameters alone, each patient's random effects integrated out.

    The posterior of the population parameters has few dimensions and a shape that is nearly normal,
    so proposals can be independent: mixtures of t distributions, fitted to the posterior in a few
    rounds, accepted or refused by Metropolis' rule. Every patient's marginal likelihood is an
    unbiased estimate from quasi-random nodes around its conditional mode, so the chain's
    distribution is the exact posterior, that of the random effects included (Andrieu & Roberts,
    Annals of Statistics 37:697, 2009). Only where that estimate stays too noisy (the cohort is
    large; ``noise`` above 1 in ``sample_stats``) do all points share their nodes: the estimate is
    then smooth, and the posterior exact but for the nodes' error.

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
        self, model: PopModel, dataset: Dataset, *, seed: int, progress: Progress
    ) -> tuple[xr.Dataset, xr.Dataset]:
        """Posterior and statistics of the chains, each (chain, draw, …)."""
        try:
            # The patients are what runs side by side; matrices as small as theirs only suffer.
            with threadpool_limits(1, user_api="blas"):
                return self._run(model, dataset, seed=seed, progress=progress)
        except _Unsuited as fault:
            if self.otherwise is None:
                raise SettingError(f"{fault} Sample by NUTS instead.") from None
            progress(f"{fault} By NUTS instead", 0, 0, 0)
            posterior, stats = self.otherwise.run(model, dataset, seed=seed, progress=progress)
            stats.attrs["instead"] = f"{fault} Sampled by NUTS instead."
            return posterior, stats

    def _run(
        self, model: PopModel, dataset: Dataset, *, seed: int, progress: Progress
    ) -> tuple[xr.Dataset, xr.Dataset]:
        if model.classes:
            raise _Unsuited("The model has sub-populations.")
        if model.levels:
            # Given the population alone the subjects of a group are not independent.
            named = ", ".join(level.covariate for level in model.levels)
            raise _Unsuited(f"The model has a further level ({named}).")
        seeds = np.random.SeedSequence(seed).generate_state(2)
        cohort = Cohort.of(model, dataset, seed=int(seeds[0]), cores=self.cores or cpu_count() or 1)
        rng = np.random.default_rng(int(seeds[1]))
        d = len(cohort.coordinates.names)
        if not 0 < d <= _MOST:
            raise _Unsuited(f"{d} parameters are estimated, not between 1 and {_MOST}.")
        progress("finding the mode", 0, 0, 0)
        modes = find_modes_of_marginal(cohort, rng)
        if not modes:
            raise _Unsuited("No point near the priors gives the data a likelihood.")
        adapted = adapt(
            cohort, modes, size=self.round_size, rng=rng,
            report=lambda done, most: progress("learning the proposals", done, most, 0),
        )  # fmt: skip
        if adapted.share < _LEAST:
            raise _Unsuited(f"Only {100 * adapted.share:.1g} % of independent proposals count.")
        x, z, log_posterior, log_weight, made = self._propose(cohort, adapted, rng, progress)
        states, accepted = independence_chains(
            log_weight.reshape(self.chains, -1), warm=_WARM, rng=rng
        )
        size = self.draws + _WARM
        flat = (states + size * np.arange(self.chains)[:, None]).ravel()
        posterior = assembled(cohort, x[flat], [own[flat] for own in z], chains=self.chains)
        weights = cohort.integrate(adapted.points, _STAGE - 1, detail=True).log_weight
        khat = [pareto_k(own.ravel()) for own in weights]
        dims = ("chain", "draw")
        stats = xr.Dataset(
            {
                "lp": (dims, log_posterior[flat].reshape(states.shape)),
                "accepted": (dims, accepted),
                "khat": ((), pareto_k(log_weight)),
                "khat_subject": ("subject", khat),
                "nodes": ("subject", cohort.nodes),
                "noise": ((), adapted.noise),
                "proposals": ((), made),
                "approximated": ((), cohort.n_fast),
            },
            coords={"chain": np.arange(self.chains), "draw": np.arange(self.draws),
                    "subject": list(dataset.subjects)},
        )  # fmt: skip
        return posterior, stats

    def _propose(
        self, cohort: Cohort, adapted: Adapted, rng: np.random.Generator, progress: Progress
    ) -> tuple[Floats, list[Floats], Floats, Floats, int]:
        """Proposals (S, d) for all chains, effects, log posterior and log weight, all made.

        Rejection control (Liu, Chen & Wong, J Am Stat Assoc 93:1022, 1998): those with little
        weight are kept with a probability in proportion, and weigh as much more; what is kept is
        independent still, and exact solutions are only needed for it.
        """
        wanted = self.chains * (self.draws + _WARM)
        points: list[Floats] = []
        kept: list[Marginals] = []
        bonus: list[Floats] = []
        done = made = 0
        while done < wanted:
            progress("sampling", done, wanted, 0)
            x = adapted.proposals.draw(_BATCH, rng)
            rough = cohort.integrate(x, _STAGE + 3 * len(points), smooth=True)
            log_weight = cohort.log_posterior(x, rough) - adapted.proposals.log_density(x)
            log_chance = np.minimum(log_weight - adapted.ceiling, 0.0)
            chosen = np.flatnonzero(np.log(rng.random(_BATCH)) < log_chance)
            made += _BATCH
            if made > 20 * _BATCH and done < _LEAST * made:
                raise _Unsuited(f"Only {done} of {made} independent proposals count.")
            done += len(chosen)
            points.append(x[chosen])
            stage = _STAGE + 3 * len(points)
            unbiased = cohort.integrate(x[chosen], stage - 1)
            exact = cohort.correct(x[chosen], unbiased, stage - 2)
            kept.append(exact)
            bonus.append(-adapted.proposals.log_density(x[chosen]) - log_chance[chosen])
        progress("sampling", wanted, wanted, 0)
        x = np.concatenate(points)[:wanted]
        likelihood = np.concatenate([part.log_likelihood for part in kept])[:wanted]
        each = zip(*(part.picks for part in kept), strict=True)
        z = [np.concatenate(own)[:wanted, 0] for own in each]
        log_posterior = cohort.log_posterior(x, Marginals(likelihood, ()))
        return x, z, log_posterior, log_posterior + np.concatenate(bonus)[:wanted], made

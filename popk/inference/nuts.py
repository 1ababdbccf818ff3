"""NUTS on the joint posterior of population parameters and random effects, through nutpie."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from popk.dataset import Dataset
from popk.errors import SettingError
from popk.inference.chains import Chain, Job, assembled_chains, draw_chains
from popk.inference.density import Density, Ready, begin, compiled_density
from popk.inference.progress import Progress
from popk.inference.runs.store import NOWHERE, Store
from popk.inference.settings import check_trajectories
from popk.inference.start import Start, averaged, find_start
from popk.model import PopModel
from popk.statistics import Fixed, check_forms

__all__ = ["NUTS"]

_RETUNED = 50  # draws to tune a chain that goes on, at least


@dataclass(frozen=True, kw_only=True)
class NUTS:
    """The No-U-Turn sampler (Hoffman & Gelman 2014), in coordinates adapted to each patient's data.

    The chains start at a mode with a quadratic approximation of every patient's likelihood
    (`popk.statistics.adapted`); a short pilot run improves the approximation.

    Parameters
    ----------
    draws
        Draws of each chain that are kept.
    tune
        Draws of each chain before them, to adapt step size and mass matrix.
    chains
        Number of chains.
    cores
        Chains run at a time; all of the machine's cores if None.
    target_accept
        Aimed-at acceptance rate: closer to 1 means smaller steps and fewer divergences.
    pilot
        Draws (and as many to tune) of the pilot run; 0 for none.
    forms
        Effects between subjects that are to be sampled otherwise, by name: ``"centred"`` or
        ``"non-centred"`` instead of ``"adapted"``: ``{"CL": "centred"}``. The posterior is the
        same; correlated effects need the same form.

    Raises
    ------
    SettingError
        When a setting makes no sense, in a sentence.
    """

    draws: int = 1000
    tune: int = 500
    chains: int = 4
    cores: int | None = None
    target_accept: float = 0.9
    pilot: int = 150
    forms: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, lowest in (("draws", 10), ("tune", 50), ("chains", 1), ("pilot", 0)):
            value = getattr(self, name)
            if not float(value).is_integer() or value < lowest:
                raise SettingError(f"NUTS was given {name}={value!r}; expected {lowest} or more.")
        if self.cores is not None and self.cores < 1:
            raise SettingError(f"NUTS was given cores={self.cores!r}; expected 1 or more.")
        check_trajectories(self)

    def run(
        self,
        model: PopModel,
        dataset: Dataset,
        *,
        seed: int,
        progress: Progress,
        store: Store = NOWHERE,
    ) -> tuple[xr.Dataset, xr.Dataset]:
        """Posterior and sampler statistics, each (chain, draw, …).

        Interrupted before the first draws are stored, a run gives the draws that it would have
        given; afterwards each chain goes on from its last stored draw, after half as much tuning
        (nutpie cannot be given an adapted mass matrix), with other random numbers: draws of the
        same posterior, not the same draws.
        """
        progress("compiling the model")
        compiled = compiled_density(model, dataset, check_forms(model.iiv, self.forms))
        seeds = [int(own) for own in np.random.SeedSequence(seed).generate_state(2)]
        with threadpool_limits(1, user_api="blas"):  # small matrices: threads only wait
            start = store.kept(
                "start", lambda: self._start(model, dataset, compiled, seeds[0], progress), (Start,)
            )
        ready = self._with(compiled, model, start)
        chains = [Chain.stored(number, store) for number in range(self.chains)]
        drawn = [chain.size for chain in chains]
        if any(drawn):
            store.resumed_at({"draws of each chain": drawn})
        stored = store is not NOWHERE
        jobs = self._jobs(ready, chains, seeds[1], stored=stored)
        if jobs:
            self._draw(jobs, model, partial(progress, "sampling"), store)
        return assembled_chains(chains, self.draws, dict(ready.density.coords))

    def _start(
        self, model: PopModel, dataset: Dataset, compiled: Density, seed: int, progress: Progress
    ) -> Start:
        """Where the chains start, and the likelihood's approximation."""
        progress("finding a starting point")
        forms = check_forms(model.iiv, self.forms)
        start = find_start(model, dataset, compiled, forms)
        if self.pilot and (model.iiv.effects or model.iov.effects):
            return self._pilot(model, dataset, compiled, start, seed, progress)
        return start

    def _pilot(
        self,
        model: PopModel,
        dataset: Dataset,
        compiled: Density,
        start: Start,
        seed: int,
        progress: Progress,
    ) -> Start:
        """Approximate the likelihood over the pilot's draws instead of at the mode."""
        ready = self._with(compiled, model, start)
        chains = [Chain(number) for number in range(self.chains)]
        job = self._job(ready, chains, tune=self.pilot, draws=self.pilot, seed=seed)
        self._draw([job], model, partial(progress, "pilot run"), NOWHERE)
        drawn, _ = assembled_chains(chains, self.pilot, dict(ready.density.coords))
        return averaged(model, dataset, check_forms(model.iiv, self.forms), start, drawn)

    def _with(self, compiled: Density, model: PopModel, start: Start) -> Ready:
        """The density in adapted coordinates, its chains starting around ``start``."""

        def around(seed: Any = None) -> NDArray[np.float64]:
            return start.around(np.random.default_rng(seed))

        known = start.data(model, check_forms(model.iiv, self.forms))
        return Ready(compiled.with_data(**known), around)

    def _jobs(self, ready: Ready, chains: list[Chain], seed: int, *, stored: bool) -> list[Job]:
        """What is left to draw: each begun chain by itself, those not begun together."""
        begun = [chain for chain in chains if 0 < chain.size < self.draws]
        new = [chain for chain in chains if not chain.size]
        jobs = []
        for chain in begun:
            own = np.random.SeedSequence([seed, chain.number, chain.size]).generate_state(1)[0]
            at = ready._replace(around=_exactly(chain.position))
            jobs.append(
                self._job(
                    at, [chain], tune=max(self.tune // 2, _RETUNED), draws=self.draws,
                    seed=int(own), step=chain.step, stored=stored,
                )
            )  # fmt: skip
        if new:
            own_seed = seed if len(new) == len(chains) else seed + len(chains) - len(new)
            jobs.append(
                self._job(
                    ready, new, tune=self.tune, draws=self.draws, seed=own_seed, stored=stored
                )
            )
        return jobs

    def _job(
        self,
        ready: Ready,
        chains: list[Chain],
        *,
        tune: int,
        draws: int,
        seed: int,
        step: float | None = None,
        stored: bool = False,
    ) -> Job:
        """One sampler of nutpie for some chains that have come equally far."""
        settings = {} if step is None else {"initial_step": step}

        def start(told: Callable[[Any], None]) -> Any:
            return begin(
                ready,
                told,
                seed=seed,
                cores=min(self._cores(), len(chains)),
                stored=stored,
                num_tune=tune,
                num_draws=draws - chains[0].size,
                num_chains=len(chains),
                target_accept=self.target_accept,
                **settings,
            )

        return Job(chains, tune, draws, start, ready.density.transformed)

    def _draw(
        self, jobs: list[Job], model: PopModel, progress: Callable[..., None], store: Store
    ) -> None:
        names = [p.name for p in model.parameters if not isinstance(p.prior, Fixed)]
        draw_chains(jobs, cores=self._cores(), progress=progress, store=store, names=names)

    def _cores(self) -> int:
        usable = getattr(os, "process_cpu_count", os.cpu_count)() or 1
        return self.cores or min(self.chains, usable)


def _exactly(position: NDArray[np.float64] | None) -> Callable[..., NDArray[np.float64]]:
    """A chain that starts at one point."""
    assert position is not None

    def at(seed: Any = None) -> NDArray[np.float64]:
        del seed
        return position

    return at

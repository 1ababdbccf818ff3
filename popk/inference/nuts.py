"""NUTS on the joint posterior of population parameters and random effects, through nutpie."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from popk.dataset import Dataset
from popk.errors import SettingError
from popk.graph import build
from popk.inference.approximation import approximate_likelihood, effect_names
from popk.inference.forms import centred_coordinates
from popk.inference.start import Start, find_start
from popk.model import PopModel
from popk.statistics import FORMS, check_forms

__all__ = ["NUTS", "Progress"]

_AVERAGED = 64  # pilot draws over which the likelihood is approximated
_SPREAD = 0.2  # of the chains' starting points, in the population parameters (mostly logarithms)

type Progress = Callable[[str, int, int, int], None]
"""Told what is going on: the stage, what is done of it, its total, and divergences so far."""


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
        if not 0.5 <= self.target_accept < 1:
            raise SettingError(
                f"NUTS was given target_accept={self.target_accept!r}; expected 0.5 to below 1."
            )

        if not isinstance(self.forms, Mapping):
            raise SettingError(
                f'NUTS was given forms={self.forms!r}; give a mapping such as {{"CL": "centred"}}.'
            )
        for name, form in self.forms.items():
            if form not in FORMS:
                raise SettingError(
                    f"NUTS was given the form {form!r} for {name}; expected one of "
                    f"{', '.join(FORMS)}."
                )

    def run(
        self, model: PopModel, dataset: Dataset, *, seed: int, progress: Progress
    ) -> tuple[xr.Dataset, xr.Dataset]:
        """Posterior and sampler statistics, each (chain, draw, …)."""
        import nutpie

        progress("compiling the model", 0, 0, 0)
        forms = check_forms(model.iiv, self.forms)
        graph = build(model, dataset, adapted=True, forms=forms)
        with warnings.catch_warnings():
            # nutpie's wrapper holds pointers to the data, which Numba cannot store on disk.
            warnings.filterwarnings("ignore", message="Cannot cache compiled function")
            compiled = nutpie.compile_pymc_model(graph)
        progress("finding a starting point", 0, 0, 0)
        start = find_start(model, dataset, compiled, forms)
        seeds = np.random.SeedSequence(seed).generate_state(2)
        if self.pilot and (model.iiv.effects or model.iov.effects):
            start = self._pilot(model, dataset, compiled, start, int(seeds[0]), progress)
        ready = self._with(compiled, model, start)
        tree = self._sample(ready, "sampling", self.tune, self.draws, int(seeds[1]), progress)
        return tree["posterior"].to_dataset(), tree["sample_stats"].to_dataset()

    def _pilot(
        self,
        model: PopModel,
        dataset: Dataset,
        compiled: Any,
        start: Start,
        seed: int,
        progress: Progress,
    ) -> Start:
        """Approximate the likelihood over the pilot's draws instead of at the mode."""
        ready = self._with(compiled, model, start)
        tree = self._sample(ready, "pilot run", self.pilot, self.pilot, seed, progress)
        posterior = tree["posterior"].to_dataset().stack(all=("chain", "draw"))
        chosen = np.linspace(0, posterior.sizes["all"] - 1, _AVERAGED).astype(int)
        names = [parameter.name for parameter in model.parameters]
        names += effect_names(model, posterior)
        thin = posterior[names].isel(all=chosen).transpose("all", ...)
        draws = [{name: thin[name].values[k] for name in names} for k in range(_AVERAGED)]
        found = approximate_likelihood(model, dataset, draws)
        forms = check_forms(model.iiv, self.forms)
        found |= centred_coordinates(model, dataset, forms, draws)
        return replace(start, approximation=found)

    def _with(self, compiled: Any, model: PopModel, start: Start) -> Any:
        """The compiled model in adapted coordinates, its chains starting around ``start``."""
        spread = _SPREAD * start.scale
        spread[start.coordinates] = 1.0

        def around(seed: Any = None) -> NDArray[np.float64]:
            rng = np.random.default_rng(seed)
            return start.position + spread * rng.uniform(-1, 1, len(spread))

        ready = replace(compiled, initial_point_func=around)
        forms = check_forms(model.iiv, self.forms)
        adapted = "adapted" in forms.values()
        needs = {"occasion": bool(model.iov.effects), "curvature": adapted, "pull": adapted}
        needs["centred"] = "centred" in forms.values()
        known = {k: v for k, v in start.approximation.items() if needs[k.split("_")[0]]}
        return ready.with_data(**known) if known else ready

    def _sample(
        self,
        compiled: Any,
        stage: str,
        tune: int,
        draws: int,
        seed: int,
        progress: Progress,
    ) -> xr.DataTree:
        import nutpie

        def report(states: Any) -> None:
            done = sum(state.finished_draws for state in states)
            divergences = sum(state.divergences for state in states)
            progress(stage, int(done), self.chains * (tune + draws), int(divergences))

        logging.getLogger("nutpie").setLevel(logging.WARNING)
        found: xr.DataTree = nutpie.sample(
            compiled,
            draws=draws,
            tune=tune,
            chains=self.chains,
            cores=self.cores,
            seed=seed,
            target_accept=self.target_accept,
            save_warmup=False,
            progress_bar=False,
            progress_callback=report,
        )
        return found

"""Chains drawn by NumPyro, all side by side, a block of draws at a time.

The state of NumPyro's sampler (position, step size, mass matrix, random numbers, and how far it has
adapted) is written with the draws, so that a run goes on as if it had not been interrupted.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from popk.diagnostics.effective import chain_figures
from popk.inference.jax_density import JaxDensity
from popk.inference.progress import ChainReport
from popk.inference.runs.store import NOWHERE, Store
from popk.inference.start import Point

__all__ = ["Drawn", "Sampler", "Watch", "assembled"]

type Floats = NDArray[np.float64]

_BLOCK = 25  # draws of every chain between looks
_DEEPEST = 10  # doublings of a trajectory
_SERIES = "draws"
_LOOKED = 5.0  # seconds between estimates of the ESS
_FEWEST = 20  # draws before there is an ESS


@dataclass
class Drawn:
    """What has been drawn.

    Parameters
    ----------
    tune, draws
        Steps of each chain that are not kept, and draws that are wanted after them.
    state
        The sampler's, after ``steps`` steps.
    x, stats
        Positions, in parts of (n, chain, n_dim), and statistics by name, in parts of (n, chain).
    """

    tune: int
    draws: int
    state: list[NDArray[Any]]
    steps: int = 0
    x: list[Floats] = field(default_factory=list)
    stats: list[dict[str, NDArray[Any]]] = field(default_factory=list)
    _parts_written: int = 0
    _steps_written: int = 0

    @property
    def wanted(self) -> int:
        """Steps in all."""
        return self.tune + self.draws

    def read(self, store: Store) -> None:
        """Go on from what a store has."""
        for chunk in store.chunks(_SERIES):
            self.x.append(chunk["x"])
            self.stats.append(chunk["stats"])
            self.state, self.steps = chunk["state"], chunk["steps"]
        self._parts_written, self._steps_written = len(self.x), self.steps

    def add(self, state: list[NDArray[Any]], x: Floats, stats: dict[str, NDArray[Any]]) -> None:
        """One block, of which the first draws may be to tune."""
        skipped = min(len(x), max(0, self.tune - self.steps))
        self.state, self.steps = state, self.steps + len(x)
        self.x.append(x[skipped:])
        self.stats.append({name: values[skipped:] for name, values in stats.items()})

    def write(self, store: Store) -> None:
        """Write what has not been written as one chunk."""
        if self.steps == self._steps_written:
            return
        new = slice(self._parts_written, None)
        x = np.concatenate(self.x[new])
        stats = {
            name: np.concatenate([part[name] for part in self.stats[new]]) for name in self.stats[0]
        }
        self.x[new], self.stats[new] = [x], [stats]
        self._parts_written, self._steps_written = len(self.x), self.steps
        store.append(_SERIES, {"x": x, "stats": stats, "state": self.state, "steps": self.steps})

    def joined(self) -> tuple[Floats, dict[str, NDArray[Any]]]:
        """Positions (chain, draw, n_dim) and statistics (chain, draw), as many as are wanted."""
        x = np.concatenate(self.x)[: self.draws].swapaxes(0, 1)
        return x, {
            name: np.concatenate([part[name] for part in self.stats])[: self.draws].T
            for name in self.stats[0]
        }


class Sampler:
    """NumPyro's No-U-Turn sampler of a density, compiled once for any number of runs.

    Parameters
    ----------
    density
        What is sampled.
    tune
        Steps over which step size and mass matrix are adapted.
    target_accept
        Aimed-at acceptance rate.
    """

    def __init__(self, density: JaxDensity, *, tune: int, target_accept: float) -> None:
        import jax
        from numpyro.infer.hmc import hmc

        energy = _energy(density)
        self._data = density.data
        self._settings = {"num_warmup": tune, "target_accept_prob": target_accept}
        # The higher interface would be compiled anew for other coordinates.
        self._begin, step = hmc(
            potential_fn_gen=lambda data: lambda x: energy(x, data), algo="NUTS"
        )
        self._tree: Any = None

        def block(state: Any, data: Any) -> Any:
            def one(state: Any, _: Any) -> Any:
                state = jax.vmap(lambda own: step(own, (data,)))(state)
                return state, (state.z, _statistics(state))

            return jax.lax.scan(one, state, None, length=_BLOCK)

        self._block = jax.jit(block)

    def begin(self, x: Floats, scale: Floats, data: dict[str, Floats], seed: int) -> list[Any]:
        """The state before the first step of chains at x (chain, n_dim).

        ``scale`` (n_dim) is by how much a coordinate may change.
        """
        import jax

        def at(position: Any, key: Any, data: Any) -> Any:
            return self._begin(
                position, inverse_mass_matrix=scale**2, max_tree_depth=_DEEPEST,
                trajectory_length=None, model_args=(data,), rng_key=key, **self._settings,
            )  # fmt: skip

        self._data = data
        keys = jax.random.split(jax.random.PRNGKey(seed), len(x))
        begun = jax.jit(jax.vmap(at, in_axes=(0, 0, None)))(x, keys, data)
        leaves, self._tree = jax.tree.flatten(begun)
        return [np.asarray(leaf) for leaf in leaves]

    def draw(self, drawn: Drawn, *, look: Callable[[], None], store: Store = NOWHERE) -> None:
        """Draw, in the coordinates that the chains began in, until all that is wanted is there.

        Interrupted, what was drawn is stored. ``look`` is called after every block.
        """
        import jax

        wrote = time.perf_counter()
        state = jax.tree.unflatten(self._tree, [jax.numpy.asarray(leaf) for leaf in drawn.state])
        try:
            while drawn.steps < drawn.wanted:
                state, (x, stats) = self._block(state, self._data)
                leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(state)]
                drawn.add(leaves, np.asarray(x), {k: np.asarray(v) for k, v in stats.items()})
                if time.perf_counter() - wrote >= store.seconds:
                    drawn.write(store)
                    wrote = time.perf_counter()
                look()
        finally:
            drawn.write(store)


class Watch:
    """Tells how far the chains are, and the ESS of the population parameters now and then."""

    def __init__(
        self, density: JaxDensity, names: list[str], drawn: Drawn, progress: Callable[..., None]
    ) -> None:
        point = Point(density)
        found = [point.place(name) for name in names]
        self._places = [place.start for place in found if place is not None]
        signed = {f"{name}_signed" for name in names}
        every = density.places.items()
        self._signed = [place.start for name, (place, _) in every if name in signed]
        self._drawn, self._progress = drawn, progress
        self._looked, self._each = time.perf_counter(), dict[int, float]()
        self._least: float | None = None

    def __call__(self) -> None:
        """Tell it."""
        drawn = self._drawn
        total, tuning = drawn.wanted, drawn.steps < drawn.tune
        done = min(drawn.steps, total)
        if time.perf_counter() - self._looked >= _LOOKED or drawn.steps >= total:
            self._estimate(np.concatenate(drawn.x))
            self._looked = time.perf_counter()
        divergences = np.sum([part["diverging"].sum(axis=0) for part in drawn.stats], axis=0)
        chains = tuple(
            ChainReport(
                done=done, total=total, divergences=int(own), tuning=tuning,
                ess=self._each.get(number),
            )
            for number, own in enumerate(divergences)
        )  # fmt: skip
        n = len(chains)
        self._progress(done * n, total * n, int(divergences.sum()), ess=self._least, chains=chains)

    def _estimate(self, x: Floats) -> None:
        if len(x) < _FEWEST or not self._places:
            return
        x[..., self._signed] = np.abs(x[..., self._signed])
        values = x[..., self._places].transpose(2, 1, 0)  # ranks: a logarithm has the same ESS
        self._least = float(np.min(chain_figures(values)[1]))
        self._each = {
            chain: float(np.min(chain_figures(values[:, [chain]])[1]))
            for chain in range(values.shape[1])
        }


def assembled(density: JaxDensity, drawn: Drawn) -> tuple[xr.Dataset, xr.Dataset]:
    """Posterior and statistics of all chains, each (chain, draw, …)."""
    x, stats = drawn.joined()
    chains, draws = x.shape[:2]
    lead = {"chain": np.arange(chains), "draw": np.arange(draws)}
    variables = {
        name: ((*lead, *density.dims.get(name, ())), value.reshape(chains, draws, *value.shape[1:]))
        for name, value in density.draws(x.reshape(chains * draws, -1)).items()
        if name in density.dims or value.ndim == 1
    }
    posterior = xr.Dataset(variables, coords=lead)
    labels = {dim: density.coords[str(dim)] for dim in posterior.sizes if dim not in lead}
    found = xr.Dataset({name: (tuple(lead), value) for name, value in stats.items()}, coords=lead)
    return posterior.assign_coords(labels), found


def _energy(density: JaxDensity) -> Any:
    """Minus the log density of x and data, whose derivative by x is the gradient that there is."""
    import jax

    def forward(x: Any, data: Any) -> Any:
        value, gradient = density.value_and_gradient(x, data)
        return -value, (gradient, data)

    def backward(kept: Any, cotangent: Any) -> Any:
        gradient, data = kept
        return -cotangent * gradient, jax.tree.map(jax.numpy.zeros_like, data)

    energy = jax.custom_vjp(lambda x, data: -density.value_and_gradient(x, data)[0])
    energy.defvjp(forward, backward)
    return energy


def _statistics(state: Any) -> dict[str, Any]:
    """Of one draw of every chain, under the names that they have by `NUTS`."""
    import jax.numpy as jnp

    depth = jnp.floor(jnp.log2(state.num_steps)).astype(int) + 1
    return {
        "depth": depth,
        "maxdepth_reached": state.num_steps >= 2**_DEEPEST - 1,
        "step_size": state.adapt_state.step_size,
        "mean_tree_accept": state.accept_prob,
        "n_steps": state.num_steps,
        "logp": -state.potential_energy,
        "energy": state.energy,
        "diverging": state.diverging,
    }

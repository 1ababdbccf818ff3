"""Chains drawn by nutpie in the background, their draws taken from it as they come.

nutpie writes either to memory or, uncompressed and without checksums, to a store of its own; it
cannot be given the state of a chain. So draws are taken out of its memory every few seconds, and a
chain goes on from its last draw after a shorter tuning, whose draws are not kept.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from popk.diagnostics.effective import chain_figures
from popk.inference.progress import ChainReport
from popk.inference.runs.store import Store

__all__ = ["Chain", "Job", "assembled_chains", "draw_chains"]

type Arrays = dict[str, NDArray[Any]]

_WAIT = 0.1  # seconds between looks at the samplers
_LOOKED = 5.0  # seconds between estimates of the ESS where nothing is stored
_FEWEST = 20  # draws before there is an ESS
_STATISTICS = (
    "depth", "maxdepth_reached", "step_size", "step_size_bar", "mean_tree_accept",
    "mean_tree_accept_sym", "n_steps", "max_energy_error", "index_in_trajectory", "logp", "energy",
    "energy_error", "fisher_distance", "diverging",
)  # fmt: skip


@dataclass
class Chain:
    """What has been drawn of one chain.

    ``draws`` and ``stats``, parts of (n, …); ``dims``, the names of the draws' further dimensions;
    ``position`` (n_dim), the last point in the sampler's coordinates (None where nothing is to be
    stored); ``step``, the adapted step size.
    """

    number: int
    draws: list[Arrays] = field(default_factory=list)
    stats: list[Arrays] = field(default_factory=list)
    dims: dict[str, list[str]] = field(default_factory=dict)
    position: NDArray[np.float64] | None = None
    step: float = 0.0
    _written: int = 0
    _taken: int = 0  # rows of the sampler that draws it now

    @property
    def size(self) -> int:
        """Number of draws."""
        return sum(len(part["logp"]) for part in self.stats)

    @classmethod
    def stored(cls, number: int, store: Store) -> Chain:
        """What a store has of it."""
        chain = cls(number)
        for chunk in store.chunks(f"chain-{number}"):
            chain._add(chunk)
        chain._written = len(chain.stats)
        return chain

    def take(self, draw_batch: Any, stat_batch: Any, most: int, skip: Sequence[str]) -> None:
        """Take what is new in nutpie's record batches, of which the first are to tune.

        Parameters
        ----------
        draw_batch, stat_batch
            All draws of one sampler's chain so far.
        most
            Draws of the chain that are wanted.
        skip
            Variables that are not.
        """
        rows = min(draw_batch.num_rows, stat_batch.num_rows)
        tuning = int(np.asarray(stat_batch.column("tuning").to_numpy())[:rows].sum())
        first = tuning + self._taken
        last = min(rows, first + most - self.size)
        if last <= first:
            return
        draws, stats = (batch.slice(first, last - first) for batch in (draw_batch, stat_batch))
        dims = {name: _dims(draws.column(name)) for name in draws.column_names if name not in skip}
        chunk = {
            "draws": {name: _array(draws.column(name)) for name in dims},
            "stats": {name: _array(stats.column(name)) for name in _STATISTICS},
            "dims": dims,
            "position": _last(stats.column("unconstrained_draw")),
        }  # fmt: skip
        self._add(chunk)
        self._taken += last - first

    def _add(self, chunk: dict[str, Any]) -> None:
        self.draws.append(chunk["draws"])
        self.stats.append(chunk["stats"])
        self.dims, self.position = chunk["dims"], chunk["position"]
        self.step = float(chunk["stats"]["step_size_bar"][-1])

    def write(self, store: Store) -> None:
        """Write what has not been written as one chunk."""
        if self._written == len(self.stats):
            return
        new = slice(self._written, None)
        draws, stats = _joined(self.draws[new]), _joined(self.stats[new])
        chunk = {
            "draws": draws,
            "stats": stats,
            "dims": self.dims,
            "position": self.position,
        }
        self.draws[new], self.stats[new] = [draws], [stats]
        self._written = len(self.stats)
        store.append(f"chain-{self.number}", chunk)


@dataclass
class Job:
    """Chains that one sampler of nutpie draws.

    Parameters
    ----------
    chains
        The chains, in nutpie's order.
    tune, draws
        Draws to tune, and draws that each chain shall have in the end.
    begin
        Starts the sampler; given what it is to call with the chains' states.
    skip
        Variables that are not kept.
    """

    chains: list[Chain]
    tune: int
    draws: int
    begin: Callable[[Callable[[Any], None]], Any]
    skip: Sequence[str] = ()
    _sampler: Any = None
    _states: list[tuple[int, int, bool]] = field(default_factory=list)
    _before: list[int] = field(default_factory=list)

    def start(self) -> None:
        """Start drawing in the background."""

        def told(states: Any) -> None:
            self._states = [
                (int(one.finished_draws), int(one.divergences), bool(one.tuning)) for one in states
            ]

        self._before = [chain.size for chain in self.chains]
        for chain in self.chains:
            chain._taken = 0
        self._sampler = self.begin(told)

    def is_finished(self, seconds: float) -> bool:
        """Wait so long at most; take all draws when there are no more to come."""
        try:
            trace = self._sampler.wait(timeout=seconds)
        except TimeoutError:
            return False
        self._take(trace)
        return True

    def look(self) -> None:
        """Take the draws that have come."""
        self._take(self._sampler.inspect())

    def stop(self) -> None:
        """Draw no more, and take what there is."""
        self._take(self._sampler.abort())

    def _take(self, trace: Any) -> None:
        for draws, stats in zip(*trace.get_arrow_trace(), strict=True):
            if stats.num_rows:
                chain = self.chains[int(np.asarray(stats.column("chain").to_numpy())[0])]
                chain.take(draws, stats, self.draws, self.skip)

    def reports(self, ess: dict[int, float]) -> list[ChainReport]:
        """How far each chain is."""
        states = self._states or [(0, 0, True)] * len(self.chains)
        return [
            ChainReport(
                done=min(before + done, self.tune + self.draws), total=self.tune + self.draws,
                divergences=divergences, tuning=tuning, ess=ess.get(chain.number),
            )
            for chain, before, (done, divergences, tuning) in zip(
                self.chains, self._before or [0] * len(self.chains), states, strict=True
            )
        ]  # fmt: skip


def draw_chains(
    jobs: list[Job],
    *,
    cores: int,
    progress: Callable[..., None],
    store: Store,
    names: Sequence[str],
) -> None:
    """Draw until every chain has what it shall have; interrupted, what was drawn is stored.

    Parameters
    ----------
    jobs
        What is to be drawn, one after another as there are cores.
    cores
        Chains at a time.
    progress
        `popk.inference.progress.Progress`, the stage given.
    store
        Where draws go while they are made.
    names
        Variables whose effective sample size is told.
    """
    waiting, running = list(jobs), list[Job]()
    chains = [chain for job in jobs for chain in job.chains]
    looked, ess, least = time.perf_counter(), dict[int, float](), None

    def free() -> int:
        return cores - sum(min(cores, len(job.chains)) for job in running)

    try:
        while waiting or running:
            while waiting and (not running or free() >= min(cores, len(waiting[0].chains))):
                waiting[0].start()
                running.append(waiting.pop(0))
            for job in list(running):
                try:
                    if job.is_finished(_WAIT / len(running)):
                        running.remove(job)
                except (RuntimeError, ValueError):
                    running.remove(job)  # it has failed: there is nothing to stop
                    raise
            if time.perf_counter() - looked >= min(store.seconds, _LOOKED):
                for job in running:
                    job.look()
                for chain in chains:
                    chain.write(store)
                ess, least = _effective(chains, names)
                looked = time.perf_counter()
            _tell(jobs, progress, ess, least)
    finally:
        for job in running:
            job.stop()
        for chain in chains:
            chain.write(store)
    _tell(jobs, progress, *_effective(chains, names))


def _tell(
    jobs: list[Job], progress: Callable[..., None], ess: dict[int, float], least: float | None
) -> None:
    each = [report for job in jobs for report in job.reports(ess)]
    progress(
        sum(one.done for one in each),
        sum(one.total for one in each),
        sum(one.divergences for one in each),
        ess=least,
        chains=tuple(each),
    )


def assembled_chains(
    chains: list[Chain], draws: int, coords: dict[str, Any]
) -> tuple[xr.Dataset, xr.Dataset]:
    """Posterior and statistics of all chains, each (chain, draw, …)."""
    lead = {"chain": np.arange(len(chains)), "draw": np.arange(draws)}
    dims = chains[0].dims
    found: list[xr.Dataset] = []
    for parts in ([chain.draws for chain in chains], [chain.stats for chain in chains]):
        each = [_joined(own) for own in parts]
        values = {name: np.stack([own[name][:draws] for own in each]) for name in each[0]}
        found.append(
            xr.Dataset(
                {
                    name: (("chain", "draw", *_named(name, value, dims)), value)
                    for name, value in values.items()
                }
            )
        )
    inner = {dim: size for dim, size in found[0].sizes.items() if dim not in lead}
    labels = {dim: coords.get(str(dim), np.arange(size)) for dim, size in inner.items()}
    return found[0].assign_coords({**lead, **labels}), found[1].assign_coords(lead)


def _named(name: str, value: NDArray[Any], dims: dict[str, list[str]]) -> list[str]:
    """The dimensions of a variable after chain and draw, those without a name by number."""
    known = dims.get(name, [])
    return [*known, *(f"{name}_dim_{k}" for k in range(len(known), value.ndim - 2))]


def _effective(chains: list[Chain], names: Sequence[str]) -> tuple[dict[int, float], float | None]:
    """Least ESS of the named variables in each chain, and in all over what they have in common."""
    if not names:
        return {}, None
    common = min(chain.size for chain in chains)
    usable = [chain for chain in chains if chain.size >= _FEWEST]
    values = {
        chain.number: np.stack([
            np.concatenate([part[name] for part in chain.draws]) for name in names
        ])
        for chain in usable
    }  # fmt: skip

    def least(draws: NDArray[np.float64]) -> float:
        moving = np.ptp(draws, axis=(1, 2)) > 0
        if not moving.any():
            return float(draws.shape[1] * draws.shape[2])
        return float(np.min(chain_figures(draws[moving])[1]))

    each = {number: least(own[:, None]) for number, own in values.items()}
    if len(usable) < len(chains):
        return each, None
    return each, least(np.stack([own[:, :common] for own in values.values()], axis=1))


def _joined(parts: list[Arrays]) -> Arrays:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _dims(column: Any) -> list[str]:
    named = (column.field.metadata or {}).get(b"dims", b"").decode("utf-8")
    return named.split(",") if named else []


def _array(column: Any) -> NDArray[Any]:
    """A column (n, …) of nutpie's record batches, nowhere null."""
    import pyarrow

    shape = (column.field.metadata or {}).get(b"shape", b"").decode("utf-8")
    values = pyarrow.array(column)
    rows = len(values)
    if pyarrow.types.is_large_list(values.type) or pyarrow.types.is_list(values.type):
        values = values.flatten()
    flat = np.asarray(values.to_numpy(zero_copy_only=False))
    return flat.reshape(rows, *(int(size) for size in shape.split(",") if size))


def _last(column: Any) -> NDArray[np.float64] | None:
    """The last row of a column of lists, None where it is null."""
    import pyarrow

    last = pyarrow.array(column)[-1]
    return np.array(last.as_py(), dtype=np.float64) if last.is_valid else None

"""NUTS on the joint posterior by NumPyro, on what JAX finds: processors or a GPU."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from popk.dataset import Dataset
from popk.errors import SettingError
from popk.inference.jax_density import JaxDensity, jax_density
from popk.inference.numpyro_chains import Drawn, Sampler, Watch, assembled
from popk.inference.progress import Progress
from popk.inference.runs.store import NOWHERE, Store
from popk.inference.settings import check_trajectories, check_whole
from popk.inference.start import Start, averaged, find_start
from popk.model import PopModel
from popk.statistics import Fixed, check_forms

__all__ = ["NumpyroNUTS"]


@dataclass(frozen=True, kw_only=True)
class NumpyroNUTS:
    """The No-U-Turn sampler of NumPyro, all chains side by side, on processors or a GPU.

    The same posterior in the same coordinates as by `NUTS`, whose density is translated to JAX and
    whose chains advance together (each waits for the longest trajectory): made for many chains or
    many subjects on a GPU. It needs ``pip install
    "popk[jax]"``, and for a GPU JAX's own, such as ``pip install "jax[cuda13]"``. It was checked on
    processors only, not yet on a GPU.

    For structures with a closed form whose doses have no parameters; others are refused. Loading
    PyTensor's JAX backend switches JAX to double precision for the whole process.

    Parameters
    ----------
    draws
        Draws of each chain that are kept.
    tune
        Draws of each chain before them, to adapt step size and mass matrix.
    chains
        Number of chains.
    target_accept
        Aimed-at acceptance rate: closer to 1 means smaller steps and fewer divergences.
    pilot
        Draws (and as many to tune) of the pilot run; 0 for none.
    forms
        As for `NUTS`.
    device
        ``"cpu"`` or ``"gpu"``; what JAX takes by itself if None (a GPU where it has one).

    Raises
    ------
    SettingError
        When a setting makes no sense, in a sentence.
    """

    draws: int = 1000
    tune: int = 500
    chains: int = 4
    target_accept: float = 0.9
    pilot: int = 150
    forms: Mapping[str, str] = field(default_factory=dict)
    device: str | None = None

    def __post_init__(self) -> None:
        check_whole(self, {"draws": 10, "tune": 50, "chains": 1, "pilot": 0})
        check_trajectories(self)
        if self.device not in (None, "cpu", "gpu"):
            raise SettingError(
                f'NumpyroNUTS was given device={self.device!r}; expected "cpu", "gpu" or None.'
            )

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

        What is drawn is stored with the sampler's state, tuning included: after an interruption a
        run goes on from its last chunk and gives the draws that it would have given (on the same
        device, with the same versions; on another one other draws of the same posterior).

        Raises
        ------
        SettingError
            When NumPyro, JAX or the device is missing, or JAX cannot compute the model.
        """
        device = self._device()
        import jax

        with jax.default_device(device):
            progress("compiling the model")
            forms = check_forms(model.iiv, self.forms)
            density = jax_density(model, dataset, forms)
            sampler = Sampler(density, tune=self.tune, target_accept=self.target_accept)
            seeds = [int(own) for own in np.random.SeedSequence(seed).generate_state(2)]
            names = [p.name for p in model.parameters if not isinstance(p.prior, Fixed)]

            def make() -> Start:
                progress("finding a starting point")
                found = find_start(model, dataset, density, forms)
                if self.pilot and (model.iiv.effects or model.iov.effects):
                    ready = density.with_data(**found.data(model, forms))
                    state = self._begun(sampler, ready, found, seeds[0])
                    pilot = Drawn(self.pilot, self.pilot, state)
                    look = Watch(ready, names, pilot, partial(progress, "pilot run"))
                    sampler.draw(pilot, look=look)
                    return averaged(model, dataset, forms, found, assembled(ready, pilot)[0])
                return found

            start = store.kept("start", make, (Start,))
            ready = density.with_data(**start.data(model, forms))
            drawn = Drawn(self.tune, self.draws, self._begun(sampler, ready, start, seeds[1]))
            drawn.read(store)
            if drawn.steps:
                store.resumed_at({"steps of each chain": drawn.steps})
            look = Watch(ready, names, drawn, partial(progress, "sampling"))
            sampler.draw(drawn, look=look, store=store)
            posterior, stats = assembled(ready, drawn)
        stats.attrs["device"] = f"{device.platform} ({device.device_kind})"
        stats.attrs["numpyro"], stats.attrs["jax"] = version("numpyro"), version("jax")
        return posterior, stats

    def _begun(
        self, sampler: Sampler, ready: JaxDensity, start: Start, seed: int
    ) -> list[NDArray[Any]]:
        rng = np.random.default_rng(seed)
        x = np.stack([start.around(rng) for _ in range(self.chains)])
        return sampler.begin(x, start.scale, ready.data, seed)

    def _device(self) -> Any:
        """The device of JAX to draw on."""
        try:
            import jax
            import numpyro  # noqa: F401 - whether it is there
        except ImportError as fault:
            raise SettingError(
                f"NumpyroNUTS needs {fault.name}, which is not installed; install it with popk's "
                'extra, pip install "popk[jax]", or sample by NUTS.'
            ) from None
        try:
            return jax.devices(self.device)[0]
        except RuntimeError as fault:
            raise SettingError(
                f'NumpyroNUTS was given device="{self.device}", which JAX does not find ({fault}). '
                'Install JAX for it (for NVIDIA, pip install "jax[cuda13]"), or leave device out.'
            ) from None

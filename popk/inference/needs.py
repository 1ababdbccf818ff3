"""Memory and disk that a fit needs, said before it begins."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from popk.design import Design
from popk.inference.map import MAP
from popk.inference.marginal import Marginal
from popk.inference.method import Method
from popk.inference.numpyro_nuts import NumpyroNUTS
from popk.inference.nuts import NUTS
from popk.inference.precision import precision_of
from popk.inference.progress import Progress
from popk.inference.smc import SMC
from popk.inference.vi import VI
from popk.model import PopModel
from popk.storage import StorageError
from popk.structure.events import OBSERVE

__all__ = ["Needs", "check_room", "needs_of"]

_GIGABYTE = 1e9
_PREDICTED = 400  # draws of predictions
_COPIES, _JOINT_COPIES = 2, 3  # of what was drawn, while its batches, or its chains, are joined
_AT_A_TIME = 100e6  # of the draws that are worked on
_SPARE = 1.1


@dataclass(frozen=True)
class Needs:
    """Bytes of ``memory`` for the draws, beside what the libraries take, and of ``disk``."""

    memory: float
    disk: float


def needs_of(model: PopModel, design: Design, method: Method) -> Needs:
    """What a fit needs at its peak, from the numbers that its draws and predictions have.

    That is while what was drawn is joined, while the posterior is made of it, or in the end.
    """
    draws, made = _numbers(method)
    subjects = design.events.n_subjects
    observations = int(np.sum(design.events.kind == OBSERVE))
    effects = subjects * len(model.iiv.effects)
    effects += len(design.occasion_subject) * len(model.iov.effects) + len(design.missing)
    population = len(model.parameters) + len(model.derived)
    parameters = subjects * len(model.structure.names)
    single = precision_of(model, design, draws).itemsize
    posterior = draws * (8.0 * (2 * population + effects) + single * parameters)
    others = draws * single * observations + 8.0 * _PREDICTED * (2 * observations + subjects)
    fit = posterior + others
    # By NUTS the coordinates of the effects are drawn too, and the sampler's positions are kept.
    is_joint = isinstance(method, NUTS | NumpyroNUTS)
    each = 2 * population + 3 * effects + parameters if is_joint else population + effects + 2
    drawn = 8.0 * made * each
    copies = _JOINT_COPIES if isinstance(method, NUTS | NumpyroNUTS | VI) else _COPIES
    memory = max(copies * drawn, drawn + posterior, fit)
    # Only these write what they draw before the fit is put together, NumPyro's positions alone.
    written = drawn if isinstance(method, NUTS | Marginal) else 0.0
    if isinstance(method, NumpyroNUTS):
        written = 8.0 * made * (population + effects)
    return Needs(memory=memory + _AT_A_TIME, disk=written + fit)


def _numbers(method: Method) -> tuple[int, int]:
    """Draws that a method gives, and those that it makes to choose them from."""
    if isinstance(method, MAP):
        return 1, 1
    draws = method.chains * (method.particles if isinstance(method, SMC) else method.draws)
    if isinstance(method, NUTS | NumpyroNUTS | Marginal | SMC):
        return draws, draws
    return draws, max(draws, method.chains * method.proposals)


def check_room(
    model: PopModel,
    design: Design,
    method: Method,
    progress: Progress,
    *,
    folder: Path | None = None,
) -> None:
    """Say what a large fit needs; refuse it where the disk of its folder has less.

    Raises
    ------
    StorageError
        When the disk has less room than the fit needs.
    """
    needs = needs_of(model, design, method)
    disk = needs.disk if folder is not None else 0.0
    if max(needs.memory, disk) > _GIGABYTE:
        on_disk = f" and {disk / _GIGABYTE:.1f} GB of disk" if folder is not None else ""
        single = precision_of(model, design, _numbers(method)[0]) == np.float32
        digits = "; what follows from the draws is kept to seven digits" if single else ""
        progress(
            f"about {needs.memory / _GIGABYTE:.1f} GB of memory{on_disk} will be needed{digits}"
        )
    if folder is None:
        return
    there = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    free = shutil.disk_usage(folder).free
    if free < _SPARE * disk - there:
        raise StorageError(
            f"The disk that holds {folder} has {free / _GIGABYTE:.2f} GB free, but the run needs "
            f"about {(_SPARE * disk - there) / _GIGABYTE:.2f} GB more. Make room, or give a folder "
            "on another disk."
        )

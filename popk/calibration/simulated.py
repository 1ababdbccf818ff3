"""The verb: simulate, fit and rank many times, and say whether probabilities hold."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path

import numpy as np
import xarray as xr

from popk.calibration.folder import done, opened, read_replicate, write_replicate
from popk.calibration.planning import calibration_of
from popk.calibration.processes import made_by_processes
from popk.calibration.replicate import replicated
from popk.calibration.result import result_of
from popk.calibration.setting import Calibration
from popk.dataset import Dataset
from popk.errors import SettingError
from popk.inference import Marginal, Method, Terminated
from popk.inference.runs.interruption import terminable
from popk.model import PopModel
from popk.population import check_seed

__all__ = ["USUAL", "sbc"]

USUAL = Marginal(draws=500)
"""How replicates are fitted: 2000 draws, of which 200 nearly independent ones are ranked among."""


def sbc(  # noqa: PLR0913
    model: PopModel | None = None,
    design: Dataset | None = None,
    *,
    fit: xr.DataTree | None = None,
    fitted_model: PopModel | None = None,
    replicates: int = 200,
    method: Method | None = None,
    seed: int,
    ranks: int = 200,
    interval: float | None = None,
    target: float | None = None,
    processes: int = 1,
    folder: str | PathLike[str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> xr.DataTree:
    """Simulation-based calibration: whether posteriors hold the truth as often as they say.

    Parameters are drawn, data simulated from them on the design, the data are fitted, and the truth
    is ranked among nearly independent draws of the fit. If simulation, model and sampling agree,
    ranks are uniform: of every population parameter, of the patients' random effects (pooled), of
    the log likelihood, and of the true trough one interval after the last dose. And the event that
    the trough is at or above a target happens as often as `popk.individualise` says.

    Given ``fit`` instead of a model and a design, everything is conditional on its data: draws of
    the fit generate the replicates, new observations of the same patients at the same times, and
    each is fitted together with the observed data; draws of this augmented posterior are what the
    generating draw is ranked among (Säilynoja et al. 2025).

    Parameters
    ----------
    model
        The model. Its priors generate the parameters.
    design
        Doses, times, covariates and limits of quantification; DV is not used. Observed are the
        records with EVID 0 and MDV 0, or all with EVID 0 where none has MDV 0.
    fit
        What `popk.sample` returned, converged.
    fitted_model
        The model to fit, if not the one that simulates: what does a wrong prior do?
    replicates
        How many. Bands are wide with few; 200 see a bias of a quarter of a posterior SD.
    method
        How each is fitted, `Marginal(draws=500)` if None; on one processor.
    seed
        Seed; a replicate depends on it and on its number, not on how many there are, on processes
        or interruptions.
    ranks
        Draws to rank among, at most; fewer where a fit has a smaller ESS, of any quantity.
    interval
        From the last dose to the trough, in the model's unit of time; the median of the patients'
        usual intervals if None.
    target
        Lowest acceptable trough, in the model's unit of concentration; if None, one that half of
        the patients reach.
    processes
        Replicates at a time, each in a process of its own with one thread; 1 for none.
    folder
        Where to keep each replicate as soon as it is there. The same call goes on where it was
        interrupted, or adds replicates; one with another model, design or setting is refused.
    progress
        Called with the number of replicates that are there and their total.

    Returns
    -------
    DataTree with the groups ``summary`` (quantity: ``inside`` the simultaneous 95 % band,
    ``p_value``, ``p_adjusted`` by Holm's method over all quantities, ``words``), ``ecdf``
    (quantity, z: ``difference`` from uniformity, band ``low`` and ``high``), ``ranks``,
    ``replicates`` (those without a result or not converged, and why) and ``reliability`` (bin).
    ``attrs["words"]`` is the verdict, ``attrs["notes"]`` (JSON) what to know beside it.

    Raises
    ------
    SettingError, ModelError, DataError, FitError
        When what was given makes no sense, or does not go together.
    StorageError
        When the folder holds another calibration or is in use.
    """
    check_seed(seed)
    for name, value, least in (("replicates", replicates, 2), ("processes", processes, 1)):
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
            raise SettingError(f"{name} is {value!r}; give a whole number of {least} or more.")
    setting = calibration_of(
        model, design, fit, fitted_model, method=USUAL if method is None else method, seed=seed,
        ranks=ranks, interval=interval, target=target,
    )  # fmt: skip
    with _place(folder) as where:
        _make(where, setting, int(replicates), int(processes), progress)
        contents = [read_replicate(where, k) for k in range(replicates)]
    return result_of(setting, contents)


@contextmanager
def _place(folder: str | PathLike[str] | None) -> Iterator[Path]:
    if folder is not None:
        yield Path(folder)
        return
    with tempfile.TemporaryDirectory(prefix="popk-sbc-") as made:
        yield Path(made)


def _make(
    folder: Path,
    setting: Calibration,
    replicates: int,
    processes: int,
    progress: Callable[[int, int], None] | None,
) -> None:
    with opened(folder, setting), terminable():
        there = done(folder, replicates)
        count = len(there)

        def made() -> None:
            nonlocal count
            count += 1
            if progress is not None:
                progress(count, replicates)

        if progress is not None:
            progress(count, replicates)
        missing = [k for k in range(replicates) if k not in set(there)]
        try:
            if processes > 1 and len(missing) > 1:
                made_by_processes(folder, missing, processes=processes, made=made)
                return
            for number in missing:
                write_replicate(folder, replicated(setting, number))
                made()
        except (KeyboardInterrupt, Terminated) as end:
            end.add_note(
                f"{len(done(folder, replicates))} of {replicates} replicates are kept in {folder}; "
                "the same command goes on from there."
            )
            raise

"""Predicting what was left out: patients, observations, the future."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from os import cpu_count

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from popk.comparison.questions import Asked, Pieces, check_unit, pieces_of
from popk.comparison.refits import Refit, refit_without
from popk.comparison.results import Row, tabulated
from popk.comparison.smoothing import khat_limit, log_mean, relative_ess, weighted
from popk.dataset import Dataset
from popk.errors import SettingError
from popk.population import FitError, PopulationDraws, check_seed, dataset_of, model_of, thinned

__all__ = ["check_draws", "loo"]

type Floats = NDArray[np.float64]
type Ints = NDArray[np.int64]
type Progress = Callable[[int, int], None]

_MOST = {"patient": 4000, "observation": 1000, "future": 1000}  # draws that are used
_FEWEST = 100  # draws of a posterior


@dataclass(frozen=True)
class _Draws:
    """Draws of the population parameters, chain after chain."""

    population: PopulationDraws
    chains: int


def loo(
    fit: xr.DataTree,
    unit: str = "patient",
    *,
    refit: bool = True,
    draws: int | None = None,
    seed: int = 1,
    future_covariates: bool = False,
    progress: Progress | None = None,
) -> xr.DataTree:
    """How well a model predicts what its fit has not seen: elpd by leaving out.

    For each draw of the population parameters the patient's random effects are integrated out (with
    its class, the covariates that are missing, its occasions), not conditioned on: a density given
    the patient's own random effects would be that of data which these have seen. The draws are
    weighed by Pareto-smoothed importance sampling as if what is left out had not been fitted. A
    patient for whom this fails (Pareto k-hat above 0.7, or less for few draws) is left out by an
    exact refit.

    Parameters
    ----------
    fit
        What `popk.sample` returned, by any method that gives a posterior.
    unit
        What is predicted: ``"patient"``, all data of a new patient; ``"observation"``, one
        observation of a known patient from the others; ``"future"``, each observation from the
        patient's earlier ones alone, in the order of the records. Everything else that the fit
        knows stays known, the effects of the patient's group (site) included; a group that only
        this patient belongs to is unknown in a refit.
    refit
        Whether to refit without the patients for whom the importance weights fail. Each refit takes
        about as long as the fit did.
    draws
        So many draws, evenly spaced in each chain; at most 4,000 (patient) or 1,000 if None.
    seed
        Seed of the integrals and of the refits.
    future_covariates
        For the future: whether covariates recorded after the patient's last known observation are
        known. If not, they stay as they were then. Doses are always known.
    progress
        Called with the number of patients done and their total; again while refitting.

    Returns
    -------
    DataTree with the groups

    - ``loo`` (subject, or observation with the coordinates ID, TIME and ROW): ``elpd_i``, the log
      predictive density of each; ``khat``, Pareto's k of the weights (before a refit, and NaN where
      nothing had to be weighed); ``refitted`` (0 or 1); ``reliable`` (0 or 1); ``p_loo_i``, how
      much better the full fit predicts it; ``mcse``, the Monte-Carlo SE of ``elpd_i``;
    - ``integrals`` (subject): ``noise``, the SD of the log of one draw's marginal likelihood
      (`popk.comparison.integrals`), ``nodes``;
    - ``observed_data``: what was predicted;

    and in ``attrs`` ``elpd`` (the sum), ``se`` (its standard error, from the spread of the
    patients' sums: observations of one patient are not independent), ``p_loo``, ``mcse``, and
    ``notes`` (JSON), sentences on what was refitted and what is not reliable.

    Raises
    ------
    FitError, SettingError
        When the tree is no fit, or one point (MAP), or has too few draws, or a setting makes no
        sense.
    """
    check_unit(unit)
    check_seed(seed)
    dataset = dataset_of(fit)
    used = _draws_of(fit, check_draws(fit, unit, draws))
    asked = Asked(unit, seed, future_covariates)
    subjects = _observed(dataset)
    rows: dict[str, list[Row]] = {}
    integrals: dict[str, tuple[float, int]] = {}
    for k, (subject, found) in enumerate(_each(used, dataset, subjects, asked)):
        rows[subject] = _by_weights(found, used.chains)
        integrals[subject] = found.noise, found.nodes
        if progress is not None:
            progress(k + 1, len(subjects))
    notes = []
    poor = [one for one in subjects if not all(row.reliable for row in rows[one])]
    for k, subject in enumerate(poor if refit else []):
        again = refit_without(fit, dataset, subject, seed=seed)
        notes += [again.note] if again.note else []
        rows[subject] = _by_refit(again, dataset.select([subject]), asked, rows[subject])
        if progress is not None:
            progress(k + 1, len(poor))
    return tabulated(fit, dataset, asked, rows, integrals, notes=notes)


def check_draws(fit: xr.DataTree, unit: str, draws: int | None) -> int:
    """How many draws of a fit are used.

    Raises
    ------
    FitError, SettingError
        When there are too few, or fewer or more are asked for than there can be.
    """
    model = model_of(fit)
    total = len(thinned(fit, None))
    if total < _FEWEST:
        what = "is one point, not a posterior" if total == 1 else f"has {total} draws"
        raise FitError(
            f"The fit of {model.name} {what}; leaving out needs a posterior of {_FEWEST} draws or "
            "more. Sample it by Marginal, NUTS, SMC or an approximation with weights (Laplace)."
        )
    if draws is None:
        return min(total, _MOST[unit])
    if draws < _FEWEST:
        raise SettingError(f"draws is {draws}; leaving out needs {_FEWEST} or more.")
    return len(thinned(fit, draws))


def _draws_of(fit: xr.DataTree, draws: int) -> _Draws:
    chains, length = fit["posterior"].sizes["chain"], fit["posterior"].sizes["draw"]
    each = max(1, draws // chains)
    kept = np.unique(np.linspace(0, length - 1, min(each, length)).round().astype(np.int64))
    flat = (np.arange(chains)[:, None] * length + kept).ravel()
    return _Draws(PopulationDraws.of(fit).taken(flat), chains)


def _observed(dataset: Dataset) -> list[str]:
    """Subjects that have observations."""
    return list(dict.fromkeys(dataset.table["ID"].values[dataset.is_observation].tolist()))


def _each(
    draws: _Draws, dataset: Dataset, subjects: Sequence[str], asked: Asked
) -> Iterator[tuple[str, Pieces]]:
    """What is left out of each patient, side by side on all cores."""

    def one(subject: str) -> Pieces:
        return pieces_of(draws.population, dataset.select([subject]), asked)

    # The patients are what runs side by side; matrices as small as theirs only suffer.
    with (
        threadpool_limits(1, user_api="blas"),
        ThreadPoolExecutor(cpu_count() or 1) as pool,
    ):
        yield from zip(subjects, pool.map(one, subjects), strict=True)


def _by_weights(found: Pieces, chains: int) -> list[Row]:
    """Each piece, predicted by the fit's draws with the piece's influence divided out."""
    limit = khat_limit(len(found.whole))
    rows = []
    for piece in found.pieces:
        with np.errstate(invalid="ignore"):
            log_ratio = piece.known - found.whole
        r_eff = relative_ess(piece.score, chains)
        got = weighted(piece.score, log_ratio, r_eff=r_eff)
        p = log_mean(piece.score) - got.elpd if np.isfinite(got.elpd) else np.nan
        reliable = bool(np.isfinite(got.elpd) and not got.khat > limit)
        rows.append(Row(piece.number, got.elpd, got.khat, p, got.mcse, reliable))
    return rows


def _by_refit(again: Refit, own: Dataset, asked: Asked, before: list[Row]) -> list[Row]:
    """The same by draws of a fit without the patient, which know its own data by weights."""
    if again.population is None:
        return before
    with threadpool_limits(1, user_api="blas"):
        found = pieces_of(again.population, own, asked)
    limit = khat_limit(len(found.whole))
    rows = []
    for piece, old in zip(found.pieces, before, strict=True):
        r_eff = relative_ess(piece.score, again.chains)
        got = weighted(piece.score, piece.known, r_eff=r_eff)
        p = old.elpd + old.p - got.elpd
        reliable = bool(np.isfinite(got.elpd) and not got.khat > limit and not again.note)
        rows.append(Row(piece.number, got.elpd, old.khat, p, got.mcse, reliable, refitted=True))
    return rows

"""Which of several models to go on with: fitted to the same data, compared by new patients."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray
from scipy import integrate, stats

from popk.comparison.leave_out import loo
from popk.comparison.results import standard_error
from popk.comparison.table import compare, comparison_frame, told_apart
from popk.dataset import Dataset
from popk.diagnostics import verdict_of
from popk.errors import PopkError, SettingError
from popk.inference import Method, sample
from popk.model import PopModel
from popk.population import check_seed, dataset_of, model_of
from popk.statistics import Fixed

__all__ = ["Selection", "select"]

type Floats = NDArray[np.float64]

_MANY = 4  # candidates from which on the best is worth a word of caution


@dataclass(frozen=True, repr=False)
class Selection:
    """What `select` found.

    Parameters
    ----------
    preferred
        Name of the model to go on with; None where no candidate's fit converged.
    alike
        Names of those that predict new patients as well as the best, as far as the data can tell,
        the simplest first; the best among them.
    table
        As `popk.comparison_frame`, with ``n_parameters``, ``converged``, ``alike`` and
        ``preferred``.
    comparison
        From `popk.compare`.
    fits
        The fits, by name.
    words
        The result in sentences.
    notes
        What to allow for.
    """

    preferred: str | None
    alike: tuple[str, ...]
    table: pd.DataFrame
    comparison: xr.DataTree
    fits: Mapping[str, xr.DataTree]
    words: str
    notes: tuple[str, ...]

    def __str__(self) -> str:
        return "\n".join([self.words, *(f"  - {note}" for note in self.notes)])

    def __repr__(self) -> str:
        return str(self)


def select(  # noqa: PLR0913
    candidates: Mapping[str, PopModel | xr.DataTree],
    dataset: Dataset,
    *,
    method: Method | None = None,
    seed: int = 1,
    refit: bool = True,
    draws: int | None = None,
    run: str | Path | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Selection:
    """Fit candidates, compare them by how well they predict new patients, prefer the simplest.

    Two models are told apart where their elpd, patients left out one at a time, differs by more
    than twice its standard error and by more than 4 (Sivula, Magnusson, Matamoros & Vehtari,
    Bayesian Analysis, 2025). Of those that are not told apart from the best the one with the fewest
    estimated population parameters is preferred, at the same number the one with the higher elpd.
    No p-values, and no steps: all candidates are seen at once.

    Name few candidates, each for a reason. The best of many looks better than it is, as its elpd is
    also the luckiest; for many covariates give one model a `popk.Horseshoe` and look at
    `popk.covariate_effects`.

    Parameters
    ----------
    candidates
        Models, or fits of models to these data, by name: two or more.
    dataset
        The data that all are fitted to.
    method
        How models are sampled; `popk.Marginal` if None.
    seed
        Seed of the fits and of leaving out.
    refit, draws
        As for `popk.loo`.
    run
        Folder for the fits, a folder in it for each candidate by name; `popk.resume` goes on with
        one that was interrupted.
    progress
        Called with a candidate's name, the number of its patients left out and their total.

    Raises
    ------
    FitError, SettingError
        When fewer than two are given, one is no model, or a fit given is of other data.
    ModelError, DataError
        When a candidate does not fit the data; the candidate is named.
    """
    check_seed(seed)
    _check(candidates, dataset)
    folder = None if run is None else Path(run)
    fits: dict[str, xr.DataTree] = {}
    for name, given in candidates.items():
        place = None if folder is None else folder / name
        fits[name] = _fitted(name, given, dataset, method, seed, place)
    results = {}
    for name, fit in fits.items():
        told = None
        if progress is not None:
            told = _of(progress, name)
        results[name] = loo(fit, refit=refit, draws=draws, seed=seed, progress=told)
    return _chosen(compare(results), fits)


def _of(progress: Callable[[str, int, int], None], name: str) -> Callable[[int, int], None]:
    return lambda done, total: progress(name, done, total)


def _check(candidates: Mapping[str, PopModel | xr.DataTree], dataset: Dataset) -> None:
    if len(candidates) < 2:
        raise SettingError(
            f"select was given {len(candidates)} candidate{'' if len(candidates) == 1 else 's'}; "
            'give two or more, as {"name": model, "other": model}.'
        )
    hashes: dict[str, str] = {}
    for name, given in candidates.items():
        if not isinstance(given, PopModel | xr.DataTree):
            raise SettingError(f"Candidate {name} is {given!r}; expected a PopModel or a fit.")
        model = given if isinstance(given, PopModel) else model_of(given)
        if model.hash in hashes:
            raise SettingError(f"Candidates {hashes[model.hash]} and {name} are the same model.")
        hashes[model.hash] = name
        if isinstance(given, xr.DataTree) and dataset_of(given) != dataset:
            raise SettingError(
                f"Candidate {name} is a fit of other data than those given. Give its model "
                "instead, to be fitted to these, or compare fits of the same data by popk.compare."
            )


def _fitted(
    name: str,
    given: PopModel | xr.DataTree,
    dataset: Dataset,
    method: Method | None,
    seed: int,
    place: Path | None,
) -> xr.DataTree:
    if isinstance(given, xr.DataTree):
        return given
    try:
        return sample(given, dataset, method, seed=seed, progress=False, run=place)
    except PopkError as fault:
        fault.add_note(f"Candidate: {name}.")
        raise


def _chosen(comparison: xr.DataTree, fits: Mapping[str, xr.DataTree]) -> Selection:
    frame = comparison_frame(comparison)
    names = [str(name) for name in frame.index]
    size = {name: _estimated(model_of(fits[name])) for name in names}
    converged = {name: verdict_of(fits[name]).converged for name in names}
    elpd, who = _pointwise(comparison, names)
    total = {name: float(elpd[name].sum()) for name in names}
    usable = [name for name in names if converged[name] and np.isfinite(total[name])]
    alike: list[str] = []
    if usable:
        best = usable[0]
        for name in usable:
            apart = elpd[name] - elpd[best]
            if name == best or not told_apart(float(apart.sum()), standard_error(apart, who)):
                alike.append(name)
        alike.sort(key=lambda name: (size[name], -total[name]))
    preferred = alike[0] if alike else None
    frame["n_parameters"] = [size[name] for name in names]
    frame["converged"] = [converged[name] for name in names]
    frame["alike"] = [name in alike for name in names]
    frame["preferred"] = [name == preferred for name in names]
    notes = [*_notes(comparison, frame, elpd, who), *json.loads(comparison.attrs["notes"])]
    words = _words(frame, preferred, size)
    return Selection(preferred, tuple(alike), frame, comparison, fits, words, tuple(notes))


def _estimated(model: PopModel) -> int:
    """Number of population parameters that are estimated."""
    return sum(not isinstance(parameter.prior, Fixed) for parameter in model.parameters)


def _pointwise(comparison: xr.DataTree, names: list[str]) -> tuple[dict[str, Floats], NDArray[Any]]:
    table = comparison["pointwise"].to_dataset()
    elpd = {name: table["elpd_i"].sel(model=name).values for name in names}
    return elpd, table["ID"].values


def _words(frame: pd.DataFrame, preferred: str | None, size: Mapping[str, int]) -> str:
    if preferred is None:
        return "No candidate's fit converged, so none is preferred."
    left = [str(name) for name in frame.index if not frame.loc[name, "alike"]]
    alike = [str(name) for name in frame.index if frame.loc[name, "alike"]]
    sentences = []
    if len(alike) > 1:
        sentences.append(f"{_and(alike)} predict new patients alike, as far as these data tell.")
        fewest = f"{size[preferred]} estimated parameters"
        sentences.append(f"{preferred} is preferred, as the simplest of them ({fewest}).")
    else:
        sentences.append(
            f"{preferred} is preferred: it predicts new patients better than the others."
        )
    for name in left:
        own = frame.loc[name]
        why = "did not converge"
        if own["converged"]:
            why = f"predicts worse (elpd {own['elpd_diff']:.1f}, SE {own['se_diff']:.1f})"
        sentences.append(f"{name} {why}.")
    if len(alike) > 1:
        sentences.append(
            "That models are not told apart does not make them equal: average them "
            "(popk.averaged) where their predictions differ."
        )
    return " ".join(sentences)


def _notes(
    comparison: xr.DataTree, frame: pd.DataFrame, elpd: Mapping[str, Floats], who: NDArray[Any]
) -> list[str]:
    """A word on what choosing among many does to the elpd of the chosen."""
    count = len(frame)
    if count < _MANY:
        return []
    middle = np.median(np.stack(list(elpd.values())), axis=0)
    errors = [standard_error(own - middle, who) for own in elpd.values()]
    chance = float(np.nanmedian(errors)) * _highest_of(count)
    lead = float(frame["elpd"].max() - frame["elpd"].median())
    text = (
        f"{count} candidates were compared. If all predicted equally well, the luckiest would seem "
        f"ahead of the middle one by about {chance:.1f} elpd by chance"
    )
    if not lead > chance:
        return [
            f"{text}, and the best is ahead by only {lead:.1f}: its lead, and its elpd, are likely "
            "to be selection-induced. Confirm the choice with patients not used here "
            "(popk.evaluate_forecasts)."
        ]
    return [
        f"{text}; the best is ahead by {lead:.1f}. Its elpd is a little too high all the same, as "
        "it was chosen for it."
    ]


def _highest_of(count: int) -> float:
    """Mean of the highest of so many independent standard normal numbers.

    What selection adds by chance: McLatchie & Vehtari, Statistics and Computing 34:132, 2024.
    """
    normal = stats.norm

    def density(x: float) -> float:
        return float(x * count * normal.pdf(x) * normal.cdf(x) ** (count - 1))

    return float(integrate.quad(density, -8.0, 8.0)[0])


def _and(names: list[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else names[0]

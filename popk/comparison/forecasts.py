"""How good the forecasts of patients were: without samples of theirs, and after each."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from os import cpu_count
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from popk.comparison.foreseen import Foreseen, Wanted, foreseen
from popk.comparison.outsiders import Outsider, Populations, same_patients
from popk.comparison.regret import Asked, Decision, decided, decision_scores, tabulated, told
from popk.comparison.scores import COVERAGES, Limits, covered, crps, pit_range
from popk.comparison.summary import forecast_words, summarised
from popk.dataset import Dataset
from popk.design import check_fit, design_of
from popk.diagnostics import verdict_of
from popk.diagnostics.replicates import Seen
from popk.errors import SettingError
from popk.individual import Trough
from popk.individual.posterior import patient_seed
from popk.model import ModelError
from popk.population import FitError, check_seed, dataset_of, model_of

__all__ = ["evaluate_forecasts", "forecast_frame"]

type Floats = NDArray[np.float64]
type Progress = Callable[[int, int], None]

_LISTED = 8  # IDs in a sentence
_FEWEST = 100  # draws of a forecast
_LOST = 0.01  # of the draws of a forecast may have no finite value


@dataclass(frozen=True)
class _Patient:
    """What was found of one patient."""

    rows: list[dict[str, Any]]
    decisions: list[Decision]
    notes: list[str]


def evaluate_forecasts(  # noqa: PLR0913
    fit: xr.DataTree,
    dataset: Dataset | None = None,
    *,
    target: Trough | None = None,
    probability: float = 0.9,
    weeks: Sequence[float] = range(4, 9),
    truth: pd.DataFrame | None = None,
    future_covariates: bool = False,
    most: int | None = None,
    seed: int = 1,
    draws: int = 250,
    samples: int = 1000,
    refit: bool = True,
    progress: Progress | None = None,
) -> xr.DataTree:
    """Forecast every observation a priori and after each earlier sample, and score the forecasts.

    Each observation of a patient is forecast from the first 0, 1, 2, ... of the patient's
    observations, in the order of the records, with the population's uncertainty carried. A patient
    of the fit (the same ID with an observation of the same TIME and DV) is left out of it: by
    Pareto-smoothed importance weights on the marginal
    likelihood of the patient's fitted data, by a refit where these fail. Doses and their times are
    taken as known, also those later than the samples that are used; where they were chosen in the
    light of a sample (therapeutic drug monitoring) they tell a little of it.

    Parameters
    ----------
    fit
        What `popk.sample` returned.
    dataset
        Patients with observations: new ones (validation), or None for those of the fit.
    target, probability, weeks
        If a target is given, decisions are judged as well: at the dose before every observed
        trough, with the samples up to then, would `popk.individualise` at this probability have
        allowed the interval that was given, and did the observed trough reach the target? What
        another interval would have done is not in the data.
    truth
        For simulated patients: their true parameters (index ID, one column for each parameter of
        the structure, constant within the patient). Then the true trough after the advised interval
        itself is judged.
    future_covariates
        Whether covariates recorded after the last sample that is used are known; if not, they stay
        as they were there (at the first record, where no sample is used). Decisions never know
        them.
    most
        Use at most so many samples; all if None.
    seed
        Seed; a patient's random numbers depend on it and on the ID.
    draws
        Draws of the population posterior for each patient.
    samples
        Draws of each forecast.
    refit
        Whether to refit without a patient of the fit for whom the weights fail.
    progress
        Called with the number of patients done and their total.

    Returns
    -------
    DataTree with the groups

    - ``scores`` (which, samples), see `forecast_frame`: averages over forecasts with so many
      samples used, of the ``"next"`` observation and of ``"all"`` later ones, each with its
      standard error ``<name>_se`` that allows for several forecasts of one patient;
    - ``forecasts`` (forecast): every forecast, with ID, TIME, TAD, ROW, CENS, ``samples`` that were
      used and how far ``ahead`` it is (1: the next observation); ``prediction`` (median of the
      individual prediction), ``low_50 high_50 low_90 high_90`` of the observation, ``error``,
      ``log_score``, ``crps``, ``pit``, ``covered_50``, ``covered_90``, ``reliable``;
    - with a target ``decisions`` (decision) and ``decision_scores`` (samples).

    ``mpe`` is the mean of (prediction - observed) / observed and ``rrmse`` the root of the mean of
    its square, in per cent: bias and precision of Sheiner & Beal, J Pharmacokinet Biopharm 9:503
    (1981), made relative to the observation as is usual; ``within_20`` and ``within_30`` are the
    shares whose error is at most so large. All four are of quantified observations alone, and so of
    what was high enough to be quantified. The other scores count what lies beyond a limit as just
    that (`popk.comparison.scores`). With a residual error that leaves such out (M1) they have no
    log score.

    ``attrs["words"]`` says the result in sentences, ``attrs["notes"]`` (JSON) what to allow for.

    Raises
    ------
    DataError, ModelError, UnitError, FitError, SettingError
        When the patients do not fit the model, there is nothing to forecast, or a setting makes no
        sense.
    """
    model, own = model_of(fit), dataset_of(fit)
    _check(seed, draws=draws, samples=samples, most=most)
    data = own if dataset is None else dataset
    check_fit(model, data, estimated=False)
    _check_outputs(fit, data)
    asked = None
    if target is not None:
        asked = Asked.of(model, target, probability, weeks, truth=truth, subjects=data.subjects)
    elif truth is not None:
        raise SettingError("truth was given without a target; it serves to judge decisions.")
    seen = Seen.in_data(model, data)
    names = [name for name, _ in seen.of_subjects]
    if not names:
        raise FitError("The data have no observations, so there is nothing to compare with.")
    wanted = Wanted(samples, seed, most, future_covariates)
    populations = Populations.of(fit, data, draws=draws, seed=seed, refit=refit)
    found: dict[str, _Patient] = {}
    for k, (name, one) in enumerate(_each(populations, seen, wanted, asked)):
        found[name] = one
        if progress is not None:
            progress(k + 1, len(names))
    return _tree(fit, seen, found, wanted, asked)


def forecast_frame(result: xr.DataTree, group: str = "scores") -> pd.DataFrame:
    """A group of what `popk.evaluate_forecasts` returned as a table.

    Parameters
    ----------
    result
        From `popk.evaluate_forecasts`.
    group
        ``"scores"``, ``"forecasts"``, or with a target ``"decisions"`` or ``"decision_scores"``.
    """
    if result.attrs.get("kind") != "popk forecasts" or group not in result.children:
        held = ", ".join(map(repr, result.children)) or "none"
        raise SettingError(
            f"There is no group {group!r} of evaluated forecasts in what was given; it has {held}."
        )
    frame = result[group].to_dataset().to_dataframe()
    if group == "scores":
        frame = frame.reset_index().sort_values(["which", "samples"], ascending=[False, True])
        frame = frame[frame["n"] > 0].set_index(["which", "samples"])
    return frame


def _check(seed: int, *, most: int | None, **counts: int) -> None:
    check_seed(seed)
    for name, count in counts.items():
        least = _FEWEST if name == "samples" else 1
        if not float(count).is_integer() or count < least:
            raise SettingError(
                f"evaluate_forecasts was given {name}={count!r}; expected {least} or more."
            )
    if most is not None and (not float(most).is_integer() or most < 0):
        raise SettingError(f"evaluate_forecasts was given most={most!r}; expected 0 or more.")


def _check_outputs(fit: xr.DataTree, data: Dataset) -> None:
    model = model_of(fit)
    fitted, given = (design_of(model, one).outputs for one in (dataset_of(fit), data))
    if fitted and not set(given) <= set(fitted):
        names = [model.structure.outputs[k].name for k in sorted(set(given) - set(fitted))]
        raise ModelError(
            [
                f"the patients' data observe {', '.join(names)}, which the fit's data do not, so "
                "its residual error is not for that."
            ]
        )


def _each(
    populations: Populations, seen: Seen, wanted: Wanted, asked: Asked | None
) -> Iterator[tuple[str, _Patient]]:
    """What is found of each patient, side by side on all cores; refits one after the other."""
    rows = dict(seen.of_subjects)
    with (
        threadpool_limits(1, user_api="blas"),
        ThreadPoolExecutor(cpu_count() or 1) as pool,
    ):
        outsiders = dict(zip(rows, pool.map(populations.without, rows), strict=True))
    outsiders = {name: populations.refitted(name, one) for name, one in outsiders.items()}

    def one(name: str) -> _Patient:
        return _patient(outsiders[name], seen, rows[name], wanted, asked)

    with (
        threadpool_limits(1, user_api="blas"),
        ThreadPoolExecutor(cpu_count() or 1) as pool,
    ):
        yield from zip(rows, pool.map(one, rows), strict=True)


def _patient(
    outsider: Outsider,
    seen: Seen,
    rows: NDArray[np.int64],
    wanted: Wanted,
    asked: Asked | None,
) -> _Patient:
    subject = seen.dataset.subjects[int(seen.subject[rows[0]])]
    data = seen.dataset.select([subject])
    rng = patient_seed(wanted.seed, f"{subject}\nPIT")
    table, lost = [], 0
    for one in foreseen(outsider.population, data, wanted):
        scored = _scored(one, seen, int(rows[one.number]), rng)
        lost += not np.isfinite(scored["crps"])
        scored["reliable"] = int(one.reliable and outsider.reliable)
        table.append(scored)
    notes = [outsider.note] if outsider.note else []
    if lost:
        notes.append(f"ID {subject}: {lost} forecasts could not be computed and are not scored.")
    decisions = (
        [] if asked is None else list(decided(outsider.population, seen, rows, asked, wanted))
    )
    return _Patient(table, decisions, notes)


def _scored(one: Foreseen, seen: Seen, at: int, rng: np.random.Generator) -> dict[str, Any]:
    """A row of the table of forecasts."""
    names = ("prediction", "low_50", "high_50", "low_90", "high_90", "error", "crps", "pit")
    found: dict[str, Any] = dict.fromkeys(names, np.nan)
    found |= {f"covered_{100 * p:.0f}": np.nan for p in COVERAGES}
    found |= {"at": at, "samples": one.known, "ahead": one.number - one.known + 1}
    found["log_score"] = one.log_score
    usable = np.isfinite(one.dv) & np.isfinite(one.expected)
    if 1 - usable.mean() > _LOST:
        found["log_score"] = np.nan
        return found
    dv = one.dv[usable]
    limits = Limits(
        float(seen.dv[at]), int(seen.status[at]), float(seen.lower[at]), float(seen.upper[at])
    )
    found["prediction"] = float(np.median(one.expected[usable]))
    ends = np.quantile(dv, [0.25, 0.75, 0.05, 0.95])
    found |= dict(zip(("low_50", "high_50", "low_90", "high_90"), ends.tolist(), strict=True))
    if limits.status == 0 and limits.dv > 0:
        found["error"] = found["prediction"] / limits.dv - 1
    found["crps"] = crps(dv, limits)
    low, high = pit_range(dv, limits)
    found["pit"] = low + (high - low) * float(rng.random())
    for p in COVERAGES:
        share = covered(np.array([low]), np.array([high]), p)
        found[f"covered_{100 * p:.0f}"] = float(share[0])
    return found


def _tree(
    fit: xr.DataTree,
    seen: Seen,
    found: dict[str, _Patient],
    wanted: Wanted,
    asked: Asked | None,
) -> xr.DataTree:
    rows = pd.DataFrame([row for one in found.values() for row in one.rows])
    at = rows.pop("at").to_numpy(dtype=np.int64)
    about = {name: np.asarray(value[1])[at] for name, value in _about(seen).items()}
    unit = {"units": seen.units}
    measured = {"prediction", "low_50", "high_50", "low_90", "high_90", "crps"}
    values = {
        str(name): ("forecast", rows[name].to_numpy(), unit if name in measured else {"units": "1"})
        for name in rows
    }
    values["DV"] = ("forecast", seen.dv[at], unit)
    table = xr.Dataset(values, coords={n: ("forecast", value) for n, value in about.items()})
    for name in ("TIME", "TAD"):
        table[name].attrs["units"] = seen.dataset.units.time
    scores = summarised(table)
    groups = {"scores": scores, "forecasts": table}
    notes = [*seen.notes, *_notes(fit, seen, table, found)]
    words = forecast_words(scores, len(found))
    if asked is not None:
        decisions = [row for one in found.values() for row in one.decisions]
        groups["decisions"] = tabulated(decisions, asked, seen)
        groups["decision_scores"] = decision_scores(groups["decisions"])
        words = f"{words} {told(groups['decisions'], asked)}"
    tree = xr.DataTree.from_dict(groups)
    tree.attrs = {
        "kind": "popk forecasts",
        "words": words,
        "notes": json.dumps(notes, ensure_ascii=False),
        "future_covariates": int(wanted.covariates_known),
        "converged": int(verdict_of(fit).converged),
        "seed": int(wanted.seed),
        "samples": wanted.samples,
        "forecast_data_hash": seen.dataset.fingerprint,
        "popk_version": version("popk"),
        **{name: fit.attrs[name] for name in ("model_name", "model_hash", "data_hash", "units")},
        **({} if asked is None else asked.attributes),
    }
    return tree


def _about(seen: Seen) -> dict[str, Any]:
    return {n: v for n, v in seen.coordinates().items() if n not in {"observation"}}


def _notes(
    fit: xr.DataTree, seen: Seen, table: xr.Dataset, found: dict[str, _Patient]
) -> list[str]:
    notes = []
    if not verdict_of(fit).converged:
        notes.append("The fit did not converge, so its forecasts are not final.")
    own = dataset_of(fit)
    same = same_patients(own, seen.dataset)
    inside = [name for name in found if name in same]
    if inside:
        notes.append(
            f"Patients of the fit ({len(inside)}) were left out of it one at a time: "
            f"{_some(inside)}."
        )
    other = [name for name in found if name in own.subjects and name not in same]
    if other:
        notes.append(
            "IDs of the fit, but no observation is that of the fit's patient, so they are taken "
            f"for new patients: {_some(other)}. Were they the same, the fit would know them."
        )
    below = int((seen.status > 0).sum())
    if below and seen.model.error.leaves_out_below:
        notes.append(
            f"The residual error leaves out what is below the LLOQ (M1): {below} such observations "
            "have no log score, and as samples tell nothing."
        )
    poor = np.unique(table["ID"].values[table["reliable"].values == 0]).tolist()
    if poor:
        notes.append(
            f"Not reliable, though scored (the population hardly predicts these samples, or the "
            f"patient could not be left out well): {_some(poor)}."
        )
    return [*notes, *(note for one in found.values() for note in one.notes)]


def _some(ids: Sequence[str]) -> str:
    more = f" and {len(ids) - _LISTED} more" if len(ids) > _LISTED else ""
    return f"ID {', '.join(ids[:_LISTED])}{more}"

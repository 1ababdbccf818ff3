"""How long a patient's next interval may be, and with what probability."""

from __future__ import annotations

import json
import time as clock
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from popk.dataset import Dataset, Problems
from popk.design import Design, check_fit
from popk.errors import SettingError
from popk.individual.assembled import assembled
from popk.individual.decision import Trough, candidate_weeks
from popk.individual.forecast import Forecast, Present, curve_times_of, forecast, present_of
from popk.individual.judged import band, decisions
from popk.individual.patient import Patient, patients_of
from popk.individual.point import Population
from popk.individual.posterior import (
    PatientPosterior,
    cohort_posterior,
    patient_posterior,
    patient_seed,
)
from popk.individual.prepared import Prepared, check_count, prepare
from popk.individual.unmeasured import unknown_groups, unmeasured, unmeasured_category
from popk.model import ModelError, PopModel
from popk.population import check_seed
from popk.units import Units

__all__ = ["STATEMENT", "Ready", "decide", "individualise", "made_ready"]

type Floats = NDArray[np.float64]

STATEMENT = (
    "Research software. It informs, it does not prescribe: every interval rests on the model, its "
    "assumptions and the data shown with it, and on the true concentration, not on an effect. A "
    "trough unlike the predicted one is a reason to check the sample and to test for anti-drug "
    "antibodies before any interval is changed."
)

_CURVE_POINTS = 90


@dataclass(frozen=True)
class _Request:
    """What is asked for every patient."""

    weeks: Floats
    samples: int
    seed: int
    points: int
    sustained: bool


@dataclass(frozen=True)
class Ready:
    """Patients whose fit to the model is certain, in the form that advice reads."""

    dataset: Dataset
    design: Design
    presents: list[Present]
    patients: list[Patient]


def made_ready(prepared: Prepared, patients: Dataset | Sequence[object] | None) -> Ready:
    """The patients that `individualise` was given, checked and made ready.

    Raises
    ------
    DataError, ModelError
        When they do not fit the model, or there is no dose to repeat.
    """
    model, dataset = prepared.model, _patients(prepared, patients)
    design = check_fit(model, dataset, estimated=False)
    presents = present_of(model, dataset, output=_output(prepared, design), design=design)
    _check_last_doses(presents)
    known = patients_of(prepared.population, dataset, design=design)
    return Ready(dataset, design, presents, known)


def individualise(  # noqa: PLR0913
    fit: xr.DataTree | Prepared,
    patients: Dataset | Sequence[object] | Ready | None = None,
    *,
    target: Trough,
    probability: float = 0.9,
    weeks: Sequence[float] = range(4, 9),
    seed: int = 1,
    draws: int = 250,
    samples: int = 500,
    population: Population = "posterior",
    curve: bool = True,
    sustained: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> xr.DataTree:
    """For each patient: P(trough >= target) against the interval, and the longest that holds it.

    When a new trough arrives, advise again with the record added to the patient's: the posterior
    given all records is that given the earlier ones, updated.

    The interval runs from the patient's last recorded dose, so the present level counts: candidate
    w is judged by the true concentration w weeks after that dose, without a further one. Beside it
    stands ``probability_sustained``: the same after going on at that interval until it settles.

    Parameters
    ----------
    fit
        What `popk.sample` returned; or, for any number of calls, what `popk.individual.prepare`
        made of it once (``draws`` and ``population`` are settled there).
    patients
        New patients, with dose history and troughs (possibly none); or IDs of the fit; or None for
        everybody in the fit. A patient whose ID and records are those of the fit is not counted
        twice: the fit's own posterior is used. Or what `made_ready` made of them.
    target
        The lowest acceptable trough.
    probability
        The probability with which it must be held.
    weeks
        Candidate intervals, in weeks.
    seed
        Seed; each patient's random numbers depend on it and on the patient's ID.
    draws
        Draws of the population posterior (all, if it has fewer) that are combined with a new
        patient's data.
    samples
        Draws of each patient's parameters.
    population
        ``"posterior"``, whose uncertainty is carried. For comparison with tools that carry none the
        population parameters may be held at one point: ``"median"``, ``"mean"``, or estimates by
        name, as in `popk.map_estimates`.
    curve, sustained
        Whether to compute the curve, and ``probability_sustained`` and what goes with it (NaN if
        not): together they take most of the time.
    progress
        Called with the number of patients done and their total.

    Returns
    -------
    DataTree with the groups ``decision`` (subject, week), ``posterior`` (subject, sample,
    parameter; ``draw`` is the fit's draw that a sample goes with, chain after chain), ``curve``
    (subject, point) and ``data``. Where covariates change within a patient,
    the parameters and covariates are those after the last record, which the forecast keeps. The
    forecast is of what the fit's data observe, if a concentration, or else of the structure's
    first output. ``mcse`` (subject, week) is the Monte Carlo standard error of ``probability``,
    from thinning the population's draws and from the number of samples. A patient's ``reliable`` is
    0 where the
    result should not be used, and ``note`` says why; the numbers are NaN where there are none.
    A latent covariate that is missing is integrated over, which ``unmeasured`` says in a sentence.
    Where the model has a further level of variability (sites), a patient of a group of the fit has
    the effects that the fit found for it; of another group they are integrated over, for each
    patient alone, and ``unmeasured`` says so.
    With sub-populations ``decision`` has ``class_probability`` (subject, class), over which
    everything else is averaged; likewise where a category was not measured, which ``unmeasured``
    says.
    ``curve`` has as many points as the patient with the most needs, NaN (``time`` too) after a
    patient's own.

    Raises
    ------
    DataError, ModelError, UnitError, FitError, SettingError
        When the patients do not fit the model, the target has another unit, or a setting makes no
        sense.
    """
    began = clock.perf_counter()
    check_seed(seed)
    for name, count in (("draws", draws), ("samples", samples)):
        check_count("individualise", name, count)
    prepared = (
        fit if isinstance(fit, Prepared) else prepare(fit, draws=draws, population=population)
    )
    model = prepared.model
    target.check_units(model.units)
    _check_probability(probability)
    points = _CURVE_POINTS if curve else 0
    request = _Request(candidate_weeks(weeks), int(samples), seed, points, bool(sustained))
    ready = patients if isinstance(patients, Ready) else made_ready(prepared, patients)
    dataset = ready.dataset
    found: list[dict[str, Any]] = []
    for index, patient in enumerate(ready.patients):
        of_fit = patient.subject in prepared.known and prepared.of_fit(
            patient.subject, dataset.subject_fingerprints[patient.subject]
        )
        found.append(_one(prepared, patient, ready.presents[index], request, in_fit=of_fit))
        if progress is not None:
            progress(index + 1, dataset.n_subjects)
    said = {
        "weeks": request.weeks, "target": target.concentration, "probability": float(probability),
        "seed": seed, "seconds": clock.perf_counter() - began, "statement": STATEMENT,
        "curve": curve, "sustained": sustained,
    }  # fmt: skip
    return assembled(prepared, dataset, found, said)


def decide(advice: xr.DataTree, *, target: Trough, probability: float = 0.9) -> xr.DataTree:
    """The same patients and forecasts judged by another target or probability.

    Parameters
    ----------
    advice
        From `individualise`.
    target, probability
        As there.

    Returns
    -------
    A new DataTree of the same form.

    Raises
    ------
    UnitError, SettingError
        When the target has another unit or the probability makes no sense.
    """
    target.check_units(Units.parse(json.loads(advice.attrs["units"])))
    _check_probability(probability)
    decision = advice["decision"].to_dataset()
    effective = decision["ess"].values
    posterior = advice["posterior"].to_dataset()
    decided = decisions(posterior, target.concentration, probability, effective)
    groups = {name: node.to_dataset() for name, node in advice.children.items()}
    tree = xr.DataTree.from_dict({**groups, "decision": decision.assign(decided.data_vars)})
    tree.attrs = {**advice.attrs, "target": target.concentration, "probability": float(probability)}
    return tree


def _check_probability(probability: float) -> None:
    if not 0 < probability < 1:
        raise SettingError(f"The probability is {probability!r}; give one between 0 and 1, as 0.9.")


def _patients(prepared: Prepared, patients: Dataset | Sequence[object] | None) -> Dataset:
    dataset = prepared.own if patients is None else patients
    if not isinstance(dataset, Dataset):
        dataset = prepared.own.select(dataset)
    problems = Problems("the patients")
    courses = np.split(dataset.table["EVID"].values, dataset.starts[1:])
    for subject, whole in zip(dataset.subjects, courses, strict=True):
        # A reset (EVID 3) wipes out the doses before it.
        course = whole
        course = course[np.flatnonzero(course == 3)[-1] :] if np.any(course == 3) else course
        if not np.any(np.isin(course, (1, 4))):
            after = " after the last reset (EVID 3)" if np.any(course == 3) else ""
            problems.error(
                f"There is no dose{after}, so there is no interval to choose.",
                "Give the doses of this patient.",
                id=subject,
                column="EVID",
            )
    problems.raise_if_errors()
    return dataset


def _output(prepared: Prepared, design: Design) -> int:
    """The output to forecast, once it is certain that the patients' data observe the fit's."""
    outputs, observed = prepared.model.structure.outputs, prepared.outputs
    if observed and not set(design.outputs) <= set(observed):
        raise ModelError(
            [
                f"the patients' data observe {outputs[design.outputs[0]].name}, but the fit's "
                f"observe {outputs[observed[0]].name}, and its residual error is for that."
            ]
        )
    measured = [k for k in observed if outputs[k].dimension == "concentration"]
    return measured[0] if measured else 0


def _check_last_doses(presents: Sequence[Present]) -> None:
    problems = Problems("the patients")
    for present in presents:
        if present.amount == 0:
            problems.error(
                f"The last dose, at TIME {present.time:g}, has AMT 0 (the steady state of an "
                "infusion), so there is no dose to repeat and no interval to choose.",
                "Give the doses since, or leave this patient out.",
                id=present.subject,
                column="AMT",
            )
    problems.raise_if_errors()


def _one(
    prepared: Prepared, patient: Patient, present: Present, request: _Request, *, in_fit: bool
) -> dict[str, Any]:
    """Everything said about one patient: a function of the arguments alone."""
    model, population = prepared.model, prepared.population
    rng = patient_seed(request.seed, patient.subject)
    if in_fit and prepared.fit is not None:
        # As many as for new patients, so that draws repeat where the fit has fewer.
        chosen = np.linspace(0, prepared.total - 1, request.samples).round().astype(np.int64)
        posterior = cohort_posterior(prepared.fit, patient, chosen, rng)
        draw = posterior.draw
    else:
        posterior = patient_posterior(population, patient, samples=request.samples, rng=rng)
        draw = prepared.draws[posterior.draw]
    per_week = model.units.time_in("wk")
    seen, note = _forecast(model, present, posterior, request)
    low, median, high = band(seen.curve.T)
    unknown = [
        unmeasured(model, posterior, observed=present.n_observations > 0),
        unmeasured_category(model, patient, posterior),
        *unknown_groups(patient),
    ]
    return {
        "source": "cohort" if in_fit else "new",
        "n_observations": float(present.n_observations),
        "n_blq": float(present.n_blq),
        "last_dose": present.amount,
        "last_dose_time": present.time,
        "usual_interval": present.usual_interval / per_week,
        "khat": posterior.khat,
        "ess": posterior.ess,
        "reliable": int(not note),
        "note": note,
        "unmeasured": " ".join(filter(None, unknown)),
        **present.covariates,
        "class_probability": posterior.class_probability,
        "parameters": posterior.parameters[:, present.row],
        "draw": draw,
        "troughs": seen.troughs,
        "troughs_sustained": seen.sustained,
        "time": seen.curve_times,
        "low": low,
        "median": median,
        "high": high,
    }


def _each_once(posterior: PatientPosterior, forecast_of: Callable[[Floats], Forecast]) -> Forecast:
    """The forecast of every sample, those that are repeated computed once."""
    if not len(posterior.source):
        return forecast_of(posterior.parameters)
    _, first, back = np.unique(posterior.source, return_index=True, return_inverse=True)
    seen = forecast_of(posterior.parameters[first])
    places = back.ravel()
    return Forecast(
        seen.troughs[places], seen.sustained[places], seen.curve[places], seen.curve_times
    )


def _forecast(
    model: PopModel, present: Present, posterior: PatientPosterior, request: _Request
) -> tuple[Forecast, str]:
    """The forecast of one patient, and why not to use it (empty when there is no reason)."""
    samples = len(posterior.parameters)
    intervals = request.weeks * model.units.time_in("wk")
    if np.isnan(posterior.parameters).all():
        times = np.zeros(0)
        if request.points:
            times = curve_times_of(present, intervals, request.points)
        nothing = np.full((samples, len(intervals)), np.nan)
        return Forecast(nothing, nothing, np.full((samples, len(times)), np.nan), times), (
            posterior.note
        )
    seen = _each_once(
        posterior,
        lambda parameters: forecast(
            model, parameters, present, intervals, request.points, sustained=request.sustained
        ),
    )
    parts = [seen.troughs, seen.curve, *([seen.sustained] if request.sustained else [])]
    lost = np.isnan(np.hstack(parts)).any(axis=1).sum()
    if not lost:
        return seen, posterior.note
    unsolved = f"The equations could not be solved for {lost} of {samples} draws of the parameters."
    return seen, " ".join(filter(None, (posterior.note, unsolved)))

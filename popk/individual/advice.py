"""How long a patient's next interval may be, and with what probability."""

from __future__ import annotations

import json
import time as clock
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from popk.dataset import Dataset, Problems
from popk.design import Design, check_fit, design_of
from popk.diagnostics import verdict_of
from popk.errors import SettingError
from popk.individual.decision import Trough, candidate_weeks, longest_interval
from popk.individual.forecast import Forecast, Present, curve_times_of, forecast, present_of
from popk.individual.patient import patients_of
from popk.individual.posterior import (
    PatientPosterior,
    cohort_posterior,
    patient_posterior,
    patient_seed,
)
from popk.individual.unmeasured import unknown_groups, unmeasured, unmeasured_category
from popk.model import ModelError, PopModel
from popk.population import PopulationDraws, check_seed, dataset_of, model_of, thinned
from popk.units import Units

__all__ = ["STATEMENT", "decide", "individualise"]

type Floats = NDArray[np.float64]

STATEMENT = (
    "Research software. It informs, it does not prescribe: every interval rests on the model, its "
    "assumptions and the data shown with it, and on the true concentration, not on an effect. A "
    "trough unlike the predicted one is a reason to check the sample and to test for anti-drug "
    "antibodies before any interval is changed."
)

_CURVE_POINTS = 90
_ABOUT = ("source", "n_observations", "n_blq", "last_dose", "last_dose_time", "usual_interval",
          "khat", "ess", "reliable", "note", "unmeasured")  # fmt: skip


@dataclass(frozen=True)
class _Request:
    """What is asked for every patient."""

    target: float
    probability: float
    weeks: Floats
    samples: int
    seed: int


def individualise(  # noqa: PLR0913
    fit: xr.DataTree,
    patients: Dataset | Sequence[object] | None = None,
    *,
    target: Trough,
    probability: float = 0.9,
    weeks: Sequence[float] = range(4, 9),
    seed: int = 1,
    draws: int = 250,
    samples: int = 500,
    progress: Callable[[int, int], None] | None = None,
) -> xr.DataTree:
    """For each patient: P(trough >= target) against the interval, and the longest that holds it.

    The interval runs from the patient's last recorded dose, so the present level counts: candidate
    w is judged by the true concentration w weeks after that dose, without a further one. Beside it
    stands ``probability_sustained``: the same after going on at that interval until it settles.

    Parameters
    ----------
    fit
        What `popk.sample` returned.
    patients
        New patients, with dose history and troughs (possibly none); or IDs of the fit; or None for
        everybody in the fit. A patient whose ID and records are those of the fit is not counted
        twice: the fit's own posterior is used.
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
    progress
        Called with the number of patients done and their total.

    Returns
    -------
    DataTree with the groups ``decision`` (subject, week), ``posterior`` (subject, sample,
    parameter; ``draw`` is the fit's draw that a sample goes with, chain after chain), ``curve``
    (subject, point) and ``data``. Where covariates change within a patient,
    the parameters and covariates are those after the last record, which the forecast keeps. The
    forecast is of what the fit's data observe, if a concentration, or else of the structure's
    first output. A patient's ``reliable`` is 0 where the
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
    model = model_of(fit)
    target.check_units(model.units)
    _check_probability(probability)
    check_seed(seed)
    for name, count in (("draws", draws), ("samples", samples)):
        if not float(count).is_integer() or count < 1:
            raise SettingError(f"individualise was given {name}={count!r}; expected 1 or more.")
    request = _Request(
        target.concentration, float(probability), candidate_weeks(weeks), samples, seed
    )
    own = dataset_of(fit)
    dataset = _patients(own, patients)
    design = check_fit(model, dataset, estimated=False)
    total = len(thinned(fit, None))
    population = PopulationDraws.of(fit, min(draws, total))
    known = json.loads(fit.attrs["subject_hashes"])
    # As many as for new patients, so that draws repeat where the fit has fewer.
    chosen = np.linspace(0, total - 1, int(samples)).round().astype(np.int64)
    combined = thinned(fit, min(draws, total))
    presents = present_of(model, dataset, output=_output(model, own, design))
    _check_last_doses(presents)
    found: list[xr.Dataset] = []
    for index, patient in enumerate(patients_of(population, dataset)):
        subject = patient.subject
        in_fit = known.get(subject) == dataset.subject_fingerprints[subject]
        rng = patient_seed(seed, subject)
        posterior = (
            cohort_posterior(fit, patient, chosen, rng)
            if in_fit
            else patient_posterior(population, patient, samples=samples, rng=rng)
        )
        one = _one(model, presents[index], posterior, request, in_fit=in_fit)
        one["draw"] = ("sample", posterior.draw if in_fit else combined[posterior.draw])
        category = unmeasured_category(model, patient, posterior)
        unknown = [one["unmeasured"].item(), category, *unknown_groups(patient)]
        found.append(one.assign(unmeasured=((), " ".join(filter(None, unknown)))))
        if progress is not None:
            progress(index + 1, dataset.n_subjects)
    return _collect(fit, dataset, found, request, target, seconds=clock.perf_counter() - began)


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
    decided = _decisions(advice["posterior"].to_dataset(), target.concentration, probability)
    groups = {name: node.to_dataset() for name, node in advice.children.items()}
    tree = xr.DataTree.from_dict({**groups, "decision": decision.assign(decided.data_vars)})
    tree.attrs = {**advice.attrs, "target": target.concentration, "probability": float(probability)}
    return tree


def _decisions(posterior: xr.Dataset, target: float, probability: float) -> xr.Dataset:
    """Probabilities, predicted troughs and longest intervals, (subject, week)."""
    troughs = posterior["troughs"].transpose("subject", "week", "sample")
    sustained = posterior["troughs_sustained"].transpose("subject", "week", "sample")
    weeks = posterior["week"].values.astype(float)
    grid = ("subject", "week")
    holds = _share_above(troughs.values, target)
    holds_sustained = _share_above(sustained.values, target)
    units = troughs.attrs["units"]
    found = {
        "probability": (grid, holds, {"units": "1"}),
        "probability_sustained": (grid, holds_sustained, {"units": "1"}),
        "longest": ("subject", longest_interval(weeks, holds, probability), {"units": "wk"}),
        "longest_sustained": (
            "subject",
            longest_interval(weeks, holds_sustained, probability),
            {"units": "wk"},
        ),
    }
    for name, values in (("trough", troughs), ("trough_sustained", sustained)):
        low, median, high = _band(values.values)
        for part, value in (("low", low), ("median", median), ("high", high)):
            found[f"{name}_{part}"] = (grid, value, {"units": units})
    coords = {"subject": posterior["subject"].values, "week": ("week", weeks, {"units": "wk"})}
    return xr.Dataset(found, coords=coords)


def _share_above(values: Floats, target: float) -> Floats:
    """Share of samples (last axis) at or above the target; NaN where there are none.

    A single sample that could not be computed counts as below.
    """
    share = (values >= target).mean(axis=-1)
    return np.where(np.isnan(values).all(axis=-1), np.nan, share)


def _band(values: Floats) -> Floats:
    """5 %, 50 % and 95 % quantiles (3, ...) over the last axis, of the samples that are numbers."""
    missing = np.isnan(values).all(axis=-1)
    found = np.nanquantile(np.where(missing[..., None], 0.0, values), [0.05, 0.5, 0.95], axis=-1)
    return np.where(missing, np.nan, found)


def _check_probability(probability: float) -> None:
    if not 0 < probability < 1:
        raise SettingError(f"The probability is {probability!r}; give one between 0 and 1, as 0.9.")


def _patients(own: Dataset, patients: Dataset | Sequence[object] | None) -> Dataset:
    dataset = own if patients is None else patients
    if not isinstance(dataset, Dataset):
        dataset = own.select(dataset)
    problems = Problems("the patients")
    ids, evid = dataset.table["ID"].values, dataset.table["EVID"].values
    for subject in dataset.subjects:
        # A reset (EVID 3) wipes out the doses before it.
        course = evid[ids == subject]
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


def _output(model: PopModel, own: Dataset, design: Design) -> int:
    """The output to forecast, once it is certain that the patients' data observe the fit's."""
    outputs = model.structure.outputs
    observed = design_of(model, own).outputs
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
    model: PopModel,
    present: Present,
    posterior: PatientPosterior,
    request: _Request,
    *,
    in_fit: bool,
) -> xr.Dataset:
    """Everything said about one patient."""
    per_week = model.units.time_in("wk")
    seen, note = _forecast(model, present, posterior, request.weeks * per_week)
    low, median, high = _band(seen.curve.T)
    scalars: dict[str, float | int | str] = {
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
        "unmeasured": unmeasured(model, posterior, observed=present.n_observations > 0),
        **present.covariates,
    }
    return xr.Dataset(
        {
            **{name: ((), value) for name, value in scalars.items()},
            "class_probability": ("class", posterior.class_probability),
            "parameters": (("sample", "parameter"), posterior.parameters[:, present.row]),
            "troughs": (("sample", "week"), seen.troughs),
            "troughs_sustained": (("sample", "week"), seen.sustained),
            "time": ("point", seen.curve_times),
            "low": ("point", low),
            "median": ("point", median),
            "high": ("point", high),
        },
        coords={
            "week": request.weeks,
            "class": list(model.classes),
            "parameter": list(model.structure.names),
        },
    )


def _forecast(
    model: PopModel, present: Present, posterior: PatientPosterior, intervals: Floats
) -> tuple[Forecast, str]:
    """The forecast of one patient, and why not to use it (empty when there is no reason)."""
    samples = len(posterior.parameters)
    if np.isnan(posterior.parameters).all():
        times = curve_times_of(present, intervals, _CURVE_POINTS)
        nothing = np.full((samples, len(intervals)), np.nan)
        return Forecast(nothing, nothing, np.full((samples, len(times)), np.nan), times), (
            posterior.note
        )
    seen = forecast(model, posterior.parameters, present, intervals, _CURVE_POINTS)
    lost = np.isnan(np.hstack([seen.troughs, seen.sustained, seen.curve])).any(axis=1).sum()
    if not lost:
        return seen, posterior.note
    unsolved = f"The equations could not be solved for {lost} of {samples} draws of the parameters."
    return seen, " ".join(filter(None, (posterior.note, unsolved)))


def _collect(
    fit: xr.DataTree,
    dataset: Dataset,
    found: list[xr.Dataset],
    request: _Request,
    target: Trough,
    *,
    seconds: float,
) -> xr.DataTree:
    model = model_of(fit)
    units = model.units
    points = max(one.sizes["point"] for one in found)
    padded = [one.pad(point=(0, points - one.sizes["point"])) for one in found]
    whole = xr.concat(padded, dim="subject").assign_coords(subject=list(dataset.subjects))
    about = [*_ABOUT, *dataset.covariates]
    posterior = whole[["parameters", "troughs", "troughs_sustained", "draw"]]
    for name in ("troughs", "troughs_sustained"):
        posterior[name].attrs["units"] = units.concentration
    decided = _decisions(posterior, target.concentration, request.probability)
    decision = decided.assign_coords({name: whole[name] for name in about})
    if model.classes:
        decision["class_probability"] = whole["class_probability"].assign_attrs(units="1")
        if model.category is not None:
            decision["class_probability"].attrs["of"] = model.category.covariate
    decision["usual_interval"].attrs["units"] = "wk"
    decision["last_dose"].attrs["units"] = units.amount
    decision["last_dose_time"].attrs["units"] = units.time
    for name in dataset.covariates:
        decision[name].attrs["units"] = units.covariate(name) or "1"
    curve = whole[["time", "low", "median", "high"]]
    for name in ("time", "low", "median", "high"):
        curve[name].attrs["units"] = units.time if name == "time" else units.concentration
    by_parameter = {p.name: units.of(p.dimension) for p in model.structure.parameters}
    posterior["parameters"].attrs["units"] = json.dumps(by_parameter)
    posterior.attrs["parameter_units"] = json.dumps(by_parameter)
    tree = xr.DataTree.from_dict({"decision": decision, "posterior": posterior, "curve": curve})
    tree["data"] = xr.DataTree(dataset.to_xarray())
    tree.attrs = {
        "kind": "popk advice",
        "popk_version": version("popk"),
        "target": target.concentration,
        "target_units": units.concentration,
        "probability": request.probability,
        "fit_model_hash": fit.attrs["model_hash"],
        "fit_data_hash": fit.attrs["data_hash"],
        "fit_converged": int(verdict_of(fit).converged),
        "model_name": model.name,
        "units": json.dumps(units.to_dict()),
        "seed": request.seed,
        "seconds": seconds,
        "time_per_week": units.time_in("wk"),
        "statement": STATEMENT,
    }
    return tree

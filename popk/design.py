"""What of a dataset a model's predictions and likelihood rest on, and whether they fit together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from popk.dataset import Dataset, ParameterRows, Problems
from popk.latent import Missing, check_latent, filled, measured, missing_of
from popk.levels import check_levels
from popk.model import ModelError, PopModel
from popk.observations import check_errors
from popk.statistics import NUMPY, Fixed, Folds, LogitScale
from popk.structure import Events, Structure, concentrations, events_of
from popk.structure.events import DOSE, KIND, OBSERVE, RESET, WHAT

__all__ = [
    "Design",
    "check_fit",
    "check_units",
    "design_of",
    "subject_of_output",
]

type Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Design:
    """What of a dataset the predictions of a model rest on.

    Where covariates that the model uses change within a subject, the subject has several rows of
    individual parameters (`popk.dataset.ParameterRows`); otherwise one.

    Parameters
    ----------
    events
        Doses, observations and switches of rows.
    rows
        The rows of individual parameters.
    covariates
        Value of each covariate that the model uses, (n_rows); NaN where a latent one is missing.
    occasion
        The occasion of each row, (n_rows), counted from 0 over all subjects: a subject's occasions
        stand together, in the order of their rows. All 0 where the model has no variability
        between occasions.
    labels
        Position of each subject's level of the category that may be missing, (n_subjects); -1
        where it was not measured (`covariates` has the reference there), or there is none.
    """

    events: Events
    rows: ParameterRows
    covariates: dict[str, Floats]
    occasion: NDArray[np.int64]
    labels: NDArray[np.int64]

    @property
    def varies(self) -> bool:
        """Whether a subject has several rows of parameters."""
        return self.rows.n_rows > self.events.n_subjects

    @property
    def occasion_subject(self) -> NDArray[np.int64]:
        """The subject of each occasion, (n_occasions)."""
        _, first = np.unique(self.occasion, return_index=True)
        return np.asarray(self.rows.subject[first])

    @property
    def occasion_number(self) -> NDArray[np.int64]:
        """OCC of each occasion, (n_occasions)."""
        _, first = np.unique(self.occasion, return_index=True)
        return np.asarray(self.rows.occasion[first])

    @property
    def outputs(self) -> tuple[int, ...]:
        """Indices of the structure's outputs that are read, ascending."""
        return tuple(np.unique(self.events.what[self.events.kind == OBSERVE]).tolist())

    @property
    def missing(self) -> tuple[Missing, ...]:
        """The latent covariates that are missing, with the subject."""
        return missing_of(self.covariates, self.rows.subject)

    def measured(self, model: PopModel) -> dict[str, Floats]:
        """The measured values of each latent covariate of a model, one for each subject."""
        return measured(model, self.covariates, self.first)

    def filled(self, latent: Floats | None) -> dict[str, Floats]:
        """The covariates with values (S, n_missing) for those that are missing."""
        return filled(self.covariates, self.rows.subject, latent)

    @property
    def first(self) -> NDArray[np.int64]:
        """Each subject's first row, (n_subjects)."""
        return self.rows.first[:-1]


def check_fit(model: PopModel, dataset: Dataset, *, estimated: bool = True) -> Design:
    """The design of the data, once it is certain that the model can describe them.

    Parameters
    ----------
    model, dataset
        What is to describe what.
    estimated
        Whether the model's parameters are to be estimated from these data: every level of a
        category that has a factor must be there then, which one patient need not have.

    Raises
    ------
    DataError, ModelError
        When the data do not fit the model: units, covariates, compartments, kinds of observation
        without a residual error, or observations whose likelihood is undefined.
    """
    design = design_of(model, dataset)
    if estimated:
        _refuse_idle_levels(model, design)
    _refuse_impossible_factors(model, dataset, design)
    check_errors(model, dataset, design.events)
    for k in design.outputs:
        error = model.error.of(model.structure.outputs[k].name)
        if error is not None and error.needs_positive_prediction:
            _refuse_before_first_dose(model, dataset, design.events, k)
    return design


def design_of(model: PopModel, dataset: Dataset, *, everywhere: bool = False) -> Design:
    """What predictions of the model for these data rest on.

    Parameters
    ----------
    model, dataset
        The model and data in its units.
    everywhere
        Predict at every row with EVID 0 or 2, not only where something was observed.

    Raises
    ------
    DataError, ModelError
        When units, covariates, compartments or outputs do not fit the model.
    """
    check_units(model, dataset)
    names, occasions = _used(model), bool(model.iov.effects)
    check_levels(model, dataset)
    check_latent(model, dataset, names)
    rows = dataset.parameter_rows(covariates=names, occasions=occasions)
    _check_covariates(model, dataset, rows)
    events = events_of(dataset, model.structure, everywhere=everywhere, rows=rows)
    values = {name: rows.covariates[name].to_numpy(dtype=float, copy=True) for name in names}
    labels = np.full(events.n_subjects, -1)
    if (category := model.category) is not None:
        column = values[category.covariate]
        labels = category.labels(column[rows.first[:-1]])
        column[np.isnan(column)] = category.levels[0]
    return Design(events, rows, values, _occasions(rows, counted=occasions), labels)


def _occasions(rows: ParameterRows, *, counted: bool) -> NDArray[np.int64]:
    """Occasions of the rows, numbered through all subjects; all 0 if not counted."""
    if not counted:
        return np.zeros(rows.n_rows, dtype=np.int64)
    both = np.stack([rows.subject, rows.occasion], axis=1)
    _, first, found = np.unique(both, axis=0, return_index=True, return_inverse=True)
    # In the order in which they are used.
    place = np.empty(len(first), dtype=np.int64)
    place[np.argsort(first, kind="stable")] = np.arange(len(first))
    return np.asarray(place[found.ravel()])


def check_units(model: PopModel, dataset: Dataset) -> None:
    """Refuse data whose units are not the model's.

    Raises
    ------
    ModelError
        With a sentence for each difference.
    """
    faults = [str(sentence) for sentence in model.units.same_scale(dataset.units)]
    missing = sorted(set(_used(model)) - set(dataset.covariates))
    faults += [
        f"it needs the covariate {name}, which the data do not have; declare it when reading, "
        f'for example units={{..., "{name}": "{model.units.covariate(name)}"}}.'
        for name in missing
    ]
    if model.iov.effects and "OCC" not in dataset.table:
        faults.append(
            f"{', '.join(model.iov.effects)} vary between occasions, but the data have no column "
            "OCC that numbers each subject's occasions; add one, or leave IOV out."
        )
    faults += [
        f"the {effect.kind} effect of {name} on {effect.parameter} has no reference (None); give "
        "it one, or take model.centred_on(dataset), whose references are the medians of the data."
        for effect in model.covariates
        for name in effect.uncentred
    ]
    if faults:
        raise ModelError([f"{fault} (model {model.name})" for fault in faults])


def subject_of_output(events: Events) -> NDArray[np.int64]:
    """Index of the subject of each output, (n_observations)."""
    subject = np.repeat(np.arange(events.n_subjects), np.diff(events.first))
    return np.ascontiguousarray(subject[events.kind == OBSERVE])


def _used(model: PopModel) -> tuple[str, ...]:
    """Names of the covariates that the model uses."""
    names = [n for effect in model.covariates for n in effect.covariates]
    return tuple(dict.fromkeys([*names, *(level.covariate for level in model.levels)]))


def _check_covariates(model: PopModel, dataset: Dataset, rows: ParameterRows) -> None:
    """Every value that an effect meets: those of the records, and those interpolated between."""
    problems = Problems("the data for this model")
    table = dataset.table
    names, numbers = table["ID"].values, table["record"].values
    found: set[tuple[str, str, float]] = set()  # two effects of one covariate find the same fault
    for effect, name in ((e, name) for e in model.covariates for name in e.covariates):
        values, place = np.unique(table[name].values, return_inverse=True)
        faults = {
            k: fault
            for k, v in enumerate(values)
            if not np.isnan(v) and (fault := effect.fault(name, float(v)))
        }
        for k in np.flatnonzero(np.isin(place, list(faults))).tolist():
            fault, value = faults[place[k]], float(values[place[k]])
            if (names[k], fault, value) in found:
                continue
            found.add((names[k], fault, value))
            problems.error(
                f"{name} is {value:g}, but {fault}.",
                "Correct the covariate.",
                row=int(numbers[k]),
                id=str(names[k]),
                column=name,
            )
        inside = rows.covariates[name].to_numpy(dtype=float)
        inside = np.unique(inside[~np.isnan(inside)])
        between = [v for v in inside if effect.fault(name, float(v))]
        if between and not faults and ("", name, 0.0) not in found:
            found.add(("", name, 0.0))
            problems.error(
                f'Interpolation (carry "linear") gives {name} values between those of the '
                f"records, such as {between[0]:g}, but {effect.fault(name, float(between[0]))}.",
                'Read the data with carry "locf", "nocb" or "nonmem".',
                column=name,
            )
    problems.raise_if_errors()


def _refuse_idle_levels(model: PopModel, design: Design) -> None:
    """A factor of a level that no record has cannot be estimated."""
    faults = []
    for effect in model.covariates:
        if not isinstance(effect, Folds):
            continue
        there = set(design.covariates[effect.covariate].tolist())
        idle = [
            level
            for level, prior in effect.factors
            if level not in there and not isinstance(prior, Fixed)
        ]
        if idle:
            faults.append(
                f"the effect of {effect.covariate} on {effect.parameter} has a factor for level "
                f"{_numbers(idle)}, but the data have only {_numbers(sorted(there))}. Leave the "
                "level out, or give its factor a Fixed value."
            )
    if faults:
        raise ModelError(faults)


def _numbers(values: Iterable[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)


def _refuse_impossible_factors(model: PopModel, dataset: Dataset, design: Design) -> None:
    """A factor that is not above zero at the prior medians leaves nowhere to start from."""
    problems = Problems("the data for this model")
    medians = {p.name: p.prior.median for p in model.parameters}
    means = {one.covariate: one.mean.median for one in model.latent}
    for effect in model.covariates:
        if effect.always_positive:
            continue
        own = {c.name: c.value(medians, NUMPY) for c in effect.coefficients}
        values = {name: design.covariates[name] for name in effect.covariates}
        values = {n: np.where(np.isnan(v), means.get(n, v), v) for n, v in values.items()}
        factor = effect.log_factor(values, own, NUMPY)
        bad = ~np.isfinite(np.broadcast_to(factor, design.rows.subject.shape))
        for row in np.flatnonzero(bad).tolist():
            met = ", ".join(f"{name} {value[row]:g}" for name, value in values.items())
            chosen = ", ".join(f"{name} {float(value):g}" for name, value in own.items())
            problems.error(
                f"At {met} the factor of the {effect.kind} effect on {effect.parameter} is not "
                f"above zero with its coefficients at their prior medians ({chosen}).",
                "Correct the covariate, the reference or the priors, or use Exponential or Power.",
                id=dataset.subjects[design.rows.subject[row]],
                column=effect.covariates[0],
            )
    problems.raise_if_errors()
    _refuse_beyond_limits(model, dataset, design)


def _refuse_beyond_limits(model: PopModel, dataset: Dataset, design: Design) -> None:
    """Factors that take a typical value out of the limits of its scale, likewise."""
    problems = Problems("the data for this model")
    medians = {p.name: p.prior.median for p in model.parameters}
    means = {one.covariate: one.mean.median for one in model.latent}
    values = {n: np.where(np.isnan(v), means.get(n, v), v) for n, v in design.covariates.items()}
    for name, scale in model.scale_of.items():
        effects = [effect for effect in model.covariates if effect.parameter == name]
        if not (effects and isinstance(scale, LogitScale)):
            continue
        factor = np.ones(design.rows.n_rows)
        for effect in effects:
            own = {c.name: c.value(medians, NUMPY) for c in effect.coefficients}
            factor = factor * np.exp(effect.log_factor(values, own, NUMPY))
        typical = medians[name] * factor
        for row in np.flatnonzero(~((typical > scale.low) & (typical < scale.high))).tolist():
            problems.error(
                f"With its covariates, and all priors at their medians, the typical {name} is "
                f"{typical[row]:.3g}, but its scale is {scale!r}.",
                "The factor multiplies the typical value: correct it, or the covariate.",
                id=dataset.subjects[design.rows.subject[row]],
                column=effects[0].covariates[0],
            )
    problems.raise_if_errors()


def _refuse_before_first_dose(
    model: PopModel, dataset: Dataset, events: Events, which: int
) -> None:
    """A prediction of exactly zero, whatever the parameters, has no relative error."""
    empty = _before_any_dose(model.structure, events)
    empty &= events.what[events.kind == OBSERVE] == which
    if not empty.any() or not _is_zero_without_dose(model, which):
        return
    table = dataset.table.isel(record=np.flatnonzero(dataset.is_observation)[empty])
    output = model.structure.outputs[which]
    error = model.error.of(output.name)
    problems = Problems("the data for this model")
    for row, identifier, time in zip(
        table["record"].values, table["ID"].values, table["TIME"].values, strict=True
    ):
        problems.error(
            f"The observation at TIME {time:g} comes before any dose has had an effect, where the "
            f"predicted {output.name} is zero and {type(error).__name__} error is undefined.",
            "Give the earlier doses, set MDV to 1 for this row, or use an error with an "
            "additive part.",
            row=int(row),
            id=str(identifier),
            column="DV",
        )
    problems.raise_if_errors()


def _before_any_dose(structure: Structure, events: Events) -> NDArray[np.bool_]:
    """Observations (n_outputs) until which no dose since the last reset can have had an effect.

    A dose acts after its time; at its time only if it was there before (steady state), or goes at
    once and without a lag into the compartment that is observed.
    """
    found: list[bool] = []
    starts = set(events.first[:-1].tolist())
    seen_at: dict[int, float]
    acts_after, seen_at = np.inf, {}  # since when a dose acts; outputs that it reaches at its time
    compartments = [output.compartment for output in structure.outputs]
    columns = (
        events.kind,
        events.time,
        events.rate,
        events.steady,
        events.compartment,
        events.what,
    )
    for k, (kind, time, rate, steady, compartment, what) in enumerate(
        zip(*(column.tolist() for column in columns), strict=True)
    ):
        if k in starts or kind == RESET:
            acts_after, seen_at = np.inf, {}
        if kind == DOSE:
            acts_after = min(acts_after, time)
            at_once = rate == 0 and compartment + 1 not in structure.dosing.lag
            for output, own in enumerate(compartments):
                if steady or (at_once and own in (None, compartment + 1)):
                    seen_at[output] = min(seen_at.get(output, np.inf), time)
        elif kind == OBSERVE:
            found.append(not (time > acts_after or time >= seen_at.get(what, np.inf)))
    return np.array(found, dtype=bool)


def _is_zero_without_dose(model: PopModel, which: int) -> bool:
    """Whether an output is zero where there is no drug (an effect may have a baseline)."""
    code = np.zeros((1, 7), dtype=np.int64)
    code[0, [KIND, WHAT]] = OBSERVE, which
    alone = Events(np.array([0, 1]), np.array([0, 1]), np.zeros((1, 4)), code)
    typical = np.array([[prior.median for _, prior in model.typical]])
    return bool(concentrations(model.structure, typical, alone)[0] == 0.0)

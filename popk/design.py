"""What of a dataset a model's predictions and likelihood rest on, and whether they fit together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from popk.dataset import Dataset, ParameterRows, Problems
from popk.model import ModelError, PopModel
from popk.structure import Events, Structure, concentrations, events_of
from popk.structure.events import DOSE, OBSERVE, OUTPUT, PLACE, RESET

__all__ = [
    "Design",
    "Observations",
    "check_fit",
    "check_units",
    "design_of",
    "observations",
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
        Value of each covariate that the model uses, (n_rows).
    """

    events: Events
    rows: ParameterRows
    covariates: dict[str, Floats]

    @property
    def varies(self) -> bool:
        """Whether a subject has several rows of parameters."""
        return self.rows.n_rows > self.events.n_subjects

    @property
    def outputs(self) -> tuple[int, ...]:
        """Indices of the structure's outputs that are read, ascending."""
        return tuple(np.unique(self.events.what[self.events.kind == OBSERVE]).tolist())

    @property
    def first(self) -> NDArray[np.int64]:
        """Each subject's first row, (n_subjects)."""
        return self.rows.first[:-1]

    def mean_of_rows(self, values: Floats) -> Floats:
        """Mean over each subject's rows: (..., n_rows, m) to (..., n_subjects, m)."""
        counts = np.diff(self.rows.first)
        return np.add.reduceat(values, self.first, axis=-2) / counts[:, None]


class Observations(NamedTuple):
    """The observed values: each (n_observations); ``lloq`` is 1 where none was given."""

    dv: NDArray[np.float64]
    lloq: NDArray[np.float64]
    below: NDArray[np.bool_]


def observations(dataset: Dataset) -> Observations:
    """The observations of a dataset, in record order."""
    table = dataset.table.isel(record=dataset.is_observation)
    return Observations(
        np.array(table["DV"].values, dtype=float),
        np.nan_to_num(table["LLOQ"].values.astype(float), nan=1.0),
        np.array(table["CENS"].values, dtype=bool),
    )


def check_fit(model: PopModel, dataset: Dataset) -> Design:
    """The design of the data, once it is certain that the model can describe them.

    Raises
    ------
    DataError, ModelError
        When the data do not fit the model: units, covariates, compartments, several kinds of
        observation, or observations whose likelihood is undefined.
    """
    design = design_of(model, dataset)
    _refuse_several_outputs(model, design)
    if model.error.needs_positive_prediction:
        _refuse_before_first_dose(model, dataset, design.events)
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
    names = tuple(dict.fromkeys(effect.covariate for effect in model.covariates))
    # Random effects do not differ between occasions, so OCC makes no rows.
    rows = dataset.parameter_rows(covariates=names, occasions=False)
    _check_covariates(model, dataset, rows)
    events = events_of(dataset, model.structure, everywhere=everywhere, rows=rows)
    values = {name: rows.covariates[name].to_numpy(dtype=float, copy=True) for name in names}
    return Design(events, rows, values)


def check_units(model: PopModel, dataset: Dataset) -> None:
    """Refuse data whose units are not the model's.

    Raises
    ------
    ModelError
        With a sentence for each difference.
    """
    faults = [str(sentence) for sentence in model.units.same_scale(dataset.units)]
    needed = {effect.covariate for effect in model.covariates}
    missing = sorted(needed - set(dataset.covariates))
    faults += [
        f"it needs the covariate {name}, which the data do not have; declare it when reading, "
        f'for example units={{..., "{name}": "{model.units.covariate(name)}"}}.'
        for name in missing
    ]
    if faults:
        raise ModelError([f"{fault} (model {model.name})" for fault in faults])


def subject_of_output(events: Events) -> NDArray[np.int64]:
    """Index of the subject of each output, (n_observations)."""
    subject = np.repeat(np.arange(events.n_subjects), np.diff(events.first))
    return np.ascontiguousarray(subject[events.kind == OBSERVE])


def _check_covariates(model: PopModel, dataset: Dataset, rows: ParameterRows) -> None:
    """Every value that an effect meets: those of the records, and those interpolated between."""
    problems = Problems("the data for this model")
    table = dataset.table
    names, numbers = table["ID"].values, table["record"].values
    found: set[tuple[str, str, float]] = set()  # two effects of one covariate find the same fault
    for effect in model.covariates:
        name = effect.covariate
        values, place = np.unique(table[name].values, return_inverse=True)
        faults = {k: fault for k, value in enumerate(values) if (fault := effect.fault(value))}
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
        between = [v for v in np.unique(rows.covariates[name]) if effect.fault(float(v))]
        if between and not faults and ("", name, 0.0) not in found:
            found.add(("", name, 0.0))
            problems.error(
                f'Interpolation (carry "linear") gives {name} values between those of the '
                f"records, such as {between[0]:g}, but {effect.fault(float(between[0]))}.",
                'Read the data with carry "locf", "nocb" or "nonmem".',
                column=name,
            )
    problems.raise_if_errors()


def _refuse_several_outputs(model: PopModel, design: Design) -> None:
    """One residual error describes one kind of observation."""
    if len(design.outputs) > 1:
        names = [model.structure.outputs[k].name for k in design.outputs]
        listed = f"{', '.join(names[:-1])} and {names[-1]}"
        raise ModelError(
            [
                f"the data hold observations of {listed}, but model {model.name} has one residual "
                "error; one for several kinds of observation is not supported yet. Keep one of "
                "them: leave the other rows out, or set their MDV to 1."
            ]
        )


def _refuse_before_first_dose(model: PopModel, dataset: Dataset, events: Events) -> None:
    """A prediction of exactly zero, whatever the parameters, has no relative error."""
    empty = _before_any_dose(model.structure, events)
    if not empty.any() or not _is_zero_without_dose(model, events):
        return
    table = dataset.table.isel(record=np.flatnonzero(dataset.is_observation)[empty])
    output = model.structure.outputs[int(events.what[events.kind == OBSERVE][0])]
    problems = Problems("the data for this model")
    for row, identifier, time in zip(
        table["record"].values, table["ID"].values, table["TIME"].values, strict=True
    ):
        problems.error(
            f"The observation at TIME {time:g} comes before any dose has had an effect, where the "
            f"predicted {output.name} is zero and {type(model.error).__name__} error is undefined.",
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


def _is_zero_without_dose(model: PopModel, events: Events) -> bool:
    """Whether what is observed is zero where there is no drug (an effect may have a baseline)."""
    what = events.code[events.kind == OBSERVE][:1]
    alone = Events(np.array([0, 1]), np.array([0, 1]), np.zeros((1, 4)), what.copy())
    alone.code[:, [OUTPUT, PLACE]] = 0
    typical = np.array([[prior.median for _, prior in model.typical]])
    return bool(concentrations(model.structure, typical, alone)[0] == 0.0)

"""What the data observe, in the form that residual errors read."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from popk.dataset import Dataset, Problems
from popk.model import ModelError, PopModel
from popk.statistics import OBSERVED, Observed
from popk.structure import Events
from popk.structure.events import OBSERVE

__all__ = ["check_errors", "observations", "readings"]

type Bools = NDArray[np.bool_]
type Ints = NDArray[np.int64]
type Floats = NDArray[np.float64]


def observations(model: PopModel, dataset: Dataset, events: Events) -> Observed:
    """The observations of a dataset, in record order.

    Parameters
    ----------
    model, dataset
        The model and data that fit it.
    events
        The data's events, outputs only where something was observed.
    """
    table, seen = dataset.table, dataset.is_observation
    status = table["CENS"].values[seen].astype(np.int64)
    upper = table["ULOQ"].values[seen] if "ULOQ" in table else np.full(len(status), np.nan)
    found = _unread(model, dataset, events, seen, counted=status == 0)
    return found._replace(
        dv=table["DV"].values[seen].astype(float),
        lower=np.nan_to_num(table["LLOQ"].values[seen].astype(float), nan=1.0),
        upper=np.nan_to_num(upper.astype(float), nan=1.0),
        status=status,
    )


def readings(
    model: PopModel, dataset: Dataset, events: Events, *, everywhere: bool = False
) -> Observed:
    """What is to be simulated: the same without values and limits (DV is NaN), none of them beyond.

    Parameters
    ----------
    model, dataset
        The model and data in its units.
    events
        The data's events.
    everywhere
        Whether `events` have outputs at every row with EVID 0 or 2.
    """
    evid = dataset.table["EVID"].values
    read = np.isin(evid, (0, 2)) if everywhere else dataset.is_observation
    return _unread(model, dataset, events, read, counted=np.ones(int(read.sum()), dtype=bool))


def _unread(
    model: PopModel, dataset: Dataset, events: Events, read: Bools, *, counted: Bools
) -> Observed:
    """Everything but values: ``read`` marks the records, ``counted`` those that others follow."""
    what = np.asarray(events.what[events.kind == OBSERVE])
    size = len(what)
    names = [output.name for output in model.structure.outputs]
    described = model.error.outputs
    place = [described.index(n) if n in described else -1 for n in names] if described else None
    output = np.zeros(size, dtype=np.int64) if place is None else np.array(place)[what]
    back, since = np.zeros(size, dtype=np.int64), np.ones(size)
    if model.error.is_sequential:
        back, since = _chain(dataset, read, what, counted)
    nan, one = np.full(size, np.nan), np.ones(size)
    status = np.zeros(size, dtype=np.int64)
    assay = _assays(model, dataset, read, what)
    return Observed(nan, one, one.copy(), status, output, assay, back, since)


def _assays(model: PopModel, dataset: Dataset, read: Bools, what: Ints) -> Ints:
    """Level of the assay; the reference of the output's error where the data say none."""
    reference = np.zeros(len(model.structure.outputs), dtype=np.int64)
    for k, output in enumerate(model.structure.outputs):
        error = model.error.of(output.name)
        if error is not None and error.assays:
            reference[k] = error.assays[0]
    usual = reference[what]
    if "ASSAY" not in dataset.table:
        return np.asarray(usual)
    given = dataset.table["ASSAY"].values[read]
    return np.where(given < 0, usual, given)


def _chain(dataset: Dataset, read: Bools, what: Ints, counted: Bools) -> tuple[Ints, Floats]:
    """How far back each observation's predecessor stands, and how long before it was."""
    time = dataset.table["TIME"].values
    subject = np.zeros(len(time), dtype=np.int64)
    subject[dataset.starts[1:]] = 1
    restarts = np.zeros(len(time), dtype=np.int64)
    restarts[1:] = time[1:] < time[:-1]  # at EVID 3 or 4, or where another subject begins
    run = np.cumsum(np.maximum(subject, restarts))[read]
    at = time[read]
    back, since = np.zeros(len(at), dtype=np.int64), np.ones(len(at))
    last: dict[tuple[int, int], int] = {}
    for k in np.flatnonzero(counted).tolist():
        key = (int(run[k]), int(what[k]))
        if key in last:
            back[k], since[k] = k - last[key], at[k] - at[last[key]]
        last[key] = k
    return back, since


def check_errors(model: PopModel, dataset: Dataset, events: Events) -> None:
    """Refuse data that the residual error does not describe.

    Raises
    ------
    ModelError
        When outputs are observed that have no error, or the data do not tell assays apart.
    DataError
        When an assay is unknown, or the likelihood of autocorrelated errors is not to be had.
    """
    what = np.asarray(events.what[events.kind == OBSERVE])
    _check_outputs(model, np.unique(what).tolist())
    problems = Problems("the data for this model")
    for k in np.unique(what).tolist():
        error = model.error.of(model.structure.outputs[k].name)
        if error is None:
            continue
        if error.assays:
            _check_assays(model, dataset, what == k, error.assays, problems)
        if error.is_sequential:
            _check_sequence(model, dataset, events, problems, what == k)
    problems.raise_if_errors()


def _check_outputs(model: PopModel, observed: list[int]) -> None:
    outputs = [model.structure.outputs[k] for k in observed]
    names = [output.name for output in outputs]
    if model.error.outputs:
        missing = [name for name in names if name not in model.error.outputs]
        if missing:
            raise ModelError(
                [
                    f"the data hold observations of {_and(missing)}, for which model {model.name} "
                    f"has no residual error (it has {', '.join(model.error.outputs)}). Add it to "
                    "error, leave the rows out, or set their MDV to 1."
                ]
            )
        return
    if len(names) > 1:
        example = ", ".join(f'"{name}": ...' for name in names)
        raise ModelError(
            [
                f"the data hold observations of {_and(names)}, but model {model.name} has one "
                f"residual error. Give one for each, error={{{example}}}, or keep one kind of "
                "observation: leave the other rows out, or set their MDV to 1."
            ]
        )
    usual = model.structure.outputs[0]
    measured = [own.name for own in model.error.parameters if own.dimension == OBSERVED]
    if outputs and measured and outputs[0].dimension != usual.dimension:
        raise ModelError(
            [
                f"the data hold observations of {names[0]}, but {_and(measured)} of model "
                f"{model.name} is an error of {usual.name}, in its unit. Say what it is of: "
                f'error={{"{names[0]}": ...}}.'
            ]
        )


def _check_assays(
    model: PopModel, dataset: Dataset, mine: Bools, levels: tuple[int, ...], problems: Problems
) -> None:
    listed = ", ".join(str(level) for level in sorted(levels))
    if "ASSAY" not in dataset.table:
        raise ModelError(
            [
                f"the residual error of model {model.name} tells assays apart (levels {listed}), "
                "but the data have no column ASSAY. Add it, or name it when reading: "
                'columns={"ASSAY": "its name in the table"}.'
            ]
        )
    table = dataset.table.isel(record=np.flatnonzero(dataset.is_observation)[mine])
    for k in np.flatnonzero(~np.isin(table["ASSAY"].values, levels)).tolist():
        problems.error(
            f"ASSAY is {table['ASSAY'].values[k]}, for which the model has no error; it has the "
            f"levels {listed}.",
            "Correct ASSAY, or add the level to ByAssay.",
            row=int(table["record"].values[k]),
            id=str(table["ID"].values[k]),
            column="ASSAY",
        )


def _check_sequence(
    model: PopModel, dataset: Dataset, events: Events, problems: Problems, mine: Bools
) -> None:
    observed = observations(model, dataset, events)
    table = dataset.table.isel(record=dataset.is_observation)
    name = model.structure.outputs[int(events.what[events.kind == OBSERVE][mine][0])].name
    error = model.error.of(name)
    left_out = observed.below if error is not None and error.leaves_out_below else False
    beyond = mine & (observed.status != 0) & ~np.asarray(left_out)
    twice = mine & (observed.back > 0) & (observed.since <= 0)
    for where, column, finding, remedy in (
        (
            beyond,
            "CENS",
            "CENS is {value}: the observation lies beyond a limit of quantification, which "
            "autocorrelated errors cannot take into account.",
            'Leave those below their limit out with blq="M1", or use an error without '
            "autocorrelation.",
        ),
        (
            twice,
            "TIME",
            f"TIME is {{value}}, that of the observation of {name} before it; autocorrelated "
            "errors would make the two equal.",
            "Keep one of them, or use an error without autocorrelation.",
        ),
    ):
        for k in np.flatnonzero(where).tolist():
            problems.error(
                finding.format(value=f"{table[column].values[k]:g}"),
                remedy,
                row=int(table["record"].values[k]),
                id=str(table["ID"].values[k]),
                column=column,
            )


def _and(names: list[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else names[0]

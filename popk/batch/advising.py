"""The advice of a chunk of patients as rows, whatever is wrong with some of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from popk.batch.source import Chunk, Records
from popk.dataset import DataError, Dataset, Problems
from popk.dataset.reader import read_part
from popk.dataset.source import TextTable
from popk.errors import PopkError
from popk.individual import Prepared, Trough
from popk.individual import individualise as unchecked
from popk.monitoring import from_json, individualise

__all__ = ["Advised", "Question", "advised", "columns_of", "error_columns", "lost"]

type Row = dict[str, Any]

_MOST_SAID = 5  # problems told of one patient


@dataclass(frozen=True)
class Question:
    """What is asked for every patient, and how the table is read.

    ``source`` and ``row_note`` name the table and say how its rows are counted; ``scattered`` says
    of IDs whose records do not stand together where they stand; the rest is as
    `popk.individualise_table` has it.
    """

    target: Trough
    probability: float
    weeks: tuple[float, ...]
    seed: int
    samples: int
    sustained: bool
    checks: bool
    units: Mapping[str, str]
    columns: Mapping[str, str]
    log_dv: bool
    carry: str | None
    missing: Mapping[str, str | float]
    source: str
    row_note: str
    scattered: Mapping[str, str]


@dataclass(frozen=True)
class Advised:
    """Rows of the advice and of the errors of a chunk, in the order of the source."""

    number: int
    rows: tuple[Row, ...]
    errors: tuple[Row, ...]


def advised(context: tuple[Prepared, Question], chunk: Chunk) -> Advised:
    """The advice of each patient of a chunk, or the sentences that say why there is none.

    A patient's row is a function of the fit, the question and the patient's records alone: it does
    not depend on what else is in the chunk.
    """
    prepared, question = context
    rows: list[Row] = []
    errors: list[Row] = []
    _divided(prepared, question, chunk.header, chunk.patients, rows, errors)
    return Advised(chunk.number, tuple(rows), tuple(errors))


def lost(patient: Records, why: str) -> Row:
    """The error of a patient whose computation ended its process."""
    return _error(patient.id, patient.first_row, "", "process", why)


def columns_of(question: Question, units: Mapping[str, str]) -> dict[str, tuple[str, str, str]]:
    """Type (text, integer, number), unit and meaning of each column of the advice."""
    time, amount, level = units["time"], units["amount"], units["concentration"]
    found = {
        "ID": ("text", "1", "the patient"),
        "first_row": ("integer", "1", "first row of the patient in the source"),
        "last_row": ("integer", "1", "last row of the patient in the source"),
        "longest": ("number", "wk", "longest candidate interval that holds the target with the "
                    "asked probability; missing where none does, or it is withheld"),
        "reliable": ("integer", "1", "1 where the computation can be relied on"),
        "checked": ("integer", "1", "1 where it was checked what speaks against the advice"),
    }  # fmt: skip
    if question.checks:
        found |= {
            "withheld": ("integer", "1", "1 where there is no advice, for what was found"),
            "widened": ("integer", "1", "1 where probabilities allow for what was found"),
            "findings": ("text", "1", "what speaks against trusting the advice"),
        }
    found["note"] = ("text", "1", "why the computation should not be used; what was not measured")
    endings = [""] + (["_sustained"] if question.sustained else [])
    if question.sustained:
        found["longest_sustained"] = ("number", "wk", "the same, going on at that interval")
    for ending in endings:
        after = " after going on at that interval" if ending else ""
        for week in question.weeks:
            at = f"{week:g} weeks{after}"
            found |= {
                f"probability{ending}_{week:g}wk": ("number", "1", f"P(trough >= target), {at}"),
                f"mcse{ending}_{week:g}wk": ("number", "1", f"Monte Carlo error of it, {at}"),
                f"trough{ending}_low_{week:g}wk": ("number", level, f"5 % of the trough, {at}"),
                f"trough{ending}_median_{week:g}wk": ("number", level, f"median trough, {at}"),
                f"trough{ending}_high_{week:g}wk": ("number", level, f"95 % of the trough, {at}"),
            }
    found |= {
        "khat": ("number", "1", "Pareto k-hat of the importance weights"),
        "ess": ("number", "1", "effective number of draws"),
        "source": ("text", "1", "cohort: a subject of the fit with the same records; else new"),
        "n_observations": ("number", "1", "observations"),
        "n_blq": ("number", "1", "of which below the limit of quantification"),
        "last_dose": ("number", amount, "the last dose"),
        "last_dose_time": ("number", time, "TIME of the last dose"),
        "usual_interval": ("number", "wk", "usual interval between doses"),
    }
    if question.checks:
        found |= {
            "changed": ("number", "1", "P(clearance has changed on the way)"),
            "contraction": ("number", "1", "1 - var(log trough | data) / var(log trough)"),
            "rank": ("number", "1", "P(Y <= y) of the last observation given the others"),
        }
    return found


def error_columns() -> dict[str, tuple[str, str, str]]:
    """Type, unit and meaning of each column of the errors."""
    return {
        "ID": ("text", "1", "the patient"),
        "row": ("integer", "1", "row in the source"),
        "column": ("text", "1", "column in the source"),
        "kind": ("text", "1", "data, computation or process"),
        "sentence": ("text", "1", "what is wrong, and what to do"),
    }


def _divided(
    prepared: Prepared,
    question: Question,
    header: tuple[str, ...],
    patients: Sequence[Records],
    rows: list[Row],
    errors: list[Row],
) -> None:
    """All at once; where that fails, half by half down to whom it fails for."""
    if len(patients) == 1 and (known := _known_faults(question, patients[0])):
        errors += known
        return
    try:
        if any(_known_faults(question, one) for one in patients):
            raise _DivideError
        rows += _rows(prepared, question, header, patients)
    except Exception as fault:  # noqa: BLE001 - one patient's fault is no other's
        if len(patients) > 1:
            middle = len(patients) // 2
            for half in (patients[:middle], patients[middle:]):
                _divided(prepared, question, header, half, rows, errors)
        else:
            errors += _said(patients[0], fault)


class _DivideError(Exception):
    pass


def _known_faults(question: Question, patient: Records) -> list[Row]:
    """What is wrong with the records before they are read."""
    found = [_error(patient.id, row, "", "data", said) for row, said in patient.faults]
    if patient.id in question.scattered:
        found.append(
            _error(
                patient.id, patient.first_row, "ID", "data",
                f"The records of ID {patient.id} do not stand together: they are rows "
                f"{question.scattered[patient.id]}. Put all records of one subject together, or "
                "give different subjects different IDs.",
            )
        )  # fmt: skip
    return found[:_MOST_SAID]


def _said(patient: Records, fault: Exception) -> list[Row]:
    """Why there is no advice of a patient."""
    own = patient.id
    if isinstance(fault, DataError):
        wrong = [one for one in fault.problems if one.severity == "error"]
        found = [
            _error(own, one.row if one.row is not None else patient.first_row, one.column or "",
                   "data", " ".join(filter(None, (one.message, one.remedy))))
            for one in wrong[:_MOST_SAID]
        ]  # fmt: skip
        if len(wrong) > _MOST_SAID:
            more = f"And {len(wrong) - _MOST_SAID} more problems of this patient."
            found.append(_error(own, patient.first_row, "", "data", more))
        return found
    if isinstance(fault, PopkError):
        return [_error(own, patient.first_row, "", "data", str(fault))]
    return [
        _error(
            own, patient.first_row, "", "computation",
            f"The computation failed ({type(fault).__name__}: {fault}). This is a fault of popk: "
            "report it with the patient's records.",
        )
    ]  # fmt: skip


def _error(own: str, row: int, column: str, kind: str, sentence: str) -> Row:
    return {"ID": own, "row": row, "column": column, "kind": kind, "sentence": sentence}


def _rows(
    prepared: Prepared, question: Question, header: tuple[str, ...], patients: Sequence[Records]
) -> list[Row]:
    dataset = _dataset(question, header, patients)
    advise = individualise if question.checks else unchecked
    advice = advise(
        prepared, dataset, target=question.target, probability=question.probability,
        weeks=question.weeks, seed=question.seed, samples=question.samples, curve=False,
        sustained=question.sustained,
    )  # fmt: skip
    decision = advice["decision"].to_dataset()
    said = _warnings(dataset)
    columns = _columns(question, decision)
    columns["note"] = [
        " ".join(filter(None, (note, unmeasured, said.get(patient.id, ""))))
        for note, unmeasured, patient in zip(
            decision["note"].values.tolist(), decision["unmeasured"].values.tolist(), patients,
            strict=True,
        )
    ]  # fmt: skip
    columns["first_row"] = [patient.first_row for patient in patients]
    columns["last_row"] = [patient.last_row for patient in patients]
    names = columns_of(question, question.units)
    return [{name: columns[name][k] for name in names} for k in range(len(patients))]


def _dataset(question: Question, header: tuple[str, ...], patients: Sequence[Records]) -> Dataset:
    text = TextTable(
        header,
        tuple(cells for one in patients for cells in one.cells),
        tuple(row for one in patients for row in one.rows),
        Problems(question.source, row_note=question.row_note),
    )
    dataset = read_part(
        text, units=question.units, columns=question.columns, log_dv=question.log_dv,
        carry=question.carry, missing=question.missing,
    )  # fmt: skip
    # A column that only another patient's records bring along changes the fingerprint of all.
    given = {*question.columns, *(name.replace("\ufeff", "").strip().upper() for name in header)}
    if len(patients) > 1 and "ULOQ" in dataset.table and "ULOQ" not in given:
        raise _DivideError
    return dataset


def _warnings(dataset: Dataset) -> dict[str, str]:
    """What was found and accepted in each patient's records."""
    found: dict[str, list[str]] = {}
    for one in dataset.warnings:
        if one.id is not None:
            place = f"Row {one.row}: " if one.row is not None else ""
            found.setdefault(one.id, []).append(f"{place}{one.message} {one.remedy}".strip())
    return {name: " ".join(said[:_MOST_SAID]) for name, said in found.items()}


def _columns(question: Question, decision: Any) -> dict[str, list[Any]]:
    """Columns of the advice by name."""
    found: dict[str, list[Any]] = {"ID": decision["subject"].values.tolist()}
    names = ["longest", "reliable", "source", "n_observations", "n_blq", "last_dose",
             "last_dose_time", "usual_interval", "khat", "ess"]  # fmt: skip
    names += ["withheld", "widened", "changed", "contraction", "rank"] if question.checks else []
    names += ["longest_sustained"] if question.sustained else []
    found |= {name: decision[name].values.tolist() for name in names}
    found["checked"] = [int(question.checks)] * len(found["ID"])
    if question.checks:
        found["findings"] = [_words(text) for text in decision["findings"].values.tolist()]
    weeks = decision["week"].values.astype(float).tolist()
    for ending in ["", *(["_sustained"] if question.sustained else [])]:
        for name in (f"probability{ending}", f"mcse{ending}", f"trough{ending}_low",
                     f"trough{ending}_median", f"trough{ending}_high"):  # fmt: skip
            values = decision[name].transpose("subject", "week").values
            for k, week in enumerate(weeks):
                found[f"{name}_{week:g}wk"] = np.asarray(values[:, k], dtype=float).tolist()
    return found


def _words(text: str) -> str:
    return " | ".join(f"{one.severity}, {one.name}: {one.sentence}" for one in from_json(text))

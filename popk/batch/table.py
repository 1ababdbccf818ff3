"""Advice for a table of any number of patients."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from popk.batch.advising import Advised, Question, advised, columns_of, error_columns, lost
from popk.batch.folder import ADVICE, ERRORS, Folder, Form, Part
from popk.batch.source import Chunk, Overview, Source
from popk.batch.workers import mapped
from popk.dataset.carry import check_carry
from popk.dataset.missing import check_missing
from popk.errors import SettingError
from popk.individual import Prepared, Trough, prepare
from popk.individual.advice import STATEMENT
from popk.individual.decision import candidate_weeks
from popk.individual.prepared import check_count
from popk.inference.runs import versions
from popk.inference.runs.interruption import terminable
from popk.population import check_seed
from popk.units import Units

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Batch", "individualise_table"]

type Progress = Callable[[int, int], None]

_TRIES = 3


@dataclass(frozen=True, repr=False)
class Batch:
    """What came of a table of patients.

    Parameters
    ----------
    folder
        Where the results are: ``advice`` and ``errors``, one file for each chunk, and
        ``manifest.json``.
    patients
        Patients of the table.
    advised
        Those with a row of advice.
    withheld
        Those of them whose advice is withheld.
    none
        Those of them for whom no candidate interval holds the target.
    unreliable
        Those of them whose computation cannot be relied on.
    failed
        Patients without advice; ``errors`` says why.
    found
        How many patients were done before, by an earlier call.
    """

    folder: Path
    patients: int
    advised: int
    withheld: int
    none: int
    unreliable: int
    failed: int
    found: int
    _results: Folder

    def __repr__(self) -> str:
        return self.words

    def advice(self) -> pd.DataFrame:
        """The advice of all patients, in the order of the source; all in memory at once."""
        return self._results.frame(ADVICE)

    def errors(self) -> pd.DataFrame:
        """Why patients have no advice: ID, row, column, kind, sentence."""
        return self._results.frame(ERRORS)

    @property
    def statement(self) -> str:
        """What such advice is, and is not."""
        return STATEMENT

    @property
    def words(self) -> str:
        """What came of it in a sentence or two."""
        before = f" ({self.found} patients were done before)" if self.found else ""
        said = (
            f"{self.advised} of {self.patients} patients have a row of advice{before}: withheld "
            f"{self.withheld}, no interval holds the target {self.none}, computation not reliable "
            f"{self.unreliable}."
        )
        if self.failed:
            said += f" {self.failed} could not be advised: {self.folder / ERRORS} says why."
        return said


def individualise_table(  # noqa: PLR0913
    fit: xr.DataTree | Prepared,
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    target: Trough,
    probability: float = 0.9,
    weeks: Sequence[float] = range(4, 9),
    seed: int = 1,
    draws: int = 250,
    samples: int = 500,
    checks: bool = True,
    sustained: bool = False,
    columns: Mapping[str, str] | None = None,
    log_dv: bool = False,
    carry: str | None = None,
    missing: Mapping[str, str | float] | None = None,
    form: Form = "parquet",
    chunk: int = 200,
    cores: int | None = None,
    scheduler: str | None = None,
    progress: Progress | None = None,
) -> Batch:
    """Each patient's longest interval that holds a trough, for a table of any number of patients.

    The table is read twice, a chunk of patients at a time: first to see that it can be read, then
    to advise each patient as `popk.individualise` does. A patient who cannot be advised gets
    sentences among the errors and stops nobody else. Called again with the same arguments it goes
    on where it was interrupted. A patient's result depends on the fit, the question, the seed and
    the patient's records alone: neither on ``chunk``, nor on ``cores`` or the cluster (of machines
    of one kind), nor on the other patients.

    Parameters
    ----------
    fit
        What `popk.sample` returned, or what `popk.individual.prepare` made of it (``draws`` is
        settled there).
    source
        CSV or Parquet file with the columns that `popk.read_dataset` reads, in the fit's units.
        The records of a patient stand together.
    out
        Folder for the results, new or that of the same call.
    target, probability, weeks, seed, draws, samples
        As in `popk.individualise`.
    checks
        Whether to check what speaks against trusting each patient's advice. Without, it takes a
        small part of the time, unsafe advice is not withheld, and every row says ``checked`` 0.
    sustained
        Whether also to say what holds after going on at an interval.
    columns, log_dv, carry, missing
        As in `popk.read_dataset`; ``carry`` is that of the fit's data if None, and a rule of
        ``missing`` is a number or ``"model"``: other patients are not at hand.
    form
        Files of the results: ``"parquet"`` or ``"csv"``.
    chunk
        Patients to a chunk, and to a file of the results.
    cores, scheduler
        Where it is computed, see `popk.batch.mapped`: that many processes, or the workers of a Dask
        scheduler. What is lost with a process is done again.
    progress
        Called with the number of patients done and their total.

    Raises
    ------
    DataError
        When the table as a whole cannot be read.
    StorageError
        When ``out`` is of another call, or the table has changed since.
    SettingError, UnitError, FitError, WorkerError
        When a setting makes no sense, or processes cannot be had.
    """
    check_count("individualise_table", "draws", draws)
    check_count("individualise_table", "samples", samples)
    check_count("individualise_table", "chunk", chunk)
    check_seed(seed)
    if form not in ("parquet", "csv"):
        raise SettingError(f"form is {form!r}; expected 'parquet' or 'csv'.")
    if not 0 < probability < 1:
        raise SettingError(f"The probability is {probability!r}; give one between 0 and 1, as 0.9.")
    prepared = fit if isinstance(fit, Prepared) else prepare(fit, draws=draws)
    if checks and prepared.fit is None:
        raise SettingError(
            "The fit was prepared for new patients alone (own=False), and the checks of patients "
            "need its data: prepare it with own=True, or leave the checks out (checks=False)."
        )
    # With the covariates of the fit's data, so that its own subjects are known again.
    units = prepared.model.units if prepared.fit is None else prepared.own.units
    target.check_units(units)
    _ = target.concentration  # a number is needed
    table = Source(_existing(source), units, dict(columns or {}))
    question = Question(
        target=target, probability=float(probability),
        weeks=tuple(candidate_weeks(weeks).tolist()), seed=int(seed), samples=int(samples),
        sustained=bool(sustained), checks=bool(checks), units=units.to_dict(),
        columns=table.columns, log_dv=bool(log_dv),
        carry=_carry(prepared, carry), missing=_missing(missing, units),
        source=table.path.name, row_note=table.row_note, scattered={},
    )  # fmt: skip
    overview = table.overview(int(chunk))
    question = replace(question, scattered=overview.scattered)
    folder = _folder(Path(out), form, question, prepared)
    setting = _setting(question, prepared, int(chunk), form)
    described = {"columns": _explained(folder), "about": folder.about, "versions": versions()}
    with folder.opened(setting, described), terminable():
        work = _Work(prepared, question, table, int(chunk), folder, progress)
        parts = work.done(overview, cores, scheduler)
        found = _summary(folder, overview, *parts)
        folder.finish({"result": {k: v for k, v in vars(found).items() if isinstance(v, int)}})
    return found


@dataclass(frozen=True)
class _Work:
    """What is computed for a batch, and where it goes."""

    prepared: Prepared
    question: Question
    source: Source
    chunk: int
    folder: Folder
    progress: Progress | None

    def done(
        self, overview: Overview, cores: int | None, scheduler: str | None
    ) -> tuple[dict[int, Part], int]:
        """All parts, those computed now included; and how many patients were there before."""
        parts = self.folder.done(overview.digests)
        there = done = sum(overview.sizes[number] for number in parts)
        self._tell(done, overview.patients)
        todo = [k for k in range(len(overview.sizes)) if k not in parts]
        if not todo:
            return parts, there
        pool: dict[str, Any] = {"cores": cores, "scheduler": scheduler}
        waiting: dict[int, Chunk] = {}
        left: list[tuple[Chunk, str]] = []
        items = self._held(waiting, set(todo), overview)
        context = (self.prepared, self.question)
        with closing(mapped(advised, items, context=context, tries=_TRIES, **pool)) as outcomes:
            for outcome in outcomes:
                number = todo[outcome.index]
                chunk = waiting.pop(number)
                if outcome.fault:
                    left.append((chunk, outcome.fault))
                    continue
                parts[number] = self.folder.write(chunk, outcome.value.rows, outcome.value.errors)
                done += len(chunk.patients)
                self._tell(done, overview.patients)
        for chunk, fault in left:
            parts[chunk.number] = self._one_by_one(chunk, fault, pool)
            done += len(chunk.patients)
            self._tell(done, overview.patients)
        return parts, there

    def _held(
        self, waiting: dict[int, Chunk], todo: set[int], overview: Overview
    ) -> Iterator[Chunk]:
        """The chunks to compute, each also kept until its result is there."""
        for chunk in self.source.chunks(self.chunk):
            if chunk.number in todo:
                if chunk.digest != overview.digests[chunk.number]:
                    raise SettingError(
                        f"{self.source.path} was changed while it was read. Begin again."
                    )
                waiting[chunk.number] = chunk
                yield chunk

    def _one_by_one(self, chunk: Chunk, fault: str, pool: Mapping[str, Any]) -> Part:
        """A chunk that cost its processes, patient by patient."""
        singles = [Chunk(k, chunk.header, (one,)) for k, one in enumerate(chunk.patients)]
        context = (self.prepared, self.question)
        found: dict[int, Advised] = {}
        for outcome in mapped(advised, singles, context=context, tries=_TRIES, **pool):
            patient = chunk.patients[outcome.index]
            why = f"{outcome.fault} It was tried {outcome.tries} times." if outcome.fault else fault
            found[outcome.index] = outcome.value or Advised(0, (), (lost(patient, why),))
        ordered = [found[k] for k in range(len(singles))]
        rows = [row for one in ordered for row in one.rows]
        return self.folder.write(chunk, rows, [row for one in ordered for row in one.errors])

    def _tell(self, done: int, total: int) -> None:
        if self.progress is not None:
            self.progress(done, total)


def _existing(source: str | os.PathLike[str]) -> Path:
    path = Path(source)
    if not path.is_file():
        what = "is a folder; name one CSV or Parquet file" if path.is_dir() else "does not exist"
        raise SettingError(f"{path} {what}.")
    return path


def _carry(prepared: Prepared, carry: str | None) -> str | None:
    check_carry(carry)
    if carry is not None or prepared.fit is None:
        return carry
    return prepared.own.carry


def _missing(missing: Mapping[str, str | float] | None, units: Units) -> dict[str, str | float]:
    rules = dict(missing or {})
    check_missing(rules, units)
    for name, rule in rules.items():
        if rule in ("median", "mode"):
            raise SettingError(
                f"missing gives {name} the {rule} of the other subjects, and patients are read "
                f"apart from each other here. Give a number, as the {rule} in the fit's data."
            )
    return rules


def _folder(out: Path, form: Form, question: Question, prepared: Prepared) -> Folder:
    """Where the results go, and what is said beside them."""
    checked = (
        "Every patient was checked for what speaks against the advice."
        if question.checks
        else "Patients were not checked (checks=False): unsafe advice is not withheld."
    )
    about = {
        "kind": "popk batch",
        "popk_version": version("popk"),
        "model_name": prepared.model.name,
        **prepared.attrs,
        "target": question.target.concentration,
        "target_units": question.target.unit,
        "probability": question.probability,
        "seed": question.seed,
        "units": json.dumps(dict(question.units)),
        "checks": checked,
        "statement": STATEMENT,
    }
    columns = {ADVICE: columns_of(question, question.units), ERRORS: error_columns()}
    return Folder(out, form, columns, about)


def _explained(folder: Folder) -> dict[str, dict[str, dict[str, str]]]:
    """Type, unit and meaning of each column, as the manifest has them."""
    names = ("type", "units", "long_name")
    return {
        name: {column: dict(zip(names, said, strict=True)) for column, said in columns.items()}
        for name, columns in folder.columns.items()
    }


def _setting(question: Question, prepared: Prepared, chunk: int, form: Form) -> dict[str, Any]:
    """What a resumed batch must share, in a user's words."""
    return {
        "model": prepared.attrs["fit_model_hash"],
        "fit's data": prepared.attrs["fit_data_hash"],
        "draws of the fit": _draws_digest(prepared),
        "target": question.target.concentration,
        "probability": question.probability,
        "weeks": list(question.weeks),
        "seed": question.seed,
        "samples": question.samples,
        "checks": question.checks,
        "sustained": question.sustained,
        "columns": dict(question.columns),
        "log_dv": question.log_dv,
        "carry": question.carry,
        "missing": dict(question.missing),
        "form": form,
        "chunk": chunk,
        "version of popk": version("popk"),
    }


def _draws_digest(prepared: Prepared) -> str:
    """SHA-256 of the population draws that are used, and of whom the fit knows."""
    digest = hashlib.sha256()
    for name in sorted(prepared.population.values):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(prepared.population.values[name], "<f8").tobytes())
    digest.update(prepared.draws.astype("<i8").tobytes())
    digest.update(json.dumps(dict(prepared.known), sort_keys=True).encode())
    return digest.hexdigest()


def _summary(folder: Folder, overview: Overview, parts: dict[int, Part], there: int) -> Batch:
    def total(name: str) -> int:
        return sum(int(getattr(one, name)) for one in parts.values())

    return Batch(
        folder=folder.path, patients=overview.patients, advised=total("patients"),
        withheld=total("withheld"), none=total("none"), unreliable=total("unreliable"),
        failed=total("failed"), found=there, _results=folder,
    )  # fmt: skip

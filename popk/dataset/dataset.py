"""The immutable event table every other part of popk works on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, astuple, dataclass, replace
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from popk.dataset.carry import carry_choices, check_carry
from popk.dataset.columns import COLUMNS
from popk.dataset.missing import MODEL, Imputed
from popk.dataset.parameter_rows import ParameterRows, rows_of
from popk.dataset.problems import DataError, Problem
from popk.dataset.records import BoolArray
from popk.dataset.summary import html_summary, rich_summary, subject_table, text_summary
from popk.errors import SettingError
from popk.units import Units

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["Dataset"]

_SCHEMA = "popk.Dataset/1"


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Doses, observations and covariates of a set of subjects, checked and immutable.

    Made by :func:`popk.read_dataset`. Two data sets are equal when their values, column names,
    units, carry rule and imputed values are, whatever file they were read from.

    Attributes
    ----------
    table
        Dimension ``record`` in the order of the file, its coordinate the row number there;
        variables ID TIME EVID AMT RATE ADDL II SS CMT DV MDV CENS LLOQ, those of ULOQ OCC DVID
        ASSAY that the source has, and the covariates, each with ``units`` and ``long_name`` in its
        attrs.
        DV is NaN where there is no observation, the LLOQ where CENS is 1 and the ULOQ where it is
        -1; ASSAY is -1 where none is said. CMT 0 is the default:
        doses into compartment 1, observations of the first output. The arrays are read-only.
    units
        Units of time, amount, concentration and covariates.
    covariates
        Names of the covariates.
    unused_columns
        Columns of the source that were not read.
    warnings
        What was found and accepted while reading.
    carry
        How a covariate that changes within a subject holds between records (see
        :func:`popk.read_dataset`); with None every covariate is constant within a subject.
    imputed
        Covariates that are missing in a subject and what stands in their place; those left to a
        model are NaN in the table.
    provenance
        Sentences on what was done to the source before it was checked: which file and sheet, which
        columns were taken for which, units converted, dates made times. No part of the fingerprint.

    Raises
    ------
    DataError
        When the table lacks a variable, a subject's records do not stand together, or a covariate
        has no value or changes although carry is None.
    SettingError
        When carry is none of the rules.
    """

    table: xr.Dataset
    units: Units
    covariates: tuple[str, ...]
    unused_columns: tuple[str, ...] = ()
    warnings: tuple[Problem, ...] = ()
    carry: str | None = None
    imputed: tuple[Imputed, ...] = ()
    provenance: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_carry(self.carry)
        standard = (name for name, spec in COLUMNS.items() if spec.always)
        absent = [name for name in (*standard, *self.covariates) if name not in self.table]
        if absent:
            raise _refusal(
                "The table",
                f"It has no variable {', '.join(absent)}.",
                "Make a Dataset with popk.read_dataset.",
            )
        object.__setattr__(self, "table", _locked(self.table, self.units, self.covariates))
        _check_subjects(self)

    def __reduce__(self) -> tuple[Any, ...]:
        # Arrays come back writeable from a pickle; the constructor locks them again.
        rest = (self.unused_columns, self.warnings, self.carry, self.imputed, self.provenance)
        return (type(self), (self.table, self.units, self.covariates, *rest))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Dataset):
            return NotImplemented
        return self.fingerprint == other.fingerprint

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    def __repr__(self) -> str:
        return text_summary(self)

    def _repr_html_(self) -> str:
        return html_summary(self)

    def __rich__(self) -> Table:
        return rich_summary(self)

    @cached_property
    def subjects(self) -> tuple[str, ...]:
        """The subjects' IDs in order of appearance."""
        return tuple(self.table["ID"].values[self.starts].tolist())

    @cached_property
    def starts(self) -> npt.NDArray[np.int64]:
        """Position of each subject's first record, (n_subjects); read-only."""
        ids = self.table["ID"].values
        new = np.concatenate([[True], ids[1:] != ids[:-1]])[: len(ids)]
        starts = np.flatnonzero(new).astype(np.int64)
        starts.flags.writeable = False
        return starts

    @property
    def n_subjects(self) -> int:
        """How many subjects there are."""
        return len(self.subjects)

    @cached_property
    def is_observation(self) -> BoolArray:
        """Per record: whether DV is an observation (EVID 0 and MDV 0); read-only."""
        mask = (self.table["EVID"].values == 0) & (self.table["MDV"].values == 0)
        mask.flags.writeable = False
        return np.asarray(mask)

    @property
    def n_observations(self) -> int:
        """How many records are observations, those beyond a limit included."""
        return int(self.is_observation.sum())

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over values, names, units, carry and what was imputed, whatever the file."""
        return _digest(self, slice(None))

    @cached_property
    def subject_fingerprints(self) -> Mapping[str, str]:
        """One fingerprint for each subject's records, by ID."""
        ends = [*self.starts[1:].tolist(), None]
        parts = zip(self.subjects, self.starts.tolist(), ends, strict=True)
        return MappingProxyType(
            {subject: _digest(self, slice(low, high)) for subject, low, high in parts}
        )

    def select(self, ids: Iterable[object]) -> Dataset:
        """The records of some subjects, in this data set's order.

        Parameters
        ----------
        ids
            IDs, as text or numbers; a single text is one ID.

        Raises
        ------
        DataError
            When an ID is not in the data set, or none is given.
        """
        wanted = [ids] if isinstance(ids, str) else [str(subject) for subject in ids]
        unknown = [subject for subject in wanted if subject not in self.subjects]
        if unknown or not wanted:
            given = f"There is no subject {', '.join(unknown)}" if unknown else "No ID was given"
            held = f"{given}; the data set holds {_some(self.subjects)}."
            raise _refusal("The selection", held, "Correct ids.")
        keep = np.isin(self.table["ID"].values, wanted)
        warnings = tuple(p for p in self.warnings if p.id is None or p.id in wanted)
        imputed = tuple(value for value in self.imputed if value.id in wanted)
        table = self.table.isel(record=keep)
        return replace(self, table=table, warnings=warnings, imputed=imputed)

    @property
    def varying(self) -> tuple[str, ...]:
        """Names of the covariates that change within a subject."""
        return tuple(name for name in self.covariates if _changes(self, name).any())

    def covariate_table(self) -> pd.DataFrame:
        """One row per subject (index ID), one column per covariate; units in ``.attrs``.

        A covariate that changes within a subject has its value at the subject's first record; all
        of its values are in :meth:`parameter_rows`.
        """
        frame = pd.DataFrame(
            {name: self.table[name].values[self.starts] for name in self.covariates},
            index=pd.Index(list(self.subjects), name="ID"),
        )
        frame.attrs["units"] = dict(self.units.covariates)
        return frame

    def subject_table(self) -> pd.DataFrame:
        """One row per subject (index ID): doses, samples, those BLQ, times, first covariates."""
        return subject_table(self)

    def parameter_rows(
        self, *, covariates: Iterable[str] | None = None, occasions: bool = True
    ) -> ParameterRows:
        """The distinct sets of covariates and occasion in each subject, and when each governs.

        One row per combination that occurs in the subject, in order of first use; a single one per
        subject where nothing changes. Under ``"nonmem"`` and ``"nocb"`` a record's row governs the
        interval that ends at the record, under ``"locf"`` from the record on. A change of OCC
        follows the same rule, and that of ``"nonmem"`` where carry is None or ``"linear"``.

        Under ``"linear"`` an interval over which a covariate changes is cut into equal pieces, each
        with the covariate at its middle as a row: at least 4, at most 64, so many that no
        covariate changes by more than 2 % of its value (the smaller of the interval's two) within
        a piece. Replacing the line by its midpoints is second-order accurate in the length of a
        piece. A record's own values hold for its dose and for the outputs read at it.

        Parameters
        ----------
        covariates
            Those that matter; all of them if None. Others cost nothing, whether they change or not.
        occasions
            Whether OCC matters.

        Raises
        ------
        SettingError
            When a name is not that of a covariate.
        """
        names = self.covariates if covariates is None else tuple(dict.fromkeys(covariates))
        unknown = [name for name in names if name not in self.covariates]
        if unknown:
            raise SettingError(
                f"The data have no covariate {', '.join(unknown)}; they have "
                f"{', '.join(self.covariates) or 'none'}."
            )
        used = ["TIME", "EVID", *(["OCC"] if occasions and "OCC" in self.table else [])]
        return rows_of(
            {name: self.table[name].values for name in used},
            {name: self.table[name].values for name in names},
            starts=self.starts,
            carry=self.carry,
            units={name: self.units.covariate(name) or "1" for name in names},
        )

    def to_frame(self) -> pd.DataFrame:
        """The table as a data frame (index: row of the source); ``read_dataset`` reads it back.

        Concentrations are on the natural scale, so `log_dv` is not needed to read it back; `carry`
        is, where a covariate changes. Imputed values stand there as if they had been given.
        """
        names = [str(name) for name in self.table.data_vars]
        frame = pd.DataFrame(
            {name: self.table[name].values.copy() for name in names},
            index=pd.Index(self.table["record"].values, name="row"),
        )
        frame.attrs["units"] = {name: self.table[name].attrs["units"] for name in names}
        return frame

    def to_xarray(self) -> xr.Dataset:
        """A writeable copy that can be stored as netCDF; :meth:`from_xarray` reads it back."""
        copy = self.table.copy(deep=True)
        copy.attrs |= {
            "schema": _SCHEMA,
            "dataset_units": json.dumps(self.units.to_dict()),
            "unused_columns": json.dumps(self.unused_columns),
            "warnings": json.dumps([_problem_to_dict(problem) for problem in self.warnings]),
            "fingerprint": self.fingerprint,
        }
        if self.carry is not None:
            copy.attrs["carry"] = self.carry
        if self.provenance:
            copy.attrs["provenance"] = json.dumps(self.provenance, ensure_ascii=False)
        if self.imputed:
            copy.attrs["imputed"] = json.dumps([asdict(value) for value in self.imputed])
        return copy

    @classmethod
    def from_xarray(cls, table: xr.Dataset) -> Dataset:
        """The data set that :meth:`to_xarray` wrote.

        Raises
        ------
        DataError
            When `table` was not written by popk, or its values are not those that were written.
        """
        attrs = table.attrs
        if attrs.get("schema") != _SCHEMA:
            raise _refusal(
                "The table",
                f"This xarray.Dataset was not written by Dataset.to_xarray (its schema is "
                f"{attrs.get('schema', 'not given')}, not {_SCHEMA}).",
                "Read other tables with popk.read_dataset.",
            )
        units = Units.parse(json.loads(attrs["dataset_units"]))
        dataset = cls(
            table=table,
            units=units,
            covariates=tuple(name for name, _ in units.covariates),
            unused_columns=tuple(json.loads(attrs["unused_columns"])),
            warnings=tuple(Problem(**fields) for fields in json.loads(attrs["warnings"])),
            carry=None if attrs.get("carry") is None else str(attrs["carry"]),
            imputed=tuple(Imputed(**value) for value in json.loads(attrs.get("imputed", "[]"))),
            provenance=tuple(json.loads(attrs.get("provenance", "[]"))),
        )
        if dataset.fingerprint != attrs["fingerprint"]:
            raise _refusal(
                "The stored data set",
                "The values are not those that were stored: the fingerprint differs.",
                "Restore the file, or read the changed table with popk.read_dataset.",
            )
        return dataset


def _refusal(what: str, message: str, remedy: str) -> DataError:
    return DataError((Problem(message, "error", remedy=remedy),), what)


def _some(subjects: tuple[str, ...], most: int = 10) -> str:
    more = f" and {len(subjects) - most} more" if len(subjects) > most else ""
    return ", ".join(subjects[:most]) + more


def _changes(dataset: Dataset, name: str) -> BoolArray:
    """Records whose covariate is not that of the subject's previous record."""
    values = dataset.table[name].values
    changed = np.concatenate([[False], np.nan_to_num(values[1:]) != np.nan_to_num(values[:-1])])
    changed[dataset.starts] = False
    return changed


def _check_subjects(dataset: Dataset) -> None:
    """Refuse what `read_dataset` refuses with more detail, in tables made elsewhere."""
    table = dataset.table
    if len(set(dataset.subjects)) < dataset.n_subjects:
        again = next(one for one in dataset.subjects if dataset.subjects.count(one) > 1)
        raise _refusal(
            "The table",
            f"The records of ID {again} do not stand together.",
            "Put all records of one subject together.",
        )
    for name in dataset.covariates:
        left = [one.id for one in dataset.imputed if one.column == name and one.rule == MODEL]
        absent = ~np.isfinite(table[name].values) & ~np.isin(table["ID"].values, left)
        changed = _changes(dataset, name) if dataset.carry is None else np.zeros_like(absent)
        rule = f"Set carry: {carry_choices()}."
        for wrong, finding, remedy in (
            (absent, "has no finite value", "Give every record a value."),
            (changed, "changes within the subject, but carry is None,", rule),
        ):
            if wrong.any():
                at = int(np.argmax(wrong))
                where = f"row {table['record'].values[at]}, ID {table['ID'].values[at]}"
                raise _refusal("The table", f"The covariate {name} {finding} in {where}.", remedy)


def _locked(table: xr.Dataset, units: Units, covariates: tuple[str, ...]) -> xr.Dataset:
    """A copy with the columns in standard order, of standard types, arrays read-only."""
    attrs = {"log_dv": int(table.attrs.get("log_dv", 0))}
    variables = {}
    standard = [name for name, spec in COLUMNS.items() if spec.always or name in table]
    for name in (*standard, *covariates):
        spec = COLUMNS.get(name)
        kind = "str" if name == "ID" else "int64" if spec and spec.integer else "float64"
        values = np.array(table[name].values, dtype=kind)
        values.flags.writeable = False
        unit = spec.unit(units) if spec else units.covariate(name) or "1"
        meaning = spec.meaning if spec else name
        variables[name] = ("record", values, {"units": unit, "long_name": meaning})
    rows = np.array(table["record"].values, dtype=np.int64)
    locked = xr.Dataset(variables, coords={"record": rows}, attrs=attrs)
    locked["record"].attrs = {"units": "1", "long_name": "row of the source"}
    return locked


def _digest(dataset: Dataset, keep: slice) -> str:
    """SHA-256 of the kept records; independent of the covariates' order and of row numbers."""
    table = dataset.table
    digest = hashlib.sha256()
    digest.update(json.dumps(sorted(dataset.units.to_dict().items())).encode())
    if dataset.carry is not None:
        digest.update(f"|carry|{dataset.carry}|".encode())
    subjects = set(table["ID"].values[keep].tolist())
    imputed = sorted(astuple(value) for value in dataset.imputed if value.id in subjects)
    if imputed:
        digest.update(f"|imputed|{json.dumps(imputed)}|".encode())
    for name in sorted(str(name) for name in table.data_vars):
        values = table[name].values[keep]
        digest.update(f"|{name}|{values.size}|".encode())
        if name == "ID":
            digest.update(json.dumps(values.tolist()).encode())
        elif values.dtype.kind == "i":
            digest.update(values.astype("<i8").tobytes())
        else:
            # One bit pattern for every NaN and for both zeros.
            digest.update(np.where(np.isnan(values), np.nan, values + 0.0).astype("<f8").tobytes())
    return digest.hexdigest()


def _problem_to_dict(problem: Problem) -> dict[str, Any]:
    names = ("message", "severity", "row", "id", "column", "remedy")
    return {name: getattr(problem, name) for name in names}

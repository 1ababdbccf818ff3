"""Reading an event table into a :class:`Dataset`."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import xarray as xr

from popk.dataset.adppk import with_standard_names
from popk.dataset.carry import carry_covariates, check_carry
from popk.dataset.checks_events import check_codes, check_events
from popk.dataset.checks_observations import check_observations
from popk.dataset.checks_plausibility import check_plausibility
from popk.dataset.checks_subjects import check_subjects
from popk.dataset.clock import Dates, with_times
from popk.dataset.columns import COLUMNS, locate
from popk.dataset.conversion import Factor, convert, factors_of
from popk.dataset.dataset import Dataset
from popk.dataset.layout import Layout
from popk.dataset.missing import check_missing, impute
from popk.dataset.records import FloatArray, Records, parse_records
from popk.dataset.source import TextTable, read_text
from popk.units import Units

__all__ = ["read_dataset", "read_part"]


def read_dataset(  # noqa: PLR0913
    source: str | os.PathLike[str] | Any,
    *,
    units: Mapping[str, str] | Units,
    columns: Mapping[str, str] | None = None,
    log_dv: bool = False,
    carry: str | None = None,
    missing: Mapping[str, str | float] | None = None,
    layout: Layout | None = None,
    given: Mapping[str, str] | None = None,
    molar_mass: float | None = None,
    dates: Dates | None = None,
) -> Dataset:
    """Read and check a NONMEM-style event table.

    Required columns: ID, TIME, EVID, AMT, DV. Optional, with what an absent column or an empty
    cell means: MDV (1 unless EVID is 0), CMT (0, the default: doses into compartment 1,
    observations of the first output), RATE (0), ADDL (0), II (0), SS (0), CENS (0; BLQ is another
    name of it) and LLOQ (none). Read where the table has them: OCC, the occasion, then on every
    record; DVID, which of the model's outputs a record observes (from 1), and ASSAY, which assay or
    laboratory measured it (from 0), then on every observation; ULOQ. A cell that is empty, ``.`` or
    ``NA`` is missing. Header names match in any case. Records keep the order of the file.

    Observations are the records with EVID 0 and MDV 0; records with EVID 0 and MDV 1 are kept
    as times at which a prediction may be asked. Where CENS is 1 the concentration lies below
    LLOQ, and DV is stored as the LLOQ whatever the file holds there; where CENS is -1 it lies above
    ULOQ, likewise. In a table without a column LLOQ or ULOQ, DV holds the limit on those records
    (Monolix's convention). Limits may differ from record to record.

    Parameters
    ----------
    source
        Path of a file: comma-separated UTF-8 text (or as `layout` says), Parquet, Excel (extra
        ``popk[excel]``), SAS transport (``popk[sas]``); or a data frame in memory (anything
        narwhals reads: pandas, polars, pyarrow). A SAS transport file has the column names of
        CDISC's ADPPK; ``provenance`` says what was taken for what.
    units
        UCUM units of ``time``, ``amount``, ``concentration``, and of every covariate to read,
        for example ``{"time": "d", "amount": "mg", "concentration": "mg/L", "WT": "kg"}``;
        a covariate without unit has ``"1"``.
    columns
        popk's name -> the table's name, for columns that are called differently:
        ``{"DV": "CONC", "WT": "WGT"}``.
    log_dv
        Whether DV holds natural logarithms of the concentration. It is stored exponentiated,
        and ``table.attrs["log_dv"]`` is 1. LLOQ is a concentration all the same.
    carry
        How a covariate that changes within a subject holds between records:

        - ``"nonmem"``: that of the record at the end of an interval governs the interval;
        - ``"locf"``: the last record's value holds until the next one;
        - ``"nocb"``: the next known value governs backwards (as ``"nonmem"``, but records whose
          covariate is blank do not count);
        - ``"linear"``: interpolated between records with known values, constant beyond.

        With None a change is an error. Blank cells of a covariate are filled by the last three
        rules and are errors otherwise. Blanks before the first known value (``"locf"``) or after
        the last (``"nocb"``) take the nearest known value, with a warning.
    missing
        What stands in for a covariate that is missing in all records of a subject, by name:
        ``"median"`` of the first known values of the other subjects, ``"mode"`` (the most frequent
        of these, for a category; the lowest where several are), or a number in its unit:
        ``{"ALB": "median", "RACE": "mode", "WT": 70.0}``. Each use is a warning and part of the
        fingerprint. A covariate without a rule must be known. A single value in the place of an
        unknown one leaves its uncertainty out; ``"model"`` leaves the value NaN, for a model that
        estimates it (`popk.LatentCovariate`, `popk.LatentCategory`).
    layout
        How the file is written: separator, decimal mark, encoding, sheet, whose names.
    given
        Units that the source has where they are not those of `units`:
        ``{"concentration": "ug/L", "time": "h", "WT": "lb"}``. Numbers are converted to `units`,
        exactly, and ``provenance`` says so. Nothing is converted otherwise.
    molar_mass
        In g/mol, to convert between mass and amount of substance (nmol/L to mg/L).
    dates
        Which columns hold dates and clock times, to be made the time since each subject's first
        record or dose.

    Returns
    -------
    Dataset
        Warnings about what was accepted are in its ``warnings``, what was done to the source in
        its ``provenance``.

    Raises
    ------
    DataError
        When the table cannot be used; the text lists everything found, with row, ID and column.
    SettingError
        When `carry` or `missing` is none of the rules.
    UnitError
        When `units` is incomplete or names an unknown unit, or `given` cannot be converted.
    TypeError
        When `source` is neither a path nor a data frame.
    """
    known = Units.parse(units)
    factors = factors_of(given or {}, known, molar_mass)

    def prepared() -> tuple[TextTable, Mapping[str, str]]:
        text = read_text(source, layout)
        text, names = with_standard_names(text, layout, columns or {}, known, given or {})
        return (text if dates is None else with_times(text, dates, names, known)), names

    return _read(
        prepared, known, log_dv=log_dv, carry=carry, missing=missing, whole=True,
        factors=factors, timed=dates is not None,
    )  # fmt: skip


def read_part(
    text: TextTable,
    *,
    units: Mapping[str, str] | Units,
    columns: Mapping[str, str] | None = None,
    log_dv: bool = False,
    carry: str | None = None,
    missing: Mapping[str, str | float] | None = None,
) -> Dataset:
    """Read and check some subjects of a table, as `read_dataset` does all of them.

    What can only be said of a whole table is not checked: that it has observations and doses, and
    whether a number looks odd beside other subjects'. What is read of a subject therefore does not
    depend on which others are read with it, as long as no rule of ``missing`` does (a number or
    ``"model"``).

    Parameters
    ----------
    text
        The records, as text.
    units, columns, log_dv, carry, missing
        As in `read_dataset`.

    Raises
    ------
    DataError, SettingError, UnitError
        As there.
    """
    return _read(
        lambda: (text, columns or {}), units, log_dv=log_dv, carry=carry, missing=missing,
        whole=False, factors={}, timed=False,
    )  # fmt: skip


def _read(  # noqa: PLR0913
    source: Callable[[], tuple[TextTable, Mapping[str, str]]],
    units: Mapping[str, str] | Units,
    *,
    log_dv: bool,
    carry: str | None,
    missing: Mapping[str, str | float] | None,
    whole: bool,
    factors: Mapping[str, Factor],
    timed: bool,
) -> Dataset:
    check_carry(carry)
    known = Units.parse(units)
    rules = check_missing(missing, known)
    text, columns = source()
    located = locate(text.header, known, text.problems, columns=columns)
    _check_comments(text, located.unused)
    records = parse_records(text, located, known)
    check_codes(records)
    done = convert(records, factors, log_dv=log_dv, timed=timed)
    imputed = impute(records, rules)
    check_subjects(records, whole=whole)
    covariates = carry_covariates(records, carry)
    check_events(records)
    check_observations(records, log_dv=log_dv, whole=whole)
    if whole and not text.problems.errors:
        check_plausibility(records, log_dv=log_dv)
    text.problems.raise_if_errors()
    return Dataset(
        table=_table(records, covariates, log_dv),
        units=known,
        covariates=records.covariates,
        unused_columns=located.unused,
        warnings=text.problems.warnings,
        carry=carry,
        imputed=imputed,
        provenance=(*text.notes, *done),
    )


def _check_comments(text: TextTable, unused: tuple[str, ...]) -> None:
    """Records that NONMEM is usually told to leave out (IGNORE=C) are read like all others."""
    for name in unused:
        at = text.header.index(name) if name in text.header else -1
        if name.upper() != "C" or at < 0:
            continue
        marked = [row for row, cell in zip(text.rows, text.column(at), strict=True)
                  if cell.upper() == "C"]  # fmt: skip
        if marked:
            text.problems.warn(
                f"The column C marks {len(marked)} record{'s' if len(marked) > 1 else ''} as left "
                "out (NONMEM's IGNORE=C), the first here; popk reads them all.",
                "Take them out of the table, or set MDV to 1 on observations that are not to "
                "count.",
                row=marked[0],
                column="C",
            )


def _table(records: Records, covariates: Mapping[str, FloatArray], log_dv: bool) -> xr.Dataset:
    """The accepted records with defaults in place and ignored cells left out."""
    dose = records.gives_dose
    concentration, limit, upper = _concentrations(records, log_dv)
    values: dict[str, Any] = {
        "ID": np.array(records.ids, dtype=str),
        "TIME": records["TIME"].values,
        "EVID": records["EVID"].values,
        "DV": concentration,
        "MDV": records.missing_dv,
        "CMT": records["CMT"].filled(0),
        "CENS": records.is_censored.astype(int) - records.is_above,
        "LLOQ": limit,
    }
    for name in ("AMT", "RATE", "ADDL", "II", "SS"):
        values[name] = np.where(dose, records[name].filled(0), 0.0)
    optional = (name for name, spec in COLUMNS.items() if not spec.always and records[name].given)
    # -1: a record that was not measured says nothing of the assay.
    values |= {name: records[name].filled(-1 if name == "ASSAY" else 0) for name in optional}
    if records["ULOQ"].given or records.is_above.any():
        values["ULOQ"] = upper
    values |= covariates
    variables = {name: ("record", value) for name, value in values.items()}
    return xr.Dataset(
        variables, coords={"record": list(records.rows)}, attrs={"log_dv": int(log_dv)}
    )


def _concentrations(records: Records, log_dv: bool) -> tuple[FloatArray, FloatArray, FloatArray]:
    """DV on the natural scale (the limit where censored), LLOQ and ULOQ, NaN where none is."""
    observed, censored, above = records.is_observation, records.is_censored, records.is_above
    dv = np.where(observed, records["DV"].values, np.nan)
    dv = np.exp(dv) if log_dv else dv
    limit = records["LLOQ"].values
    if not records["LLOQ"].given:
        limit = np.where(censored, dv, np.nan)
    upper = records["ULOQ"].values if records["ULOQ"].given else np.where(above, dv, np.nan)
    return np.where(censored, limit, np.where(above, upper, dv)), limit, upper

"""Checks across a subject's records: identity, doses, covariates, and repeated records."""

from __future__ import annotations

import numpy as np
import pandas as pd

from popk.dataset.records import Records
from popk.units import Units

__all__ = ["check_subjects", "must_be_positive"]

_CODES = (-99.0, -999.0, -9999.0, -99999.0)  # of missing values, in other programs


def check_subjects(records: Records, *, whole: bool = True) -> None:
    """Report everything wrong between records to ``records.problems``.

    A part of a table (not `whole`) may hold a single subject, and no doses.
    """
    _check_ids(records, whole=whole)
    _check_doses(records, whole=whole)
    for name in records.covariates:
        _check_covariate(records, name)
    _check_duplicates(records)
    _check_repeated(records)


def _check_ids(records: Records, *, whole: bool) -> None:
    ids = records["ID"]
    records.flag(
        ids.missing, "ID", "is missing.", remedy="Every record needs the ID of its subject."
    )
    again = np.zeros(len(records), dtype=bool)
    seen: set[str] = set()
    last = ""
    for at, subject in enumerate(records.ids):
        if subject and subject != last:
            again[at] = subject in seen
            seen.add(subject)
            last = subject
    records.flag(
        again,
        "ID",
        "{value} appears again after another subject's records; its records are not contiguous.",
        remedy="Put all records of one subject together, or give different subjects different IDs.",
    )
    if whole and len(seen) == 1 and not ids.bad.any():
        records.problems.warn(
            "The table has a single subject: it says nothing on variability between subjects.",
            "Use it for individual estimation, or add subjects for a population fit.",
            column="ID",
        )


def _check_doses(records: Records, *, whole: bool) -> None:
    problems, dose, observed = records.problems, records.gives_dose, records.is_observation
    if any(records[name].bad.any() for name in ("EVID", "ID", "MDV")):
        return
    if whole and not dose.any():
        problems.error(
            "The table has no dose record (EVID 1 or 4).",
            "Add the doses; concentrations cannot be explained without them.",
        )
        return
    for subject, places in records.subjects().items():
        doses, seen = places[dose[places]], places[observed[places]]
        if whole and not seen.size and observed.any():
            problems.warn(
                "The subject has no observation.", "Nothing is learnt from it.", id=subject
            )
        if not doses.size:
            problems.warn(
                "The subject has no dose: its predicted concentrations are 0.",
                "Add its doses, or leave the subject out.",
                id=subject,
            )
        elif seen.size and seen[-1] < doses[0]:
            problems.warn(
                "All observations of the subject stand before its first dose, where the "
                "predicted concentration is 0.",
                "Check TIME and the order of its records.",
                id=subject,
            )
        elif seen.size and seen[0] < doses[0]:
            early = int(np.sum(seen < doses[0]))
            problems.warn(
                f"{early} observation{'s' if early > 1 else ''} of the subject "
                f"{'stand' if early > 1 else 'stands'} before its first dose, where the "
                "predicted concentration is 0.",
                "Check TIME and the order of its records, or set MDV to 1 for baseline samples.",
                id=subject,
            )


def _check_covariate(records: Records, name: str) -> None:
    column, unit = records[name], records.units.covariate(name)
    if must_be_positive(records.units, name):
        records.flag(
            column.usable & (column.values <= 0),
            name,
            f"is {{value}} {unit}; it must be positive.",
            remedy="Correct the value.",
        )
        return
    coded = column.usable & np.isin(column.values, _CODES)
    if coded.any() and not (column.values[column.usable & ~coded] < 0).any():
        records.flag(
            coded,
            name,
            "is {value}, as programs write for what is missing; popk reads no such codes.",
            remedy=f"Leave the cell empty, and say with missing what stands in its place: "
            f'{{"{name}": "median"}}.',
        )


def must_be_positive(units: Units, name: str) -> bool:
    """A body measure (mass, length or area) of zero is a missing value in disguise."""
    return units.covariate(name) in ("kg", "g", "mg", "m", "cm", "mm", "m2", "cm2", "kg/m2")


def _check_duplicates(records: Records) -> None:
    """The same subject, time, compartment and content twice is rarely meant."""
    if records["ID"].bad.any():
        return
    evid, observed, dose = records["EVID"].values, records.is_observation, records.gives_dose
    content = np.where(observed, records["DV"].values, records["AMT"].values)
    table = pd.DataFrame(
        {
            "ID": records.ids,
            "part": np.cumsum(evid == 4),  # time may start again there
            "TIME": records["TIME"].values,
            "EVID": evid,
            "CMT": np.maximum(records["CMT"].filled(0), dose),  # doses: 0 means 1
            "DVID": records["DVID"].filled(0),
            "content": content,
        }
    )
    table = table[records["TIME"].usable & (observed | dose) & np.isfinite(content)]
    again = table[table.duplicated(keep=False)]
    for places in again.groupby(list(again.columns), sort=False).indices.values():
        first, *others = again.index[np.sort(places)].tolist()
        for at in others:
            _report_duplicate(records, at, first, "DV" if observed[at] else "AMT")


def _check_repeated(records: Records) -> None:
    """A dose with a record of its own at the time of one that ADDL implies is given twice."""
    if records["ID"].bad.any():
        return
    time, interval = records["TIME"].values, records["II"].values
    more = records["ADDL"].filled(0)
    compartment = np.maximum(records["CMT"].filled(0), 1)
    doses = np.flatnonzero(records.gives_dose & records["TIME"].usable)
    # What ADDL implies ends with the subject, and at a reset (EVID 3 or 4).
    part = records.block + np.cumsum(records["EVID"].values >= 3)
    for at in doses[(more[doses] > 0) & (interval[doses] > 0)].tolist():
        end = np.searchsorted(part, part[at], side="right")
        later = doses[np.searchsorted(doses, at + 1) : np.searchsorted(doses, end)]
        steps = (time[later] - time[at]) / interval[at]
        on = (np.abs(steps - np.round(steps)) < 1e-6) & (np.round(steps) >= 1)
        on &= (np.round(steps) <= more[at]) & (compartment[later] == compartment[at])
        for twice in later[on].tolist():
            records.report(
                twice,
                "TIME",
                f"is {{value}}, when ADDL of row {records.rows[at]} gives a dose already. Both are "
                "used.",
                remedy="Correct ADDL, or leave one of the doses out.",
                severity="warning",
            )


def _report_duplicate(records: Records, at: int, first: int, name: str) -> None:
    what = "observation" if name == "DV" else "dose"
    records.problems.warn(
        f"{name} {records[name].text[at]} is a duplicate of row {records.rows[first]}: the "
        f"same {what} of this subject at the same TIME. Both are used.",
        "Delete one of them if it was entered twice.",
        row=records.rows[at],
        id=records.ids[at],
        column=name,
    )

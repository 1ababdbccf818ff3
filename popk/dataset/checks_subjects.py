"""Checks across a subject's records: identity, doses, covariates, and repeated records."""

from __future__ import annotations

import numpy as np

from popk.dataset.records import Records
from popk.units import Units

__all__ = ["check_subjects", "must_be_positive"]


def check_subjects(records: Records, *, whole: bool = True) -> None:
    """Report everything wrong between records to ``records.problems``.

    A part of a table (not `whole`) may hold a single subject, and no doses.
    """
    _check_ids(records, whole=whole)
    _check_doses(records, whole=whole)
    for name in records.covariates:
        _check_covariate(records, name)
    _check_duplicates(records)


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


def must_be_positive(units: Units, name: str) -> bool:
    """A body measure (mass, length or area) of zero is a missing value in disguise."""
    return units.covariate(name) in ("kg", "g", "mg", "m", "cm", "mm", "m2", "cm2", "kg/m2")


def _check_duplicates(records: Records) -> None:
    """The same subject, time, compartment and content twice is rarely meant."""
    if records["ID"].bad.any():
        return
    evid, time = records["EVID"].values, records["TIME"].values
    compartment = np.maximum(records["CMT"].filled(0), records.gives_dose)  # doses: 0 means 1
    output = records["DVID"].filled(0)
    observed, dose = records.is_observation, records.gives_dose
    seen: dict[tuple[object, ...], int] = {}
    for at in np.flatnonzero(records["TIME"].usable & (observed | dose)).tolist():
        if evid[at] == 4:  # time may start again here
            seen.clear()
        name = "DV" if observed[at] else "AMT"
        content = records[name].values[at]
        place = (compartment[at], output[at])
        first = seen.setdefault((records.ids[at], time[at], evid[at], place, content), at)
        if first != at and np.isfinite(content):
            what = "observation" if observed[at] else "dose"
            records.problems.warn(
                f"{name} {records[name].text[at]} is a duplicate of row {records.rows[first]}: the "
                f"same {what} of this subject at the same TIME. Both are used.",
                "Delete one of them if it was entered twice.",
                row=records.rows[at],
                id=records.ids[at],
                column=name,
            )

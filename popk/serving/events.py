"""What was entered as a data set of popk, and back: from its rows to the fields of the page."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from popk.dataset import DataError, Dataset, Problem
from popk.dataset.reader import read_part
from popk.dataset.source import read_text
from popk.serving.entered import Entered
from popk.serving.faults import Fault, FormError
from popk.serving.needs import Needs
from popk.serving.rows import Dose, Sample
from popk.units import Units

__all__ = ["Placed", "Recorded", "recorded"]

_FIELDS = {
    "TIME": "when", "AMT": "amount", "RATE": "hours", "ADDL": "more", "II": "every",
    "DV": "value", "CENS": "below", "LLOQ": "limit",
}  # fmt: skip
_NAMES = {"doses": "dose", "samples": "sample"}


class Placed(NamedTuple):
    """Where a record of the data set stands on the page: ``doses`` or ``samples``, row from 0."""

    kind: str
    row: int

    @property
    def words(self) -> str:
        """In a sentence: ``sample row 2``."""
        return f"{_NAMES[self.kind]} row {self.row + 1}"


@dataclass(frozen=True)
class Recorded:
    """The data set of one patient, and where each of its records (from 1) stands on the page."""

    dataset: Dataset
    places: tuple[Placed, ...]


def recorded(entered: Entered, needs: Needs) -> Recorded:
    """The data set of what was entered, in order of time.

    A sample with the time of a dose counts as drawn before it.

    Raises
    ------
    FormError
        With what reading a data set finds wrong, by field.
    """
    pairs: list[tuple[tuple[float, int], Dose | Sample]] = []
    pairs += [((one.time, 1), one) for one in entered.doses]
    pairs += [((one.time, 0), one) for one in entered.samples]
    pairs.sort(key=lambda pair: pair[0])
    rows = [one for _, one in pairs]
    places = tuple(Placed("doses" if isinstance(one, Dose) else "samples", one.row) for one in rows)
    frame = pd.DataFrame([_record(entered, needs, one) for one in rows])
    unknown = {name: "model" for name, value in entered.covariates.items() if np.isnan(value)}
    units = needs.units
    asked = {name: units.covariate(name) or "1" for name in entered.covariates}
    basic = {"time": units.time, "amount": units.amount, "concentration": units.concentration}
    try:
        # What is said of a whole cohort (too few subjects) is not said of one patient.
        dataset = read_part(
            read_text(frame), units=Units.parse({**basic, **asked}), carry=needs.carry,
            missing=unknown,
        )  # fmt: skip
    except DataError as error:
        raise FormError(_faults(error.problems, places)) from None
    return Recorded(dataset, places)


def _record(entered: Entered, needs: Needs, one: Dose | Sample) -> dict[str, object]:
    found: dict[str, object] = {"ID": entered.patient, "TIME": one.time}
    if isinstance(one, Dose):
        hours = needs.units.time_in("h")
        found |= {
            "EVID": 1, "AMT": one.amount, "RATE": one.amount / (one.hours * hours) if one.hours
            else 0.0, "ADDL": one.more, "II": one.every, "DV": None, "CENS": 0, "LLOQ": None,
        }  # fmt: skip
    else:
        level = one.limit if one.below else one.value
        found |= {"EVID": 0, "AMT": None, "RATE": 0.0, "ADDL": 0, "II": 0.0, "DV": level,
                  "CENS": int(one.below),
                  "LLOQ": None if np.isnan(one.limit) else one.limit}  # fmt: skip
        if needs.output:
            found["DVID"] = needs.output
    return {**found, **one.codes, **entered.covariates}


def _faults(problems: Iterable[Problem], places: tuple[Placed, ...]) -> list[Fault]:
    """The problems of a data set, by field; what is said of every record is said once."""
    found: dict[str, Fault] = {}
    for one in problems:
        if one.severity != "error":
            continue
        message = " ".join(filter(None, (one.message, one.remedy)))
        column, known = one.column or "", one.row is not None and one.row <= len(places)
        if column and column not in (*_FIELDS, "EVID", "ID", "MDV"):
            fault = Fault(f"covariates.{column}", message)
        elif known:
            place = places[int(one.row or 1) - 1]
            title = f"{place.kind.capitalize()}, row {place.row + 1}"
            field = f"{place.kind}.{place.row}.{_FIELDS.get(column, 'when')}"
            fault = Fault(field, f"{title}: {message}")
        else:
            fault = Fault("", message)
        found.setdefault(fault.message, fault)
    return list(found.values())

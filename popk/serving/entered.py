"""A patient and a question as they were entered on the page, read and checked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from popk.serving.entries import NUMBER, Limits, Reader, if_given
from popk.serving.faults import Fault, FormError, Place, quoted
from popk.serving.needs import Covariate, Needs
from popk.serving.rows import Dose, Rows, Sample

__all__ = ["Entered", "read_form"]

_CANDIDATES, _WEEKS = 30, 104.0
_ENDS = re.compile(r"(\d{1,4})\s*:\s*(\d{1,4})", re.ASCII)
_ID = 40  # characters
_AHEAD = timedelta(hours=26)  # by which a page's clock may differ from the server's: time zones
_FIELDS = ("patient", "clock", "now", "covariates", "doses", "samples", "target", "probability",
           "weeks", "seed")  # fmt: skip


@dataclass(frozen=True)
class Entered:
    """All that was entered.

    ``origin`` is the moment of time 0 where dates were given, or else None; ``now`` the time at
    which it was asked. A covariate that is not known, where the model allows that, is NaN.
    """

    patient: str
    origin: datetime | None
    now: datetime
    covariates: Mapping[str, float]
    doses: tuple[Dose, ...]
    samples: tuple[Sample, ...]
    target: float
    probability: float
    weeks: tuple[float, ...]
    seed: int


def read_form(form: Any, needs: Needs, *, now: datetime | None = None) -> Entered:
    """What was entered, once nothing in it is wrong.

    Parameters
    ----------
    form
        An object of texts: ``patient``; ``clock`` (``"dates"`` or ``"time"``); ``covariates`` by
        name; ``doses`` (``when``, ``amount``, ``hours``, ``more``, ``every``) and ``samples``
        (``when``, ``value``, ``below``, ``limit``), lists of objects; ``target``; ``probability``
        in per cent; ``weeks``, as ``4:8`` or ``4,5,6``; ``seed``; ``now``, the page's time.
    needs
        What the model needs to know.
    now
        The server's time; that of its clock without it.

    Raises
    ------
    FormError
        With a sentence for each fault, naming field and row.
    """
    if not isinstance(form, Mapping):
        raise FormError([Fault("", "Expected one object with the fields of the form.")])
    if unknown := [str(name) for name in form if name not in _FIELDS]:
        raise FormError([Fault("", f"The field {quoted(unknown[0])} is not known; known are "
                                   f"{', '.join(_FIELDS)}.")])  # fmt: skip
    reader = Reader()
    moment = _now(form.get("now"), now or datetime.now())
    patient = _patient(reader, form.get("patient"))
    covariates = _covariates(reader, form.get("covariates"), needs)
    clock = reader.one_of(
        form.get("clock", "dates"), Place("clock", "Times are"), ("dates", "time")
    )
    rows = Rows(reader, needs, moment, dated=clock != "time")
    rows.read(form.get("doses"), form.get("samples"))
    question = _question(reader, form, needs)
    reader.raise_if_faults()
    return Entered(patient, rows.origin, moment, covariates, rows.doses, rows.samples, **question)


def _now(given: Any, own: datetime) -> datetime:
    """The page's time if it can be right, to the end of its minute; or else the server's."""
    try:
        stated = datetime.fromisoformat(given) if isinstance(given, str) else own
        right = stated.tzinfo is None and abs(stated - own) <= _AHEAD
    except ValueError:
        right = False
    return (stated if right else own).replace(second=59, microsecond=0)


def _patient(reader: Reader, given: Any) -> str:
    place = Place("patient", "Patient")
    text = reader.text(given, place)
    allowed = all(c.isalnum() or c in " ._-/:" for c in text)
    if not text:
        reader.fault(place, "is missing; give the patient's number in the study, no name.")
    elif len(text) > _ID or not allowed or not text[0].isalnum():
        reader.fault(
            place,
            f"{quoted(text)} cannot be used; give the patient's number in the study: up to {_ID} "
            "letters, digits, blanks and . _ - / :, the first a letter or digit.",
        )
    return text


def _covariates(reader: Reader, given: Any, needs: Needs) -> dict[str, float]:
    held = given if isinstance(given, Mapping) else {}
    if given is not None and not isinstance(given, Mapping):
        reader.fault(Place("covariates", "Covariates"), "expected values by name.")
    known = [one.name for one in needs.covariates]
    for name in held:
        if name not in known:
            listed = ", ".join(known) or "none"
            reader.fault(
                Place("covariates", "Covariates"),
                f"{quoted(name)} is not known; the model has {listed}.",
            )
    return {one.name: _covariate(reader, held.get(one.name), one) for one in needs.covariates}


def _covariate(reader: Reader, given: Any, wanted: Covariate) -> float:
    place = Place(f"covariates.{wanted.name}", wanted.words)
    if wanted.optional and not reader.text(given, place):
        return float("nan")
    if wanted.choices:
        example = f"{wanted.choices[0]:g}"
    else:
        example = f"{wanted.usual:g}" if wanted.usual == wanted.usual else "1"
    limits = Limits(above=0.0) if wanted.positive else Limits()
    value = reader.number(given, place, limits=limits, example=example, unit=wanted.unit)
    if value is None:
        return float("nan")
    if wanted.choices and value not in wanted.choices:
        listed = ", ".join(f"{choice:g}" for choice in wanted.choices)
        reader.fault(place, f"{quoted(f'{value:g}')} is not known; choose one of {listed}.")
    elif fault := wanted.fault(value):
        reader.fault(place, f"{value:g} cannot be used: {fault}.")
    return value


def _question(reader: Reader, form: Mapping[str, Any], needs: Needs) -> dict[str, Any]:
    target = reader.number(
        form.get("target"), Place("target", "Target"), limits=Limits(above=0.0, most=1e9),
        example=f"{needs.usual_target:g}", unit=needs.units.concentration,
    )  # fmt: skip
    percent = reader.number(
        form.get("probability"), Place("probability", "Probability"),
        limits=Limits(least=1.0, most=99.9), example="90", unit="per cent",
    )  # fmt: skip
    seed = reader.number(
        if_given(form.get("seed"), "1"), Place("seed", "Seed"),
        limits=Limits(least=0, most=1e9, whole=True), example="1",
    )  # fmt: skip
    return {
        "target": target, "probability": round((percent or 0.0) / 100, 9),
        "weeks": _weeks(reader, form.get("weeks")), "seed": int(seed or 0),
    }  # fmt: skip


def _weeks(reader: Reader, given: Any) -> tuple[float, ...]:
    place = Place("weeks", "Intervals to compare")
    text = reader.text(given, place)
    found: list[float] = []
    if ends := _ENDS.fullmatch(text):
        low, high = int(ends[1]), int(ends[2])
        if high - low < _CANDIDATES:
            found = [float(week) for week in range(low, high + 1)]
    elif all(NUMBER.fullmatch(part.strip()) for part in text.split(",")):
        found = [float(part) for part in text.split(",")]
    rising = all(a < b for a, b in pairwise(found))
    if (
        not found
        or not rising
        or len(found) > _CANDIDATES
        or not 0 < found[0] <= found[-1] <= _WEEKS
    ):
        reader.fault(
            place,
            f"{quoted(text)} cannot be used; expected weeks, as 4:8 (both ends included) or 4,5,6: "
            f"rising, above zero, up to {_WEEKS:g}, and at most {_CANDIDATES} of them.",
        )
    return tuple(found)

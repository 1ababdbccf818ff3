"""Covariates that were not measured in a subject: what is put in their place, and that it was."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from popk.dataset.checks_subjects import must_be_positive
from popk.dataset.records import Records
from popk.errors import SettingError
from popk.units import Units

__all__ = ["MEDIAN", "MODE", "MODEL", "Imputed", "check_missing", "impute"]

MEDIAN = "median"
MODE = "mode"
MODEL = "model"


@dataclass(frozen=True, slots=True)
class Imputed:
    """A value that stands in for one that is missing in all records of a subject.

    ``rule`` is ``"median"`` or ``"mode"`` (of the subjects' first known values), ``"constant"``, or
    ``"model"``: then nothing stands in (``value`` is None, the table has NaN), and a model
    estimates it.
    """

    id: str
    column: str
    value: float | None
    rule: str


def check_missing(
    missing: Mapping[str, str | float] | None, units: Units
) -> dict[str, str | float]:
    """The rule for each covariate, once it is certain that it is one.

    Raises
    ------
    SettingError
        With what was given, and what is known.
    """
    if missing is None:
        return {}
    if not isinstance(missing, Mapping):
        raise SettingError(
            f'missing is {missing!r}; give a mapping such as {{"WT": "median", "ALB": 40.0}}.'
        )
    covariates = [name for name, _ in units.covariates]
    for name, rule in missing.items():
        if name not in covariates:
            raise SettingError(
                f"missing names {name}, which is not a covariate declared in units; these are "
                f"{', '.join(covariates) or 'none'}."
            )
        number = isinstance(rule, int | float | np.number) and not isinstance(rule, bool)
        named = rule in (MEDIAN, MODE, MODEL)
        if not named and not (number and math.isfinite(float(rule))):
            raise SettingError(
                f'missing says {rule!r} for {name}; expected "median" (of the subjects whose value '
                'is known), "mode" (the most frequent of them, for categories), "model" (a model '
                "with the latent covariate estimates it) or a number in its unit."
            )
        if not named and must_be_positive(units, name) and float(rule) <= 0:
            raise SettingError(
                f"missing says {rule!r} for {name} ({units.covariate(name)}); it must be positive."
            )
    return {n: r if isinstance(r, str) else float(r) for n, r in missing.items()}


def impute(records: Records, missing: Mapping[str, str | float]) -> tuple[Imputed, ...]:
    """Fill the covariates of subjects of whom nothing is known, and warn of each.

    What is left to a model stays NaN, no longer counted as missing. A subject whose value is known
    at some records is left to the carry rule.
    """
    found: list[Imputed] = []
    for name, rule in missing.items():
        column, unit = records[name], records.units.covariate(name)
        subjects = records.subjects()
        blank = {s: places for s, places in subjects.items() if column.missing[places].all()}
        usable = column.usable
        known = [
            column.values[places[usable[places]][0]]
            for places in subjects.values()
            if usable[places].any()
        ]
        if not blank or not column.given:
            continue
        if rule in (MEDIAN, MODE) and not known:
            records.problems.error(
                f"{name} is missing in every record of every subject: there is no {rule}.",
                f"Give a number in {unit} with missing, or leave {name} out.",
                column=name,
            )
            continue
        if rule == MODEL:
            found += _left_to_model(records, name, blank)
            continue
        value, source = _value(rule, known)
        shown = f"{value:g}" if unit == "1" else f"{value:g} {unit}"
        for subject, places in blank.items():
            column.values[places] = value
            column.missing[places] = False
            count = f"all {len(places)} records" if len(places) > 1 else "the only record"
            records.problems.warn(
                f"{name} is missing in {count} of the subject; {shown}, {source}, stands in its "
                "place.",
                "Give the value if it was measured.",
                row=records.rows[int(places[0])],
                id=subject,
                column=name,
            )
            how = rule if isinstance(rule, str) else "constant"
            found.append(Imputed(subject, name, value, how))
    return tuple(found)


def _value(rule: str | float, known: list[float]) -> tuple[float, str]:
    """What stands in by a rule other than the model's, and in words what that is."""
    if not isinstance(rule, str):
        return float(rule), "the constant given with missing"
    of = f"of the {len(known)} subjects whose first value is known"
    if rule == MEDIAN:
        return float(np.median(known)), f"the median {of}"
    values, counts = np.unique(known, return_counts=True)
    often = values[counts == counts.max()]
    if len(often) == 1:
        return float(often[0]), f"the most frequent value ({counts.max()} {of})"
    which = f"the lowest of the {len(often)} most frequent values"
    return float(often[0]), f"{which} ({counts.max()} {of} for each)"


def _left_to_model(
    records: Records, name: str, blank: Mapping[str, npt.NDArray[np.int64]]
) -> Iterator[Imputed]:
    """Nothing is put in the place of what a model is to estimate."""
    for subject, places in blank.items():
        records[name].missing[places] = False
        count = f"all {len(places)} records" if len(places) > 1 else "the only record"
        records.problems.warn(
            f"{name} is missing in {count} of the subject; it is left to the model.",
            f"Use a model with the latent covariate {name}, or give the value if it was measured.",
            row=records.rows[int(places[0])],
            id=subject,
            column=name,
        )
        yield Imputed(subject, name, None, MODEL)

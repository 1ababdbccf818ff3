"""Checks of what an observation may say: DV, MDV, CENS, LLOQ and ULOQ."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from popk.dataset.records import Records

__all__ = ["check_observations"]


class _Side(NamedTuple):
    """A limit of quantification: its CENS, column and name, and where censored values lie."""

    code: int
    column: str
    name: str
    right: str
    wrong: str


_SIDES = (
    _Side(1, "LLOQ", "limit of quantification", "below", "above"),
    _Side(-1, "ULOQ", "upper limit of quantification", "above", "below"),
)


def check_observations(records: Records, *, log_dv: bool = False, whole: bool = True) -> None:
    """Report everything wrong in the observation columns to ``records.problems``.

    With `log_dv`, DV is still the natural logarithm here. A part of a table (not `whole`) may be
    without observations.
    """
    _check_dv(records, log_dv)
    for side in _SIDES:
        _check_limit(records, log_dv, side)
    _check_limits_together(records)
    _check_ignored(records)
    if whole:
        _check_presence(records)


def _check_dv(records: Records, log_dv: bool) -> None:
    dv, unit = records["DV"], records.units.concentration
    measured = records.is_observation & (records["CENS"].filled(0) == 0) & ~records["CENS"].bad
    records.flag(
        measured & dv.missing,
        "DV",
        "is missing on an observation (EVID 0, MDV 0).",
        remedy="Give the concentration, set MDV to 1, or mark it as beyond a limit with CENS.",
    )
    if log_dv:
        with np.errstate(over="ignore"):
            huge = np.isinf(np.exp(dv.values))
        records.flag(
            records.is_observation & huge,
            "DV",
            "is {value}; as a natural logarithm it is no finite concentration.",
            remedy="Leave log_dv out if DV holds concentrations.",
        )
        return
    records.flag(
        records.is_observation & (dv.values < 0),
        "DV",
        "is {value}; a concentration cannot be negative.",
        remedy=f"Give concentrations in {unit}; pass log_dv=True if DV holds natural logarithms.",
    )
    records.flag(
        measured & (dv.values == 0),
        "DV",
        "is 0 on a measured observation.",
        remedy="A concentration of exactly 0 has no probability under a proportional or "
        "log-normal error; if it was below the limit of quantification, set CENS 1 and LLOQ.",
        severity="warning",
    )


def _check_limit(records: Records, log_dv: bool, side: _Side) -> None:
    dv, limit = records["DV"], records[side.column]
    censored = records.is_observation & (records["CENS"].values == side.code)
    unit = records.units.concentration
    records.flag(
        limit.usable & (limit.values <= 0),
        side.column,
        f"is {{value}}; the {side.name} must be positive.",
        remedy=f"Give it as a concentration in {unit} (not as a logarithm), or leave it empty.",
    )
    if not limit.given:
        # Monolix's convention: without a limit column DV is the limit on a censored record.
        no_limit = dv.missing if log_dv else dv.missing | (dv.filled(1) == 0)
        records.flag(
            censored & no_limit,
            "DV",
            f"is {{value}} on a record with CENS {side.code}, and the table has no {side.column} "
            "column.",
            remedy=f"Add the column {side.column} with the limit in {unit}, or write the limit "
            "into DV.",
        )
        return
    records.flag(
        censored & limit.missing,
        side.column,
        f"is missing on a record with CENS {side.code}.",
        remedy=f"Give the {side.name} in {unit}.",
    )
    with np.errstate(over="ignore"):
        natural = np.exp(dv.values) if log_dv else dv.values
    positive = limit.filled(0) > 0
    # Seen from below both limits: a value is beyond its limit where `beyond` is above zero.
    beyond = side.code * (limit.values - natural)
    records.flag(
        censored & positive & (beyond < -1e-6 * limit.values),
        "DV",
        f"is {{value}}, {side.wrong} the {side.column} of its record, though CENS is {side.code}; "
        f"it is used as {side.right} the {side.column}.",
        remedy=f"Set CENS to 0 if the value was measured, or correct DV or {side.column}.",
        severity="warning",
    )
    measured = records.is_observation & (records["CENS"].filled(0) == 0)
    records.flag(
        measured & positive & (beyond > 0) & (natural > 0),
        "DV",
        f"is {{value}}, {side.right} the {side.column} of its record, though CENS is not "
        f"{side.code}; it is used as measured.",
        remedy=f"Set CENS to {side.code} to use it as censored.",
        severity="warning",
    )


def _check_limits_together(records: Records) -> None:
    lower, upper = records["LLOQ"], records["ULOQ"]
    records.flag(
        lower.usable & (upper.filled(0) > 0) & (upper.values <= lower.values),
        "ULOQ",
        "is {value}, not above the LLOQ of its record.",
        remedy="Correct ULOQ or LLOQ.",
    )


def _check_ignored(records: Records) -> None:
    dv, mdv, cens = records["DV"], records["MDV"], records["CENS"]
    event = records["EVID"].usable & (records["EVID"].values != 0)
    # 0 is the usual filler of this column on dose records.
    filler = dv.filled(0) == 0
    records.flag(
        event & ~filler,
        "DV",
        "is {value} on a record whose EVID is not 0; it is ignored there.",
        remedy="Give the observation a record of its own with EVID 0 and MDV 0.",
        severity="warning",
    )
    left_out = (records["EVID"].values == 0) & (mdv.values == 1)
    records.flag(
        left_out & ~filler,
        "DV",
        "is {value} on a record with MDV 1; it is left out.",
        remedy="Set MDV to 0 if it is an observation.",
        severity="warning",
    )
    records.flag(
        event & (mdv.values == 0),
        "MDV",
        "is 0 on a record whose EVID is not 0; it is taken as 1.",
        remedy="An observation needs a record of its own with EVID 0.",
        severity="warning",
    )
    records.flag(
        ~records.is_observation & (cens.filled(0) != 0) & records["EVID"].usable & ~mdv.bad,
        "CENS",
        "is {value} on a record that is no observation; it is ignored there.",
        remedy="Write 0 where there is no observation.",
        severity="warning",
    )


def _check_presence(records: Records) -> None:
    problems = records.problems
    if records["EVID"].bad.any() or records["MDV"].bad.any():
        return
    observed = records.is_observation
    if not observed.any():
        problems.error(
            "The table has no observation (a record with EVID 0 and MDV 0).",
            "Add the measured concentrations.",
        )
    elif records.is_censored.sum() == observed.sum():
        problems.warn(
            "Every observation is BLQ (CENS 1): the data bound the concentrations from above only.",
            "Check CENS and LLOQ.",
            column="CENS",
        )

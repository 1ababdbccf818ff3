"""One patient's part of an advice, and what the sheet asks of it beyond the advice."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property
from typing import Any, Literal

import numpy as np
import xarray as xr

from popk.dataset import Dataset
from popk.decision import Visits, interval_for_trough, slipped_visit
from popk.errors import SettingError
from popk.individual import Trough
from popk.monitoring import Finding, from_json
from popk.reporting.material import ReportError

__all__ = ["AVERAGED", "Case", "Further", "case_of", "further_of"]

type State = Literal["", "widened", "withheld"]

ADVICE, AVERAGED = "popk advice", "popk averaged advice"
_LATE = 7  # days that a visit may slip on the sheet


@dataclass(frozen=True, eq=False)
class Case:
    """One patient of an advice.

    ``advice`` holds this patient alone; ``own`` is its ``decision``, ``records`` its data. ``fits``
    are those that the advice rests on. ``last_dose`` is the day of the last recorded dose, where
    known.
    """

    fits: tuple[xr.DataTree, ...]
    advice: xr.DataTree
    last_dose: date | None

    @cached_property
    def own(self) -> xr.Dataset:
        """The patient's decision, without the dimension of patients."""
        return self.advice["decision"].to_dataset().isel(subject=0)

    @property
    def records(self) -> xr.Dataset:
        """Doses and samples."""
        return self.advice["data"].to_dataset()

    @property
    def subject(self) -> str:
        """ID."""
        return str(self.own["subject"].values)

    @property
    def units(self) -> Mapping[str, str]:
        """Units of time, amount, concentration and covariates."""
        found: Mapping[str, str] = json.loads(self.advice.attrs["units"])
        return found

    @property
    def target(self) -> Trough:
        """The trough to hold."""
        attrs = self.advice.attrs
        return Trough(float(attrs["target"]), str(attrs["target_units"]))

    @property
    def asked(self) -> float:
        """The probability to hold it with."""
        return float(self.advice.attrs["probability"])

    @property
    def checked(self) -> bool:
        """Whether anybody looked for what speaks against the advice."""
        return "findings" in self.own.coords

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What speaks against it, the gravest first."""
        return from_json(str(self.own["findings"].values)) if self.checked else ()

    @property
    def state(self) -> State:
        """Withheld (also where the computation is not reliable), widened, or neither."""
        own = self.own
        if not int(own["reliable"]) or (self.checked and int(own["withheld"])):
            return "withheld"
        return "widened" if self.checked and int(own["widened"]) else ""

    @property
    def longest(self) -> float:
        """The advised interval in weeks; NaN where there is none."""
        return float("nan") if self.state == "withheld" else float(self.own["longest"])

    @property
    def averaged(self) -> tuple[Mapping[str, Any], ...]:
        """The models behind an averaged advice with their weights; empty otherwise."""
        if self.advice.attrs["kind"] != AVERAGED:
            return ()
        listed = json.loads(self.advice.attrs["averaged"])
        weights = self.own["model_weight"].values.tolist()
        return tuple({**one, "weight": w} for one, w in zip(listed, weights, strict=True))

    def day(self, weeks: float) -> str:
        """The date so many weeks after the last dose; empty where that is not known."""
        if self.last_dose is None or np.isnan(weeks):
            return ""
        return (self.last_dose + timedelta(days=round(7 * weeks))).isoformat()

    def day_of(self, time: float) -> str:
        """The date of a time in the data; empty where it is not known."""
        since = time - float(self.own["last_dose_time"])
        return self.day(since / float(self.advice.attrs["time_per_week"]))


@dataclass(frozen=True, eq=False)
class Further:
    """What is computed for the sheet: days under the target by week, and a visit that slips.

    ``why_not`` says in a sentence why it was not; empty where it was.
    """

    under: Mapping[float, float]
    slip: str = ""
    why_not: str = ""


def case_of(
    fit: xr.DataTree | Sequence[xr.DataTree],
    advice: xr.DataTree,
    subject: object,
    last_dose: date | str | None,
) -> Case:
    """One patient's part, once it is certain that everything belongs together.

    Raises
    ------
    ReportError
        When it does not, or there is no such patient.
    """
    fits = (fit,) if isinstance(fit, xr.DataTree) else tuple(fit)
    kind = advice.attrs.get("kind") if isinstance(advice, xr.DataTree) else None
    if kind not in (ADVICE, AVERAGED):
        raise ReportError(
            "The advice is not the result of popk.individualise or popk.averaged_advice."
        )
    for one in fits:
        if not isinstance(one, xr.DataTree) or one.attrs.get("kind") != "popk fit":
            raise ReportError("The first argument is not a fit made by popk.sample.")
    _check_fits(fits, advice)
    held = advice["decision"].to_dataset()["subject"].values.astype(str).tolist()
    who = str(subject)
    if who not in held:
        some = ", ".join(held[:10]) + (f" and {len(held) - 10} more" if len(held) > 10 else "")
        raise ReportError(f"There is no patient {who} in the advice; it holds {some}.")
    return Case(fits, _alone(advice, who), _day(last_dose))


def _check_fits(fits: Sequence[xr.DataTree], advice: xr.DataTree) -> None:
    """Refuse fits that are not those of the advice."""
    attrs = advice.attrs
    if attrs["kind"] == AVERAGED:
        rests = json.loads(attrs["averaged"])
        wanted = [(one["fit_model_hash"], one["fit_data_hash"]) for one in rests]
    else:
        wanted = [(attrs["fit_model_hash"], attrs["fit_data_hash"])]
    given = [(fit.attrs["model_hash"], fit.attrs["data_hash"]) for fit in fits]
    if given != wanted:
        listed = ", ".join(f"model {model[:12]} on data {data[:12]}" for model, data in wanted)
        shown = ", ".join(f"model {model[:12]} on data {data[:12]}" for model, data in given)
        raise ReportError(
            f"The advice was made from another fit than was given: it rests on {listed}; given "
            f"was {shown}. Give the fit that it was made from"
            + (", one for each model in the order of the advice." if len(wanted) > 1 else ".")
        )


def _alone(advice: xr.DataTree, subject: str) -> xr.DataTree:
    """The advice of one patient."""
    groups = {}
    for name, node in advice.children.items():
        table = node.to_dataset()
        if name == "data":
            table = Dataset.from_xarray(table).select([subject]).to_xarray()
        elif "subject" in table.dims:
            at = table["subject"].values.astype(str).tolist().index(subject)
            table = table.isel(subject=[at])
        groups[name] = table
    tree = xr.DataTree.from_dict(groups)
    tree.attrs = dict(advice.attrs)
    return tree


def _day(given: date | str | None) -> date | None:
    if given is None or isinstance(given, date):
        return given
    try:
        return date.fromisoformat(given)
    except ValueError:
        raise ReportError(
            f"last_dose is {given!r}, which is no date; write it as 2026-05-04."
        ) from None


def further_of(case: Case) -> Further:
    """Days under the target at each candidate, and what becomes of a visit that slips."""
    if case.state == "withheld":
        return Further({}, why_not="Not computed, as the advice is withheld.")
    if case.averaged:
        return Further({}, why_not="Not computed for an average of several models.")
    weeks = case.own["week"].values.astype(float)
    try:
        found = interval_for_trough(
            case.fits[0], case.advice, target=case.target, probability=case.asked,
            visits=Visits(weeks.tolist()),
        )["decision"].to_dataset()  # fmt: skip
    except SettingError as fault:
        return Further({}, why_not=f"Not computed. {fault}")
    under = dict(zip(weeks.tolist(), found["under"].values[0].tolist(), strict=True))
    if case.state == "widened":
        return Further(under, why_not="Not computed, as the advice is widened.")
    if np.isnan(case.longest):
        return Further(under, why_not="Not computed, as no candidate interval holds the target.")
    slip = slipped_visit(
        case.fits[0], case.advice, target=case.target, week=case.longest, days=_LATE,
        probability=case.asked,
    )  # fmt: skip
    return Further(under, str(slip["decision"].to_dataset()["words"].values[0]))

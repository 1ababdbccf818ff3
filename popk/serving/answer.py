"""What the page shows of an advice, as plain values; where it is withheld, no probability."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from popk.individual.advice import STATEMENT
from popk.reporting.bedside.case import Case, Further
from popk.reporting.bedside.tables import candidate_table, covariates, dose_lines, sample_table
from popk.reporting.bedside.words import (
    assumptions,
    curve_alt,
    headline,
    model_lines,
    provenance,
    state_note,
)
from popk.reporting.table import Table
from popk.serving.places import on_page
from popk.serving.study import Advised, Study

__all__ = ["answer_of"]

_DIGITS = 6  # of a trough that is sent to be judged by another target


def answer_of(study: Study, found: Advised) -> dict[str, Any]:
    """All that the page shows.

    Parameters
    ----------
    study
        The fit.
    found
        The advice.

    Returns
    -------
    ``state`` is ``""``, ``"widened"`` or ``"withheld"``; ``not_final`` says in a sentence that the
    fit has not converged (empty where it has). ``draws`` (week, sample) are the troughs, rounded to
    6 digits, so that another target can be judged at once, and of widened advice those before;
    they, ``candidates``, ``probability_by_week`` and ``curve`` are None where it is withheld.
    """
    case, entered = found.case, found.entered
    usable = case.state != "withheld"
    said, not_final = headline(case), _final_words(study)

    def placed(text: str) -> str:
        own = text.replace("this sheet", "this page")
        return on_page(own, entered, found.recorded, study.needs)

    warnings = [placed(one.message) for one in found.recorded.dataset.warnings]
    return {
        "state": case.state,
        "label": "NOT FINAL" if not_final and usable else said.label,
        "title": said.title,
        "sentences": [placed(text) for text in said.sentences],
        "basis": said.basis,
        "not_final": not_final,
        "notes": [*_late(found), *warnings],
        "findings": _findings_of(study, found),
        "state_note": state_note(case),
        "longest": _number(case.longest),
        "target": entered.target,
        "asked": entered.probability,
        "candidates": _candidates(case, final=not not_final) if usable else None,
        "probability_by_week": _by_week(case) if usable else None,
        "draws": _draws(case) if usable else None,
        "curve": _curve(case) if usable else None,
        "curve_words": placed(curve_alt(case)),
        "origin": None if entered.origin is None else entered.origin.isoformat(timespec="minutes"),
        "given": [one.time + k * one.every for one in entered.doses for k in range(one.more + 1)],
        "samples": _samples(found),
        "doses": list(dose_lines(case)),
        "sample_table": _table(sample_table(case)),
        "covariates": covariates(case),
        "units": {"time": case.units["time"], "concentration": case.units["concentration"]},
        "assumptions": list(assumptions(case)),
        "model": [line for fit in case.fits for line in model_lines(case, fit)],
        "verdict": str(study.verdict),
        "provenance": provenance(case, f"{entered.now:%Y-%m-%d}").replace("Sheet made", "Made"),
        "statement": STATEMENT,
        "seconds": round(float(case.advice.attrs["seconds"]), 3),
    }


def _final_words(study: Study) -> str:
    """Why the fit's numbers are not final, in a sentence; empty where it has converged."""
    verdict = study.verdict
    if verdict.converged:
        return ""
    return " ".join(
        [f"The fit did not converge ({verdict.headline}): nothing here is a final result.",
         *verdict.failures]
    )  # fmt: skip


def _findings_of(study: Study, found: Advised) -> list[dict[str, Any]]:
    """What speaks against the advice, the gravest first."""
    return [
        {
            "severity": one.severity, "name": one.name, "probability": _number(one.probability),
            "sentence": on_page(one.sentence, found.entered, found.recorded, study.needs),
        }
        for one in found.case.findings
    ]  # fmt: skip


def _late(found: Advised) -> list[str]:
    """That the advised day has passed."""
    case, today = found.case, found.entered.now.date()
    if case.last_dose is None or case.state == "withheld":
        return []
    held = not math.isnan(case.longest)
    weeks = case.longest if held else min(found.entered.weeks)
    day = case.last_dose + timedelta(days=round(7 * weeks))
    if day >= today:
        return []
    since = (today - case.last_dose).days
    which = "advised day" if held else "day of the shortest candidate"
    return [
        f"The {which}, {day.isoformat()}, has passed: the last dose entered was given "
        f"{since} days ago. Check that no dose is missing."
    ]


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _numbers(values: NDArray[np.float64], digits: int = 5) -> list[Any]:
    """Nested lists, rounded to significant digits, None for what is no number."""
    if values.ndim > 1:
        return [_numbers(row, digits) for row in values]
    return [float(f"{v:.{digits}g}") if math.isfinite(v) else None for v in values.tolist()]


def _table(table: Table | None) -> dict[str, Any] | None:
    if table is None:
        return None
    return {
        "title": table.title, "headers": list(table.headers), "note": table.note,
        "rows": [[cell.text for cell in row] for row in table.rows],
        "marked": [row[0].mark == "yes" for row in table.rows],
    }  # fmt: skip


def _candidates(case: Case, *, final: bool) -> dict[str, Any] | None:
    """The candidates; of a fit that has not converged none is called advised."""
    found = _table(candidate_table(case, Further({})))
    if found is not None and not final:
        found["rows"] = [[*row[:-1], row[-1].replace("advised", "not final")]
                         for row in found["rows"]]  # fmt: skip
        found["marked"] = [False] * len(found["rows"])
    return found


def _by_week(case: Case) -> dict[str, Any]:
    own = case.own
    names = {"weeks": "week", "probability": "probability", "error": "mcse",
             "sustained": "probability_sustained", "trough": "trough_median",
             "low": "trough_low", "high": "trough_high"}  # fmt: skip
    return {key: _numbers(own[name].values.astype(float), 8) for key, name in names.items()}


def _draws(case: Case) -> dict[str, Any]:
    posterior = case.advice["posterior"].to_dataset().isel(subject=0)
    names = {"troughs": "troughs", "before": "troughs_unwidened"}
    held = {key: name for key, name in names.items() if name in posterior}
    if case.state != "widened":
        held.pop("before", None)
    return {
        key: _numbers(posterior[name].transpose("week", "sample").values, _DIGITS)
        for key, name in held.items()
    }


def _curve(case: Case) -> dict[str, Any]:
    curve = case.advice["curve"].to_dataset().isel(subject=0)
    curve = curve.isel(point=np.isfinite(curve["time"].values))
    return {name: _numbers(curve[name].values) for name in ("time", "low", "median", "high")}


def _samples(found: Advised) -> list[dict[str, Any]]:
    return [
        {"time": one.time, "value": one.limit if one.below else one.value, "below": one.below}
        for one in sorted(found.entered.samples, key=lambda one: one.time)
    ]

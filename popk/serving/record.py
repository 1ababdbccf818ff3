"""The record of an answer, to download: inputs, results, versions, hashes."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from popk.individual.advice import STATEMENT
from popk.serving.answer import answer_of
from popk.serving.study import Advised, Study

__all__ = ["record_csv", "record_of"]

_KIND = "popk dosing record"
_OF_FIT = ("model_name", "model_hash", "data_hash", "seed", "created", "popk_version")
_OF_ANSWER = ("label", "title", "sentences", "basis", "notes", "findings", "not_final")
_BY_WEEK = {
    "weeks": "week", "probability": "probability", "probability_monte_carlo_error": "mcse",
    "probability_sustained": "probability_sustained", "trough_median": "trough_median",
    "trough_low": "trough_low", "trough_high": "trough_high",
}  # fmt: skip


def record_of(study: Study, found: Advised, form: Mapping[str, Any]) -> dict[str, Any]:
    """The record as plain values; ``sha256`` is that of the rest.

    Probabilities are left out where the advice is withheld. ``sha256`` is of all other fields, as
    JSON with sorted keys, no blanks after separators and characters as they are, in UTF-8.

    Parameters
    ----------
    study, found
        The fit, and the advice.
    form
        The form as it was entered.
    """
    case, attrs, said = found.case, found.case.advice.attrs, answer_of(study, found)
    content: dict[str, Any] = {
        "kind": _KIND,
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {name: version(name) for name in ("popk", "numpy", "scipy", "xarray")},
        "fit": {
            **{name: _plain(study.fit.attrs[name]) for name in _OF_FIT},
            "verdict": study.verdict.headline, "converged": study.verdict.converged,
        },
        "input": {name: value for name, value in form.items() if name != "now"},
        "events": _events(found),
        "units": dict(case.units),
        "patient_data_hash": str(case.advice["data"].attrs["fingerprint"]),
        "seed": int(attrs["seed"]),
        "result": {
            "state": case.state or "advised",
            **{name: said[name] for name in _OF_ANSWER},
            "longest_weeks": said["longest"],
            "target": f"trough >= {case.target.words}",
            "asked_probability": case.asked,
            "by_week": None if case.state == "withheld" else _weeks(found),
        },
        "statement": STATEMENT,
    }  # fmt: skip
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return {**content, "sha256": hashlib.sha256(text.encode()).hexdigest()}


def record_csv(record: Mapping[str, Any]) -> str:
    """The record as a table: a line for each value, named by the way to it.

    Columns ``name`` (``result.by_week.0.probability``) and ``value``.
    """
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\r\n")
    writer.writerow(("name", "value"))
    writer.writerows((name, _cell(value)) for name, value in _lines(record, ""))
    return file.getvalue()


def _cell(value: Any) -> str:
    """A value as text that no spreadsheet takes for a formula."""
    if value is None or isinstance(value, bool | int | float):
        return "" if value is None else str(value)
    text = str(value)
    return f"'{text}" if text[:1] in "=+-@\t\r" and text[:1] else text


def _lines(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Leaves of nested values, in order."""
    if isinstance(value, Mapping):
        pairs = [(str(key), part) for key, part in value.items()]
    elif isinstance(value, list):
        pairs = [(str(k), part) for k, part in enumerate(value)]
    else:
        yield name, value
        return
    for key, part in pairs:
        yield from _lines(part, f"{name}.{key}" if name else key)


def _events(found: Advised) -> list[dict[str, Any]]:
    """The records that popk read."""
    table = found.recorded.dataset.table
    names = [str(name) for name in table.data_vars]
    columns = (table[name].values.tolist() for name in names)
    return [
        {name: _known(value) for name, value in zip(names, row, strict=True)}
        for row in zip(*columns, strict=True)
    ]


def _weeks(found: Advised) -> list[dict[str, Any]]:
    own = found.case.own
    values = {key: own[name].values.astype(float).tolist() for key, name in _BY_WEEK.items()}
    return [
        {key: _known(value) for key, value in zip(values, row, strict=True)}
        for row in zip(*values.values(), strict=True)
    ]


def _known(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value

"""What speaks against trusting a patient's advice."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass

import pandas as pd
import xarray as xr

from popk.errors import PopkError

__all__ = ["NAMES", "SEVERITIES", "Finding", "MonitoringError", "findings", "from_json", "to_json"]

# From what is only said to what withholds the advice.
SEVERITIES = ("note", "widened", "withheld")

NAMES = (
    "antibodies",
    "below quantification",
    "below the target",
    "clearance changed",
    "computation",
    "contradiction",
    "covariate range",
    "dose range",
    "history",
    "sample time",
    "surprising observation",
    "too little information",
    "units",
    "unlike the population",
)


class MonitoringError(PopkError):
    """A tree that holds no findings."""


@dataclass(frozen=True)
class Finding:
    """One thing that speaks against trusting a patient's advice.

    Parameters
    ----------
    name
        One of `NAMES`.
    severity
        ``note`` (it is said), ``widened`` (the probabilities allow for it) or ``withheld`` (there
        is no advised interval).
    sentence
        What, where, how surprising, what to do.
    probability
        Of the finding or of data as extreme, as the sentence says; NaN where there is none.
    """

    name: str
    severity: str
    sentence: str
    probability: float = float("nan")

    def __post_init__(self) -> None:
        if self.name not in NAMES or self.severity not in SEVERITIES:
            raise ValueError(f"{self.name!r} or {self.severity!r} is not known.")


def to_json(found: Iterable[Finding]) -> str:
    """Findings as text, the gravest first."""
    ordered = sorted(found, key=lambda one: -SEVERITIES.index(one.severity))
    plain = [asdict(one) for one in ordered]
    for one in plain:
        one["probability"] = (
            None if one["probability"] != one["probability"] else one["probability"]
        )
    return json.dumps(plain)


def from_json(text: str) -> tuple[Finding, ...]:
    """The findings that `to_json` wrote."""
    return tuple(
        Finding(**one | {"probability": float("nan") if one["probability"] is None else
                         one["probability"]})
        for one in json.loads(text)
    )  # fmt: skip


def findings(advice: xr.DataTree) -> pd.DataFrame:
    """What speaks against trusting each patient's advice, one row per finding.

    Parameters
    ----------
    advice
        From `popk.individualise`.

    Returns
    -------
    Columns ID, severity, name, probability, sentence; the gravest first within a patient; no row
    for a patient of whom nothing is said.

    Raises
    ------
    MonitoringError
        When the tree holds no findings.
    """
    if "decision" not in advice.children or "findings" not in advice["decision"].coords:
        raise MonitoringError(
            "There are no findings here; give what popk.individualise returned (advice of an older "
            "popk has none: make it anew)."
        )
    decision = advice["decision"].to_dataset()
    texts = decision["findings"].values.astype(str).tolist()
    rows = [
        (str(subject), one.severity, one.name, one.probability, one.sentence)
        for subject, text in zip(decision["subject"].values.tolist(), texts, strict=True)
        for one in from_json(text)
    ]
    return pd.DataFrame(rows, columns=["ID", "severity", "name", "probability", "sentence"])

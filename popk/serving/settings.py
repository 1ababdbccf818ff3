"""What the page begins with: what it asks for, in which units, and starting values."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from popk.errors import SettingError
from popk.serving.access import Access
from popk.serving.bodies import LIMIT
from popk.serving.needs import Covariate
from popk.serving.rows import MOST_DOSES, MOST_SAMPLES
from popk.serving.study import Study

__all__ = ["Question", "settings_of"]

_WORDS = {"d": "days", "h": "hours", "wk": "weeks", "min": "minutes", "mo": "months", "a": "years"}


@dataclass(frozen=True)
class Question:
    """What the page asks first; it can be changed there.

    Parameters
    ----------
    target
        Trough to hold, in the concentration unit of the fit; without it the first of the model's
        card, if that has one.
    probability
        Probability with which to hold it.
    weeks
        Candidate intervals, as ``"4:8"`` or ``"4,5,6"``.
    seed
        Seed of the random numbers.

    Raises
    ------
    SettingError
        When one makes no sense.
    """

    target: float | None = None
    probability: float = 0.9
    weeks: str = "4:8"
    seed: int = 1

    def __post_init__(self) -> None:
        if self.target is not None and not (math.isfinite(self.target) and self.target > 0):
            raise SettingError(f"The target is {self.target:g}; a trough target is above zero.")
        if not 0.01 <= self.probability <= 0.999:
            raise SettingError(
                f"The probability is {self.probability:g}; give one of 0.01 to 0.999, as 0.9."
            )


def settings_of(study: Study, question: Question, access: Access) -> dict[str, Any]:
    """All that the page's script needs to know; nothing of any patient."""
    needs, model = study.needs, study.prepared.model
    stated = model.card is not None and any(what == "trough" for what, *_ in model.card.targets)
    target = question.target or (needs.usual_target if stated else None)
    return {
        "model": model.name,
        "units": {
            "time": needs.units.time, "amount": needs.units.amount,
            "concentration": needs.units.concentration,
        },
        "time_words": _WORDS.get(needs.units.time, needs.units.time),
        "per_day": needs.per_day,
        "covariates": [_covariate(one) for one in needs.covariates],
        "codes": [
            {"name": one.name, "words": one.words, "choices": list(one.choices),
             "of_samples": one.of_samples}
            for one in needs.codes
        ],
        "usual_dose": needs.usual_dose,
        "targets": _targets(study),
        "highest_target": max(needs.highest_target, target or 0.0),
        "begin": {
            "target": "" if target is None else f"{target:g}",
            "probability": f"{100 * question.probability:g}",
            "weeks": question.weeks, "seed": str(question.seed),
        },
        "limits": {"doses": MOST_DOSES, "samples": MOST_SAMPLES, "bytes": LIMIT},
        "token": access.demanded,
        "key": access.storage_key(),
    }  # fmt: skip


def _covariate(one: Covariate) -> dict[str, Any]:
    return {
        "name": one.name, "words": one.words, "unit": "" if one.unit == "1" else one.unit,
        "choices": [f"{choice:g}" for choice in one.choices], "optional": one.optional,
        "usual": "" if math.isnan(one.usual) else f"{one.usual:g}",
    }  # fmt: skip


def _targets(study: Study) -> list[dict[str, Any]]:
    card = study.prepared.model.card
    if card is None:
        return []
    return [{"value": value, "source": source}
            for what, value, source in card.targets if what == "trough"]  # fmt: skip

"""What every answer carries: what it rests on, units, seed, hashes, the statement."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from popk.decision.measures import band
from popk.decision.standing import Patients, Standing
from popk.diagnostics import verdict_of
from popk.errors import SettingError
from popk.individual.advice import STATEMENT
from popk.population import model_of

__all__ = [
    "KIND",
    "about_patients",
    "answer",
    "asked",
    "bands",
    "basis_of",
    "decision_frame",
    "in_days",
    "in_percent",
    "names_of",
    "padded",
    "rests_on_population",
]

type Floats = NDArray[np.float64]
type Columns = dict[str, tuple[tuple[str, ...], Any, dict[str, str]]]

KIND = "popk answer"


def asked(probability: float) -> float:
    """A probability to hold.

    Raises
    ------
    SettingError
        When it is none.
    """
    if not 0 < probability < 1:
        raise SettingError(f"The probability is {probability!r}; give one between 0 and 1, as 0.9.")
    return float(probability)


def answer(
    patients: Patients,
    question: str,
    groups: Mapping[str, xr.Dataset],
    *,
    settings: Mapping[str, Any],
    noise: bool = False,
) -> xr.DataTree:
    """A result with all that must be known of it in its attributes.

    Parameters
    ----------
    patients
        Whom it is about.
    question
        In a few words.
    groups
        The tables.
    settings
        What was asked for: target, probability, ….
    noise
        Whether the result holds measured concentrations beside the true ones.
    """
    model, size = patients.model, patients.each[0].size
    tree = xr.DataTree.from_dict(dict(groups))
    tree.attrs = {
        **_common(patients.fit, patients.each[0].seed),
        "question": question,
        "patients_data_hash": patients.advice["data"].attrs["fingerprint"],
        "advice_seed": int(patients.advice.attrs["seed"]),
        "samples": size,
        "rests_on": (
            f"{size} draws of each patient's parameters, given the patient's data, under the model "
            f"{model.name} ({patients.fit.attrs['model_hash'][:12]}), the population's uncertainty "
            "included; covariates stay as at the last record; "
            + ("true concentrations and measured ones." if noise else "true concentrations.")
        ),
        **settings,
    }
    return tree


def rests_on_population(
    fit: xr.DataTree, seed: int, *, draws: int, people: int
) -> dict[str, str | float | int]:
    """Attributes of an answer about the population."""
    name, hashed = fit.attrs["model_name"], fit.attrs["model_hash"]
    return {
        **_common(fit, seed),
        "draws": draws,
        "people": people,
        "rests_on": (
            f"{draws} draws of the population parameters of the model {name} ({hashed[:12]}), and "
            f"{people} new people under each; true concentrations."
        ),
    }


def _common(fit: xr.DataTree, seed: int) -> dict[str, str | float | int]:
    model = model_of(fit)
    return {
        "kind": KIND,
        "popk_version": version("popk"),
        "model_name": model.name,
        "fit_model_hash": fit.attrs["model_hash"],
        "fit_data_hash": fit.attrs["data_hash"],
        "converged": int(verdict_of(fit).converged),
        "units": json.dumps(model.units.to_dict()),
        "time_per_week": model.units.time_in("wk"),
        "seed": int(seed),
        "statement": STATEMENT,
    }


def about_patients(patients: Patients) -> Columns:
    """Coordinates of every table by subject: may the result be used, and why not."""
    each = patients.each
    per_week = each[0].per_week
    interval = [one.present_interval / per_week for one in each]
    return {
        "reliable": (("subject",), [int(one.reliable) for one in each], {}),
        "note": (("subject",), [one.note for one in each], {}),
        "n_observations": (("subject",), [one.present.n_observations for one in each], {}),
        "present_interval": (("subject",), interval, {"units": "wk"}),
    }


def padded(rows: Sequence[Any], size: int, *, fill: Any = np.nan) -> NDArray[Any]:
    """Rows of different lengths as one array (n, size), filled up."""
    kind = object if isinstance(fill, str) else float
    found = np.full((len(rows), size), fill, dtype=kind)
    for k, row in enumerate(rows):
        found[k, : len(row)] = row
    return found.astype(str) if isinstance(fill, str) else found


def names_of(each: Sequence[Standing]) -> list[str]:
    """IDs."""
    return [one.subject for one in each]


def bands(name: str, values: Floats) -> dict[str, Floats]:
    """The 90 % interval and the median over the draws (first axis), by column."""
    ends = (f"{name}_low", f"{name}_median", f"{name}_high")
    return dict(zip(ends, band(values), strict=True))


def in_percent(probability: float) -> str:
    """A probability in per cent; never 0 or 100, as it was counted over draws."""
    if np.isnan(probability):
        return "not known"
    if probability < 0.01:
        return "below 1 %"
    return "above 99 %" if probability > 0.99 else f"{100 * probability:.0f} %"


def in_days(days: float) -> str:
    """Expected days, as finely as draws tell them."""
    if days < 0.1:
        return "less than 0.1 days"
    return f"{days:.1f} days" if days < 10 else f"{days:.0f} days"


def basis_of(standing: Standing) -> str:
    """How much of a patient's own data stands behind a sentence."""
    count = standing.present.n_observations
    return f"given {count} sample{'s' if count != 1 else ''}"


def decision_frame(result: xr.DataTree, group: str = "decision") -> pd.DataFrame:
    """A table of an answer as a data frame, one row for each candidate; units in ``.attrs``.

    The sentences of each patient are ``result["decision"]["words"]``.

    Parameters
    ----------
    result
        What a question of popk.decision returned.
    group
        Which of its tables.

    Raises
    ------
    SettingError
        When it is no such result, or has no such table.
    """
    if result.attrs.get("kind") != KIND:
        raise SettingError(
            f"This is not an answer of popk (its kind is {result.attrs.get('kind')!r}); give what "
            "popk.interval_for_trough, popk.transition_plan or another question returned."
        )
    if group not in result.children:
        raise SettingError(
            f"The answer has no table {group!r}; it has {', '.join(sorted(result.children))}."
        )
    table = result[group].to_dataset().drop_vars("words", errors="ignore")
    frame = table.to_dataframe().reset_index()
    if "week" in frame and "visit" in table.dims:
        frame = frame.dropna(subset="week").reset_index(drop=True)  # what only fills up
    frame.attrs["units"] = {
        str(name): table[name].attrs["units"]
        for name in table.variables
        if "units" in table[name].attrs
    }
    return frame

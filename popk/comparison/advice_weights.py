"""Weights of models in an average of their advice."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from popk.errors import SettingError

__all__ = ["ADVICE", "Weights", "weights_of"]

type Floats = NDArray[np.float64]
type Weights = Sequence[float] | xr.DataTree | Sequence[xr.DataTree]

ADVICE = "popk advice"
_NOTHING = 1e-6  # an optimised weight below this is zero


def weights_of(trees: Sequence[xr.DataTree], weights: Weights) -> Floats:
    """Weights (n_subjects, n_models), each row with the sum one.

    Raises
    ------
    SettingError
        When they are none, or not those of these models or patients.
    """
    n = trees[0]["decision"].sizes["subject"]
    if isinstance(weights, xr.DataTree):
        return np.tile(_compared(trees, weights), (n, 1))
    given = list(weights)
    if len(given) != len(trees):
        raise SettingError(
            f"averaged_advice was given {len(given)} weights for {len(trees)} advices; give one "
            "for each."
        )
    forecasts = [one for one in given if isinstance(one, xr.DataTree)]
    if forecasts:
        if len(forecasts) < len(given):
            raise SettingError("The weights are numbers and forecasts mixed; give one kind.")
        return _forecast(trees, forecasts)
    numbers = np.asarray(given, dtype=float)
    if not np.isfinite(numbers).all() or (numbers < 0).any() or numbers.sum() <= 0:
        raise SettingError(
            f"The weights are {given}; give numbers of zero or more, not all zero, as [0.7, 0.3]."
        )
    return np.tile(numbers / numbers.sum(), (n, 1))


def _compared(trees: Sequence[xr.DataTree], comparison: xr.DataTree) -> Floats:
    """Stacking weights, found by the models' fingerprints."""
    if comparison.attrs.get("kind") != "popk comparison":
        raise SettingError(
            "weights is no comparison; give numbers, what popk.compare returned, or what "
            "popk.evaluate_forecasts returned for each advice."
        )
    table = comparison["comparison"].to_dataset()
    stacking = dict(
        zip(table["model"].values.tolist(), table["stacking"].values.tolist(), strict=True)
    )
    hashes = json.loads(comparison.attrs["model_hashes"])
    names = []
    for at, tree in enumerate(trees, start=1):
        own = [name for name, value in hashes.items() if value == tree.attrs["fit_model_hash"]]
        if len(own) != 1 or tree.attrs["fit_data_hash"] != comparison.attrs["data_hash"]:
            raise SettingError(
                f"Advice {at} is of a fit that the comparison does not have (or more than once): "
                f"model {tree.attrs['fit_model_hash'][:12]} on data "
                f"{tree.attrs['fit_data_hash'][:12]}. Compare the fits that the advices were made "
                "from."
            )
        names += own
    if left := [name for name in stacking if name not in names and stacking[name] >= _NOTHING]:
        raise SettingError(
            f"The comparison has {', '.join(left)} too, which has weight but no advice. Give its "
            "advice as well, or compare without it."
        )
    found = np.array([stacking[name] for name in names])
    if not np.isfinite(found).all():
        raise SettingError(
            "The comparison has no weights, as a model gives some of the data no finite predictive "
            "density. Compare without it, or give numbers."
        )
    found = np.where(found < _NOTHING, 0.0, found)
    return np.asarray(found / found.sum())


def _forecast(trees: Sequence[xr.DataTree], forecasts: Sequence[xr.DataTree]) -> Floats:
    """Each patient's weights: the density of its observations, each given the earlier ones.

    Their product is the marginal likelihood of the patient's data (Dawid, JRSS A 147:278, 1984), so
    that these are posterior probabilities of the models that were alike before the data.
    """
    subjects = trees[0]["decision"].to_dataset()["subject"].values.astype(str).tolist()
    scores = np.zeros((len(subjects), len(trees)))
    observed = trees[0]["decision"].to_dataset()["n_observations"].values
    tables = [
        _forecasts_of(tree, result, m)
        for m, (tree, result) in enumerate(zip(trees, forecasts, strict=True), start=1)
    ]
    for k, subject in enumerate(subjects):
        for m, table in enumerate(tables):
            own = (table["ID"].values.astype(str) == subject) & (table["ahead"].values == 1)
            if int(own.sum()) != int(observed[k]):
                raise SettingError(
                    f"Of ID {subject} there are {int(observed[k])} observations in the advice, and "
                    f"forecasts of {int(own.sum())} in what was given as weight {m + 1}; evaluate "
                    "the patients of the advice, with all samples (most=None)."
                )
            scores[k, m] = table["log_score"].values[own].sum()
        if np.isnan(scores[k]).any() or not np.isfinite(scores[k]).any():
            raise SettingError(
                f"A model has no predictive density of the observations of ID {subject} (it leaves "
                "out what is below the LLOQ, or could not be computed), or none has a finite one: "
                "there are no weights; give numbers."
            )
    share = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(share / share.sum(axis=1, keepdims=True))


def _forecasts_of(tree: xr.DataTree, result: xr.DataTree, number: int) -> xr.Dataset:
    """The forecasts given for an advice, which must be of its fit."""
    if result.attrs.get("kind") != "popk forecasts":
        raise SettingError(f"Weight {number} is not the result of popk.evaluate_forecasts.")
    for what in ("model", "data"):
        if result.attrs[f"{what}_hash"] != tree.attrs[f"fit_{what}_hash"]:
            raise SettingError(
                f"The forecasts given as weight {number} are of another fit than advice {number}: "
                f"the {what} differs. Evaluate those of the advice's fit."
            )
    return result["forecasts"].to_dataset()

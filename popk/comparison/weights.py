"""Weights of models by what they predict: stacking, and pseudo-BMA+.

Yao, Vehtari, Simpson & Gelman, Bayesian Analysis 13:917 (2018); ArviZ computes them.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from arviz_stats import compare as compared_by_arviz
from arviz_stats.utils import ELPDDataLOO
from numpy.typing import NDArray

__all__ = ["METHODS", "model_weights"]

type Floats = NDArray[np.float64]

METHODS = ("stacking", "pseudo_bma_plus")


def model_weights(
    elpd: Floats, subject: NDArray[Any], names: Sequence[str]
) -> tuple[dict[str, Floats], list[str]]:
    """Weights of models, and what ArviZ says of them.

    Stacking weighs single predictions; the Bayesian bootstrap of pseudo-BMA+ is over subjects, as
    observations of one subject are not independent.

    Parameters
    ----------
    elpd
        Log predictive density of each model and prediction (n_models, n).
    subject
        The subject of each prediction (n).
    names
        Of the models.

    Returns
    -------
    By method, weights (n_models) that sum to one; NaN where a prediction is impossible under one of
    the models. And sentences.
    """
    if not np.isfinite(elpd).all():
        nowhere = np.full(len(names), np.nan)
        without = [n for n, own in zip(names, elpd, strict=True) if not np.isfinite(own).all()]
        note = (
            f"No weights: {', '.join(without)} gives some of the data no finite predictive density."
        )
        return dict.fromkeys(METHODS, nowhere), [note]
    _, place = np.unique(subject, return_inverse=True)
    sums = np.stack([np.bincount(place, weights=own) for own in elpd])
    notes: list[str] = []
    found = {
        "stacking": _weights(elpd, names, "stacking", notes),
        "pseudo_bma_plus": _weights(sums, names, "BB-pseudo-BMA", notes),
    }
    return found, list(dict.fromkeys(notes))


def _weights(elpd: Floats, names: Sequence[str], method: str, notes: list[str]) -> Floats:
    # Weights depend on differences alone; a patient's density itself may underflow.
    apart = elpd - elpd.max(axis=0)
    given = {
        name: ELPDDataLOO(
            elpd=float(own.sum()),
            se=float(np.sqrt(len(own) * own.var())),
            p=0.0,
            n_samples=0,
            n_data_points=len(own),
            scale="log",
            warning=False,
            good_k=0.7,
            elpd_i=xr.DataArray(own, dims="prediction"),
        )
        for name, own in zip(names, apart, strict=True)
    }
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        table = compared_by_arviz(given, method=method, round_to="none")
    notes += [str(one.message) for one in said]
    weight = np.asarray(table["weight"].loc[list(names)], dtype=float)
    return np.asarray(np.clip(weight, 0, None) / np.clip(weight, 0, None).sum())

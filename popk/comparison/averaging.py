"""Predictions of several models as one, each with its weight."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.metadata import version

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from popk.comparison.weights import METHODS
from popk.errors import SettingError
from popk.population import FitError, check_seed

__all__ = ["averaged"]

type Ints = NDArray[np.int64]


def averaged(
    comparison: xr.DataTree,
    predictions: Mapping[str, xr.DataTree],
    *,
    weights: str = "stacking",
    draws: int | None = None,
    seed: int,
) -> xr.DataTree:
    """The predictive distribution of several models together.

    A mixture: each draw is one of a model that is chosen by its weight, so that what the models
    disagree on widens the result.

    Parameters
    ----------
    comparison
        From `popk.compare`. It should ask the question of the predictions: weights by patient are
        for new patients, those by observation or future for patients of the fit.
    predictions
        From `popk.predict`, by the names of the comparison's models, all of the same data.
    weights
        ``"stacking"`` or ``"pseudo_bma_plus"``.
    draws
        Draws of the result; as many as the largest of the predictions has if None.
    seed
        Seed of the choice of draws.

    Returns
    -------
    DataTree with the group ``predictions``: ``IPRED`` and ``DV`` (chain, draw, observation) as
    `popk.predict` gives them, chain of length 1, with the coordinate ``model`` (draw). There are no
    parameters: models do not share them. ``attrs["weights"]`` (JSON).

    Raises
    ------
    FitError, SettingError
        When a model of the comparison has no prediction, they are of different data or in different
        units, or a setting makes no sense.
    """
    check_seed(seed)
    share = _shares(comparison, weights)
    parts = _parts(share, predictions)
    sizes = {name: part.sizes["sample"] for name, part in parts.items()}
    total = max(sizes.values()) if draws is None else draws
    if not float(total).is_integer() or total < 1:
        raise SettingError(f"averaged was given draws={draws!r}; expected 1 or more.")
    rng = np.random.default_rng(seed)
    names = list(share)
    # Systematic: a model's share of the draws is its weight, to one draw.
    turns = (np.arange(int(total)) + rng.random()) / int(total)
    which = np.searchsorted(np.cumsum(list(share.values())), turns).clip(0, len(names) - 1)
    chosen = {
        name: parts[name].isel(sample=_some(sizes[name], int((which == k).sum()), rng))
        for k, name in enumerate(names)
        if (which == k).any()
    }
    order = np.repeat(list(chosen), [part.sizes["sample"] for part in chosen.values()])
    mixed = {
        name: (
            ("chain", "draw", "observation"),
            np.concatenate([part[name].values for part in chosen.values()])[None],
            next(iter(parts.values()))[name].attrs,
        )
        for name in ("IPRED", "DV")
    }
    first = next(iter(parts.values()))
    coords = {n: c for n, c in first.coords.items() if c.dims == ("observation",)}
    table = xr.Dataset(
        mixed,
        coords={**coords, "chain": [0], "draw": np.arange(len(order)), "model": ("draw", order)},
    )
    tree = xr.DataTree.from_dict({"predictions": table})
    some = next(iter(predictions.values())).attrs
    tree.attrs = {
        "kind": "popk averaged prediction",
        "seed": seed,
        "weights": json.dumps(share),
        "weighted_by": weights,
        "unit": comparison.attrs["unit"],
        "predicted_data_hash": some["predicted_data_hash"],
        "units": some["units"],
        "popk_version": version("popk"),
    }
    return tree


def _shares(comparison: xr.DataTree, weights: str) -> dict[str, float]:
    if comparison.attrs.get("kind") != "popk comparison":
        raise FitError("The first argument is no comparison; give what popk.compare returned.")
    if weights not in METHODS:
        raise SettingError(
            f"weights is {weights!r}; expected one of {', '.join(map(repr, METHODS))}."
        )
    table = comparison["comparison"].to_dataset()
    share = dict(zip(table["model"].values.tolist(), table[weights].values.tolist(), strict=True))
    if not np.isfinite(list(share.values())).all():
        raise FitError(
            "The comparison has no weights, as a model gives some of the data no finite predictive "
            "density. Compare without it."
        )
    return share


def _parts(
    share: Mapping[str, float], predictions: Mapping[str, xr.DataTree]
) -> dict[str, xr.Dataset]:
    """The predictions (sample, observation) of each model of the comparison."""
    lacking = [name for name in share if name not in predictions]
    unknown = [name for name in predictions if name not in share]
    if lacking or unknown:
        wrong = f"no prediction of {', '.join(lacking)}" if lacking else ""
        more = f"{', '.join(unknown)}, not in the comparison" if unknown else ""
        raise FitError(
            f"averaged was given {' and '.join(filter(None, (wrong, more)))}. Give one for each of "
            f"{', '.join(share)}."
        )
    first = next(iter(share))
    for name in share:
        tree, other = predictions[name].attrs, predictions[first].attrs
        if tree.get("kind") != "popk prediction":
            raise FitError(f"{name} is no prediction; give what popk.predict returned.")
        for what, words in (("predicted_data_hash", "data"), ("units", "units")):
            if tree[what] != other[what]:
                raise FitError(
                    f"The predictions of {first} and {name} are of different {words}; predict the "
                    "same doses and times by every model."
                )
    stacked = {}
    for name in share:
        table = predictions[name]["predictions"].to_dataset()[["IPRED", "DV"]]
        flat = table.stack(sample=("chain", "draw"), create_index=False)
        stacked[name] = flat.transpose("sample", "observation")
    return stacked


def _some(size: int, wanted: int, rng: np.random.Generator) -> Ints:
    """So many indices below ``size``, each as often as any other, to one."""
    turns = (np.arange(wanted) + rng.random()) / wanted * size
    return np.asarray(turns, dtype=np.int64).clip(0, size - 1)

"""Advice of several models as one: each patient's probabilities averaged by the models' weights."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from popk.comparison.advice_weights import ADVICE, Weights, weights_of
from popk.errors import SettingError
from popk.individual.decision import longest_interval
from popk.monitoring import SEVERITIES, Finding, from_json, to_json

__all__ = ["averaged_advice"]

type Floats = NDArray[np.float64]

KIND = "popk averaged advice"
_QUANTILES = {"low": 0.05, "median": 0.5, "high": 0.95}
_CURVE_WORDS = (
    "The band is the widest of the models' 90 % bands, which holds that of their average, and the "
    "middle line the weighted geometric mean of their medians."
)


def averaged_advice(
    advices: Sequence[xr.DataTree],
    *,
    weights: Weights,
    seed: int = 1,
) -> xr.DataTree:
    """Advice for the same patients by several models, as one.

    A patient's trough is a mixture of what the models predict, so that what they disagree on widens
    the result: a probability is the weighted mean of the models' probabilities, exactly, and the
    longest interval is found anew from these (it may be none of theirs).

    Parameters
    ----------
    advices
        From `popk.individualise`, two or more: of the same patients, target, probability, weeks and
        units, each by a fit of another model (or of other data).
    weights
        How much each counts: numbers above zero or zero in the order of `advices`, made to sum to
        one; or a comparison (`popk.compare`, whose stacking weights are used; its fits are those of
        the advices); or one result of `popk.evaluate_forecasts` for each advice, of these patients:
        then each patient's own weights are proportional to the predictive density of its
        observations, each forecast from the earlier ones (equal for a patient without any). A few
        troughs can favour a model strongly by chance.
    seed
        Seed of the choice of the draws that are kept.

    Returns
    -------
    DataTree of the form of an advice, of the kind "popk averaged advice". ``decision`` has
    ``model_weight`` (subject, model), the means of ``probability`` and ``probability_sustained``,
    quantiles of the mixture's troughs, ``mcse`` of the mean, and the findings of all models that
    count, each naming its model; the gravest severity holds: withheld (or not reliable) in one is
    withheld, widened in one is widened. ``posterior`` holds ``troughs``, draws of the mixture, and
    the ``model`` (subject, sample) of each; there are no parameters, as models do not share them.
    ``curve`` is the envelope of the models' 90 % bands, which holds the mixture's. A model of
    weight zero counts for nothing. ``attrs["averaged"]`` (JSON) lists the models with their hashes.
    `popk.sheet` takes it; for another target average other advice.

    Raises
    ------
    SettingError
        When there are fewer than two advices, they differ in patients, target, probability, weeks
        or units, or the weights make no sense.

    Examples
    --------
    ``popk.averaged_advice([advice_a, advice_b], weights=[0.7, 0.3])``
    """
    trees = _checked(advices)
    share = weights_of(trees, weights)
    names = _names(trees)
    decision = _decision(trees, share, names)
    rng = np.random.default_rng(seed)
    groups = {
        "decision": decision,
        "posterior": _posterior(trees, share, names, rng),
        "curve": _curve(trees, share),
    }
    tree = xr.DataTree.from_dict(groups)
    tree["data"] = xr.DataTree(trees[0]["data"].to_dataset())
    first = trees[0].attrs
    kept = ("target", "target_units", "probability", "units", "time_per_week", "sustained",
            "statement")  # fmt: skip
    hashes = ("model_name", "fit_model_hash", "fit_data_hash")
    converged = int(all(int(one.attrs["fit_converged"]) for one in trees))
    tree.attrs = {
        "kind": KIND,
        "popk_version": version("popk"),
        **{name: first[name] for name in kept},
        "model_name": " and ".join(names),
        **{key: "+".join(str(one.attrs[key]) for one in trees) for key in hashes[1:]},
        "fit_converged": converged,
        "converged": converged,
        "averaged": json.dumps(
            [
                {**{key: one.attrs[key] for key in hashes}, "model_name": name,
                 "seed": int(one.attrs["seed"]), "mean_weight": float(share[:, k].mean())}
                for k, (one, name) in enumerate(zip(trees, names, strict=True))
            ]
        ),
        "weighted_by": _told(weights),
        "seed": int(seed),
        "curve": int(tree["curve"].to_dataset().sizes["point"] > 0),
        "curve_words": _CURVE_WORDS,
    }  # fmt: skip
    return tree


def _told(weights: Weights) -> str:
    if isinstance(weights, xr.DataTree):
        return "stacking weights of a comparison"
    given = list(weights)
    if given and isinstance(given[0], xr.DataTree):
        return "forecasts of each patient's own observations"
    return "given weights"


def _checked(advices: Sequence[xr.DataTree]) -> tuple[xr.DataTree, ...]:
    """The advices, once it is certain that they answer the same question about the same people."""
    trees = (advices,) if isinstance(advices, xr.DataTree) else tuple(advices)
    if len(trees) < 2:
        raise SettingError(
            f"averaged_advice was given {len(trees)} advice; an average needs two or more."
        )
    for at, tree in enumerate(trees, start=1):
        if not isinstance(tree, xr.DataTree) or tree.attrs.get("kind") != ADVICE:
            raise SettingError(f"Advice {at} is not the result of popk.individualise.")
    first = trees[0]
    for at, tree in enumerate(trees[1:], start=2):
        ours, theirs = _asked(first), _asked(tree)
        for what in ours:
            if ours[what] != theirs[what]:
                raise SettingError(
                    f"Advice 1 and advice {at} have different {what}: {ours[what]}, and "
                    f"{theirs[what]}. "
                    "Individualise the same patients with the same target, probability and weeks "
                    "by every model, in the same units."
                )
        _check_records(first, tree, at)
        # The same fit twice is no second model: its weight would only be split.
        for before, other in enumerate(trees[: at - 1], start=1):
            same = all(
                tree.attrs[key] == other.attrs[key] for key in ("fit_model_hash", "fit_data_hash")
            )
            if same:
                raise SettingError(f"Advice {before} and advice {at} are of the same fit.")
    return trees


def _asked(tree: xr.DataTree) -> dict[str, str]:
    """What an advice answers, in words that can be compared."""
    attrs = tree.attrs
    return {
        "units": _plain_units(tree),
        "targets": f"{attrs['target']:g} {attrs['target_units']}",
        "probabilities": f"{float(attrs['probability']):g}",
        "candidate weeks": _listed(tree, "week"),
        "patients": _listed(tree, "subject"),
    }


def _plain_units(tree: xr.DataTree) -> str:
    """Time, amount and concentration; covariates may be others from model to model."""
    units = json.loads(tree.attrs["units"])
    return ", ".join(f"{name} {units[name]}" for name in ("time", "amount", "concentration"))


def _listed(tree: xr.DataTree, name: str) -> str:
    values = tree["decision"].to_dataset()[name].values
    return ", ".join(f"{one:g}" if name == "week" else str(one) for one in values.tolist())


def _check_records(first: xr.DataTree, tree: xr.DataTree, at: int) -> None:
    """Refuse patients of the same ID whose doses or samples are others."""
    a, b = first["data"].to_dataset(), tree["data"].to_dataset()
    for name in ("ID", "TIME", "EVID", "AMT", "DV", "CENS"):
        ours, theirs = a[name].values, b[name].values
        kind = ours.dtype.kind == "f"
        if ours.shape != theirs.shape or not np.array_equal(ours, theirs, equal_nan=kind):
            raise SettingError(
                f"Advice 1 and advice {at} are of patients with the same IDs but other records "
                f"({name} differs). Individualise the same data by every model."
            )


def _names(trees: Sequence[xr.DataTree]) -> list[str]:
    """The models' names, told apart by a number where two are alike."""
    names = [str(tree.attrs["model_name"]) for tree in trees]
    return [
        f"{name} ({names[: k + 1].count(name)})" if names.count(name) > 1 else name
        for k, name in enumerate(names)
    ]


def _mean(parts: Sequence[NDArray[Any]], share: Floats, power: int = 1) -> Floats:
    """Weighted sum over the models; one of weight zero does not count, even where it is NaN."""
    total = np.zeros(np.shape(parts[0]))
    for part, weight in zip(parts, share.T, strict=True):
        own = weight.reshape(-1, *[1] * (total.ndim - 1))
        total = total + np.where(own > 0, own**power * np.where(own > 0, part, 0.0), 0.0)
    return total


def _decision(trees: Sequence[xr.DataTree], share: Floats, names: Sequence[str]) -> xr.Dataset:
    tables = [tree["decision"].to_dataset().transpose("subject", "week", ...) for tree in trees]
    first = tables[0]
    weeks, asked = first["week"].values.astype(float), float(trees[0].attrs["probability"])
    concentration = {"units": str(trees[0].attrs["target_units"])}
    state = _states(tables, share, names)
    grid = ("subject", "week")
    found: dict[str, tuple[tuple[str, ...], Floats, dict[str, str]]] = {}
    for suffix in ("", "_sustained"):
        p = _mean([table[f"probability{suffix}"].values for table in tables], share)
        variance = _mean([table[f"mcse{suffix}"].values ** 2 for table in tables], share, power=2)
        longest = np.where(state["withheld"] == 1, np.nan, longest_interval(weeks, p, asked))
        found[f"probability{suffix}"] = (grid, p, {"units": "1"})
        found[f"mcse{suffix}"] = (grid, np.sqrt(variance), {"units": "1"})
        found[f"longest{suffix}"] = (("subject",), longest, {"units": "wk"})
        for name, values in _quantiles(trees, share, f"troughs{suffix}").items():
            found[f"trough{suffix}_{name}"] = (grid, values, concentration)
    about = ("n_observations", "n_blq", "last_dose", "last_dose_time", "usual_interval")
    units = [json.loads(tree.attrs["units"]) for tree in trees]
    shared = [
        name
        for name in units[0]
        if name in first.coords and all(own.get(name) == units[0][name] for own in units)
    ]
    coords = {name: first[name] for name in ("subject", "week", *about, *shared)}
    attached = {name: ("subject", values) for name, values in state.items()}
    weight = (("subject", "model"), share, {"units": "1"})
    return xr.Dataset({**found, "model_weight": weight}, coords={**coords, "model": list(names)}
                      ).assign_coords(attached)  # fmt: skip


def _states(
    tables: Sequence[xr.Dataset], share: Floats, names: Sequence[str]
) -> dict[str, NDArray[Any]]:
    """What each patient's advice is by all models that count for it."""
    rows = []
    for k in range(len(share)):
        counted = [(table.isel(subject=k), name) for table, name, weight
                   in zip(tables, names, share[k].tolist(), strict=True) if weight > 0]  # fmt: skip
        found = [one for table, name in counted for one in _found(table, name)]
        reliable = all(int(table["reliable"]) for table, _ in counted)
        flags = {
            name: any(name in table.coords and int(table[name]) for table, _ in counted)
            for name in ("withheld", "widened")
        }
        withheld = flags["withheld"] or not reliable
        said = {
            what: " ".join(f"{name}: {table[what].values}" for table, name in counted
                           if what in table.coords and str(table[what].values))
            for what in ("note", "unmeasured")
        }  # fmt: skip
        rows.append(
            {
                "reliable": int(reliable),
                **said,
                "source": "averaged",
                "khat": max(float(table["khat"]) for table, _ in counted),
                "ess": min(float(table["ess"]) for table, _ in counted),
                "findings": to_json(found),
                "withheld": int(withheld),
                "widened": int(flags["widened"] and not withheld),
            }
        )
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def _found(table: xr.Dataset, name: str) -> list[Finding]:
    """A model's findings about one patient, which name the model."""
    if "findings" not in table.coords:
        sentence = f"{name}: this advice was made without looking for what speaks against it."
        return [Finding("computation", SEVERITIES[0], sentence)]
    return [
        Finding(one.name, one.severity, f"{name}: {one.sentence}", one.probability)
        for one in from_json(str(table["findings"].values))
    ]


def _values(tree: xr.DataTree, name: str) -> Floats:
    """Draws of troughs (n_subjects, n_samples, n_weeks)."""
    draws = tree["posterior"].to_dataset()[name].transpose("subject", "sample", "week")
    return np.asarray(draws.values, dtype=float)


def _quantiles(trees: Sequence[xr.DataTree], share: Floats, name: str) -> dict[str, Floats]:
    """Quantiles of the mixture: the inverse of the weighted distribution function of all draws."""
    parts = [_values(tree, name) for tree in trees]
    size = (len(share), parts[0].shape[2])
    found = {quantile: np.full(size, np.nan) for quantile in _QUANTILES}
    for k, weights in enumerate(share):
        used = [(part[k], weight) for part, weight in zip(parts, weights, strict=True) if weight]
        for week in range(size[1]):
            values = np.concatenate([part[:, week] for part, _ in used])
            mass = np.concatenate([np.full(len(part), w / len(part)) for part, w in used])
            known = np.isfinite(values)
            if not known.any():
                continue
            order = np.argsort(values[known])
            below = np.cumsum(mass[known][order]) / mass[known].sum()
            for quantile, level in _QUANTILES.items():
                at = min(int(np.searchsorted(below, level)), int(known.sum()) - 1)
                found[quantile][k, week] = values[known][order][at]
    return found


def _posterior(
    trees: Sequence[xr.DataTree], share: Floats, names: Sequence[str], rng: np.random.Generator
) -> xr.Dataset:
    """As many draws of the mixture as a model has: a model's share is its weight, to one draw."""
    parts = {name: [_values(tree, name) for tree in trees]
             for name in ("troughs", "troughs_sustained")}  # fmt: skip
    size = max(part.shape[1] for part in parts["troughs"])
    first = trees[0]["decision"].to_dataset()
    shape = (len(share), size, first.sizes["week"])
    mixed = {name: np.full(shape, np.nan) for name in parts}
    which = np.zeros(shape[:2], dtype=np.int64)
    for k, weights in enumerate(share):
        turns = (np.arange(size) + rng.random()) / size
        which[k] = np.searchsorted(np.cumsum(weights), turns).clip(0, len(names) - 1)
        for m in range(len(names)):
            own = np.flatnonzero(which[k] == m)
            held = parts["troughs"][m].shape[1]
            chosen = rng.choice(held, len(own), replace=len(own) > held)
            for name, models in parts.items():
                mixed[name][k, own] = models[m][k, chosen]
    units = {"units": str(trees[0].attrs["target_units"])}
    dims = ("subject", "sample", "week")
    return xr.Dataset(
        {name: (dims, values, units) for name, values in mixed.items()},
        coords={
            "subject": first["subject"].values, "week": first["week"].values,
            "model": (("subject", "sample"), np.asarray(names)[which]),
        },
    )  # fmt: skip


def _curve(trees: Sequence[xr.DataTree], share: Floats) -> xr.Dataset:
    """The envelope of the models' bands; without points where their times are others."""
    tables = [tree["curve"].to_dataset().transpose("subject", "point") for tree in trees]
    first = tables[0]
    alike = all(
        table.sizes["point"] == first.sizes["point"]
        and np.allclose(table["time"].values, first["time"].values, equal_nan=True)
        for table in tables
    )
    if not alike:
        return first.isel(point=slice(0, 0))
    used = share.T[:, :, None] > 0
    low = np.where(used, np.stack([table["low"].values for table in tables]), np.inf)
    high = np.where(used, np.stack([table["high"].values for table in tables]), -np.inf)
    medians = [table["median"].values for table in tables]
    # Before the first dose there is nothing, and its logarithm would be infinite.
    nothing = np.any([median <= 0 for median in medians], axis=0)
    logs = [np.log(np.where(nothing, 1.0, median)) for median in medians]
    values: Mapping[str, Floats] = {
        "low": low.min(axis=0),
        "high": high.max(axis=0),
        "median": np.where(nothing, 0.0, np.exp(_mean(logs, share))),
    }
    return first.assign(
        {name: (("subject", "point"), own, first[name].attrs) for name, own in values.items()}
    )

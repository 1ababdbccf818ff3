"""Several models side by side: how well each predicts, and whether they can be told apart."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from importlib.metadata import version

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from popk.comparison.guards import check_comparable, observed_of
from popk.comparison.leave_out import check_draws, loo
from popk.comparison.questions import QUESTIONS, check_unit
from popk.comparison.results import standard_error
from popk.comparison.weights import model_weights
from popk.errors import SettingError
from popk.population import FitError, dataset_of, model_of

__all__ = ["compare", "comparison_frame", "told_apart"]

type Floats = NDArray[np.float64]

# Sivula, Magnusson, Matamoros & Vehtari (Bayesian Analysis, 2025): a difference below 4 is small
# and its standard error not to be relied on; few data make it too small.
_SMALL = 4.0
_ERRORS = 2.0
_FEW = 100


def compare(
    fits: Mapping[str, xr.DataTree],
    unit: str = "patient",
    *,
    refit: bool = True,
    draws: int | None = None,
    seed: int = 1,
    future_covariates: bool = False,
    progress: Callable[[str, int, int], None] | None = None,
) -> xr.DataTree:
    """Which of several models predicts best what its fit has not seen.

    Parameters
    ----------
    fits
        Fits (`popk.sample`) or results of `popk.loo`, by name: two or more, of the same data.
    unit
        What is predicted: ``"patient"``, ``"observation"`` or ``"future"``, see `popk.loo`. Three
        different questions, which may have different answers.
    refit, draws, seed, future_covariates
        As for `popk.loo`; not used for what it has computed already.
    progress
        Called with a model's name, the number of its patients done and their total.

    Returns
    -------
    DataTree with the groups

    - ``comparison`` (model, the best first): ``elpd`` and ``se``; ``elpd_diff`` to the best model
      (zero or less) and ``se_diff``, from the spread of the patients' differences; ``p_loo``;
      ``worst_khat`` and ``n_unreliable``; the weights ``stacking`` and ``pseudo_bma_plus``;
      ``told_apart`` from the best model (0 or 1; see `told_apart`);
    - ``pointwise`` (model, subject or observation): as ``loo`` of `popk.loo`;

    and in ``attrs`` ``question`` (what is compared), ``words`` (the result in sentences), ``notes``
    (JSON).

    Raises
    ------
    FitError, SettingError
        When fewer than two are given, they are not of the same data (other patients, observations,
        units, logarithms, or treatment of what is below the LLOQ), or `popk.loo` refuses one.
    """
    check_unit(unit)
    if len(fits) < 2:
        raise SettingError(
            f"compare was given {len(fits)} fit{'' if len(fits) == 1 else 's'}; give two or more, "
            'as {"name": fit, "other": fit}.'
        )
    notes = check_comparable(
        {name: _observed(tree) for name, tree in fits.items()},
        {name: _leaves_out_below(tree) for name, tree in fits.items()},
    )
    for name, tree in fits.items():
        _check(name, tree, unit, draws, future_covariates=future_covariates)
    results = {}
    for name, tree in fits.items():
        if tree.attrs["kind"] == "popk loo":
            results[name] = tree
            continue
        results[name] = loo(
            tree,
            unit,
            refit=refit,
            draws=draws,
            seed=seed,
            future_covariates=future_covariates,
            progress=_told(progress, name),
        )
    return _collected(results, unit, notes)


def told_apart(difference: float, error: float) -> bool:
    """Whether a difference of elpd says that one model predicts better.

    It does where it is more than two standard errors and more than 4 (Sivula et al. 2025).
    """
    return abs(difference) > max(_ERRORS * error, _SMALL)


def comparison_frame(comparison: xr.DataTree) -> pd.DataFrame:
    """The table of `popk.compare`: one row for each model, the best first."""
    frame = comparison["comparison"].to_dataset().to_dataframe()
    frame["told_apart"] = frame["told_apart"].astype(bool)
    return frame


def _told(
    progress: Callable[[str, int, int], None] | None, name: str
) -> Callable[[int, int], None] | None:
    if progress is None:
        return None
    return lambda done, total: progress(name, done, total)


def _observed(tree: xr.DataTree) -> xr.Dataset:
    if tree.attrs.get("kind") == "popk loo":
        return tree["observed_data"].to_dataset()
    return observed_of(dataset_of(tree))


def _leaves_out_below(tree: xr.DataTree) -> bool:
    if tree.attrs.get("kind") == "popk loo":
        return bool(tree.attrs["leaves_out_below"])
    return model_of(tree).error.leaves_out_below


def _check(
    name: str, tree: xr.DataTree, unit: str, draws: int | None, *, future_covariates: bool
) -> None:
    """Refuse before anything long is computed."""
    if tree.attrs["kind"] != "popk loo":
        check_draws(tree, unit, draws)
        return
    if tree.attrs["unit"] != unit:
        raise FitError(
            f'{name} was computed by popk.loo for unit="{tree.attrs["unit"]}", but the comparison '
            f'is by "{unit}". These are different questions; give all of one kind.'
        )
    if unit == "future" and bool(tree.attrs["future_covariates"]) != future_covariates:
        known = "known" if tree.attrs["future_covariates"] else "hidden"
        raise FitError(
            f"In {name}, computed by popk.loo, later covariates are {known}; set "
            "future_covariates alike."
        )


def _collected(results: Mapping[str, xr.DataTree], unit: str, notes: list[str]) -> xr.DataTree:
    names = sorted(results, key=lambda name: -results[name].attrs["elpd"])
    tables = [results[name]["loo"].to_dataset() for name in names]
    subject = tables[0]["ID"].values
    elpd = np.stack([table["elpd_i"].values for table in tables])
    weights, said = model_weights(elpd, subject, names)
    with np.errstate(invalid="ignore"):
        apart = elpd - elpd[0]
    difference = apart.sum(axis=1)
    error = np.array([standard_error(own, subject) for own in apart])
    attrs = [results[name].attrs for name in names]
    worst = [float(np.nanmax(np.append(table["khat"].values, -np.inf))) for table in tables]
    told = [k > 0 and told_apart(difference[k], error[k]) for k in range(len(names))]
    columns = {
        "elpd": [one["elpd"] for one in attrs],
        "se": [one["se"] for one in attrs],
        "elpd_diff": difference,
        "se_diff": error,
        "p_loo": [one["p_loo"] for one in attrs],
        "worst_khat": worst,
        "n_unreliable": [int((table["reliable"].values == 0).sum()) for table in tables],
        **weights,
        "told_apart": np.array(told, dtype=np.int64),
    }
    summary = xr.Dataset(
        {name: ("model", values) for name, values in columns.items()}, coords={"model": names}
    )
    pointwise = xr.concat(tables, dim=xr.Variable("model", names), join="exact")
    tree = xr.DataTree.from_dict({"comparison": summary, "pointwise": pointwise})
    notes = [*notes, *_notes(results), *said]
    tree.attrs = {
        "kind": "popk comparison",
        "unit": unit,
        "question": QUESTIONS[unit],
        "words": _words(summary, len(np.unique(subject))),
        "notes": json.dumps(notes, ensure_ascii=False),
        "data_hash": attrs[0]["data_hash"],
        "model_hashes": json.dumps({n: results[n].attrs["model_hash"] for n in names}),
        "popk_version": version("popk"),
    }
    return tree


def _notes(results: Mapping[str, xr.DataTree]) -> list[str]:
    found = []
    for name, tree in results.items():
        if not tree.attrs["converged"]:
            found.append(f"{name}: the fit did not converge, so its predictions are not final.")
        found += [f"{name}: {note}" for note in json.loads(tree.attrs["notes"])]
    return found


def _words(summary: xr.Dataset, n_subjects: int) -> str:
    best, *others = summary["model"].values.tolist()
    sentences = []
    for name in others:
        own = summary.sel(model=name)
        difference, error = float(own["elpd_diff"]), float(own["se_diff"])
        size = f"elpd {difference:.1f}, SE of the difference {error:.1f}"
        if not np.isfinite(difference):
            sentences.append(f"{name} gives some of the data no finite predictive density.")
        elif bool(own["told_apart"]):
            sentences.append(f"{best} predicts better than {name} ({size}).")
        else:
            sentences.append(f"{best} and {name} are not told apart ({size}).")
    if int(summary["n_unreliable"].sum()):
        sentences.append("Some predictions are not reliable: see the notes.")
    if n_subjects < _FEW:
        sentences.append(
            f"With {n_subjects} patients the standard errors are themselves uncertain, and likely "
            "to be too small."
        )
    return " ".join(sentences)

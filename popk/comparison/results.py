"""The table of what was left out, its sum, and sentences on how far it can be trusted."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from popk.comparison.guards import observed_of
from popk.comparison.questions import QUESTIONS, Asked
from popk.dataset import Dataset
from popk.diagnostics import verdict_of
from popk.population import model_of

__all__ = ["Row", "standard_error", "tabulated"]

type Floats = NDArray[np.float64]

_LISTED = 8  # IDs in a sentence
_NOISY = 0.2  # SD of the log of an integral that is worth a sentence


@dataclass(frozen=True)
class Row:
    """One thing left out: see `popk.loo`; ``number`` is -1 for all observations of a patient."""

    number: int
    elpd: float
    khat: float
    p: float
    mcse: float
    reliable: bool
    refitted: bool = False


def tabulated(
    fit: xr.DataTree,
    dataset: Dataset,
    asked: Asked,
    rows: Mapping[str, list[Row]],
    integrals: Mapping[str, tuple[float, int]],
    *,
    notes: Sequence[str],
) -> xr.DataTree:
    """The result of `popk.loo`.

    Parameters
    ----------
    fit, dataset, asked
        What was asked of which fit.
    rows
        What was left out, by subject.
    integrals
        Noise and nodes of each subject's.
    notes
        Sentences on the refits.
    """
    table = _table(dataset, asked, rows)
    noise, nodes = zip(*integrals.values(), strict=True)
    inner = xr.Dataset(
        {"noise": ("subject", list(noise)), "nodes": ("subject", list(nodes))},
        coords={"subject": list(integrals)},
    )
    tree = xr.DataTree.from_dict(
        {"loo": table, "integrals": inner, "observed_data": observed_of(dataset)}
    )
    model, elpd = model_of(fit), table["elpd_i"].values
    said = [*notes, *_notes(rows, integrals)]
    tree.attrs = {
        "kind": "popk loo",
        "unit": asked.unit,
        "question": QUESTIONS[asked.unit],
        "future_covariates": int(asked.covariates_known),
        "elpd": float(elpd.sum()),
        "se": standard_error(elpd, table["ID"].values),
        "p_loo": float(table["p_loo_i"].values.sum()),
        "mcse": float(np.sqrt((table["mcse"].values ** 2).sum())),
        "notes": json.dumps(said, ensure_ascii=False),
        "leaves_out_below": int(model.error.leaves_out_below),
        "seed": asked.seed,
        "popk_version": version("popk"),
        "converged": int(verdict_of(fit).converged),
        **{n: fit.attrs[n] for n in ("model_name", "model_hash", "data_hash", "units")},
    }
    return tree


def standard_error(elpd: Floats, subject: NDArray[Any]) -> float:
    """SE of the sum of what was left out, from the spread of the subjects' sums.

    Observations of one subject share its random effects: only subjects are independent.
    """
    _, place = np.unique(subject, return_inverse=True)
    sums = np.bincount(place, weights=elpd)
    with np.errstate(invalid="ignore"):
        return float(np.sqrt(len(sums)) * np.std(sums))


def _table(dataset: Dataset, asked: Asked, rows: Mapping[str, list[Row]]) -> xr.Dataset:
    flat = [(subject, row) for subject, own in rows.items() for row in own]
    dim = "subject" if asked.unit == "patient" else "observation"
    values: dict[str, Any] = {
        "elpd_i": (dim, [row.elpd for _, row in flat]),
        "khat": (dim, [row.khat for _, row in flat]),
        "p_loo_i": (dim, [row.p for _, row in flat]),
        "mcse": (dim, [row.mcse for _, row in flat]),
        "reliable": (dim, [int(row.reliable) for _, row in flat]),
        "refitted": (dim, [int(row.refitted) for _, row in flat]),
    }
    ids = [subject for subject, _ in flat]
    if dim == "subject":
        return xr.Dataset(values, coords={"subject": ids, "ID": ("subject", ids)})
    # The rows stand in the order of the subjects, as the records do.
    record = dataset.table.isel(record=dataset.is_observation)
    coords = {
        "observation": np.arange(len(flat)),
        "ID": (dim, ids),
        "TIME": (dim, record["TIME"].values, {"units": dataset.units.time}),
        "ROW": (dim, record["record"].values),
    }
    return xr.Dataset(values, coords=coords)


def _notes(rows: Mapping[str, list[Row]], integrals: Mapping[str, tuple[float, int]]) -> list[str]:
    found = []
    refitted = [one for one, own in rows.items() if any(row.refitted for row in own)]
    if refitted:
        found.append(
            f"Refitted without the patient, as Pareto k-hat was too high: {_listed(refitted)}."
        )
    poor = [one for one, own in rows.items() if not all(row.reliable for row in own)]
    still = [one for one in poor if one in refitted]
    if still:
        found.append(
            f"Not reliable even after the refit: {_listed(still)}. The refit did not converge, or "
            "the patient's other data hardly agree with it."
        )
    left = [one for one in poor if one not in refitted]
    if left:
        khat = [row.khat for one in left for row in rows[one] if not row.reliable]
        found.append(
            "Not reliable, as without the patient the posterior would be another (Pareto k-hat up "
            f"to {max(khat):.2f}): {_listed(left)}. The sum is likely to be too high. Refits "
            "(refit=True) put it right."
        )
    noisy = [one for one, (noise, _) in integrals.items() if noise > _NOISY]
    if noisy:
        most = max(integrals[one][0] for one in noisy)
        found.append(
            "The integral over the random effects stays uncertain (SD of its logarithm up to "
            f"{most:.2g}): {_listed(noisy)}."
        )
    return found


def _listed(ids: Sequence[str]) -> str:
    more = f" and {len(ids) - _LISTED} more" if len(ids) > _LISTED else ""
    return f"ID {', '.join(ids[:_LISTED])}{more}"

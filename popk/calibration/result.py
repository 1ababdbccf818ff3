"""From replicates to what they say: ECDFs, bands, verdicts in words, and tables."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from popk.calibration.bands import POINTS, Uniformity, uniformity
from popk.calibration.reliability import reliability
from popk.calibration.replicate import FAILED, RANKED
from popk.calibration.setting import Calibration

__all__ = ["calibration_frame", "rank_frame", "reliability_frame", "result_of"]

type Floats = NDArray[np.float64]

_FEWEST = 20  # replicates for which bands are given
_MANY = 100  # replicates, from which a moderate fault is seen
_APART = 2.0  # standard errors from which a shift or spread is put into words
_EMITTED = "P(trough >= target)"
_ASKED = {
    "prior": "parameters drawn from the prior",
    "posterior": "parameters drawn from the fit, which replicates are fitted together with",
}


def result_of(setting: Calibration, contents: Sequence[Mapping[str, Any]]) -> xr.DataTree:
    """The result of a calibration from what was kept of its replicates."""
    ranked = [one for one in contents if one["status"] == RANKED]
    names = list(dict.fromkeys(name for one in ranked for name in one["pits"]))
    found = {name: uniformity(_clusters(ranked, name)) for name in names}
    emitted = _emitted(ranked) if setting.predicts and ranked else None
    summary = _summary(found, ranked, emitted)
    groups = {
        "summary": summary,
        "ecdf": _curves(found),
        "ranks": _ranks(setting, ranked, names),
        "replicates": _replicates(contents),
    }
    if emitted is not None:
        groups["reliability"] = emitted
    tree = xr.DataTree.from_dict(groups)
    tree.attrs = _attributes(setting, contents, summary)
    return tree


def calibration_frame(result: xr.DataTree) -> pd.DataFrame:
    """One row for each quantity: inside or outside its band, p values, words."""
    return result["summary"].to_dataset().to_dataframe()


def rank_frame(result: xr.DataTree) -> pd.DataFrame:
    """One row for each number that was ranked: replicate, quantity, member, PIT, rank, draws."""
    return result["ranks"].to_dataset().to_dataframe().reset_index(drop=True)


def reliability_frame(result: xr.DataTree) -> pd.DataFrame:
    """One row for each bin of the probabilities that were stated; empty without any."""
    if "reliability" not in result:
        return pd.DataFrame()
    return result["reliability"].to_dataset().to_dataframe().reset_index(drop=True)


def _clusters(ranked: Sequence[Mapping[str, Any]], name: str) -> list[Floats]:
    return [np.array(one["pits"][name], dtype=float) for one in ranked if name in one["pits"]]


def _emitted(ranked: Sequence[Mapping[str, Any]]) -> xr.Dataset:
    said = [np.array(one["said"], dtype=float) for one in ranked]
    return reliability(said, [np.array(one["happened"], dtype=float) for one in ranked])


def _summary(
    found: Mapping[str, Uniformity],
    ranked: Sequence[Mapping[str, Any]],
    emitted: xr.Dataset | None,
) -> xr.Dataset:
    rows: list[tuple[Any, ...]] = []
    for name, one in found.items():
        members = _clusters(ranked, name)
        n = sum(map(len, members))
        stated = _direction(one) if not one.inside else ""
        rows.append((name, n, one.inside, one.p_value, one.shift, one.spread, stated))
    if emitted is not None:
        inside = bool(emitted["inside"].all())
        stated = "" if inside else _of_reliability(emitted)
        nan = float("nan")
        p_value = float(emitted.attrs["p_value"])
        rows.append((_EMITTED, int(emitted["n"].sum()), inside, p_value, nan, nan, stated))
    columns = [[row[k] for row in rows] for k in range(6)]
    adjusted = _holm(np.array(columns[3], dtype=float))
    sentences = [
        _sentence(*row[:4], adjusted=float(adjusted[k]), replicates=len(ranked), stated=row[6])
        for k, row in enumerate(rows)
    ]
    quantity = "quantity"
    return xr.Dataset(
        {
            "n": (quantity, np.array(columns[1], dtype=np.int64)),
            "inside": (quantity, np.array(columns[2], dtype=np.int64)),
            "p_value": (quantity, np.array(columns[3], dtype=float)),
            "p_adjusted": (quantity, adjusted),
            "shift": (quantity, np.array(columns[4], dtype=float)),
            "spread": (quantity, np.array(columns[5], dtype=float)),
            "words": (quantity, np.array(sentences, dtype=str)),
        },
        coords={quantity: np.array(columns[0], dtype=str)},
    )


def _sentence(
    name: str, n: int, inside: bool, p: float, *, adjusted: float, replicates: int, stated: str
) -> str:
    counted = f"{n} ranks" if n == replicates else f"{n} ranks of {replicates} replicates"
    if name == _EMITTED:
        counted = f"{n} probabilities of {replicates} replicates"
    where = "inside" if inside else "OUTSIDE"
    figures = f"p {_p(p)}, {_p(adjusted)} among all quantities; {counted}"
    return (
        f"{name}: {where} the simultaneous 95 % band ({figures}).{f' {stated}' if stated else ''}"
    )


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}" if value < 0.1 else f"{value:.2f}"


def _direction(one: Uniformity) -> str:
    found = []
    if abs(one.shift) > _APART:
        found.append(f"lies too {'low' if one.shift > 0 else 'high'}")
    if abs(one.spread) > _APART:
        found.append(f"is too {'narrow' if one.spread > 0 else 'wide'}")
    return f"Its posterior {' and '.join(found)}." if found else ""


def _of_reliability(emitted: xr.Dataset) -> str:
    outside = emitted.isel(bin=np.flatnonzero(emitted["inside"].values == 0))
    said, happened = (100 * outside[name].values for name in ("said", "happened"))
    k = int(np.argmax(np.abs(happened - said)))
    return f"What was said to hold in {said[k]:.0f} % held in {happened[k]:.0f} %."


def _holm(p: Floats) -> Floats:
    """Holm's adjusted p values (Scandinavian Journal of Statistics 6:65, 1979)."""
    order = np.argsort(p)
    scaled = np.minimum(1.0, np.maximum.accumulate(p[order] * (len(p) - np.arange(len(p)))))
    found = np.empty_like(p)
    found[order] = scaled
    return found


def _curves(found: Mapping[str, Uniformity]) -> xr.Dataset:
    names = ("difference", "low", "high")
    values = {
        name: np.array([getattr(one, name) for one in found.values()]).reshape(-1, len(POINTS))
        for name in names
    }
    return xr.Dataset(
        {name: (("quantity", "z"), value) for name, value in values.items()},
        coords={"quantity": np.array(list(found), dtype=str), "z": POINTS},
    )


def _ranks(
    setting: Calibration, ranked: Sequence[Mapping[str, Any]], names: Sequence[str]
) -> xr.Dataset:
    columns: dict[str, list[Any]] = {
        key: [] for key in ("replicate", "quantity", "member", "pit", "rank", "draws")
    }
    subjects = list(setting.design.subjects)
    for one in ranked:
        for name in names:
            pits = one["pits"].get(name, [])
            of_subjects = name == "trough" or name.startswith("eta[")
            members = subjects if of_subjects else list(map(str, range(1, len(pits) + 1)))
            columns["member"] += members if len(pits) > 1 or of_subjects else [""] * len(pits)
            columns["replicate"] += [one["replicate"]] * len(pits)
            columns["quantity"] += [name] * len(pits)
            columns["pit"] += pits
            columns["rank"] += [min(one["draws"], int(u * (one["draws"] + 1))) for u in pits]
            columns["draws"] += [one["draws"]] * len(pits)
    text = {"quantity", "member"}
    return xr.Dataset(
        {
            key: ("value", np.array(column, dtype=str if key in text else None))
            for key, column in columns.items()
        }
    )


def _replicates(contents: Sequence[Mapping[str, Any]]) -> xr.Dataset:
    numbers = np.array([one["replicate"] for one in contents], dtype=np.int64)
    said = [" ".join([one["failure"], *one["verdict"]]).strip() for one in contents]
    return xr.Dataset(
        {
            "status": ("replicate", np.array([one["status"] for one in contents], dtype=str)),
            "converged": ("replicate", np.array([int(one["converged"]) for one in contents])),
            "draws": ("replicate", np.array([one["draws"] for one in contents])),
            "seconds": ("replicate", np.array([one["seconds"] for one in contents], dtype=float)),
            "note": ("replicate", np.array(said, dtype=str)),
        },
        coords={"replicate": numbers},
    )


def _attributes(
    setting: Calibration, contents: Sequence[Mapping[str, Any]], summary: xr.Dataset
) -> dict[str, Any]:
    kind = "prior" if setting.source is None else "posterior"
    failed = sum(one["status"] == FAILED for one in contents)
    doubtful = sum(one["status"] != FAILED and not one["converged"] for one in contents)
    units = setting.model.units
    return {
        "kind": "popk calibration",
        "version_of": kind,
        "question": f"Are the posteriors calibrated? {_ASKED[kind].capitalize()}.",
        "words": _verdict(summary, len(contents), failed, doubtful),
        "notes": json.dumps(_notes(setting, contents, failed, doubtful), ensure_ascii=False),
        "calibrated": int(_passes(summary) and not failed),
        "n_replicates": len(contents),
        "n_failed": failed,
        "n_not_converged": doubtful,
        "model_name": setting.model.name,
        "model_hash": setting.model.hash,
        "fitted_model_hash": setting.analysed.hash,
        "design_hash": setting.design.fingerprint,
        "setting": json.dumps(setting.described, ensure_ascii=False),
        "seed": setting.seed,
        "target": setting.target,
        "interval": setting.interval,
        "units": json.dumps(units.to_dict()),
        "converged": 1,
        "popk_version": version("popk"),
    }


def _passes(summary: xr.Dataset) -> bool:
    p = summary["p_adjusted"].values
    return bool(len(p)) and bool(np.all(p >= 0.05))


def _verdict(summary: xr.Dataset, n: int, failed: int, doubtful: int) -> str:
    total, inside = summary.sizes["quantity"], int(summary["inside"].sum())
    if not total:
        return f"Nothing is known: none of {n} replicates could be ranked."
    stated = f"{inside} of {total} quantities inside their simultaneous 95 % bands"
    if not _passes(summary):
        judged = "NOT CALIBRATED"
    elif inside < total:
        judged = "No sign of miscalibration (that many may be outside by chance)"
    else:
        judged = "No sign of miscalibration"
    lost = f", {failed} without a result" if failed else ""
    unsure = f", {doubtful} not converged" if doubtful else ""
    return f"{judged}: {stated}; {n} replicates{lost}{unsure}."


def _notes(
    setting: Calibration, contents: Sequence[Mapping[str, Any]], failed: int, doubtful: int
) -> list[str]:
    notes = list(setting.notes)
    if len(contents) - failed < _MANY:
        notes.append("With so few replicates bands are wide: only a gross fault would be outside.")
    if setting.analysed.hash != setting.model.hash:
        notes.append(f"Simulated by {setting.model.name}, fitted by {setting.analysed.name}.")
    if failed:
        one = next(x for x in contents if x["status"] == FAILED)
        notes.append(
            f"{failed} of {len(contents)} replicates have no ranks, so the bands are of the others "
            f"alone and calibration is not shown. Replicate {one['replicate']}: {one['failure']}"
        )
    if doubtful:
        ranked = [one for one in contents if one["status"] == RANKED and one["converged"]]
        counted = "1 replicate" if doubtful == 1 else f"{doubtful} replicates"
        note = f"{counted} did not converge, whose ranks count with the others."
        if len(ranked) >= _FEWEST:
            names = list(dict.fromkeys(name for one in ranked for name in one["pits"]))
            outside = [n for n in names if not uniformity(_clusters(ranked, n)).inside]
            without = f"{_and(outside)} would be outside" if outside else "all would be inside"
            note += f" Left out, {without}."
        notes.append(note)
    return notes


def _and(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else names[0]

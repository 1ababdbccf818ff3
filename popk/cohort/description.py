"""`popk.describe`: shares of troughs and patients above targets, spread, trend, in words."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.metadata import version
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray
from scipy.special import ndtr

from popk.cohort.hierarchy import build_trough_model
from popk.cohort.troughs import Troughs, find_troughs
from popk.dataset import Dataset
from popk.dataset.dosing_times import NEAR_THE_NEXT
from popk.diagnostics import judge
from popk.diagnostics.convergence import convergence_table
from popk.errors import SettingError
from popk.individual.advice import STATEMENT
from popk.population import check_seed

__all__ = ["describe", "description_frame"]

type Floats = NDArray[np.float64]

_USUAL = (10.0, 5.0, 2.0)  # mg/L, studied for natalizumab
_KIND = "popk description"
_WHAT = ("observed troughs", "patients of the cohort", "new patients", "a new patient's troughs")
_UNSURE = "Not converged, so not a final result: draw more. "
_MOST = 1000  # troughs of a patient that are looked at


def describe(  # noqa: PLR0913
    dataset: Dataset,
    *,
    targets: Sequence[float] | None = None,
    interval: float | None = None,
    tolerance: float = NEAR_THE_NEXT,
    assay_cv: float | None = None,
    stable: float = 0.2,
    draws: int = 2000,
    seed: int = 1,
) -> xr.DataTree:
    """What a cohort's troughs say, by a hierarchical model of their logarithms.

    Parameters
    ----------
    dataset
        From `popk.read_dataset`.
    targets
        Concentrations in the data's unit; 10, 5 and 2 mg/L in that unit if None.
    interval, tolerance
        As for `popk.cohort.find_troughs`.
    assay_cv
        The assay's coefficient of variation, as 0.1, where it is known; then visits and assay are
        told apart.
    stable
        A relative change in a year that is small, as 0.2; also how exactly a level is to be known.
    draws
        Draws of each of four chains.
    seed
        Seed.

    Returns
    -------
    DataTree with the groups ``troughs`` (trough), ``shares`` (target, what), ``bands`` (band), the
    share of these patients whose own level is between two targets, ``patients`` (patient):
    ``level``, the patient's median trough, ``p_stable`` and the first value of each covariate,
    ``figures`` (figure) and ``posterior``. Every ``low`` and ``high`` is the end of a 90 %
    interval. The verdict on the sampling, data hash, seed, ``words`` and ``notes`` are in
    ``attrs``.

    Raises
    ------
    SettingError
        When a setting makes no sense, or the data do not allow the model.
    """
    import nutpie

    check_seed(seed)
    if assay_cv is not None and not 0 < assay_cv < 2:
        raise SettingError(f"assay_cv is {assay_cv!r}; give the assay's CV, as 0.1 for 10 %.")
    if not 0 < stable < 1:
        raise SettingError(f"stable is {stable!r}; give a share between 0 and 1, as 0.2.")
    wanted = _targets(dataset, targets)
    found = find_troughs(dataset, interval=interval, tolerance=tolerance)
    compiled = nutpie.compile_pymc_model(build_trough_model(found))
    drawn = nutpie.sample(
        compiled, draws=draws, tune=1000, chains=4, seed=seed, save_warmup=False,
        progress_bar=False, target_accept=0.95,
    )  # fmt: skip
    posterior = drawn["posterior"].to_dataset()
    verdict = judge(convergence_table(posterior), drawn["sample_stats"].to_dataset())
    flat = posterior.stack(sample=("chain", "draw"), create_index=False)  # noqa: PD013
    figures = _figures(flat, assay_cv, stable)
    shares = _shares(found, flat, wanted)
    groups = {
        "troughs": _table(found.table, found),
        "shares": shares,
        "bands": _bands(found, flat, wanted),
        "patients": _patients(flat, stable, found).assign(_covariates(dataset, flat)),
        "figures": figures,
        "posterior": posterior,
    }
    tree = xr.DataTree.from_dict(groups)
    tree.attrs = {
        "kind": _KIND, "popk_version": version("popk"), "data_hash": dataset.fingerprint,
        "seed": int(seed), "interval": found.interval, "tolerance": float(tolerance),
        "stable": float(stable), "units": json.dumps(dataset.units.to_dict()),
        "converged": int(verdict.converged), "verdict": verdict.to_json(),
        "words": ("" if verdict.converged else _UNSURE)
        + _words(found, shares, figures, stable),
        "statement": STATEMENT,
        "targets": [float(one) for one in wanted],
        "notes": json.dumps(_notes(found, assay_cv, list(verdict.failures))),
    }  # fmt: skip
    return tree


def description_frame(result: xr.DataTree, group: str = "shares") -> pd.DataFrame:
    """A table of a description as a data frame; units in ``.attrs``.

    Raises
    ------
    SettingError
        When it is no result of `popk.describe`, or has no such table.
    """
    tables = ("bands", "figures", "patients", "shares", "troughs")
    if result.attrs.get("kind") != _KIND:
        raise SettingError("This is not the result of popk.describe; give what it returned.")
    if group not in tables:
        raise SettingError(f"There is no table {group!r}; there are {', '.join(tables)}.")
    table = result[group].to_dataset()
    frame = table.to_dataframe().reset_index()
    frame.attrs["units"] = {
        str(name): value.attrs["units"]
        for name, value in table.variables.items()
        if "units" in value.attrs
    }
    return frame


def _targets(dataset: Dataset, targets: Sequence[float] | None) -> list[float]:
    factor = dataset.units.concentration_in("mg/L")
    if targets is None and factor is None:
        raise SettingError(
            f"Concentrations are in {dataset.units.concentration}, in which the usual targets (10, "
            "5 and 2 mg/L) cannot be stated; give targets."
        )
    given = [one * (factor or 1.0) for one in _USUAL] if targets is None else list(targets)
    if not given or not all(np.isfinite(one) and one > 0 for one in given):
        raise SettingError(f"targets are {given}; give concentrations above zero.")
    return [float(one) for one in given]


def _band(values: Floats) -> list[float]:
    low, median, high = np.quantile(values, [0.05, 0.5, 0.95]).tolist()
    return [low, median, high]


def _observed(found: Troughs, target: float) -> list[float]:
    """The share that is certainly, and that is possibly, at the target or above."""
    used = found.modelled
    dv, cens = used["DV"].to_numpy(), used["CENS"].to_numpy()
    sure = (dv >= target) & (cens != 1)
    possible = sure | ((cens == 1) & (dv > target)) | (cens == -1)
    low, high = float(sure.mean()), float(possible.mean())
    return [low, low if low == high else np.nan, high]


def _shares(found: Troughs, flat: xr.Dataset, targets: list[float]) -> xr.Dataset:
    mean, between, within = (flat[n].values for n in ("log_level", "sd_between", "sd_within"))
    level = flat["level"].transpose("patient", "sample").values
    rows = []
    for target in targets:
        above = mean - np.log(target)
        rows.append(
            [
                _observed(found, target),
                _band((level >= np.log(target)).mean(axis=0)),
                _band(ndtr(above / between)),
                _band(ndtr(above / np.hypot(between, within))),
            ]
        )
    values, unit = np.array(rows), {"units": "1"}
    columns = {
        name: (("target", "what"), values[:, :, k], unit)
        for k, name in enumerate(("low", "median", "high"))
    }
    targeted = ("target", targets, {"units": found.units.concentration})
    return xr.Dataset(columns, coords={"target": targeted, "what": list(_WHAT)})


def _bands(found: Troughs, flat: xr.Dataset, targets: list[float]) -> xr.Dataset:
    """The share of the patients whose own median trough is between two targets."""
    level = np.exp(flat["level"].transpose("patient", "sample").values)
    ends = [0.0, *sorted(targets), np.inf]
    unit = found.units.concentration
    names = [
        f"below {high:g} {unit}" if low == 0 else f"{low:g} {unit} and above" if high == np.inf
        else f"{low:g} to {high:g} {unit}"
        for low, high in pairwise(ends)
    ]  # fmt: skip
    each = [_band(((level >= low) & (level < high)).mean(axis=0)) for low, high in pairwise(ends)]
    columns = {
        name: ("band", [row[k] for row in each], {"units": "1"})
        for k, name in enumerate(("low", "median", "high"))
    }
    return xr.Dataset(columns, coords={"band": names})


def _figures(flat: xr.Dataset, assay_cv: float | None, stable: float) -> xr.Dataset:
    between, within, trend = (flat[n].values for n in ("sd_between", "sd_within", "trend"))
    rows: dict[str, tuple[Floats, str]] = {
        "CV between patients": (_cv(between), "%"),
        "CV within patients": (_cv(within), "%"),
        "intraclass correlation": (between**2 / (between**2 + within**2), "1"),
        "trend in a year": (100 * np.expm1(trend), "%"),
        "troughs to know a level": (_needed(within, stable, 0.9), "1"),
    }
    if assay_cv is not None:
        left = np.sqrt(np.maximum(within**2 - np.log1p(assay_cv**2), 0.0))
        rows["CV between visits, without the assay"] = (_cv(left), "%")
    small = np.abs(np.expm1(trend)) < stable
    bands = np.array([_band(values) for values, _ in rows.values()])
    names = ("low", "median", "high")
    columns: dict[str, Any] = {name: ("figure", bands[:, k]) for k, name in enumerate(names)}
    columns["unit"] = ("figure", [unit for _, unit in rows.values()])
    table = xr.Dataset(columns, coords={"figure": list(rows)})
    table.attrs["p_trend_small"] = float(small.mean())
    return table


def _cv(sd: Floats) -> Floats:
    """Per cent, from the SD of a logarithm."""
    return np.asarray(100 * np.sqrt(np.expm1(sd**2)))


def _needed(within: Floats, near: float, probability: float) -> Floats:
    """The least number of troughs whose geometric mean is so near the level so probably."""
    n = np.arange(1, _MOST + 1)[:, None]
    scale = np.sqrt(n) / within
    held = ndtr(np.log1p(near) * scale) - ndtr(np.log1p(-near) * scale)
    reached = held >= probability
    return np.where(reached.any(axis=0), reached.argmax(axis=0) + 1.0, np.inf)


def _patients(flat: xr.Dataset, stable: float, found: Troughs) -> xr.Dataset:
    level = np.exp(flat["level"].transpose("patient", "sample").values)
    slope = flat["slope"].transpose("patient", "sample").values
    low, median, high = np.quantile(level, [0.05, 0.5, 0.95], axis=1)
    ids, unit = flat["patient"].values.tolist(), {"units": found.units.concentration}
    counts = found.modelled.groupby("ID").size()
    return xr.Dataset(
        {
            "troughs": ("patient", [int(counts[one]) for one in ids], {"units": "1"}),
            "low": ("patient", low, unit),
            "level": ("patient", median, unit),
            "high": ("patient", high, unit),
            "p_stable": ("patient", (np.abs(np.expm1(slope)) < stable).mean(axis=1),
                         {"units": "1"}),
        },
        coords={"patient": ids},
    )  # fmt: skip


def _covariates(dataset: Dataset, flat: xr.Dataset) -> dict[str, Any]:
    """Each patient's first value of each covariate."""
    table = dataset.covariate_table()
    table = table.set_axis(table.index.astype(str)).reindex(flat["patient"].values.astype(str))
    return {
        name: (
            "patient",
            table[name].to_numpy(dtype=float),
            {"units": dataset.units.covariate(name) or "1"},
        )
        for name in dataset.covariates
    }


def _table(frame: pd.DataFrame, found: Troughs) -> xr.Dataset:
    own = frame.assign(modelled=frame["modelled"].astype(int))
    concentration = found.units.concentration
    units = {"years": "a", "weeks": "wk", "DV": concentration, "LLOQ": concentration}
    columns = {
        str(name): (
            "trough",
            values.astype(str).to_numpy(dtype="U") if name == "ID" else values.to_numpy(),
            {} if name == "ID" else {"units": units.get(str(name), "1")},
        )
        for name, values in own.items()
    }
    return xr.Dataset(columns)


def _words(found: Troughs, shares: xr.Dataset, figures: xr.Dataset, stable: float) -> str:
    unit = found.units.concentration
    parts = [found.words]
    for target in shares["target"].values.tolist():
        at = shares.sel(target=target)

        def said(what: str, at: xr.Dataset = at) -> str:
            names = ("low", "median", "high")
            low, median, high = (100 * float(at.sel(what=what)[name]) for name in names)
            if np.isnan(median):
                return f"{low:.0f} to {high:.0f} % (some are BLQ with an LLOQ above)"
            if low > 99:
                return "above 99 %"
            ends = ["above 99" if one > 99 else f"{one:.0f}" for one in (low, median, high)]
            return f"{ends[1]} % ({ends[0]} to {ends[2]} %)"

        seen = said(_WHAT[0]).split(" (")[0]
        parts.append(
            f"At or above {target:g} {unit}: {seen} of the observed troughs; by their own median "
            f"{said(_WHAT[1])} of these patients; {said(_WHAT[3])} of the measured troughs of a "
            "new patient."
        )
    for name in figures["figure"].values.tolist():
        one = figures.sel(figure=name)
        of = str(one["unit"].values).replace("1", "")
        ends = [f"{float(one[n]):.3g}" for n in ("median", "low", "high")]
        what = f"{name} to ± {100 * stable:g} %, with 90 %" if name.startswith("troughs") else name
        parts.append(f"{what.capitalize() if what[0].islower() else what}: {ends[0]} {of} "
                     f"({ends[1]} to {ends[2]}).".replace("  ", " "))  # fmt: skip
    parts.append(
        f"The trend is less than {100 * stable:g} % a year with probability "
        f"{figures.attrs['p_trend_small']:.2f}. Intervals are 90 % ones, given the hierarchical "
        "model of the logarithm of troughs."
    )
    return " ".join(parts)


def _notes(found: Troughs, assay_cv: float | None, failures: list[str]) -> list[str]:
    notes = list(failures)
    if assay_cv is None:
        notes.append(
            "Visits and assay cannot be told apart: what is within patients is their sum. Give "
            "assay_cv where it is known."
        )
    early = found.modelled["years"] * 365.25 / 7 < 5 * found.interval
    if early.any():
        notes.append(
            f"{int(early.sum())} troughs are of the first five intervals: accumulation may look "
            "like a trend."
        )
    return notes

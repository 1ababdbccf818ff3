"""The posterior of a response model, its verdict, and what it says in words."""

from __future__ import annotations

import json
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray
from scipy.stats import pearsonr

from popk.diagnostics import convergence_table, judge
from popk.errors import SettingError
from popk.population import check_seed
from popk.response.exposed import PROBABILITY, checked
from popk.response.model import build_response, positions_of
from popk.response.outcomes import Outcomes
from popk.response.representation import represent

if TYPE_CHECKING:
    import pymc as pm

__all__ = ["RESPONSE", "association", "response_frame", "sample_response"]

type Floats = NDArray[np.float64]

RESPONSE = "popk response"
STATEMENT = (
    "Research software: it informs, it does not prescribe. An association, not an effect: "
    "whatever moves both exposure and outcome and is not adjusted for (weight, age, disease "
    "activity) stands in it."
)
BY_INDICATION = (
    "Doses or intervals differ between patients or change within one: where they were chosen by "
    "level or by disease activity, the outcome moved the exposure, which this model does not know "
    "(confounding by indication)."
)


def sample_response(  # noqa: PLR0913
    exposures: xr.DataTree,
    outcomes: Outcomes,
    *,
    model: pm.Model | None = None,
    draws: int = 1000,
    tune: int = 1000,
    chains: int = 4,
    compiled: bool = True,
    seed: int,
) -> xr.DataTree:
    """Sample the joint model of exposure and outcome, by NUTS.

    Parameters
    ----------
    exposures, outcomes
        From `popk.response.exposures` and `popk.response.read_outcomes`.
    model
        A changed model of `build_response`, which keeps its ``effect`` and ``step``.
    draws, tune, chains
        Draws of each chain, those before them to adapt, and the number of chains.
    compiled
        False: the model is evaluated by Python, which starts at once (compiling takes about half a
        minute) but is some tens of times slower: for small tables and tests.
    seed
        Seed of the random numbers.

    Returns
    -------
    DataTree with ``posterior``, ``sample_stats``, ``convergence``, ``exposure`` (subject: median
    and 90 % interval before and after the outcomes, and the observed outcome), ``curve`` (expected
    outcome against exposure with its 90 % band, for a patient like the others), ``naive`` (the
    correlation of observed concentrations with the outcome, which this replaces) and
    ``representation``; in attrs verdict, hashes, units, statement and ``words``.

    Raises
    ------
    SettingError
        When exposures and outcomes do not go together or a setting makes no sense.
    """
    check_seed(seed)
    for name, value, least in (("draws", draws, 10), ("tune", tune, 50), ("chains", chains, 1)):
        if not float(value).is_integer() or value < least:
            raise SettingError(f"{name} is {value!r}; expected {least} or more.")
    built = build_response(exposures, outcomes) if model is None else model
    drawn = draw(built, draws=draws, tune=tune, chains=chains, compiled=compiled, seed=seed)
    posterior, stats = (drawn[name].to_dataset() for name in ("posterior", "sample_stats"))
    if not {"effect", "step"} <= set(posterior.data_vars):
        raise SettingError("The model has no effect or no step; keep both in a changed model.")
    table = convergence_table(posterior.drop_vars("step"))
    verdict = judge(table, stats[["diverging", "energy"]])
    tree = xr.DataTree.from_dict(
        {
            "posterior": posterior,
            "sample_stats": stats[["diverging", "energy"]],
            "convergence": table,
            "exposure": _exposures(exposures, outcomes, posterior),
            "curve": _curve(exposures, outcomes, posterior),
            "naive": _naive(exposures, outcomes),
            "representation": represent(exposures),
        }
    )
    own, kind = exposures.attrs, outcomes.outcome
    of_regimen = [BY_INDICATION] if int(own["varied_regimen"]) else []
    tree.attrs = {
        **{name: own[name] for name in _KEPT},
        "kind": RESPONSE,
        "popk_version": version("popk"),
        "outcome": repr(kind),
        "outcome_name": kind.name or "outcome",
        "response": kind.response,
        "ratio": kind.ratio,
        "outcomes_hash": outcomes.fingerprint,
        "rows": len(outcomes),
        "adjusted": json.dumps(list(outcomes.adjust)),
        "changed_model": int(model is not None),
        "seed": int(seed),
        "verdict": verdict.to_json(),
        "fit_converged": int(own["converged"]),
        "converged": int(verdict.converged and int(own["converged"])),
        "statement": " ".join([STATEMENT, *of_regimen]),
        "missing": outcomes.about_missing,
    }
    tree.attrs["words"] = association(tree)["words"]
    return tree


_KEPT = (
    "measure", "words", "note", "log", "step", "per", "reference", "unit", "units", "model_name",
    "model_hash", "data_hash", "rests_on", "varied_regimen",
)  # fmt: skip


def draw(
    built: pm.Model, *, draws: int, tune: int, chains: int, compiled: bool, seed: int
) -> xr.DataTree:
    """Draws of a PyMC model by nutpie; with ``compiled=False`` evaluated by Python."""
    import nutpie

    settings = {"draws": draws, "tune": tune, "chains": chains, "seed": seed}
    if compiled:
        ready: Any = nutpie.compile_pymc_model(built)
    else:
        ready = _interpreted(built)
        settings["cores"] = 1  # Python runs one thread at a time
    found: xr.DataTree = nutpie.sample(ready, progress_bar=False, target_accept=0.9, **settings)
    return found


def _interpreted(built: pm.Model) -> Any:
    """The model for nutpie as functions of Python."""
    from nutpie.compiled_pyfunc import from_pyfunc
    from pymc.blocking import DictToArrayBijection

    density = built.logp_dlogp_function(ravel_inputs=True, mode="FAST_COMPILE")
    density.set_extra_values({})
    start = DictToArrayBijection.map(built.initial_point())
    named = {one.name: one for one in built.unobserved_value_vars}
    shown = [one.name for one in (*built.free_RVs, *built.deterministics)]
    expand = built.compile_fn(
        [named[name] for name in shown], mode="FAST_COMPILE", on_unused_input="ignore"
    )

    def point(x: Floats) -> dict[str, Any]:
        at = type(start)(np.asarray(x), start.point_map_info)
        found: dict[str, Any] = DictToArrayBijection.rmap(at, start_point={})
        return found

    def expanded(x: Floats, **_: Any) -> dict[str, Any]:
        return {name: np.asarray(v) for name, v in zip(shown, expand(point(x)), strict=True)}

    first = expanded(start.data)
    coords = {name: pd.Index(list(v)) for name, v in built.coords.items() if v is not None}
    dims = {}
    for name in shown:
        own = tuple(built.named_vars_to_dims.get(name) or ())
        if not own:
            own = tuple(f"{name}_dim_{k}" for k in range(first[name].ndim))
            coords |= {d: pd.RangeIndex(n) for d, n in zip(own, first[name].shape, strict=True)}
        dims[name] = own
    return from_pyfunc(
        ndim=len(start.data),
        make_logp_fn=lambda: lambda x, **_: tuple(density(type(start)(x, start.point_map_info))),
        make_expand_fn=lambda *_args, **_kw: expanded,
        expanded_shapes=[first[name].shape for name in shown],
        expanded_dtypes=[np.dtype("float64")] * len(shown),
        expanded_names=shown,
        dims=dims,
        coords=coords,
    )


def association(
    result: xr.DataTree, *, within: tuple[float, float] = (0.8, 1.25)
) -> dict[str, float | str]:
    """What a response model says of the association, in numbers and words.

    Parameters
    ----------
    result
        From `sample_response`.
    within
        Ratios (rate, odds or hazard ratio per step of exposure) between which the association is
        called small.

    Returns
    -------
    ``ratio``, its 90 % interval ``low`` and ``high``, ``small``, the probability that it is
    within, ``negative``, that more exposure goes with less, and ``words``.

    Raises
    ------
    SettingError
        When the tree is no response, or the ratios make no sense.
    """
    if result.attrs.get("kind") != RESPONSE:
        raise SettingError("This is no response of popk; give what sample_response returned.")
    least, most = within
    if not 0 < least < 1 < most:
        raise SettingError(f"within is {within!r}; give ratios on both sides of 1, as (0.8, 1.25).")
    ratio = np.exp(result["posterior"].to_dataset()["effect"].values.ravel())
    tail = (1 - PROBABILITY) / 2
    low, median, high = np.quantile(ratio, [tail, 0.5, 1 - tail])
    small = float(np.mean((ratio > least) & (ratio < most)))
    own = result.attrs
    measure = str(result["exposure"].attrs["words"])
    usable = "" if int(own["converged"]) else "NOT CONVERGED, not a final result: "
    known = (
        ""
        if small > 0.9
        else (
            " That is not enough to call it small, nor" if low < 1 < high else " That does not make"
        )
    )
    if known:
        known += " does the interval exclude none." if low < 1 < high else " it nothing."
    words = (
        f"{usable}{own['outcome_name']}: the {own['ratio']} per {own['per']} of {measure} is "
        f"{median:.2f} (90 % interval {low:.2f} to {high:.2f}). The probability that it lies "
        f"between {least:g} and {most:g} is {_percent(small)}.{known} It rests on "
        f"{own['rests_on']}, and {int(own['rows'])} rows of outcomes. {own['statement']}"
    )
    extra = [str(own[name]) for name in ("note", "missing") if own.get(name)]
    return {
        "ratio": float(median), "low": float(low), "high": float(high), "small": small,
        "negative": float(np.mean(ratio < 1)), "words": " ".join([words, *extra]),
    }  # fmt: skip


def _percent(probability: float) -> str:
    if probability < 0.01:
        return "below 1 %"
    return "above 99 %" if probability > 0.99 else f"{100 * probability:.0f} %"


def response_frame(result: xr.DataTree) -> pd.DataFrame:
    """Effects as ratios with their 90 % intervals, one row each; what they are per in ``per``."""
    association(result)  # refuses what is no response
    tail, rows = (1 - PROBABILITY) / 2, []
    names = [n for n in result["posterior"].data_vars if str(n).startswith("adjustment_")]
    for name in ("effect", *names):
        ratio = np.exp(result["posterior"].to_dataset()[str(name)].values.ravel())
        low, median, high = np.quantile(ratio, [tail, 0.5, 1 - tail])
        per = f"{result.attrs['per']} of exposure" if name == "effect" else "SD"
        label = "exposure" if name == "effect" else str(name).removeprefix("adjustment_")
        rows.append((label, result.attrs["ratio"], per, median, low, high))
    frame = pd.DataFrame(rows, columns=["of", "what", "per", "median", "low", "high"])
    frame.attrs |= {"interval": "90 %", "converged": bool(int(result.attrs["converged"]))}
    frame.attrs["statement"] = result.attrs["statement"]
    return frame


def _exposures(exposures: xr.DataTree, outcomes: Outcomes, posterior: xr.Dataset) -> xr.Dataset:
    """Each patient's exposure before and after the outcomes, and what was observed."""
    subjects, _ = positions_of(exposures, outcomes)
    attrs = exposures.attrs
    before = exposures["exposure"]["exposure"].sel(subject=subjects)
    tail = (1 - PROBABILITY) / 2
    levels = [tail, 0.5, 1 - tail]
    own = before.quantile(levels, dim=("chain", "draw")).values
    steps = posterior["step"].quantile(levels, dim=("chain", "draw")).values
    after = _from_steps(attrs, steps)
    subject = np.array(outcomes.subjects)
    value, at_risk = outcomes.columns["value"], outcomes.columns["at_risk"]
    rate = [value[subject == one].sum() / at_risk[subject == one].sum() for one in subjects]
    unit = {"units": str(attrs["unit"])}
    names = ("low", "median", "high")
    variables: dict[str, Any] = {n: ("subject", v, unit) for n, v in zip(names, own, strict=True)}
    variables |= {f"{n}_after": ("subject", v, unit) for n, v in zip(names, after, strict=True)}
    variables["observed"] = ("subject", rate, {"units": outcomes.outcome.response})
    return xr.Dataset(variables, coords={"subject": subjects}, attrs={"words": attrs["words"]})


def _from_steps(attrs: Any, steps: Floats) -> Floats:
    """Exposures in their unit, from steps."""
    if int(attrs["log"]):
        return np.asarray(float(attrs["reference"]) * 2.0**steps)
    return np.asarray(float(attrs["reference"]) + float(attrs["step"]) * steps)


def _curve(exposures: xr.DataTree, outcomes: Outcomes, posterior: xr.Dataset) -> xr.Dataset:
    """Expected outcome (grid) over the range of the patients' exposures, with its band."""
    medians = posterior["step"].median(("chain", "draw")).values
    grid = np.linspace(medians.min(), medians.max(), 60)
    drawn = {
        str(name): posterior[name].transpose(..., "chain", "draw").values.reshape(
            *(posterior[name].sizes[d] for d in posterior[name].dims if d not in ("chain", "draw")),
            -1,
        )
        for name in posterior.data_vars
        if name in ("effect", "intercept", "cut", "shape", "alpha")
    }  # fmt: skip
    values = outcomes.outcome.mean(grid[:, None] * drawn["effect"], drawn)
    tail = (1 - PROBABILITY) / 2
    low, median, high = np.quantile(values, [tail, 0.5, 1 - tail], axis=1)
    unit = {"units": outcomes.outcome.response}
    return xr.Dataset(
        {n: ("grid", v, unit) for n, v in (("low", low), ("median", median), ("high", high))},
        coords={"grid": ("grid", _from_steps(exposures.attrs, grid))},
    )


def _naive(exposures: xr.DataTree, outcomes: Outcomes) -> xr.Dataset:
    """Pearson's correlation of observed mean concentrations (BLQ at LLOQ / 2) with the outcome."""
    subjects, _ = positions_of(exposures, outcomes)
    seen = checked(exposures)["history"].to_dataset()["observed"].sel(subject=subjects).values
    subject = np.array(outcomes.subjects)
    value, at_risk = outcomes.columns["value"], outcomes.columns["at_risk"]
    own = np.array([value[subject == n].sum() / at_risk[subject == n].sum() for n in subjects])
    both = np.isfinite(seen)
    found = (np.nan, np.nan)
    if both.sum() > 2 and np.ptp(seen[both]) > 0 and np.ptp(own[both]) > 0:
        found = pearsonr(seen[both], own[both])
    return xr.Dataset(
        {"r": float(found[0]), "p": float(found[1]), "patients": int(both.sum())},
        attrs={"what": "Pearson's correlation of the mean observed concentration, those below the "
               "LLOQ at half of it, with the outcome: noise and BLQ weaken it"},
    )  # fmt: skip

"""What a covariate means for the trough and for the interval, in the units of both."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray
from scipy.special import ndtri
from scipy.stats import qmc

from popk.dataset import Dataset
from popk.decision.results import asked, bands, rests_on_population
from popk.design import Design, check_fit, design_of
from popk.elimination import usual_regimen
from popk.errors import SettingError
from popk.individual import Trough
from popk.model import PopModel
from popk.population import PopulationDraws, check_seed, dataset_of, model_of
from popk.prediction import simulate_rows
from popk.regimen import Regimen

__all__ = ["covariate_consequences"]

type Floats = NDArray[np.float64]

_FEW_LEVELS = ("fold", "categorical")
_INTERVALS = np.geomspace(0.4, 3.0, 16)  # times the interval of the regimen
_ROUND = np.array([1.0, 2.0, 5.0, 10.0])


class _Contrast(NamedTuple):
    """One covariate changed, all others as in the reference."""

    covariate: str
    start: float
    end: float
    is_level: bool


def covariate_consequences(  # noqa: PLR0913
    fit: xr.DataTree,
    *,
    target: Trough,
    probability: float = 0.9,
    steps: Mapping[str, float] | None = None,
    regimen: Regimen | None = None,
    draws: int = 100,
    people: int = 128,
    seed: int = 1,
) -> xr.DataTree:
    """What each covariate costs in trough and in interval, all others held at the reference.

    The reference is a person with the median of each covariate of the fit's data (the reference
    level, where it has levels). Each covariate in turn is changed by a step, or to another level.

    Parameters
    ----------
    fit
        What `popk.sample` returned, of a model with covariates.
    target, probability
        Trough that an interval must hold, and with what probability for a new person.
    steps
        How much each covariate is raised, in its unit: ``{"WT": 10}``. Without, about one SD of the
        fit's data, rounded to 1, 2 or 5 times a power of ten.
    regimen
        Dose and interval, from an empty body, enough of them for a steady state; the usual ones of
        the fit's data, ten times, if None.
    draws, people
        Draws of the population parameters, and new people under each (the same quantiles of the
        random effects for all, quasi-random).
    seed
        Seed.

    Returns
    -------
    DataTree, a popk answer (`popk.decision_frame` makes a table of it). ``decision`` (effect), with
    the coordinates ``covariate``, ``start`` and ``end``: ``trough`` of a typical person (random
    effects zero) at the reference on the regimen and its ``trough_change``; ``interval``, the
    longest in weeks at which a new person like the reference is at or above the target with the
    probability, and its ``interval_change``; each as 90 % credible interval and median
    (``_low``, ``_median``, ``_high``), and ``words``. Intervals are looked for between 0.4 and 3
    times that of the regimen; where the end is reached in 5 % of the draws or more they are NaN.
    Effects between occasions are left out.

    Effects that the model does not have are not seen: a covariate that is not in it costs nothing.

    Raises
    ------
    FitError, ModelError, SettingError, UnitError
        When the tree is no fit, its model has no covariates, or a setting makes no sense.
    """
    level, held = _checked(fit, target, probability, draws, people, seed)
    model = model_of(fit)
    given = regimen or usual_regimen(fit)
    if given is None:
        raise SettingError(
            "The data of the fit show no usual dose and interval; give the doses, as "
            "regimen=Regimen(amount=300, interval=28, repeats=10), in the model's units."
        )
    reference, contrasts = _contrasts(model, dataset_of(fit), dict(steps or {}))
    table = pd.DataFrame([reference | {c.covariate: c.end} for c in contrasts])
    table = pd.concat([pd.DataFrame([reference]), table], ignore_index=True)
    total = fit["posterior"].sizes["chain"] * fit["posterior"].sizes["draw"]
    population = PopulationDraws.of(fit, min(draws, total))
    z = _quantiles(len(model.iiv.effects), people, seed)
    rng = np.random.default_rng([seed, 5])
    troughs = _troughs(population, given, table, np.zeros_like(z[:1]), rng)[..., 0]
    intervals = given.interval * _INTERVALS
    values = np.stack([
        _troughs(population, _lasting(given, one), table, z, np.random.default_rng(seed))
        for one in intervals.tolist()
    ])  # fmt: skip
    per_week = model.units.time_in("wk")
    longest = _longest(intervals / per_week, values, level, held)
    with np.errstate(invalid="ignore"):
        changes = longest[:, 1:] - longest[:, :1]
    columns = (
        bands("trough", np.repeat(troughs[:, :1], len(contrasts), axis=1))
        | bands("trough_change", troughs[:, 1:] - troughs[:, :1])
        | bands("interval", _known(np.repeat(longest[:, :1], len(contrasts), axis=1)))
        | bands("interval_change", _known(changes))
    )
    doses = (
        f"{given.amount:g} {model.units.amount} every {given.interval / per_week:.3g} weeks, "
        f"{given.repeats} times"
    )
    words = [
        _words(model, one, {name: float(v[k]) for name, v in columns.items()}, doses, target, held)
        for k, one in enumerate(contrasts)
    ]
    tree = xr.DataTree.from_dict({"decision": _table(model, contrasts, columns, words)})
    tree.attrs = dict(rests_on_population(fit, seed, draws=population.size, people=len(z)))
    at = ", ".join(
        f"{name} {value:.4g} {_unit(model, name)}".strip() for name, value in reference.items()
    )
    tree.attrs |= {
        "question": "covariate consequences",
        "target": target.words,
        "probability": held,
        "regimen": doses,
        "reference": json.dumps(reference),
        "rests_on": f"{str(tree.attrs['rests_on'])[:-1]}; {doses}; reference {at}.",
    }
    return tree


def _checked(
    fit: xr.DataTree, target: Trough, probability: float, draws: int, people: int, seed: int
) -> tuple[float, float]:
    """The target and the probability, once it is certain that the question can be asked."""
    check_seed(seed)
    model, held = model_of(fit), asked(probability)
    target.check_units(model.units)
    if not isinstance(target.given, int | float):
        raise SettingError("The target is a distribution; give one concentration.")
    if not model.covariates:
        raise SettingError(f"Model {model.name} has no covariate effects.")
    for name, value in (("draws", draws), ("people", people)):
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
            raise SettingError(f"{name} is {value!r}; give a whole number of 1 or more.")
    return float(target.given), held


def _contrasts(
    model: PopModel, dataset: Dataset, steps: dict[str, float]
) -> tuple[dict[str, float], list[_Contrast]]:
    """The reference person's covariates, and what is changed."""
    table = dataset.covariate_table()
    reference: dict[str, float] = {}
    for name in table.columns:
        values = table[name].to_numpy(dtype=float)
        values = values[np.isfinite(values)]
        few = len(np.unique(values)) <= 2
        reference[str(name)] = _commonest(values) if few else float(np.median(values))
    for level in model.levels:
        reference[level.covariate] = _commonest(table[level.covariate].to_numpy(dtype=float))
    found: dict[str, list[_Contrast]] = {}
    for effect in model.covariates:
        for name in effect.covariates:
            values = table[name].to_numpy(dtype=float)
            values = np.unique(values[np.isfinite(values)])
            if effect.kind in _FEW_LEVELS or len(values) <= 2:
                start = float(getattr(effect, "reference", 0.0) or 0.0)
                reference[name] = start if start in values else float(values[0])
                found[name] = [
                    _Contrast(name, reference[name], float(v), is_level=True)
                    for v in values[values != reference[name]]
                ]
            else:
                step = steps.get(name, _round(float(np.nanstd(table[name]))))
                end = reference[name] + step
                found[name] = [_Contrast(name, reference[name], end, is_level=False)]
    _check_steps(steps, found)
    listed = [one for each in found.values() for one in each]
    if not listed:
        raise SettingError("No covariate of the model varies in the fit's data.")
    return reference, listed


def _check_steps(steps: Mapping[str, float], found: Mapping[str, list[_Contrast]]) -> None:
    for name, step in steps.items():
        if name not in found:
            raise SettingError(
                f"steps names {name}, which is no covariate of the model; it has "
                f"{', '.join(found)}."
            )
        if any(one.is_level for one in found[name]):
            raise SettingError(f"{name} has levels, and no step; leave it out of steps.")
        if not math.isfinite(step) or step == 0:
            raise SettingError(f"The step of {name} is {step!r}; give a number that is not zero.")


def _commonest(values: Floats) -> float:
    found, counts = np.unique(values[np.isfinite(values)], return_counts=True)
    return float(found[np.argmax(counts)])


def _round(sd: float) -> float:
    """The nearest 1, 2 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(sd))
    return float(power * _ROUND[np.argmin(np.abs(np.log(_ROUND * power / sd)))])


def _quantiles(n_effects: int, people: int, seed: int) -> Floats:
    """Standardised random effects (n_people, n_effects) that fill their distribution evenly."""
    if n_effects == 0:
        return np.zeros((1, 0))
    sobol = qmc.Sobol(n_effects, scramble=True, rng=np.random.default_rng(seed))
    return np.asarray(ndtri(sobol.random_base2(max(0, math.ceil(math.log2(people))))))


def _lasting(regimen: Regimen, interval: float) -> Regimen:
    """The same doses at another interval, for as long at least."""
    repeats = math.ceil(regimen.repeats * max(1.0, regimen.interval / interval))
    return replace(regimen, interval=interval, repeats=repeats)


def _troughs(
    population: PopulationDraws, regimen: Regimen, table: pd.DataFrame, z: Floats,
    rng: np.random.Generator,
) -> Floats:  # fmt: skip
    """Troughs (S, n_rows of the table, n_people) after the last dose of a regimen."""
    model, copies = population.model, len(z)
    people = table.loc[table.index.repeat(copies)]
    people = people.set_axis([str(k + 1) for k in range(len(people))])
    time = regimen.start + regimen.interval * regimen.repeats
    kept = [name for name in people.columns if model.units.covariate(str(name)) is not None]
    dataset = regimen.dataset(people[kept], [time], units=model.units)
    if model.iov.effects:
        dataset = replace(dataset, table=dataset.table.assign(OCC=dataset.table["EVID"] * 0 + 1))
    check_fit(model, dataset, estimated=False)
    design = design_of(model, dataset, everywhere=True)
    everyone = (population.size, len(people), z.shape[1])
    eta = population.eta(np.broadcast_to(np.tile(z, (len(table), 1)), everyone))[0]
    kappa = None
    if model.iov.effects:
        kappa = np.zeros((population.size, len(design.occasion_subject), len(model.iov.effects)))
    labels = _labels(population, design, copies, rng)
    known = population.with_groups(design.covariates, rng)
    theta = known.row_parameters(design, eta, kappa, labels=labels)
    found = simulate_rows(model, theta, design.events)
    return found.reshape(population.size, len(table), copies)


def _labels(
    population: PopulationDraws, design: Design, copies: int, rng: np.random.Generator
) -> NDArray[np.int64] | None:
    """Classes (S, n_subjects): the same people whatever the covariates."""
    drawn = population.new_labels(np.full(copies, -1), rng)
    if drawn is None:
        return None
    tiled = np.tile(drawn, (1, len(design.labels) // copies))
    return np.where(design.labels >= 0, design.labels, tiled)


def _longest(weeks: Floats, values: Floats, target: float, probability: float) -> Floats:
    """Longest interval (S, n_rows) at which the share of people at or above the target holds.

    ``values`` (n_weeks, S, n_rows, n_people). Each person's own longest interval is interpolated in
    the logarithm of the trough; plus or minus infinity beyond the intervals looked at.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        above = np.log(np.maximum(values, np.finfo(float).tiny)) - np.log(target)
    held = above >= 0
    last = np.where(held.any(axis=0), len(weeks) - 1 - np.argmax(held[::-1], axis=0), -1)
    inside = np.clip(last, 0, len(weeks) - 2)
    low = np.take_along_axis(above, inside[None], axis=0)[0]
    high = np.take_along_axis(above, inside[None] + 1, axis=0)[0]
    with np.errstate(divide="ignore", invalid="ignore"):
        part = low / (low - high)
    own = weeks[inside] + part * (weeks[inside + 1] - weeks[inside])
    own = np.where(last < 0, -np.inf, np.where(last == len(weeks) - 1, np.inf, own))
    ordered = np.sort(own, axis=-1)
    return np.asarray(ordered[..., math.floor((1 - probability) * own.shape[-1] + 1e-9)])


def _known(values: Floats) -> Floats:
    """The values (S, n); a column of NaN where its 90 % interval would be beyond what is known."""
    with np.errstate(invalid="ignore"):
        lost = (~np.isfinite(values)).mean(axis=0) >= 0.05
    return np.where(lost | ~np.isfinite(values), np.nan, values)


def _unit(model: PopModel, covariate: str) -> str:
    unit = model.units.covariate(covariate)
    return "" if unit in (None, "", "1") else str(unit)


def _table(
    model: PopModel, contrasts: list[_Contrast], columns: dict[str, Floats], words: list[str]
) -> xr.Dataset:
    units = {"trough": model.units.concentration, "interval": "wk"}
    found: dict[str, Any] = {
        name: ("effect", values, {"units": units[name.split("_", maxsplit=1)[0]]})
        for name, values in columns.items()
    }
    return xr.Dataset(
        found | {"words": ("effect", words)},
        coords={
            "covariate": ("effect", [one.covariate for one in contrasts]),
            "start": ("effect", [one.start for one in contrasts]),
            "end": ("effect", [one.end for one in contrasts]),
            "unit": ("effect", [_unit(model, one.covariate) for one in contrasts]),
        },
    )


def _words(
    model: PopModel, one: _Contrast, at: dict[str, float], doses: str, target: Trough, held: float
) -> str:
    unit = _unit(model, one.covariate)
    if one.is_level:
        what = f"{one.covariate} {one.end:g} instead of {one.start:g}"
    else:
        more = "more" if one.end > one.start else "less"
        what = f"{abs(one.end - one.start):g} {unit} {more} of {one.covariate}".replace("  ", " ")
        what += f" ({one.start:.4g} to {one.end:.4g})"
    trough = f"{_change(at, 'trough_change', 3)} {model.units.concentration}"
    said = (
        f"{what}: trough {trough} from {at['trough_median']:.3g}, typical person, {doses}; "
        f"longest interval that holds {target.words} with {100 * held:.3g} % for a new person "
    )
    if np.isnan(at["interval_median"]):
        said += "is beyond the intervals looked at"
    elif np.isnan(at["interval_change_median"]):
        said += f"{at['interval_median']:.2g} weeks, and then beyond the intervals looked at"
    else:
        said += f"{_change(at, 'interval_change', 2)} weeks from {at['interval_median']:.2g}"
    return f"{said}."


def _change(at: dict[str, float], name: str, digits: int) -> str:
    low, median, high = (at[f"{name}_{end}"] for end in ("low", "median", "high"))
    return f"{median:+.{digits}g} (90 % interval {low:+.{digits}g} to {high:+.{digits}g})"

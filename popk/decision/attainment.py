"""Probability of target attainment by regimen, for patients or for the population."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from popk.dataset import Dataset
from popk.decision.measures import band, share, share_error
from popk.decision.results import about_patients, answer, in_percent, names_of, rests_on_population
from popk.decision.standing import standings_of
from popk.decision.targets import Goal, measured_by, name_of, unit_of
from popk.design import design_of
from popk.errors import SettingError
from popk.individual.forecast import present_of
from popk.model import PopModel
from popk.population import PopulationDraws, check_seed, dataset_of, model_of
from popk.regimen import Regimen
from popk.structure import Events, Solver
from popk.structure.events import (
    AMOUNT,
    COMPARTMENT,
    DOSE,
    INTERVAL,
    KIND,
    OBSERVE,
    OUTPUT,
    RATE,
    REPEATS,
    TIME,
    WHAT,
)

__all__ = ["target_attainment"]

type Floats = NDArray[np.float64]
type Given = Mapping[str, Regimen] | Sequence[Regimen]

_POINTS = 120
_BESIDE = 1e-6
_PEOPLE = 100  # new people under each draw, at least
_POPULATION = "population"


def target_attainment(
    fit: xr.DataTree,
    regimens: Given,
    *,
    target: Goal,
    patients: xr.DataTree | Dataset | Sequence[object] | None = None,
    subjects: pd.DataFrame | None = None,
    draws: int = 200,
    seed: int = 1,
) -> xr.DataTree:
    """Probability of target attainment: how probably each regimen reaches the target.

    Judged in the interval after the last dose of each regimen, which begins with an empty body.

    Parameters
    ----------
    fit
        What `popk.sample` returned.
    regimens
        Regimens in the units of the data, by name or in a row; ``repeats`` says how many doses
        are given before the target is judged.
    target
        `popk.Trough`, `popk.AUC24`, `popk.Peak` or `popk.TimeAbove`.
    patients
        For these patients, as for `popk.interval_for_trough`; None: for the population.
    subjects
        Of the population: covariates of the people meant (index ID, a column for each); None:
        those of the fit, as at their last record.
    draws
        Draws of the population parameters (all, if the fit has fewer).
    seed
        Seed.

    Returns
    -------
    DataTree with the group ``decision`` (subject, regimen): ``probability``, its Monte Carlo
    standard error ``error``, and ``low``, ``median``, ``high`` of what the target looks at. For
    the population, one ``subject``, the people are new ones with random effects of their own, and
    ``probability_low`` and ``probability_high`` are the 90 % interval of the share of these people
    over the draws of the population parameters.

    Raises
    ------
    SettingError, UnitError, DataError, ModelError, FitError
        When a setting makes no sense, the target has another unit, or the patients do not fit.
    """
    check_seed(seed)
    model = model_of(fit)
    target.check_units(model.units)
    named = _named(regimens)
    if patients is not None and subjects is not None:
        raise SettingError(
            "subjects are people of the population; give them or patients, not both."
        )
    if patients is None:
        return _of_population(fit, named, target, subjects, draws, seed)
    found = standings_of(fit, patients, seed=seed)
    rows = []
    for one in found.each:
        theta = one.parameters[:, one.present.coming]
        measured = _measured(model, theta, named, target, one.present.output)
        rows.append({**_summary(measured, target), "error": None})
        rows[-1]["error"] = share_error(rows[-1]["probability"], one.size)
    words = [
        "; ".join(f"{name}: {in_percent(p)}" for name, p in zip(named, row["probability"],
                                                                strict=True))
        if one.reliable else f"No answer: {one.note}"
        for one, row in zip(found.each, rows, strict=True)
    ]  # fmt: skip
    coords = {"subject": names_of(found.each), **about_patients(found)}
    table = _table(rows, named, target, model).assign(words=("subject", words))
    return answer(
        found, "target attainment", {"decision": table.assign_coords(coords)},
        settings={"target": name_of(target)},
    )  # fmt: skip


def _named(regimens: Given) -> dict[str, Regimen]:
    if isinstance(regimens, Mapping):
        named = {str(name): one for name, one in regimens.items()}
    else:
        named = {f"{one.amount:g} every {one.interval:g}": one for one in regimens}
    if not named or not all(isinstance(one, Regimen) for one in named.values()):
        raise SettingError("Give at least one popk.Regimen, by name or in a row.")
    if len(named) < len(regimens):
        raise SettingError("Two regimens have the same dose and interval; give them names.")
    return named


def _of_population(
    fit: xr.DataTree,
    named: Mapping[str, Regimen],
    target: Goal,
    subjects: pd.DataFrame | None,
    draws: int,
    seed: int,
) -> xr.DataTree:
    model, own = model_of(fit), dataset_of(fit)
    people = own
    if subjects is not None:
        any_ = next(iter(named.values()))
        people = any_.dataset(subjects, [any_.interval], units=own.units, carry=own.carry)
    design = design_of(model, people)
    total = fit["posterior"].sizes["chain"] * fit["posterior"].sizes["draw"]
    population = PopulationDraws.of(fit, min(int(draws), total))
    rng = np.random.default_rng([seed, 4])
    copies = -(-_PEOPLE // len(design.first))  # new people with the same covariates
    every = [population.new_rows(design, rng) for _ in range(copies)]
    last = np.array([present.row for present in present_of(model, own)]) if subjects is None else 0
    theta = np.concatenate([rows[:, design.first + last] for rows in every], axis=1)
    size, n, m = theta.shape
    output = min(design_of(model, own).outputs, default=0)
    measured = _measured(model, theta.reshape(size * n, m), named, target, output)
    row = _summary(measured, target)
    shares = target.reached(measured).reshape(size, n, -1).mean(axis=1)
    row["probability_low"], _, row["probability_high"] = band(shares)
    # People under one draw share its population parameters.
    row["error"] = shares.std(axis=0) / np.sqrt(size)
    table = _table([row], named, target, model)
    parts = zip(named, row["probability"], strict=True)
    words = "; ".join(f"{name}: {in_percent(p)}" for name, p in parts)
    table = table.assign(words=("subject", [words])).assign_coords(subject=[_POPULATION])
    tree = xr.DataTree.from_dict({"decision": table})
    tree.attrs = rests_on_population(fit, seed, draws=size, people=n) | {
        "question": "target attainment",
        "target": name_of(target),
    }
    return tree


def _summary(measured: Floats, target: Goal) -> dict[str, Any]:
    low, median, high = band(measured)
    probability = share(target.reached(measured), measured)
    return {"probability": probability, "low": low, "median": median, "high": high}


def _table(
    rows: list[dict[str, Any]], named: Mapping[str, Regimen], target: Goal, model: PopModel
) -> xr.Dataset:
    unit = {name: unit_of(target, model.units) for name in ("low", "median", "high")}
    grid = ("subject", "regimen")
    columns = {
        name: (grid, np.stack([row[name] for row in rows]), {"units": unit.get(name, "1")})
        for name in rows[0]
    }
    every, units = list(named.values()), model.units
    columns["amount"] = ("regimen", [one.amount for one in every], {"units": units.amount})  # type: ignore[assignment]
    columns["interval"] = ("regimen", [one.interval for one in every], {"units": units.time})  # type: ignore[assignment]
    return xr.Dataset(columns, coords={"regimen": list(named)})


def _measured(
    model: PopModel, theta: Floats, named: Mapping[str, Regimen], target: Goal, output: int
) -> Floats:
    """What the target looks at (S, n_regimens), for parameters (S, m), all in one ensemble."""
    built = [_events(one, output) for one in named.values()]
    sizes = [len(times) for times, _, _ in built]
    offset, first = 0, [0]
    for times, _, code in built:
        code[code[:, KIND] == OBSERVE, OUTPUT] = offset + np.arange(len(times))
        offset, first = offset + len(times), [*first, first[-1] + len(code)]
    events = Events(
        np.array(first, dtype=np.int64),
        np.arange(len(built) + 1, dtype=np.int64),
        np.vstack([number for _, number, _ in built]),
        np.vstack([code for _, _, code in built]),
    )
    together = np.repeat(theta[:, None], len(built), axis=1)
    value = Solver(model.structure, events).ensemble(together).value
    value = np.where(np.isfinite(value), value, np.nan)
    parts = np.split(value, np.cumsum(sizes)[:-1], axis=1)
    return np.stack(
        [
            measured_by(target, times, part, model.units)
            for (times, _, _), part in zip(built, parts, strict=True)
        ],
        axis=1,
    )


def _events(regimen: Regimen, output: int) -> tuple[Floats, Floats, NDArray[np.int64]]:
    """Readings in the interval after the last dose, and all events (number, code)."""
    begin = regimen.start + (regimen.repeats - 1) * regimen.interval
    end = begin + regimen.interval
    beside = 0.0 if regimen.duration else _BESIDE * max(1.0, abs(begin))
    course = begin + beside + (end - begin - beside) * np.linspace(0.0, 1.0, _POINTS) ** 2
    inside = begin + regimen.duration * np.linspace(0.0, 1.0, 5)
    inside = inside[(inside > begin) | (beside == 0.0)]
    times = np.unique(np.concatenate([course, inside, [end]]))
    times = times[times <= end]
    number, code = np.zeros((len(times) + 1, 4)), np.zeros((len(times) + 1, 7), dtype=np.int64)
    number[0, TIME], number[1:, TIME] = regimen.start, times
    rate = regimen.amount / regimen.duration if regimen.duration else 0.0
    number[0, [AMOUNT, RATE, INTERVAL]] = regimen.amount, rate, regimen.interval
    code[0, [KIND, COMPARTMENT, REPEATS]] = DOSE, regimen.compartment - 1, regimen.repeats
    code[0, OUTPUT] = -1
    code[1:, KIND], code[1:, WHAT] = OBSERVE, output
    return times, number, code

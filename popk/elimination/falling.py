"""The verb: half-life and what is left after some weeks, where they depend on the level."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from popk.dataset import Dataset
from popk.decision.measures import band, share
from popk.decision.results import (
    KIND,
    about_patients,
    answer,
    bands,
    basis_of,
    rests_on_population,
)
from popk.decision.standing import Standing, standings_of
from popk.elimination.course import Fall, at_levels, fall_after, levels_of
from popk.elimination.people import people_on, usual_regimen
from popk.elimination.words import Said, words_of
from popk.errors import SettingError
from popk.individual import Trough
from popk.individual.advice import STATEMENT
from popk.model import PopModel
from popk.population import check_seed, model_of
from popk.regimen import Regimen

__all__ = ["half_life"]

type Floats = NDArray[np.float64]
type Columns = dict[str, tuple[tuple[str, ...], Floats]]

_LONGER = 1.5  # of the last week asked about, so far the course is looked at
_POPULATION = "population"


class _Asked(NamedTuple):
    """The question, checked."""

    weeks: Floats
    since: str | float
    single: dict[str, float]
    target: Trough | None


def half_life(  # noqa: PLR0913
    source: xr.DataTree | PopModel,
    patients: xr.DataTree | Dataset | Sequence[object] | None = None,
    *,
    weeks: Sequence[float] = (4, 6),
    since: str | float = "peak",
    single: Mapping[str, float] | None = None,
    target: Trough | None = None,
    regimen: Regimen | None = None,
    subjects: pd.DataFrame | None = None,
    draws: int = 100,
    seed: int = 1,
) -> xr.DataTree:
    """Half-life after a dose against time and level, and what is left after some weeks.

    The half-life at a moment is ln 2 / (-d ln C/dt). Where elimination is saturable, or while drug
    is still distributed, it depends on the level, and no single number predicts what is left.

    Parameters
    ----------
    source
        What `popk.sample` returned; or a model, whose priors then are the population's
        uncertainty.
    patients
        For these patients, after their last dose: as for `popk.interval_for_trough`. None: for the
        population, new people on ``regimen``.
    weeks
        Weeks after the last dose, without a further one, at which to say what is left.
    since
        What 100 % is: the ``"peak"`` after the last dose, the ``"trough"`` at the usual interval
        (that of the regimen, or the patient's present one), or so many weeks after the dose.
    single
        Half-lives, in the model's unit of time, that are held against it, by name: for example
        ``{"US label": 11, "EU label": 28.2}``.
    target
        Trough that must not be undercut, for its probability at each of the weeks.
    regimen
        Of the population: doses from an empty body, of which the last is followed. The usual dose
        and interval of the fit's data, ten times, if None; a model has none.
    subjects
        Of the population: covariates of the people meant, a row for each; those of the fit if None.
    draws
        Of the population: draws of its parameters, each with at least 100 new people.
    seed
        Seed.

    Returns
    -------
    DataTree. ``decision`` (subject, week): 90 % intervals and medians of the concentration
    (``trough_low`` ...), of what is ``left`` (%), of the ``half_life``; with a target the
    ``probability`` to be at or above it; ``words`` for each subject. ``course`` (subject, moment):
    the same against ``week`` since the dose. ``levels`` (subject, level): ``half_life`` and
    ``week`` at which a concentration is passed, and the share of draws that pass it (``passed``).
    ``single`` (subject, rule, week): what is ``left`` (%) by a single half-life, and the
    ``concentration`` that would be. NaN where a concentration does not fall or a drug is still
    infused.

    Of a patient the intervals are credible intervals. Of the population there is one ``subject``:
    intervals hold 90 % of new people, over the population's uncertainty, and ``..._typical_low``
    and ``..._typical_high`` are the 90 % credible interval of the median over people.

    Raises
    ------
    SettingError, UnitError, DataError, ModelError, FitError
        When a setting makes no sense, the target has another unit, or the patients do not fit.
    """
    check_seed(seed)
    model = source if isinstance(source, PopModel) else model_of(source)
    asked = _checked(model, weeks, since, single, target)
    if patients is not None:
        if isinstance(source, PopModel):
            raise SettingError("Patients are asked about with a fit; a model knows none of them.")
        if regimen is not None or subjects is not None:
            raise SettingError(
                "regimen and subjects are of the population; patients have doses and covariates "
                "of their own. Give patients alone, or leave them out."
            )
        return _of_patients(source, patients, asked, seed)
    if isinstance(draws, bool) or not isinstance(draws, int | np.integer) or draws < 1:
        raise SettingError(f"draws is {draws!r}; give a whole number of 1 or more.")
    return _of_population(source, asked, regimen, subjects, int(draws), seed)


def _checked(
    model: PopModel,
    weeks: Sequence[float],
    since: str | float,
    single: Mapping[str, float] | None,
    target: Trough | None,
) -> _Asked:
    given = np.unique(np.atleast_1d(np.asarray(weeks, dtype=float)))
    if not len(given) or not np.all(np.isfinite(given) & (given > 0)):
        raise SettingError(f"weeks is {weeks!r}; give weeks after the last dose, as (4, 6).")
    is_number = isinstance(since, int | float) and not isinstance(since, bool)
    if since not in ("peak", "trough") and not (is_number and 0 < float(since) < math.inf):
        raise SettingError(
            f'since is {since!r}; give "peak", "trough", or weeks after the last dose.'
        )
    for name, value in (single or {}).items():
        if not (math.isfinite(value) and value > 0):
            raise SettingError(
                f"The single half-life {name!r} is {value!r}; give one above zero, in the unit "
                f"{model.units.time}."
            )
    if target is not None:
        target.check_units(model.units)
    return _Asked(given, since, dict(single or {}), target)


def _of_patients(
    fit: xr.DataTree, patients: xr.DataTree | Dataset | Sequence[object], asked: _Asked, seed: int
) -> xr.DataTree:
    found = standings_of(fit, patients, seed=seed)
    each = [(one, 1, one.present_interval / one.per_week) for one in found.each]
    groups = _groups(found.model, each, asked, [basis_of(one) for one in found.each])
    groups = {name: one.assign_coords(about_patients(found)) for name, one in groups.items()}
    return answer(found, "half-life", groups, settings=_settings(asked))


def _of_population(
    source: xr.DataTree | PopModel,
    asked: _Asked,
    regimen: Regimen | None,
    subjects: pd.DataFrame | None,
    draws: int,
    seed: int,
) -> xr.DataTree:
    if regimen is None and not isinstance(source, PopModel):
        regimen = usual_regimen(source)
    if regimen is None:
        raise SettingError(
            f"{'A model has' if isinstance(source, PopModel) else 'The data of the fit show'} no "
            "usual dose and interval; give the doses, as regimen=Regimen(amount=300, interval=28, "
            "repeats=10), in the model's units."
        )
    people, n = people_on(source, regimen, subjects, draws=draws, seed=seed)
    interval = regimen.interval / people.per_week
    told = f"over {people.size // n} draws of the population and {n} people under each"
    groups = _groups(people.model, [(people, n, interval)], asked, [told])
    tree = xr.DataTree.from_dict(groups)
    size = people.size // n
    if isinstance(source, PopModel):
        tree.attrs = _rests_on_model(source, seed, draws=size, people=n)
    else:
        tree.attrs = dict(rests_on_population(source, seed, draws=size, people=n))
    doses = f"{regimen.amount:g} {people.model.units.amount} every {interval:.3g} weeks"
    tree.attrs["regimen"] = f"{doses}, {regimen.repeats} times"
    tree.attrs["rests_on"] = f"{str(tree.attrs['rests_on'])[:-1]}; {tree.attrs['regimen']}."
    tree.attrs |= {"question": "half-life", **_settings(asked)}
    return tree


def _settings(asked: _Asked) -> dict[str, Any]:
    goal = {} if asked.target is None else {"target": asked.target.words}
    return {"since": str(asked.since), "single": json.dumps(asked.single), **goal}


def _rests_on_model(
    model: PopModel, seed: int, *, draws: int, people: int
) -> dict[str, str | float | int]:
    """Attributes of an answer that rests on a model's priors alone."""
    return {
        "kind": KIND,
        "popk_version": version("popk"),
        "model_name": model.name,
        "fit_model_hash": model.hash,
        "fit_data_hash": "",
        "converged": 1,
        "units": json.dumps(model.units.to_dict()),
        "time_per_week": model.units.time_in("wk"),
        "seed": int(seed),
        "statement": STATEMENT,
        "draws": draws,
        "people": people,
        "rests_on": (
            f"{draws} draws from the priors of the model {model.name} ({model.hash[:12]}), no data "
            f"of a cohort, and {people} new people under each; true concentrations."
        ),
    }


class _Read(NamedTuple):
    """What was read off one subject's fall: tables by group, the half-lives held against it."""

    decision: dict[str, Floats]
    course: dict[str, Floats]
    fall: Fall
    reference: Floats
    people: int


def _groups(
    model: PopModel,
    each: Sequence[tuple[Standing, int, float]],
    asked: _Asked,
    told: Sequence[str],
) -> dict[str, xr.Dataset]:
    """The tables of all subjects: standing, people under each draw, usual interval in weeks."""
    read = [_read(standing, people, usual, asked) for standing, people, usual in each]
    levels = _common_levels([one.fall for one in read], asked)
    passing = [at_levels(one.fall, levels) for one in read]
    per_week, units = each[0][0].per_week, model.units
    names = [one.subject if people == 1 else _POPULATION for one, people, _ in each]
    unit = {"trough": units.concentration, "left": "%", "half_life": units.time, "week": "wk"}

    def table(dim: str, rows: Sequence[dict[str, Floats]]) -> dict[str, Any]:
        return {
            name: (("subject", dim), np.stack([row[name] for row in rows]),
                   {"units": next((u for k, u in unit.items() if name.startswith(k)), "1")})
            for name in rows[0]
        }  # fmt: skip

    by_level = [
        _summary("half_life", own, one.people) | _summary("week", when / per_week, one.people)
        | {"passed": np.isfinite(when).mean(axis=0)}
        for (own, when), one in zip(passing, read, strict=True)
    ]  # fmt: skip
    single = _single(read, each, asked)
    said = [
        words_of(
            Said(
                row.decision, single[0][k], asked.weeks, list(asked.single.items()),
                _reference_words(asked, each[k][2]), asked.target, units, told[k],
                "" if each[k][0].reliable else each[k][0].note,
            )
        )
        for k, row in enumerate(read)
    ]  # fmt: skip
    subject = {"subject": names}
    week = {"week": ("week", asked.weeks, {"units": "wk"})}
    decision = xr.Dataset(
        table("week", [one.decision for one in read]) | {"words": ("subject", said)},
        coords=subject | week,
    )
    moments = np.stack([one.fall.times for one in read]) / per_week
    course = xr.Dataset(
        table("moment", [one.course for one in read]), coords=subject
    ).assign_coords(since_dose=(("subject", "moment"), moments, {"units": "wk"}))
    by = ("subject", "rule", "week")
    rules = xr.Dataset(
        {"left": (by, single[0], {"units": "%"}),
         "concentration": (by, single[1], {"units": units.concentration}),
         "half_life": ("rule", list(asked.single.values()), {"units": units.time})},
        coords=subject | week | {"rule": list(asked.single)},
    )  # fmt: skip
    at = {"level": ("level", levels, {"units": units.concentration})}
    return {
        "decision": decision,
        "course": course,
        "levels": xr.Dataset(table("level", by_level), coords=subject | at),
        "single": rules,
    }


def _read(standing: Standing, people: int, usual: float, asked: _Asked) -> _Read:
    """One subject's fall, and what is read off it."""
    per_week = standing.per_week
    weeks = asked.weeks
    from_ = usual if asked.since == "trough" else 0.0
    from_ = from_ if isinstance(asked.since, str) else float(asked.since)
    if np.isnan(from_):
        raise SettingError(
            f"ID {standing.subject} has a single dose, so there is no trough at a usual interval; "
            "say since how many weeks after the dose, since=4."
        )
    horizon = _LONGER * max(float(weeks.max()), from_) * per_week
    fall = fall_after(standing, horizon, np.append(weeks, from_) * per_week)
    at = np.searchsorted(fall.times, weeks * per_week)
    reference = fall.peaks
    if asked.since != "peak":
        reference = fall.values[:, np.searchsorted(fall.times, from_ * per_week)]
    with np.errstate(all="ignore"):
        left = 100.0 * fall.values / reference[:, None]
    whole = (
        _summary("trough", fall.values, people) | _summary("left", left, people)
        | _summary("half_life", fall.half_lives, people)
    )  # fmt: skip
    if asked.target is not None:
        whole |= _chance(asked.target, fall.values, people)
    decision = {name: values[at] for name, values in whole.items()}
    return _Read(decision, whole, fall, reference, people)


def _summary(name: str, values: Floats, people: int) -> dict[str, Floats]:
    """Bands over all draws, and, of people, the band of their median over the draws."""
    found = bands(name, values)
    if people == 1:
        return found
    by_draw = values.reshape(-1, people, values.shape[1])
    none = np.isnan(by_draw).all(axis=1)
    middle = np.nanmedian(np.where(none[:, None], 0.0, by_draw), axis=1)
    low, _, high = band(np.where(none, np.nan, middle))
    return found | {f"{name}_typical_low": low, f"{name}_typical_high": high}


def _chance(target: Trough, values: Floats, people: int) -> dict[str, Floats]:
    """Probability to be at or above the target; of people also its 90 % interval over draws."""
    reached = target.reached(values)
    found = {"probability": share(reached, values)}
    if people > 1:
        shares = reached.reshape(-1, people, values.shape[1]).mean(axis=1)
        found["probability_low"], _, found["probability_high"] = band(shares)
    return found


def _single(
    read: Sequence[_Read], each: Sequence[tuple[Standing, int, float]], asked: _Asked
) -> tuple[Floats, Floats]:
    """What single half-lives leave (subject, rule, week): per cent, and concentration."""
    left = np.empty((len(read), len(asked.single), len(asked.weeks)))
    reference = np.array([np.nanmedian(one.reference) for one in read])
    for k, (standing, _, usual) in enumerate(each):
        from_ = usual if asked.since == "trough" else 0.0
        from_ = from_ if isinstance(asked.since, str) else float(asked.since)
        gone = (asked.weeks - from_) * standing.per_week
        for r, length in enumerate(asked.single.values()):
            left[k, r] = 100.0 * 2.0 ** (-gone / length)
    return left, left / 100.0 * reference[:, None, None]


def _common_levels(falls: Sequence[Fall], asked: _Asked) -> Floats:
    """Levels of all subjects, and the target."""
    found = [levels_of(one) for one in falls]
    if asked.target is not None and isinstance(asked.target.given, float | int):
        found.append(np.array([float(asked.target.given)]))
    return np.unique(np.concatenate(found))[::-1]


def _reference_words(asked: _Asked, usual: float) -> str:
    if asked.since == "peak":
        return "the peak"
    week = usual if asked.since == "trough" else float(asked.since)
    return f"the level of week {week:.3g}"
